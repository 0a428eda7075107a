"""Measurements of instances: a row an object, in pixels and in the unit of the picture's file.

columns = table(found.crops, ...)      # {name: [n]}, as pandas.DataFrame takes it

Shapes are those of scikit-image's `regionprops_table` on each mask, cut to its box: the same
numbers as on the full one. Intensities are the picture's own values, before any scaling.

area                        pixels of the mask; perimeter: length of its outline
centroid_y, centroid_x      whole numbers are the pixels' centres
y1, x1, y2, x2              the mask's box, the far corner outside of it
equivalent_diameter         of the circle with that area
major_axis, minor_axis      of the ellipse with the same second moments, and its eccentricity (0: a
                            circle) and orientation (radians from down, against the clock)
solidity                    share of the convex hull that is covered
on_border                   1 where the picture's border may have cut it
mean_0, min_0, max_0, sum_0 of the values of channel 0, and so on
"""

import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mrcnn.data.pictures import read_picture
from mrcnn.data.places import Pixel, find_place, parse_pixel
from mrcnn.geometry.crops import MaskCrops

Box = tuple[int, int, int, int]
# Ours: scikit-image's.
_SHAPES = {
    "area": "area",
    "perimeter": "perimeter",
    "centroid_y": "centroid-0",
    "centroid_x": "centroid-1",
    "equivalent_diameter": "equivalent_diameter_area",
    "major_axis": "axis_major_length",
    "minor_axis": "axis_minor_length",
    "orientation": "orientation",
    "eccentricity": "eccentricity",
    "solidity": "solidity",
}
_BOX = ("y1", "x1", "y2", "x2")
SHAPES = (
    *("area", "perimeter", "centroid_y", "centroid_x", *_BOX, "equivalent_diameter"),
    *("major_axis", "minor_axis", "orientation", "eccentricity", "solidity", "on_border"),
)
INTENSITIES = ("mean", "min", "max", "sum")
# What has a length, and what of it has a meaning where pixels aren't square.
LENGTHS = (
    *("perimeter", "centroid_y", "centroid_x", "equivalent_diameter", "major_axis", "minor_axis"),
)
_IN_ANY_PIXEL = ("centroid_y", "centroid_x", "equivalent_diameter")


def values_of(
    picture: np.ndarray | str | os.PathLike | None,
    shape: Sequence[int],
    pixel_size: str | None = None,
) -> tuple[Callable[[Box], np.ndarray] | None, Pixel | None]:
    """What `rows` takes, of a picture in memory or of its file, whose plane is the first.

    shape: (height, width, ..) of the masks. Raises ValueError and PictureError.
    """
    pixel = parse_pixel(pixel_size) if pixel_size else None
    if picture is None:
        return None, pixel
    if isinstance(picture, str | os.PathLike):
        pixel = pixel or find_place(picture).pixel
        picture = read_picture(picture, deep=True)
    found = np.asarray(picture)
    if found.ndim not in (2, 3) or found.shape[:2] != tuple(shape[:2]):
        raise ValueError(
            f"The picture is an array of shape {found.shape}, and the masks are {shape[0]} high "
            f"and {shape[1]} wide: give the picture that was searched."
        )
    return lambda box: found[box[0] : box[2], box[1] : box[3]], pixel


def rows(
    crops: MaskCrops,
    values: Callable[[Box], np.ndarray] | None = None,
    pixel: Pixel | None = None,
) -> Iterator[dict[str, float]]:
    """The measurements of each instance, in the order of the crops.

    values: f(box) -> what the picture holds there, [height, width] or [height, width, channels];
    None: no intensities. pixel: its size, for columns in a unit, such as area_um2.
    An instance without a pixel has an area of 0 and nothing else.
    """
    crops = crops.tight()
    height, width, _ = crops.shape
    for box, piece in zip(crops.boxes.tolist(), crops.pieces):
        if not piece.any():
            yield {"area": 0.0}
            continue
        row = _shape(piece, box)
        y1, x1, y2, x2 = box
        row["on_border"] = int(y1 == 0 or x1 == 0 or y2 == height or x2 == width)
        if values is not None:
            row |= _intensities(values((y1, x1, y2, x2)), piece)
        if pixel is not None:
            row |= _in_unit(row, pixel)
        yield row


