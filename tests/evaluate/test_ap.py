import warnings

import numpy as np
import pytest

from mrcnn.evaluate.ap import compute_ap, compute_ap_range, compute_matches, compute_recall


def instances(*boxes, pad=0):
    """Boxes [num + pad, 4] and the masks [100, 100, num] that fill them."""
    masks = np.zeros((100, 100, len(boxes)), bool)
    for i, (y1, x1, y2, x2) in enumerate(boxes):
        masks[y1:y2, x1:x2, i] = True
    return np.array([*boxes, *[[0] * 4] * pad], np.int32).reshape(-1, 4), masks


A, B, C = (0, 0, 10, 10), (20, 20, 30, 40), (60, 60, 80, 80)
A_HALF = (0, 0, 10, 6)  # IoU 0.6 with A


def test_the_higher_score_wins_an_instance():
    gt_boxes, gt_masks = instances(A, B, pad=3)
    pred_boxes, pred_masks = instances(A_HALF, A, C, B)
    gt_match, pred_match, overlaps = compute_matches(
        gt_boxes,
        np.array([1, 2, 0, 0, 0]),
        gt_masks,
        pred_boxes,
        np.array([1, 1, 1, 2]),
        np.array([0.9, 0.8, 0.7, 0.6]),
        pred_masks,
    )
    assert pred_match.tolist() == [0, -1, -1, 1] and gt_match.tolist() == [0, 3]
    np.testing.assert_allclose(overlaps[:, 0], [0.6, 1, 0, 0], rtol=1e-6)  # float32


def test_detections_are_ranked_by_score_and_classes_must_agree():
    gt_boxes, gt_masks = instances(A, B)
    pred_boxes, pred_masks = instances(A, B)
    arguments = gt_boxes, np.array([1, 2]), gt_masks, pred_boxes, np.array([2, 2])
    gt_match, pred_match, _ = compute_matches(*arguments, np.array([0.1, 0.9]), pred_masks)
    assert pred_match.tolist() == [1, -1] and gt_match.tolist() == [-1, 0]


def test_average_precision_by_hand():
    gt_boxes, gt_masks = instances(A, B)
    pred_boxes, pred_masks = instances(C, A, B)
    ap, precisions, recalls, _ = compute_ap(
        gt_boxes,
        np.array([1, 1]),
        gt_masks,
        pred_boxes,
        np.array([1, 1, 1]),
        np.array([0.9, 0.8, 0.7]),
        pred_masks,
    )
    # wrong, right, right: precision 0, 1/2, 2/3, made to fall from 2/3; recall 0, 1/2, 1
    np.testing.assert_allclose(precisions, [2 / 3, 2 / 3, 2 / 3, 2 / 3, 0])
    np.testing.assert_allclose(recalls, [0, 0, 0.5, 1, 1])
    assert ap == pytest.approx(2 / 3)


def test_range_is_the_mean_of_its_thresholds(capsys):
    gt_boxes, gt_masks = instances(A)
    pred_boxes, pred_masks = instances(A_HALF)
    one = np.array([1])
    arguments = gt_boxes, one, gt_masks, pred_boxes, one, one, pred_masks
    assert compute_ap_range(*arguments) == pytest.approx(0.3)  # right at 0.5, 0.55 and 0.6
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 11 and printed[-1] == "AP @0.50-0.95:\t 0.300"
    assert compute_ap_range(*arguments, iou_thresholds=[0.5], verbose=0) == 1
    assert capsys.readouterr().out == ""


def test_recall_counts_instances_once():
    gt_boxes, _ = instances(A, B)
    pred_boxes, _ = instances(C, A, A_HALF)
    recall, positive_ids = compute_recall(pred_boxes, gt_boxes, 0.5)
    assert recall == 0.5 and positive_ids.tolist() == [1, 2]


@pytest.mark.parametrize("gt, pred", [((), ()), ((A,), ()), ((), (A, B))])
def test_nothing_to_find_or_nothing_found_is_zero_and_silent(gt, pred):
    gt_boxes, gt_masks = instances(*gt, pad=1)
    pred_boxes, pred_masks = instances(*pred)
    gt_ids, pred_ids = np.ones(len(gt_boxes), int), np.ones(len(pred_boxes), int)
    scores = np.ones(len(pred_boxes))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ap, precisions, recalls, overlaps = compute_ap(
            gt_boxes, gt_ids, gt_masks, pred_boxes, pred_ids, scores, pred_masks
        )
        recall, positive_ids = compute_recall(pred_boxes, gt_boxes[:-1], 0.5)
    assert ap == recall == 0 and len(positive_ids) == 0
    assert overlaps.shape == (len(pred), len(gt)) and len(precisions) == len(pred) + 2
