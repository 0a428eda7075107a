"""VGG Image Annotator, versions 1 and 2: one JSON file of {key: {filename, size, regions}}.

Version 1 keeps a picture's regions in a dict, version 2 in a list; a project file has the whole
under `_via_img_metadata`. Neither says how large the pictures are.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mrcnn.data.formats import marks, shapes
from mrcnn.data.formats.files import find_folder, natural_name, read_json, stored_size
from mrcnn.data.formats.labelled import DrawnDataset, keep_visible
from mrcnn.data.formats.notes import Dropped, FormatError, Notes
from mrcnn.data.formats.reading import Part, Request, Row, add_drawn
from mrcnn.data.pictures import PictureError

_CLASS_ATTRIBUTES = ("name", "class", "type", "label", "category")


def read(part: Part, request: Request) -> DrawnDataset:
    """The pictures and regions of VIA's files. Raises FormatError."""
    notes = Notes()
    rows = [row for file in part.files for row in _rows(file, request, notes)]
    return add_drawn(DrawnDataset("via", part.root, notes), rows, request, notes)


def labels(part: Part, request: Request) -> set[str]:
    """The class names that occur."""
    found = set()
    for file in part.files:
        entries = _entries(file, read_json(file), Notes())
        regions = [region for _, _, regions, _ in entries for region in regions]
        attribute = _class_attribute(regions)
        for region in regions:
            try:
                found.add(_label(region, attribute, request))
            except Dropped:
                continue
    return found


def _rows(file: Path, request: Request, notes: Notes) -> Iterator[Row]:
    content = read_json(file)
    entries = list(_entries(file, content, notes))
    attribute = _class_attribute([region for _, _, regions, _ in entries for region in regions])
    if attribute is not None:
        notes.say(f"The class of a region is its attribute {attribute!r}.")
    elif any(regions for _, _, regions, _ in entries):
        notes.say(f"Regions have no attribute, so that all are of one class, {request.class_name}.")
    names = [name for name, _, _, _ in entries]
    near = [file.parent, file.parent / "images", file.parent.parent / "images"]
    near = [*_said_folders(file, content), *near]
    paths = find_folder(request.folders, names, [request.images] if request.images else near, file)
    for name, shown, regions, predicted in entries:
        try:
            height, width, orientation = stored_size(paths[name])
        except PictureError:
            size = None  # load_image will say what is wrong with it
        else:
            size = (width, height) if orientation >= 5 else (height, width)
        instances = []
        for region in regions:
            try:
                shape = _shape(region, notes, shown)
                label = _label(region, attribute, request)
            except Dropped as reason:
                notes.count(f"Regions dropped: they {reason}", shown)
                continue
            instances.append(shapes.Instance(label, (shape,)))
        instances = keep_visible(instances, size, notes, shown)
        size = size or (None, None)
        yield Row(shown, paths[name], *size, instances, predicted=predicted)


def _said_folders(file: Path, content: Any) -> Iterator[Path]:
    """Where a project file says that its pictures lie."""
    settings = content.get("_via_settings") if isinstance(content, dict) else None
    for group, key in (("project", "pictures"), ("core", "default_filepath")):
        values = settings.get(group) if isinstance(settings, dict) else None
        said = values.get(key) if isinstance(values, dict) else None
        if isinstance(said, str) and said.startswith("file:"):
            said = url2pathname(urlsplit(said).path)
        if isinstance(said, str) and said and "\0" not in said and len(said) < 4096:
            yield file.parent / said


def _entries(file: Path, content: Any, notes: Notes) -> Iterator[tuple[str, str, list[Any], bool]]:
    """(relative path, name as in the file, regions, whether predicted) of each picture."""
    if isinstance(content, dict) and "_via_img_metadata" in content:
        content = content["_via_img_metadata"]
    if not isinstance(content, dict):
        raise FormatError(
            f"{file} is no annotation file of VIA 1 or 2: it must hold an object with an entry "
            "for each picture. In VIA, export the annotations as JSON."
        )
    if {"project", "config", "view"} <= content.keys():
        raise FormatError(f"{file} is of VIA 3, which is not supported: label with VIA 2.")
    for key, entry in content.items():
        name = natural_name(entry.get("filename")) if isinstance(entry, dict) else None
        if name is None:
            notes.count("Entries left out: they have no filename", key)
            continue
        regions = entry.get("regions")
        if isinstance(regions, dict):
            regions = list(regions.values())
        if not isinstance(regions, list):
            notes.count("Pictures left out: their regions are neither a list nor a dict", key)
            continue
        attributes = entry.get("file_attributes")
        mark = attributes.get(marks.MARK) if isinstance(attributes, dict) else None
        predicted = marks.is_unchanged(mark, marks.via_regions(regions))
        yield name, str(entry["filename"]), regions, predicted


def _class_attribute(regions: list[Any]) -> str | None:
    """The attribute that holds the class: of those most regions have, the one called so."""
    counts = Counter(
        key
        for region in regions
        if isinstance(region, dict) and isinstance(region.get("region_attributes"), dict)
        for key, value in region["region_attributes"].items()
        if _value(value) is not None
    )
    if not counts:
        return None
    usual = [key for key, count in counts.items() if 2 * count >= len(regions)]
    for wanted in _CLASS_ATTRIBUTES:
        for key in usual:
            if key.strip().lower() == wanted:
                return key
    return counts.most_common(1)[0][0]


def _value(value: Any) -> str | None:
    """An attribute's value as a label, or None if it is empty; checkboxes are {"cat": true}."""
    if isinstance(value, dict):
        ticked = [str(name) for name, on in value.items() if on is True]
        return " + ".join(ticked) or None
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value).strip() or None


def _label(region: Any, attribute: str | None, request: Request) -> str:
    if attribute is None:
        return request.class_name
    attributes = region.get("region_attributes") if isinstance(region, dict) else None
    value = attributes.get(attribute) if isinstance(attributes, dict) else None
    if isinstance(value, dict) and sum(on is True for on in value.values()) > 1:
        raise Dropped(f"have several boxes ticked in their attribute {attribute!r}")
    label = _value(value)
    if label is None:
        raise Dropped(f"have no value in their attribute {attribute!r}")
    return label


def _shape(region: Any, notes: Notes, picture: str) -> shapes.Shape:
    drawn = region.get("shape_attributes") if isinstance(region, dict) else None
    if not isinstance(drawn, dict):
        raise Dropped("have no shape_attributes")
    kind = drawn.get("name")
    try:
        if kind == "polyline":
            shape = shapes.polygon(drawn["all_points_x"], drawn["all_points_y"])
            notes.count("Polylines closed to polygons", picture)
            return shape
        if kind == "polygon":
            return shapes.polygon(drawn["all_points_x"], drawn["all_points_y"])
        if kind == "rect":
            return shapes.rectangle(drawn["x"], drawn["y"], drawn["width"], drawn["height"])
        if kind == "circle":
            return shapes.ellipse(drawn["cx"], drawn["cy"], drawn["r"], drawn["r"])
        if kind == "ellipse":
            angle = drawn.get("theta", 0)
            return shapes.ellipse(drawn["cx"], drawn["cy"], drawn["rx"], drawn["ry"], angle)
    except KeyError as missing:
        raise Dropped(f"are of shape {kind} and have no {missing.args[0]}") from None
    if kind == "point":
        raise Dropped("are points")
    raise Dropped("are of a shape that VIA does not have")
