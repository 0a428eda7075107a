"""How commands open labelled pictures: the part they need, and classes in the order they need.

train = open_part("cells/", subset="train")      # LabelledDataset, prepared
val = open_part("cells/", subset="val")          # a fixed fifth where the folder has no parts
val = with_classes(val, train.class_names)       # the same numbers for the same names
"""

import argparse
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mrcnn.cli.errors import UsageError
from mrcnn.cli.terminal import counted
from mrcnn.data import formats
from mrcnn.data.dataset import Dataset, mask_crops
from mrcnn.geometry.crops import MaskCrops

VALIDATION_SHARE = 0.2  # of the pictures, where nobody has said which are for validation

# How data sets in the wild call their parts; COCO puts a year behind.
_CALLED = {"train": ("train", "training"), "val": ("val", "valid", "validation", "minival")}
_UNNAMED = ["BG", "object"]  # the classes of a set whose files name none


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """DATA and how to read it, the same for every command that takes labelled pictures."""
    parser.add_argument(
        "data",
        metavar="DATA",
        help="a folder of labelled pictures, or an annotation file (COCO, VIA)",
    )
    parser.add_argument(
        "--format",
        default="auto",
        choices=["auto", *formats.FORMATS],
        help="what labelled them (default: found out from the files)",
    )
    parser.add_argument(
        "--class-name",
        default="object",
        metavar="NAME",
        help="what is labelled, where the files don't name it, as with masks (default: object)",
    )


def open_part(
    data: str | os.PathLike,
    format: str = "auto",
    subset: str = "train",
    class_name: str = "object",
) -> "formats.LabelledDataset | View":
    """Open the part of a data set that a command needs, prepared.

    subset: "train" or "val" (a part that is called so, or "valid", "val2017" and the like), the
        name of any other part, or "all" for a set without parts.
    class_name: of the only class, where the files name none.
    Where the data have no part for validation, a fifth of the pictures, at least one, is kept for
    it: the same pictures each time, and nearly the same ones after more were added. A sentence in
    `notes` then says so.
    Raises UsageError where there is no such part, or FormatError for data that can't be read.
    """
    path = Path(data).expanduser()
    if not path.exists():
        raise UsageError(f"there is no file or folder {path}.")
    parts = formats.subsets(path, format)
    if subset == "all" and not parts:
        return formats.open(path, format, class_name=class_name)
    if subset in parts and subset not in _CALLED:
        return formats.open(path, format, subset, class_name=class_name)
    told = f"it has {', '.join(parts)}" if parts else "it is one set without parts"
    if subset not in _CALLED:
        raise UsageError(f"{path} has no part {subset}: {told}.")
    there = {which for which in _CALLED for part in parts if is_called(part, which)}
    if {subset, "val"} <= there:
        return formats.open(path, format, subset, class_name=class_name)
    if parts and "train" not in there:
        raise UsageError(
            f"{path} has no part {subset}: {told}. Name one of them train, or give the path of the "
            "one that you mean."
        )
    return _split(
        formats.open(path, format, "train" if parts else None, class_name=class_name), subset
    )


def with_classes(
    dataset: "formats.LabelledDataset | View", class_names: Sequence[str]
) -> "formats.LabelledDataset | View":
    """The same pictures, their classes numbered as in `class_names` ("BG" first).

    A class without a name of its own is that of `class_names`, if this has only one.
    Raises UsageError where the pictures have a class that is not among these.
    """
    names = list(dataset.class_names)
    if names == list(class_names):
        return dataset
    if names == _UNNAMED and len(class_names) == 2:
        names = list(class_names)
    unknown = [name for name in names if name not in class_names]
    if unknown:
        raise UsageError(
            f"{dataset.root} has classes that are not expected here: {', '.join(unknown)}. "
            f"Expected are {', '.join(class_names[1:])}."
        )
    return View(dataset, dataset.image_ids, names, class_names)


class View(Dataset):
    """Some pictures of a labelled data set, its classes perhaps under other numbers."""

    def __init__(
        self,
        whole: "formats.LabelledDataset | View",
        image_ids: Sequence[int],
        names: Sequence[str],
        class_names: Sequence[str],
        note: str = "",
    ) -> None:
        """names: what the classes of `whole` are called; class_names: all classes, in order."""
        super().__init__()
        self.format, self.root = whole.format, whole.root
        self._whole, self._kept = whole, [int(i) for i in image_ids]
        self._notes = [note] if note else []
        self._number = np.array([class_names.index(name) for name in names], np.int32)
        self.image_info = [whole.image_info[i] for i in self._kept]
        infos = dict(zip(names, whole.class_info))
        source = whole.class_info[-1]["source"]
        self.class_info = [
            {"source": source, "id": name, **infos.get(name, {}), "name": name}
            for name in class_names
        ]
        self.prepare()

    @property
    def notes(self) -> list[str]:
        """What was dropped, cut or assumed on reading the whole set, and how it was divided."""
        return [*self._whole.notes, *self._notes]

    def load_image(self, image_id: int) -> np.ndarray:
        """As the whole set gives it."""
        return self._whole.load_image(self._kept[image_id])

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """bool [height, width, instances], int32 [instances] in the numbers of this view."""
        masks, class_ids = self._whole.load_mask(self._kept[image_id])
        return masks, self._renumbered(class_ids)

    def load_mask_crops(self, image_id: int) -> tuple[MaskCrops, np.ndarray] | None:
        """The same, each mask cut to its box."""
        found = mask_crops(self._whole, self._kept[image_id])
        return found and (found[0], self._renumbered(found[1]))

    def image_reference(self, image_id: int) -> str:
        """As the whole set gives it."""
        return self._whole.image_reference(self._kept[image_id])

    def _renumbered(self, class_ids: np.ndarray) -> np.ndarray:
        return np.sign(class_ids) * self._number[np.abs(class_ids)]


def is_called(part: str, which: str) -> bool:
    """Whether a part is what is meant by "train" or "val": "training", "val2017" and the like."""
    return part.lower().rstrip("0123456789_-") in _CALLED[which]


def _split(whole: formats.LabelledDataset, subset: str) -> View:
    ids = [info["id"] for info in whole.image_info]
    if len(ids) < 2:
        raise UsageError(
            f"{whole.root} has {counted(len(ids), 'labelled picture')}: training needs at least "
            "two, one of them for validation."
        )
    # By a hash of its name, so that a picture stays where it is when others are added.
    ranked = sorted(range(len(ids)), key=lambda i: hashlib.sha256(str(ids[i]).encode()).digest())
    count = max(1, round(VALIDATION_SHARE * len(ids)))
    note = (
        f"{whole.root} has no part for validation: it takes {count} of its {len(ids)} pictures, "
        f"always the same, and training the other {len(ids) - count}."
    )
    chosen = sorted(ranked[:count] if subset == "val" else ranked[count:])
    return View(whole, chosen, whole.class_names, whole.class_names, note)
