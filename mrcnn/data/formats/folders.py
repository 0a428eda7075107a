"""Masks in picture files: a folder of them for each picture, or one file that numbers instances.

masks    <id>/images/<name>.png   <id>/masks/*.png: one file an instance (nuclei, Kaggle 2018)
indexed  images/<name>.jpg        masks/<name>.png: a pixel's value is its instance's number
         <name>.tif               <name>_masks.tif beside it
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.data.formats.classes import ClassValues, class_values
from mrcnn.data.formats.files import (
    MASK_SUFFIXES,
    missing_pictures,
    read_plane,
    stored_size,
)
from mrcnn.data.formats.labelled import LabelledDataset
from mrcnn.data.formats.named import read_named
from mrcnn.data.formats.notes import FormatError, Notes
from mrcnn.data.formats.pairing import folder_pairs, one_folder, pairs
from mrcnn.data.formats.pieces import only_value, pieces
from mrcnn.data.formats.reading import Part, Request, finished, number_classes
from mrcnn.data.formats.shapes import Size
from mrcnn.data.pictures import SUFFIXES, PictureError
from mrcnn.geometry.regions import Region
from mrcnn.whole import no_file

SPLIT = (
    "Masks have one value each, so that each separate piece is an instance of its own (--pieces "
    "whole takes what a file shows as one)."
)
VOID = 255  # in palettes: around objects, and what nobody could tell
VOID_COLOUR = 0xE0E0C0  # the same entry of VOC's palette
_MOST_INSTANCES = 10_000  # in one file; a photograph has more colours

# -- A folder of masks for each picture -------------------------------------------------------


class MaskFolders(LabelledDataset):
    """annotations: the path of the picture's folder of masks. split: into their pieces."""

    split = False

    def stated_size(self, image_id: int) -> Size | None:
        """The size of the first mask."""
        files = self._files(image_id)
        try:
            return stored_size(files[0])[:2] if files else None
        except PictureError as error:
            raise FormatError(f"The mask {error}") from None

    def listed_class_ids(self, image_id: int) -> np.ndarray:
        """1 for each file."""
        return np.ones(len(self._files(image_id)), np.int32)

    def decode(self, image_id: int, size: Size) -> Iterator[tuple[int, Region]]:
        """(1, region) of each file."""
        for file in self._files(image_id):
            plane, _ = read_plane(file, size)
            region = (0, 0, *size), plane != 0
            for piece in pieces(region, file) if self.split else (region,):
                yield 1, piece

    def _files(self, image_id: int) -> list[str]:
        folder = self.image_info[image_id]["annotations"]
        try:
            names = sorted(os.listdir(folder))
        except OSError as error:
            raise FormatError(f"{folder} can't be read: {error.strerror}.") from None
        paths = [
            os.path.join(folder, name)
            for name in names
            if name.lower().endswith(MASK_SUFFIXES) and name[0] != "."
        ]
        # A link to nothing is a mask that is missing, and refused when it is read.
        odd = [path for path in paths if no_file(path) not in ("", "a link to nothing")]
        if odd:
            self.tell(image_id, f"Passed over among the masks: {no_file(odd[0])}")
        return [path for path in paths if path not in odd]


