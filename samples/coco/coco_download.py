"""Fetching MS COCO: several GB of zip files, each gone on with where it broke off."""

import os
import shutil
import urllib.error
import urllib.request
import zipfile

COCO_URL = "http://images.cocodataset.org"
# Val 2014 in two: the 5,000 pictures that papers of 2017 measured on, and the rest, to train on.
MINIVAL_URLS = {
    "minival": "https://dl.dropboxusercontent.com/s/o43o90bna78omob/"
    "instances_minival2014.json.zip?dl=0",
    "valminusminival": "https://dl.dropboxusercontent.com/s/s3tw5zcg7395368/"
    "instances_valminusminival2014.json.zip?dl=0",
}


def download(dataset_dir: str, subset: str, year: str) -> None:
    """Fetch a subset's pictures and annotations into a folder, unless they are there.

    subset: "train", "val", or for 2014 "minival" or "valminusminival".
    Raises OSError where a file can't be fetched or is no zip file, and ValueError for minival or
    valminusminival of another year.
    """
    if subset in MINIVAL_URLS and year != "2014":
        raise ValueError(f"{subset} is a part of 2014's val: for {year} use val.")
    pictures = f"{'val' if subset in MINIVAL_URLS else subset}{year}"
    fetch_and_unpack(
        f"{COCO_URL}/zips/{pictures}.zip",
        into=dataset_dir,
        wanted=os.path.join(dataset_dir, pictures),
    )
    annotations = os.path.join(dataset_dir, "annotations")
    if subset in MINIVAL_URLS:
        url, into = MINIVAL_URLS[subset], annotations
    else:
        url, into = f"{COCO_URL}/annotations/annotations_trainval{year}.zip", dataset_dir
    fetch_and_unpack(url, into, wanted=os.path.join(annotations, f"instances_{subset}{year}.json"))


def fetch_and_unpack(url: str, into: str, wanted: str) -> None:
    """Fetch a zip and unpack it, unless `wanted` is there; the zip goes when all is out.

    Raises OSError, which says where to put the file if it has to be fetched by hand.
    """
    archive = os.path.join(into, url.split("?")[0].rsplit("/", 1)[-1])
    # An archive that is still there was not unpacked to its end.
    if os.path.exists(wanted) and not os.path.exists(archive):
        return
    os.makedirs(into, exist_ok=True)
    if not os.path.exists(archive):
        print(f"Downloading {url} to {archive}")
        try:
            _fetch(url, archive)
        except OSError as error:
            raise OSError(
                f"Can't fetch {url}: {error}. Run again to go on where it stopped, or fetch it "
                f"by hand and put it at {archive}."
            ) from error
    print(f"Unpacking {archive}")
    try:
        with zipfile.ZipFile(archive) as file:
            file.extractall(into)  # drops ".." and roots from the names: nothing leaves `into`
    except zipfile.BadZipFile as error:
        raise OSError(f"{archive} is no sound zip file ({error}): delete it.") from error
    os.remove(archive)


def _fetch(url: str, path: str) -> None:
    """Fetch a file by way of `<path>.part`, which a later call goes on from."""
    part = path + ".part"
    start = os.path.getsize(part) if os.path.exists(part) else 0
    request = urllib.request.Request(url, headers={"User-Agent": "mrcnn"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            goes_on = response.status == 206
            with open(part, "ab" if goes_on else "wb") as file:
                shutil.copyfileobj(response, file, 1 << 20)
            # Python's reader takes a broken connection for the end of the file.
            length = response.headers.get("Content-Length")
            received = os.path.getsize(part) - (start if goes_on else 0)
            if length and received < int(length):
                raise OSError(f"the connection broke off after {received:,} of {length} bytes")
    except urllib.error.HTTPError as error:
        if error.code != 416:  # 416: nothing is left to send
            raise
    os.replace(part, path)
