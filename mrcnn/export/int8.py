"""A file of eight bits: calibrated on pictures, and measured on labels before and after.

Convolutions and dense layers, with what follows each, get eight bits; the arithmetic of boxes, the
crops and the last layer of each head stay in float32: a box is not worth a 256th of the picture.
"""

import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mrcnn.data.dataset import Dataset
from mrcnn.data.parts import open_part, with_classes
from mrcnn.detect.card import files_of, write_card
from mrcnn.detect.exported import Exported, as_bytes
from mrcnn.detect.runtimes import Feed, need
from mrcnn.errors import UsageError
from mrcnn.evaluate.coco import evaluate_dataset, measuring_config
from mrcnn.export.proof import ProofFailed, fitted
from mrcnn.words import counted

PICTURES = 40  # that the ranges of values are taken from
LOSS = 0.02  # of mask AP, from which a file is not kept
_TIMED = 15  # pictures that calls are timed on
_LAYERS = {"Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul"}
_AFTER = {"Add", "Multiply", "Relu", "Clamp"}  # what is computed with a layer
_SHAPES = {"Reshape", "Squeeze", "Unsqueeze"}
_BETWEEN = {  # what may lie between two layers of one network
    *(
        "Add",
        "Multiply",
        "Relu",
        "Clamp",
        "MaxPool",
        "Pad",
        "Interpolate",
        "Tile",
        "Broadcast",
        "Concat",
    ),
    *("Transpose", *_SHAPES),
}
_ARITHMETIC = {
    *("Add", "Subtract", "Multiply", "Divide", "Maximum", "Minimum", "Power", "Sqrt", "Exp", "Log"),
    *("ReduceSum", "ReduceMax", "ReduceMean", "Clamp", "Floor", "Round", "Interpolate"),
}


class Labelled(NamedTuple):
    """The two parts of a set, with the classes of the network."""

    train: Dataset  # ranges are taken from
    val: Dataset  # AP is measured on


def labelled(data: str | os.PathLike, to: str, class_names: Sequence[str]) -> Labelled:
    """Open a set, before anything is built. Raises UsageError or FormatError."""
    if to != "openvino":
        raise UsageError(f"--int8 is for --to openvino; a file of {to} stays in float32.")
    need("nncf", "int8", Path("--int8"))
    parts = (open_part(data, subset=part) for part in ("train", "val"))
    return Labelled(*(with_classes(part, class_names) for part in parts))


def smaller(
    file: Exported,
    sets: Labelled,
    size: tuple[int, int] | None,
    folder: Path,
    say: Callable[[str], None],
) -> tuple[Path, dict[str, Any]]:
    """Write a proven file once more with eight bits, and measure both.

    Returns the path, in `folder` under the name with _int8 behind it, and what its card says.
    Raises ProofFailed where mask AP falls by more than LOSS.
    """
    source = file.card.path
    path = folder / f"{source.stem}_int8{source.suffix}"
    given = feeds(file, sets.train, size)
    say(f"Taking the ranges of values from {counted(len(given), 'picture')} of the training part")
    of_openvino(source, path, given)
    least = measuring_config(file.config)
    write_card(path, file.card.told)
    both = [Exported(source, least), Exported(path, least)]
    before, after = (measured(one, sets.val) for one in both)
    before["seconds"], after["seconds"] = seconds(both, sets.val)
    for one, where in ((before, source), (after, path)):
        one["bytes"] = sum(part.stat().st_size for part in files_of(where))
    say(as_text(before, after, len(sets.val.image_ids)))
    if before["AP"] - after["AP"] > LOSS:
        raise ProofFailed(
            f"with eight bits mask AP falls from {before['AP']:.3f} to {after['AP']:.3f}, by more "
            f"than {LOSS}, so the file was not kept. More pictures of all kinds in the part for "
            "training give better ranges."
        )
    told = {"pictures": len(given), "measured_on": len(sets.val.image_ids)}
    return path, {**told, "before": before, "after": after}


def as_text(before: dict[str, float], after: dict[str, float], pictures: int) -> str:
    """Both side by side, and how many times faster."""
    faster = before["seconds"] / after["seconds"]
    rows = [
        ("", "float32", "int8"),
        ("mask AP", f"{before['AP']:.4f}", f"{after['AP']:.4f}"),
        ("box AP", f"{before['box_AP']:.4f}", f"{after['box_AP']:.4f}"),
        ("file", f"{before['bytes'] / 1e6:.1f} MB", f"{after['bytes'] / 1e6:.1f} MB"),
        ("a picture", f"{before['seconds']:.3f} s", f"{after['seconds']:.3f} s"),
    ]
    lines = [f"{name:10}{one:>10}{other:>10}" for name, one, other in rows]
    return "\n".join([*lines, f"On {counted(pictures, 'picture')}; {faster:.2f} times the speed."])


