"""Objects of a picture made of what was found in its tiles: each once, whole, and no two as one.

    joiner = Joiner((height, width))
    for tile in tiles:                          # row by row
        joiner.add(tile, parts_of(found, tile, (height, width)))
        objects += joiner.finished(next_top)    # what no later tile can change
    objects += joiner.finished()

object   parts that are the same thing; for part, zone and cut see `mrcnn.detect.parts`

1. Two parts are one object if their masks agree in the zone, and if one that goes on outside of
   the zone is cut in the other tile, as it then must be.
2. Two parts of one tile are one object only if both are cut and don't touch: the arms of a horse-
   shoe whose bend lies in the next tile. Else that tile has seen two.
3. An object takes the mask of the part that has it whole. Where no tile has, each pixel is that of
   the tile in which it lies deepest, for near its sides a network sees least.
4. A scrap at a tile's side is left out if an object covers it, or if another tile sees all of it,
   and more around it, and finds nothing there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mrcnn.detect.parts import (
    AGREE,
    Box,
    Part,
    agreement_of,
    area_in,
    common_pixels,
    near,
    overlap,
    touch,
)
from mrcnn.detect.tiles import Tile

COVERED = 0.5  # share of a mask inside of another that makes it a duplicate
_OUTSIDE = 0.1  # share of an object that a part may miss and have it whole


@dataclass(eq=False, slots=True)
class _Object:
    parts: list[Part]
    rivals: list[Part] = field(default_factory=list)  # parts of others that lie over its own
    found: "Joined | None" = None

    @property
    def bottom(self) -> int:
        return max(part.box[2] for part in self.parts)


@dataclass(eq=False, slots=True)
class Joined:
    """An object of the picture."""

    class_id: int
    score: float
    box: Box  # (y1, x1, y2, x2), pixels of the picture
    mask: np.ndarray  # bool [y2 - y1, x2 - x1]
    whole: bool  # one tile has seen all of it

    @property
    def standing(self) -> tuple[bool, float]:
        """What decides between two that lie over each other."""
        return self.whole, self.score


class Joiner:
    """Takes the parts of one tile after the other and gives the objects that they make."""

    def __init__(self, shape: Sequence[int]) -> None:
        """shape: (height, width, ..) of the picture."""
        self._shape = shape[:2]
        self._tiles: list[tuple[Tile, list[Part], bool]] = []  # that later ones may overlap
        self._open: dict[_Object, None] = {}  # in the order in which they were found
        self._waiting: list[_Object] = []  # made, but for rivals that aren't yet

    def add(self, tile: Tile, parts: list[Part], limited: bool = False) -> None:
        """limited: there may be more in the tile than was let through."""
        links: list[tuple[float, Part, Part]] = []
        for part in parts:
            part.object = _Object([part])
            self._open[part.object] = None
        for other, theirs, other_limited in self._tiles:
            zone = overlap(tile, other)
            if zone is None:
                continue
            _mark_unconfirmed(parts, zone, other_limited)
            _mark_unconfirmed(theirs, zone, limited)
            for ours_part, their_part in near(parts, theirs, zone):
                agreement = agreement_of(ours_part, their_part, zone)
                if agreement is None:
                    continue
                if agreement >= AGREE:
                    links.append((agreement, ours_part, their_part))
                else:
                    _become_rivals(ours_part, their_part)
        for _, one, other_part in sorted(links, key=lambda link: -link[0]):
            self._join(one, other_part)
        self._tiles.append((tile, parts, limited))

    def _join(self, one: Part, other: Part) -> None:
        first, second = one.object, other.object
        if first is second:
            return
        if _seen_as_two(first.parts, second.parts):
            _become_rivals(one, other)
            return
        for part in second.parts:
            part.object = first
        first.parts += second.parts
        first.rivals += second.rivals
        del self._open[second]

    def finished(self, below: int | None = None) -> list[Joined]:
        """The objects that no later tile can change, each given once.

        below: the upper side of the tiles that come next; None: there are none.
        """
        if below is not None:
            self._tiles = [entry for entry in self._tiles if entry[0].bottom > below]
        else:
            self._tiles = []
        done = [thing for thing in self._open if below is None or thing.bottom <= below]
        for thing in done:
            del self._open[thing]
            if not _only_scraps(thing.parts):
                thing.found = _made(thing.parts, self._shape)
        self._waiting, waiting, objects = [], self._waiting + done, []
        for thing in waiting:
            rivals = {part.object: None for part in thing.rivals if part.object is not thing}
            if any(rival in self._open for rival in rivals):
                self._waiting.append(thing)
            elif thing.found and not any(_is_duplicate(thing, rival) for rival in rivals):
                objects.append(thing.found)
        return objects


def _seen_as_two(first: list[Part], second: list[Part]) -> bool:
    """Whether a tile has parts of both and holds them for two things."""
    return any(
        one.tile is other.tile and not (one.cut and other.cut and not touch(one, other))
        for one in first
        for other in second
    )


def _become_rivals(one: Part, other: Part) -> None:
    one.object.rivals.append(other)
    other.object.rivals.append(one)


def _mark_unconfirmed(parts: list[Part], zone: Box, limited: bool) -> None:
    """limited: the other tile may have found more than it could say."""
    if limited:
        return
    for part in parts:
        y1, x1, y2, x2 = part.box
        if y1 >= zone[0] and x1 >= zone[1] and y2 <= zone[2] and x2 <= zone[3]:
            part.unconfirmed = True


def _only_scraps(parts: list[Part]) -> bool:
    """Whether parts at the sides of a tile are all there is, where another tile finds nothing."""
    return all(part.tile is parts[0].tile and part.cut and part.unconfirmed for part in parts)


# -- Objects --------------------------------------------------------------------------------


def _made(parts: list[Part], shape: Sequence[int]) -> Joined:
    whole = [part for part in parts if _has_all(part, parts)]
    if whole or len(parts) == 1:
        best = max(whole or parts, key=lambda part: (_depth(part, shape), part.score))
        return Joined(best.class_id, best.score, best.box, best.mask, bool(whole))
    boxes = np.array([part.box for part in parts])
    box = tuple(map(int, (*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0))))
    best = max(parts, key=lambda part: part.score)
    return Joined(best.class_id, best.score, box, _pieced(parts, box, shape), False)


def _has_all(part: Part, parts: list[Part]) -> bool:
    """Whether a part is the whole object: not cut, and the others show nothing outside its tile."""
    if part.cut:
        return False
    outside = sum(other.area - area_in(other, part.tile) for other in parts if other is not part)
    return outside <= _OUTSIDE * part.area


def _depth(part: Part, shape: Sequence[int]) -> float:
    """How far a part is from the sides of its tile."""
    return min(
        np.inf if _is_border(part.tile, i, shape) else abs(part.box[i] - part.tile[i])
        for i in range(4)
    )


def _is_border(tile: Tile, side: int, shape: Sequence[int]) -> bool:
    return tile[side] == (0, 0, *shape[:2])[side]


def _pieced(parts: list[Part], box: Box, shape: Sequence[int]) -> np.ndarray:
    """The mask in a box: each pixel as the tile in which it lies deepest has it."""
    size = box[2] - box[0], box[3] - box[1]
    mask, deepest = np.zeros(size, bool), np.zeros(size, np.float32)
    tiles: dict[Tile, list[Part]] = {}
    for part in parts:
        tiles.setdefault(part.tile, []).append(part)
    for tile, here in tiles.items():
        seen = overlap(tile, box)
        rows, columns = (_depths(tile, axis, seen, shape) for axis in (0, 1))
        depth = np.minimum(rows[:, None], columns)
        window = np.s_[seen[0] - box[0] : seen[2] - box[0], seen[1] - box[1] : seen[3] - box[1]]
        own = depth > deepest[window]
        deepest[window][own] = depth[own]
        mask[window][own] = False
        for part in here:
            y, x = part.box[0] - seen[0], part.box[1] - seen[1]
            place = np.s_[y : y + part.mask.shape[0], x : x + part.mask.shape[1]]
            mask[window][place] |= part.mask & own[place]
    return mask


def _depths(tile: Tile, axis: int, seen: Box, shape: Sequence[int]) -> np.ndarray:
    """How far each row (axis 0) or column of a box lies from the sides of its tile; from 1 on."""
    places = np.arange(seen[axis], seen[axis + 2], dtype=np.float32)
    before = np.inf if _is_border(tile, axis, shape) else places - tile[axis] + 1
    after = np.inf if _is_border(tile, axis + 2, shape) else tile[axis + 2] - places
    return np.minimum(np.minimum(before, after), np.float32(1e9)) + np.zeros_like(places)


def _is_duplicate(thing: _Object, rival: _Object) -> bool:
    """Whether an object of a better standing covers most of this one, and no tile has seen both."""
    found, other = thing.found, rival.found
    if found is None or other is None or other.standing <= found.standing:
        return False
    if common_pixels(found, other) < COVERED * np.count_nonzero(found.mask):
        return False
    return not any(
        one.tile is two.tile and common_pixels(one, two) >= COVERED * min(one.area, two.area)
        for one in thing.parts
        for two in rival.parts
    )
