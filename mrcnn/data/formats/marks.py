"""Predictions that nobody has changed since they were written: told from labels by a mark.

`mrcnn detect --labels` writes with each picture a checksum of what it found there. Where the
regions still give it, no hand was on them; a tool that drops the mark has saved them itself.
"""

import json
import zlib
from collections.abc import Iterable
from typing import Any
from xml.etree.ElementTree import Element

# VIA: a file attribute; COCO, CVAT: of an image; LabelMe, GeoJSON: beside the shapes.
MARK = "predicted"
UNCHANGED = "Pictures whose labels are predictions that nobody has changed"


class Checksum:
    """What stands under the mark for a picture's regions, which are added one by one."""

    def __init__(self) -> None:
        self._sum, self._first = zlib.crc32(b"["), True

    def add(self, region: Any) -> None:
        """Take in a region, of plain values of JSON."""
        text = json.dumps(_steady(region), sort_keys=True)
        self._sum = zlib.crc32(f"{'' if self._first else ', '}{text}".encode(), self._sum)
        self._first = False

    def __str__(self) -> str:
        return f"{zlib.crc32(b']', self._sum):08x}"


def checksum(regions: list[Any]) -> str:
    """The same for all of them, as the text of the list in JSON would have it."""
    found = Checksum()
    for region in regions:
        found.add(region)
    return str(found)


def is_unchanged(mark: Any, regions: list[Any]) -> bool:
    """Whether a picture's regions are as they were predicted. mark: what the file has for it."""
    if not isinstance(mark, str) or not mark:
        return False
    try:
        return mark == checksum(regions)
    except (TypeError, ValueError, OverflowError, RecursionError):  # they can't be ours
        return False


def via_regions(regions: list[Any]) -> list[Any]:
    """What of VIA's regions counts: shapes and classes."""
    rows = [region if isinstance(region, dict) else {} for region in regions]
    attributes = [row.get("region_attributes") for row in rows]
    names = [a.get("class") if isinstance(a, dict) else None for a in attributes]
    return [[row.get("shape_attributes"), name] for row, name in zip(rows, names)]


def coco_regions(annotations: list[Any]) -> list[Any]:
    """What of COCO's annotations of a picture counts: classes and outlines."""
    return [[row.get("category_id"), row.get("segmentation")] for row in annotations]


def labelme_regions(shapes: list[Any]) -> list[Any]:
    """What of LabelMe's shapes counts: labels and points."""
    rows = [shape if isinstance(shape, dict) else {} for shape in shapes]
    return [[row.get("label"), row.get("shape_type"), row.get("points")] for row in rows]


def cvat_regions(image: Iterable[Element]) -> list[Any]:
    """What of the shapes in CVAT's <image> counts: kinds, labels and outlines."""
    names = ("label", "points", "rle", "left", "top", "width", "height")
    return [[shape.tag, *(shape.get(name) for name in names)] for shape in image]


def geojson_regions(features: list[Any]) -> list[Any]:
    """What of GeoJSON's features counts: outlines and properties, to the last digit of a degree."""
    rows = [feature if isinstance(feature, dict) else {} for feature in features]
    return [json.dumps([row.get("geometry"), row.get("properties")]) for row in rows]


def _steady(value: Any) -> Any:
    """The same for a number whether a tool writes 12 or 12.0, and whatever its last digits."""
    if isinstance(value, dict):
        return {str(key): _steady(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_steady(item) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return round(float(value), 2)
    return value
