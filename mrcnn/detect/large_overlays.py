"""Overlays of pictures that are too large to be drawn as they are: all of it small, and parts.

small, factor = overview(windows, found)           # the whole picture at a size that opens
for window in densest(found["rois"], shape, 3):    # where most instances lie
    drawn = part(windows, found, window, ["BG", "cell"])
"""

from collections.abc import Mapping, Sequence

import numpy as np

from mrcnn.data.windows import Windows, shrunk
from mrcnn.drawing.instances import render_instances
from mrcnn.drawing.pixels import as_picture, random_colors, tint
from mrcnn.geometry.crops import MaskCrops

OVERVIEW = 4096  # pixels of the longer side: what every viewer opens
PART = 1024  # pixels of the side of a part
PARTS = 3
_COLORS = 64  # that are told apart
_MOST = 400  # instances of a part that get outlines and boxes; of more, the masks are tinted


def overview(windows: Windows, found: Mapping[str, np.ndarray]) -> tuple[np.ndarray, int]:
    """([height, width, 3] uint8, factor): the picture scaled down, instances tinted."""
    small, factor = shrunk(windows, OVERVIEW)
    picture, colors = as_picture(small), random_colors(_COLORS)
    crops = MaskCrops.from_masks(found["masks"])
    for i, (piece, box) in enumerate(zip(crops.pieces, crops.boxes.tolist())):
        rows, columns = (-box[axis] % factor for axis in (0, 1))
        sampled = piece[rows::factor, columns::factor]
        if not sampled.size:  # smaller than a pixel: it is one all the same
            sampled, rows, columns = np.ones((1, 1), bool), 0, 0
        corner = (box[0] + rows) // factor, (box[1] + columns) // factor
        tint(picture, sampled, corner, colors[i % _COLORS])
    return picture, factor


def densest(
    boxes: np.ndarray, shape: Sequence[int], count: int = PARTS
) -> list[tuple[int, int, int, int]]:
    """The windows (top, left, bottom, right) with most instances, which don't overlap.

    boxes: [n, (y1, x1, y2, x2)]. Fewer where there aren't so many places with an instance.
    """
    boxes = np.asarray(boxes).reshape(-1, 4)
    sides = [min(PART, size) for size in shape[:2]]
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    left_out, found = np.zeros(len(boxes), bool), []
    for _ in range(count):
        here = centers[~left_out]
        if not len(here):
            break
        # The fullest cell of half a part's size; the part lies round it.
        cells = (here // (PART / 2)).astype(int)
        places, counts = np.unique(cells, axis=0, return_counts=True)
        middle = (places[counts.argmax()] + 0.5) * (PART / 2)
        corner = [
            int(np.clip(middle[axis] - sides[axis] / 2, 0, shape[axis] - sides[axis]))
            for axis in (0, 1)
        ]
        window = (corner[0], corner[1], corner[0] + sides[0], corner[1] + sides[1])
        # Two parts overlap unless their corners are a side apart.
        near = [abs(centers[:, axis] - middle[axis]) < 1.5 * sides[axis] for axis in (0, 1)]
        left_out |= near[0] & near[1]
        found.append(window)
    return found


def part(
    windows: Windows,
    found: Mapping[str, np.ndarray],
    window: Sequence[int],
    class_names: Sequence[str],
    captions: Sequence[str] | None = None,
    inside: bool = False,
) -> np.ndarray:
    """A part of a picture with its instances, [height, width, 3] uint8.

    window: (top, left, bottom, right). captions, inside: as of `render_instances`.
    """
    top, left, bottom, right = window
    boxes = np.asarray(found["rois"])
    seen = (boxes[:, 0] < bottom) & (boxes[:, 2] > top)
    seen &= (boxes[:, 1] < right) & (boxes[:, 3] > left)
    chosen = np.flatnonzero(seen)
    crops = MaskCrops.from_masks(found["masks"])[..., chosen]
    crops = crops.take(np.arange(top, bottom), np.arange(left, right))
    picture = windows.read(window)
    if len(chosen) > _MOST:
        drawn, colors = as_picture(picture), random_colors(_COLORS)
        for i, (piece, box) in enumerate(zip(crops.pieces, crops.boxes.tolist())):
            tint(drawn, piece, box[:2], colors[i % _COLORS])
        return drawn
    shift = np.array([top, left, top, left])
    size = np.array([bottom - top, right - left] * 2)
    return render_instances(
        picture,
        np.clip(boxes[chosen] - shift, 0, size),
        crops.full(planes=True),
        np.asarray(found["class_ids"])[chosen],
        class_names,
        np.asarray(found["scores"])[chosen],
        None,
        None if captions is None else [captions[i] for i in chosen],
        inside=inside,
    )
