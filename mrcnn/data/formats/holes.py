"""Holes cut out of what they lie in: an outline's own, and what was labelled as background."""

from collections.abc import Sequence

from mrcnn.geometry.regions import Region


def cut_out(region: Region, holes: Sequence[Region]) -> Region:
    """A region less its own holes."""
    (y1, x1, y2, x2), piece = region
    piece = piece.copy()
    for (top, left, bottom, right), hole in holes:
        a, b = max(y1, top), min(y2, bottom)
        c, d = max(x1, left), min(x2, right)
        if a < b and c < d:
            piece[a - y1 : b - y1, c - x1 : d - x1] &= ~hole[a - top : b - top, c - left : d - left]
    return (y1, x1, y2, x2), piece


def without(region: Region, holes: Sequence[Region]) -> Region:
    """A region less the holes that lie in it: those of which it covers more than half.

    What is labelled as background round the objects, up to all of the picture, is no hole.
    """
    (y1, x1, y2, x2), piece = region
    for (top, left, bottom, right), hole in holes:
        a, b = max(y1, top), min(y2, bottom)
        c, d = max(x1, left), min(x2, right)
        if a >= b or c >= d:
            continue
        shared = hole[a - top : b - top, c - left : d - left]
        inside = piece[a - y1 : b - y1, c - x1 : d - x1]
        if 2 * (shared & inside).sum() > hole.sum() and hole.sum() < piece.sum():
            piece = piece.copy()
            piece[a - y1 : b - y1, c - x1 : d - x1] = inside & ~shared
    return (y1, x1, y2, x2), piece
