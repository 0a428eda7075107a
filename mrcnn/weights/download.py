"""Fetching the weight files that others have published.

fetch("coco", "mask_rcnn_coco.h5")
weights_path("imagenet", backbone="resnet50")      # kept in ~/.mrcnn
"""

import hashlib
import os
import sys
import time
import urllib.error
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from mrcnn.weights.errors import WeightsError
from mrcnn.weights.inspection import PARTS, WeightsInfo, read_through
from mrcnn.weights.names import layer_names, part_of
from mrcnn.weights.recognise import HDF5_SIGNATURE
from mrcnn.weights.transfer import (
    TIMEOUT,
    Broken,
    NotWanted,
    alone,
    discard,
    looks_like,
    transfer,
)
from mrcnn.whole import no_file
from mrcnn.words import listed

_MATTERPORT = "https://github.com/matterport/Mask_RCNN/releases/download"
_CHOLLET = "https://github.com/fchollet/deep-learning-models/releases/download/v0.2"
_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications/resnet"

COCO_MODEL_URL = f"{_MATTERPORT}/v2.0/mask_rcnn_coco.h5"

ATTEMPTS = 5  # connections tried before giving up; each goes on where the last one broke off
PAUSE = 2.0  # seconds before the second attempt; doubled for each further one


class DownloadError(OSError):
    """A file could not be fetched; the message says where to get it and where to put it."""


@dataclass(frozen=True)
class KnownFile:
    """A published weight file and what is known to recognise it.

    attributes: of Config, which its tensors show; {} where that isn't known. parts: which of
    `PARTS` it has.
    """

    url: str
    size: int | None = None  # bytes
    md5: str | None = None
    attributes: Mapping[str, str | int] = field(default_factory=dict)
    parts: tuple[str, ...] = PARTS

    @property
    def filename(self) -> str:
        return self.url.rsplit("/", 1)[-1]


_MATTERPORTS = {
    "BACKBONE": "resnet101",
    "TOP_DOWN_PYRAMID_SIZE": 256,
    "FPN_CLASSIF_FC_LAYERS_SIZE": 1024,
    "POOL_SIZE": 7,
    "RPN_CONV_CHANNELS": 512,
    "MASK_CONV_CHANNELS": 256,
    "IMAGE_CHANNEL_COUNT": 3,
}

# The checksums are those that Matterport's get_imagenet_weights and keras.applications name. For
# the other two nobody has published one: of them all tensors are read, and their layers compared.
KNOWN_FILES = {
    "coco": KnownFile(
        COCO_MODEL_URL, size=257_557_808, attributes={**_MATTERPORTS, "NUM_CLASSES": 81}
    ),
    "balloon": KnownFile(
        f"{_MATTERPORT}/v2.1/mask_rcnn_balloon.h5", attributes={**_MATTERPORTS, "NUM_CLASSES": 2}
    ),
    "imagenet-resnet50": KnownFile(
        f"{_CHOLLET}/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        md5="a268eb855778b3df3c7506639542a6af",
        attributes={"BACKBONE": "resnet50", "IMAGE_CHANNEL_COUNT": 3},
        parts=("encoder",),
    ),
    "imagenet-resnet101": KnownFile(
        f"{_KERAS}/resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5",
        md5="88cf7a10940856eca736dc7b7e228a21",
        attributes={"BACKBONE": "resnet101", "IMAGE_CHANNEL_COUNT": 3},
        parts=("encoder",),
    ),
}

# What comes with the package; samples/{start,nucleus,efficientnet} say how it was made.
BUNDLED = {
    "start": Path(__file__).with_name("start.h5"),
    "nucleus": Path(__file__).with_name("nucleus.h5"),
    "imagenet-efficientnet_lite0": Path(__file__).with_name("efficientnet_lite0.h5"),
}


def download_trained_weights(coco_model_path: str | os.PathLike, verbose: int = 1) -> None:
    """Fetch Matterport's weights trained on COCO (246 MB) to `coco_model_path`.

    verbose: 0 says nothing, 1 shows progress on stderr. Raises DownloadError.
    """
    fetch("coco", coco_model_path, verbose)


def weights_path(name: str | os.PathLike, backbone: str = "resnet101", verbose: int = 1) -> str:
    """Path of the weight file that a user named on the command line, fetched if need be.

    name: "start", "nucleus" and, for efficientnet_lite0, "imagenet" come with the package; "coco",
        "balloon" and other backbones' "imagenet" are fetched once and kept in the folder
        MRCNN_HOME, or ~/.mrcnn where that is not set; anything else is a path and comes back as
        it is.
    Raises DownloadError where a file can't be fetched, and ValueError for "imagenet" with a
    backbone for which no file is published.
    """
    path, published = locate(name, backbone)
    return fetch(published, path, verbose) if published else str(path)


def locate(name: str | os.PathLike, backbone: str = "resnet101") -> tuple[Path | str, str | None]:
    """(where the file of a name lies or will, its key in KNOWN_FILES or None); fetches nothing.

    Raises ValueError as `weights_path` does.
    """
    name = os.fspath(name)
    if name == "imagenet":
        name = f"imagenet-{backbone}"
        if name not in KNOWN_FILES and name not in BUNDLED:
            raise ValueError(
                f"there are no published ImageNet weights for BACKBONE {backbone!r}, only for "
                "resnet50, resnet101 and efficientnet_lite0: load a file of your own, or train "
                "from scratch."
            )
    if name in BUNDLED:
        return BUNDLED[name], None
    if name not in KNOWN_FILES:
        return name, None
    home = Path(os.environ.get("MRCNN_HOME") or Path.home() / ".mrcnn")
    return home / KNOWN_FILES[name].filename, name


