"""From masks to polygons: outlines that a person can drag in a labelling tool.

mask:    bool [height, width], one instance: of any number of parts, with holes
loop:    float [num_points, (y, x)], a closed line whose last point is joined to the first; whole
         numbers are the pixels' centres. Parts run clockwise as seen on screen, holes against it.
polygon: a loop that is a whole instance: its parts and holes are strung together by cuts of no
         width, because VIA and LabelMe know polygons without holes only

    polygon = outline(mask)                      # few points
    mask = polygon_mask(polygon, mask.shape)     # of mrcnn.geometry.regions: IoU at least 0.98
"""

from collections.abc import Iterator, Sequence

import numpy as np

from mrcnn.geometry.boxes import extract_bboxes
from mrcnn.geometry.regions import polygon_mask

MIN_IOU = 0.98  # of a simplified outline with its mask

# Pixels by which a simplified line may leave the exact one, tried in this order. No more than 2:
# a large instance could lose a leg or a tail and keep its IoU.
_TOLERANCES = (2.0, 1.5, 1.0, 0.75, 0.5)

# Steps (y, x) of a line along the pixels' edges with the instance on its right hand.
_EAST, _SOUTH, _WEST, _NORTH = range(4)
_STEPS = np.array([[0, 1], [1, 0], [0, -1], [-1, 0]])


def trace(mask: np.ndarray) -> list[np.ndarray]:
    """The exact outlines of all parts and holes of a mask.

    The lines go through the middles of the edges between a pixel of the mask and one outside, so
    they pass no pixel's centre, and a slope of 45 degrees is one straight line. Pixels that touch
    at a corner are one part.
    mask: bool [height, width].
    Returns loops, each [num_points, (y, x)] with points between -0.5 and the size - 0.5, from top
    to bottom; a part comes before its holes. No loop for an empty mask.
    """
    return [_without_idle_points(loop) for loop in _all_points(mask)]


def _all_points(mask: np.ndarray) -> Iterator[np.ndarray]:
    """The loops of `trace`, with a point for each edge of a pixel."""
    inside = np.pad(np.asarray(mask, bool), 1)
    above, below = inside[:-1, 1:-1], inside[1:, 1:-1]  # of each horizontal edge
    left, right = inside[1:-1, :-1], inside[1:-1, 1:]  # of each vertical edge
    corners = (inside.shape[0] - 1, inside.shape[1] - 1)
    starts = np.zeros((*corners, 4), bool)  # does an edge start at this corner, this way?
    starts[:, :-1, _EAST] = below & ~above
    starts[:, 1:, _WEST] = above & ~below
    starts[:-1, :, _SOUTH] = left & ~right
    starts[1:, :, _NORTH] = right & ~left

    y, x, way = np.nonzero(starts)  # [num_edges]
    end_y, end_x = y + _STEPS[way, 0], x + _STEPS[way, 1]
    # Where two pixels touch at a corner, turning left goes over to the other one.
    turned = (way - 1) % 4
    for other in (way, (way + 1) % 4):
        turned = np.where(starts[end_y, end_x, turned], turned, other)
    edges = np.ravel_multi_index((y, x, way), starts.shape)  # ascending
    following = np.searchsorted(edges, np.ravel_multi_index((end_y, end_x, turned), starts.shape))

    # A corner (y, x) lies at (y - 0.5, x - 0.5) between the pixels' centres.
    middles = np.stack([(y + end_y - 1) / 2, (x + end_x - 1) / 2], axis=1)  # [num_edges, 2]
    for chain in _cycles(following.tolist()):
        yield middles[chain]


def _cycles(following: list[int]) -> Iterator[list[int]]:
    """The closed chains of a permutation, in the order of their first elements."""
    visited = bytearray(len(following))
    for first in range(len(following)):
        if not visited[first]:
            chain, edge = [], first
            while not visited[edge]:
                visited[edge] = True
                chain.append(edge)
                edge = following[edge]
            yield chain


def _without_idle_points(loop: np.ndarray) -> np.ndarray:
    """Drop the points that repeat the one before or lie on the way to the next."""
    loop = loop[(loop != np.roll(loop, 1, axis=0)).any(axis=1)]
    before, after = loop - np.roll(loop, 1, axis=0), np.roll(loop, -1, axis=0) - loop
    turn = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    back = (before * after).sum(axis=1) < 0
    return loop[(turn != 0) | back]


def is_hole(loop: np.ndarray) -> bool:
    """Whether a loop of `trace` runs round a hole. loop: [num_points, (y, x)]."""
    y, x = loop.T
    return bool(np.dot(x, np.roll(y, -1)) < np.dot(np.roll(x, -1), y))


# -- Simpler ------------------------------------------------------------------------------------