def _shape(piece: np.ndarray, box: Sequence[int]) -> dict[str, float]:
    """All but the border's. piece: bool, with a pixel in each outer row and column."""
    from skimage.measure import regionprops

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a line of pixels has no hull
        (region,) = regionprops(piece.astype(np.uint8), offset=tuple(box[:2]))
        row: dict[str, float] = {
            ours: float(region[theirs])
            for ours, theirs in _SHAPES.items()
            if not theirs.startswith("centroid")
        }
    row["centroid_y"], row["centroid_x"] = (float(place) for place in region.centroid)
    return row | dict(zip(_BOX, map(int, box)))


def _intensities(values: np.ndarray, piece: np.ndarray) -> dict[str, float]:
    row = {}
    inside = values[piece]  # [pixels] or [pixels, channels]
    for channel, found in enumerate(inside.T.reshape(-1, len(inside))):
        exact = found.astype(np.float64)
        numbers = (exact.mean(), exact.min(), exact.max(), exact.sum())
        row |= {f"{name}_{channel}": float(n) for name, n in zip(INTENSITIES, numbers)}
    return row


def _in_unit(row: Mapping[str, float], pixel: Pixel) -> dict[str, float]:
    """The same in the unit of the pixel; what has no meaning in pixels that aren't square is left.

    A centroid in a unit is measured from the picture's outer corner.
    """
    unit, size = pixel.unit, math.sqrt(pixel.width * pixel.height)
    found = {f"area_{unit}2": row["area"] * pixel.width * pixel.height}
    for name in LENGTHS:
        if name.startswith("centroid"):
            side = pixel.height if name.endswith("y") else pixel.width
            found[f"{name}_{unit}"] = (row[name] + 0.5) * side
        elif pixel.square or name in _IN_ANY_PIXEL:
            found[f"{name}_{unit}"] = row[name] * size
    return found


def unit_columns(unit: str) -> list[str]:
    """The names of the columns in a unit."""
    return [f"area_{unit}2", *(f"{name}_{unit}" for name in LENGTHS)]


def ordered(names: Iterable[str], first: Sequence[str] = ()) -> list[str]:
    """Names of columns in their order: `first`, shapes, those in units, channel by channel."""
    there = set(names)
    channels = sorted(
        {int(name.rpartition("_")[2]) for name in there if name.rpartition("_")[0] in INTENSITIES}
    )
    order = [
        *first,
        *SHAPES,
        *unit_columns("um"),
        *unit_columns("m"),
        *(f"{name}_{channel}" for channel in channels for name in INTENSITIES),
    ]
    return [name for name in order if name in there]


def table(
    crops: MaskCrops,
    class_ids: Sequence[int] | np.ndarray,
    names: Sequence[str],
    scores: Sequence[float] | np.ndarray,
    values: Callable[[Box], np.ndarray] | None = None,
    pixel: Pixel | None = None,
) -> dict[str, np.ndarray]:
    """{column: [n]}: id (from 1), class, class_id, score, and what `rows` measures.

    names: of each instance's class. What isn't known of an instance is NaN.
    """
    found = list(rows(crops, values, pixel))
    columns: dict[str, Any] = {
        "id": np.arange(1, len(found) + 1),
        "class": np.array(names, dtype=object),
        "class_id": np.asarray(class_ids, int),
        "score": np.asarray(scores, float),
    }
    there = ordered({name for row in found for name in row} or {*SHAPES})
    for name in there:
        numbers = [row.get(name, math.nan) for row in found]
        whole = name in (*_BOX, "on_border", "area") and all(map(math.isfinite, numbers))
        columns[name] = np.array(numbers, int if whole else float)
    return columns
