"""Whether the outlines of a GeoJSON file are in pixels, or in coordinates of the picture's map."""

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.data.formats.notes import FormatError, shortened
from mrcnn.data.formats.turned import shown_size
from mrcnn.data.places import Map, find_place

_MOST_POINTS = 10_000  # that are looked at
_WGS84 = re.compile(r"CRS:?84", re.IGNORECASE)
_EPSG = re.compile(r"EPSG\D.*?(\d{4,6})\D*$", re.IGNORECASE)


def map_of(file: Path, system: str, picture: str, features: Sequence[Any]) -> Map | None:
    """The map by which a file's coordinates become pixels; None where they are pixels already.

    system: what the file says of them, "" where it says nothing: then they are of the map if they
    lie on it and not on the picture. Raises FormatError where they can't be used.
    """
    try:
        on_map = find_place(picture).map
    except OSError:  # told when the picture is read
        on_map = None
    name = shortened(os.path.basename(picture))
    if not system:
        return on_map if on_map and _lie_on(on_map, picture, features) else None
    if on_map is None:
        raise FormatError(
            f"{file} has coordinates of a map (crs: {system}), not of a picture, and {name} is no "
            "GeoTIFF that says where it lies: outlines must then be in pixels, counted from the "
            "upper left corner. Export them so; if they are in pixels, take crs out of the file."
        )
    number = 4326 if _WGS84.search(system) else None
    if found := _EPSG.search(system):
        number = int(found[1])
    if number and on_map.epsg and number != on_map.epsg:
        raise FormatError(
            f"{file} has coordinates of EPSG:{number}, and {name} is in EPSG:{on_map.epsg}: bring "
            f"them into EPSG:{on_map.epsg} first (in QGIS: Export, Save Features As, CRS)."
        )
    return on_map


def _lie_on(on_map: Map, picture: str, features: Sequence[Any]) -> bool:
    """Whether points are on the picture's map, and not on the picture itself."""
    size, _ = shown_size(picture)
    points = np.array([point for point, _ in zip(_points(features), range(_MOST_POINTS))])
    if size is None or not len(points):
        return False
    far = np.array(size[::-1])

    def inside(pixels: np.ndarray) -> bool:
        return bool(((pixels >= 0) & (pixels <= far)).all(axis=1).any())

    dots = (points.max(axis=0) - points.min(axis=0)).max() < 1  # degrees look like that
    return inside(on_map.to_pixels(points)) and (dots or not inside(points))


def _points(features: Sequence[Any]) -> Iterator[tuple[float, float]]:
    waiting: list[Any] = []
    for feature in features:
        geometry = feature.get("geometry") if isinstance(feature, dict) else None
        if isinstance(geometry, dict):
            waiting.append(geometry.get("coordinates"))
        while waiting:
            one = waiting.pop()
            if not isinstance(one, list) or not one:
                continue
            if all(type(number) in (int, float) for number in one[:2]) and len(one) > 1:
                with contextlib.suppress(OverflowError):  # whole numbers of 400 digits
                    yield float(one[0]), float(one[1])
            else:
                waiting += one
