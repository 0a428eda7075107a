"""Finding picture files and reading them, with no network near."""

import io
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mrcnn.data.pictures import (
    NoPicture,
    PictureError,
    decode_picture,
    eight_bits,
    find_pictures,
    read_picture,
    write_jpeg,
    write_png,
)

ROOT = Path(__file__).parents[2]
RED, BLUE = (255, 0, 0), (0, 0, 255)


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _names(paths: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


# -- Finding --------------------------------------------------------------------------------


def test_a_folder_gives_its_pictures_in_natural_order(tmp_path):
    _touch(tmp_path, "10.jpg", "2.JPG", "b1.png", "README.md", ".hidden.jpg", "sub/3.jpg")
    assert _names(find_pictures([tmp_path]), tmp_path) == ["2.JPG", "10.jpg", "b1.png"]


@pytest.mark.parametrize(
    "pattern, found",
    [
        ("*", ["a.jpg", "img[1].jpg"]),
        ("*.dat", ["x.dat"]),
        ("**", ["a.jpg", "img[1].jpg", "sub/c.png", "sub/deep/a.jpg"]),
        ("**/a.jpg", ["a.jpg", "sub/deep/a.jpg"]),
        ("img[1].jpg", ["img[1].jpg"]),
        ("sub/?.*", ["sub/c.png"]),
    ],
)
def test_patterns_are_expanded(tmp_path, pattern, found):
    _touch(tmp_path, "a.jpg", "img[1].jpg", "x.dat", "n.txt", "sub/c.png", "sub/deep/a.jpg")
    assert _names(find_pictures([str(tmp_path / pattern)]), tmp_path) == found


def test_each_picture_once_and_a_named_file_whatever_its_suffix(tmp_path):
    _touch(tmp_path, "a.jpg", "b.jpg", "scan")
    sources = [tmp_path / "scan", tmp_path / "b.jpg", tmp_path, str(tmp_path / "*.jpg")]
    assert _names(find_pictures(sources), tmp_path) == ["scan", "b.jpg", "a.jpg"]


def test_a_source_without_pictures_is_named(tmp_path):
    _touch(tmp_path, "README.md", "sub/a.jpg")
    with pytest.raises(PictureError, match=r"none of its 2 entries .*\.jpg.*'.*/\*\*' does"):
        find_pictures([tmp_path])
    with pytest.raises(PictureError, match=r"no picture matches .*\*\.png"):
        find_pictures([str(tmp_path / "*.png")])
    with pytest.raises(PictureError, match="no file or folder .*missing.jpg"):
        find_pictures([tmp_path / "missing.jpg"])


def test_a_folder_of_videos_says_how_they_are_taken(tmp_path):
    _touch(tmp_path, "film.MP4")
    with pytest.raises(PictureError, match=r"For video, give the file itself: .*film\.MP4"):
        find_pictures([tmp_path])


def _special(folder: Path) -> None:
    """A picture, and what is called so but is no file."""
    _touch(folder, "a.png", "sub.png/a.txt")
    os.mkfifo(folder / "pipe.png")
    (folder / "nowhere.png").symlink_to("gone.png")
    (folder / "circle.png").symlink_to("circle.png")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
@pytest.mark.parametrize("pattern", ["", "*.png", "**"])
def test_what_is_no_file_is_passed_over_aloud(tmp_path, pattern):
    _special(tmp_path)
    with pytest.warns(UserWarning) as caught:
        assert _names(find_pictures([str(tmp_path / pattern)]), tmp_path) == ["a.png"]
    (said,) = [str(warning.message) for warning in caught]
    assert caught[0].filename == __file__
    others = ["circle.png (a link in a circle)", "nowhere.png (a link to nothing)"]
    assert said.startswith("passed over in ") and ", ".join([*others, "pipe.png (a pipe)"]) in said


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
@pytest.mark.parametrize(
    "name, what",
    [
        ("pipe.png", "a pipe, not a file.*mrcnn detect - "),
        ("nowhere.png", "a link to nothing"),
        ("circle.png", "a link in a circle"),
        ("/dev/null", "a device.*camera"),
    ],
)
def test_what_is_named_and_no_file_is_refused_and_never_waited_for(tmp_path, name, what):
    _special(tmp_path)
    with pytest.raises(PictureError, match=what):
        find_pictures([tmp_path / name])
    with pytest.raises(PictureError, match=what.split(",")[0].split(".")[0]):
        read_picture(tmp_path / name)


# -- Reading --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mode, color, value",
    [
        ("RGB", RED, RED),
        ("RGBA", (255, 0, 0, 10), RED),
        ("P", RED, RED),
        ("CMYK", (0, 255, 255, 0), RED),
        ("L", 77, 77),
        ("LA", (77, 10), 77),
        ("1", 1, 255),
    ],
)
def test_modes_become_rgb_or_grey(tmp_path, mode, color, value):
    path = tmp_path / "x.tif"  # the one format that keeps all these modes
    picture = Image.new("RGB", (3, 2), RED).quantize(4) if mode == "P" else None
    (picture or Image.new(mode, (3, 2), color)).save(path)
    array = read_picture(path)
    assert array.dtype == np.uint8 and array.shape[:2] == (2, 3)
    np.testing.assert_array_equal(array, np.full(array.shape, value))


