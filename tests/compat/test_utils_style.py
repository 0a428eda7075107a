"""`utils` and the helpers of `model`, called as three or more repositories call them."""

import numpy as np
import pytest

import mrcnn.utils as utils
from mrcnn import model as modellib
from mrcnn.model import log, mold_image
from mrcnn.utils import compute_ap, compute_overlaps, extract_bboxes


@pytest.fixture
def gt(dataset):
    """A picture with two instances: (image, meta, class ids, boxes, masks)."""
    from old_dataset import InferenceConfig

    return modellib.load_image_gt(dataset, InferenceConfig(), 0, use_mini_mask=False)


@pytest.mark.parametrize("more", [(), (0.75,)], ids=["7 positional", "8 positional"])
def test_compute_ap(gt, more):
    """Found exactly, with the scores in any order, is an AP of 1."""
    image, meta, class_ids, bbox, mask = gt
    scores = np.array([0.6, 0.9])
    AP, precisions, recalls, overlaps = compute_ap(
        bbox, class_ids, mask, bbox, class_ids, scores, mask, *more
    )
    assert pytest.approx(1, abs=1e-9) == AP  # recalls add up in float64
    assert precisions[0] == 1 and recalls[-1] == 1 and overlaps.shape == (2, 2)


def test_compute_ap_by_keyword_and_range(gt, capsys):
    image, meta, class_ids, bbox, mask = gt
    scores = np.array([0.6, 0.9])
    found = (bbox, class_ids, mask, bbox, class_ids, scores, mask)
    assert utils.compute_ap(*found, iou_threshold=0.9)[0] == pytest.approx(1, abs=1e-9)
    names = ("gt_boxes", "gt_class_ids", "gt_masks")
    names += ("pred_boxes", "pred_class_ids", "pred_scores", "pred_masks")
    assert utils.compute_ap(**dict(zip(names, found)))[0] == pytest.approx(1, abs=1e-9)
    assert utils.compute_ap_range(*found, verbose=0) == pytest.approx(1, abs=1e-9)
    assert capsys.readouterr().out == ""
    utils.compute_ap_range(*found, verbose=1)
    assert "0.95" in capsys.readouterr().out


def test_boxes(gt):
    image, meta, class_ids, bbox, mask = gt
    np.testing.assert_array_equal(extract_bboxes(mask), bbox)
    assert compute_overlaps(bbox, bbox).diagonal().tolist() == [1, 1]
    np.testing.assert_array_equal(utils.apply_box_deltas(bbox * 1.0, np.zeros((2, 4))), bbox)
    normalized = utils.norm_boxes(bbox, image.shape[:2])
    np.testing.assert_array_equal(utils.denorm_boxes(normalized, image.shape[:2]), bbox)
    assert sorted(utils.non_max_suppression(bbox, np.array([0.6, 0.9]), 0.3)) == [0, 1]


def test_masks_and_images_resized(gt):
    image, meta, class_ids, bbox, mask = gt
    molded, window, scale, padding, crop = utils.resize_image(
        image[:40], min_dim=64, max_dim=128, mode="square"
    )
    assert (molded.shape, window, scale) == ((128, 128, 3), (32, 13, 96, 115), 1.6)
    for resized in (
        utils.resize_mask(mask[:40], scale, padding),
        utils.resize_mask(mask[:40], scale, padding, crop),
    ):
        assert resized.shape == (128, 128, 2)
    resized = utils.resize_image(image, min_dim=64, min_scale=0, max_dim=64, mode="square")
    np.testing.assert_array_equal(resized[0], image)
    mini = utils.minimize_mask(bbox, mask, (28, 28))
    expanded = utils.expand_mask(bbox, mini, image.shape)
    assert expanded.shape == mask.shape and (expanded != mask).mean() < 0.05  # corners round off


def test_molding(gt):
    from old_dataset import InferenceConfig

    image, meta, *_ = gt
    molded = mold_image(image, InferenceConfig())
    # A mean of one decimal, subtracted and added in float32 and cut down, may lose one step.
    restored = modellib.unmold_image(molded, InferenceConfig()).astype(int)
    assert abs(restored - image).max() <= 1
    parsed = modellib.parse_image_meta(meta[None])
    assert parsed["image_id"][0] == 0 and parsed["original_image_shape"].tolist() == [[64, 64, 3]]


def test_log(gt, capsys):
    image, *_ = gt
    log("image", image)
    log("a text alone")
    printed = capsys.readouterr().out
    assert "image " in printed and "(64, 64, 3)" in printed and "uint8" in printed
    assert printed.endswith("a text alone\n")
