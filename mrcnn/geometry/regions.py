"""Outlines turned into masks: which pixels of a picture a labelled region covers.

points: float [num_points, (y, x)] in pixels. A whole number is the centre of a pixel.
shape:  (height, width, ...) of the picture; what lies outside of it is cut off
mask:   bool [height, width]
region: the mask's part round the shape: a box (y1, x1, y2, x2) in pixels, not always tight, and
        bool [y2 - y1, x2 - x1]; outside of it the mask is False
"""

from collections.abc import Sequence

import numpy as np

_VERTEX = 1e-12  # nearer to a pixel's centre than this, a corner lies on it
_CROSSINGS_AT_ONCE = 1 << 20  # bounds the temporary arrays: about 100 MB

Region = tuple[tuple[int, int, int, int], np.ndarray]
NOWHERE: Region = (0, 0, 0, 0), np.zeros((0, 0), bool)


def polygon_mask(points: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The pixels whose centres lie in a polygon or on its outline, bool [height, width].

    points: [num_points, (y, x)], the last one joined to the first. Where the outline crosses
    itself, what it goes round twice is outside (even-odd rule).

    The same pixels as `skimage.draw.polygon`, with which Matterport's samples draw, in a time
    that grows with the outline's height in rows and not with points times pixels:
    1. For each edge, the rows that it crosses, and where.
    2. On every row, a pixel with an odd number of crossings to its left or to its right is in.
       Both are counted, since a pixel that lies on an edge is to neither side of it.
    """
    return _whole(polygon_region(points, shape), shape)


def polygon_region(points: np.ndarray, shape: Sequence[int]) -> Region:
    """The region of `polygon_mask`, in no more memory than it takes."""
    height, width = shape[:2]
    points = np.asarray(points, np.float64).reshape(-1, 2)
    if not len(points) or not height * width:
        return NOWHERE
    low, high = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0))
    top, left = (int(side) for side in np.clip(low, 0, (height, width)))
    bottom, right = (int(side) + 1 for side in np.clip(high, -1, (height - 1, width - 1)))
    if top >= bottom or left >= right:
        return NOWHERE
    points = points - (top, left)  # exact: whole numbers
    inside = _inside((bottom - top, right - left), points)
    corners = np.rint(points)
    on_pixel = (np.abs(points - corners) < _VERTEX).all(axis=1)
    y, x = corners[on_pixel].astype(np.int64).T
    seen = (y >= 0) & (y < bottom - top) & (x >= 0) & (x < right - left)
    inside[y[seen], x[seen]] = True
    return (top, left, bottom, right), inside


def ellipse_mask(
    center: Sequence[float], radii: Sequence[float], shape: Sequence[int], angle: float = 0.0
) -> np.ndarray:
    """The pixels whose centres lie in an ellipse or on its outline, bool [height, width].

    center: (y, x); radii: (vertical, horizontal) before turning, in pixels, positive; equal ones
    make a circle. angle: radians by which it is turned clockwise as seen on a screen.
    """
    return _whole(ellipse_region(center, radii, shape, angle), shape)


def ellipse_region(
    center: Sequence[float], radii: Sequence[float], shape: Sequence[int], angle: float = 0.0
) -> Region:
    """The region of `ellipse_mask`, in no more memory than it takes."""
    height, width = shape[:2]
    (cy, cx), (ry, rx) = center, radii
    sine, cosine = np.sin(angle), np.cos(angle)
    reach_y, reach_x = np.hypot(rx * sine, ry * cosine), np.hypot(rx * cosine, ry * sine)
    top, bottom = np.clip((np.floor(cy - reach_y), np.ceil(cy + reach_y) + 1), 0, height)
    left, right = np.clip((np.floor(cx - reach_x), np.ceil(cx + reach_x) + 1), 0, width)
    dy = np.arange(top, bottom)[:, np.newaxis] - cy  # [rows, 1]
    dx = np.arange(left, right) - cx  # [columns]
    along, across = dx * cosine + dy * sine, dy * cosine - dx * sine  # [rows, columns]
    inside = (along / rx) ** 2 + (across / ry) ** 2 <= 1
    return (int(top), int(left), int(bottom), int(right)), inside


def _whole(region: Region, shape: Sequence[int]) -> np.ndarray:
    mask = np.zeros(shape[:2], bool)
    (top, left, bottom, right), inside = region
    mask[top:bottom, left:right] = inside
    return mask


def _inside(shape: tuple[int, int], points: np.ndarray) -> np.ndarray:
    height, width = shape
    y, x = points.T
    before_y, before_x = np.roll(y, 1), np.roll(x, 1)
    low, high = np.minimum(y, before_y), np.maximum(y, before_y)
    first = np.clip(np.ceil(low), 0, height).astype(np.int64)  # the rows that an edge touches
    count = np.clip(np.floor(high), -1, height - 1).astype(np.int64) + 1 - first
    edges = np.flatnonzero((count > 0) & (low < high))
    # Where a row's parity changes: one column more, for crossings right of the last pixel.
    changes = np.zeros((2, height, width + 1), np.uint8)
    ends = np.cumsum(count[edges])
    start = 0
    while start < len(edges):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + _CROSSINGS_AT_ONCE, "right")))
        part = edges[start:stop]
        rows = np.repeat(first[part], count[part])  # [num_crossings]
        rows += np.arange(len(rows)) - np.repeat(ends[start:stop] - count[part] - done, count[part])
        which = np.repeat(part, count[part])
        y0, y1 = y[which] - rows, before_y[which] - rows
        _mark_crossings(changes, rows, (y0, y1), (x[which], before_x[which]))
        start = stop
    odd = np.add.accumulate(changes, axis=2, dtype=np.uint8)[:, :, :width] & 1
    return (odd[0] | odd[1]).astype(bool)


def _mark_crossings(
    changes: np.ndarray,
    rows: np.ndarray,
    y: tuple[np.ndarray, np.ndarray],
    x: tuple[np.ndarray, np.ndarray],
) -> None:
    """Mark where edges cross rows. changes: [(right, left), height, width + 1], added to.

    y, x: both ends of the edges, [num_crossings] each; y relative to the row.
    """
    (y0, y1), (x0, x1) = y, x
    crossing = (x0 * y1 - x1 * y0) / (y1 - y0)
    column = np.rint(np.clip(crossing, np.minimum(x0, x1), np.maximum(x0, x1)))
    # Which side of the crossing the nearest pixel is on, by skimage's own formula, so that pixels
    # on an edge are those that it takes for such.
    side = ((x0 - column) * y1 - (x1 - column) * y0) / (y1 - y0)
    width = changes.shape[2] - 1
    for plane, straddles, beginning in (
        (changes[0], (y0 > 0) != (y1 > 0), column + (side > 0)),
        (changes[1], (y0 < 0) != (y1 < 0), column + (side >= 0)),
    ):
        columns = np.clip(beginning[straddles], 0, width).astype(np.int64)
        # Parity is all that counts, so that a byte may overflow.
        np.add.at(plane.reshape(-1), rows[straddles] * (width + 1) + columns, np.uint8(1))
