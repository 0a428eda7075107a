"""Label pictures: at each pixel the number of the object, 0 for none; for ImageJ, napari, QGIS."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.data.tiff import is_tiff, opened
from mrcnn.geometry.crops import MaskCrops
from mrcnn.whole import whole

_SIDE = 256  # of the file's tiles
_BIG = 1 << 31  # bytes from which on a TIFF needs larger numbers
_MAP_TAGS = {33550: "d", 33922: "d", 34264: "d", 34735: "H", 34736: "d", 34737: "s"}


def write_label_image(
    path: Path, crops: MaskCrops, picture: str | os.PathLike | None = None
) -> None:
    """Write the instances' numbers, from 1 in their order, as a TIFF of uint32, whole or not.

    Where instances overlap, the first one shows: results are in the order of their scores.
    picture: its file, whose place on a map is taken over. It is made tile by tile.
    """
    import tifffile

    height, width, _ = crops.shape
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as unfinished:
        tifffile.imwrite(
            unfinished,
            _tiles(crops),
            shape=(height, width),
            dtype=np.uint32,
            tile=(_SIDE, _SIDE),
            compression="zlib",
            photometric="minisblack",
            bigtiff=height * width * 4 > _BIG,
            metadata=None,
            extratags=_map_tags(picture) if picture else (),
        )


def _tiles(crops: MaskCrops) -> Iterator[np.ndarray]:
    height, width, _ = crops.shape
    tops, lefts = range(0, height, _SIDE), range(0, width, _SIDE)
    there: dict[tuple[int, int], list[int]] = {}
    for i, (y1, x1, y2, x2) in enumerate(crops.boxes.tolist()):
        for row in range(y1 // _SIDE, -(-y2 // _SIDE)):
            for column in range(x1 // _SIDE, -(-x2 // _SIDE)):
                there.setdefault((row, column), []).append(i)
    for row, top in enumerate(tops):
        for column, left in enumerate(lefts):
            tile = np.zeros((_SIDE, _SIDE), np.uint32)
            for i in reversed(there.get((row, column), [])):
                y1, x1, y2, x2 = crops.boxes[i].tolist()
                a, b = max(y1, top), min(y2, top + _SIDE)
                c, d = max(x1, left), min(x2, left + _SIDE)
                piece = crops.pieces[i][a - y1 : b - y1, c - x1 : d - x1]
                tile[a - top : b - top, c - left : d - left][piece] = i + 1
            yield tile


def _map_tags(picture: str | os.PathLike) -> list[tuple[Any, ...]]:
    """GeoTIFF's tags of a file, as tifffile takes them."""
    if not is_tiff(picture):
        return []
    try:
        with opened(picture) as file:
            tags = file.pages[0].tags
            found = {code: tags[code].value for code in _MAP_TAGS if code in tags}
    except OSError:
        raise
    except Exception:  # damaged tags
        return []
    return [
        (code, _MAP_TAGS[code], 0 if isinstance(value, str) else len(np.ravel(value)), value, True)
        for code, value in found.items()
    ]
