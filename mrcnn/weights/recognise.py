"""Is this an HDF5 file? And if not, what is it, and what should one do with it?"""

import difflib
import mmap
import struct
import zipfile
from pathlib import Path

import h5py

from mrcnn.weights.errors import WeightsError, WeightsNotFoundError

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def check_is_hdf5(path: Path) -> None:
    """Raise WeightsNotFoundError or WeightsError unless there is an HDF5 file at `path`."""
    if len(str(path)) == 1 and not path.is_file():  # find_last()[1] is "/" or "." too
        raise WeightsNotFoundError(_why_not_there(path))
    if path.is_dir():
        if (path / "saved_model.pb").exists():
            raise WeightsError(
                f"{path} is a SavedModel folder, which holds a finished graph: load the .h5 file "
                "it was exported from."
            )
        raise WeightsError(f"{path} is a folder: give the .h5 file inside it.")
    if not path.exists():
        raise WeightsNotFoundError(_why_not_there(path))
    if not path.is_file():  # a pipe would be waited for, a device never ends
        raise WeightsError(f"{path} is a pipe or a device, not a file.")
    with path.open("rb") as file:
        head = file.read(512)
    if not head.startswith(HDF5_SIGNATURE) and not h5py.is_hdf5(path):
        raise WeightsError(f"{path} is not a weight file: {_looks_like(path, head)}")
    _check_heaps(path)


def _check_heaps(path: Path) -> None:
    """Raise WeightsError if a heap of strings is damaged: the HDF5 library would read forever.

    Keras 3 keeps names in "global heaps", chains of objects in which each gives the distance to
    the next (HDF5 file format specification 3.0, III.E); one of zero closes a circle.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.find(b"GCOL\x01\0\0\0")
        while start >= 0:
            position = start + 16
            end = position
            if position <= len(content):
                end = start + struct.unpack_from("<Q", content, start + 8)[0]
            while position + 16 <= min(end, len(content)):
                index, size = struct.unpack_from("<H6xQ", content, position)
                # Index 0 is the free space at the end, whose size includes its header.
                step = size if index == 0 else 16 + -(-size // 8) * 8
                if step < 16 or position + step > end:
                    raise WeightsError(
                        f"{path} is a damaged HDF5 file: its names can't be read. Fetch or save "
                        "it again."
                    )
                position += step
            start = content.find(b"GCOL\x01\0\0\0", start + 8)


def _why_not_there(path: Path) -> str:
    if len(str(path)) == 1:
        return (
            f"there is no weight file {str(path)!r}. In old scripts find_last() gave a pair; now "
            "it gives the path itself: write load_weights(model.find_last()), without [1]."
        )
    if path.with_name(path.name + ".index").exists():
        return (
            f"{path} is a TensorFlow checkpoint (.index and .data files), not an .h5 file: load "
            "it in the program that wrote it and save its weights as .h5."
        )
    if not path.parent.exists():
        return f"there is no weight file {path}: not even its folder exists. Check the path."
    beside = sorted(file.name for file in path.parent.glob("*.h5"))
    near = difflib.get_close_matches(path.name, beside, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"there is no weight file {path}: {path.parent.resolve()} holds no {path.name}.{hint}"


def _looks_like(path: Path, head: bytes) -> str:
    """What a file that is not HDF5 seems to be, and what to do: the rest of a sentence."""
    text = head.lstrip().lower()
    if not head:
        return "it is empty (0 bytes). Fetch or save it again."
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return (
            "it is a web page, saved under this name. Use the link of the file itself, not of "
            "the page that shows it."
        )
    if text.startswith(b"version https://git-lfs"):
        return "it is a git-lfs pointer of a few lines. Run `git lfs pull` to fetch the file."
    if head.startswith(b"PK"):
        return _looks_like_archive(path)
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        if b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19" in head:  # the magic number of torch.save
            return "it is a PyTorch file. Only Keras weights (.h5) can be read."
        return "it is a Python pickle, which is never opened, for it could run any code."
    if path.suffix == ".index" or ".data-0" in path.name or b"model_checkpoint_path" in text:
        return (
            "it is part of a TensorFlow checkpoint. Load that in the program that wrote it and "
            "save its weights as .h5."
        )
    if head[4:8] == b"TFL3":
        return "it is a TensorFlow Lite model. Load the .h5 file it was converted from."
    if head.startswith(b"\x1f\x8b"):
        return "it is gzip-compressed. Unpack it first."
    if head[8:10] == b'{"':
        return "it is a safetensors file. Only Keras weights (.h5) can be read."
    return f"it is not HDF5 (it begins with {head[:12]!r}). Only Keras weights (.h5) can be read."


def _looks_like_archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "it is a damaged zip archive. Fetch it again."
    if "model.weights.h5" in members:
        return (
            "it is a .keras archive. Unpack it (it is a zip file) and load the model.weights.h5 "
            "inside."
        )
    if any(name.endswith("data.pkl") for name in members):
        return "it is a PyTorch file. Only Keras weights (.h5) can be read."
    inside = [name for name in members if name.endswith((".h5", ".hdf5"))]
    what = f"Unpack it and load {inside[0]}." if inside else "No .h5 file is inside."
    return f"it is a zip archive. {what}"
