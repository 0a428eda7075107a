"""Weights without training: plausible values for every tensor, from a seed alone.

They make a network that runs and gives finite, varied outputs, which is enough to try the code,
to test it and to compare two implementations. They detect nothing.
"""

import fnmatch
import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from mrcnn.weights.writing import write_weights

# (layer, [(weight name, shape)]) in the order of the file.
Layout = Iterable[tuple[str, Iterable[tuple[str, Iterable[int]]]]]

# Pattern of the weight name -> how to fill it; the first match wins. "gain" g: uniform with a
# standard deviation of g * sqrt(2 / fan_in) (He et al. 2015, eq. 10); "low", "high": uniform.
RULES: Mapping[str, Mapping[str, Any]] = {
    "conv1/kernel:0": {"gain": 1 / 60},  # a molded picture spans about -120..120
    "bn*_branch2c/gamma:0": {"low": 0.15, "high": 0.35},  # keeps the residual sum from growing
    "bn*_branch1/gamma:0": {"low": 0.6, "high": 1.4},
    "*/gamma:0": {"low": 0.5, "high": 1.5},
    "*/beta:0": {"low": -0.1, "high": 0.1},
    "*/moving_mean:0": {"low": -0.1, "high": 0.1},
    "*/moving_variance:0": {"low": 0.5, "high": 1.5},
    "fpn_c?p?/kernel:0": {"gain": 0.6},  # linear layers: sqrt(1/2) would keep the variance
    "fpn_p?/kernel:0": {"gain": 0.7},
    "rpn_bbox_pred/kernel:0": {"gain": 0.5},
    "mrcnn_class_logits/kernel:0": {"gain": 2.0},
    "mrcnn_bbox_fc/kernel:0": {"gain": 0.4},
    "mrcnn_mask/kernel:0": {"gain": 1.5},
    "*/kernel:0": {"gain": 1.0},
    "*/bias:0": {"low": -0.05, "high": 0.05},
}


def synthetic_arrays(
    layers: Layout, seed: int, overrides: Mapping[str, Mapping[str, Any]] | None = None
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield (layer, weight name, float32 array) for every tensor of a layout.

    layers: (layer, [(weight name such as "conv1/kernel:0", shape)]).
    overrides: {pattern of a weight name: rule} that goes before RULES; a rule may also be
        {"values": [...]}, taken literally.
    The values depend on seed, layer, name and shape alone, and are the same on every platform and
    with every version of numpy. Raises ValueError for a tensor that no rule covers.
    """
    rules = {**(overrides or {}), **{k: v for k, v in RULES.items() if k not in (overrides or {})}}
    for layer, tensors in layers:
        for name, shape in tensors:
            yield layer, name, _fill(layer, name, tuple(shape), seed, rules)


def write_synthetic(
    path: str | os.PathLike,
    layers: Layout,
    seed: int,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """Write synthetic weights as an .h5 file and return the digest of its tensors.

    The arguments are those of `synthetic_arrays`; the digest is that of `digest`.
    """
    layers = [(layer, list(tensors)) for layer, tensors in layers]
    tensor_hash = hashlib.sha256()

    def filled() -> Iterator[tuple[str, list[tuple[str, np.ndarray]]]]:
        for layer, tensors in layers:
            arrays = list(synthetic_arrays([(layer, tensors)], seed, overrides))
            for item in arrays:
                _update(tensor_hash, *item)
            yield layer, [(name, values) for _, name, values in arrays]

    write_weights(path, filled())
    return tensor_hash.hexdigest()


def digest(arrays: Iterable[tuple[str, str, np.ndarray]]) -> str:
    """SHA-256 over (layer, weight name, array) triples: names, shapes and bytes, in order."""
    tensor_hash = hashlib.sha256()
    for item in arrays:
        _update(tensor_hash, *item)
    return tensor_hash.hexdigest()


def _update(tensor_hash: Any, layer: str, name: str, values: np.ndarray) -> None:
    tensor_hash.update(f"{layer}|{name}|{values.shape}".encode())
    tensor_hash.update(np.ascontiguousarray(values).tobytes())


def _fill(
    layer: str,
    name: str,
    shape: tuple[int, ...],
    seed: int,
    rules: Mapping[str, Mapping[str, Any]],
) -> np.ndarray:
    rule = next(
        (rule for pattern, rule in rules.items() if fnmatch.fnmatchcase(name, pattern)), None
    )
    if rule is None:
        raise ValueError(f"no rule says how to fill {name}: add one for it to `overrides`.")
    if "values" in rule:
        return np.asarray(rule["values"], np.float32).reshape(shape)
    uniform = _uniform(seed, f"{layer}|{name}", int(np.prod(shape))).reshape(shape)
    if "gain" in rule:
        # A transposed convolution keeps its inputs on the last axis: [height, width, out, in].
        transposed = name.startswith("mrcnn_mask_deconv/")
        fan_in = shape[3] if transposed else int(np.prod(shape[:-1]))
        deviation = rule["gain"] * np.sqrt(2.0 / fan_in)
        return ((uniform - 0.5) * (np.sqrt(12.0) * deviation)).astype(np.float32)
    return (rule["low"] + uniform * (rule["high"] - rule["low"])).astype(np.float32)


def _uniform(seed: int, key: str, count: int) -> np.ndarray:
    """float64 values in [0, 1), from the raw bits of PCG64: numpy promises those never change."""
    entropy = np.random.SeedSequence([int(seed), zlib.crc32(key.encode())])
    raw = np.asarray(np.random.PCG64(entropy).random_raw(count), np.uint64)
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
