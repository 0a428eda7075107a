"""Damaged weight files of every layout: a sentence, or tensors of the shapes that they go to.

    python -m tests.faults.weights --cases 10000 --seed 1

Each case damages a small sound file: its bytes, two files put together, or what HDF5 keeps in it
(names, links, types, shapes, filters), and a file of another kind stands in its place now and
then. It is looked into, read through, and loaded into a model, which stays as it was if the file
is refused.
"""

import logging
import random
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mrcnn.weights.errors import WeightsError
from mrcnn.weights.files import open_weights
from mrcnn.weights.inspection import inspect_weights, read_through
from mrcnn.weights.layout import load_weights
from mrcnn.weights.synthetic import write_synthetic
from mrcnn.weights.writing import write_weights
from tests.faults.annotations import damaged_bytes
from tests.faults.fuzzing import Attack, main

LAYERS = {
    "conv1": {"kernel": (3, 3, 3, 6), "bias": (6,)},
    "bn_conv1": dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance"), (6,)),
    "res2a_branch2a": {"kernel": (1, 1, 6, 6), "bias": (6,)},
    "fpn_c5p5": {"kernel": (1, 1, 6, 4), "bias": (4,)},
    "rpn_conv_shared": {"kernel": (3, 3, 4, 8), "bias": (8,)},
    "rpn_class_raw": {"kernel": (1, 1, 8, 6), "bias": (6,)},
    "mrcnn_class_conv1": {"kernel": (1, 1, 4, 5), "bias": (5,)},
    "mrcnn_class_logits": {"kernel": (5, 4), "bias": (4,)},
    "mrcnn_bbox_fc": {"kernel": (5, 16), "bias": (16,)},
    "mrcnn_mask": {"kernel": (1, 1, 4, 4), "bias": (4,)},
}


class Variable:
    """A variable, as far as loading asks."""

    def __init__(self, layer: str, name: str, shape: tuple[int, ...]) -> None:
        self.name, self.path, self.shape = name, f"{layer}/{name}", shape
        self.value = np.full(shape, 7, np.float32)

    def assign(self, value: np.ndarray) -> None:
        assert value.shape == self.shape and value.dtype == np.float32, (value.shape, value.dtype)
        self.value = value

    def numpy(self) -> np.ndarray:
        return self.value


class Layer:
    """A layer of variables."""

    trainable = True
    epsilon = 1e-3

    def __init__(self, name: str) -> None:
        self.name = name
        self.weights = [Variable(name, weight, shape) for weight, shape in LAYERS[name].items()]


class Model:
    """The network that the files are of, without Keras."""

    def __init__(self) -> None:
        self.layers = [Layer(name) for name in LAYERS]

    def tensors(self) -> list[np.ndarray]:
        return [variable.value for layer in self.layers for variable in layer.weights]


