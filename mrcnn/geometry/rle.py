"""COCO's run lengths of masks, also of such as are cut to their boxes.

rles = encode(masks)                      # [{"size": [height, width], "counts": b".."}]
crops = decode_crops(rles, (480, 640))    # MaskCrops

In full size a mask of a slide scan takes hundreds of megabytes; its run lengths follow from the
piece inside its box.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mrcnn.geometry.crops import MaskCrops

_AT_ONCE = 1 << 29  # bytes of masks that are encoded at a time
_MOST = (1 << 32) - 1  # that pycocotools takes for a run


def encode(masks: "np.ndarray | MaskCrops") -> list[dict[str, Any]]:
    """COCO's compressed RLE of each mask.

    masks: [height, width, n], or cut to their boxes.
    """
    from pycocotools import mask as rle

    height, width, count = masks.shape
    if isinstance(masks, MaskCrops):
        # Fortran's order: a run goes down a column.
        return [
            rle.frPyObjects([_counted(piece, box, height, width)], height, width)[0]
            for piece, box in zip(masks.pieces, masks.boxes.tolist())
        ]
    step = max(1, _AT_ONCE // max(height * width, 1))  # they are copied for it
    segmentations = []
    for first in range(0, count, step):
        some = np.asfortranarray(masks[..., first : first + step], dtype=np.uint8)
        segmentations += rle.encode(some)
    return segmentations


def _counted(piece: np.ndarray, box: Sequence[int], height: int, width: int) -> dict[str, Any]:
    y, x = box[:2]
    columns = np.zeros((piece.shape[1], piece.shape[0] + 2), np.int8)
    columns[:, 1:-1] = piece.T
    steps = np.diff(columns, axis=1)
    (column, first), (_, end) = np.nonzero(steps == 1), np.nonzero(steps == -1)
    before = (column + x) * height + y
    first, end = before + first, before + end
    apart = first[1:] != end[:-1]  # a run that reaches the lower border goes on above
    runs = np.empty((int(apart.sum()) + 1 if len(first) else 0, 2), np.int64)
    if len(first):
        runs[:, 0] = first[np.concatenate([[True], apart])]
        runs[:, 1] = end[np.concatenate([apart, [True]])]
    counts = np.diff(np.concatenate([[0], runs.ravel(), [height * width]]))
    if counts[-1] == 0 and len(counts) > 1:  # as pycocotools has it
        counts = counts[:-1]
    if counts.max() > _MOST:
        counts = [part for count in counts.tolist() for part in _split(count)]
    return {"size": [height, width], "counts": list(map(int, counts))}


def _split(count: int) -> list[int]:
    """A run that is too long as several, with runs of no length between them."""
    parts = [_MOST, 0] * (count // _MOST)
    return [*parts, count % _MOST]


def decode_crops(rles: Sequence[dict[str, Any]], shape: Sequence[int]) -> MaskCrops:
    """Compressed RLEs as masks cut to their boxes. shape: (height, width) of the picture.

    Raises ValueError where a mask is of another size.
    """
    height, width = int(shape[0]), int(shape[1])
    boxes, pieces = [], []
    for rle in rles:
        if list(rle["size"]) != [height, width]:
            raise ValueError(f"a mask is not of the picture's size, {height}x{width}")
        ends = np.cumsum(_counts(rle["counts"]))
        if not len(ends) or ends[-1] != height * width:
            raise ValueError(f"a mask's run lengths don't add up to {height}x{width} pixels")
        box, piece = _cut(ends[0 : len(ends) // 2 * 2 : 2], ends[1::2], height)
        boxes.append(box)
        pieces.append(piece)
    return MaskCrops((height, width), boxes, pieces)


def _counts(text: "bytes | str") -> list[int]:
    """pycocotools' writing of numbers: 5 bits a letter, and from the third on differences."""
    counts: list[int] = []
    value = shift = 0
    for letter in text.encode("ascii") if isinstance(text, str) else text:
        bits = letter - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    return counts


def _cut(first: np.ndarray, end: np.ndarray, height: int) -> tuple[list[int], np.ndarray]:
    """The box and the piece of a mask that covers pixels first .. end - 1, down its columns."""
    real = end > first
    first, end = first[real], end[real]
    if not len(first):
        return [0, 0, 0, 0], np.zeros((0, 0), bool)
    left, right = int(first[0] // height), int((end[-1] - 1) // height) + 1
    within = (first // height) == ((end - 1) // height)
    top, bottom = 0, height
    if within.all():
        top, bottom = int((first % height).min()), int(((end - 1) % height).max()) + 1
    columns = np.zeros((right - left, bottom - top + 1), np.int8)  # where a run begins and ends
    if within.all():
        np.add.at(columns, (first // height - left, first % height - top), 1)
        np.add.at(columns, ((end - 1) // height - left, (end - 1) % height + 1 - top), -1)
        inside = np.cumsum(columns, axis=1)[:, :-1] > 0
    else:
        flat = np.zeros((right - left) * height, bool)
        for start, stop in zip(first - left * height, end - left * height):
            flat[start:stop] = True
        inside = flat.reshape(right - left, height)
    return [top, left, bottom, right], np.ascontiguousarray(inside.T)
