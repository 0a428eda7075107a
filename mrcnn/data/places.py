"""How large a pixel is, and where it lies on a map, as far as a picture's file says it.

place = find_place("field.tif")
place.pixel                      # Pixel(0.5, 0.5, "m"), or None
place.map.to_world(points)       # [n, (x, y)] of pixels -> of the map; the map may be None

x, y:  in pixels, from the outer edge of the upper left pixel: 0.5, 0.5 is its centre
map:   what GeoTIFF's tags say (33550 and 33922, or 34264; 34735 for the system), without GDAL.
       Nothing is brought from one system into another.
"""

import contextlib
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mrcnn.data.tiff import is_tiff, opened

UNITS = ("um", "m")  # that measurements are told in
# By name: the unit that is told, and how many of it one is.
_LENGTHS = {
    **{name: ("um", 1e-3) for name in ("nm", "nanometer", "nanometre")},
    **{name: ("um", 1.0) for name in ("um", "micron", "microns", "micrometer", "micrometre")},
    **{name: ("um", 1e3) for name in ("mm", "millimeter", "millimetre")},
    **{name: ("um", 1e4) for name in ("cm", "centimeter", "centimetre")},
    **{name: ("um", 25400.0) for name in ("inch", "inches")},
    **{name: ("m", 1.0) for name in ("m", "meter", "metre")},
}
_OF_MAPS = {"cm": 0.01, "ft": 0.3048, "km": 1000.0}  # what people measure ground by
_MAP_UNITS = {9001: 1.0, 9002: 0.3048, 9003: 1200 / 3937}  # metre, foot, US survey foot
_DEGREES = 2  # GTModelType of latitude and longitude
_STRETCHED = (3857, 900913, 3785)  # its metres are longer the farther from the equator
_SCREENS = (72, 96)  # dots per inch that programs write where nothing is known
_SCALE, _TIES, _MATRIX, _KEYS = 33550, 33922, 34264, 34735
_OWN_SYSTEM = 32767
# Of a GeoKey directory: kind of model, what a point means, the systems' numbers, unit.
_MODEL, _RASTER, _GEOGRAPHIC, _PROJECTED, _UNIT = 1024, 1025, 2048, 3072, 3076
_MOST_OME = 1 << 20  # characters that are searched


@dataclass(frozen=True)
class Pixel:
    """The size of a pixel: width and height in a unit, one of UNITS."""

    width: float
    height: float
    unit: str

    @property
    def square(self) -> bool:
        """Whether both are the same, so that lengths in any direction have a meaning."""
        return math.isclose(self.width, self.height, rel_tol=1e-3)

    def __str__(self) -> str:
        size = f"{self.width:.6g}" if self.square else f"{self.width:.6g} x {self.height:.6g}"
        return f"{size} {self.unit}"


@dataclass(frozen=True)
class Map:
    """Where a picture lies: (a, b, c, d, e, f), with world x = a x + b y + c, y = d x + e y + f.

    epsg: the number of the system, None where it has none of its own.
    """

    affine: tuple[float, float, float, float, float, float]
    epsg: int | None = None

    def to_world(self, points: np.ndarray) -> np.ndarray:
        """[n, (x, y)] of the picture -> of the map."""
        a, b, c, d, e, f = self.affine
        x, y = np.asarray(points, float).T
        return np.stack([a * x + b * y + c, d * x + e * y + f], axis=1)

    def to_pixels(self, points: np.ndarray) -> np.ndarray:
        """[n, (x, y)] of the map -> of the picture."""
        a, b, c, d, e, f = self.affine
        x, y = np.asarray(points, float).T
        x, y, whole = x - c, y - f, a * e - b * d
        return np.stack([(e * x - b * y) / whole, (a * y - d * x) / whole], axis=1)


@dataclass(frozen=True)
class Place:
    """What a file says: the size of its pixels, and its map; None for what it doesn't say."""

    pixel: Pixel | None = None
    map: Map | None = None


def find_place(path: str | os.PathLike) -> Place:
    """What a picture's file says of where it lies. Raises OSError."""
    if not is_tiff(path):
        return Place()
    try:
        with opened(path) as file:
            page = file.pages[0]
            tags = {code: page.tags[code].value for code in _WANTED if code in page.tags}
            on_map = _map(tags)
            if on_map:
                return Place(_pixel_of_map(on_map, _geo_keys(tags)), on_map)
            return Place(_of_ome(file.ome_metadata) or _of_tags(tags, file.imagej_metadata))
    except OSError:
        raise
    except Exception:  # damaged tags; the picture itself may be whole
        return Place()


def parse_pixel(text: str) -> Pixel:
    """0.25um, 0.3m, 5cm, 0.25x0.3um (width x height). Raises ValueError."""
    found = re.fullmatch(r"\s*([0-9.eE+-]+)\s*(?:[xX*]\s*([0-9.eE+-]+))?\s*([a-zA-Zµμ]+)\s*", text)
    unit, by, width, height = "", 1.0, 0.0, 0.0
    with contextlib.suppress(ValueError, KeyError):
        if found:
            width, height = float(found[1]), float(found[2] or found[1])
            unit, by = _by_name(found[3], on_ground=True)
    if not unit or not (0 < width < math.inf and 0 < height < math.inf):
        raise ValueError(f"{text} is no size of a pixel: write 0.25um, 0.3m or 5cm")
    return Pixel(width * by, height * by, unit)


