"""GeoJSON in pixels of the picture, or in coordinates of the map of a GeoTIFF.

QuPath's objects, layers that QGIS exports, and what other programs write so.

{"type": "FeatureCollection", "features": [{"type": "Feature",
    "geometry": {"type": "Polygon", "coordinates": [[[x, y], ..], [[x, y], ..]]},  outline, holes
    "properties": {"objectType": "annotation", "classification": {"name": "Tumor"}}}]}

x goes to the right and y down, from the outer edge of the upper left pixel; a list of features
alone will do. A file is of the picture that is called like it, unless its features name theirs.
World coordinates must be in the system of the picture: nothing is brought from one into another.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.data.formats import marks, shapes
from mrcnn.data.formats.attributes import class_attribute, tell_choice, value_of
from mrcnn.data.formats.files import read_json
from mrcnn.data.formats.geojson_files import Pictures
from mrcnn.data.formats.geojson_maps import map_of
from mrcnn.data.formats.labelled import DrawnDataset, keep_visible
from mrcnn.data.formats.names import is_background
from mrcnn.data.formats.notes import Dropped, FormatError, Notes, shortened
from mrcnn.data.formats.reading import Part, Request, Row, add_drawn
from mrcnn.data.formats.turned import TURNED, lie_on_stored, shown_size
from mrcnn.data.places import Map

_QUPATH = "classification"
_CLASSES = {
    *("name", "class", "type", "label", "category", "kind", "species"),
    *("class_name", "classname", "class_label", "label_name", "category_name"),
}
_SEARCHED = ("annotation", "pathannotationobject")
_FOUND = ("detection", "cell", "pathdetectionobject", "pathcellobject")
_NO_OBJECTS = ("tile", "tma_core", "root", "pathtileobject", "tmacoreobject", "pathrootobject")
_LINES = ("Point", "MultiPoint", "LineString", "MultiLineString")


@dataclass
class _File:
    """A file's features.

    whole: what may name the picture for all. searched: whether it holds what QuPath found, so that
    annotations may be where it looked. system: of the coordinates, if the file says that it is a
    map's. boxes: (y1, x1, y2, x2) of the outlines that were read, in pixels, and whose they are.
    """

    path: Path
    features: list[Any]
    whole: dict[str, Any]
    searched: bool
    system: str = ""
    boxes: list[tuple[Sequence[float], str]] = field(default_factory=list)


def read(part: Part, request: Request) -> DrawnDataset:
    """The pictures and features of GeoJSON files. Raises FormatError."""
    notes = Notes()
    files = list(_files(part, notes))
    attribute = _class_attribute(part, files, request, notes)
    pictures = Pictures(part, request)
    found: list[tuple[str, str, list[shapes.Instance], bool]] = []  # name, path, .., predicted
    for file in files:
        groups = list(pictures.of(file.path, file.features, file.whole, notes))
        paths = pictures.paths(file.path)
        predicted = _is_predicted(file)
        for name, features in groups:
            on_map = map_of(file.path, file.system, paths[name], features)
            if on_map:
                notes.count("Pictures whose outlines are in coordinates of their map", name)
            instances = _drawn(features, file, attribute, request, notes, name, on_map)
            found.append((name, paths[name], instances, predicted))
    pictures.check_all_found(len(found))
    sizes = [shown_size(path) for _, path, *_ in found]
    drawn = [instances for _, _, instances, _ in found]
    boxes = [box for file in files for box in file.boxes]
    _check_pixels(part, boxes, {row[0]: size for row, (size, _) in zip(found, sizes)})
    on_stored = lie_on_stored(zip(sizes, drawn))
    rows = []
    for (name, path, instances, predicted), (size, is_turned) in zip(found, sizes):
        if is_turned and on_stored:
            size = size[::-1]
            notes.count(TURNED, name)
        kept = keep_visible(instances, size, notes, name)
        height, width = size or (None, None)
        rows.append(Row(name, path, height, width, kept, predicted=predicted))
    return add_drawn(DrawnDataset("geojson", part.root, notes), rows, request, notes)


def labels(part: Part, request: Request) -> set[str]:
    """The class names that occur."""
    files = list(_files(part, Notes()))
    attribute = _class_attribute(part, files, request, Notes())
    found = set()
    for file in files:
        for feature in file.features:
            with contextlib.suppress(Dropped):
                _check_kind(feature, file.searched)
                found.add(_label(feature, attribute, request)[0])
    return found


def _is_predicted(file: _File) -> bool:
    """Whether `mrcnn detect` wrote it and nobody has changed it since."""
    mark = file.whole.get(marks.MARK)
    with contextlib.suppress(RecursionError):
        return bool(mark) and marks.is_unchanged(mark, marks.geojson_regions(file.features))
    return False


# -- Files --------------------------------------------------------------------------------------


def _files(part: Part, notes: Notes) -> Iterator[_File]:
    for path in part.files:
        content = read_json(path)
        whole = content if isinstance(content, dict) else {}
        features = [whole] if whole.get("type") == "Feature" else whole.get("features")
        features = content if isinstance(content, list) else features
        if not isinstance(features, list):
            if len(part.files) == 1:
                raise FormatError(
                    f"{path} holds no features: GeoJSON is a FeatureCollection, or a list of "
                    "features. Export the labels again."
                )
            notes.count("Files left out: they hold no features", path.name)
            continue
        searched = any(_kind(one) in _FOUND for one in features)
        yield _File(path, features, whole, searched, _system(whole))


def _system(whole: dict[str, Any]) -> str:
    """The system of coordinates that a file names, if it is that of a map."""
    system = whole.get("crs")
    said = _dict(_dict(system).get("properties")).get("name", system)
    return "" if not said or "pixel" in str(said)[:200].lower() else shortened(said)


def _check_pixels(
    part: Part,
    boxes: Sequence[tuple[Sequence[float], str]],
    sizes: dict[str, shapes.Size | None],
) -> None:
    """Raise FormatError where no outline can be in pixels: all lie outside, or are dots."""
    known = [(box, size, name) for box, name in boxes if (size := sizes[name]) is not None]
    outside = all(shapes.place(box, size) == "outside" for box, size, _ in known)
    dots = all(0 < max(y2 - y1, x2 - x1) < 1 for (y1, x1, y2, x2), _, _ in known)
    if not known or not (outside or dots):
        return
    (y1, x1, _, _), (height, width), name = known[0]
    why = f"all lie outside of their pictures ({shortened(name)} is {width} wide and {height} high)"
    why = why if outside else "are all smaller than a pixel"
    raise FormatError(
        f"{part.root}: the outlines {why}; the first begins at x {x1 + 0.5:.6g}, y {y1 + 0.5:.6g}. "
        "They must be in pixels, counted from the upper left corner with y down, or, where the "
        "picture is a GeoTIFF, in its own system of coordinates, and not in degrees or metres of "
        "another: export them so."
    )


# -- Classes ------------------------------------------------------------------------------------


def _class_attribute(
    part: Part, files: Sequence[_File], request: Request, notes: Notes
) -> str | None:
    """The property that holds the class, chosen from all parts, so that it is one in them."""
    features = [feature for file in files for feature in file.features]
    for other in request.parts:
        if other.format == part.format and other != part:
            with contextlib.suppress(FormatError):  # told when that part is read itself
                features += [one for file in _files(other, Notes()) for one in file.features]
    given = [_attributes(feature) for feature in features]
    wanted = request.class_attribute
    if wanted is None and any(_QUPATH in attributes for attributes in given):
        return _QUPATH
    if wanted is None:
        given = [{k: v for k, v in row.items() if k.strip().lower() in _CLASSES} for row in given]
    chosen = class_attribute(given, wanted, part.root)
    values = [value_of(row[chosen]) for row in given if chosen in row]
    if wanted is None and len(values) > 3 and len(set(values)) == len(values):
        notes.say(
            f"The property {chosen!r} is another for each region, so that it is taken for no class "
            "(--class-attribute says otherwise; class_attribute= in Python)."
        )
        chosen = None
    if chosen is None and features:
        notes.say(f"No property holds a class, so that all are of one, {request.class_name}.")
    tell_choice(given, chosen, wanted is not None, notes)
    return chosen


def _attributes(feature: Any) -> dict[str, Any]:
    """The properties of a feature that can be a class: texts, whole numbers, QuPath's class."""
    given = _properties(feature)
    found = {key: value for key, value in given.items() if not isinstance(value, dict | list)}
    found = {key: value for key, value in found.items() if value_of(value) is not None}
    theirs = given.get(_QUPATH)
    if isinstance(theirs, dict):
        names = theirs.get("names")
        several = isinstance(names, list) and all(isinstance(name, str) for name in names)
        label = value_of(theirs.get("name") or (": ".join(names) if several else None))
        found |= {_QUPATH: label} if label else {}
    return found


