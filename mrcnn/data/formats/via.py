"""VGG Image Annotator: one JSON or CSV file of pictures and their regions.

Version 1 keeps a picture's regions in a dict, version 2 in a list; a project file has the whole
under `_via_img_metadata`; version 3 has tables. None says how large the pictures are.
"""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mrcnn.data.formats import marks, shapes
from mrcnn.data.formats.attributes import class_attribute, tell_choice, value_of
from mrcnn.data.formats.files import find_folder, natural_name, read_json
from mrcnn.data.formats.labelled import DrawnDataset, keep_visible
from mrcnn.data.formats.notes import Dropped, FormatError, Notes, shortened
from mrcnn.data.formats.reading import Part, Request, Row, add_drawn
from mrcnn.data.formats.turned import TURNED, lie_on_stored, shown_size
from mrcnn.data.formats.via_files import read_via


def read(part: Part, request: Request) -> DrawnDataset:
    """The pictures and regions of VIA's files. Raises FormatError."""
    notes = Notes()
    attribute = _class_attribute(part, request, notes)
    rows = [row for file in part.files for row in _rows(file, attribute, request, notes)]
    return add_drawn(DrawnDataset("via", part.root, notes), rows, request, notes)


def labels(part: Part, request: Request) -> set[str]:
    """The class names that occur."""
    found = set()
    attribute = _class_attribute(part, request, Notes())
    for region in _regions(part.files):
        try:
            found.add(_label(region, attribute, request))
        except Dropped:
            continue
    return found


def _rows(file: Path, attribute: str | None, request: Request, notes: Notes) -> Iterator[Row]:
    entries = list(_entries(file, read_via(file), notes))
    names = [name for name, _, _, _ in entries]
    near = [file.parent, file.parent / "images", file.parent.parent / "images"]
    near = [*_said_folders(file), *near]
    paths = find_folder(request.folders, names, [request.images] if request.images else near, file)
    sizes = {name: shown_size(paths[name]) for name in names}
    drawn = [_drawn(regions, attribute, request, notes, shown) for _, shown, regions, _ in entries]
    on_stored = lie_on_stored((sizes[name], found) for name, found in zip(names, drawn))
    for (name, shown, _, predicted), instances in zip(entries, drawn):
        size, is_turned = sizes[name]
        if is_turned and on_stored:
            size = size[::-1]
            notes.count(TURNED, shown)
        instances = keep_visible(instances, size, notes, shown)
        size = size or (None, None)
        yield Row(shown, paths[name], *size, instances, predicted=predicted)


def _drawn(
    regions: list[Any], attribute: str | None, request: Request, notes: Notes, shown: str
) -> list[shapes.Instance]:
    instances = []
    for region in regions:
        try:
            shape = _shape(region, notes, shown)
            label = _label(region, attribute, request)
        except Dropped as reason:
            notes.count(f"Regions dropped: they {reason}", shown)
            continue
        instances.append(shapes.Instance(label, (shape,)))
    return instances


def _said_folders(file: Path) -> Iterator[Path]:
    """Where a project file says that its pictures lie."""
    content = read_json(file) if file.suffix.lower() != ".csv" else None
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
    if not isinstance(content, dict):
        raise FormatError(
            f"{file} is no annotation file of VIA: it must hold an object with an entry for each "
            "picture. In VIA, export the annotations as JSON."
        )
    for key, entry in content.items():
        name = natural_name(entry.get("filename")) if isinstance(entry, dict) else None
        if name is None:
            notes.count("Entries left out: they have no filename", key)
            continue
        regions = entry.get("regions")
        if isinstance(regions, dict):
            regions = list(regions.values())
        if entry.get("is_video"):
            notes.count("Videos left out: take pictures of their frames", name)
            continue
        if not isinstance(regions, list):
            notes.count("Pictures left out: their regions are neither a list nor a dict", key)
            continue
        attributes = entry.get("file_attributes")
        mark = attributes.get(marks.MARK) if isinstance(attributes, dict) else None
        predicted = marks.is_unchanged(mark, marks.via_regions(regions))
        yield name, str(entry["filename"]), regions, predicted


def _regions(files: Iterable[Path]) -> Iterator[Any]:
    """All regions of files, of every picture."""
    for file in files:
        for _, _, regions, _ in _entries(file, read_via(file), Notes()):
            yield from regions


def _class_attribute(part: Part, request: Request, notes: Notes) -> str | None:
    """The attribute that holds the class, chosen from all parts, so that it is one in them.

    None where none of this part's regions has any: then nobody has named them yet.
    """
    own = [_attributes(region) for region in _regions(part.files)]
    others = [other for other in request.parts if other.format == part.format and other != part]
    rest: list[dict] = []
    for other in others:
        with contextlib.suppress(FormatError):  # told when that part is read itself
            rest += [_attributes(region) for region in _regions(other.files)]
    wanted = request.class_attribute
    chosen = class_attribute(own + rest, wanted, part.root) if any(own) else None
    if chosen is None and own:
        notes.say(f"Regions have no attribute, so that all are of one class, {request.class_name}.")
    tell_choice(own + rest, chosen, wanted is not None, notes)
    return chosen


def _attributes(region: Any) -> dict[str, Any]:
    attributes = region.get("region_attributes") if isinstance(region, dict) else None
    return attributes if isinstance(attributes, dict) else {}


def _label(region: Any, attribute: str | None, request: Request) -> str:
    if attribute is None:
        return request.class_name
    value = _attributes(region).get(attribute)
    if isinstance(value, dict) and sum(on is True for on in value.values()) > 1:
        raise Dropped(f"have several boxes ticked in their attribute {shortened(repr(attribute))}")
    label = value_of(value)
    if label is None:
        raise Dropped(f"have no value in their attribute {shortened(repr(attribute))}")
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