def _by_name(name: str, on_ground: bool = False) -> tuple[str, float]:
    name = name.strip().casefold().replace("\u03bc", "u").replace("\u00b5", "u")
    name = name.replace("\\u00b5", "u")  # as ImageJ writes it
    if on_ground and name in _OF_MAPS:
        return "m", _OF_MAPS[name]
    return _LENGTHS[name]


# -- Resolution -----------------------------------------------------------------------------

_X, _Y, _RESOLUTION_UNIT = 282, 283, 296
_WANTED = (_SCALE, _TIES, _MATRIX, _KEYS, _X, _Y, _RESOLUTION_UNIT)


def _of_ome(text: str | None) -> Pixel | None:
    """OME-XML's PhysicalSizeX and -Y; the first picture's."""
    found = re.search(r"<(?:\w+:)?Pixels\s([^<>]*)>", (text or "")[:_MOST_OME])
    if not found:
        return None
    given = dict(re.findall(r"(\w+)\s*=\s*\"([^\"]*)\"", found[1]))
    try:
        units = [given.get(f"PhysicalSize{axis}Unit", "um") for axis in "XY"]
        (unit, by_x), (other, by_y) = (_by_name(name) for name in units)
        width = float(given["PhysicalSizeX"]) * by_x
        height = float(given["PhysicalSizeY"]) * by_y if "PhysicalSizeY" in given else width
    except (KeyError, ValueError):
        return None
    fits = 0 < width < math.inf and 0 < height < math.inf and unit == other
    return Pixel(width, height, unit) if fits else None


def _of_tags(tags: Mapping[int, Any], imagej: Mapping[str, Any] | None) -> Pixel | None:
    """Of the resolution, in dots by inch or centimetre, or by the unit that ImageJ names."""
    try:
        across, down = (tags[code][0] / tags[code][1] for code in (_X, _Y))
        kind = int(tags.get(_RESOLUTION_UNIT, 2))
        name = str((imagej or {}).get("unit", "")) or {2: "inch", 3: "cm"}[kind]
        unit, by = _by_name(name)
        width, height = by / across, by / down
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    screen = any(math.isclose(25400 / width, dots, rel_tol=0.01) for dots in _SCREENS)
    fits = 0 < width < math.inf and 0 < height < math.inf
    if not fits or (unit == "um" and (screen or width >= 10000)):  # one dot by cm: nothing known
        return None
    return Pixel(width, height, unit)


# -- Maps -----------------------------------------------------------------------------------


def _geo_keys(tags: Mapping[int, Any]) -> dict[int, int]:
    """The plain numbers of a GeoKey directory."""
    rows = np.ravel(tags.get(_KEYS, ())).astype(int)
    rows = rows[4 : len(rows) - len(rows) % 4].reshape(-1, 4)
    return {int(key): int(value) for key, where, _, value in rows if where == 0}


def _map(tags: Mapping[int, Any]) -> Map | None:
    keys = _geo_keys(tags)
    if _MATRIX in tags:
        a, b, _, c, d, e, _, f = map(float, np.ravel(tags[_MATRIX])[:8])
    elif _SCALE in tags and _TIES in tags:
        across, down = map(float, np.ravel(tags[_SCALE])[:2])
        column, row, _, x, y, _ = map(float, np.ravel(tags[_TIES])[:6])
        a, b, c = across, 0.0, x - column * across
        d, e, f = 0.0, -down, y + row * down
    else:
        return None
    if not np.isfinite([a, b, c, d, e, f]).all() or not a * e - b * d:
        return None
    if keys.get(_RASTER) == 2:  # it means the centres of pixels
        c, f = c - (a + b) / 2, f - (d + e) / 2
    number = keys.get(_PROJECTED, keys.get(_GEOGRAPHIC, _OWN_SYSTEM))
    return Map((a, b, c, d, e, f), number if 0 < number < _OWN_SYSTEM else None)


def _pixel_of_map(on_map: Map, keys: Mapping[int, int]) -> Pixel | None:
    """In metres, where the system has a unit of length that is one on the ground."""
    if keys.get(_MODEL) == _DEGREES or on_map.epsg in _STRETCHED:
        return None
    by = _MAP_UNITS.get(keys.get(_UNIT, 9001 if _in_metres(on_map.epsg) else 0))
    if by is None:
        return None
    a, b, _, d, e, _ = on_map.affine
    return Pixel(math.hypot(a, d) * by, math.hypot(b, e) * by, "m")


def _in_metres(epsg: int | None) -> bool:
    """Whether it is a system of UTM, whose files needn't name their unit."""
    return epsg is not None and any(
        low <= epsg <= low + 60 for low in (32600, 32700, 25800, 26900, 23000)
    )