def _label(feature: Any, attribute: str | None, request: Request) -> tuple[str, bool]:
    """(a feature's class, whether it has one of its own)."""
    value = value_of(_attributes(feature).get(attribute))
    if value is None:
        return request.class_name, attribute is None
    # QuPath's sign for what is measured otherwise: Ignore*, Region*.
    bare = value.rstrip("*")
    return (bare if is_background(bare) else value), True


# -- Features -----------------------------------------------------------------------------------


def _drawn(
    features: list[Any],
    file: _File,
    attribute: str | None,
    request: Request,
    notes: Notes,
    shown: str,
    on_map: Map | None,
) -> list[shapes.Instance]:
    instances = []
    for feature in features:
        try:
            _check_kind(feature, file.searched)
            outlines = tuple(_outlines(feature, file, notes, shown, on_map))
        except Dropped as reason:
            notes.count(f"Regions dropped: they {reason}", shown)
            continue
        label, has_class = _label(feature, attribute, request)
        if not has_class:
            notes.count(f"Regions without a class, taken as {label}", shown)
        instances.append(shapes.Instance(label, outlines))
    return instances


def _check_kind(feature: Any, searched: bool) -> None:
    """Raise Dropped for what is no object of the picture."""
    if not isinstance(feature, dict):
        raise Dropped("are no features")
    kind, label = _kind(feature), str(_attributes(feature).get(_QUPATH, "*"))
    if kind in _NO_OBJECTS:
        raise Dropped("are tiles or cores of QuPath, which are no objects")
    if searched and kind in _SEARCHED and label.endswith("*"):
        raise Dropped("are annotations without a class, in which QuPath found the other objects")


