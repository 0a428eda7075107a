"""What was found in a tile, and whether two of such parts are the same thing.

part     box and mask in the frame of the picture, the mask cut to the box
zone     where two tiles overlap: both have looked at the same pixels there
cut      said of a part that reaches a side of its tile inside the picture
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import skimage.measure

from mrcnn.detect.tiles import Tile

AGREE = 0.5  # IoU in the zone from which on two masks are of one object
_EDGE = 2  # pixels from a side, and ..
_EDGE_SHARE = 0.05  # .. share of a part's length, that still count as on it

Box = tuple[int, int, int, int]


class Masked(Protocol):
    """What has a mask in a box: a part, or what was made of several."""

    box: Box  # (y1, x1, y2, x2), pixels of the picture
    mask: np.ndarray  # bool [y2 - y1, x2 - x1]


@dataclass(eq=False, slots=True)
class Part:
    """What was found in one tile."""

    tile: Tile
    class_id: int
    score: float
    box: Box  # (y1, x1, y2, x2), pixels of the picture
    mask: np.ndarray  # bool [y2 - y1, x2 - x1]
    sides: tuple[bool, ...]  # which sides of the tile it reaches: top, left, bottom, right
    area: int
    unconfirmed: bool = False  # another tile sees all of it; does it find it?
    object: Any = None  # that it has become a part of

    @property
    def cut(self) -> bool:
        return any(self.sides)


def parts_of(found: Mapping[str, np.ndarray], tile: Tile, shape: Sequence[int]) -> list[Part]:
    """The parts that a detector has found in a tile; those without a pixel are left out.

    found: rois, class_ids, scores and masks in the frame of the tile, as from `detect`.
    shape: (height, width, ..) of the picture.
    """
    height, width = tile.bottom - tile.top, tile.right - tile.left
    boxes = np.clip(np.asarray(found["rois"]), 0, [height, width, height, width]).tolist()
    masks, parts = found["masks"], []
    for i, (y1, x1, y2, x2) in enumerate(boxes):
        # A copy: a view would keep all masks of the tile.
        mask = np.array(masks[y1:y2, x1:x2, i], bool, order="C")
        area = int(np.count_nonzero(mask))
        if not area:
            continue
        box = (y1 + tile.top, x1 + tile.left, y2 + tile.top, x2 + tile.left)
        sides = _sides(box, tile, shape)
        class_id, score = int(found["class_ids"][i]), float(found["scores"][i])
        parts.append(Part(tile, class_id, score, box, mask, sides, area))
    return parts


def _sides(box: Box, tile: Tile, shape: Sequence[int]) -> tuple[bool, ...]:
    """Which sides of its tile a box reaches; the picture's own border is no cut."""
    tolerance = [max(_EDGE, round(_EDGE_SHARE * (box[i + 2] - box[i]))) for i in (0, 1)]
    inner = (tile.top > 0, tile.left > 0, tile.bottom < shape[0], tile.right < shape[1])
    return tuple(inner[i] and abs(box[i] - tile[i]) <= tolerance[i % 2] for i in range(4))


# -- Pairs of parts -------------------------------------------------------------------------


def overlap(one: Sequence[int], other: Sequence[int]) -> Box | None:
    """Where two boxes overlap."""
    top, left = max(one[0], other[0]), max(one[1], other[1])
    bottom, right = min(one[2], other[2]), min(one[3], other[3])
    return (top, left, bottom, right) if top < bottom and left < right else None


def near(ours: list[Part], theirs: list[Part], zone: Box) -> Iterable[tuple[Part, Part]]:
    """Pairs whose boxes overlap in the zone."""
    ours = [part for part in ours if overlap(part.box, zone)]
    theirs = [part for part in theirs if overlap(part.box, zone)]
    if not ours or not theirs:
        return
    a, b = (np.array([part.box for part in parts]) for parts in (ours, theirs))
    top_left = np.maximum(np.maximum(a[:, None, :2], b[None, :, :2]), zone[:2])
    bottom_right = np.minimum(np.minimum(a[:, None, 2:], b[None, :, 2:]), zone[2:])
    for i, j in np.argwhere((top_left < bottom_right).all(axis=2)).tolist():
        yield ours[i], theirs[j]


def inside(part: Masked, box: Box) -> np.ndarray:
    """What a box shows of a mask; the box must lie in the part's own."""
    y, x = part.box[:2]
    return part.mask[box[0] - y : box[2] - y, box[1] - x : box[3] - x]


