"""LabelMe: one JSON file beside each picture, with `shapes` of label, points and shape_type."""

import base64
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mrcnn.data.formats import marks, shapes
from mrcnn.data.formats.files import missing_pictures, natural_name, read_json
from mrcnn.data.formats.labelled import DrawnDataset, keep_visible, usable_size
from mrcnn.data.formats.names import is_background
from mrcnn.data.formats.notes import Dropped, FormatError, Notes
from mrcnn.data.formats.reading import Part, Request, Row, add_drawn
from mrcnn.data.pictures import SUFFIXES

_POLYGONS = (
    *("polygon", "rectangle", None),
    # What X-AnyLabeling and others add: rectangles by their four corners.
    *("oriented_rectangle", "rotation", "rotated_rectangle", "quadrilateral"),
)
_LINES = ("line", "linestrip", "point", "points")
_SUFFIXES = tuple(suffix for end in SUFFIXES for suffix in (end, end.upper()))


def read(part: Part, request: Request) -> DrawnDataset:
    """The pictures and shapes of LabelMe's files. Raises FormatError."""
    notes = Notes()
    rows, missing = [], []
    for file in part.files:
        row = _row(file, request, notes)
        if row is None:
            continue
        rows.append(row)
        if row.path is None and row.embedded is None:
            missing.append(row.id)
    if missing:
        looked_in = [str(request.images or part.files[0].parent)]
        raise FormatError(missing_pictures(part.root, missing, len(rows), looked_in))
    return add_drawn(DrawnDataset("labelme", part.root, notes), rows, request, notes)


def labels(part: Part, request: Request) -> set[str]:
    """The class names that occur."""
    found = set()
    for file in part.files:
        content = read_json(file)
        drawn = content.get("shapes") if isinstance(content, dict) else None
        for shape in drawn if isinstance(drawn, list) else []:
            label = shape.get("label") if isinstance(shape, dict) else None
            if isinstance(label, str) and label.strip() and not label.strip().startswith("__"):
                found.add(label.strip())
    return found


def _row(file: Path, request: Request, notes: Notes) -> Row | None:
    content = read_json(file)
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        notes.count("Files left out: they have no list of shapes as LabelMe writes it", file.name)
        return None
    path = _picture(file, content.get("imagePath"), request)
    embedded = str(file) if path is None and _is_embedded(content.get("imageData")) else None
    if embedded:
        notes.count("Pictures taken from inside their annotation files", file.name)
    size = usable_size(content.get("imageHeight"), content.get("imageWidth"))
    if size is None:
        notes.count("Pictures whose stated size is none, so that their own is taken", file.name)
    instances = list(_instances(content["shapes"], notes, file.name))
    instances = keep_visible(instances, size, notes, file.name)
    name = content.get("imagePath")
    name = file.name if path is None or not isinstance(name, str) else os.path.basename(path)
    regions = marks.labelme_regions(content["shapes"])
    predicted = marks.is_unchanged(content.get(marks.MARK), regions)
    return Row(name, path, *(size or (None, None)), instances, embedded, predicted)


def _picture(file: Path, name: Any, request: Request) -> str | None:
    """The path of the picture that a file labels, or None."""
    name = natural_name(name)
    bases = [request.images] if request.images else [file.parent, file.parent.parent / "images"]
    for base in bases:
        for wanted in (name, os.path.basename(name)) if name else ():
            path = os.path.normpath(os.path.join(base, wanted))
            if request.folders.has(path) and os.path.basename(path) != file.name:
                return path
    # Renamed together: only the names still belong to each other.
    for base in bases:
        for suffix in _SUFFIXES:
            path = os.path.join(base, file.stem + suffix)
            if request.folders.has(path):
                return path
    return None


def _is_embedded(data: Any) -> bool:
    return isinstance(data, str) and len(data) > 16


def _instances(drawn: list[Any], notes: Notes, picture: str) -> Iterator[shapes.Instance]:
    """Shapes of one label and group_id make one instance."""
    groups: dict[Any, list[shapes.Shape]] = {}
    for number, region in enumerate(drawn):
        try:
            label = _label(region)
            shape = _shape(region)
        except Dropped as reason:
            notes.count(f"Regions dropped: they {reason}", picture)
            continue
        group = region.get("group_id")
        together = group is not None and isinstance(group, int | str)
        groups.setdefault((label, "group", group) if together else (label, number), []).append(
            shape
        )
    for key, members in groups.items():
        if len(members) > 1:
            notes.count("Shapes joined by their group_id", picture, len(members))
        yield shapes.Instance(key[0], tuple(members))


def _label(region: Any) -> str:
    label = region.get("label") if isinstance(region, dict) else None
    if not isinstance(label, str) or not label.strip():
        raise Dropped("have no label")
    if label.strip().startswith("__") and not is_background(label):
        raise Dropped("have a label that begins with __, which is LabelMe's sign for no class")
    return label.strip()


def _shape(region: dict[str, Any]) -> shapes.Shape:
    kind = region.get("shape_type", "polygon")  # old files have polygons alone, and don't say it
    if kind in _LINES:
        raise Dropped("are points or lines")
    points = region.get("points")
    if not isinstance(points, list) or any(
        not isinstance(point, list) or len(point) != 2 for point in points
    ):
        raise Dropped("have points that are not pairs of numbers")
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    if kind == "mask":
        return _mask(region.get("mask"), xs, ys)
    if kind == "rectangle" and len(points) == 2:
        (x1, x2), (y1, y2) = sorted(shapes.to_numbers(xs)), sorted(shapes.to_numbers(ys))
        return shapes.rectangle(*map(float, (x1, y1, x2 - x1, y2 - y1)))
    if kind == "circle" and len(points) == 2:
        (x1, x2), (y1, y2) = shapes.to_numbers(xs).tolist(), shapes.to_numbers(ys).tolist()
        radius = math.hypot(x2 - x1, y2 - y1)
        return shapes.ellipse(x1, y1, radius, radius)
    if kind in _POLYGONS:
        return shapes.polygon(xs, ys)
    raise Dropped("are of a shape_type that is not known, or has other points")


def _mask(data: Any, xs: list[Any], ys: list[Any]) -> shapes.Shape:
    try:
        png = base64.b64decode(data, validate=True)
    except (TypeError, ValueError):
        raise Dropped("have a mask that is not in base64") from None
    x, y = shapes.to_numbers(xs), shapes.to_numbers(ys)
    if len(x) != 2:
        raise Dropped("have a mask without a box of two corners")
    shape = shapes.stored_mask(png, float(min(y)), float(min(x)))
    y1, x1, y2, x2 = shapes.bounds(shape)
    # The box's far corner lies on the mask's last pixel.
    if abs(y2 - max(y)) > 1.5 or abs(x2 - max(x)) > 1.5:
        raise Dropped("have a mask of another size than its box")
    return shape
