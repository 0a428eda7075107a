"""Colours in a film: what stays about where it was keeps its colour.

colors = SteadyColors()
for frame in video:
    found = detect(frame)
    render_instances(frame, ..., colors=colors(found["rois"], found["class_ids"]))
"""

import numpy as np

from mrcnn.drawing.pixels import random_colors
from mrcnn.geometry.boxes import compute_overlaps

_LEAST_IOU = 0.3  # of boxes in two frames that are taken for the same thing
_COLORS = 1000  # before the first comes again


class SteadyColors:
    """A colour for each instance of a frame: that of the one it follows, else the next new one."""

    def __init__(self) -> None:
        self._colors = random_colors(_COLORS)
        self._boxes = np.zeros((0, 4))
        self._class_ids = np.zeros(0, int)
        self._numbers: list[int] = []  # into the colours
        self._next = 0

    def __call__(
        self, boxes: np.ndarray, class_ids: np.ndarray
    ) -> list[tuple[float, float, float]]:
        """boxes: [n, (y1, x1, y2, x2)], class_ids: [n], of the next frame. Returns n colours."""
        overlaps = compute_overlaps(np.asarray(boxes, float), self._boxes)  # [n, before]
        overlaps *= np.asarray(class_ids)[:, None] == self._class_ids[None]
        numbers = [-1] * len(boxes)
        for index in np.argsort(-overlaps, axis=None, kind="stable"):  # the surest pairs first
            i, j = np.unravel_index(index, overlaps.shape)
            if overlaps[i, j] < _LEAST_IOU:
                break
            if numbers[i] < 0 and self._numbers[j] not in numbers:
                numbers[i] = self._numbers[j]
        for i, number in enumerate(numbers):
            if number < 0:
                numbers[i], self._next = self._next, (self._next + 1) % _COLORS
        self._boxes, self._class_ids = np.asarray(boxes, float), np.asarray(class_ids)
        self._numbers = numbers
        return [self._colors[number] for number in numbers]
