"""Fetching the weight files that others have published.

fetch("coco", "mask_rcnn_coco.h5")
weights_path("imagenet", backbone="resnet50")      # kept in ~/.mrcnn
"""

import contextlib
import hashlib
import http.client
import os
import re
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mrcnn.weights.recognise import HDF5_SIGNATURE

_MATTERPORT = "https://github.com/matterport/Mask_RCNN/releases/download"
_CHOLLET = "https://github.com/fchollet/deep-learning-models/releases/download/v0.2"
_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications/resnet"

COCO_MODEL_URL = f"{_MATTERPORT}/v2.0/mask_rcnn_coco.h5"

ATTEMPTS = 5  # connections tried before giving up; each goes on where the last one broke off
PAUSE = 2.0  # seconds before the second attempt; doubled for each further one
TIMEOUT = 30.0  # seconds without a byte after which a connection counts as broken
# A full disk is an OSError too, and no reason to try again.
_NETWORK_ERRORS = (urllib.error.URLError, ConnectionError, TimeoutError, ssl.SSLError)
_BLOCK = 1 << 18  # bytes read at a time


class DownloadError(OSError):
    """A file could not be fetched; the message says where to get it and where to put it."""


class _Broken(Exception):
    """A connection failed in a way that may pass."""


class _NotWanted(Exception):
    """Something else than an HDF5 file comes."""


@dataclass(frozen=True)
class KnownFile:
    """A published weight file and what is known to recognise it."""

    url: str
    size: int | None = None  # bytes
    md5: str | None = None

    @property
    def filename(self) -> str:
        return self.url.rsplit("/", 1)[-1]


# The checksums are those that Matterport's get_imagenet_weights and keras.applications name.
KNOWN_FILES = {
    "coco": KnownFile(COCO_MODEL_URL, size=257_557_808),
    "balloon": KnownFile(f"{_MATTERPORT}/v2.1/mask_rcnn_balloon.h5"),
    "imagenet-resnet50": KnownFile(
        f"{_CHOLLET}/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        md5="a268eb855778b3df3c7506639542a6af",
    ),
    "imagenet-resnet101": KnownFile(
        f"{_KERAS}/resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5",
        md5="88cf7a10940856eca736dc7b7e228a21",
    ),
}

# What comes with the package; samples/nucleus and samples/efficientnet say how it was made.
BUNDLED = {
    "nucleus": Path(__file__).with_name("nucleus.h5"),
    "imagenet-efficientnet_lite0": Path(__file__).with_name("efficientnet_lite0.h5"),
}


def download_trained_weights(coco_model_path: str | os.PathLike, verbose: int = 1) -> None:
    """Fetch Matterport's weights trained on COCO (246 MB) to `coco_model_path`.

    verbose: 0 says nothing, 1 shows progress on stderr. Raises DownloadError.
    """
    fetch("coco", coco_model_path, verbose)


def weights_path(name: str | os.PathLike, backbone: str = "resnet101", verbose: int = 1) -> str:
    """Path of the weight file that a user named on the command line.

    name: "nucleus", which comes with the package; "imagenet" by `backbone`: that of
        "efficientnet_lite0" comes along too; "coco", "balloon" and the others', which are fetched once and kept in the folder MRCNN_HOME, or
        ~/.mrcnn where that is not set; anything else is a path and comes back as it is.
    Raises DownloadError where a file can't be fetched, and ValueError for "imagenet" with a
    backbone for which no file is published.
    """
    name = os.fspath(name)
    if name == "imagenet":
        name = f"imagenet-{backbone}"
        if name not in KNOWN_FILES and name not in BUNDLED:
            raise ValueError(
                f"there are no published ImageNet weights for BACKBONE {backbone!r}, only for "
                "resnet50, resnet101 and efficientnet_lite0: load a file of your own, or train from scratch."
            )
    if name in BUNDLED:
        return str(BUNDLED[name])
    if name not in KNOWN_FILES:
        return name
    home = Path(os.environ.get("MRCNN_HOME") or Path.home() / ".mrcnn")
    return fetch(name, home / KNOWN_FILES[name].filename, verbose)


