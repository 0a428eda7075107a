"""Masks of black and white: whether a folder holds such, and the separate pieces in one."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import skimage.measure

from mrcnn.data.formats.files import read_plane, stored_size
from mrcnn.data.formats.notes import FormatError
from mrcnn.data.pictures import PictureError
from mrcnn.geometry.regions import Region

_LOOKED_AT = 20  # files of a folder
_MOST_PIECES = 10_000  # in one mask; noise has more


def only_value(files: Sequence[tuple[Path, Path]]) -> int | None:
    """The one value beside 0 that all masks have; None where there are several, or none.

    files: (mask, picture); an evenly spread sample is read, of masks as large as their picture.
    """
    values: set[int] = set()
    step = max(1, -(-len(files) // _LOOKED_AT))
    for mask, picture in files[::step]:
        try:
            size = stored_size(picture)[:2]
            plane, _ = read_plane(mask, size if stored_size(mask)[:2] == size else size[::-1])
        except (FormatError, PictureError):
            continue  # told when it is read itself
        values |= set(np.unique(plane).tolist()) - {0}
        if len(values) > 1:
            return None
    return next(iter(values), None)


def pieces(region: Region, name: object) -> Iterator[Region]:
    """The separate pieces of a region; pixels that touch at a corner belong together.

    Raises FormatError naming the file where there are too many.
    """
    (y1, x1, _, _), mask = region
    numbers, count = skimage.measure.label(mask, connectivity=2, return_num=True)
    if count > _MOST_PIECES:
        raise FormatError(f"{name} has {count} separate pieces: is it a mask of objects at all?")
    for number, found in enumerate(skimage.measure.regionprops(numbers), 1):
        top, left, bottom, right = found.bbox
        piece = numbers[top:bottom, left:right] == number
        yield (y1 + top, x1 + left, y1 + bottom, x1 + right), piece
