"""How good detections are: matches with the ground truth, AP, recall.

gt_*:    the labelled instances; pred_*: the detections of the same picture
boxes:   [num, (y1, x1, y2, x2)] in pixels; rows of zeros at the end are padding
masks:   bool [height, width, num]
IoU is that of masks. AP is the area under the precision-recall curve of one picture, with
precision made to fall monotonically (PASCAL VOC from 2010 on).
"""

from collections.abc import Sequence

import numpy as np

from mrcnn.geometry.boxes import compute_overlaps, trim_zeros
from mrcnn.geometry.masks import compute_overlaps_masks


def compute_matches(
    gt_boxes: np.ndarray,
    gt_class_ids: np.ndarray,
    gt_masks: np.ndarray,
    pred_boxes: np.ndarray,
    pred_class_ids: np.ndarray,
    pred_scores: np.ndarray,
    pred_masks: np.ndarray,
    iou_threshold: float = 0.5,
    score_threshold: float = 0.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Match detections with instances, the highest score first, each at most once.

    iou_threshold: least IoU of a match. score_threshold: see the NOTE in the code.
    Returns
        gt_match: float64 [num_gt]: index of the matched detection, or -1
        pred_match: float64 [num_pred]: index of the matched instance, or -1
        overlaps: float32 [num_pred, num_gt]: IoU of the masks
    Detections are counted by falling score in all three.
    """
    pred_class_ids, overlaps = _ranked(
        gt_boxes, gt_masks, pred_boxes, pred_class_ids, pred_scores, pred_masks
    )
    matches = _match(overlaps, pred_class_ids, gt_class_ids, iou_threshold, score_threshold)
    return *matches, overlaps


def compute_ap(
    gt_boxes: np.ndarray,
    gt_class_ids: np.ndarray,
    gt_masks: np.ndarray,
    pred_boxes: np.ndarray,
    pred_class_ids: np.ndarray,
    pred_scores: np.ndarray,
    pred_masks: np.ndarray,
    iou_threshold: float = 0.5,
) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Average precision of one picture at one IoU threshold, over all its classes together.

    NOTE: averaged over pictures this is neither VOC's nor COCO's mAP, which rank the detections
    of all pictures together, class by class; it is what Matterport's users compare with.
    Returns
        mAP: the average precision, 0..1; 0 for a picture without instances
        precisions, recalls: [num_pred + 2], the points of the curve and its two ends
        overlaps: float32 [num_pred, num_gt]: IoU of the masks
    """
    _, pred_match, overlaps = compute_matches(
        gt_boxes,
        gt_class_ids,
        gt_masks,
        pred_boxes,
        pred_class_ids,
        pred_scores,
        pred_masks,
        iou_threshold,
    )
    return *_average_precision(pred_match, overlaps.shape[1]), overlaps


def compute_ap_range(
    gt_box: np.ndarray,
    gt_class_id: np.ndarray,
    gt_mask: np.ndarray,
    pred_box: np.ndarray,
    pred_class_id: np.ndarray,
    pred_score: np.ndarray,
    pred_mask: np.ndarray,
    iou_thresholds: Sequence[float] | np.ndarray | None = None,
    verbose: int = 1,
) -> float:
    """Mean of `compute_ap` over IoU thresholds, by default COCO's 0.5, 0.55, .. 0.95.

    verbose: 1 prints the AP at each threshold. Returns the mean, 0..1.
    """
    if iou_thresholds is None:
        iou_thresholds = np.arange(0.5, 1.0, 0.05)
    pred_class_id, overlaps = _ranked(
        gt_box, gt_mask, pred_box, pred_class_id, pred_score, pred_mask
    )
    aps = []
    for threshold in iou_thresholds:
        _, pred_match = _match(overlaps, pred_class_id, gt_class_id, threshold, 0.0)
        aps.append(_average_precision(pred_match, overlaps.shape[1])[0])
        if verbose:
            print(f"AP @{threshold:.2f}:\t {aps[-1]:.3f}")
    mean = float(np.mean(aps))
    if verbose:
        print(f"AP @{iou_thresholds[0]:.2f}-{iou_thresholds[-1]:.2f}:\t {mean:.3f}")
    return mean


def compute_recall(
    pred_boxes: np.ndarray, gt_boxes: np.ndarray, iou: float
) -> tuple[float, np.ndarray]:
    """Share of the instances that some predicted box finds, whatever its class.

    pred_boxes: [num_pred, 4]; gt_boxes: [num_gt, 4], in one unit; iou: least IoU of boxes.
    A predicted box counts for the instance it overlaps most.
    Returns recall, 0..1 (0 without instances), and the indices [num_positives] of the predicted
    boxes that found one.
    """
    overlaps = compute_overlaps(pred_boxes, gt_boxes)  # [num_pred, num_gt]
    if overlaps.size == 0:
        return 0.0, np.zeros(0, np.int64)
    positive_ids = np.flatnonzero(overlaps.max(axis=1) >= iou)
    found = np.unique(overlaps[positive_ids].argmax(axis=1))
    return len(found) / len(gt_boxes), positive_ids


def _ranked(
    gt_boxes: np.ndarray,
    gt_masks: np.ndarray,
    pred_boxes: np.ndarray,
    pred_class_ids: np.ndarray,
    pred_scores: np.ndarray,
    pred_masks: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Class ids [num_pred] and mask IoU [num_pred, num_gt], by falling score, padding off."""
    num_gt, num_pred = len(trim_zeros(gt_boxes)), len(trim_zeros(pred_boxes))
    order = np.argsort(pred_scores[:num_pred])[::-1]
    overlaps = compute_overlaps_masks(pred_masks[..., order], gt_masks[..., :num_gt])
    return pred_class_ids[order], overlaps


def _match(
    overlaps: np.ndarray,
    pred_class_ids: np.ndarray,
    gt_class_ids: np.ndarray,
    iou_threshold: float,
    score_threshold: float,
) -> tuple[np.ndarray, np.ndarray]:
    num_pred, num_gt = overlaps.shape
    gt_match, pred_match = np.full(num_gt, -1.0), np.full(num_pred, -1.0)
    # NOTE: in the original score_threshold bounds the IoU, not the score; kept, so that both
    # thresholds together are the larger one.
    least = max(iou_threshold, score_threshold)
    for i in range(num_pred):
        for j in np.argsort(overlaps[i])[::-1]:
            if overlaps[i, j] < least:
                break
            if gt_match[j] < 0 and pred_class_ids[i] == gt_class_ids[j]:
                gt_match[j], pred_match[i] = i, j
                break
    return gt_match, pred_match


def _average_precision(pred_match: np.ndarray, num_gt: int) -> tuple[float, np.ndarray, np.ndarray]:
    found = np.cumsum(pred_match > -1)  # [num_pred]
    precisions = found / np.arange(1, len(found) + 1)
    recalls = found / max(num_gt, 1)
    precisions = np.concatenate([[0.0], precisions, [0.0]])  # [num_pred + 2]
    recalls = np.concatenate([[0.0], recalls, [1.0]])  # [num_pred + 2]
    precisions = np.maximum.accumulate(precisions[::-1])[::-1]
    area = np.sum(np.diff(recalls) * precisions[1:])
    return float(area), precisions, recalls
