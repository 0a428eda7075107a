"""YOLO: a text file of labels for each picture, a row an instance, numbers as parts of its size.

    data.yaml  images/train/a.jpg  labels/train/a.txt
    data.yaml  train/images/a.jpg  train/labels/a.txt

    0 0.31 0.2 0.5 0.2 0.5 0.6          class, then x and y of each corner
    0 0.4 0.4 0.2 0.3                   class, then centre, width and height of a box

A picture without such a file has no instances. Coordinates are those of the pixels' edges.
"""

import os
from pathlib import Path

import numpy as np

from mrcnn.data.formats import shapes
from mrcnn.data.formats.files import missing_pictures, stored_size
from mrcnn.data.formats.labelled import DrawnDataset, keep_visible
from mrcnn.data.formats.notes import Dropped, FormatError, Notes
from mrcnn.data.formats.reading import FILLED_BOXES, Part, Request, Row, add_drawn
from mrcnn.data.formats.yolo_files import (
    Names,
    check_pictures,
    class_names,
    label_file,
    missing,
    pictures,
    rows_of,
)
from mrcnn.data.pictures import PictureError

_FARTHEST = 2.0  # as parts of the picture; what lies beyond is a number of pixels


def read(part: Part, request: Request) -> DrawnDataset:
    """The pictures and rows of YOLO's files. Raises FormatError."""
    notes = Notes()
    names = class_names(part, request.folders)
    if not names.listed:
        notes.say(
            "No file names the classes (data.yaml, classes.txt), so that they are called by their "
            "numbers."
        )
    paths = list(pictures(part, request.folders, request.images))
    files = {path: label_file(path, part, request) for path in paths}
    absent = missing(part, request.folders, files)
    if absent:
        total = len(absent) + len(paths)
        raise FormatError(missing_pictures(part.root, absent, total, list(map(str, part.files))))
    check_pictures(part, len(paths))
    rows = []
    for path, file in files.items():
        if file is None:
            notes.count("Pictures without a file of labels, taken as having no instances", path)
        rows.append(_row(path, file, names, part, notes))
    if not any(files.values()):
        raise FormatError(
            f"{part.root} has pictures and not one file of labels for them: YOLO's lie in a folder "
            "labels beside images, a.txt for a.jpg."
        )
    occurring = {instance.label for row in rows for instance in row.instances}
    listed = names.in_order(occurring | request.labels)
    request = names.with_all(request)
    return add_drawn(DrawnDataset("yolo", part.root, notes), rows, request, notes, listed)


def labels(part: Part, request: Request) -> set[str]:
    """The class names that occur or are listed."""
    names = class_names(part, request.folders)
    if names.listed:
        return set(names.listed.values())
    found = set()
    for path in pictures(part, request.folders, request.images):
        if file := label_file(path, part, request):
            for tokens in rows_of(file):
                try:
                    found.add(names.name(tokens[0]))
                except Dropped:
                    continue
    return found


def _row(path: str, file: Path | None, names: Names, part: Part, notes: Notes) -> Row:
    try:
        height, width, orientation = stored_size(path)
    except PictureError:
        size = None  # load_image will say what is wrong with it
    else:
        size = (width, height) if orientation >= 5 else (height, width)
    shown = os.path.basename(path)
    instances = []
    for tokens in rows_of(file) if file and size else ():
        try:
            label = names.name(tokens[0])
            shape = _shape(tokens[1:], size, names.keypoints, notes, shown)
        except Dropped as reason:
            notes.count(f"Rows dropped: they {reason}", shown)
            continue
        instances.append(shapes.Instance(label, (shape,)))
    kept = keep_visible(instances, size, notes, shown)
    return Row(os.path.relpath(path, part.root), path, *(size or (None, None)), kept)


def _shape(
    tokens: list[str], size: shapes.Size, keypoints: int, notes: Notes, picture: str
) -> shapes.Shape:
    """The outline that a row describes, [x, y, ..] as parts of the size or a box."""
    try:
        numbers = np.array(tokens, np.float64)
    except ValueError:
        raise Dropped("hold something that is no number") from None
    if len(numbers) and np.abs(numbers[np.isfinite(numbers)]).max(initial=0) > _FARTHEST:
        raise Dropped("have coordinates in pixels: YOLO's are parts of the size, between 0 and 1")
    height, width = size
    if len(numbers) in (4, 5) or (keypoints and len(numbers) == 4 + keypoints):
        if len(numbers) > 5:
            notes.count("Keypoints left out; the boxes with them are read", picture)
        elif len(numbers) == 5:
            notes.count("Confidences behind boxes left out", picture)
        notes.count(FILLED_BOXES, picture)
        x, y, w, h = (numbers[:4] * (width, height, width, height)).tolist()
        return shapes.rectangle(x - w / 2 - 0.5, y - h / 2 - 0.5, w, h)
    if len(numbers) < 6:
        raise Dropped("have neither the four numbers of a box nor three corners")
    if len(numbers) % 2:  # a prediction's
        notes.count("Confidences behind outlines left out", picture)
        numbers = numbers[:-1]
    points = numbers.reshape(-1, 2) * (width, height) - 0.5  # [num_points, (x, y)]
    return shapes.polygon(*points.T.tolist())
