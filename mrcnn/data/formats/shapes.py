"""Regions that people drew: polygons, circles and stored masks, checked once, drawn when needed.

A coordinate is in pixels of the picture; a whole number is the centre of a pixel, as Matterport's
samples take it (skimage.draw.polygon).
"""

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from mrcnn.data.formats.brush import check_brush, unpack_brush
from mrcnn.data.formats.holes import cut_out
from mrcnn.data.formats.notes import Dropped
from mrcnn.data.formats.rle import check_rows, region_of_rows
from mrcnn.geometry.regions import NOWHERE, Region, ellipse_region, polygon_region

LARGEST_COORDINATE = 1e7  # pixels
LONGEST_OUTLINE = 2e6  # pixels; what is longer is a scribble, and takes minutes to draw

Size = tuple[int, int]  # (height, width)


class Shape(NamedTuple):
    """One region. kind: "polygon", "rings", "ellipse", or of stored masks "png", "runs" or "brush".

    numbers: float64 [num_points, (y, x)]; [(y, x, radius y, radius x, angle)]; or
        [(top, left), (height, width)].
    stored: the bytes of a stored mask: its file, the lengths of its runs row by row (uint32), or
        what Label Studio packed; of rings, an outline and its holes, how many points each has
        (uint32).
    """

    kind: str
    numbers: np.ndarray
    stored: bytes = b""


class Instance(NamedTuple):
    """One labelled thing: its class, by name and then by number, and the shapes it is made of."""

    label: Any
    shapes: tuple[Shape, ...]


# -- Making and checking --------------------------------------------------------------------


def to_numbers(values: Any) -> np.ndarray:
    """A flat list from a file as float64. Raises Dropped unless all are finite numbers."""
    # By type, since NumPy would take True for 1 and "7" for 7.
    if not isinstance(values, list) or not set(map(type, values)) <= {int, float}:
        raise Dropped("have coordinates that are not numbers")
    try:
        numbers = np.array(values, np.float64)
    except OverflowError:
        numbers = np.array([np.inf])
    # NaN fails the comparison too.
    if not (np.abs(numbers) <= LARGEST_COORDINATE).all():
        raise Dropped("have coordinates that are not finite or beyond 10 million pixels")
    return numbers


def polygon(xs: Any, ys: Any) -> Shape:
    """A polygon from two lists. Raises Dropped if it is none."""
    x, y = to_numbers(xs), to_numbers(ys)
    if len(x) != len(y):
        raise Dropped("have lists of x and y of different lengths")
    points = np.stack([y, x], axis=1)  # [num_points, 2]
    check_outline(points)
    return Shape("polygon", points)


def with_holes(outline: Shape, holes: Sequence[Shape]) -> Shape:
    """A polygon without what other polygons cover."""
    if not holes:
        return outline
    rings = [outline.numbers, *(hole.numbers for hole in holes)]
    lengths = np.array([len(ring) for ring in rings], np.uint32)
    return Shape("rings", np.concatenate(rings), lengths.tobytes())


def _rings(shape: Shape) -> list[np.ndarray]:
    """[num_points, (y, x)] of the outline, and of each hole."""
    return np.split(shape.numbers, np.cumsum(np.frombuffer(shape.stored, np.uint32))[:-1])


def check_outline(points: np.ndarray) -> None:
    """Raise Dropped for a polygon without area, or one too long to draw. points: [num_points, 2]"""
    if len(points) < 3:
        raise Dropped("have fewer than three corners")
    offsets = points - points[0]
    area = offsets[:-1, 0] @ offsets[1:, 1] - offsets[:-1, 1] @ offsets[1:, 0]
    # An outline shaped like an 8 has as much area to its left as to its right.
    if abs(area) < 1e-6:
        far = offsets[np.argmax((offsets**2).sum(axis=1))]
        if np.abs(offsets @ (-far[1], far[0])).max() < 1e-6:
            raise Dropped("have no area: all corners lie on one line")
    if np.abs(np.diff(points, axis=0)).sum() > LONGEST_OUTLINE:
        raise Dropped("have an outline of more than 2 million pixels")


def rectangle(x: Any, y: Any, width: Any, height: Any) -> Shape:
    """A rectangle as a polygon; its far sides belong to it. Raises Dropped if it has no area."""
    x, y, width, height = to_numbers([x, y, width, height]).tolist()
    if width <= 0 or height <= 0:
        raise Dropped("are boxes without area")
    return polygon([x, x + width, x + width, x], [y, y, y + height, y + height])


def turned_rectangle(
    x: float, y: float, width: float, height: float, angle: float, cx: float, cy: float
) -> Shape:
    """A rectangle that is turned by an angle, in radians, clockwise, about (cx, cy).

    x, y: its upper left corner before. Raises Dropped if it has no area.
    """
    shape = rectangle(x, y, width, height)
    cx, cy, angle = to_numbers([cx, cy, angle]).tolist()
    if not angle:
        return shape
    dy, dx = (shape.numbers - (cy, cx)).T
    sine, cosine = np.sin(angle), np.cos(angle)
    xs, ys = cx + dx * cosine - dy * sine, cy + dx * sine + dy * cosine
    return polygon(xs.tolist(), ys.tolist())


