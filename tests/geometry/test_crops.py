"""Masks cut to their boxes go the same ways as full ones, pixel for pixel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrcnn.data.images import resize_image
from mrcnn.geometry.boxes import extract_bboxes
from mrcnn.geometry.crops import MaskCrops
from mrcnn.geometry.masks import minimize_mask, resize_mask

seeds = st.integers(0, 2**32 - 1)


def some_masks(rng):
    """Up to four masks of blobs, dust or nothing, bool [height, width, n]."""
    height, width = rng.integers(1, 40, 2)
    masks = np.zeros((height, width, rng.integers(0, 5)), bool)
    for i in range(masks.shape[-1]):
        y, x = rng.integers(0, height), rng.integers(0, width)
        area = masks[y : y + rng.integers(0, 20), x : x + rng.integers(0, 20), i]
        area[...] = rng.random(area.shape) < rng.choice([0.02, 0.5, 1])
    return masks


def loosely_cut(masks, rng):
    """Boxes with a margin of up to three pixels."""
    tight = MaskCrops.from_masks(masks)
    boxes = (
        tight.boxes + np.concatenate([-rng.integers(0, 4, (2, 1)), rng.integers(0, 4, (2, 1))]).T
    )
    boxes = np.clip(boxes, 0, [*masks.shape[:2]] * 2)
    pieces = [masks[y1:y2, x1:x2, i] for i, (y1, x1, y2, x2) in enumerate(boxes)]
    return MaskCrops(masks.shape, boxes, pieces)


def resizing(masks, rng):
    """Arguments of resize_mask, as resize_image returns them for a picture of that size."""
    height, width = masks.shape[:2]
    mode = rng.choice(["none", "square", "pad64", "crop"])
    side = int(rng.choice([64, 128]) if mode == "pad64" else rng.integers(1, 70))
    image = np.zeros((height, width, 3), np.uint8)
    least = 0 if mode == "square" else side
    _, _, scale, padding, crop = resize_image(
        image, min_dim=least, max_dim=side, min_scale=rng.choice([0, 1.7]), mode=mode
    )
    return scale, padding, crop


def assert_same(crops, masks):
    assert crops.shape == masks.shape and len(crops) == masks.shape[-1]
    np.testing.assert_array_equal(crops.full(), masks)
    tight = crops.tight()
    boxes = extract_bboxes(masks)
    np.testing.assert_array_equal(tight.boxes, boxes)
    assert tight.boxes.dtype == boxes.dtype
    seen = boxes[:, 2] > 0
    np.testing.assert_array_equal(
        tight.kept(seen).minimized((9, 14)), minimize_mask(boxes[seen], masks[:, :, seen], (9, 14))
    )


@settings(max_examples=300, deadline=None)
@given(seeds)
def test_crops_go_the_way_of_full_masks(seed):
    rng = np.random.default_rng(seed)
    masks = some_masks(rng)
    crops = MaskCrops.from_masks(masks) if rng.random() < 0.5 else loosely_cut(masks, rng)
    assert_same(crops, masks)
    scale, padding, crop = resizing(masks, rng)
    if round(masks.shape[0] * scale) and round(masks.shape[1] * scale):
        masks, crops = resize_mask(masks, scale, padding, crop), crops.resized(scale, padding, crop)
        assert_same(crops, masks)
    for _ in range(3):
        number = int(rng.integers(4))
        if rng.random() < 0.5:
            masks, crops = np.flip(masks, number % 2), crops.flip(number % 2)
        else:
            masks, crops = np.rot90(masks, number), crops.rot90(number)
        assert_same(crops, masks)
    keep = rng.random(len(crops)) < 0.5
    assert_same(crops.kept(keep), masks[:, :, keep])


@settings(max_examples=200, deadline=None)
@given(seeds)
def test_taking_rows_and_columns_finds_nothing_outside(seed):
    rng = np.random.default_rng(seed)
    masks = some_masks(rng)
    rows, columns = (np.sort(rng.integers(-9, side + 9, rng.integers(0, 60))) for side in (40, 40))
    around = np.pad(masks, [(9, 60), (9, 60), (0, 0)])
    expected = around[rows + 9][:, columns + 9]
    np.testing.assert_array_equal(loosely_cut(masks, rng).take(rows, columns).full(), expected)


def test_an_instance_between_the_samples_vanishes():
    masks = np.zeros((9, 9, 1), bool)
    masks[1, 1] = True
    halved = MaskCrops.from_masks(masks).resized(5 / 9, [(0, 0)] * 3)  # rows 0, 2, 4, 6, 8
    assert halved.shape == (5, 5, 1) and halved.tight().boxes.tolist() == [[0, 0, 0, 0]]


def test_the_planes_of_full_masks_lie_one_after_the_other_if_asked():
    crops = MaskCrops((6, 5), [(1, 2, 3, 4), (0, 0, 1, 5)], [np.ones((2, 2)), np.ones((1, 5))])
    assert crops.full().flags.c_contiguous
    planes = crops.full(planes=True)
    assert planes[:, :, 0].flags.c_contiguous
    np.testing.assert_array_equal(planes, crops.full())


def test_a_tight_piece_does_not_hold_the_loose_one():
    loose = np.zeros((500, 500), bool)
    loose[7, 9] = True
    piece = MaskCrops((500, 500), [(0, 0, 500, 500)], [loose]).tight().pieces[0]
    assert piece.shape == (1, 1) and piece.base is None


@pytest.mark.parametrize(
    "boxes, pieces, message",
    [
        ([(0, 0, 2, 2)], [], "1 boxes and 0 pieces"),
        ([(0, 0, 2, 2)], [np.ones((2, 3))], r"instance 0 has the shape \(2, 3\), .* 2 high and 2"),
        ([(0, 0, 2, 2), (8, 3, 11, 4)], [np.ones((2, 2)), np.ones((3, 1))], "instance 1, .* 10x20"),
        ([(-1, 0, 1, 2)], [np.ones((2, 2))], "outside of its picture of 10x20"),
    ],
)
def test_pieces_that_do_not_fit_are_told(boxes, pieces, message):
    with pytest.raises(ValueError, match=message):
        MaskCrops((10, 20, 3), boxes, pieces)
