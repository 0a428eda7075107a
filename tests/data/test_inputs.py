import warnings

import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.data.dataset import Dataset
from mrcnn.data.inputs import build_rpn_targets, load_image_gt
from mrcnn.geometry.boxes import compute_overlaps


class SmallConfig(Config):
    NUM_CLASSES = 3
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 128


class OnePicture(Dataset):
    """A 64x64 picture, dark left and bright right, with what masks and ids a test gives it."""

    def __init__(self, mask=None, class_ids=(1,)):
        super().__init__()
        self.add_class("toy", 1, "square")
        self.add_class("toy", 2, "disc")
        self.add_image("toy", "p7", "photos/p7.png")
        self.prepare()
        if mask is None:
            mask = np.zeros((64, 64, 1), np.uint8)
            mask[10:30, 5:20] = 255
        self.mask, self.class_ids = mask, class_ids

    def load_image(self, image_id):
        return np.repeat(np.arange(64, dtype=np.uint8)[None, :, None], 64, 0).repeat(3, 2)

    def load_mask(self, image_id):
        return self.mask, self.class_ids


def test_full_masks_unless_mini_ones_are_asked_for():
    config = SmallConfig()
    assert config.USE_MINI_MASK
    *_, bbox, full = load_image_gt(OnePicture(), config, 0)
    assert full.shape == (128, 128, 1) and full.dtype == bool
    mini = load_image_gt(OnePicture(), config, 0, use_mini_mask=True)[-1]
    assert mini.shape == (56, 56, 1) and mini.all()
    y1, x1, y2, x2 = bbox[0]
    assert full[y1:y2, x1:x2].all() and full.sum() == (y2 - y1) * (x2 - x1)


@pytest.mark.parametrize("empty", [np.zeros((0, 0, 0)), np.zeros((64, 64, 0), bool), np.zeros(0)])
@pytest.mark.parametrize("use_mini_mask", [False, True])
def test_a_picture_without_instances(empty, use_mini_mask):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image, meta, class_ids, bbox, mask = load_image_gt(
            OnePicture(empty, []), SmallConfig(), 0, use_mini_mask=use_mini_mask
        )
    side = 56 if use_mini_mask else 128
    assert image.shape == (128, 128, 3) and mask.shape == (side, side, 0)
    assert class_ids.shape == (0,) and bbox.shape == (0, 4)
    assert meta[12:].tolist() == [1, 1, 1]


def test_instances_without_a_pixel_are_dropped():
    mask = np.zeros((64, 64, 2), bool)
    mask[5:9, 5:9, 1] = True
    _, _, class_ids, bbox, _ = load_image_gt(OnePicture(mask, [1, 2]), SmallConfig(), 0)
    assert class_ids.tolist() == [2] and len(bbox) == 1


@pytest.mark.parametrize(
    "mask, class_ids, message",
    [
        (np.ones((64, 64, 2)), [1], "2 masks and 1 class ids"),
        (np.ones((64, 64)), [1], r"shape \(64, 64\)"),
        (np.ones((64, 32, 1)), [1], "64x32 and the picture is 64x64"),
        (np.ones((64, 64, 1)), [3], r"class ids \[3\]; .* from 1 to 2"),
        (np.ones((64, 64, 2)), [0, -4], r"class ids \[-4, 0\]"),
    ],
)
def test_what_does_not_fit_names_the_picture(mask, class_ids, message):
    with pytest.raises(ValueError, match=r"Picture 0 \(toy.p7, photos/p7.png\): .*" + message):
        load_image_gt(OnePicture(mask, class_ids), SmallConfig(), 0)


def test_crowds_keep_their_negative_id():
    dataset = OnePicture(class_ids=[-2])
    assert load_image_gt(dataset, SmallConfig(), 0)[2].tolist() == [-2]


def test_an_unprepared_dataset_is_told_to_prepare():
    dataset = OnePicture()
    del dataset.num_classes
    with pytest.raises(ValueError, match="prepare"):
        load_image_gt(dataset, SmallConfig(), 0)


