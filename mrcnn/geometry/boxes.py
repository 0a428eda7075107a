"""Boxes in NumPy: overlaps, suppression, deltas, and the two units a box can have.

boxes:   [num_boxes, (y1, x1, y2, x2)]; in pixels the corner (y2, x2) lies outside the box
deltas:  [num_boxes, (dy, dx, log(dh), log(dw))], the box regression of R-CNN (Girshick et al.
         2014, appendix C): center shift in units of the box, log of the scaling
A row of zeros is padding: "no box".
"""

from collections.abc import Iterator, Sequence

import numpy as np


def extract_bboxes(mask: np.ndarray) -> np.ndarray:
    """Tightest boxes around masks.

    mask: [height, width, num_instances], nonzero where the instance is.
    Returns int32 [num_instances, (y1, x1, y2, x2)] in pixels; zeros for an empty mask.
    """
    height, width = mask.shape[:2]
    if mask.size == 0:
        return np.zeros((mask.shape[-1], 4), np.int32)
    rows = _any(mask.transpose(1, 0, 2))  # [height, num_instances]
    columns = _any(mask)  # [width, num_instances]
    y1, x1 = rows.argmax(axis=0), columns.argmax(axis=0)
    y2, x2 = height - rows[::-1].argmax(axis=0), width - columns[::-1].argmax(axis=0)
    boxes = np.stack([y1, x1, y2, x2], axis=1)  # [num_instances, 4]
    return (boxes * rows.any(axis=0)[:, np.newaxis]).astype(np.int32)


def _any(mask: np.ndarray) -> np.ndarray:
    """mask.any(axis=0), by halves: the instances that lie side by side are too few for a loop."""
    mask = mask.astype(bool, copy=False)
    while len(mask) > 1:
        half = len(mask) // 2
        rest = mask[2 * half :]
        mask = mask[:half] | mask[half : 2 * half]
        if len(rest):
            mask[0] |= rest[0]
    return mask[0]


def compute_iou(
    box: np.ndarray, boxes: np.ndarray, box_area: float, boxes_area: np.ndarray
) -> np.ndarray:
    """IoU of one box with many; the areas are passed in because callers reuse them.

    box: [(y1, x1, y2, x2)]; boxes: [num_boxes, 4]; boxes_area: [num_boxes]; one unit for all.
    Returns [num_boxes], float32 for float32 boxes, else float64; 0 where no box has area.
    """
    height = np.minimum(box[2], boxes[:, 2]) - np.maximum(box[0], boxes[:, 0])  # [num_boxes]
    width = np.minimum(box[3], boxes[:, 3]) - np.maximum(box[1], boxes[:, 1])  # [num_boxes]
    intersection = np.maximum(height, 0) * np.maximum(width, 0)
    union = box_area + boxes_area - intersection
    # In the boxes' own precision: a float32 IoU of 0.4 is then not above a threshold of 0.4.
    nothing = np.zeros(len(boxes), np.result_type(union, np.float32))
    return np.divide(intersection, union, out=nothing, where=union > 0)


def compute_overlaps(boxes1: np.ndarray, boxes2: np.ndarray) -> np.ndarray:
    """IoU of every box in one list with every box in another.

    boxes1: [num_boxes1, 4]; boxes2: [num_boxes2, 4], the shorter list for speed; one unit.
    Returns float64 [num_boxes1, num_boxes2].
    """
    # One column after the other lies in memory, for so it is filled, and its rows are reduced fast.
    overlaps = np.zeros((len(boxes1), len(boxes2)), order="F")
    for i, (touching, iou) in enumerate(touching_overlaps(boxes1, boxes2)):
        overlaps[touching, i] = iou
    return overlaps


