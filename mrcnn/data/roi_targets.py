"""Targets of the heads in NumPy, for generators that make up regions instead of using the RPN.

rois:      int32 [num_rois, (y1, x1, y2, x2)] in pixels of the network's picture
gt_boxes:  int32 [num_instances, (y1, x1, y2, x2)] in the same pixels
In training the graph computes its own targets; this is for debugging, and for training the
heads alone (USE_RPN_ROIS = False).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mrcnn.config import Config
from mrcnn.geometry.boxes import box_refinement, compute_overlaps
from mrcnn.geometry.masks import expand_mask, resize


def build_detection_targets(
    rpn_rois: np.ndarray,
    gt_class_ids: np.ndarray,
    gt_boxes: np.ndarray,
    gt_masks: np.ndarray,
    config: Config,
    *,
    rng: np.random.RandomState | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Choose regions that train the heads, and what the heads should say of them.

    1. Positive: IoU above 0.5 with an instance; background: below 0.5 with all.
    2. Choose TRAIN_ROIS_PER_IMAGE at random, ROI_POSITIVE_RATIO of them positive at most;
       background is repeated where there are too few.
    3. A positive gets the class, the deltas and the mask of the instance it overlaps most.

    rpn_rois: int32 [num_rois, 4]; gt_class_ids: int32 [num_instances]; gt_boxes: int32
    [num_instances, 4]; gt_masks: bool [height, width, num_instances], or mini masks if
    config.USE_MINI_MASK. rng: where random numbers come from; None: NumPy's global generator.
    Returns, for num_rois = TRAIN_ROIS_PER_IMAGE, positives first
        rois: [num_rois, (y1, x1, y2, x2)] in pixels
        class_ids: int32 [num_rois]; 0 for background
        bboxes: float32 [num_rois, num_classes, 4], deltas in units of BBOX_STD_DEV
        masks: float32 [num_rois, mask_height, mask_width, num_classes] of 0..1
    Raises ValueError if there is no region to choose from.
    """
    instances = np.flatnonzero(gt_class_ids > 0)  # crowds and padding left out
    gt_class_ids, gt_boxes = gt_class_ids[instances], gt_boxes[instances]
    gt_masks = gt_masks[:, :, instances]

    overlaps = compute_overlaps(rpn_rois, gt_boxes)  # [num_rois, num_instances]
    best_iou = overlaps.max(axis=1, initial=0)  # [num_rois]
    positive, background = _choose(best_iou, config, rng or np.random)

    rois = rpn_rois[np.concatenate([positive, background])]
    count, num_classes = len(rois), config.NUM_CLASSES
    class_ids = np.zeros(count, np.int32)
    bboxes = np.zeros((count, num_classes, 4), np.float32)
    masks = np.zeros((count, *config.MASK_SHAPE, num_classes), np.float32)
    if len(positive):
        matched = overlaps[positive].argmax(axis=1)  # [num_positives], indices of instances
        matched_class_ids = gt_class_ids[matched]
        class_ids[: len(positive)] = matched_class_ids
        deltas = box_refinement(rpn_rois[positive], gt_boxes[matched])
        index = np.arange(len(positive))
        bboxes[index, matched_class_ids] = deltas / config.BBOX_STD_DEV
        if config.USE_MINI_MASK:
            gt_masks = expand_mask(gt_boxes, gt_masks, config.IMAGE_SHAPE)
        for i in index:
            y1, x1, y2, x2 = rois[i].astype(np.int32)
            inside = gt_masks[y1:y2, x1:x2, matched[i]]
            masks[i, :, :, matched_class_ids[i]] = resize(inside, config.MASK_SHAPE)
    return rois, class_ids, bboxes, masks


def generate_random_rois(
    image_shape: Sequence[int],
    count: int,
    gt_class_ids: np.ndarray,
    gt_boxes: np.ndarray,
    *,
    rng: np.random.RandomState | None = None,
) -> np.ndarray:
    """Made-up regions: nine tenths near the instances, the rest anywhere.

    image_shape: (height, width, ...) in pixels, both above 1. count: how many.
    gt_class_ids: not used; kept for the callers' sake. gt_boxes: [num_instances, 4] in pixels.
    rng: where random numbers come from; None: NumPy's global generator.
    Returns int32 [count, (y1, x1, y2, x2)] in pixels; no region is empty.
    """
    rng = rng or np.random
    height, width = image_shape[:2]
    per_box = int(0.9 * count / len(gt_boxes)) if len(gt_boxes) else 0
    rois = []
    for y1, x1, y2, x2 in gt_boxes:
        around_y = max(y1 - (y2 - y1), 0), min(y2 + (y2 - y1), height)
        around_x = max(x1 - (x2 - x1), 0), min(x2 + (x2 - x1), width)
        rois.append(_random_boxes(per_box, around_y, around_x, image_shape, rng))
    rest = count - per_box * len(gt_boxes)
    rois.append(_random_boxes(rest, (0, height), (0, width), image_shape, rng))
    return np.concatenate(rois).astype(np.int32)


def _random_boxes(
    count: int,
    y_range: tuple[int, int],
    x_range: tuple[int, int],
    image_shape: Sequence[int],
    rng: Any,
) -> np.ndarray:
    # Two different coordinates need a range of two pixels; around an empty box there is none.
    if y_range[1] - y_range[0] < 2:
        y_range = (0, image_shape[0])
    if x_range[1] - x_range[0] < 2:
        x_range = (0, image_shape[1])
    while True:
        ys = rng.randint(*y_range, (2 * count, 2))
        xs = rng.randint(*x_range, (2 * count, 2))
        ys = ys[ys[:, 0] != ys[:, 1]][:count]
        xs = xs[xs[:, 0] != xs[:, 1]][:count]
        if len(ys) == len(xs) == count:
            break
    (y1, y2), (x1, x2) = np.sort(ys, axis=1).T, np.sort(xs, axis=1).T
    return np.stack([y1, x1, y2, x2], axis=1)  # [count, 4]


def _choose(best_iou: np.ndarray, config: Config, rng: Any) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the positives and of the background, TRAIN_ROIS_PER_IMAGE in all."""
    wanted = config.TRAIN_ROIS_PER_IMAGE
    positive = _at_most(
        np.flatnonzero(best_iou > 0.5), int(wanted * config.ROI_POSITIVE_RATIO), rng
    )
    background = _at_most(np.flatnonzero(best_iou < 0.5), wanted - len(positive), rng)
    missing = wanted - len(positive) - len(background)
    if missing and len(background):
        repeated = rng.choice(background, missing, replace=True)
        return positive, np.concatenate([background, repeated])
    if missing and len(positive):
        repeated = rng.choice(positive, missing, replace=True)
        return np.concatenate([positive, repeated]), background
    if missing:
        raise ValueError(
            f"None of {len(best_iou)} regions is an instance (IoU above 0.5) or background "
            "(below 0.5): there is nothing to train the heads on. Give more regions, for "
            "example random ones."
        )
    return positive, background


def _at_most(ids: np.ndarray, most: int, rng: Any) -> np.ndarray:
    return rng.choice(ids, most, replace=False) if len(ids) > most else ids
