"""What is done to pictures before the network, and what is said of it once."""

import warnings

import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.data.images import mold_image
from mrcnn.detect import check
from mrcnn.detect.check import before_molding, check_pictures


@pytest.fixture(autouse=True)
def _told_nothing_yet(monkeypatch):
    monkeypatch.setattr(check, "_warned", set())


def config(**settings):
    return type("OtherConfig", (Config,), settings)()


def bright(low=120, seed=0):
    return np.random.default_rng(seed).integers(low, 256, (40, 50, 3), dtype=np.uint8)


@pytest.mark.parametrize("low", [0, 119, 125, 250])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_molded_picture_is_known_however_bright(low, dtype):
    """125 and more: nothing of it lies below 0 when the mean is subtracted."""
    picture = bright(low)
    molded = mold_image(picture, Config()).astype(dtype)
    with pytest.warns(UserWarning, match="picture 1 of 1 has had the mean pixel subtracted"):
        (found,) = check_pictures([molded], Config())
    np.testing.assert_allclose(found, picture, atol=1e-4)


def test_a_molded_picture_is_told_once_a_process():
    molded = [mold_image(bright(low), Config()) for low in (0, 130)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for picture in molded * 3:
            check_pictures([picture], Config())
            check_pictures([bright() / np.float32(255)], Config())
    said = [str(warning.message) for warning in caught]
    assert [text.split()[-2:] for text in said] == [["(Said", "once.)"]] * 2
    assert caught[0].category is UserWarning


@pytest.mark.parametrize(
    "picture, mean",
    [
        (bright(0).astype(np.float32), Config.MEAN_PIXEL),  # whole as it is
        (bright(0) / np.float32(2), Config.MEAN_PIXEL),
        (bright(0) / np.float32(255), Config.MEAN_PIXEL),
        (
            bright(0).astype(np.float32) * 0.5,
            np.array([100.0, 100.0, 100.0]),
        ),  # a mean of whole numbers
        (bright(0)[..., 0].astype(np.float32), np.array([3.5])),
    ],
)
def test_a_picture_that_was_not_molded_stays(picture, mean):
    pictures = [picture]
    assert before_molding(pictures, config(MEAN_PIXEL=mean)) is pictures
