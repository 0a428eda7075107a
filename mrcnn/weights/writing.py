"""Writing the layout of Matterport's files, that of Keras 2.0.

root        attributes layer_names, backend, keras_version
/<layer>    a group for each layer, attribute weight_names (empty for a layer without weights)
/<layer>/<layer>/kernel:0    the tensors; a weight's name has its layer's name in it
"""

import io
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mrcnn.weights.errors import WeightsError
from mrcnn.weights.files import open_weights
from mrcnn.weights.names import DESCRIPTION
from mrcnn.whole import whole

# HDF5 keeps at most 64 KB of attributes with an object; Keras splits longer lists at this size.
_ATTRIBUTE_LIMIT = 64512
_OURS = re.compile(rf"{DESCRIPTION}\d*")


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
    # In memory first, for a moment: on a full disk HDF5 can't close a file, keeps it open and the
    # room with it, and talks of its own insides.
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        _write_file(file, layers, description, dtype)
    with whole(path, lasting=True, size=image.getbuffer().nbytes) as unfinished:
        unfinished.write_bytes(image.getbuffer())


def update_description(path: str | os.PathLike, changes: dict[str, Any]) -> None:
    """Change what a weight file says of itself, and nothing else; whole or not at all.

    changes: values by their names in the description, which replace those that are there.
    Raises WeightsError where the file is no sound weight file, OSError where it can't be written.
    """
    path = Path(path)
    with open_weights(path) as file:  # sound, and of weights
        told = {**file.description, **changes}
    image = io.BytesIO(path.read_bytes())
    with h5py.File(image, "r+") as file:
        for name in [name for name in file.attrs if _OURS.fullmatch(name)]:
            del file.attrs[name]
        _write_description(file, told)
    with whole(path, lasting=True, size=image.getbuffer().nbytes) as unfinished:
        unfinished.write_bytes(image.getbuffer())


def _write_description(file: h5py.File, description: dict[str, Any]) -> None:
    text = json.dumps(description)
    pieces = [text[i : i + 1000] for i in range(0, len(text), 1000)]
    _write_names(file, DESCRIPTION, pieces)


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
        _write_description(file, description)


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
