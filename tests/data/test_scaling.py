"""From the values of a file to 0..255: by the whole picture, whatever windows it comes in."""

import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.data.scaling import Rule, Statistics, measured, scaling

RNG = np.random.default_rng(0)


def picture(dtype, shape=(60, 80)):
    values = RNG.gamma(2, 300, shape)
    return values.astype(dtype) if np.dtype(dtype).kind != "f" else (values / 10).astype(dtype)


def by_windows(array, side, **options):
    statistics = Statistics(array.shape, array.dtype, **options)
    for y in range(0, array.shape[0], side):
        for x in range(0, array.shape[1], side):
            statistics.add(array[y : y + side, x : x + side], y, x)
    return statistics


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32", "float32", "float64"])
def test_a_windowed_picture_is_scaled_as_the_whole_one(dtype, monkeypatch):
    monkeypatch.setattr("mrcnn.data.scaling._MOST_VALUES", 500)  # so that values are sampled
    array = picture(dtype)
    look = scaling(by_windows(array, 17))
    assert look.told == scaling(measured(array)).told != ""
    whole = scaling(measured(array))(array)
    np.testing.assert_array_equal(look(array[20:50, 10:30]), whole[20:50, 10:30])
    assert whole.dtype == np.uint8 and whole.min() == 0 and whole.max() == 255


@pytest.mark.parametrize("dtype", ["uint16", "int16"])
def test_counted_percentiles_are_numpys(dtype):
    array = picture(dtype) - (500 if dtype == "int16" else 0)
    low, high = measured(array).percentiles()
    np.testing.assert_allclose([low[0], high[0]], np.percentile(array, [0.1, 99.9]), rtol=1e-12)


def test_dyes_are_scaled_each_by_itself_and_colours_together():
    array = np.dstack([picture("uint16"), picture("uint16") // 20 + 300])
    together, each = (scaling(measured(array, separate)) for separate in (False, True))
    assert together(array)[..., 1].max() < 80 and each(array)[..., 1].max() == 255
    assert "of each channel" in each.told and "of each channel" not in together.told


def test_what_is_not_known_counts_for_nothing_and_becomes_black():
    array = picture("float32")
    whole = scaling(measured(array))(array)
    array[:5] = np.nan
    array[5:20] = -9999
    look = scaling(measured(array, empty=-9999))
    assert f"{20 * 80:,} are NaN, infinite or empty and become 0" in look.told
    assert (look(array)[:20] == 0).all()
    assert abs(look(array)[20:].astype(int) - whole[20:]).max() < 25
    shorts = picture("uint16")
    shorts[:30] = 65535
    assert scaling(measured(shorts, empty=65535)).high[0] < 10000


def test_ranges_that_are_asked_for():
    array = np.array([[0, 1000, 65535]], np.uint16)
    assert scaling(measured(array), "type")(array).tolist() == [[0, 4, 255]]
    assert scaling(measured(array), (0.0, 2000.0))(array).tolist() == [[0, 128, 255]]
    signed = np.array([[-32768, 0, 32767]], np.int16)
    assert scaling(measured(signed), "type")(signed).tolist() == [[0, 128, 255]]
    bytes_ = np.array([[10, 60]], np.uint8)
    assert scaling(measured(bytes_), (10.0, 60.0))(bytes_).tolist() == [[0, 255]]
    assert scaling(measured(bytes_), "type")(bytes_) is bytes_
    assert scaling(measured(bytes_))(bytes_) is bytes_


def test_nonsense_is_told():
    flat = scaling(measured(np.full((4, 4), 4000, np.uint16)))
    assert (
        flat.constant and flat.told == "all its values are 4000, so that nothing can be seen in it"
    )
    with pytest.raises(ValueError, match="it holds no number: all its values are NaN"):
        scaling(measured(np.full((4, 4), np.nan, np.float32)))


@pytest.mark.parametrize(
    "number, channels, count, expected",
    [
        (3, None, 3, [0, 1, 2]),
        (5, None, 3, [0, 1, 2]),
        (5, (4, 0, 2), 3, [4, 0, 2]),
        (5, (4,), 3, 4),
        (5, (4, 1), 3, [4, 1, None]),
        (2, None, 3, [0, 1, None]),
        (1, None, 3, 0),
        (5, None, 5, [0, 1, 2, 3, 4]),
    ],
)
def test_channels(number, channels, count, expected):
    array = RNG.integers(1, 999, (4, 6, number)).astype(np.uint16)
    picked = Rule(channels=channels, count=count).pick(array)
    if isinstance(expected, int):
        np.testing.assert_array_equal(picked, array[..., expected])
    else:
        for place, channel in enumerate(expected):
            np.testing.assert_array_equal(
                picked[..., place], 0 if channel is None else array[..., channel]
            )


def test_channels_that_are_not_there():
    array = np.zeros((2, 2, 3), np.uint8)
    with pytest.raises(ValueError, match="there is no channel 7: it has 3, counted from 0"):
        Rule(channels=(7, 0)).pick(array)
    with pytest.raises(ValueError, match="4 channels are asked for, and the network takes 3"):
        Rule(channels=(0, 1, 2, 0)).pick(array)


def test_the_rule_is_the_configs():
    assert Rule.of(Config()) == Rule()
    config = Config()
    config.IMAGE_RANGE, config.IMAGE_CHANNELS, config.IMAGE_PLANE = [0, 4095], [2, 1, 0], 4
    assert Rule.of(config) == Rule((0.0, 4095.0), (2, 1, 0), 3, 4)