def test_the_orientation_of_the_camera_is_applied(tmp_path):
    picture = Image.new("RGB", (4, 2), RED)
    picture.paste(BLUE, (0, 0, 1, 2))  # the left column
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to see it upright
    picture.save(tmp_path / "x.png", exif=exif)
    array = read_picture(tmp_path / "x.png")
    assert array.shape == (4, 2, 3)
    assert (array[0] == BLUE).all() and (array[1:] == RED).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"])
def test_a_large_picture_is_handed_out_in_strips(tmp_path, mode, monkeypatch):
    """At once it would be in memory four times over."""
    noise = np.random.default_rng(0).integers(0, 256, (23, 17, 4), dtype=np.uint8)
    if mode == "I;16":
        picture = Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    else:
        picture = Image.fromarray(noise).convert(mode)
    picture.save(tmp_path / "x.tif")
    expected = read_picture(tmp_path / "x.tif", deep=True)
    monkeypatch.setattr("mrcnn.data.pictures._AT_ONCE", 4 * 17)  # four rows; 23 is no multiple
    strips = read_picture(tmp_path / "x.tif", deep=True)
    assert strips.dtype == expected.dtype and strips.flags.c_contiguous
    np.testing.assert_array_equal(strips, expected)


@pytest.mark.parametrize("dtype, suffix", [(np.uint16, "png"), (np.float32, "tif")])
def test_deep_grey_keeps_its_type(tmp_path, dtype, suffix):
    values = np.array([[0, 1], [300, 65535]], dtype)
    Image.fromarray(values).save(tmp_path / f"x.{suffix}")
    array = read_picture(tmp_path / f"x.{suffix}", deep=True)
    assert array.dtype == dtype
    np.testing.assert_array_equal(array, values)


def test_eight_bits():
    ramp = np.arange(1000, 5001, dtype=np.uint16).reshape(1, -1)
    scaled = eight_bits(ramp)
    assert scaled.dtype == np.uint8 and scaled[0, [0, 2000, 4000]].tolist() == [0, 128, 255]
    ramp[0, 7] = 65535  # a hot pixel changes nothing
    assert abs(eight_bits(ramp).astype(int) - scaled)[0, 8:].max() <= 1
    assert eight_bits(np.full((2, 2), 4000, np.uint16)).tolist() == [[0, 0], [0, 0]]
    assert eight_bits(np.array([[0, 0.5, 1, np.nan]], np.float32)).tolist() == [[0, 128, 255, 0]]
    assert eight_bits(np.array([[-5, 5, 300]], np.int32))[0, [0, 2]].tolist() == [0, 255]
    for as_it_is in (np.zeros((2, 2), np.uint8), np.array([[0, 200]], np.uint16)):
        assert eight_bits(as_it_is) is as_it_is


