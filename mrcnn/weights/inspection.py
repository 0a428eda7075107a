"""What a weight file holds, and which Config fits it. Imports no TensorFlow.

print(inspect_weights("mask_rcnn_coco.h5"))
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.config import Config
from mrcnn.weights.files import WeightsError, open_weights
from mrcnn.weights.names import CLASS_CONFIDENCE, part_of
from mrcnn.words import printable

Shapes = Mapping[tuple[str, str], tuple[int, ...]]

PARTS = ("encoder", "FPN", "RPN", "class and box head", "mask head")

# Config attribute -> the tensors that show it, as (layer, weight, axis); the first one there
# counts. An attribute that no tensor depends on can't be told from a file.
_EVIDENCE = {
    "NUM_CLASSES": (
        ("mrcnn_class_logits", "kernel", -1),
        ("mrcnn_class_logits", "bias", -1),
        ("mrcnn_mask", "kernel", -1),
    ),
    "TOP_DOWN_PYRAMID_SIZE": (("fpn_c5p5", "kernel", -1), ("rpn_conv_shared", "kernel", -2)),
    "FPN_CLASSIF_FC_LAYERS_SIZE": (("mrcnn_class_conv1", "kernel", -1),),
    "POOL_SIZE": (("mrcnn_class_conv1", "kernel", 0),),
    "RPN_CONV_CHANNELS": (("rpn_conv_shared", "kernel", -1),),
    "MASK_CONV_CHANNELS": (("mrcnn_mask_conv1", "kernel", -1),),
    "IMAGE_CHANNEL_COUNT": (("conv1", "kernel", -2),),
}
_STAGE_4_BLOCKS = {6: "resnet50", 23: "resnet101"}
_BASIC_WIDTHS = {64: "resnet18", 32: "resnet18_half"}


def config_attributes(shapes: Shapes) -> dict[str, str | int]:
    """The Config attributes that tensors of these shapes were made with.

    shapes: {(layer, weight): shape} of a file or of a model.
    Returns only what the shapes show: BACKBONE (absent for one that isn't the package's own),
    NUM_CLASSES, TOP_DOWN_PYRAMID_SIZE, FPN_CLASSIF_FC_LAYERS_SIZE, POOL_SIZE, RPN_CONV_CHANNELS,
    MASK_CONV_CHANNELS and IMAGE_CHANNEL_COUNT.
    """
    attributes: dict[str, str | int] = {}
    backbone = _backbone(shapes)
    if backbone not in (None, "other"):
        attributes["BACKBONE"] = backbone
    for name, evidence in _EVIDENCE.items():
        for layer, weight, axis in evidence:
            shape = shapes.get((layer, weight), ())
            if len(shape) >= abs(axis) + (axis >= 0):
                attributes[name] = int(shape[axis])
                break
    return attributes


def anchors_per_location(shapes: Shapes) -> int | None:
    """Anchors in each cell, which is the number of RPN_ANCHOR_RATIOS; None without an RPN."""
    shape = shapes.get(("rpn_class_raw", "kernel"), ())
    return int(shape[-1]) // 2 if shape else None  # a background and a foreground score each


def _backbone(shapes: Shapes) -> str | None:
    encoder = {layer for layer, _ in shapes if part_of(layer) == "encoder"}
    blocks = {layer.split("_")[0] for layer in encoder if layer.startswith("res4")}
    if not encoder:
        return None
    if "res1a_depthwise" in encoder:
        return "efficientnet_lite0"
    if len(blocks) == 2 and "res4a_branch2c" not in encoder:
        return _BASIC_WIDTHS.get(shapes.get(("conv1", "kernel"), (0,))[-1], "other")
    return _STAGE_4_BLOCKS.get(len(blocks), "other")


@dataclass(frozen=True)
class WeightsInfo:
    """What a weight file holds. `str()` gives it as text, `config_attributes()` as values."""

    path: Path
    format: str
    layers: int  # layers that own tensors
    tensors: int
    parameters: int
    backbone: str | None  # as in Config, "other", or None where there is no encoder
    anchors_per_location: int | None
    parts: list[str]  # those of PARTS that are there
    attributes: dict[str, str | int] = field(default_factory=dict)
    description: dict[str, Any] = field(default_factory=dict)  # what the file says of itself
    layer_names: frozenset[str] = frozenset()  # of those that own tensors

    @property
    def num_classes(self) -> int | None:
        """Classes, background included; None for a file without heads."""
        return self.attributes.get("NUM_CLASSES")

    def config_attributes(self) -> dict[str, str | int]:
        """Attributes to set on a Config so that the model fits this file.

        What the file says of itself counts (one that this package wrote), and what its tensors
        show counts more.
        """
        told = self.description.get("config")
        return {**(told if isinstance(told, dict) else {}), **self.attributes}

    @property
    def class_names(self) -> list[str] | None:
        """The names by class id, "BG" first, where the file tells them."""
        names = self.description.get("class_names")
        fits = isinstance(names, list) and len(names) == self.num_classes
        return [printable(name) for name in names] if fits else None

    @property
    def class_confidence(self) -> list[float] | None:
        """The least scores by class id that were chosen for these weights, where the file has them.

        `mrcnn evaluate --save-thresholds` writes them.
        """
        told = self.description.get(CLASS_CONFIDENCE)
        scores = told.get("scores") if isinstance(told, dict) else None
        if not isinstance(scores, list) or len(scores) != self.num_classes:
            return None
        numbers = all(isinstance(x, (int, float)) and 0 <= x <= 1 for x in scores)
        return [float(score) for score in scores] if numbers else None

    def suggested_config(self) -> list[str]:
        """The lines of a Config subclass that fits this file."""
        values = {"NAME": "file", **self.config_attributes()}
        defaults = Config().hyper_parameters()
        lines = ["class FileConfig(Config):"]
        lines += [
            f"    {name} = {json.dumps(value) if isinstance(value, str) else repr(value)}"
            for name, value in values.items()
            if name in self.attributes or defaults.get(name) != value
        ]
        if self.backbone == "other":
            lines.append(
                "    # BACKBONE: the encoder is not Matterport's ResNet; give its function."
            )
        if self.attributes.get("IMAGE_CHANNEL_COUNT", 3) != 3:
            lines.append("    # MEAN_PIXEL: one value for each channel.")
        if self.anchors_per_location not in (None, 3):
            lines.append(f"    # RPN_ANCHOR_RATIOS: {self.anchors_per_location} values.")
        return lines

    def __str__(self) -> str:
        absent = [part for part in PARTS if part not in self.parts]
        rows = [
            ("format", self.format),
            ("tensors", f"{self.tensors:,} in {self.layers:,} layers"),
            ("parameters", f"{self.parameters:,}"),
            ("backbone", self.backbone or "none"),
            ("classes", self.num_classes and f"{self.num_classes} (background included)"),
            ("class names", self.class_names and ", ".join(self.class_names)),
            ("least scores", self.class_confidence and _by_class(self)),
            ("anchors a cell", self.anchors_per_location),
            ("parts", ", ".join(self.parts) or "none of Mask R-CNN's"),
            ("not there", ", ".join(absent)),
        ]
        lines = [str(self.path)]
        lines += [f"  {name:15} {value}" for name, value in rows if value]
        return "\n".join([*lines, "", *self.suggested_config()])


def _by_class(info: WeightsInfo) -> str:
    scores = info.class_confidence or []
    names = info.class_names or [f"class {i}" for i in range(len(scores))]
    return ", ".join(f"{name} {score:g}" for name, score in [*zip(names, scores)][1:])


def inspect_weights(path: str | os.PathLike) -> WeightsInfo:
    """Say what a weight file holds, from its names and shapes; no tensor is read.

    Raises WeightsNotFoundError and WeightsError as `open_weights` does, and WeightsError for a
    file without any tensor.
    """
    with open_weights(path) as file:
        shapes = {key: tensor.shape for key, tensor in file.tensors.items()}
        path, format, description = file.path, file.format, file.description
    if not shapes:
        raise WeightsError(f"{path} holds no tensors at all: it was saved from an empty model.")
    layers = {layer for layer, _ in shapes}
    there = {part_of(layer) for layer in layers}
    return WeightsInfo(
        path=path,
        format=format,
        layers=len(layers),
        tensors=len(shapes),
        parameters=sum(math.prod(shape) for shape in shapes.values()),
        backbone=_backbone(shapes),
        anchors_per_location=anchors_per_location(shapes),
        parts=[part for part in PARTS if part in there],
        attributes=config_attributes(shapes),
        description=description,
        layer_names=frozenset(layers),
    )


def read_through(path: str | os.PathLike) -> WeightsInfo:
    """What `inspect_weights` says, once every tensor has been read.

    Raises WeightsError also for a tensor that can't be read or holds NaN or infinite values.
    """
    info = inspect_weights(path)
    size = info.path.stat().st_size
    with open_weights(path) as file:
        for (layer, weight), tensor in file.tensors.items():
            if math.prod(tensor.shape) > size:
                raise WeightsError(f"{path} is damaged: {layer}/{weight} is larger than the file.")
            if not np.isfinite(tensor.read()).all():
                raise WeightsError(f"{path} is damaged: {layer}/{weight} holds no numbers.")
    return info
