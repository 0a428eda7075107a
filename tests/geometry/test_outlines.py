"""Outlines of masks: exact, simple enough to correct by hand, and one polygon for an instance."""

import time

import numpy as np
import pytest
import skimage.draw
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mrcnn.geometry.outlines import is_hole, mask_iou, outline, simplifications, trace


def rasterised(polygon: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """As the readers of VIA and LabelMe files do it."""
    mask = np.zeros(shape, bool)
    mask[skimage.draw.polygon(polygon[:, 0], polygon[:, 1], shape)] = True
    return mask


def mask_of(text: str) -> np.ndarray:
    return np.array([[letter == "#" for letter in line] for line in text.split()])


PIXEL = mask_of("... .#. ...")
DIAGONAL = mask_of("#.# .#. #.#")
RING = mask_of("##### #...# #.#.# #...# #####")
PARTS = mask_of("##..#.## ##....## ........ #......# ..##....")

noise = arrays.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))


@st.composite
def blobs(draw) -> np.ndarray:
    """Several ellipses in a picture, some of them holes, some across the border."""
    shape = draw(st.tuples(st.integers(20, 70), st.integers(20, 70)))
    mask = np.zeros(shape, bool)
    for _ in range(draw(st.integers(1, 5))):
        y, x = draw(st.integers(-3, shape[0] + 3)), draw(st.integers(-3, shape[1] + 3))
        radii = draw(st.integers(1, 25)), draw(st.integers(1, 25))
        turn = draw(st.floats(0, 3))
        rows, columns = skimage.draw.ellipse(y, x, *radii, shape, rotation=turn)
        mask[rows, columns] = draw(st.booleans())
    return mask


EXAMPLES = [PIXEL, DIAGONAL, RING, PARTS, np.ones((1, 1), bool), np.ones((1, 7), bool)]
EXAMPLES += [np.ones((6, 5), bool), np.eye(4, dtype=bool), ~RING]


@pytest.mark.parametrize("mask", EXAMPLES)
def test_exact_outlines_of_difficult_masks(mask):
    np.testing.assert_array_equal(rasterised(outline(mask, 1), mask.shape), mask)
    layers = [rasterised(loop, mask.shape) for loop in trace(mask)]
    np.testing.assert_array_equal(np.logical_xor.reduce(layers), mask)


@settings(max_examples=300, deadline=None)
@given(noise | blobs())
@example(np.ones((9, 9), bool) ^ np.pad(np.ones((1, 1), bool), 4))
def test_an_exact_outline_gives_back_the_same_pixels(mask):
    polygon = outline(mask, 1)
    if mask.any():
        np.testing.assert_array_equal(rasterised(polygon, mask.shape), mask)
    else:
        assert len(polygon) == 0


@settings(max_examples=300, deadline=None)
@given(noise | blobs())
def test_a_simple_outline_keeps_the_mask_and_the_picture(mask):
    polygon = outline(mask)
    if mask.any():
        assert mask_iou(rasterised(polygon, mask.shape), mask) >= 0.98
    assert len(polygon) <= len(outline(mask, 1))
    for points, size in zip(polygon.T, mask.shape):
        if size > 1 and len(points):
            assert points.min() >= 0 and points.max() <= size - 1  # where LabelMe allows them


def test_parts_and_holes_are_told_apart():
    assert [is_hole(loop) for loop in trace(RING)] == [False, True, False]
    assert [is_hole(loop) for loop in trace(PARTS)] == [False] * 6
    assert len(trace(DIAGONAL)) == 1  # pixels that touch at a corner are one part
    assert trace(np.zeros((3, 3), bool)) == []


def test_a_person_gets_few_points_to_drag():
    disk = np.zeros((200, 200), bool)
    disk[skimage.draw.disk((100, 100), 60)] = True
    rectangle = np.zeros((50, 60), bool)
    rectangle[10:40, 20:50] = True
    assert len(outline(disk)) <= 24
    assert len(outline(rectangle)) == 4
    assert len(outline(disk)) < len(outline(disk, 1)) / 3


def test_simplifying_never_loses_a_part():
    mask = np.zeros((300, 300), bool)
    mask[skimage.draw.disk((150, 150), 120)] = True
    mask[2:4, 2:4] = True  # 4 of 45,000 pixels: their IoU would let them go
    for loops in simplifications(trace(mask)):
        assert len(loops) == 2 and all(len(loop) > 2 for loop in loops)
    assert rasterised(outline(mask), mask.shape)[2:4, 2:4].any()


def test_two_hundred_instances_take_well_under_a_second():
    rng = np.random.default_rng(0)
    masks = np.zeros((512, 512, 200), bool)
    for i in range(200):
        y, x = rng.integers(0, 512, 2)
        ellipse = skimage.draw.ellipse(y, x, *rng.integers(5, 40, 2), (512, 512), rotation=1)
        masks[(*ellipse, i)] = True
    began = time.process_time()
    for i in range(200):
        outline(masks[..., i])
    assert time.process_time() - began < 2  # about 0.2 s; a slow machine gets ten times that
