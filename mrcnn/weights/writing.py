"""Writing the layout of Matterport's files, that of Keras 2.0.

root        attributes layer_names, backend, keras_version
/<layer>    a group for each layer, attribute weight_names (empty for a layer without weights)
/<layer>/<layer>/kernel:0    the tensors; a weight's name has its layer's name in it
"""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mrcnn.weights.errors import WeightsError
from mrcnn.weights.names import DESCRIPTION
from mrcnn.whole import whole

# HDF5 keeps at most 64 KB of attributes with an object; Keras splits longer lists at this size.
_ATTRIBUTE_LIMIT = 64512


def write_weights(
    path: str | os.PathLike,
    layers: Iterable[tuple[str, Iterable[tuple[str, np.ndarray]]]],
    description: dict[str, Any] | None = None,
    dtype: type = np.float32,
) -> None:
    """Write tensors as a Keras 2 weight file, all of it or nothing.

    layers: (group, [(weight name such as "conv1/kernel:0", array)]) in the order of the file.
    description: what else a reader should know, as JSON would take it; other programs, which
        read only what layer_names lists, pass it over.
    dtype: of kernels on disk; float16 halves the file, and only this package reads it. Vectors
        stay float32: they weigh little, and a variance may be beyond what float16 holds.
    The file appears at `path` only when it is complete; whatever was there stays until then.
    Raises WeightsError where the folder doesn't exist, OSError where the disk is full.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise WeightsError(f"can't save {path}: there is no folder {path.parent}. Create it first.")
    with whole(path, lasting=True) as unfinished, unfinished.open("w+b", buffering=0) as bare:
        disk = _Disk(bare)
        try:
            with h5py.File(disk, "w") as file:
                _write_file(file, layers, description, dtype)
        except Exception:
            disk.finish()  # whatever HDF5 made of it
            raise
        disk.finish()


def _write_file(
    file: h5py.File, layers: Iterable, description: dict[str, Any] | None, dtype: type
) -> None:
    names = []
    for layer, tensors in layers:
        names.append(layer)
        _write_layer(file.create_group(layer), tensors, dtype)
    _write_names(file, "layer_names", names)
    file.attrs["backend"] = np.bytes_(b"tensorflow")
    file.attrs["keras_version"] = np.bytes_(b"2.0.8")
    if description:
        text = json.dumps(description)
        pieces = [text[i : i + 1000] for i in range(0, len(text), 1000)]
        _write_names(file, DESCRIPTION, pieces)


class _Disk:
    """The file that HDF5 writes to; what goes wrong there is raised by `finish`.

    HDF5 itself can't close a file on a full disk: it keeps it open, and the room with it, and
    talks of its own insides.
    """

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._error: OSError | None = None
        self._size = self._at = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place, counted from the start or from what the end would be."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        """Where it is."""
        return self._at

    def write(self, data: Any) -> int:
        """Write as long as the disk takes it, and count on."""
        left = memoryview(data).cast("B")
        length = len(left)
        with self._noted():
            self._file.seek(self._at)
            while left and not self._error:
                left = left[self._file.write(left) :]
        self._at += length
        self._size = max(self._size, self._at)
        return length

    def read(self, length: int) -> bytes:
        """Read back what was written."""
        self._file.seek(self._at)
        data = self._file.read(length) or b""
        self._at += len(data)
        return data

    def truncate(self, size: int) -> int:
        """Give it its size."""
        if not self._error:
            with self._noted():
                self._file.truncate(size)
        self._size = size
        return size

    def flush(self) -> None:
        """Nothing: each piece goes to the system at once."""

    def finish(self) -> None:
        """Raise the first error, with the `size` that the file would have had."""
        if self._error:
            self._error.size = self._size
            raise self._error

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._error = error


def _write_layer(group: h5py.Group, tensors: Iterable[tuple[str, np.ndarray]], dtype: type) -> None:
    names = []
    for name, values in tensors:
        kept = dtype if np.ndim(values) > 1 else np.float32
        group.create_dataset(name, data=np.asarray(values, kept))
        names.append(name)
    _write_names(group, "weight_names", names)


def _write_names(item: h5py.Group, attribute: str, names: list[str]) -> None:
    # NOTE: no names make an array of float64, as in every file of Keras 2.
    values = np.array([name.encode() for name in names])
    if values.nbytes <= _ATTRIBUTE_LIMIT:
        item.attrs[attribute] = values
        return
    pieces = -(-values.nbytes // _ATTRIBUTE_LIMIT)
    for index, piece in enumerate(np.array_split(values, pieces)):
        item.attrs[f"{attribute}{index}"] = piece
