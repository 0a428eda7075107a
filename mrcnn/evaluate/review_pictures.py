"""The pictures of a review: what a suspect is about, cut out and outlined, as JPEG.

Orange is what is labelled, blue what is found.
"""

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image
from pycocotools import mask as mask_utils

from mrcnn.drawing.pixels import as_picture

SIDE = 300  # pixels of a cut-out in the page
LABELLED, FOUND = (255, 128, 13), (41, 128, 245)
_QUALITY = 80
_AROUND = 0.8  # of the region's longer side, on each side of it
_LEAST = 48  # pixels of a picture that are shown at least


def region(rows: Sequence[dict]) -> tuple[int, int, int, int]:
    """(y1, x1, y2, x2) around some rows of `Collected`, whole pixels."""
    x, y, width, height = np.array([row["bbox"] for row in rows], float).T
    return (
        int(np.floor(y.min())),
        int(np.floor(x.min())),
        int(np.ceil((y + height).max())),
        int(np.ceil((x + width).max())),
    )


def cut_out(picture: np.ndarray, labels: Sequence[dict], found: Sequence[dict]) -> tuple[str, str]:
    """(the place as it is, the same with its outlines), each data:image/jpeg;base64,...

    picture: [height, width] or [height, width, channels]. labels, found: rows of `Collected`.
    """
    shown = as_picture(picture)
    y1, x1, y2, x2 = _window(region([*labels, *found]), shown.shape[:2])
    piece = Image.fromarray(np.ascontiguousarray(shown[y1:y2, x1:x2]))
    scale = SIDE / max(piece.size)
    size = tuple(max(round(side * scale), 1) for side in piece.size)
    piece = piece.resize(size, Image.Resampling.BICUBIC)
    drawn = np.array(piece)
    for rows, color in ((labels, LABELLED), (found, FOUND)):
        for row in rows:
            mask = mask_utils.decode(row["segmentation"])[y1:y2, x1:x2]
            large = Image.fromarray(mask * 255).resize(size, Image.Resampling.BILINEAR)
            drawn[_rim(np.asarray(large) > 127)] = color
    return _jpeg(piece), _jpeg(Image.fromarray(drawn))


def small(picture: np.ndarray) -> str:
    """A whole picture, small."""
    shown = Image.fromarray(as_picture(picture))
    shown.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return _jpeg(shown)


def _window(box: tuple[int, int, int, int], size: Sequence[int]) -> tuple[int, int, int, int]:
    """What is shown around a box: a square where the picture has room for one."""
    y1, x1, y2, x2 = box
    side = max(round((1 + 2 * _AROUND) * max(y2 - y1, x2 - x1)), _LEAST)
    found = []
    for low, high, whole in ((y1, y2, size[0]), (x1, x2, size[1])):
        length = min(side, whole)
        start = min(max((low + high - length) // 2, 0), whole - length)
        found.append((start, start + length))
    (top, bottom), (left, right) = found
    return top, left, bottom, right


def _rim(mask: np.ndarray) -> np.ndarray:
    """The pixels on the edge of a mask, two wide, those on the picture's edge too."""
    inner = np.pad(mask, 2)
    for axis in (0, 1):
        for step in (1, -1):
            shifted = np.roll(inner, step, axis)
            inner = inner & shifted & np.roll(shifted, step, axis)
    return mask & ~inner[2:-2, 2:-2]


def _jpeg(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
