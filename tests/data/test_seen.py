"""Pictures as science has them: what a network sees of a file, and what people are told."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from mrcnn import data
from mrcnn.cli import main
from mrcnn.config import Config
from mrcnn.data.augment import RECIPES
from mrcnn.data.check import check_dataset
from mrcnn.data.inputs import load_image_gt
from mrcnn.data.pictures import PictureError
from mrcnn.data.scaling import Rule
from mrcnn.data.seen import BRIGHTNESS, CHANNELS, PLANE, Telling, see
from mrcnn.train.plan_text import about_files

RNG = np.random.default_rng(3)


def cells(shape=(96, 128), low=300, high=3000, dtype=np.uint16):
    """Bright discs on dark noise, and their numbers."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    numbers = np.zeros(shape, np.uint16)
    for number, (row, column) in enumerate([(30, 30), (60, 90), (70, 40)], start=1):
        numbers[(y - row) ** 2 + (x - column) ** 2 < 12**2] = number
    values = low + (high - low) * (numbers > 0) + RNG.normal(0, low / 10, shape)
    return np.clip(values, 0, None).astype(dtype), numbers


GREY, NUMBERS = cells()
OME = {"ome": True, "photometric": "minisblack"}
FIVE = np.stack([GREY // (2 * i + 1) for i in range(5)])
# What is written, how, and what is told of it.
FILES = {
    "grey16": (GREY, {}, {BRIGHTNESS}),
    "rgb16": (np.dstack([GREY, GREY // 2, GREY // 3]), {"photometric": "rgb"}, {BRIGHTNESS}),
    "float32": (GREY.astype(np.float32) / 7 - 20, {}, {BRIGHTNESS}),
    "five": (FIVE, {**OME, "metadata": {"axes": "CYX"}}, {BRIGHTNESS, CHANNELS}),
    "depths": (FIVE, {**OME, "metadata": {"axes": "ZYX"}}, {BRIGHTNESS, PLANE}),
}  # fmt: skip


def write_set(folder, name, pictures=4):
    """A data set of masks that number the cells."""
    array, options, _ = FILES[name]
    for place in ("images", "masks"):
        (folder / place).mkdir(parents=True)
    for number in range(pictures):
        tifffile.imwrite(folder / "images" / f"{number}.tif", array, **options)
        Image.fromarray(NUMBERS).save(folder / "masks" / f"{number}.png")
    return folder


@pytest.mark.parametrize("name", FILES)
def test_what_the_network_sees(tmp_path, name):
    array, options, kinds = FILES[name]
    tifffile.imwrite(tmp_path / "x.tif", array, **options)
    look = see(tmp_path / "x.tif", Rule())
    assert look.picture.dtype == np.uint8 and look.picture.shape[:2] == NUMBERS.shape
    assert set(look.told) == kinds
    red = look.picture if look.picture.ndim == 2 else look.picture[..., 0]
    assert red[NUMBERS > 0].mean() > 200 and red[NUMBERS == 0].mean() < 40
    assert look.values.dtype == array.dtype


def test_a_dim_dye_is_as_bright_as_the_others_and_a_dim_colour_is_not(tmp_path):
    tifffile.imwrite(tmp_path / "dyes.tif", FIVE, **OME, metadata={"axes": "CYX"})
    dyes = see(tmp_path / "dyes.tif", Rule(channels=(4, 0))).picture
    assert dyes[NUMBERS > 0].mean(axis=0)[:2].min() > 200 and not dyes[..., 2].any()
    tifffile.imwrite(tmp_path / "rgb.tif", np.moveaxis(FIVE[[0, 4, 4]], 0, 2), photometric="rgb")
    colour = see(tmp_path / "rgb.tif", Rule()).picture
    assert colour[NUMBERS > 0].mean(axis=0)[1] < 60


def test_planes_and_channels_are_chosen(tmp_path):
    stack = np.stack([FIVE, FIVE + 10000])
    tifffile.imwrite(tmp_path / "x.tif", stack, **OME, metadata={"axes": "TCYX"})
    rule = Rule("type", (3,), 3, 1)
    look = see(tmp_path / "x.tif", rule)
    np.testing.assert_array_equal(look.picture, np.rint(stack[1, 3] / 257).astype(np.uint8))
    assert look.told[PLANE] == "it holds 2 times, of which number 1 is taken"
    assert look.told[CHANNELS] == "channel 3 of 0..4 is taken"
    with pytest.raises(
        PictureError, match=r"x\.tif: there is no plane 2: it has 2, counted from 0"
    ):
        see(tmp_path / "x.tif", Rule(plane=2))
    with pytest.raises(PictureError, match=r"x\.tif: there is no channel 9: it has 5"):
        see(tmp_path / "x.tif", Rule(channels=(9,)))


def test_a_picture_without_a_stack_has_its_own_in_all_planes(tmp_path):
    Image.fromarray(np.full((4, 5), 9, np.uint8)).save(tmp_path / "x.png")
    tifffile.imwrite(tmp_path / "x.tif", GREY)
    assert see(tmp_path / "x.png", Rule(plane=3)).picture.tolist() == [[9] * 5] * 4
    assert see(tmp_path / "x.tif", Rule(plane=3)).picture.shape == GREY.shape


def test_a_plane_that_only_pillow_unpacks(tmp_path):
    pages = [Image.fromarray(np.full((4, 6), 100 * i, np.uint8)) for i in range(3)]
    pages[0].save(
        tmp_path / "x.tif", save_all=True, append_images=pages[1:], compression="tiff_lzw"
    )
    assert (see(tmp_path / "x.tif", Rule(plane=2)).picture == 200).all()


def test_nonsense_is_one_sentence(tmp_path):
    tifffile.imwrite(tmp_path / "nan.tif", np.full((8, 8), np.nan, np.float32))
    with pytest.raises(PictureError, match=r"nan\.tif: it holds no number: all its values are NaN"):
        see(tmp_path / "nan.tif", Rule())
    tifffile.imwrite(tmp_path / "flat.tif", np.full((8, 8), 4000, np.uint16))
    look = see(tmp_path / "flat.tif", Rule())
    assert Telling()(look, "flat.tif") == [
        "flat.tif: all its values are 4000, so that nothing can be seen in it."
    ]
    assert not look.picture.any()


def test_each_kind_is_said_once(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", FIVE, **OME, metadata={"axes": "ZYX"})
    telling, look = Telling(), see(tmp_path / "x.tif", Rule())
    stack, brightness = telling(look, "x.tif")
    first = "it holds 5 depths, of which the first is taken"
    assert stack == f"x.tif: {first}; --plane takes another (said once)."
    assert brightness.endswith("become 0..255; --range sets it (said once).")
    assert telling(look, "y.tif") == []


@pytest.mark.parametrize("name", FILES)
def test_data_check(tmp_path, name, capsys):
    folder = write_set(tmp_path / "set", name)
    assert main(["data", "check", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "more than 8 bits, their brightness scaled to 0..255" in said
    if name == "five":
        assert "not all channels taken (channels 0, 1, 2 of 0..4 are taken): 4" in said
    if name == "depths":
        assert "one plane of a stack taken (it holds 5 depths, of which the first is taken)" in said


def test_data_check_with_options(tmp_path, capsys):
    folder = write_set(tmp_path / "set", "five")
    assert main(["data", "check", str(folder), "--channels", "9"]) == 1
    assert "there is no channel 9: it has 5, counted from 0" in capsys.readouterr().out
    assert main(["data", "check", str(folder), "--range", "9,1"]) == 2
    assert "9,1 is no range: write LOW,HIGH, auto or type" in capsys.readouterr().err


def test_a_labelled_set_takes_another_rule(tmp_path):
    dataset = data.open(write_set(tmp_path / "set", "five"))
    dataset.rule = Rule("type", (4,))
    expected = np.rint(FIVE[4] / 257).astype(np.uint8)
    np.testing.assert_array_equal(dataset.load_image(0), np.repeat(expected[..., None], 3, 2))
    masks, _ = dataset.load_mask(0)
    np.testing.assert_array_equal(masks.any(axis=2), NUMBERS > 0)


def test_a_plan_tells_what_is_looked_at():
    config = Config()
    assert about_files(config) == []
    config.IMAGE_CHANNELS, config.IMAGE_PLANE, config.IMAGE_RANGE = (2, 1, 0), 4, (0, 4000)
    assert about_files(config) == [
        "channels 2, 1, 0",
        "plane 4 of stacks",
        "0..255 from values of 0 to 4000",
    ]


def test_a_network_of_five_channels_is_fed_five(tmp_path):
    dataset = data.open(write_set(tmp_path / "set", "five"))
    settings = {"IMAGE_CHANNEL_COUNT": 5, "MEAN_PIXEL": 127, "NUM_CLASSES": 2}
    settings |= {"IMAGE_MIN_DIM": 128, "IMAGE_MAX_DIM": 128}
    config = type("FiveConfig", (Config,), settings)()
    config.validate("training")
    dataset.rule = Rule.of(config)
    image, _, class_ids, _, masks = load_image_gt(
        dataset, config, 0, augmentation=RECIPES["standard"]
    )
    assert image.shape == (128, 128, 5) and masks.shape[2] == len(class_ids) == 3
    assert check_dataset(dataset, config).mistakes == []