def some(dataset: Dataset, most: int) -> list[int]:
    """Image ids of at most so many pictures, spread over the whole set."""
    ids = [int(i) for i in dataset.image_ids]
    places = np.unique(np.linspace(0, len(ids) - 1, min(most, len(ids))).round().astype(int))
    return [ids[i] for i in places]


def feeds(
    file: Exported, dataset: Dataset, size: tuple[int, int] | None, most: int = PICTURES
) -> list[Feed]:
    """What a file is fed with pictures of a set, which become the size that it takes."""
    shown = (as_bytes(dataset.load_image(i)) for i in some(dataset, most))
    pictures = (fitted(picture, file.config, size) for picture in shown)
    return [file.feed(picture) for picture in pictures if picture is not None]


def of_openvino(source: Path, target: Path, calibration: Iterable[Feed]) -> None:
    """Write an OpenVINO file of eight bits from one of float32. calibration: inputs of the file."""
    ov, nncf = need("openvino", "openvino", target), need("nncf", "int8", target)
    logging.getLogger("nncf").setLevel(logging.ERROR)  # it names each operation that stays
    model = ov.Core().read_model(source)
    given = list(calibration)
    small = nncf.quantize(
        model,
        nncf.Dataset(given),
        subset_size=len(given),
        preset=nncf.QuantizationPreset.MIXED,
        ignored_scope=nncf.IgnoredScope(names=kept_in_float(model), validate=False),
    )
    ov.save_model(small, target, compress_to_fp16=False)


def kept_in_float(model: Any) -> list[str]:
    """The operations of an OpenVINO model that are not to be of eight bits."""
    operations = model.get_ordered_ops()
    within: set[str] = set()
    last = []
    for layer in operations:
        if layer.get_type_name() in _LAYERS:
            within |= _computed_with(layer)
            if not _another_follows(layer):
                last.append(layer.get_friendly_name())
    others = [
        op.get_friendly_name()
        for op in operations
        if op.get_type_name() in _ARITHMETIC and op.get_friendly_name() not in within
    ]
    return [*last, *others]


def _computed_with(layer: Any) -> set[str]:
    """Names of the bias, the batch norm, the activation and the sum that come after a layer."""
    found: set[str] = set()
    waiting = [layer]
    while waiting:
        for op in _consumers(waiting.pop()):
            name, kind = op.get_friendly_name(), op.get_type_name()
            fits = kind != "Multiply" or any(map(_constant, op.input_values()))
            if (kind in _SHAPES or kind in _AFTER) and fits and name not in found:
                found.add(name)
                waiting.append(op)
    return found


def _another_follows(layer: Any) -> bool:
    """Whether what a layer gives goes into another layer, and not only into arithmetic."""
    seen: set[str] = set()
    waiting = [layer]
    while waiting:
        for op in _consumers(waiting.pop()):
            kind = op.get_type_name()
            if kind in _LAYERS:
                return True
            if kind in _BETWEEN and op.get_friendly_name() not in seen:
                seen.add(op.get_friendly_name())
                waiting.append(op)
    return False


def _consumers(op: Any) -> list[Any]:
    return [port.get_node() for output in op.outputs() for port in output.get_target_inputs()]


def _constant(value: Any) -> bool:
    return value.get_node().get_type_name() in ("Constant", "Convert")


def measured(file: Exported, dataset: Dataset) -> dict[str, float]:
    """AP of masks and boxes as COCO has it."""
    most = max(100, int(file.config.DETECTION_MAX_INSTANCES))
    found = evaluate_dataset(file, dataset, max_detections=most, verbose=0)
    return {"AP": found["AP"], "box_AP": found["box_AP"]}


def seconds(files: Sequence[Exported], dataset: Dataset) -> list[float]:
    """The median of a call of each file, taking turns on the same pictures."""
    pictures = [as_bytes(dataset.load_image(i)) for i in some(dataset, _TIMED)]
    spent: list[list[float]] = [[] for _ in files]
    for picture in pictures:
        for file, times in zip(files, spent):
            file.find(picture)  # lays out its memory for this size
            began = time.perf_counter()
            file.find(picture)
            times.append(time.perf_counter() - began)
    return [float(np.median(times)) for times in spent]
