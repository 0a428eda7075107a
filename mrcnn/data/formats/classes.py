"""Which class a value in a file of classes stands for (SegmentationClass)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mrcnn.data.formats.files import read_plane, stored_size
from mrcnn.data.formats.names import is_background
from mrcnn.data.formats.notes import FormatError, Notes
from mrcnn.data.pictures import PictureError

LISTS = ("labelmap.txt", "class_names.txt", "classes.txt", "labels.txt")

# The 20 classes of the Pascal VOC challenge, 2007 to 2012, in the order of its palette.
VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)


@dataclass
class ClassValues:
    """Names of classes by the number of a palette entry or grey value, and by colour."""

    by_value: dict[int, str] = field(default_factory=dict)
    by_colour: dict[int, str] = field(default_factory=dict)

    def name(self, value: int, kind: str) -> str | None:
        """The class of a pixel; kind as from `read_plane`. None if there is none."""
        return (self.by_colour if kind == "colour" else self.by_value).get(value)

    def names(self) -> list[str]:
        """All classes."""
        return list(dict.fromkeys([*self.by_value.values(), *self.by_colour.values()]))


def class_values(root: Path, files: Mapping[Path, Path], notes: Notes) -> ClassValues:
    """What the values in a set's files of classes mean.

    From a list of names beside them, if there is one; else they are VOC's own 20 if the folder is
    laid out like VOC; else they are named by their numbers.
    files: those of classes, each with the file of the same picture's instances.
    Raises FormatError.
    """
    for name in LISTS:
        if (root / name).is_file():
            return _from_list(root / name)
    if (root / "JPEGImages").is_dir():
        notes.say(
            "Values of SegmentationClass are named as in Pascal VOC (1 aeroplane .. 20 tvmonitor), "
            f"since the folder has none of {', '.join(LISTS)}."
        )
        colours = {_voc_colour(number): name for number, name in enumerate(VOC_CLASSES, 1)}
        return ClassValues(dict(enumerate(VOC_CLASSES, 1)), colours)
    found = ClassValues()
    for file, instances in files.items():
        try:
            size = stored_size(instances)[:2]
        except PictureError:
            continue  # reading the picture's masks will say what is wrong with it
        plane, kind = read_plane(file, size)
        for value in np.unique(plane).tolist():
            if kind == "colour":
                found.by_colour[value] = f"class #{value:06x}"
            elif value and (kind, value) != ("index", 255):
                found.by_value[value] = f"class {value}"
    found.by_colour.pop(0, None)
    if len(found.names()) > 1000:
        folder = next(iter(files)).parent
        raise FormatError(f"{folder} has over 1000 classes: are they masks of classes?")
    notes.say(f"Classes are named by their values, since there is none of {', '.join(LISTS)}.")
    return found


def _from_list(file: Path) -> ClassValues:
    """One name a line, from 0 on (LabelMe), or name:red,green,blue:: (CVAT)."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{file} can't be read: {error}.") from None
    rows = [line.strip().split(":") for line in lines if line.strip() and line[0] != "#"]
    if not rows:
        raise FormatError(f"{file} names no classes: write one a line.")
    names = [row[0].strip() for row in rows]
    # LabelMe's lists begin with a line for what is no object, its value being -1.
    start = -1 if names[0] == "__ignore__" else 0
    if not is_background(names[0]) and names[0].lower() != "void":
        start = 1
    values = ClassValues()
    for number, (name, row) in enumerate(zip(names, rows), start):
        if is_background(name) or name.lower() == "void" or not name:
            continue
        values.by_value[number] = name
        colour = row[1].split(",") if len(row) > 1 else []
        if len(colour) == 3 and all(re.fullmatch(r"\s*[0-9]{1,3}\s*", part) for part in colour):
            red, green, blue = map(int, colour)
            values.by_colour[red << 16 | green << 8 | blue] = name
    return values


def _voc_colour(number: int) -> int:
    """The colour of an entry in VOC's palette: its bits, dealt to red, green, blue from the top."""
    channels = [0, 0, 0]
    for bit in range(8):
        channels[bit % 3] |= (number >> bit & 1) << (7 - bit // 3)
    red, green, blue = channels
    return red << 16 | green << 8 | blue
