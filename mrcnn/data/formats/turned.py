"""Pictures that a camera turned (EXIF), and labels that were drawn on their pixels as stored."""

from collections.abc import Iterable, Sequence

from mrcnn.data.formats.files import stored_size
from mrcnn.data.formats.shapes import Instance, Size, bounds
from mrcnn.data.pictures import PictureError

TURNED = "Pictures that their camera turned, kept lying, since labels fit only so"

_ROUNDING = 2  # pixels that tools draw beyond the border


def shown_size(path: str) -> tuple[Size | None, bool]:
    """((height, width) of a picture as it is shown, whether it is shown turned by a quarter)."""
    try:
        height, width, orientation = stored_size(path)
    except PictureError:
        return None, False  # load_image will say what is wrong with it
    return ((width, height), True) if orientation >= 5 else ((height, width), False)


def lie_on_stored(
    pictures: Iterable[tuple[tuple[Size | None, bool], Sequence[Instance]]],
) -> bool:
    """Whether the labels of a set can only mean the stored pixels of its turned pictures.

    pictures: ((height, width) as shown, whether that is turned by a quarter) and the instances of
    each. True where some labels fit only the stored picture, and none only the turned one.
    """
    only_stored = only_shown = 0
    for (size, is_turned), instances in pictures:
        if not is_turned or size is None:
            continue
        boxes = [bounds(shape) for instance in instances for shape in instance.shapes]
        shown, stored = (all(_fits(box, way) for box in boxes) for way in (size, size[::-1]))
        only_stored += stored and not shown
        only_shown += shown and not stored
    return only_stored > only_shown


def _fits(box: Sequence[float], size: Size) -> bool:
    y1, x1, y2, x2 = box
    inside = y2 <= size[0] + _ROUNDING and x2 <= size[1] + _ROUNDING
    return inside and min(y1, x1) >= -_ROUNDING
