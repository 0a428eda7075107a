"""TIFF of microscopes and cameras: the planes and channels of a file, and each of them exactly."""

import numpy as np
import pytest
import tifffile

from mrcnn.data.tiff import TiffError, describe, read

STACK = np.random.default_rng(0).integers(0, 4000, (5, 24, 32)).astype(np.uint16)
BANDS = np.moveaxis(STACK, 0, 2)
DEPTHS = {"imagej": True, "metadata": {"axes": "ZYX"}}
GREY, RGB = {"photometric": "minisblack"}, {"photometric": "rgb"}
ALPHA, BAND = {"extrasamples": ["unassalpha"]}, {"extrasamples": ["unspecified"]}
# What is written, and how; channels, the stack, whether they are colours, plane 0 as it is read.
FILES = {
    "pages": (STACK, {}, 1, (("Q", 5),), False, STACK[0]),
    "depths": (STACK, DEPTHS, 1, (("Z", 5),), False, STACK[0]),
    "dyes": (STACK, {"imagej": True, "metadata": {"axes": "CYX"}}, 5, (), False, BANDS),
    "OME": (
        np.stack([STACK, STACK + 1]),
        {"ome": True, "photometric": "minisblack", "metadata": {"axes": "ZCYX"}},
        *(5, (("Z", 2),), False, BANDS),
    ),
    "bands": (BANDS, {**GREY, "planarconfig": "contig"}, 5, (), False, BANDS),
    "planar": (STACK, {**GREY, "planarconfig": "separate"}, 5, (), False, BANDS),
    "colour": (BANDS[..., :3], {**RGB, "tile": (16, 16)}, 3, (), True, BANDS[..., :3]),
    "alpha": (BANDS[..., :4], {**RGB, **ALPHA}, 3, (), True, BANDS[..., :3]),
    "infrared": (BANDS[..., :4], {**RGB, **BAND}, 4, (), True, BANDS[..., :4]),
    "white is 0": (STACK[0], {"photometric": "miniswhite"}, 1, (), False, 65535 - STACK[0]),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_what_a_file_holds(tmp_path, name):
    array, options, channels, stack, colour, expected = FILES[name]
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, array, **options)
    file = describe(path)
    assert (file.height, file.width) == (24, 32) and not file.plain
    assert (file.channels, file.stack, file.colour) == (channels, stack, colour)
    np.testing.assert_array_equal(read(path), expected)


def test_each_plane_is_read_by_itself(tmp_path):
    path = tmp_path / "x.ome.tif"
    array = np.arange(2 * 3 * 4 * 6 * 5, dtype=np.uint16).reshape(2, 3, 4, 6, 5)
    options = {"ome": True, "photometric": "minisblack", "metadata": {"axes": "TCZYX"}}
    tifffile.imwrite(path, array, **options)
    file = describe(path)
    assert (file.planes, file.channels) == (8, 3)
    assert file.told_stack() == "8 planes (2 times of 4 depths)"
    np.testing.assert_array_equal(read(path, 6), np.moveaxis(array[1, :, 2], 0, 2))
    with pytest.raises(TiffError, match="there is no plane 8: it has 8, counted from 0, 8 planes"):
        read(path, 8)


def test_pages_without_a_name_are_channels_where_nothing_else_is(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", STACK)
    file = describe(tmp_path / "x.tif", channels=True)
    assert (file.channels, file.planes) == (5, 1)
    np.testing.assert_array_equal(read(tmp_path / "x.tif", channels=True), BANDS)


def test_a_turned_picture_is_brought_upright(tmp_path):
    tags = [(274, "H", 1, 6, True)]
    tifffile.imwrite(tmp_path / "x.tif", STACK[0], extratags=tags)
    np.testing.assert_array_equal(read(tmp_path / "x.tif"), np.rot90(STACK[0], -1))


def test_what_tifffile_makes_no_sense_of(tmp_path):
    (tmp_path / "x.tif").write_bytes(b"II*\0\x08\0\0\0\x01\0")
    assert describe(tmp_path / "x.tif") is None


def test_eight_bits_are_plain(tmp_path):
    for name, array in {"rgb": BANDS[..., :3], "grey": STACK[0]}.items():
        tifffile.imwrite(tmp_path / "x.tif", array.astype(np.uint8), photometric=None)
        assert describe(tmp_path / "x.tif").plain, name
