"""Whether the config that a weight file carries agrees with that of the model it goes into.

What tensors show by their shapes is compared by the loader. Here is the rest: what no tensor shows
and the weights have learned to rely on all the same.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.config import Config
from mrcnn.weights.errors import warn
from mrcnn.weights.names import CLASS_DEPENDENT
from mrcnn.words import listed, printable

_BY_THE_ENCODER = ("MEAN_PIXEL",)
_BY_ALL = (
    *("RPN_ANCHOR_SCALES", "RPN_ANCHOR_RATIOS", "RPN_ANCHOR_STRIDE", "BACKBONE_STRIDES"),
    *("RPN_BBOX_STD_DEV", "BBOX_STD_DEV", "MASK_POOL_SIZE", *_BY_THE_ENCODER),
)
# What a way of resizing reads; "crop" trains on pieces, so large, of what "pad64" detects in.
_RESIZING = {
    "none": ("IMAGE_RESIZE_MODE",),
    "square": ("IMAGE_RESIZE_MODE", "IMAGE_MIN_DIM", "IMAGE_MAX_DIM", "IMAGE_MIN_SCALE"),
    "pad64": ("IMAGE_RESIZE_MODE", "IMAGE_MIN_DIM", "IMAGE_MIN_SCALE"),
    "crop": ("IMAGE_RESIZE_MODE", "IMAGE_MIN_SCALE"),
}


def disagreement(
    path: Path, told: Any, config: Config, training: bool, encoder_only: bool = False
) -> str | None:
    """A sentence on what differs between a file's config and a model's; None where nothing does.

    told: the file's config, {} in files of other programs. How pictures are resized counts where
    objects are to be found: training learns any size. Thresholds and limits are a matter of taste.
    A value that somebody has set on the Config's object itself, not in its class, is meant so.
    """
    told = told if isinstance(told, Mapping) else {}
    names = _BY_THE_ENCODER if encoder_only else _BY_ALL
    if not training and not encoder_only:
        names += _RESIZING.get(str(told.get("IMAGE_RESIZE_MODE")), ())
    found = [
        f"{name} {_shown(told[name])} (here {_shown(getattr(config, name))})"
        for name in names
        if name in told
        and name not in vars(config)
        and not _same(_plain(name, told[name]), _plain(name, getattr(config, name)))
    ]
    if not found:
        return None
    return (
        f"{path.name} was trained under other settings than this model has: {', '.join(found)}. "
        "Its weights are used to theirs: set them in your Config, or build the model by "
        f'MaskRCNN.from_checkpoint("{path}"), which takes them from the file.'
    )


def warn_of_other_classes(known: Sequence[str] | None, names: Sequence[str]) -> None:
    """Warn where heads that know classes are about to learn others in their places.

    known, names: by class id; known may be None.
    """
    known, names = list(known or []), list(names)
    if not known or known == names or len(known) != len(names):
        return
    layers = ", ".join(f'"{name}"' for name in CLASS_DEPENDENT)
    warn(
        f"The weights' heads know {listed(map(printable, known[1:]))}, and go on learning "
        f"{listed(map(printable, names[1:]))} in their places, in this order. To begin with new "
        f"heads, load the weights with exclude=[{layers}]."
    )


def _plain(name: str, value: Any) -> Any:
    """A value, with those made equal that do the same."""
    if name == "IMAGE_RESIZE_MODE":
        return "pad64" if value == "crop" else value
    if name == "IMAGE_MIN_DIM":
        return value or 0
    if name == "IMAGE_MIN_SCALE":
        return value if isinstance(value, int | float) and value > 1 else 0
    return value


def _same(told: Any, own: Any) -> bool:
    if isinstance(told, str) or isinstance(own, str):
        return isinstance(told, str) and isinstance(own, str) and told == own
    try:
        return bool(np.allclose(np.asarray(told, float), np.asarray(own, float)))
    except (TypeError, ValueError):
        return False


def _shown(value: Any) -> str:
    value = value.tolist() if isinstance(value, np.ndarray) else value
    text = printable(repr(list(value) if isinstance(value, tuple) else value))
    return text if len(text) <= 80 else f"{text[:78]}.."
