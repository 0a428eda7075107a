"""Opening a weight file: what it is, what it holds, and reading it safely.

    with open_weights("mask_rcnn_coco.h5") as file:
        file.tensors[("conv1", "kernel")].shape      # (7, 7, 3, 64), nothing read yet
        file.tensors[("conv1", "kernel")].read()     # float32 array

Nothing in a file is executed, no link out of it is followed, and no tensor is read before its
declared shape has been compared with the place it goes to.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mrcnn.weights.errors import WeightsError
from mrcnn.weights.names import (
    APPLICATIONS_EPSILON,
    DESCRIPTION,
    NOT_LAYERS,
    matterport_layer,
    part_of,
    positional_weights,
    split_group,
)
from mrcnn.weights.recognise import check_is_hdf5

_MOST_NAMES = 100_000  # entries of one list of names; a ResNet-101 model has 407


@dataclass(frozen=True)
class Tensor:
    """One tensor of an open file. Its values stay on disk until `read`."""

    dataset: h5py.Dataset
    path: Path

    @property
    def shape(self) -> tuple[int, ...]:
        return self.dataset.shape

    def read(self) -> np.ndarray:
        """The values as float32, in the dataset's shape.

        Compare `shape` with what is wanted first: a damaged file may declare any size.
        Raises WeightsError for integers and for damaged data.
        """
        if self.dataset.dtype.kind in "iu":
            raise WeightsError(
                f"{self.path}: {self.dataset.name} holds integers; weights are floats. It is "
                "perhaps a quantised model: save it again before quantising."
            )
        with _readable(self.path):
            if self.dataset.size and not self.dataset.id.get_storage_size():
                raise WeightsError(f"{self.path} is damaged: {self.dataset.name} has no values.")
            values = self.dataset[()]
        if values.dtype.kind == "V":  # bfloat16: the upper half of a float32
            return (values.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        with np.errstate(over="ignore"):  # an overflow becomes inf, which the loader reports
            return values.astype(np.float32)


@dataclass(frozen=True)
class WeightsFile:
    """An open weight file: every tensor by (layer, weight), nested models flattened."""

    path: Path
    format: str
    tensors: dict[tuple[str, str], Tensor]
    batch_norm_epsilon: float | None = None  # where it is known to differ from Matterport's
    description: dict[str, Any] = field(default_factory=dict)  # {} in files of other programs


@contextlib.contextmanager
def open_weights(path: str | os.PathLike) -> Iterator[WeightsFile]:
    """Open a weight file of Keras 1, 2 or 3 and list its tensors; closed when the block ends.

    Raises WeightsNotFoundError where nothing is, and WeightsError for all that is not a sound
    HDF5 file of Keras weights.
    """
    path = Path(path)
    check_is_hdf5(path)
    with contextlib.ExitStack() as stack:
        with _readable(path):
            file = stack.enter_context(h5py.File(path, "r"))
            contents = _list_contents(path, file)
        yield contents


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn whatever h5py says about a damaged file into one sentence."""
    try:
        yield
    except WeightsError:
        raise
    except Exception as error:  # h5py raises nearly every kind on damaged bytes
        raise WeightsError(
            f"{path} is a damaged HDF5 file, perhaps a download or a copy that broke off at "
            f"{path.stat().st_size:,} bytes: fetch it again. (HDF5 says: {error})"
        ) from error


# -- What does the file hold? ---------------------------------------------------------------


def _list_contents(path: Path, file: h5py.File) -> WeightsFile:
    root, whole_model = file, False
    if _has_names(file, "layer_names") is False and "model_weights" in file:
        root, whole_model = _child(path, file, "model_weights"), True
    if _has_names(root, "layer_names"):
        datasets = _list_layer_groups(path, root)
        format = f"Keras {_keras_version(path, root)} {'model' if whole_model else 'weights'}"
    elif "layers" in file or "_layer_checkpoint_dependencies" in file:
        datasets = _list_numbered(path, file)
        format = "Keras 3 weights"
    else:
        there = ", ".join(list(file)[:5]) or "nothing"
        raise WeightsError(
            f"{path} is an HDF5 file, but not one of Keras weights: it has neither a list "
            f"`layer_names` nor a group `layers` (it holds: {there})."
        )
    return replace(_with_our_names(path, format, datasets), description=_description(path, file))


def _description(path: Path, file: h5py.Group) -> dict[str, Any]:
    """What `write_weights` was told; {} for what is not a JSON object."""
    if not _has_names(file, DESCRIPTION):
        return {}
    try:
        told = json.loads("".join(_names(path, file, DESCRIPTION)))
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _with_our_names(
    path: Path, format: str, datasets: list[tuple[str, str, h5py.Dataset]]
) -> WeightsFile:
    layers = {layer for layer, _, _ in datasets}
    applications = "conv1_conv" in layers
    if applications and "post_bn" in layers:
        raise WeightsError(
            f"{path} holds a ResNet V2, whose blocks normalise before they convolve: the encoder "
            "is a ResNet V1. Take the file of ResNet50 or ResNet101 instead."
        )
    tensors = {}
    for layer, weight, dataset in datasets:
        if layer in NOT_LAYERS:
            continue
        key = (matterport_layer(layer) if applications else layer, weight)
        if key in tensors:
            raise WeightsError(
                f"{path} holds two tensors for {'/'.join(key)}: no telling which is meant."
            )
        tensors[key] = Tensor(dataset, path)
    epsilon = APPLICATIONS_EPSILON if applications else None
    if applications:
        format += " of keras.applications"
    return WeightsFile(path, format, tensors, epsilon)