def read_masks(part: Part, request: Request) -> MaskFolders:
    """Folders <id>/images and <id>/masks, or one of masks with names. Raises FormatError."""
    if part.files:
        return read_named(part, request)
    notes = Notes()
    dataset = MaskFolders("masks", part.root, notes)
    names, _ = number_classes([request.class_name, *request.labels], request, notes)
    dataset.add_class("masks", 1, names[0])
    notes.say(f"Each file of a folder of masks is one instance of the class {names[0]}.")
    missing = []
    for entry in sorted(request.folders.names(part.root)):
        folder = part.root / entry
        if not (folder / "images").is_dir():
            continue
        pictures = request.folders.with_suffix(folder / "images", SUFFIXES)
        if not (folder / "masks").is_dir():
            notes.count("Pictures left out: they have no folder of masks", entry)
            continue
        if not pictures:
            missing.append(f"that of {entry}")
            continue
        if len(pictures) > 1:
            notes.count("Folders with several pictures, of which the first is taken", entry)
        dataset.add_image(
            "masks",
            image_id=entry,
            path=str(folder / "images" / pictures[0]),
            height=None,
            width=None,
            annotations=str(folder / "masks"),
        )
    single = all(len(dataset._files(i)) == 1 for i in range(len(dataset.image_info)))
    dataset.split = request.pieces == "split" or (request.pieces == "auto" and single)
    if dataset.split and dataset.image_info:
        notes.say(SPLIT)
    total = len(dataset.image_info) + len(missing)
    if missing:
        looked_in = [str(part.root / "*" / "images")]
        raise FormatError(missing_pictures(part.root, missing, total, looked_in))
    if not total:
        said = " ".join(notes.sentences()[1:])
        raise FormatError(f"{part.root} holds no picture with masks. {said}".strip())
    return finished(dataset, notes)


# -- One file that numbers the instances ------------------------------------------------------


class IndexedMasks(LabelledDataset):
    """annotations: {"instances": path, "classes": path or None}."""

    def __init__(self, format: str, root: Path, notes: Notes) -> None:
        super().__init__(format, root, notes)
        self.values: ClassValues | None = None  # of the class files, if there are any
        self.numbers: Mapping[str, int] = {}  # class ids by label
        self.void_colours: tuple[int, ...] = (0,)
        self.white: int | None = None  # the only value of masks in black and white
        self.pieces = "whole"

    def stated_size(self, image_id: int) -> Size | None:
        """The size of the mask file."""
        try:
            return stored_size(self.image_info[image_id]["annotations"]["instances"])[:2]
        except PictureError as error:
            raise FormatError(f"The mask {error}") from None

    def listed_class_ids(self, image_id: int) -> np.ndarray | None:
        """One of the only class; None where there are files of classes."""
        return np.ones(1, np.int32) if self.values is None else None

    def decode(self, image_id: int, size: Size) -> Iterator[tuple[int, Region]]:
        """(class id, region) of each value in the picture's mask file."""
        files = self.image_info[image_id]["annotations"]
        plane, kind = read_plane(files["instances"], size)
        # All pixels, those of a value after those of another: each is looked at once, and not once
        # for each instance.
        pixels = np.argsort(plane, axis=None, kind="stable")
        values, starts = np.unique(plane.reshape(-1)[pixels], return_index=True)
        ends = [*starts[1:], plane.size]
        wanted = [i for i, value in enumerate(values.tolist()) if not self._is_void(value, kind)]
        if len(wanted) > _MOST_INSTANCES:
            raise FormatError(
                f"{files['instances']} has {len(wanted)} different values, each one an instance: "
                "is it a mask at all?"
            )
        classes = read_plane(files["classes"], size) if files["classes"] else None
        for i in wanted:
            own = pixels[starts[i] : ends[i]]
            class_id = self._class_of(own, *classes) if classes else 1
            if class_id:
                region = _region(own, size[1])
                # A file of several values numbers its instances, whatever the others do.
                apart = self.pieces == "split" or (self.pieces == "auto" and len(wanted) == 1)
                for piece in pieces(region, files["instances"]) if apart else (region,):
                    yield class_id, piece
            elif class_id is None:
                self.tell(image_id, "Instances left out: their class is none that is known")

    def _is_void(self, value: int, kind: str) -> bool:
        if kind == "colour":
            return value in self.void_colours
        return value == 0 or (kind == "index" and value == VOID != self.white)

    def _class_of(self, pixels: np.ndarray, plane: np.ndarray, kind: str) -> int | None:
        """The class that most of the pixels have: 0 if it is not wanted, None if unknown."""
        values, counts = np.unique(plane.reshape(-1)[pixels], return_counts=True)
        named = [
            (count, self.values.name(int(value), kind))
            for value, count in zip(values, counts)
            if not self._is_void(value, kind)
        ]
        label = max(named, key=lambda pair: pair[0])[1] if named else None
        return None if label is None else self.numbers.get(label, 0)


