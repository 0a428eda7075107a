import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.data.roi_targets import build_detection_targets, generate_random_rois


class SmallConfig(Config):
    NUM_CLASSES = 3
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 128
    TRAIN_ROIS_PER_IMAGE = 6
    ROI_POSITIVE_RATIO = 0.5
    USE_MINI_MASK = False


def boxes_of(*boxes):
    return np.array(boxes, np.int32).reshape(-1, 4)


ON_IT, BESIDE = (10, 10, 30, 40), (70, 70, 90, 90)
MASK = np.zeros((128, 128, 1), bool)
MASK[10:30, 10:40] = True


def test_positives_first_then_background_repeated():
    rois = boxes_of(BESIDE, ON_IT)
    chosen, class_ids, bboxes, masks = build_detection_targets(
        rois, np.array([2]), boxes_of(ON_IT), MASK, SmallConfig()
    )
    assert chosen.tolist() == [list(ON_IT)] + [list(BESIDE)] * 5
    assert class_ids.tolist() == [2, 0, 0, 0, 0, 0]
    assert bboxes.shape == (6, 3, 4) and not bboxes.any()
    assert masks.shape == (6, 28, 28, 3) and masks[0, :, :, 2].all()
    assert masks.sum() == 28 * 28


def test_an_instance_fills_the_half_of_a_region_that_it_covers():
    wide = boxes_of((10, 10, 30, 66))  # 20x56 around 20x30: IoU 0.54
    _, _, bboxes, masks = build_detection_targets(
        wide, np.array([1]), boxes_of(ON_IT), MASK, SmallConfig()
    )
    assert masks[0, :, :14, 1].all() and not masks[0, :, 16:, 1].any()
    # dx = (25 - 38) / 56 / 0.1, log(dw) = log(30 / 56) / 0.2; float32
    expected = [0, -2.321429, 0, -3.120772]
    np.testing.assert_allclose(bboxes[0, 1], expected, rtol=1e-6)


def test_crowds_and_pictures_without_instances_give_background():
    for class_ids, boxes, masks in [
        (np.array([-1]), boxes_of(ON_IT), MASK),
        (np.zeros(0, int), boxes_of(), MASK[:, :, :0]),
    ]:
        rois = boxes_of(ON_IT, BESIDE)
        _, found, bboxes, masks = build_detection_targets(
            rois, class_ids, boxes, masks, SmallConfig()
        )
        assert len(found) == 6 and not found.any() and not bboxes.any() and not masks.any()


def test_no_region_is_an_error_that_says_so():
    with pytest.raises(ValueError, match="None of 0 regions"):
        build_detection_targets(boxes_of(), np.array([1]), boxes_of(ON_IT), MASK, SmallConfig())


@pytest.mark.parametrize(
    "gt_boxes", [boxes_of(), boxes_of(ON_IT, BESIDE), boxes_of((5, 5, 5, 5), (0, 0, 1, 1))]
)
def test_random_regions_lie_inside_and_are_never_empty(gt_boxes):
    rois = generate_random_rois((100, 120, 3), 50, np.ones(len(gt_boxes), int), gt_boxes)
    assert rois.shape == (50, 4) and rois.dtype == np.int32
    assert (rois[:, 2:] > rois[:, :2]).all()
    assert (rois >= 0).all() and (rois[:, 2:] <= [100, 120]).all()