def published_info(name: str, path: Path) -> WeightsInfo:
    """What `inspect_weights` will say of a published file that isn't fetched yet.

    name: a key of KNOWN_FILES. path: where the file will lie.
    """
    known = KNOWN_FILES[name]
    backbone = str(known.attributes["BACKBONE"])
    layers = {layer for layer in layer_names(backbone) if part_of(layer) in known.parts}
    return WeightsInfo(
        path=path,
        format="not fetched yet",
        layers=len(layers),
        tensors=0,
        parameters=0,
        backbone=backbone,
        anchors_per_location=3 if "RPN" in known.parts else None,
        parts=list(known.parts),
        attributes=dict(known.attributes),
        layer_names=frozenset(layers),
    )


def fetch(name_or_url: str, path: str | os.PathLike, verbose: int = 1) -> str:
    """Fetch a weight file and return its path; at once if a complete one is there.

    name_or_url: a key of KNOWN_FILES, or an http(s) address of an HDF5 file.
    path: where the file goes. Until it is complete and checked the bytes lie in `<path>.part`, and
        a later call goes on from there if the server still has the same file. Checked are size and
        checksum where they are known, and always that every tensor can be read; a published
        network must have its layers.
    verbose: 0 says nothing, 1 shows progress on stderr.
    Raises DownloadError, which names the address and the path for fetching by hand, or where
    another file lies at `path`: it is never overwritten.
    """
    known = KNOWN_FILES.get(name_or_url) or KnownFile(name_or_url)
    path = Path(path)
    if not known.url.startswith(("http://", "https://")):
        raise DownloadError(
            f"{name_or_url!r} is neither one of {', '.join(KNOWN_FILES)} nor an http(s) address."
        )
    if path.is_dir():
        raise DownloadError(f"{path} is a folder: give the path of the file to write.")
    if _is_there(path, known):
        return str(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with alone(part, verbose):
        if not _is_there(path, known):  # fetched by the process that was waited for
            _fetch(known, path, part, verbose)
    return str(path)


def _is_there(path: Path, known: KnownFile) -> bool:
    """Whether the file is there already. Raises DownloadError where it is another one."""
    what = no_file(path)
    if what == "nothing":
        return False
    wrong = f"is {what}" if what else _what_is_wrong(path, known)
    if wrong is None:
        return True
    # It may be somebody's training result: not ours to overwrite.
    raise DownloadError(
        f"{path} is there already but {wrong}: move or delete it, then fetch {known.url} again."
    )


def _fetch(known: KnownFile, path: Path, part: Path, verbose: int) -> None:
    say = partial(print, file=sys.stderr, flush=True) if verbose else lambda _: None
    say(f"Downloading {known.url}\n         to {path}")
    most = (ATTEMPTS * TIMEOUT + PAUSE * (2 ** (ATTEMPTS - 1) - 1)) / 60
    say(
        f"         in {ATTEMPTS} attempts: without a connection that ends within {most:.0f} minutes"
    )

    reason = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            pause = PAUSE * 2 ** (attempt - 1)
            say(f"{reason}. Trying again in {pause:.0f} s, attempt {attempt + 1} of {ATTEMPTS}.")
            time.sleep(pause)
        resumed = part.exists()
        try:
            told = transfer(known.url, part, HDF5_SIGNATURE, known.size, verbose)
        except Broken as error:
            reason = str(error)
            continue
        except urllib.error.HTTPError as error:
            raise _failure(known, path, f"the server answers {error.code} {error.reason}") from None
        except NotWanted as error:
            discard(part)
            raise _failure(known, path, f"what came {error}") from None
        wrong = _what_is_wrong(part, known) or _what_is_unsound(part, known)
        if wrong is None:
            os.replace(part, path)
            discard(part)
            return
        discard(part)
        reason = f"what came {wrong}"
        if told and not resumed:  # it came in one piece: it won't be another one next time
            break
    raise _failure(known, path, reason)


def _failure(known: KnownFile, path: Path, reason: str) -> DownloadError:
    return DownloadError(
        f"can't fetch {known.url}: {reason}. Fetch it with a browser or on another computer and "
        f"put it at {path.absolute()}."
    )


def _what_is_wrong(path: Path, known: KnownFile) -> str | None:
    """Why a file is not the wanted one (the rest of a sentence), or None if it is.

    Cheap enough for each time that it is asked for; `_what_is_unsound` looks into it.
    """
    with path.open("rb") as file:
        head = file.read(len(HDF5_SIGNATURE))
        if head != HDF5_SIGNATURE:
            return f"is {looks_like(head)}, not an HDF5 file"
        size = path.stat().st_size
        if known.size is not None and size != known.size:
            return f"has {size:,} bytes and not {known.size:,}"
        if known.md5 is not None:
            file.seek(0)
            checksum = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
            if checksum.hexdigest() != known.md5:
                return f"has the md5 {checksum.hexdigest()} and not {known.md5}"
    return None


def _what_is_unsound(path: Path, known: KnownFile) -> str | None:
    """Why a file can't be the wanted one whatever its first bytes say, or None: reads all of it."""
    try:
        info = read_through(path)
    except WeightsError as error:
        return f"is no sound weight file: {error}"
    if not known.attributes:
        return None
    others = [
        f"{name} {info.attributes.get(name, 'unknown')} instead of {value}"
        for name, value in known.attributes.items()
        if info.attributes.get(name) != value
    ]
    layers = set(layer_names(str(known.attributes["BACKBONE"])))
    wanted = {layer for layer in layers if part_of(layer) in known.parts}
    absent = sorted(wanted - info.layer_names)
    others += [f"no {listed(absent, 3)}"] if absent else []
    return f"is another network ({', '.join(others)})" if others else None
