"""Readers of annotation formats: from what a labelling tool wrote to a Dataset that trains.

from mrcnn.data import open
dataset = open("balloon", subset="train")        # the format is found out
print(*dataset.notes, sep="\\n")                  # what was dropped, cut or assumed

coco     JSON with images, annotations and categories (COCO, CVAT, Roboflow, Label Studio)
via      VGG Image Annotator 1, 2 and 3, JSON, CSV or project file
labelme  LabelMe, a JSON file beside each picture
masks    <id>/images/*.png with <id>/masks/*.png, one file an instance (Kaggle's nuclei)
indexed  images/ beside masks/, whose pixel values number the instances
voc      Pascal VOC: masks where there are some, else boxes, filled
yolo     YOLO segmentation: images beside labels, a text file a picture, and data.yaml
cvat     CVAT for images 1.1, an XML file
labelstudio  Label Studio's own JSON, or JSON-MIN
geojson  GeoJSON in pixels of the picture (QuPath)
"""

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mrcnn.data.formats import coco, cvat, folders, geojson, labelme, labelstudio, via, voc, yolo
from mrcnn.data.formats.files import Folders
from mrcnn.data.formats.finding import FORMATS, choose, find_parts
from mrcnn.data.formats.labelled import LabelledDataset
from mrcnn.data.formats.notes import FormatError
from mrcnn.data.formats.reading import PIECES, Part, Request

__all__ = ["FORMATS", "FormatError", "LabelledDataset", "open", "subsets"]

_READERS = {
    "coco": coco.read,
    "via": via.read,
    "labelme": labelme.read,
    "voc": voc.read,
    "masks": folders.read_masks,
    "indexed": folders.read_indexed,
    "yolo": yolo.read,
    "cvat": cvat.read,
    "labelstudio": labelstudio.read,
    "geojson": geojson.read,
}
# Formats that don't list their classes: all parts are asked, so that a class has one number.
_LABELS = {
    "via": via.labels,
    "labelme": labelme.labels,
    "voc": voc.labels,
    "yolo": yolo.labels,
    "cvat": cvat.labels,
    "labelstudio": labelstudio.labels,
    "geojson": geojson.labels,
}
_TOGETHER = (
    "coco",
    "via",
    "cvat",
    "labelstudio",
    "geojson",
)  # formats of which several files make a set

Name = str | os.PathLike


def open(
    path: Name | Sequence[Name],
    format: str = "auto",
    subset: str | None = None,
    *,
    images: Name | None = None,
    class_ids: Sequence[int | str] | None = None,
    class_map: Mapping[Any, str | None] | None = None,
    class_name: str = "object",
    class_attribute: str | None = None,
    pieces: str = "auto",
) -> LabelledDataset:
    """Read a labelled set. Masks are made when they are asked for; only outlines stay in memory.

    path: a folder, an annotation file, or a list of files of COCO, VIA, CVAT, Label Studio or
        GeoJSON, whose classes of the same name become one.
    format: "auto" finds it out; or one of FORMATS: "coco", "via", ..
    subset: the part to read where a folder holds several: a name from `subsets`, or "train" or
        "val" for what is called like that (train2017, valid).
    images: the folder of the pictures, if it isn't where it is usually found.
    class_ids: the classes to keep, and the pictures that show any of them: COCO's ids, or names
        in any format. The Dataset numbers its classes 1, 2, .. in this order; without it COCO's
        by id, others by name, over all parts of the folder.
    class_map: {name or COCO id: new name, or None to leave it out}; equal names become one class.
    class_name: what the only class is called where the files name none.
    class_attribute: the attribute of regions that holds the class, for tools that let people add
        attributes (VIA, GeoJSON); without it the one that looks like it, told in `notes`.
    pieces: "split" makes an instance of each separate piece of a mask that has one value; "whole"
        takes it as one; "auto" splits where a folder holds black-and-white masks, and tells it.

    Returns the dataset, prepared; its `notes` say what was dropped, cut or assumed.
    Raises FormatError, with the file and where in it, if the set can't be read, pictures are
    missing, or it has several parts and subset doesn't say which.
    """
    if pieces not in PIECES:
        raise FormatError(f"pieces is {pieces!r}: it must be {', '.join(PIECES)}.")
    request = Request(
        images=None if images is None else Path(images),
        class_ids=class_ids,
        class_map=class_map,
        class_name=class_name,
        class_attribute=class_attribute,
        pieces=pieces,
    )
    if not isinstance(path, str | os.PathLike):
        part = _together([Path(file).expanduser() for file in path], format, request)
        return _read(part, replace(request, parts=(part,)))
    path = Path(path).expanduser()
    parts = find_parts(path, format, request.folders)
    part = choose(parts, subset, path)
    others = [other for other in parts.values() if other != part]
    request = replace(request, parts=tuple(parts.values()))
    request = replace(request, labels=_labels_of(others, request))
    return _read(part, request)


def _read(part: Part, request: Request) -> LabelledDataset:
    dataset = _READERS[part.format](part, request)
    for path, what in request.folders.passed_over.items():
        dataset.note(f"Passed over, being no file but {what}", path)
    return dataset


def subsets(path: Name, format: str = "auto") -> list[str]:
    """Names of the parts that a folder holds; empty if it is one set. Raises FormatError."""
    return [name for name in find_parts(Path(path).expanduser(), format, Folders()) if name]


def _together(files: list[Path], format: str, request: Request) -> Part:
    """Several annotation files as one set."""
    parts = [choose(find_parts(file, format, request.folders), None, file) for file in files]
    formats = {part.format for part in parts}
    if len(formats) != 1 or not formats <= set(_TOGETHER):
        shown = ", ".join(f"{file} ({part.format})" for file, part in zip(files, parts))
        raise FormatError(
            "A list must name annotation files of one format, COCO, VIA, CVAT, Label Studio or "
            f"GeoJSON: {shown or 'it is empty'}."
        )
    every = tuple(file for part in parts for file in part.files)
    return replace(parts[0], files=every)


def _labels_of(parts: list[Part], request: Request) -> frozenset[str]:
    found: set[str] = set()
    for part in parts:
        # A broken part is reported when it is opened itself.
        with contextlib.suppress(FormatError):
            if part.format in _LABELS:
                found |= _LABELS[part.format](part, request)
    return frozenset(found)