def test_deep_pictures_are_scaled_and_it_is_said_once(tmp_path, monkeypatch):
    monkeypatch.setattr("mrcnn.data.pictures._warned", set())
    Image.fromarray(np.array([[100, 4000]], np.uint16)).save(tmp_path / "x.png")
    with pytest.warns(UserWarning, match=r"brightness scaled to 0\.\.255, .*x\.png the first"):
        assert read_picture(tmp_path / "x.png").tolist() == [[0, 255]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_picture(tmp_path / "x.png")


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_no_bit_of_deep_colour_is_lost(compression, order, tmp_path):
    tifffile = pytest.importorskip("tifffile")
    values = np.random.default_rng(0).integers(0, 65536, (20, 30, 3)).astype(np.uint16)
    options = {"photometric": "rgb", "compression": compression, "byteorder": order}
    tifffile.imwrite(tmp_path / "x.tif", values, **options)
    np.testing.assert_array_equal(read_picture(tmp_path / "x.tif", deep=True), values)


@pytest.mark.parametrize("suffix", ["gif", "tif"])
def test_of_several_pictures_the_first_is_read_and_said(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    frames = [Image.new("RGB", (3, 2), color) for color in (RED, BLUE)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.warns(UserWarning, match="holds 2 pictures: only the first"):
        array = read_picture(path)
    assert (array == RED).all()


def test_what_is_no_picture_says_why(tmp_path):
    Image.effect_noise((64, 64), 50).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:900])
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty.png").touch()
    reasons = {
        "cut.jpg": "damaged or cut short",
        "text.jpg": "is no picture",
        "empty.png": "is empty: 0 bytes",
        "missing.png": "there is no such file",
        ".": "is a folder",
        "a.heic": r"is HEIC, .*JPEG first",
        "a.pdf": r"is a PDF: .*pages",
        "clip": r"is a video: its name must end in \.mp4",
        "scan.dcm": "is DICOM",
        "page.jpg": "is a web page",
    }
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0")
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7")
    (tmp_path / "clip").write_bytes(b"\0\0\0\x18ftypisom\0\0\0\0")
    (tmp_path / "scan.dcm").write_bytes(bytes(range(128)) + b"DICM")
    (tmp_path / "page.jpg").write_text(" <!DOCTYPE html>")
    for name, reason in reasons.items():
        with pytest.raises(PictureError, match=reason) as caught:
            read_picture(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


def test_too_many_pixels_are_refused_before_they_are_read(tmp_path, monkeypatch):
    Image.new("L", (30, 10)).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_picture(tmp_path / "x.png").shape == (10, 30)  # below twice the limit
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(PictureError, match="more than 200 pixels"):
        read_picture(tmp_path / "x.png")


# -- Writing --------------------------------------------------------------------------------


def test_png_is_written_whole_or_not_at_all(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    write_png(tmp_path / "x.png", picture)
    np.testing.assert_array_equal(read_picture(tmp_path / "x.png"), picture)
    with pytest.raises(TypeError):
        write_png(tmp_path / "x.png", picture.astype(np.float64))
    np.testing.assert_array_equal(read_picture(tmp_path / "x.png"), picture)
    assert os.listdir(tmp_path) == ["x.png"]


def test_jpeg_is_small_and_close(tmp_path):
    ramp = np.linspace(0, 255, 200).astype(np.uint8)
    picture = np.dstack([np.tile(ramp, (100, 1))] * 3)
    write_jpeg(tmp_path / "x.jpg", picture)
    assert np.abs(read_picture(tmp_path / "x.jpg").astype(int) - picture).max() < 6


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_name_that_is_no_text_is_read_and_printed(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff\n.png")
    write_png(path, np.zeros((2, 3), np.uint8))
    assert read_picture(path).shape == (2, 3) and find_pictures([tmp_path]) == [path]
    path.write_text("no picture")
    with pytest.raises(PictureError, match=r"udcff\\n\.png is no picture") as caught:
        read_picture(path)
    str(caught.value).encode()


def test_bytes_of_somebody_else_are_read_as_a_file_is():
    path = ROOT / "images" / "coffee.jpg"
    assert np.array_equal(decode_picture(path.read_bytes()), read_picture(path))


@pytest.mark.parametrize(
    ("data", "kind", "told"),
    [
        (b"", NoPicture, "empty"),
        (b"hello", NoPicture, "no picture"),
        (b"%PDF-1.7 ...", NoPicture, "PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", NoPicture, "no picture"),
    ],
)
def test_bytes_that_are_no_picture(data, kind, told):
    with pytest.raises(kind, match=told):
        decode_picture(data)


def test_nothing_is_unpacked_of_a_picture_with_too_many_pixels(monkeypatch):
    held = io.BytesIO()
    Image.new("1", (10000, 10000)).save(held, "PNG")  # 100 million pixels in 12 kB
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda *_: pytest.fail("unpacked"))
    with pytest.raises(PictureError, match="10000 x 10000 pixels, and 1,000,000 is the most"):
        decode_picture(held.getvalue(), most=1_000_000)
