import numpy as np
import pytest
import scipy.ndimage
import skimage.transform
from hypothesis import given, settings
from hypothesis import strategies as st

from mrcnn.config import Config
from mrcnn.geometry import masks as M
from mrcnn.geometry.boxes import extract_bboxes

FAST = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def random_soft_mask(rng):
    """Noise over all of 0..1, or only its upper or lower part, float32."""
    low, high = rng.choice([[0, 1], [0, 0.45], [0.3, 1], [0.5, 1]])
    return rng.uniform(low, high, rng.integers(1, 40, 2)).astype(np.float32)


def random_box(rng, height, width):
    y1, x1 = rng.integers(-20, height), rng.integers(-20, width)
    return np.array([y1, x1, rng.integers(y1 + 1, height + 20), rng.integers(x1 + 1, width + 20)])


@FAST
@given(seeds)
def test_pasting_is_skimage_resize_cut_at_the_border(seed):
    rng = np.random.default_rng(seed)
    mask, (y1, x1, y2, x2) = random_soft_mask(rng), random_box(rng, 70, 90)
    pasted = M.unmold_mask(mask, np.array([y1, x1, y2, x2]), (70, 90, 3))

    around = np.zeros((130, 150), bool)  # the picture with 30 pixels of border
    around[y1 + 30 : y2 + 30, x1 + 30 : x2 + 30] = M.resize(mask, (y2 - y1, x2 - x1)) >= 0.5
    np.testing.assert_array_equal(pasted, around[30:100, 30:120])


@settings(max_examples=200, deadline=None)
@given(seeds)
def test_resizing_is_skimages_to_the_last_bit(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 60, 2)
    image = [
        rng.random((height, width)) > 0.5,
        rng.integers(0, 256, (height, width, 3)).astype(np.uint8),
        rng.integers(90, 120, (height, width, 1)).astype(np.uint8),  # 0 lies outside of its range
        rng.random((height, width)) * 5 - rng.integers(-4, 9),
    ][rng.integers(4)]
    shape = rng.integers(1, 90, 2)
    expected = skimage.transform.resize(
        image.astype(np.float64) if image.dtype == bool else image,
        shape,
        order=1,
        mode="constant",
        preserve_range=True,
        anti_aliasing=False,
    )
    resized = M.resize(image, shape, preserve_range=True)
    assert resized.dtype == expected.dtype
    np.testing.assert_array_equal(resized, expected)


@pytest.mark.parametrize("size", [15, 21, 42, 45])
def test_a_value_next_to_the_threshold_counts_as_in_skimage(size):
    # Half way between 0.3 and 0.7 lies 0.5 in float32, and a little less in float64.
    mask = np.random.default_rng(0).choice(np.float32([0.3, 0.7]), (28, 28))
    expected = M.resize(mask, (size, size)) >= 0.5
    np.testing.assert_array_equal(M.unmold_mask(mask, (0, 0, size, size), (size, size)), expected)


@FAST
@given(seeds)
def test_pasting_many_is_pasting_each(seed):
    rng = np.random.default_rng(seed)
    masks = rng.random((6, 28, 28)).astype(np.float32)
    boxes = np.array([random_box(rng, 70, 90) for _ in masks])
    pasted = M.paste_masks(masks, boxes, (70, 90))
    for i in range(6):
        np.testing.assert_array_equal(pasted[:, :, i], M.unmold_mask(masks[i], boxes[i], (70, 90)))


def test_a_large_box_is_pasted_in_strips(monkeypatch):
    mask = np.random.default_rng(0).random((1, 28, 28)).astype(np.float32)
    box = np.array([[-5, 3, 240, 190]])
    whole = M.paste_masks(mask, box, (250, 200))
    monkeypatch.setattr(M, "_PIXELS_AT_ONCE", 1000)
    np.testing.assert_array_equal(M.paste_masks(mask, box, (250, 200)), whole)


