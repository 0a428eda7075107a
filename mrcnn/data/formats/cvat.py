"""CVAT for images 1.1: one XML file, in it an <image> for each picture with its shapes.

<image name="a.png" width="64" height="48"><polygon label="leaf" points="8,8;24,8;24,20"/></image>

Coordinates are those of the pixels' edges: 0, 0 is the corner of the first one.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from mrcnn.data.formats import marks, shapes
from mrcnn.data.formats.files import Folders, find_folder, natural_name, read_xml
from mrcnn.data.formats.labelled import DrawnDataset, keep_visible, usable_size
from mrcnn.data.formats.notes import Dropped, FormatError, Notes
from mrcnn.data.formats.reading import FILLED_BOXES, Part, Request, Row, add_drawn

_OUTERMOST = ("version", "meta", "image", "track")
_READ = ("polygon", "box", "ellipse", "mask")
_LEFT_OUT = {
    "polyline": "Open lines (polyline) left out",
    "points": "Points left out",
    "skeleton": "Skeletons of points left out",
    "cuboid": "Cuboids left out",
    "tag": "Tags of whole pictures left out",
}
_SUBSET = re.compile(rb"""<image\s[^>]*?\ssubset=["']([^"']{1,200})["']""")


def parts(folder: Path, file: Path) -> dict[str, Part]:
    """A file as parts: those of a project's subsets, if it has several, else one under ""."""
    try:
        names = {name.decode("utf-8", "replace") for name in _SUBSET.findall(file.read_bytes())}
    except OSError:
        names = set()  # reading it will say what is wrong
    if len(names) < 2:
        return {"": Part("cvat", folder, (file,))}
    return {name: Part("cvat", folder, (file,), frozenset([name])) for name in sorted(names)}


def read(part: Part, request: Request) -> DrawnDataset:
    """The pictures and shapes of CVAT's files. Raises FormatError."""
    notes = Notes()
    rows: list[Row] = []
    listed: list[str] = []
    for file in part.files:
        root = _root(file, notes)
        listed += _listed(root)
        rows += _rows(file, root, part, request, notes)
    return add_drawn(DrawnDataset("cvat", part.root, notes), rows, request, notes, listed)


def labels(part: Part, request: Request) -> set[str]:
    """The class names that occur."""
    return {
        label
        for file in part.files
        for image in _images(_root(file, Notes()), part)
        for shape in image
        if shape.tag in _READ and (label := (shape.get("label") or "").strip())
    }


def _root(file: Path, notes: Notes) -> Element:
    root = read_xml(file)
    if root.tag != "annotations":
        raise FormatError(f"{file} has <{root.tag}> outermost: CVAT's XML has <annotations>.")
    tracks = root.findall("track")
    if root.find("image") is None:
        if tracks:
            raise FormatError(
                f"{file} is CVAT's export of a video: it has {len(tracks)} tracks and no pictures. "
                "Export the task again as 'CVAT for images 1.1', which has the shapes of each "
                "frame, together with the pictures."
            )
        raise FormatError(f"{file} has no <image>: in CVAT, export as 'CVAT for images 1.1'.")
    strange = [child for child in root if child.tag not in _OUTERMOST]
    if strange:
        notes.count("Elements left out that are no <image>", file.name, len(strange))
    if tracks:
        notes.count("Tracks of videos left out", file.name, len(tracks))
    return root


def _listed(root: Element) -> list[str]:
    """Labels in the order of the task's own list."""
    names = [label.findtext("name") for label in root.iterfind("meta//label")]
    return [name.strip() for name in names if name]


def _images(root: Element, part: Part) -> list[Element]:
    images = root.findall("image")
    if part.members is None:
        return images
    return [image for image in images if image.get("subset") in part.members]


def _rows(file: Path, root: Element, part: Part, request: Request, notes: Notes) -> Iterator[Row]:
    images = []
    for number, image in enumerate(_images(root, part)):
        name = natural_name(image.get("name"))
        if name is None:
            notes.count("Pictures left out: they have no name", f"{file.name}, image {number}")
            continue
        images.append((name, image))
    bases = [request.images] if request.images else _near(file, root, part, request.folders)
    paths = find_folder(request.folders, [name for name, _ in images], bases, file)
    for name, image in images:
        size = usable_size(_whole(image, "height"), _whole(image, "width"))
        if size is None:
            notes.count("Pictures whose stated size is none, so that their own is taken", name)
        instances = list(_instances(image, notes, name))
        kept = keep_visible(instances, size, notes, name)
        predicted = marks.is_unchanged(image.get(marks.MARK), marks.cvat_regions(image))
        yield Row(name, paths[name], *(size or (None, None)), kept, predicted=predicted)


