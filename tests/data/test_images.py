import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrcnn.config import Config
from mrcnn.data.images import (
    compose_image_meta,
    mold_image,
    molded_batch,
    parse_image_meta,
    resize_image,
    unmold_image,
)
from mrcnn.geometry.boxes import denorm_boxes, norm_boxes


def black(height, width):
    return np.zeros((height, width, 3), np.uint8)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(20, 150),
    st.integers(20, 150),
    st.sampled_from(["none", "square", "pad64"]),
    st.integers(0, 2**32 - 1),
)
def test_boxes_find_their_way_back(height, width, mode, seed):
    image, window, _, padding, _ = resize_image(black(height, width), 64, 128, mode=mode)
    y1, x1 = np.random.default_rng(seed).integers(0, [height - 1, width - 1], (20, 2)).T
    boxes = np.stack([y1, x1, y1 + 1, x1 + 1], axis=1)

    inside = (window[2] - window[0], window[3] - window[1])
    offset = np.array([window[0], window[1], window[0], window[1]])
    molded = np.around(norm_boxes(boxes, (height, width)) * (np.tile(inside, 2) - 1)) + offset
    back = denorm_boxes((molded - offset) / (np.tile(inside, 2) - 1), (height, width))
    # Half a pixel of the resized picture is lost by rounding, and half one of the original's.
    shrunk = max(height / inside[0], width / inside[1], 1)
    assert np.abs(back - boxes).max() <= 0.5 * shrunk + 0.5
    assert image.shape[0] == inside[0] + sum(padding[0])
    assert image.shape[1] == inside[1] + sum(padding[1])


@settings(max_examples=40, deadline=None)
@given(st.integers(10, 200), st.integers(10, 200), st.sampled_from([None, 0, 1.7]))
def test_shapes_of_every_mode(height, width, min_scale):
    image = black(height, width)
    assert resize_image(image, 64, 128, min_scale, "square")[0].shape == (128, 128, 3)
    padded = resize_image(image, 64, None, min_scale, "pad64")[0]
    assert padded.shape[0] % 64 == padded.shape[1] % 64 == 0
    cropped, window, _, _, crop = resize_image(image, 64, None, min_scale, "crop")
    assert cropped.shape == (64, 64, 3) and window == (0, 0, 64, 64) and crop[2:] == (64, 64)
    assert resize_image(image, 64, 128, min_scale, "none")[0] is image


def test_the_piece_cut_out_follows_pythons_seed():
    image = black(100, 100)
    random.seed(3)
    expected = (random.randint(0, 60), random.randint(0, 60), 40, 40)
    random.seed(3)
    assert resize_image(image, 40, mode="crop")[4] == expected


def test_grey_pictures_of_two_axes_are_padded_too():
    assert resize_image(np.zeros((20, 30)), max_dim=64)[0].shape == (64, 64)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"max_dim": 64, "mode": "squre"}, "'squre': it must be one of none, square"),
        ({"min_dim": 64}, "needs max_dim"),
        ({"max_dim": 64, "mode": "crop"}, "needs min_dim"),
        ({"min_dim": 100, "mode": "pad64"}, "Near it are 64 and 128"),
    ],
)
def test_what_cannot_be_done_is_said(arguments, message):
    with pytest.raises(ValueError, match=message):
        resize_image(black(50, 60), **arguments)


def test_an_empty_picture_is_refused():
    with pytest.raises(ValueError, match="0x60 pixels"):
        resize_image(black(0, 60), max_dim=64)


@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("mean", [[123.7, 116.8, 103.9], 7.3])
def test_a_molded_batch_is_its_pictures_molded(kind, mean):
    config = Config()
    config.MEAN_PIXEL = np.array(mean)
    images = np.random.default_rng(0).uniform(0, 255, (3, 6, 5, 3)).astype(kind)
    expected = np.stack([mold_image(image, config) for image in images]).astype(np.float32)
    # A float64 picture is not rounded to float32 first, as mold_image does: one bit of 255.
    np.testing.assert_allclose(molded_batch(images, config), expected, rtol=0, atol=2e-5)
    if kind != np.float64:
        np.testing.assert_array_equal(molded_batch(list(images), config), expected)


def test_molding_and_back():
    config = Config()
    image = np.random.default_rng(0).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    molded = mold_image(image, config)
    np.testing.assert_allclose(molded, image - config.MEAN_PIXEL, rtol=1e-15)
    # Adding the mean again may end an ulp below the whole number, and is then cut down.
    assert np.abs(unmold_image(molded, config).astype(int) - image).max() <= 1


def test_meta_and_back():
    meta = compose_image_meta(7, (60, 90, 3), (128, 128, 3), (21, 0, 106, 128), 1.42, [1, 0, 1])
    assert meta.shape == (15,)
    parsed = {name: value[0].tolist() for name, value in parse_image_meta(meta[None]).items()}
    assert parsed.pop("scale") == pytest.approx(1.42, rel=1e-6)  # float32
    assert parsed == {
        "image_id": 7,
        "original_image_shape": [60, 90, 3],
        "image_shape": [128, 128, 3],
        "window": [21, 0, 106, 128],
        "active_class_ids": [1, 0, 1],
    }
