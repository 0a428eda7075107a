"""Outlines to masks: the same pixels as skimage, whatever the polygon, and in bounded time."""

import time

import numpy as np
import pytest
import skimage.draw
from hypothesis import given, settings
from hypothesis import strategies as st

from mrcnn.geometry.regions import ellipse_mask, polygon_mask

SHAPE = (20, 18)

# Halves and tenths put corners and edges exactly onto pixels; the rest is anywhere.
coordinates = st.one_of(
    st.integers(-6, 26).map(float),
    st.integers(-12, 52).map(lambda i: i / 2),
    st.integers(-60, 260).map(lambda i: i / 10),
    st.floats(-6, 26),
)
polygons = st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=12).map(np.array)


@given(polygons)
@settings(max_examples=500, deadline=None)
def test_polygons_cover_the_pixels_that_skimage_draws(points):
    expected = np.zeros(SHAPE, bool)
    expected[skimage.draw.polygon(*points.T, SHAPE)] = True
    np.testing.assert_array_equal(polygon_mask(points, SHAPE), expected)


def test_a_rectangle_includes_its_far_sides():
    mask = polygon_mask(np.array([(2, 3), (2, 6), (5, 6), (5, 3)]), (10, 10, 3))
    expected = np.zeros((10, 10), bool)
    expected[2:6, 3:7] = True
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize(
    "points",
    [
        np.zeros((0, 2)),
        np.array([(-5, -5), (-5, -2), (-2, -2)]),
        np.array([(30, 30), (30, 40), (40, 40)]),
        np.array([(4.2, 4.2), (4.4, 4.2), (4.4, 4.4)]),
    ],
    ids=["no corner", "left of it", "right of it", "between pixels"],
)
def test_a_polygon_that_meets_no_pixel_is_empty(points):
    assert not polygon_mask(points, SHAPE).any()
    assert polygon_mask(points, (0, 5)).shape == (0, 5)


def test_many_corners_take_seconds_at_most():
    """A million points of a traced outline; skimage takes points times pixels, that is hours."""
    angle = np.linspace(0, 2 * np.pi, 1_000_000)
    points = 250 + 200 * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    start = time.process_time()
    area = polygon_mask(points, (500, 500)).sum()
    assert time.process_time() - start < 20  # takes 0.2 s; a busy machine doesn't count
    assert area == pytest.approx(np.pi * 200**2, rel=1e-3)  # of whole pixels


def test_an_ellipse_is_turned_clockwise():
    flat = ellipse_mask((20, 20), (4, 12), (41, 41))
    np.testing.assert_array_equal(ellipse_mask((20, 20), (12, 4), (41, 41)), flat.T)
    assert flat.sum() == pytest.approx(np.pi * 4 * 12, rel=0.05)  # of whole pixels, near the rim
    turned = ellipse_mask((20, 20), (4, 12), (41, 41), np.pi / 4)
    assert turned[27, 27] and turned[13, 13] and not turned[13, 27] and not turned[27, 13]


def test_a_circle_is_cut_at_the_border():
    mask = ellipse_mask((0, 0), (3, 3), (10, 10))
    np.testing.assert_array_equal(mask[0], [1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    assert not ellipse_mask((-50, 5), (3, 3), (10, 10)).any()