def _near(file: Path, root: Element, part: Part, folders: Folders) -> list[Path]:
    """Folders that may hold the pictures. CVAT puts those of a project's subset into images/."""
    bases = [file.parent, file.parent / "images", file.parent.parent / "images", file.parent.parent]
    if said := natural_name(root.findtext("meta/pictures")):
        bases.insert(0, file.parent / said)
    for subset in part.members or ():
        if natural_name(subset) == subset:
            bases = [base / subset for base in bases] + bases
    below = [
        base / name
        for base in (file.parent, file.parent / "images")
        for name in sorted(folders.names(base))[:200]
        if (base / name).is_dir()
    ]
    return [*bases, *below]


# -- Shapes -------------------------------------------------------------------------------------


def _instances(image: Element, notes: Notes, picture: str) -> Iterator[shapes.Instance]:
    """Shapes of one label and group make one instance, as in CVAT's export to COCO."""
    groups: dict[tuple, list[shapes.Shape]] = {}
    for number, drawn in enumerate(image):
        if drawn.tag in _LEFT_OUT:
            notes.count(_LEFT_OUT[drawn.tag], picture)
            continue
        try:
            label = (drawn.get("label") or "").strip()
            if not label:
                raise Dropped("have no label")
            shape = _shape(drawn)
        except Dropped as reason:
            notes.count(f"Regions dropped: they {reason}", picture)
            continue
        if drawn.tag == "box":
            notes.count(FILLED_BOXES, picture)
        group = drawn.get("group_id", "0")
        key = (label, number) if group in ("", "0") else (label, "group", group)
        groups.setdefault(key, []).append(shape)
    for key, members in groups.items():
        if len(members) > 1:
            notes.count("Shapes joined by their group", picture, len(members))
        yield shapes.Instance(key[0], tuple(members))


def _shape(drawn: Element) -> shapes.Shape:
    if drawn.tag == "polygon":
        pairs = [pair.split(",") for pair in (drawn.get("points") or "").split(";")]
        if any(len(pair) != 2 for pair in pairs):
            raise Dropped("have points that are not pairs of numbers")
        xs, ys = ([_number(pair[i]) - 0.5 for pair in pairs] for i in (0, 1))
        return shapes.polygon(xs, ys)
    if drawn.tag == "box":
        x1, y1, x2, y2 = _numbers(drawn, "xtl", "ytl", "xbr", "ybr")
        return shapes.turned_rectangle(
            *(x1 - 0.5, y1 - 0.5, x2 - x1, y2 - y1),
            *(_turn(drawn), (x1 + x2 - 1) / 2, (y1 + y2 - 1) / 2),
        )
    if drawn.tag == "ellipse":
        cx, cy, rx, ry = _numbers(drawn, "cx", "cy", "rx", "ry")
        return shapes.ellipse(cx - 0.5, cy - 0.5, rx, ry, _turn(drawn))
    if drawn.tag == "mask":
        where = [_whole(drawn, name) for name in ("top", "left", "height", "width")]
        if None in where:
            raise Dropped("have a mask without a place and a size in whole numbers")
        return shapes.stored_runs(drawn.get("rle") or "", *where)
    raise Dropped("are of a shape that CVAT does not have")


def _turn(drawn: Element) -> float:
    """By how much a shape is turned about its middle, in radians, clockwise."""
    return math.radians(_number(drawn.get("rotation") or "0"))


def _numbers(drawn: Element, *names: str) -> list[float]:
    absent = [name for name in names if drawn.get(name) is None]
    if absent:
        raise Dropped(f"are of shape {drawn.tag} and have no {absent[0]}")
    numbers = [_number(drawn.get(name) or "") for name in names]
    return np.asarray(shapes.to_numbers(numbers)).tolist()


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Dropped("have coordinates that are not numbers") from None


def _whole(element: Element, name: str) -> int | None:
    number = re.fullmatch(r"\s*(-?[0-9]{1,9})(?:\.0*)?\s*", element.get(name) or "")
    return int(number[1]) if number else None
