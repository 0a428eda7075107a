"""Masks of black and white: whether a folder holds such, and the separate pieces in one."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import skimage.measure

from mrcnn.data.formats.files import read_plane, stored_size
from mrcnn.data.formats.notes import FormatError
from mrcnn.data.pictures import PictureError
from mrcnn.geometry.regions import Region

_LOOKED_AT = 20  # files of a folder
# Where these have 1 alone, which is also the number of a file's only instance: more files, and
# pixels, which take two seconds.
_LOOKED_AT_OF_ONES = 500
_PIXELS_OF_ONES = 200_000_000
_MOST_PIECES = 10_000  # in one mask; noise has more


def only_value(files: Sequence[tuple[Path, Path]]) -> int | None:
    """The one value beside 0 that all masks have; None where there are several, or none.

    files: (mask, picture); an evenly spread sample is read, of masks as large as their picture.
    """
    few = _spread(files, _LOOKED_AT)
    only, pixels = None, 0
    for number, (mask, picture) in enumerate([*few, *_spread(files, _LOOKED_AT_OF_ONES)]):
        if number >= len(few) and (only != 1 or pixels > _PIXELS_OF_ONES):
            break
        try:
            size = stored_size(picture)[:2]
            plane, _ = read_plane(mask, size if stored_size(mask)[:2] == size else size[::-1])
        except (FormatError, PictureError):
            continue  # told when it is read itself
        most = int(plane.max(initial=0))
        if most and (only not in (None, most) or ((plane != 0) & (plane != most)).any()):
            return None
        only, pixels = most or only, pixels + plane.size
    return only


def _spread(files: Sequence[tuple[Path, Path]], number: int) -> Sequence[tuple[Path, Path]]:
    """About so many of the files, evenly spread."""
    return files[:: max(1, -(-len(files) // number))]


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
