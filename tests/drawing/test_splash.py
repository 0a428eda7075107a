"""Colour splash on small arrays."""

import numpy as np
import pytest
import skimage.color

from mrcnn.drawing.splash import color_splash

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


def masks(*windows):
    found = np.zeros((20, 30, len(windows)), bool)
    for i, (y1, x1, y2, x2) in enumerate(windows):
        found[y1:y2, x1:x2, i] = True
    return found


def test_colour_where_an_instance_is_and_grey_elsewhere():
    found = masks((2, 3, 10, 12), (8, 10, 18, 25))
    splash = color_splash(IMAGE, found)
    inside = found.any(axis=-1)
    assert splash.dtype == np.uint8 and splash.shape == IMAGE.shape
    np.testing.assert_array_equal(splash[inside], IMAGE[inside])
    grey = splash[~inside].astype(int)
    assert (grey == grey[:, :1]).all()
    # skimage's luminance; the original cut the fraction off where this one rounds.
    expected = skimage.color.rgb2gray(IMAGE)[~inside] * 255
    assert np.abs(grey[:, 0] - expected).max() <= 0.5 + 1e-3  # float32 sums


def test_nothing_found_is_all_grey_and_the_image_stays_as_it_was():
    before = IMAGE.copy()
    splash = color_splash(IMAGE, masks())
    assert (splash == splash[..., :1]).all()
    np.testing.assert_array_equal(color_splash(IMAGE, np.ones((20, 30))), IMAGE)
    np.testing.assert_array_equal(IMAGE, before)


def test_grey_pictures_keep_every_value():
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    splash = color_splash(grey, np.zeros((16, 16, 2), np.uint8))
    np.testing.assert_array_equal(splash, np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize("shape", [(30, 20, 1), (20, 30, 1, 1), (1, 20, 30)])
def test_masks_of_another_size_are_refused(shape):
    with pytest.raises(ValueError, match=r"mask has shape .* image \[20, 30, 3\]"):
        color_splash(IMAGE, np.zeros(shape))