class Weights(Attack):
    """The attack on the loader."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        logging.disable()
        warnings.simplefilter("ignore")
        self.files = []
        for number, make in enumerate(MAKERS):
            path = place / f"sound{number}.h5"
            make(path)
            self.files.append(path.read_bytes())
            came = _load(path)
            assert came == "loaded", (number, came)
        self.path = place / "weights.h5"

    def case(self, rng: random.Random) -> str:
        content = rng.choice(self.files)
        self.path.unlink(missing_ok=True)
        way = rng.random()
        if way < 0.5:
            self.path.write_bytes(_damaged(content, rng))
        elif way < 0.55:
            other = rng.choice(self.files)
            at = rng.randrange(len(content))
            self.path.write_bytes(content[:at] + other[at:])
        elif way < 0.57:
            self.path.write_bytes(rng.choice(OTHER_FILES) + content[: rng.choice([0, 512, 9999])])
        else:
            self.path.write_bytes(content)
            for _ in range(rng.randint(1, 3)):
                _damage_inside(self.path, rng)
        return _load(self.path)


def _load(path: Path) -> str:
    """What comes of a file: looked into, read through, loaded."""
    try:
        str(inspect_weights(path)).encode()
    except WeightsError as error:
        _check_sentence(error)
    try:
        read_through(path)
    except WeightsError as error:
        _check_sentence(error)
    model = Model()
    before = model.tensors()
    try:
        report = load_weights(model, path, by_name=True)
    except WeightsError as error:
        _check_sentence(error)
        assert all(a is b for a, b in zip(before, model.tensors())), "a refused file changed it"
        return "refused"
    str(report).encode("utf-8", "backslashreplace")
    assert report.loaded, "nothing was loaded, and nothing said"
    changed = sum(a is not b for a, b in zip(before, model.tensors()))
    assert changed == len(report.loaded), (changed, len(report.loaded))
    with open_weights(path) as file:
        for layer in model.layers:
            for variable in layer.weights:
                if (layer.name, variable.name) in file.tensors and variable.value[()].size:
                    theirs = file.tensors[layer.name, variable.name]
                    same = np.array_equal(theirs.read(), variable.value, equal_nan=True)
                    assert same or file.batch_norm_epsilon, f"{variable.path} is another's"
    return "loaded" if not report.missing else "loaded in part"


def _check_sentence(error: Exception) -> None:
    text = str(error)
    assert 10 < len(text) < 4000 and text.rstrip()[-1] in ".?)]", text[:300]


# -- Sound files ----------------------------------------------------------------------------


def _values(layer: str, weight: str) -> np.ndarray:
    shape = LAYERS[layer][weight]
    return np.linspace(0.1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)


def _layout(rename: Callable[[str, str], str]) -> list[tuple[str, list[tuple[str, np.ndarray]]]]:
    return [
        (layer, [(rename(layer, weight), _values(layer, weight)) for weight in weights])
        for layer, weights in LAYERS.items()
    ]


def _keras_2(path: Path) -> None:
    told = {"config": {"NAME": "cells", "RPN_ANCHOR_SCALES": [8, 16]}, "class_names": list("abcd")}
    write_weights(path, _layout(lambda layer, weight: f"{layer}/{weight}:0"), told)


def _keras_1(path: Path) -> None:
    short = {"kernel": "W", "bias": "b", "moving_mean": "running_mean"}
    short["moving_variance"] = "running_std"
    write_weights(path, _layout(lambda layer, weight: f"{layer}_{short.get(weight, weight)}"))


def _model_inside(path: Path) -> None:
    _keras_2(path)
    with h5py.File(path, "r+") as file:
        inside = file.create_group("model_weights")
        for name in [name for name in file if name != "model_weights"]:
            file.move(name, f"model_weights/{name}")
        for name, value in list(file.attrs.items()):
            inside.attrs[name] = value
            del file.attrs[name]


def _nested(path: Path) -> None:
    conv = [
        (f"{n}/{w}:0", s)
        for n in ("rpn_conv_shared", "rpn_class_raw")
        for w, s in LAYERS[n].items()
    ]
    rest = [
        (layer, [(f"{layer}/{weight}:0", shape) for weight, shape in weights.items()])
        for layer, weights in LAYERS.items()
        if not layer.startswith("rpn_")
    ]
    write_synthetic(path, [*rest, ("rpn_model", conv)], seed=1)


def _keras_3(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_group("vars")
        for number, (layer, weights) in enumerate(LAYERS.items()):
            values = file.create_group(f"layers/conv2d_{number}/vars")
            values.attrs["name"] = layer
            for index, weight in enumerate(weights):
                values[str(index)] = _values(layer, weight)


def _half(path: Path) -> None:
    layers = _layout(lambda layer, weight: f"{layer}/{weight}:0")
    write_weights(path, layers, dtype=np.float16)


MAKERS: list[Callable[[Path], None]] = [_keras_2, _keras_1, _model_inside, _nested, _keras_3, _half]

OTHER_FILES = [
    *(b"", b"<!doctype html>", b"PK\x03\x04", b"\x80\x04\x95", b"\x1f\x8b", b"\0\0\0\0TFL3"),
    *(b"version https://git-lfs", b"\x89HDF\r\n\x1a\n", b"\0" * 512, b'........{"a":1}'),
]


# -- Damage ---------------------------------------------------------------------------------


def _damaged(content: bytes, rng: random.Random) -> bytes:
    """Bytes damaged: anywhere, in the heads of objects, or numbers that stand for addresses."""
    if rng.random() < 0.4:
        return damaged_bytes(content, rng)
    damaged = bytearray(content)
    marks = [b"TREE", b"SNOD", b"HEAP", b"GCOL", b"OHDR", b"FRHP", b"BTHD", b"\x89HDF"]
    places = [i for mark in marks for i in _all_of(content, mark)] or [0]
    for _ in range(rng.choice([1, 1, 2, 5])):
        at = rng.choice(places) + rng.randrange(64)
        number = rng.choice([0, 1, 8, 96, len(content), len(content) - 8, 2**31, 2**63, 2**64 - 1])
        width = rng.choice([1, 2, 4, 8])
        damaged[at : at + width] = (number % 256**width).to_bytes(width, "little")
    return bytes(damaged)


def _all_of(content: bytes, mark: bytes) -> Iterable[int]:
    at = content.find(mark)
    while at >= 0:
        yield at
        at = content.find(mark, at + 1)


def _damage_inside(path: Path, rng: random.Random) -> None:
    """Change what HDF5 keeps: a name, a link, a tensor."""
    try:
        with h5py.File(path, "r+") as file:
            objects = [file]
            file.visititems(lambda _, item: objects.append(item))
            groups = [item for item in objects if isinstance(item, h5py.Group)]
            tensors = [item for item in objects if isinstance(item, h5py.Dataset)]
            way = rng.randrange(4)
            if way == 0:
                _damage_attribute(rng.choice(objects), rng)
            elif way == 1 and tensors:
                _damage_tensor(rng.choice(tensors), rng)
            elif way == 2:
                _damage_link(rng.choice(groups), file, rng)
            else:
                group = rng.choice(groups)
                names = list(group)
                if names:
                    del group[rng.choice(names)]
    except (OSError, RuntimeError, ValueError, KeyError, TypeError):
        return  # HDF5 itself refuses


def _damage_attribute(item: Any, rng: random.Random) -> None:
    names = list(item.attrs) or ["layer_names"]
    name = rng.choice([*names, "layer_names", "weight_names", "name", "dtype", "keras_version"])
    strings = h5py.string_dtype()
    values: list[Any] = [
        *(1, 1.5, b"x", "name", np.array([b"conv1"] * 3), np.zeros((2, 2)), h5py.Empty("f4")),
        *(np.array([b""]), np.array([b"\xff\xfe"]), b"../..", np.array([b"/conv1", b"."])),
        *(np.array(["conv1", "a" * 3000], strings), np.array([b"conv1/kernel:0"] * 2)),
        *(b'{"config": []}', np.array([b"[" * 9000]), np.array([b'{"class_names": {}}'])),
        *(np.array([b'{"config": {"BACKBONE": [1], "NUM_CLASSES": "x"}, "class_names": [1]}']),),
    ]
    if rng.random() < 0.2:
        item.attrs.pop(name, None)
    elif rng.random() < 0.3 and name in item.attrs and np.ndim(item.attrs[name]) == 1:
        order = list(item.attrs[name])
        rng.shuffle(order)
        item.attrs[name] = order
    else:
        item.attrs[rng.choice([name, f"{name}0", "mrcnn_description"])] = rng.choice(values)


def _damage_tensor(tensor: h5py.Dataset, rng: random.Random) -> None:
    if tensor.size > 10_000:  # made so by an earlier change
        return
    group, name, values, shape = tensor.parent, tensor.name, tensor[()], tensor.shape
    way = rng.randrange(9)
    if way == 0:
        tensor[...] = rng.choice([np.nan, np.inf, 1e38, 0])
        return
    del group[name]
    if way == 1:
        group.create_dataset(name, data=values, chunks=True, compression="gzip")
    elif way == 2:
        group[name] = rng.choice([values.astype("i4"), values.astype("f8") * 1e300, b"text"])
    elif way == 3:
        group[name] = rng.choice([values.T, values.ravel(), values[None], values[..., :1]])
    elif way == 4:
        group.create_dataset(name, (2**40, 2**20), "f4", chunks=(1, 1))
    elif way == 5:
        group.create_dataset(name, shape, rng.choice(["f4", "f8", ">f4", "f2", "c8", "?"]))
    elif way == 6:
        group.create_dataset(name, shape, "f4", external=[("/etc/hostname", 0, values.nbytes)])
    elif way == 7:
        source = h5py.VirtualSource("other.h5", "x", shape)
        layout = h5py.VirtualLayout(shape, "f4")
        layout[...] = source
        group.create_virtual_dataset(name, layout)
    else:
        group.create_group(name)


def _damage_link(group: h5py.Group, file: h5py.File, rng: random.Random) -> None:
    names = list(group) or ["x"]
    name = rng.choice(names)
    way = rng.randrange(4)
    if name in group:
        del group[name]
    if way == 0:
        group[name] = h5py.SoftLink(rng.choice(["/", "/nowhere", "/conv1", "."]))
    elif way == 1:
        group[name] = h5py.ExternalLink(rng.choice(["other.h5", "/etc/hostname"]), "/")
    elif way == 2:
        group[name] = file  # a group within itself
    else:
        group[rng.choice([name, "vars", "layers", "9" * 5000, "a\nb", "\u7d30"])] = group


if __name__ == "__main__":
    sys.exit(main(Weights, __doc__))