def _outlines(
    feature: dict[str, Any], file: _File, notes: Notes, shown: str, on_map: Map | None
) -> Iterator[shapes.Shape]:
    """The pieces of a feature, each with its holes. Raises Dropped where none is left."""
    geometry = _dict(feature.get("geometry"))
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    if kind in _LINES:
        raise Dropped("are points or lines")
    if kind not in ("Polygon", "MultiPolygon"):
        raise Dropped("have a geometry that is neither Polygon nor MultiPolygon")
    several = coordinates if kind == "MultiPolygon" else [coordinates]
    if not isinstance(several, list) or not several:
        raise Dropped("have no outline")
    left = len(several)
    for rings in several:
        try:
            yield _with_holes(rings, file, notes, shown, on_map)
        except Dropped as reason:
            left -= 1
            if not left:
                raise
            notes.count(f"Pieces of regions dropped: they {reason}", shown)


def _with_holes(
    rings: Any, file: _File, notes: Notes, shown: str, on_map: Map | None
) -> shapes.Shape:
    if not isinstance(rings, list) or not rings:
        raise Dropped("have no outline")
    outline, *holes = [_corners(ring, on_map) for ring in rings]
    if not outline[0]:
        raise Dropped("have no outline")
    kept = []
    xs, ys = outline
    file.boxes.append(((min(ys), min(xs), max(ys), max(xs)), shown))
    for xs, ys in holes:
        try:
            kept.append(shapes.polygon(xs, ys))
        except Dropped as reason:
            notes.count(f"Holes passed over: they {reason}", shown)
    return shapes.with_holes(shapes.polygon(*outline), kept)


def _corners(ring: Any, on_map: Map | None) -> tuple[list[float], list[float]]:
    """(xs, ys) of a ring, whole numbers being the centres of pixels."""
    if not isinstance(ring, list) or any(
        not isinstance(point, list) or len(point) < 2 for point in ring
    ):
        raise Dropped("have points that are not pairs of numbers")
    xs, ys = (shapes.to_numbers([point[axis] for point in ring]) for axis in (0, 1))
    if on_map and len(xs):
        xs, ys = on_map.to_pixels(np.stack([xs, ys], axis=1)).T
    return (xs - 0.5).tolist(), (ys - 0.5).tolist()


def _kind(feature: Any) -> str:
    """What QuPath says that an object is, in lower case; old versions say it as the id."""
    given = _properties(feature)
    kind = given.get("objectType", given.get("object_type", _dict(feature).get("id")))
    return kind.lower() if isinstance(kind, str) else ""


def _properties(feature: Any) -> dict[str, Any]:
    return _dict(_dict(feature).get("properties"))


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
