"""What a weight file says of the Config and the classes that it was trained with.

config_from_weights(inspect_weights("cells.h5"))
"""

import difflib
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.config import Config, hyper_parameter_names
from mrcnn.data.coco_names import COCO_NAMES
from mrcnn.detect.tiles import TRAINED_ON_PIECES
from mrcnn.errors import UsageError
from mrcnn.weights.errors import warn
from mrcnn.weights.inspection import PARTS, WeightsInfo, inspect_weights


def config_from_weights(info: WeightsInfo, training: bool = False) -> Config:
    """A Config that fits a weight file, as far as the file shows; the rest are the defaults.

    training: as it was trained; without, to detect: whole pictures, one at a time.
    """
    known = hyper_parameter_names()
    shown = {name: value for name, value in info.config_attributes().items() if name in known}
    shown["NAME"] = shown.get("NAME") or info.path.stem
    if training:
        shown.pop("DETECTION_CLASS_CONFIDENCE", None)  # chosen for weights that will change
        return type("FileConfig", (Config,), shown)()
    shown |= {"IMAGES_PER_GPU": 1, "GPU_COUNT": 1}
    if info.class_confidence:
        shown["DETECTION_CLASS_CONFIDENCE"] = info.class_confidence
    shown.pop("MIXED_PRECISION", None)  # was good on the machine that trained
    if shown.get("IMAGE_RESIZE_MODE") == "crop":
        shown["IMAGE_RESIZE_MODE"] = "pad64"  # trained on pieces, but whole pictures are wanted
        shown[TRAINED_ON_PIECES] = True
    return type("FileConfig", (Config,), shown)()


def of_file(
    path: str | os.PathLike, training: bool, settings: Mapping[str, Any]
) -> tuple[Config, list[str] | None]:
    """The Config of a weight file with some settings changed, and its classes where known.

    Warns where the file tells nothing of its config, so that what no tensor shows is guessed.
    Raises UsageError for a setting that no Config has, and what `check_fits` raises.
    """
    info = inspect_weights(path)
    config = config_from_weights(info, training)
    known = [name for name in dir(Config) if name.isupper()]
    for name, value in settings.items():
        if name not in known:
            near = difflib.get_close_matches(name.upper(), known, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise UsageError(f"the Config has no {name} to set.{hint}")
        setattr(config, name, value)
    one_for_all(config, settings)
    check_fits(config, info)
    coco = info.num_classes == len(COCO_NAMES)
    if not coco and not info.description.get("config"):
        warn(
            f"{info.path} doesn't tell how it was trained: its layers' sizes are known, and for "
            "anchors, mean pixel and resizing the package's own values are taken. Set those that "
            "were others, such as RPN_ANCHOR_SCALES."
        )
    return config, info.class_names or (list(COCO_NAMES) if coco else None)


def one_for_all(config: Config, given: Collection[str]) -> None:
    """Where somebody gives one least confidence for all classes, those by class don't count.

    given: the names of the attributes that were set by hand.
    """
    if "DETECTION_MIN_CONFIDENCE" in given and "DETECTION_CLASS_CONFIDENCE" not in given:
        config.DETECTION_CLASS_CONFIDENCE = None


def by_class(config: Config, names: Sequence[str]) -> dict[str, float]:
    """{class name: least confidence} where a Config has one for each class, else {}.

    names: by class id, "BG" first.
    """
    least = config.DETECTION_CLASS_CONFIDENCE
    return {} if least is None else dict(zip(names[1:], map(float, least[1:])))


def check_fits(config: Config, info: WeightsInfo) -> None:
    """Refuse weights with which the network of this Config can't detect.

    The loader would find out as well, but only after TensorFlow came up and the network was built.
    Raises UsageError.
    """
    absent = [part for part in PARTS if part not in info.parts]
    if absent:
        raise UsageError(
            f"{info.path} has no {', no '.join(absent)}: nothing can be detected with it. Train "
            "it first, or take the weights of a whole Mask R-CNN."
        )
    if info.backbone == "other" and not callable(config.BACKBONE):
        raise UsageError(
            f"the encoder in {info.path} is none of this package's: give a Config (by "
            "--config) whose BACKBONE is its function."
        )
    found = differences(config, info)
    if found:
        raise UsageError(
            f"{info.path} doesn't fit {type(config).__name__} ({'; '.join(found)}): give "
            "the values that it was trained with, by --config or --set."
        )


def differences(config: Config, info: WeightsInfo, but: Collection[str] = ()) -> list[str]:
    """What of a Config the tensors of a weight file contradict, as "NAME: file x, config y".

    but: names that may differ.
    """
    found = [
        f"{name}: file {value}, config {getattr(config, name)}"
        for name, value in info.attributes.items()
        if name not in but
        and getattr(config, name) != value
        and not callable(getattr(config, name))
    ]
    ratios = len(np.ravel(config.RPN_ANCHOR_RATIOS))
    if info.anchors_per_location not in (None, ratios):
        found.append(f"RPN_ANCHOR_RATIOS: file {info.anchors_per_location} values, config {ratios}")
    return found


def class_names(
    classes: str | None, num_classes: int, weights: str = "", told: list[str] | None = None
) -> list[str]:
    """The names by class id, "BG" first: those the user gave, else what the weights are known for.

    told: the names that the weight file itself holds.

    classes: names separated by commas, or the path of a text file with one name a line; the
    background may be among them as the first. Raises UsageError if their number isn't num_classes.
    """
    if told:
        default = told
    elif weights == "balloon":
        default = ["BG", "balloon"]
    elif num_classes == len(COCO_NAMES):
        default = COCO_NAMES
    else:
        default = ["BG", *(f"class {i}" for i in range(1, num_classes))]
    if classes is None:
        return list(default)
    if Path(classes).is_file():
        text = Path(classes).read_text(encoding="utf-8-sig", errors="replace").splitlines()
    else:
        text = classes.split(",")
    names = [name.strip() for name in text if name.strip()]
    if len(names) != num_classes or names[0].lower() not in ("bg", "background"):
        names = ["BG", *names]
    if len(names) != num_classes:
        raise UsageError(
            f"--classes names {len(names) - 1} classes and the network has {num_classes - 1} "
            "(the background not counted)."
        )
    return names