def agreement_of(one: Part, other: Part, zone: Box) -> float | None:
    """How much two parts are the same thing, by their masks in the zone: IoU; -1: they can't be.

    None: they have no pixel in common.
    """
    common = common_pixels(one, other)
    if not common:
        return None
    if one.class_id != other.class_id or not (_goes_on(one, other) and _goes_on(other, one)):
        return -1.0
    areas = [area_in(part, zone) for part in (one, other)]
    agreement = common / (sum(areas) - common)
    if agreement < AGREE <= common / min(areas):
        agreement = _agreement_of_arms(one, other, zone)
    return agreement


def area_in(part: Part, box: Box) -> int:
    seen = overlap(part.box, box)
    return int(np.count_nonzero(inside(part, seen))) if seen else 0


def _goes_on(one: Part, other: Part) -> bool:
    """Whether the other is cut where the one goes on outside of the other's tile, if it does."""
    return _cut_there(one.box, other) or _cut_there(_box_of_touched(one, other), other)


def _cut_there(box: Box, other: Part) -> bool:
    tile = other.tile
    beyond = (tile.top - box[0], tile.left - box[1], box[2] - tile.bottom, box[3] - tile.right)
    crossed = [i for i in range(4) if beyond[i] > _EDGE]
    return not crossed or any(other.sides[i] for i in crossed)


def _box_of_touched(one: Part, other: Part) -> Box:
    """The box of those connected pieces of one part that have a pixel in common with another."""
    both = overlap(one.box, other.box)
    y, x = one.box[:2]
    by = np.zeros_like(one.mask)
    by[both[0] - y : both[2] - y, both[1] - x : both[3] - x] = inside(other, both)
    rows, columns = (np.flatnonzero(_touched(one.mask, by & one.mask).any(axis=i)) for i in (1, 0))
    return y + int(rows[0]), x + int(columns[0]), y + int(rows[-1]) + 1, x + int(columns[-1]) + 1


def _agreement_of_arms(one: Part, other: Part, zone: Box) -> float:
    """The same where one has parts of the zone that lie apart: only those that the other touches.

    Of a horseshoe a tile may see the arms alone, as two; the next one sees all of it.
    """
    boxes = [overlap(part.box, zone) for part in (one, other)]
    corners = np.array(boxes)
    window = (*corners[:, :2].min(axis=0), *corners[:, 2:].max(axis=0))
    first, second = _in_window(one, boxes[0], window), _in_window(other, boxes[1], window)
    first, second = _touched(first, second), _touched(second, first)
    union = np.count_nonzero(first | second)
    return float(np.count_nonzero(first & second) / union)


def _in_window(part: Part, seen: Box, window: Sequence[int]) -> np.ndarray:
    """What the box `seen` shows of a mask, in a window around it."""
    mask = np.zeros((window[2] - window[0], window[3] - window[1]), bool)
    y, x = seen[0] - window[0], seen[1] - window[1]
    mask[y : y + seen[2] - seen[0], x : x + seen[3] - seen[1]] = inside(part, seen)
    return mask


def _touched(mask: np.ndarray, by: np.ndarray) -> np.ndarray:
    """The connected pieces of a mask that have a pixel in common with another mask."""
    pieces, count = skimage.measure.label(mask, connectivity=2, return_num=True)
    known = np.zeros(count + 1, bool)
    known[pieces[by]] = True
    known[0] = False
    return known[pieces]


def touch(one: Part, other: Part) -> bool:
    """Whether a pixel of one lies on or beside a pixel of the other."""
    y1, x1, y2, x2 = one.box
    around = (y1 - 1, x1 - 1, y2 + 1, x2 + 1)
    both = overlap(around, other.box)
    if both is None:
        return False
    grown = np.pad(one.mask, 2)
    grown = grown[:-2] | grown[1:-1] | grown[2:]
    grown = grown[:, :-2] | grown[:, 1:-1] | grown[:, 2:]
    window = grown[both[0] - y1 + 1 : both[2] - y1 + 1, both[1] - x1 + 1 : both[3] - x1 + 1]
    return bool((window & inside(other, both)).any())


def common_pixels(one: Masked, other: Masked) -> int:
    """Pixels that both masks cover."""
    both = overlap(one.box, other.box)
    return int(np.count_nonzero(inside(one, both) & inside(other, both))) if both else 0