def touching_overlaps(
    boxes1: np.ndarray, boxes2: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each box of boxes2: which of boxes1 touch it, and their IoU; all others have none.

    boxes1: [num_boxes1, 4]; boxes2: [num_boxes2, 4]; one unit.
    Yields indices into boxes1 [num_touching], IoU [num_touching]. Of a quarter of a million anchors
    few touch an instance, and all at once with a hundred of these would need gigabytes.
    """
    areas1, areas2 = _areas(boxes1), _areas(boxes2)
    top, left, bottom, right = np.ascontiguousarray(np.transpose(boxes1))
    for box, area in zip(boxes2, areas2):
        y1, x1, y2, x2 = box
        touching = np.flatnonzero((top < y2) & (bottom > y1) & (left < x2) & (right > x1))
        yield touching, compute_iou(box, boxes1[touching], area, areas1[touching])


def non_max_suppression(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Greedy non-maximum suppression.

    boxes: [num_boxes, (y1, x1, y2, x2)] in any unit; scores: [num_boxes].
    threshold: a box goes when its IoU with a stronger box that stays is above this.
    Returns int32 [num_kept]: indices into boxes, highest score first.
    """
    if len(boxes) == 0:
        return np.zeros(0, np.int32)
    if boxes.dtype.kind != "f":
        boxes = boxes.astype(np.float32)
    areas = _areas(boxes)
    order = np.argsort(scores)[::-1]
    keep = []
    while len(order):
        best, rest = order[0], order[1:]
        keep.append(best)
        iou = compute_iou(boxes[best], boxes[rest], areas[best], areas[rest])
        order = rest[iou <= threshold]
    return np.array(keep, np.int32)


def apply_box_deltas(boxes: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    """Move and scale boxes by deltas; the inverse of `box_refinement`.

    boxes: [num_boxes, (y1, x1, y2, x2)] in any unit; deltas: [num_boxes, 4].
    Returns float32 [num_boxes, (y1, x1, y2, x2)] in the unit of boxes.
    """
    boxes = boxes.astype(np.float32)
    size = boxes[:, 2:] - boxes[:, :2]  # [num_boxes, (height, width)]
    center = boxes[:, :2] + 0.5 * size + deltas[:, :2] * size  # [num_boxes, (y, x)]
    size = size * np.exp(deltas[:, 2:])
    corner = center - 0.5 * size
    return np.concatenate([corner, corner + size], axis=1).astype(np.float32)


def box_refinement(box: np.ndarray, gt_box: np.ndarray) -> np.ndarray:
    """Deltas that turn each box into its ground-truth box.

    box, gt_box: [num_boxes, (y1, x1, y2, x2)] with a height and width above 0, in one unit.
    Returns float32 [num_boxes, (dy, dx, log(dh), log(dw))].
    """
    return box_deltas(box.astype(np.float32), gt_box.astype(np.float32))


def box_deltas(boxes: np.ndarray, gt_boxes: np.ndarray) -> np.ndarray:
    """`box_refinement` in the precision of its arguments.

    boxes, gt_boxes: [num_boxes, (y1, x1, y2, x2)] with a height and width above 0, in one unit.
    Returns [num_boxes, (dy, dx, log(dh), log(dw))].
    """
    size, gt_size = boxes[:, 2:] - boxes[:, :2], gt_boxes[:, 2:] - gt_boxes[:, :2]
    center, gt_center = boxes[:, :2] + 0.5 * size, gt_boxes[:, :2] + 0.5 * gt_size
    return np.concatenate([(gt_center - center) / size, np.log(gt_size / size)], axis=1)


def norm_boxes(boxes: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Pixels to normalised coordinates.

    boxes: [num_boxes, (y1, x1, y2, x2)] in pixels; shape: (height, width), both above 1.
    Returns float32 [num_boxes, (y1, x1, y2, x2)]: the center of the last pixel that belongs to
    the box lies at 1.0 when it is the last of the picture, as `crop_and_resize` counts.
    """
    scale, shift = _pixel_frame(shape)
    return ((boxes - shift) / scale).astype(np.float32)


def denorm_boxes(boxes: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Normalised coordinates to pixels; the inverse of `norm_boxes`.

    boxes: [num_boxes, (y1, x1, y2, x2)] normalised; shape: (height, width).
    Returns int32 [num_boxes, (y1, x1, y2, x2)] in pixels.
    """
    scale, shift = _pixel_frame(shape)
    return np.around(boxes * scale + shift).astype(np.int32)


def trim_zeros(x: np.ndarray) -> np.ndarray:
    """Rows of x, [num_rows, num_columns], that are not all zeros: the padding taken off."""
    return x[(x != 0).any(axis=1)]


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])  # [num_boxes]


def _pixel_frame(shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    height, width = shape[:2]
    scale = np.array([height - 1, width - 1, height - 1, width - 1])
    # The far corner of a box in pixels lies one past its last pixel.
    return scale, np.array([0, 0, 1, 1])
