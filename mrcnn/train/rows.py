"""The heads' rows, class by class: what weights know of a class goes along to other data.

    load_for_classes(model, "eggs.h5", ["BG", "egg", "shell"])    # a MaskRCNN for training

Three layers have numbers of their own for each class, on the last axis of every tensor (C: classes,
the background first):
    mrcnn_class_logits    kernel [features, C], bias [C]
    mrcnn_bbox_fc         kernel [features, C * 4], bias [C * 4], class by class
    mrcnn_mask            kernel [1, 1, channels, C], bias [C]
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.data.coco_names import COCO_NAMES
from mrcnn.weights.errors import WeightsError, warn
from mrcnn.weights.files import open_weights
from mrcnn.weights.inspection import WeightsInfo, inspect_weights
from mrcnn.weights.names import CLASS_DEPENDENT
from mrcnn.weights.report import LoadReport
from mrcnn.words import listed, plain_name, printable

ANY = "object"  # what weights know that tell no kinds of things apart
VALUES = {"mrcnn_class_logits": 1, "mrcnn_bbox_fc": 4, "mrcnn_mask": 1}  # of a class in a row


def known_names(info: WeightsInfo) -> list[str]:
    """The classes of the heads by class id, "BG" first; [] where nobody knows their names."""
    if info.class_names:
        return info.class_names
    return list(COCO_NAMES) if info.num_classes == len(COCO_NAMES) else []


def same_classes(ours: Sequence[str], theirs: Sequence[str]) -> dict[int, int]:
    """{class id here: class id there} of the classes of one name; the background is always one.

    ours, theirs: names by class id, "BG" first. Case and _ for a space make no difference where
    that leaves no choice. Weights that only know an "object" know a little of every class.
    {} where no class but the background is in both.
    """
    if list(theirs[1:]) == [ANY]:
        return {i: min(i, 1) for i in range(len(ours))}
    found = {i: theirs.index(name) for i, name in enumerate(ours) if i and name in theirs[1:]}
    mine, other = (
        [(i, plain_name(name)) for i, name in enumerate(names) if i and i not in taken]
        for names, taken in ((ours, found), (theirs, found.values()))
    )
    for i, name in mine:
        alike = [j for j, their_name in other if their_name == name]
        if len(alike) == 1 and [known for _, known in mine].count(name) == 1:
            found[i] = alike[0]
    return {0: 0, **found} if found else {}


def take_rows(
    values: np.ndarray, known: np.ndarray, rows: Mapping[int, int], each: int
) -> np.ndarray:
    """`values` with the rows of some classes taken from `known`.

    values, known: [.., C * each] of two numbers of classes C. rows: {class id of `values`: class
    id of `known`}. each: values of a class in a row.
    """
    shape, theirs = values.shape, known.reshape(*known.shape[:-1], -1, each)
    values = values.reshape(*shape[:-1], -1, each).copy()
    values[..., list(rows), :] = theirs[..., list(rows.values()), :]
    return values.reshape(shape)


def load_for_classes(model: Any, path: str | os.PathLike, class_names: Sequence[str]) -> LoadReport:
    """Load weights into a model that is going to be trained on other classes.

    model: a MaskRCNN for training, its NUM_CLASSES that of class_names ("BG" first). All layers
    are loaded, and of the heads the rows of the classes that the file knows by name, in whatever
    order; the rows of the others stay as they are, which is random in a new model. A new run
    begins, whatever run the file is of. Warns where no class is known, so that the heads are new
    altogether. Raises WeightsError as `MaskRCNN.load_weights` does, and where class_names doesn't
    fit the model.
    """
    path, names = Path(path), list(class_names)
    if len(names) != model.config.NUM_CLASSES:
        raise WeightsError(
            f"{len(names)} classes are named, background included, and the model has NUM_CLASSES "
            f"{model.config.NUM_CLASSES}: give a name for each, and BG as the first."
        )
    theirs = known_names(inspect_weights(path))
    rows = same_classes(names, theirs)
    values = _read_rows(model.keras_model, path, rows, len(theirs))
    report = model.load_weights(path, by_name=True, exclude=list(CLASS_DEPENDENT))
    for variable, array in values:
        variable.assign(array)
    if not rows:
        known = f"knows {listed(theirs[1:])}" if theirs else "doesn't name its classes"
        warn(f"{path.name} {known}: the heads begin anew for {listed(map(printable, names[1:]))}.")
    model.class_names = names
    model.set_log_dir()  # what the heads learn from here on is no part of another run
    return report


def _read_rows(
    keras_model: Any, path: Path, rows: Mapping[int, int], classes: int
) -> list[tuple[Any, np.ndarray]]:
    """(variable, its values with the rows that the file knows) of the three layers."""
    found = []
    with open_weights(path) as file:
        for name, each in VALUES.items() if rows else ():
            for variable in keras_model.get_layer(name).weights:
                tensor, values = file.tensors.get((name, variable.name)), variable.numpy()
                expected = (*values.shape[:-1], classes * each)
                if tensor is None or tensor.shape != expected:
                    shape = "nothing" if tensor is None else tensor.shape
                    raise WeightsError(
                        f"{path} has {shape} for {name}/{variable.name}, where {classes} classes "
                        f"would have {expected}: its heads can't be taken class by class. Load it "
                        f"with exclude={list(CLASS_DEPENDENT)}."
                    )
                found.append((variable, take_rows(values, tensor.read(), rows, each)))
    return found
