"""Pascal VOC: an XML file of boxes for each picture, for some pictures masks too.

Where there are masks (SegmentationObject) they are read and the boxes are not. Tools put polygons
beside the boxes (RectLabel, supervision) or in their place (LabelMe of MIT): they are read, then. A
box alone says nothing about the outline: it becomes a mask that fills it, and a note says so.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from mrcnn.data.formats import shapes
from mrcnn.data.formats.files import find_folder, is_picture, natural_name, read_xml
from mrcnn.data.formats.folders import read_indexed
from mrcnn.data.formats.labelled import DrawnDataset, LabelledDataset, keep_visible, usable_size
from mrcnn.data.formats.notes import Dropped, FormatError, Notes
from mrcnn.data.formats.reading import FILLED_BOXES, Part, Request, Row, add_drawn


def read(part: Part, request: Request) -> LabelledDataset:
    """The pictures of a VOC folder with their masks or filled boxes. Raises FormatError."""
    if _has_masks(part, request):
        return read_indexed(part, request)
    notes = Notes()
    files = _files(part)
    found = [_content(file, request) for file in files]
    bases = [request.images] if request.images else _near(files[0])
    paths = find_folder(request.folders, [name for name, _ in found], bases, part.root)
    rows = []
    for name, root in found:
        stated, of_mit = root.find("size"), root.find("imagesize")
        size = usable_size(_whole(stated, "height"), _whole(stated, "width"))
        size = size or usable_size(_whole(of_mit, "nrows"), _whole(of_mit, "ncols"))
        if size is None:
            notes.count("Pictures whose stated size is none, so that their own is taken", name)
        instances = keep_visible(list(_instances(root, notes, name)), size, notes, name)
        rows.append(Row(name, paths[name], *(size or (None, None)), instances))
    return add_drawn(DrawnDataset("voc", part.root, notes), rows, request, notes)


def labels(part: Part, request: Request) -> set[str]:
    """The class names that occur in boxes; of masks their values name the classes."""
    if _has_masks(part, request):
        return set()
    return {
        name
        for file in part.files
        for region in read_xml(file).findall("object")
        if (name := (region.findtext("name") or "").strip())
    }


def _has_masks(part: Part, request: Request) -> bool:
    return bool(request.folders.with_suffix(part.root / "SegmentationObject", (".png",)))


def _files(part: Part) -> list[Path]:
    files = [file for file in part.files if part.members is None or file.stem in part.members]
    if not files:
        raise FormatError(f"{part.root} has no XML file for a picture of this part.")
    return files


def _content(file: Path, request: Request) -> tuple[str, Element]:
    """(the picture's name, root element) of a file."""
    root = read_xml(file)
    if root.tag != "annotation":
        raise FormatError(f"{file} has <{root.tag}> outermost: Pascal VOC has <annotation>.")
    name = natural_name(root.findtext("filename"))
    beside = [
        other
        for base in ([request.images] if request.images else _near(file))
        for other in (name, f"{file.stem}.jpg", f"{file.stem}.png", f"{file.stem}.jpeg")
        if other and is_picture(other) and request.folders.has(base / other)
    ]
    return beside[0] if beside else name or f"{file.stem}.jpg", root


def _near(file: Path) -> list[Path]:
    names = ("JPEGImages", "images", "Images")
    # LabelMe of MIT has folders of the same names in Annotations and Images.
    roots = [root for root in file.parents[1:6] if (root / "Images").is_dir()]
    below = [
        root / "Images" / file.parent.relative_to(root / "Annotations")
        for root in roots
        if file.is_relative_to(root / "Annotations")
    ]
    folders = [file.parent.parent / name for name in names]
    return [*folders, file.parent, file.parent.parent, *below]


def _instances(root: Element, notes: Notes, picture: str) -> Iterator[shapes.Instance]:
    for region in root.findall("object"):
        try:
            name = (region.findtext("name") or "").strip()
            if not name:
                raise Dropped("have no name")
            if (region.findtext("deleted") or "").strip() == "1":
                raise Dropped("are marked as deleted")
            drawn = tuple(_polygons(region))
            if not drawn:
                drawn = (_box(region.find("bndbox")),)
                notes.count(FILLED_BOXES, picture)
            yield shapes.Instance(name, drawn)
        except Dropped as reason:
            notes.count(f"Objects dropped: they {reason}", picture)


def _polygons(region: Element) -> Iterator[shapes.Shape]:
    """The outlines of an object; none where only its box is left. Raises Dropped."""
    for outline in region.iter("polygon"):
        points = outline.findall("pt") or outline.findall("point")
        if points:
            xs, ys = ([point.findtext(axis) for point in points] for axis in "xy")
        else:  # x1, y1, x2, y2, .., or x and y by turns
            xs, ys = ([child.text for child in outline if _is_axis(child, axis)] for axis in "xy")
        try:
            numbers = [[float(number) for number in axis] for axis in (xs, ys)]
        except (TypeError, ValueError):
            if region.find("bndbox") is None:
                raise Dropped("have a polygon whose coordinates are not numbers") from None
            continue
        if len(numbers[0]) > 2 or region.find("bndbox") is None:
            yield shapes.polygon(*numbers)


def _is_axis(child: Element, axis: str) -> bool:
    return isinstance(child.tag, str) and re.fullmatch(rf"{axis}\d*", child.tag) is not None


def _box(box: Element | None) -> shapes.Shape:
    try:
        sides = [float(box.findtext(side)) for side in ("xmin", "ymin", "xmax", "ymax")]
    except (AttributeError, TypeError, ValueError):
        raise Dropped("have no four numbers in their bndbox") from None
    x1, y1, x2, y2 = shapes.to_numbers(sides).tolist()
    # The first pixel is 1 in Pascal VOC, and the last one belongs to the box.
    return shapes.rectangle(x1 - 1, y1 - 1, x2 - x1, y2 - y1)


def _whole(element: Element | None, name: str) -> int | None:
    text = element.findtext(name) if element is not None else None
    return int(text) if text and text.strip().isdecimal() and len(text) < 12 else None
