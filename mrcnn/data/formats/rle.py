"""Run-length encodings: are they ones, and which part of the picture do they cover?

COCO's goes through a picture column by column, CVAT's through a box row by row.
pycocotools reads memory that isn't its own where the runs don't add up to the picture, and decodes
all of a picture for an instance of a few pixels.
"""

from typing import Any

import numpy as np

from mrcnn.data.formats.files import MOST_PIXELS
from mrcnn.data.formats.notes import Dropped
from mrcnn.geometry.regions import NOWHERE, Region

_BROKEN = "have an RLE that is no list of runs"


def check_rle(segmentation: dict[str, Any]) -> dict[str, Any]:
    """An RLE ready for pycocotools: {"size": [height, width], "counts": uint32 array or bytes}.

    counts are the lengths of runs of 0 and 1 by turns, column by column; as a list, or packed
    into a string. Raises Dropped if they are not, don't fill the size, or cover nothing.
    """
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not (isinstance(size, list) and [type(side) for side in size] == [int, int]):
        raise Dropped("have an RLE without a size")
    height, width = size
    if height < 1 or width < 1 or height * width > MOST_PIXELS:
        raise Dropped("have an RLE of a size that no picture has")
    if isinstance(counts, str):
        runs = unpack(counts)
        counts = counts.encode("ascii")
    elif isinstance(counts, list) and set(map(type, counts)) == {int}:
        # Compared as Python's numbers, since NumPy's have an end.
        if not 0 <= min(counts) <= max(counts) <= height * width:
            raise Dropped(_BROKEN)
        runs = counts = np.array(counts, np.uint32)
    else:
        raise Dropped(_BROKEN)
    if runs.min() < 0 or runs.sum(dtype=np.int64) != height * width:
        raise Dropped("have an RLE whose runs do not fill its size")
    if not runs[1::2].any():
        raise Dropped("have an empty mask")
    return {"size": [height, width], "counts": counts}


def unpack(text: str) -> np.ndarray:
    """The runs in a packed string, int64 [num_runs], as pycocotools' rleFrString reads them.

    Each run is written in groups of five bits, lowest first, a character (plus 48) a group, whose
    sixth bit says that another follows; the last group's highest bit is the sign. From the fourth
    run on it is the difference to the one two before. Raises Dropped.
    """
    if not text.isascii():
        raise Dropped(_BROKEN)
    groups = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - 48  # [num_groups]
    if not len(groups) or groups.min() < 0 or groups.max() > 63 or groups[-1] & 32:
        raise Dropped(_BROKEN)
    last = np.flatnonzero(groups & 32 == 0)  # [num_runs]
    first = np.concatenate([[0], last[:-1] + 1])
    if (last - first).max() > 6:
        raise Dropped(_BROKEN)
    place = np.arange(len(groups)) - np.repeat(first, last - first + 1)
    runs = np.add.reduceat((groups & 31) << 5 * place, first)
    runs -= (groups[last] & 16 > 0) * (1 << 5 * (last - first + 1))
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs


def region_of(runs: np.ndarray, height: int) -> Region:
    """The box of the pixels that runs cover, and what it shows of them, bool [box_height, ..].

    runs: [num_runs], of 0 and 1 by turns, column by column; height: of the picture in pixels.
    """
    ends = np.cumsum(runs, dtype=np.int64)
    covered = np.flatnonzero(runs[1::2]) * 2 + 1  # the runs of 1 that have a pixel
    if not len(covered):
        return NOWHERE
    (x_first, y_first), (x_last, y_last) = (
        np.divmod(pixels, height) for pixels in (ends[covered - 1], ends[covered] - 1)
    )
    x1, x2 = int(x_first[0]), int(x_last[-1]) + 1
    y1, y2 = int(y_first.min()), int(y_last.max()) + 1
    if (x_first < x_last).any():  # from the foot of one column to the head of the next
        y1, y2 = 0, height
    # How many pixels of the box come before the end of each run.
    x, y = np.divmod(ends, height)
    before = (x - x1) * (y2 - y1) + np.clip(y - y1, 0, y2 - y1)
    before = np.clip(before, 0, (x2 - x1) * (y2 - y1))
    values = np.arange(len(runs)) % 2 == 1
    columns = np.repeat(values, np.diff(before, prepend=0)).reshape(x2 - x1, y2 - y1)
    return (y1, x1, y2, x2), columns.T


# -- Row by row ---------------------------------------------------------------------------------


def check_rows(text: str, height: int, width: int) -> bytes:
    """Lengths of runs of 0 and 1 by turns, "3, 5, 2", as bytes: uint32, row by row through a box.

    Raises Dropped if they are not, don't fill the box, or cover nothing.
    """
    tokens = text.replace(",", " ").split()
    if not tokens or max(map(len, tokens)) > 9 or not all(map(str.isdecimal, tokens)):
        raise Dropped(_BROKEN)
    runs = np.array(list(map(int, tokens)), np.uint32)
    if not 0 < height * width <= MOST_PIXELS or runs.sum(dtype=np.int64) != height * width:
        raise Dropped("have an RLE whose runs do not fill its size")
    if not runs[1::2].any():
        raise Dropped("have an empty mask")
    return runs.tobytes()


def region_of_rows(packed: bytes, height: int, width: int) -> np.ndarray:
    """What the runs of `check_rows` cover of their box, bool [height, width]."""
    runs = np.frombuffer(packed, np.uint32)
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
