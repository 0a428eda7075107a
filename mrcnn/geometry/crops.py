"""Masks of a picture's instances, each cut to its box.

A hundred masks of 1024x1024 take 100 MB, of which their boxes fill a few percent.

boxes:  int32 [num_instances, (y1, x1, y2, x2)] in pixels of the picture
pieces: for each instance what its box shows of its mask, bool [y2 - y1, x2 - x1]
masks:  the same in full, bool [height, width, num_instances]
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mrcnn.geometry.boxes import extract_bboxes
from mrcnn.geometry.masks import mask_sources, shrink_mask


class MaskCrops:
    """What `load_mask_crops` of a Dataset returns, and what mini masks are made from.

        crops = MaskCrops((480, 640), [(10, 20, 13, 24)], [np.ones((3, 4), bool)])
        crops.shape               # (480, 640, 1), that of the masks in full
        crops.full()              # bool [480, 640, 1]

    A box need not be tight: `tight` makes it so. Objects don't change; methods return new ones.
    """

    def __init__(
        self, shape: Sequence[int], boxes: Sequence | np.ndarray, pieces: Sequence[np.ndarray]
    ) -> None:
        """shape: (height, width, ...) of the picture; boxes, pieces: see the top of this file.

        Raises ValueError if a box reaches outside of the picture or its piece has another size.
        """
        height, width = (int(side) for side in shape[:2])
        self.boxes = np.array(boxes, np.int32).reshape(-1, 4)
        self.pieces = [np.asarray(piece, bool) for piece in pieces]
        self.shape = height, width, len(self.pieces)
        self._is_tight = False  # as far as is known
        if len(self.boxes) != len(self.pieces):
            raise ValueError(
                f"There are {len(self.boxes)} boxes and {len(self.pieces)} pieces: each instance "
                "has one of both."
            )
        for i, (box, piece) in enumerate(zip(self.boxes.tolist(), self.pieces)):
            y1, x1, y2, x2 = box
            if piece.shape != (y2 - y1, x2 - x1):
                raise ValueError(
                    f"The piece of instance {i} has the shape {piece.shape}, but its box {box} is "
                    f"{y2 - y1} high and {x2 - x1} wide."
                )
            if min(y1, x1) < 0 or y2 > height or x2 > width:
                raise ValueError(
                    f"The box of instance {i}, {box}, reaches outside of its picture of "
                    f"{height}x{width}: cut the mask at the border."
                )

    @classmethod
    def from_masks(cls, masks: "np.ndarray | MaskCrops") -> "MaskCrops":
        """Cut masks to their boxes; the pieces are views.

        masks: [height, width, num_instances], or what has been cut, which is returned.
        """
        if isinstance(masks, MaskCrops):
            return masks
        boxes = extract_bboxes(masks)  # [num_instances, 4]
        pieces = [masks[y1:y2, x1:x2, i] for i, (y1, x1, y2, x2) in enumerate(boxes.tolist())]
        crops = cls(masks.shape, boxes, pieces)
        crops._is_tight = True
        return crops

    # -- As the array of the masks in full --------------------------------------------------

    ndim, dtype = 3, np.dtype(bool)

    def __len__(self) -> int:
        return len(self.pieces)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.full(), dtype)

    def __getitem__(self, key: Any) -> "np.ndarray | MaskCrops":
        """As of the masks in full. `[..., some]` gives crops, all else arrays.

        `[y1:y2, x1:x2, i]` is made of the one piece.
        """
        if isinstance(key, tuple) and len(key) == 2 and key[0] is Ellipsis:
            if isinstance(key[1], int | np.integer):
                return self[:, :, key[1]]
            chosen = np.arange(len(self))[key[1]]
            crops = MaskCrops(self.shape, self.boxes[chosen], [self.pieces[i] for i in chosen])
            crops._is_tight = self._is_tight
            return crops
        one = isinstance(key, tuple) and len(key) == 3 and isinstance(key[2], int | np.integer)
        if not one or not all(isinstance(part, slice) for part in key[:2]):
            return self.full()[key]
        rows, columns = (range(size)[part] for part, size in zip(key[:2], self.shape))
        if (rows.step, columns.step) != (1, 1):
            return self[:, :, key[2]][key[:2]]
        shown = np.zeros((len(rows), len(columns)), bool)
        y1, x1, y2, x2 = self.boxes[key[2]].tolist()
        top, left = max(rows.start, y1), max(columns.start, x1)
        bottom, right = min(rows.stop, y2), min(columns.stop, x2)
        if top < bottom and left < right:
            part = self.pieces[key[2]][top - y1 : bottom - y1, left - x1 : right - x1]
            place = np.s_[top - rows.start : bottom - rows.start]
            shown[place, left - columns.start : right - columns.start] = part
        return shown

    # -- Changed ----------------------------------------------------------------------------

    def take(self, rows: np.ndarray, columns: np.ndarray) -> "MaskCrops":
        """The masks at some rows and columns, as `masks[rows][:, columns]`.

        rows: int [new_height]; columns: int [new_width]. Those outside of the picture, -1 for one,
        find no instance; the others must not fall. Boxes may lose their tightness.
        """
        y1, x1, y2, x2 = self.boxes.T
        top, bottom = _places(rows, self.shape[0], y1, y2)
        left, right = _places(columns, self.shape[1], x1, x2)
        boxes = np.stack([top, left, bottom, right], axis=1)  # [num_instances, 4]
        pieces = [
            piece[rows[top:bottom] - y][:, columns[left:right] - x]
            for piece, (y, x, _, _), (top, left, bottom, right) in zip(
                self.pieces, self.boxes.tolist(), boxes.tolist()
            )
        ]
        return MaskCrops((len(rows), len(columns)), boxes, pieces)

    def resized(
        self, scale: float, padding: Sequence[Sequence[int]], crop: Sequence[int] | None = None
    ) -> "MaskCrops":
        """The scale, padding and crop that `resize_image` gave the picture, as `resize_mask`."""
        if scale == 1 and crop is None and not np.any(padding):
            return self
        return self.take(*mask_sources(self.shape, scale, padding, crop))

    def flip(self, axis: int) -> "MaskCrops":
        """As `np.flip(masks, axis)`: 0 turns the picture upside down, 1 mirrors it."""
        boxes = self.boxes.copy()
        boxes[:, [axis, axis + 2]] = self.shape[axis] - self.boxes[:, [axis + 2, axis]]
        return MaskCrops(self.shape, boxes, [np.flip(piece, axis) for piece in self.pieces])

    def rot90(self, quarters: int) -> "MaskCrops":
        """As `np.rot90(masks, quarters)`: turned against the clock."""
        turned = self
        for _ in range(quarters % 4):
            height, width = turned.shape[:2]
            y1, x1, y2, x2 = turned.boxes.T
            boxes = np.stack([width - x2, y1, width - x1, y2], axis=1)  # [num_instances, 4]
            turned = MaskCrops((width, height), boxes, [np.rot90(p) for p in turned.pieces])
        return turned

    def tight(self) -> "MaskCrops":
        """With the boxes that `extract_bboxes` finds: an instance without a pixel has zeros."""
        if self._is_tight:
            return self
        boxes = np.zeros((len(self), 4), np.int32)
        pieces = []
        for i, ((top, left, _, _), piece) in enumerate(zip(self.boxes.tolist(), self.pieces)):
            y1, y2 = _reach(piece.any(axis=1))
            x1, x2 = _reach(piece[y1:y2].any(axis=0))
            if y2 > y1:
                boxes[i] = top + y1, left + x1, top + y2, left + x2
            inside = piece[y1:y2, x1:x2]
            # A view would hold all of it in memory.
            pieces.append(piece if inside.shape == piece.shape else inside.copy())
        tight = MaskCrops(self.shape, boxes, pieces)
        tight._is_tight = True
        return tight

    def kept(self, keep: np.ndarray) -> "MaskCrops":
        """Some of the instances, as `masks[:, :, keep]`. keep: bool [num_instances]."""
        pieces = [self.pieces[i] for i in np.flatnonzero(keep)]
        return MaskCrops(self.shape, self.boxes[keep], pieces)

    def full(self, planes: bool = False) -> np.ndarray:
        """The masks in full size, bool [height, width, num_instances].

        planes: lay out each mask in one piece of memory, for who works on one after the other.
        """
        height, width, count = self.shape
        if planes:
            masks = np.zeros((count, height, width), bool).transpose(1, 2, 0)
        else:
            masks = np.zeros(self.shape, bool)
        for i, ((y1, x1, y2, x2), piece) in enumerate(zip(self.boxes.tolist(), self.pieces)):
            masks[y1:y2, x1:x2, i] = piece
        return masks

    def minimized(self, mini_shape: Sequence[int]) -> np.ndarray:
        """As `minimize_mask` of the masks and boxes; mini_shape: (height, width).

        Returns bool [mini_height, mini_width, num_instances]. No box may be empty.
        """
        mini_masks = np.zeros((*mini_shape[:2], len(self)), bool)
        for i, piece in enumerate(self.pieces):
            mini_masks[:, :, i] = shrink_mask(piece, mini_shape)
        return mini_masks


def _places(
    source: np.ndarray, size: int, first: np.ndarray, end: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where in `source` the pixels first .. end - 1 of a side of `size` pixels come to lie."""
    there = np.flatnonzero((source >= 0) & (source < size))
    start = there[0] if len(there) else 0
    return tuple(start + np.searchsorted(source[there], side) for side in (first, end))


def _reach(covered: np.ndarray) -> tuple[int, int]:
    """The first True of a row, and one behind the last; (0, 0) if there is none."""
    if not covered.any():
        return 0, 0
    return int(covered.argmax()), len(covered) - int(covered[::-1].argmax())