def ellipse(cx: Any, cy: Any, rx: Any, ry: Any, angle: Any = 0.0) -> Shape:
    """An ellipse. angle: radians, clockwise. Raises Dropped if it has no area."""
    cx, cy, rx, ry, angle = to_numbers([cx, cy, rx, ry, angle]).tolist()
    if rx <= 0 or ry <= 0:
        raise Dropped("are circles without a radius")
    return Shape("ellipse", np.array([cy, cx, ry, rx, angle]))


def stored_mask(png: bytes, top: float, left: float) -> Shape:
    """A mask from a PNG file, of which only the head is read. top, left: where it goes.

    Raises Dropped if it is no such file.
    """
    with _opened(png) as picture:
        width, height = picture.size
    return Shape("png", to_numbers([top, left, float(height), float(width)]).reshape(2, 2), png)


def stored_runs(text: str, top: Any, left: Any, height: Any, width: Any) -> Shape:
    """A mask from the lengths of its runs of 0 and 1 by turns, row by row. Raises Dropped."""
    numbers = to_numbers([top, left, height, width]).reshape(2, 2)
    return Shape("runs", numbers, check_rows(text, height, width))


def stored_brush(packed: Any, height: int, width: int) -> Shape:
    """A mask of a whole picture as Label Studio packs it. Raises Dropped."""
    numbers = to_numbers([0, 0, height, width]).reshape(2, 2)
    return Shape("brush", numbers, check_brush(packed, height, width))


def check_mask_fits(shape: Shape, size: Size) -> None:
    """Raise Dropped for a stored mask that is larger than its picture, before it is decoded."""
    if shape.stored and shape.kind != "rings" and (shape.numbers[1] > np.add(size, 1)).any():
        raise Dropped("have a mask that is larger than their picture")


@contextlib.contextmanager
def _opened(png: bytes) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
                yield picture
    except Exception:  # Pillow raises nearly every kind on damaged bytes
        raise Dropped("have a mask that is no PNG file") from None


def _decode(shape: Shape) -> np.ndarray:
    height, width = shape.numbers[1].astype(int).tolist()
    if shape.kind == "runs":
        return region_of_rows(shape.stored, height, width)
    if shape.kind == "brush":
        return unpack_brush(shape.stored, height, width)
    with _opened(shape.stored) as picture:
        return np.asarray(picture.convert("L")) > 0


# -- Where it lies --------------------------------------------------------------------------


def bounds(shape: Shape) -> tuple[float, float, float, float]:
    """(y1, x1, y2, x2) of a shape in pixels, roughly for an ellipse: as if it were a circle."""
    if shape.kind in ("polygon", "rings"):
        points = _rings(shape)[0] if shape.kind == "rings" else shape.numbers
        return (*points.min(axis=0).tolist(), *points.max(axis=0).tolist())
    if shape.kind == "ellipse":
        y, x, ry, rx, angle = shape.numbers.tolist()
        reach = max(ry, rx)
        ry, rx = (reach, reach) if angle else (ry, rx)
        return y - ry, x - rx, y + ry, x + rx
    (top, left), (height, width) = shape.numbers.tolist()
    return top, left, top + height - 1, left + width - 1


def place(box: Sequence[float], size: Size) -> str:
    """Where a box (y1, x1, y2, x2) lies: "inside" a picture, "across" its border or "outside"."""
    y1, x1, y2, x2 = box
    height, width = size
    if y2 < 0 or x2 < 0 or y1 > height or x1 > width:
        return "outside"
    # Tools round, and draw up to the outer edge of the last pixel.
    return "inside" if min(y1, x1) >= -1 and y2 <= height + 1 and x2 <= width + 1 else "across"


# -- Drawing --------------------------------------------------------------------------------


def draw(shapes: Sequence[Shape], size: Size) -> Region:
    """The pixels that any of the shapes covers: a box, and bool [box_height, box_width].

    Raises Dropped for a stored mask that is damaged or larger than the picture.
    """
    regions = [region for shape in shapes if (region := _region(shape, size))[1].size]
    if len(regions) < 2:
        return regions[0] if regions else NOWHERE
    boxes = np.array([box for box, _ in regions])
    y1, x1 = boxes[:, :2].min(axis=0).tolist()
    y2, x2 = boxes[:, 2:].max(axis=0).tolist()
    inside = np.zeros((y2 - y1, x2 - x1), bool)
    for (top, left, bottom, right), piece in regions:
        inside[top - y1 : bottom - y1, left - x1 : right - x1] |= piece
    return (y1, x1, y2, x2), inside


def _region(shape: Shape, size: Size) -> Region:
    if shape.kind == "polygon":
        return polygon_region(shape.numbers, size)
    if shape.kind == "rings":
        outline, *holes = _rings(shape)
        return cut_out(
            polygon_region(outline, size), [polygon_region(hole, size) for hole in holes]
        )
    if shape.kind == "ellipse":
        y, x, ry, rx, angle = shape.numbers
        return ellipse_region((y, x), (ry, rx), size, angle)
    check_mask_fits(shape, size)
    (height, width), piece = size, _decode(shape)
    top, left = np.rint(shape.numbers[0]).astype(int).tolist()
    piece = piece[max(-top, 0) : max(height - top, 0), max(-left, 0) : max(width - left, 0)]
    top, left = max(top, 0), max(left, 0)
    return (top, left, top + piece.shape[0], left + piece.shape[1]), piece