def fetch(name_or_url: str, path: str | os.PathLike, verbose: int = 1) -> str:
    """Fetch a weight file and return its path; at once if a complete one is there.

    name_or_url: a key of KNOWN_FILES, or an http(s) address of an HDF5 file.
    path: where the file goes. Until it is complete and checked (size and checksum where known,
        HDF5 signature always) the bytes lie in `<path>.part`, and a later call goes on from there.
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
    if path.exists():
        wrong = _what_is_wrong(path, known)
        if wrong is None:
            return str(path)
        # It may be somebody's training result: not ours to overwrite.
        raise DownloadError(
            f"{path} is there already but {wrong}: move or delete it, then fetch {known.url} again."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    if verbose:
        print(f"Downloading {known.url}\n         to {path}", file=sys.stderr)

    reason = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        try:
            _transfer(known, part, verbose)
        except _Broken as error:
            reason = str(error)
            continue
        except urllib.error.HTTPError as error:
            raise _failure(known, path, f"the server answers {error.code} {error.reason}") from None
        except _NotWanted as error:
            part.unlink(missing_ok=True)
            raise _failure(known, path, str(error)) from None
        wrong = _what_is_wrong(part, known)
        if wrong is None:
            os.replace(part, path)
            return str(path)
        part.unlink()
        raise _failure(known, path, f"what came {wrong}")
    raise _failure(known, path, reason)


def _failure(known: KnownFile, path: Path, reason: str) -> DownloadError:
    return DownloadError(
        f"can't fetch {known.url}: {reason}. Fetch it with a browser or on another computer and "
        f"put it at {path.absolute()}."
    )


def _what_is_wrong(path: Path, known: KnownFile) -> str | None:
    """Why a file is not the wanted one (the rest of a sentence), or None if it is."""
    with path.open("rb") as file:
        head = file.read(len(HDF5_SIGNATURE))
        if head != HDF5_SIGNATURE:
            return _not_hdf5(head)
        size = path.stat().st_size
        if known.size is not None and size != known.size:
            return f"has {size:,} bytes and not {known.size:,}"
        if known.md5 is not None:
            file.seek(0)
            checksum = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
            if checksum.hexdigest() != known.md5:
                return f"has the md5 {checksum.hexdigest()} and not {known.md5}"
    return None


def _not_hdf5(head: bytes) -> str:
    what = "a web page" if head.lstrip()[:1] == b"<" else f"something that begins with {head!r}"
    return f"is {what}, not an HDF5 file"


def _transfer(known: KnownFile, part: Path, verbose: int) -> None:
    """One connection: fetch what `part` still lacks.

    Raises _Broken for what may pass, HTTPError for what will not, and _NotWanted where
    something else than an HDF5 file comes.
    """
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(known.url, headers={"User-Agent": "mrcnn"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        with contextlib.closing(urllib.request.urlopen(request, timeout=TIMEOUT)) as response:
            start, total = _extent(response, start)
            received = _copy(response, part, start, total or known.size, verbose)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # nothing is left to send, or the file has changed
            total = _total(error.headers.get("Content-Range", ""))
            if total == start:
                return
            part.unlink()
            raise _Broken(
                "what lay in the .part file doesn't belong to the server's file"
            ) from None
        if error.code in (408, 429) or error.code >= 500:
            raise _Broken(f"the server answers {error.code} {error.reason}") from None
        raise
    except (*_NETWORK_ERRORS, http.client.HTTPException) as error:
        raise _Broken(f"no connection ({getattr(error, 'reason', None) or error!r})") from error
    if total is not None and received < total:
        raise _Broken(f"the connection broke off after {received:,} of {total:,} bytes")


def _extent(response: http.client.HTTPResponse, start: int) -> tuple[int, int | None]:
    """(first byte that comes, size of the whole file or None if the server doesn't say)."""
    content_range = response.headers.get("Content-Range", "")
    if response.status == 206 and content_range.startswith(f"bytes {start}-"):
        return start, _total(content_range)
    if response.status == 206:
        raise _Broken(f"the server sent other bytes than asked for ({content_range})")
    length = response.headers.get(
        "Content-Length"
    )  # the whole file: Range was ignored or not asked
    return 0, int(length) if length and length.isdecimal() else None


def _total(content_range: str) -> int | None:
    match = re.fullmatch(r"bytes .*/(\d+)", content_range.strip())
    return int(match.group(1)) if match else None


def _copy(
    response: http.client.HTTPResponse, part: Path, start: int, total: int | None, verbose: int
) -> int:
    """Append (or write anew, from byte 0) what comes; returns the size of `part` after it."""
    received = start
    with part.open("ab" if start else "wb") as file:
        for block in _shown(_blocks(response), start, total, verbose):
            if received == 0 and not block.startswith(HDF5_SIGNATURE[: len(block)]):
                raise _NotWanted(f"what came {_not_hdf5(block[:12])}")
            file.write(block)
            received += len(block)
    return received


def _blocks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while block := response.read(_BLOCK):
        yield block


def _shown(blocks: Iterator[bytes], start: int, total: int | None, verbose: int) -> Iterator[bytes]:
    """Pass the blocks on and show progress on stderr: a bar on a terminal, else a few lines."""
    terminal = sys.stderr.isatty()
    began = shown = time.monotonic()
    received = start
    for block in blocks:
        yield block
        received += len(block)
        now = time.monotonic()
        last = received == total
        if not verbose or (now - shown < (0.2 if terminal else 10.0) and not last):
            continue
        shown = now
        speed = (received - start) / max(now - began, 1e-6) / 1e6
        text = f"{received / 1e6:8.1f} MB  {speed:6.1f} MB/s"
        if total:
            done = min(received / total, 1.0)
            text = f"[{'=' * int(30 * done):30}] {done:4.0%} {text} of {total / 1e6:.1f} MB"
        print(f"\r{text}" if terminal else text, file=sys.stderr, end="" if terminal else "\n")
    if verbose and terminal:
        print(file=sys.stderr)