def simplifications(loops: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """The loops with few points, then with ever more, and at last as they are.

    By Douglas and Peucker (1973): a point goes if the line without it passes within a tolerance.
    A loop keeps three points at least, be it by a smaller tolerance: nothing vanishes.
    loops: each [num_points, (y, x)] in pixels. Yields lists of as many loops.
    """
    weights = [_douglas_peucker(loop) for loop in loops]
    before = -1
    for tolerance in _TOLERANCES:
        simpler = [_simpler(loop, weight, tolerance) for loop, weight in zip(loops, weights)]
        count = sum(map(len, simpler))
        if count != before:
            yield simpler
        before = count
    yield list(loops)


def _simpler(loop: np.ndarray, weights: np.ndarray, tolerance: float) -> np.ndarray:
    """The loop within the tolerance, or within the next one that leaves three points or more."""
    for finer in _TOLERANCES[_TOLERANCES.index(tolerance) :]:
        kept = weights > finer
        if np.count_nonzero(kept) > 2:
            return loop[kept]
    return loop


def _douglas_peucker(loop: np.ndarray) -> np.ndarray:
    """The tolerance at which each point of a loop goes: [num_points], in pixels.

    All tolerances share one recursion, for a part of the line is split at the same point whatever
    the tolerance. Below the smallest tolerance nothing is told apart.
    """
    weights = np.zeros(len(loop))
    first = int(_distances(loop, loop.mean(axis=0)).argmax())
    second = int(_distances(loop, loop[first]).argmax())
    weights[[first, second]] = np.inf
    first, second = sorted((first, second))
    closed = np.concatenate([loop, loop[: first + 1]])  # goes once round, from first to first
    waiting = [(first, second, np.inf), (second, first + len(loop), np.inf)]
    while waiting:
        start, end, parent = waiting.pop()
        if end - start < 2:
            continue
        line = closed[start : end + 1] - closed[start]  # [num_points, 2]
        dy, dx = line[-1].tolist()
        length = (dy * dy + dx * dx) ** 0.5
        off = np.abs(line[1:-1, 0] * dx - line[1:-1, 1] * dy)
        farthest = int(off.argmax())
        weight = min(parent, float(off[farthest]) / length)
        if weight > _TOLERANCES[-1]:
            middle = start + 1 + farthest
            weights[middle % len(loop)] = weight
            waiting += [(start, middle, weight), (middle, end, weight)]
    return weights


def _distances(points: np.ndarray, point: np.ndarray) -> np.ndarray:
    return ((points - point) ** 2).sum(axis=-1)


# -- One polygon for an instance ----------------------------------------------------------------


def outline(
    mask: np.ndarray,
    min_iou: float = MIN_IOU,
    box: Sequence[int] | None = None,
    edges: bool = False,
) -> np.ndarray:
    """An instance as one polygon of few points.

    Its points lie on the picture, between 0 and the size - 1 of each side, where labelling tools
    want them; on a side of a single pixel between -0.5 and 0.5.
    mask: bool [height, width]. min_iou: what the IoU of the filled polygon with the mask must
        reach; 1 gives exactly the same pixels, and infinity lines that pass no pixel's centre,
        so that they bear rounding. box: its (y1, x1, y2, x2) in pixels, if known.
    edges: points may lie on the outer edges of the outermost pixels, at -0.5 and the size - 0.5.
    Returns [num_points, (y, x)], multiples of 0.5; no points for an empty mask.
    """
    y1, x1, y2, x2 = extract_bboxes(mask[..., np.newaxis])[0] if box is None else box
    crop, origin = mask[y1:y2, x1:x2], np.array([y1, x1])
    # A line through the centres of the outermost pixels still covers them.
    last = np.array(mask.shape) - 1
    low, high = np.where(last > 0, 0, -0.5) - origin, np.where(last > 0, last, 0.5) - origin
    if edges:
        low, high = -0.5 - origin, last + 0.5 - origin
    loops = [_without_idle_points(np.clip(loop, low, high)) for loop in _all_points(crop)]
    if not loops:
        return np.zeros((0, 2))
    for candidate in simplifications(loops):
        polygon = _strung_together(candidate)
        if mask_iou(polygon_mask(polygon, crop.shape), crop) >= min_iou:
            break
    return polygon + origin


def _strung_together(loops: list[np.ndarray]) -> np.ndarray:
    """One polygon of several loops: a cut leads to each loop, round it, and back the same way.

    Two lines on the same place enclose nothing, whatever lies between: neither by the even-odd
    rule nor by the winding rule.
    """
    rings = list(loops)
    ends = np.array([loop[0] for loop in loops])
    for i in reversed(range(1, len(loops))):
        # To an earlier loop: that one is still whole when it gets its turn itself.
        parent = int(_distances(ends[:i], ends[i]).argmin())
        ring, other = rings[i], rings[parent]
        here = _distances(ring, ends[parent]).argmin()
        there = _distances(other, ring[here]).argmin()
        here = _distances(ring, other[there]).argmin()
        round_it = np.roll(ring, -here, axis=0)
        rings[parent] = np.concatenate([other[: there + 1], round_it, round_it[:1], other[there:]])
    return rings[0]


def mask_iou(mask1: np.ndarray, mask2: np.ndarray) -> float:
    """IoU of two masks, bool [height, width]; 1 if both are empty."""
    union = np.count_nonzero(mask1 | mask2)
    return np.count_nonzero(mask1 & mask2) / union if union else 1.0