def test_the_old_flip_warns_and_moves_both(monkeypatch):
    monkeypatch.setattr("random.randint", lambda low, high: 1)
    plain = load_image_gt(OnePicture(), SmallConfig(), 0)
    with pytest.warns(DeprecationWarning, match="augmentation"):
        flipped = load_image_gt(OnePicture(), SmallConfig(), 0, augment=True)
    np.testing.assert_array_equal(flipped[0], plain[0][:, ::-1])
    np.testing.assert_array_equal(flipped[4], plain[4][:, ::-1])


class Fliplr:
    """Stands in for imgaug: a tree whose brightness part must not reach the masks."""

    class Add:
        pass

    def to_deterministic(self):
        return self

    def augment_image(self, image, hooks=None):
        if hooks is None or hooks.is_activated([image], self, [], True):
            image = image[:, ::-1]
        if hooks is None or hooks.is_activated([image], self.Add(), [self], True):
            image = image + np.uint8(1)
        return image


def test_augmentation_moves_masks_and_leaves_their_values():
    plain = load_image_gt(OnePicture(), SmallConfig(), 0)
    augmented = load_image_gt(OnePicture(), SmallConfig(), 0, augmentation=Fliplr())
    np.testing.assert_array_equal(augmented[0], plain[0][:, ::-1] + np.uint8(1))
    np.testing.assert_array_equal(augmented[4], plain[4][:, ::-1])


def test_augmentation_must_keep_the_size():
    class Crop(Fliplr):
        def augment_image(self, image, hooks=None):
            return image[:100]

    with pytest.raises(ValueError, match=r"\(128, 128, 3\) to \(100, 128, 3\)"):
        load_image_gt(OnePicture(), SmallConfig(), 0, augmentation=Crop())


ANCHORS = np.array([[0, 0, 32, 32], [0, 8, 32, 40], [0, 16, 32, 48], [64, 64, 96, 96]], float)


def rpn_targets(class_ids, boxes, anchors=ANCHORS, anchors_per_image=256):
    config = SmallConfig()
    config.RPN_TRAIN_ANCHORS_PER_IMAGE = anchors_per_image
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        boxes = np.array(boxes, np.int32).reshape(-1, 4)
        return build_rpn_targets((128, 128, 3), anchors, np.array(class_ids), boxes, config)


def test_anchors_by_overlap():
    match, bbox = rpn_targets([1], [[0, 0, 32, 32]])  # IoU 1, 0.6, 1/3, 0
    assert match.tolist() == [1, 0, 0, -1]
    assert bbox.shape == (256, 4) and not bbox.any()


def test_deltas_of_the_positives_come_first():
    match, bbox = rpn_targets([1], [[0, 0, 32, 64]])  # IoU 0.5 with three anchors
    assert match.tolist() == [1, 1, 1, -1]
    # centers 16, 8, 0 pixels apart over a width of 32, and a doubled width; over 0.1 and 0.2
    expected = [[0, dx, 0, np.log(2) / 0.2] for dx in (5, 2.5, 0)]
    np.testing.assert_allclose(bbox[:3], expected, rtol=1e-12)


def test_anchors_in_a_crowd_are_neutral():
    match, _ = rpn_targets([1, -2], [[0, 0, 32, 32], [60, 60, 100, 100]])
    assert match.tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("class_ids, boxes", [([], []), ([1], [[5, 5, 5, 5]])])
def test_without_a_box_to_find_every_anchor_is_negative(class_ids, boxes):
    match, bbox = rpn_targets(class_ids, boxes)
    assert (match == -1).all() and not bbox.any()


def test_no_more_anchors_than_asked_for():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 90, (400, 2))
    anchors = np.concatenate([corner, corner + 30], axis=1)
    boxes = anchors[:12].astype(np.int32)
    match, bbox = rpn_targets([1] * 12, boxes, anchors, anchors_per_image=16)
    assert (match == 1).sum() == 8 and (match == -1).sum() == 8
    assert bbox.shape == (16, 4) and bbox[:8].any(axis=1).all() and not bbox[8:].any()
    assert (compute_overlaps(anchors[match == -1], boxes) < 0.3).all()