def _list_layer_groups(path: Path, root: h5py.Group) -> list[tuple[str, str, h5py.Dataset]]:
    """Keras 1 and 2: a group for each layer, with the names of its tensors as an attribute."""
    found = []
    for layer in _names(path, root, "layer_names"):
        group = _child(path, root, layer)
        if not isinstance(group, h5py.Group) or not _has_names(group, "weight_names"):
            raise WeightsError(f"{path} is damaged: layer {layer} has no list `weight_names`.")
        names = _names(path, group, "weight_names")
        for (owner, weight), name in zip(split_group(layer, names), names):
            if owner not in NOT_LAYERS:
                found.append((owner, weight, _dataset(path, group, name)))
    return found


def _list_numbered(path: Path, file: h5py.File) -> list[tuple[str, str, h5py.Dataset]]:
    """Keras 3: groups named by class and number; the layer's name is an attribute of `vars`."""
    found = []
    seen = set()
    named = False

    def walk(group: h5py.Group, fallback: str, owner: str | None) -> None:
        nonlocal named
        address = h5py.h5o.get_info(group.id).addr
        if address in seen:  # perhaps a group within itself, which would never end
            raise WeightsError(f"{path}: {group.name} is there under two names; refused.")
        seen.add(address)
        name = fallback
        if "vars" in group:
            values = _child(path, group, "vars")
            if "name" in values.attrs:
                name, named = _text(values.attrs["name"]), True
            indices = sorted((key for key in values if key.isdecimal()), key=int)
            tensors = [_dataset(path, values, key) for key in indices]
            weights = positional_weights([tensor.shape for tensor in tensors])
            found.extend((owner or name, *pair) for pair in zip(weights, tensors))
        for key in group:
            child = _child(path, group, key) if key != "vars" else None
            if isinstance(child, h5py.Group):
                # A wrapper's inner layer stands under the outer one's name.
                walk(child, key, (owner or name) if key == "layer" else None)

    for key in ("layers", "_layer_checkpoint_dependencies"):
        if key in file:
            walk(_child(path, file, key), key, None)
    if not named and all(part_of(layer) == "encoder" for layer, _, _ in found):
        raise WeightsError(
            f"{path} was written by a version of Keras that leaves out the layers' names, so the "
            "tensors can't be told apart: load it with that version and save it as .h5."
        )
    return found


# -- Safe steps inside a file ---------------------------------------------------------------


def _child(path: Path, group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    """The object `name` (it may have slashes) below `group`; links are refused."""
    item = group
    for part in filter(None, name.split("/")):
        link = item.get(part, getlink=True) if isinstance(item, h5py.Group) else None
        if link is None:
            raise WeightsError(
                f"{path} is damaged: it lists {name} below {group.name}, but doesn't hold it."
            )
        if not isinstance(link, h5py.HardLink):
            raise WeightsError(
                f"{path}: {item.name}/{part} is a link to another place, which weight files never "
                "have; refused."
            )
        item = item[part]
    return item


def _dataset(path: Path, group: h5py.Group, name: str) -> h5py.Dataset:
    """The tensor `name` below `group`, if it is a plain array of numbers inside this file."""
    item = _child(path, group, name)
    if not isinstance(item, h5py.Dataset):
        raise WeightsError(f"{path} is damaged: {item.name} is a group, not a tensor.")
    reason = None
    bfloat16 = item.dtype == "V2" and _text(item.attrs.get("dtype", "")) == "bfloat16"
    if item.is_virtual or item.external:
        reason = "keeps its values in another file"
    elif item.dtype.kind not in "fiu" and not bfloat16:
        reason = f"holds {item.dtype} and not numbers"
    elif item.shape is None:
        reason = "has no shape"
    elif item.chunks:
        # The HDF5 library crashes on damaged pieces and loads plug-ins to unpack them.
        raise WeightsError(
            f"{path}: {item.name} is stored in pieces, perhaps compressed; Keras never does that. "
            "Write it plainly with `h5repack -l CONTI -f NONE old.h5 new.h5` and load that."
        )
    if reason:
        raise WeightsError(f"{path}: {item.name} {reason}, which weight files never do; refused.")
    return item


def _has_names(item: h5py.Group, attribute: str) -> bool:
    # Keras splits a list beyond 64 KB into layer_names0, layer_names1 ...
    return attribute in item.attrs or f"{attribute}0" in item.attrs


def _names(path: Path, item: h5py.Group, attribute: str) -> list[str]:
    parts = [attribute]
    if attribute not in item.attrs:
        parts = []
        while f"{attribute}{len(parts)}" in item.attrs:
            parts.append(f"{attribute}{len(parts)}")
    names = []
    for part in parts:
        if item.attrs.get_id(part).get_space().get_simple_extent_npoints() > _MOST_NAMES:
            raise WeightsError(f"{path}: the list {part} is longer than any model's; refused.")
        values = np.atleast_1d(item.attrs[part])
        if values.size and values.dtype.kind not in "SUO":
            raise WeightsError(f"{path} is damaged: {part} of {item.name} are not names.")
        names += [_text(value) for value in values.ravel()]
    return names


def _keras_version(path: Path, root: h5py.Group) -> str:
    # Keras 1 did not say who it was.
    return _text(root.attrs["keras_version"])[:16] if "keras_version" in root.attrs else "1"


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
