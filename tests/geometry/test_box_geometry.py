import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrcnn.geometry import boxes as B

SIDES = (97, 131)  # height, width in pixels
FAST = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def random_boxes(seed, count=20):
    """Integer boxes inside SIDES, at least one pixel high and wide."""
    rng = np.random.default_rng(seed)
    y1, x1 = rng.integers(0, SIDES[0], count), rng.integers(0, SIDES[1], count)
    y2, x2 = rng.integers(y1 + 1, SIDES[0] + 1), rng.integers(x1 + 1, SIDES[1] + 1)
    return np.stack([y1, x1, y2, x2], axis=1)


def test_overlaps_by_hand():
    boxes = np.array([[0, 0, 10, 10], [0, 5, 10, 15], [20, 20, 30, 30]])
    expected = [[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 1]]
    np.testing.assert_allclose(B.compute_overlaps(boxes, boxes), expected, rtol=1e-15)


def test_overlaps_are_those_of_each_pair():
    rng = np.random.default_rng(0)
    corners = np.sort(rng.integers(0, 40, (300, 2, 2)), axis=1)
    boxes = corners.reshape(-1, 4).astype(np.float64)  # some have no area, most don't touch
    few = boxes[:7]
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    expected = [B.compute_iou(box, boxes, area, areas) for box, area in zip(few, areas)]
    np.testing.assert_array_equal(B.compute_overlaps(boxes, few), np.transpose(expected))


def test_overlap_of_boxes_without_area_is_zero_and_silent():
    flat = np.array([[5, 5, 5, 9], [0, 0, 0, 0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not B.compute_overlaps(flat, flat).any()


@FAST
@given(seeds)
def test_pixels_survive_normalisation(seed):
    boxes = random_boxes(seed)
    np.testing.assert_array_equal(B.denorm_boxes(B.norm_boxes(boxes, SIDES), SIDES), boxes)


@FAST
@given(seeds)
def test_deltas_are_the_inverse_of_refinement(seed):
    boxes, gt_boxes = random_boxes(seed), random_boxes(seed + 1)
    moved = B.apply_box_deltas(boxes, B.box_refinement(boxes, gt_boxes))
    # float32 of numbers up to 131, through exp(log): 1e-3 pixels is a hundred ulps.
    np.testing.assert_allclose(moved, gt_boxes, atol=1e-3)


@FAST
@given(seeds)
def test_extracted_boxes_are_tight(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((*SIDES, 5)) < rng.choice([0, 0.0005, 0.01], 5)
    for i, (y1, x1, y2, x2) in enumerate(B.extract_bboxes(mask)):
        inside = mask[y1:y2, x1:x2, i]
        assert inside.sum() == mask[:, :, i].sum()
        if inside.size:
            assert inside[[0, -1]].any(axis=1).all() and inside[:, [0, -1]].any(axis=0).all()
        else:
            assert (y1, x1, y2, x2) == (0, 0, 0, 0)


@FAST
@given(seeds, st.floats(0.1, 0.9))
def test_suppression_keeps_no_two_that_overlap(seed, threshold):
    boxes = random_boxes(seed).astype(np.float32)
    scores = np.random.default_rng(seed).random(len(boxes))
    keep = B.non_max_suppression(boxes, scores, threshold)
    overlaps = B.compute_overlaps(boxes, boxes)
    assert (np.diff(scores[keep]) <= 0).all()
    assert (overlaps[np.ix_(keep, keep)] <= np.float32(threshold))[
        ~np.eye(len(keep), dtype=bool)
    ].all()
    gone = np.setdiff1d(np.arange(len(boxes)), keep)
    assert (overlaps[np.ix_(gone, keep)] > np.float32(threshold)).any(axis=1).all()


@pytest.mark.parametrize(
    "result",
    [
        lambda none: B.extract_bboxes(np.zeros((9, 9, 0), bool)),
        lambda none: B.apply_box_deltas(none, none),
        lambda none: B.box_refinement(none, none),
        lambda none: B.norm_boxes(none, SIDES),
        lambda none: B.denorm_boxes(none, SIDES),
        lambda none: B.trim_zeros(none),
        lambda none: B.compute_overlaps(none, np.ones((3, 4))).reshape(-1, 4),
        lambda none: B.non_max_suppression(none, np.zeros(0), 0.5).reshape(-1, 4),
    ],
)
def test_no_boxes_in_no_boxes_out(result):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert result(np.zeros((0, 4))).shape == (0, 4)
