"""Opening labelled pictures: the part that is needed, and classes in the order that is needed.

train = open_part("cells/", subset="train")      # LabelledDataset, prepared
val = open_part("cells/", subset="val")          # a fixed fifth where the folder has no parts
val = with_classes(val, train.class_names)       # the same numbers for the same names
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mrcnn.data import formats
from mrcnn.data.classes import used_classes
from mrcnn.data.dataset import Dataset
from mrcnn.data.view import View
from mrcnn.errors import UsageError
from mrcnn.whole import no_file
from mrcnn.words import counted

VALIDATION_SHARE = 0.2  # of the pictures, where nobody has said which are for validation

# How data sets in the wild call their parts; COCO puts a year behind.
_CALLED = {"train": ("train", "training"), "val": ("val", "valid", "validation", "minival")}
_UNNAMED = ["BG", "object"]  # the classes of a set whose files name none


def open_part(
    data: str | os.PathLike,
    format: str = "auto",
    subset: str = "train",
    class_name: str = "object",
    class_attribute: str | None = None,
    pieces: str = "auto",
) -> formats.LabelledDataset | View:
    """Open the part of a data set that a command needs, prepared.

    subset: "train" or "val" (a part that is called so, or "valid", "val2017" and the like), the
        name of any other part, or "all" for a set without parts.
    class_name: of the only class, where the files name none.
    class_attribute, pieces: as `mrcnn.data.open` takes them.
    Where the data have no part for validation, a fifth of the pictures, at least one, is kept for
    it: the same pictures each time, and nearly the same ones after more were added. A sentence in
    `notes` then says so.
    Raises UsageError where there is no such part, or FormatError for data that can't be read.
    """
    path = existing(data)
    how: dict[str, Any] = {
        "class_name": class_name,
        "class_attribute": class_attribute,
        "pieces": pieces,
    }
    parts = formats.subsets(path, format)
    if subset == "all" and not parts:
        return formats.open(path, format, **how)
    if subset in parts and subset not in _CALLED:
        return formats.open(path, format, subset, **how)
    told = f"it has {', '.join(parts)}" if parts else "it is one set without parts"
    if subset not in _CALLED:
        raise UsageError(f"{path} has no part {subset}: {told}.")
    there = {which for which in _CALLED for part in parts if is_called(part, which)}
    if {subset, "val"} <= there:
        return formats.open(path, format, subset, **how)
    if parts and "train" not in there:
        raise UsageError(
            f"{path} has no part {subset}: {told}. Name one of them train, or give the path of the "
            "one that you mean."
        )
    return _split(formats.open(path, format, "train" if parts else None, **how), subset)


def with_classes(
    dataset: formats.LabelledDataset | View, class_names: Sequence[str]
) -> formats.LabelledDataset | View:
    """The same pictures, their classes numbered as in `class_names` ("BG" first).

    A class without a name of its own is that of `class_names`, if this has only one. A class
    without instances may be missing there.
    Raises UsageError where the pictures have a class that is not among these.
    """
    names = list(dataset.class_names)
    if names == list(class_names):
        return dataset
    if names == _UNNAMED and len(class_names) == 2:
        names = list(class_names)
    unknown = [name for name in names if name not in class_names]
    used = used_classes([dataset], crowds=True) if unknown else None
    if used is not None:  # one that is only listed is no loss
        unknown = [name for name in unknown if name in used]
    if unknown:
        raise UsageError(
            f"{dataset.root} has classes that are not expected here: {', '.join(unknown)}. "
            f"Expected are {', '.join(class_names[1:])}."
        )
    rows = [(dataset, i) for i in dataset.image_ids]
    renamed = dict(zip(dataset.class_names, names))
    return View(rows, dataset, class_names, renamed)


def existing(data: str | os.PathLike) -> Path:
    """The path of a data set. Raises UsageError where nothing is that could be one."""
    path = Path(data).expanduser()
    what = no_file(path)
    if what == "nothing":
        raise UsageError(f"there is no file or folder {path}.")
    if what not in ("", "a folder"):
        raise UsageError(f"{path} is {what}, neither a file nor a folder.")
    return path


def is_called(part: str, which: str) -> bool:
    """Whether a part is what is meant by "train" or "val": "training", "val2017" and the like."""
    return part.lower().rstrip("0123456789_-") in _CALLED[which]


def kept_for_validation(whole: Dataset) -> set[int]:
    """Image ids of the pictures that a set without a part for validation keeps for it.

    By a hash of its name, so that a picture stays where it is when others are added.
    """
    ids = [info["id"] for info in whole.image_info]
    names = [str(i).encode("utf-8", "surrogatepass") for i in ids]  # a file's may be no UTF-8
    ranked = sorted(range(len(ids)), key=lambda i: hashlib.sha256(names[i]).digest())
    return set(ranked[: max(1, round(VALIDATION_SHARE * len(ids)))])


def _split(whole: formats.LabelledDataset, subset: str) -> View:
    number = len(whole.image_info)
    if number < 2:
        raise UsageError(
            f"{whole.root} has {counted(number, 'labelled picture')}: training needs at least "
            "two, one of them for validation."
        )
    kept = kept_for_validation(whole)
    note = (
        f"{whole.root} has no part for validation: it takes {len(kept)} of its {number} pictures, "
        f"always the same, and training the other {number - len(kept)}."
    )
    chosen = [i for i in range(number) if (i in kept) == (subset == "val")]
    return View([(whole, i) for i in chosen], whole, whole.class_names, notes=[note])