def test_boxes_that_hold_no_pixel_leave_the_mask_empty():
    masks = np.ones((3, 28, 28), np.float32)
    boxes = np.array([[10, 10, 10, 30], [0, 0, 0, 0], [200, 200, 250, 250]])
    assert not M.paste_masks(masks, boxes, (100, 100)).any()


def ellipse(height, width, y, x, ry, rx):
    ys, xs = np.ogrid[:height, :width]
    return ((ys - y) / ry) ** 2 + ((xs - x) / rx) ** 2 <= 1


@FAST
@given(st.integers(10, 28), st.integers(10, 35), st.integers(30, 70), st.integers(40, 60))
def test_mini_masks_come_back_nearly_whole(ry, rx, y, x):
    mask = ellipse(100, 100, y, x, ry, rx)[:, :, np.newaxis]
    bbox = extract_bboxes(mask)
    mini = M.minimize_mask(bbox, mask, (56, 56))
    back = M.expand_mask(bbox, mini, (100, 100, 3))
    # A mini mask is at least 0.79 of the box's size here: the outline moves by under a pixel,
    # which on a radius of 10 is less than a tenth of the area.
    assert mini.shape == (56, 56, 1) and back.dtype == bool
    assert M.compute_overlaps_masks(mask, back)[0, 0] > 0.9


@pytest.mark.parametrize("size, scale", [(60, 1.4222222), (97, 0.37), (5, 3.0), (33, 1.0)])
def test_nearest_neighbour_is_that_of_scipy(size, scale):
    mask = np.random.default_rng(0).random((size, size + 3, 2)) > 0.5
    expected = scipy.ndimage.zoom(mask, [scale, scale, 1], order=0)
    none = [(0, 0)] * 3
    np.testing.assert_array_equal(M.resize_mask(mask, scale, none), expected)


def test_resizing_never_loses_the_last_row():
    # At this scale scipy's zoom finds the last sample an ulp outside, and gives zeros.
    resized = M.resize_mask(np.ones((22, 22, 1), bool), 3.511835016810061, [(0, 0)] * 3)
    assert resized.shape == (77, 77, 1) and resized.all()


def test_molded_mask_is_the_mask_in_its_box():
    mask = np.zeros((50, 60), bool)
    mask[10:38, 5:33] = ellipse(28, 28, 13.5, 13.5, 14, 9)
    mask[10, 5] = mask[37, 32] = True  # the box is 28x28, as the mask head's grid is
    np.testing.assert_array_equal(M.mold_mask(mask, Config()), mask[10:38, 5:33])
    assert not M.mold_mask(np.zeros((50, 60), bool), Config()).any()


def test_mask_overlaps_by_hand_and_in_strips(monkeypatch):
    masks = np.zeros((40, 30, 3), bool)
    masks[:20, :, 0] = True
    masks[10:30, :, 1] = True  # masks[..., 2] stays empty
    expected = np.array([[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 0]], np.float32)
    np.testing.assert_array_equal(M.compute_overlaps_masks(masks, masks), expected)
    monkeypatch.setattr(M, "_PIXELS_AT_ONCE", 200)
    np.testing.assert_array_equal(M.compute_overlaps_masks(masks, masks), expected)


def test_a_box_without_area_is_named():
    with pytest.raises(ValueError, match=r"instance 0, .* no area"):
        M.minimize_mask(np.zeros((1, 4), int), np.ones((9, 9, 1), bool), (4, 4))


def test_no_masks_in_no_masks_out():
    no_masks, no_boxes = np.zeros((20, 30, 0), bool), np.zeros((0, 4), np.int32)
    assert M.minimize_mask(no_boxes, no_masks, (56, 56)).shape == (56, 56, 0)
    assert M.expand_mask(no_boxes, np.zeros((56, 56, 0), bool), (20, 30)).shape == (20, 30, 0)
    assert M.paste_masks(np.zeros((0, 28, 28)), no_boxes, (20, 30)).shape == (20, 30, 0)
    assert M.resize_mask(no_masks, 2.0, [(1, 1), (0, 2), (0, 0)]).shape == (42, 62, 0)
    assert M.compute_overlaps_masks(no_masks, no_masks).shape == (0, 0)