def read_indexed(part: Part, request: Request) -> IndexedMasks:
    """images/ and masks/ of the same names, or VOC's folders. Raises FormatError."""
    notes = Notes()
    found = part.files or next(folder_pairs(part.root, request.folders), None)
    if not found:
        raise FormatError(f"{part.root} must hold two folders, images and masks.")
    masks = found[1]
    pictures = request.images or found[0]
    names = request.folders.with_suffix(pictures, SUFFIXES)
    files = request.folders.with_suffix(masks, MASK_SUFFIXES)
    if pictures == masks:
        paired = one_folder({*names, *files})
        files = list(paired)
    else:
        paired = pairs(names, files)
    by_stem = {os.path.splitext(mask)[0]: picture for mask, picture in paired.items()}
    mask_names = {
        os.path.splitext(name)[0]: name
        for name in files
        if part.members is None or os.path.splitext(name)[0] in part.members
    }
    missing = [name for stem, name in mask_names.items() if stem not in by_stem]
    if missing or not mask_names:
        looked_in = [str(pictures)]
        raise FormatError(
            missing_pictures(part.root, missing, len(mask_names), looked_in)
            if missing
            else f"{masks} holds no mask file ({', '.join(MASK_SUFFIXES)})."
        )
    for name in names:
        stem = os.path.splitext(name)[0]
        if name not in {*paired, *paired.values()} and stem in (part.members or {stem}):
            notes.count("Pictures left out: they have no mask file", name)
    dataset = IndexedMasks(part.format, part.root, notes)
    if pictures.name == "JPEGImages":
        dataset.void_colours = (0, VOID_COLOUR)
    classes = masks.parent / "SegmentationClass"
    class_names = {
        os.path.splitext(name)[0]: name
        for name in request.folders.with_suffix(classes, MASK_SUFFIXES)
    }
    labels: list[Any] = [request.class_name]
    if class_names:
        files = {
            classes / class_names[stem]: masks / name
            for stem, name in mask_names.items()
            if stem in class_names
        }
        dataset.values = class_values(part.root, files, notes)
        labels = dataset.values.names()
    else:
        notes.say(f"There are no classes, so that all instances are of one, {request.class_name}.")
    both = [(masks / name, pictures / by_stem[stem]) for stem, name in mask_names.items()]
    if not class_names and masks.name != "SegmentationObject":
        dataset.white = only_value(both)
    if request.pieces == "split" or (dataset.white and request.pieces == "auto"):
        dataset.pieces = request.pieces
        notes.say(SPLIT)
    elif dataset.white:
        notes.say("Masks have one value each: what a file shows is taken as one instance.")
    notes.say(
        f"Each value but 0 in {masks.name} is one instance (in palettes 255 is void, and in colour "
        "files each colour but black is one)."
    )
    order, dataset.numbers = number_classes([*labels, *request.labels], request, notes)
    for number, name in enumerate(order, 1):
        dataset.add_class(part.format, number, name)
    for stem, name in mask_names.items():
        if class_names and stem not in class_names:
            notes.count("Pictures left out: they have no file of classes", name)
            continue
        dataset.add_image(
            part.format,
            image_id=stem,
            path=str(pictures / by_stem[stem]),
            height=None,
            width=None,
            annotations={
                "instances": str(masks / name),
                "classes": str(classes / class_names[stem]) if class_names else None,
            },
        )
    return finished(dataset, notes)


def _region(pixels: np.ndarray, width: int) -> Region:
    """pixels: [num_pixels], row by row through a picture of that width, rising."""
    y, x = np.divmod(pixels, width)
    y1, x1, y2, x2 = int(y[0]), int(x.min()), int(y[-1]) + 1, int(x.max()) + 1
    mask = np.zeros((y2 - y1, x2 - x1), bool)
    mask[y - y1, x - x1] = True
    return (y1, x1, y2, x2), mask
