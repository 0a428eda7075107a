"""Data folders with what is no file in them, and names and masks that nobody expects."""

import base64
import io
import json
import os
import signal

import numpy as np
import pytest
from labelled_sets import (
    CAT,
    HEIGHT,
    WIDTH,
    coco_content,
    labelme_content,
    make,
    mask_of,
    picture,
    png,
    save,
    via_content,
    write_json,
)
from PIL import Image, ImageFile

from mrcnn.cli.commands import main
from mrcnn.data import open as open_set
from mrcnn.data.check import check_dataset
from mrcnn.data.formats import FORMATS, FormatError, subsets
from mrcnn.data.parts import open_part
from mrcnn.errors import UsageError

needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without pipes")


@pytest.fixture(autouse=True)
def _never_forever():
    """Whoever opens a pipe waits for its writer: then the test fails, and the run goes on."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def stop(*_):
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def read_all(dataset):
    return [dataset.load_mask(i)[1].tolist() for i in dataset.image_ids]


# -- Pipes and links --------------------------------------------------------------------------


@needs_pipes
@pytest.mark.parametrize("format", FORMATS)
def test_pipes_in_a_folder_are_passed_over_and_told(format, tmp_path):
    file = make(format, tmp_path)
    wanted = read_all(open_set(tmp_path))
    suffix = ".png" if format in ("masks", "indexed") else file.suffix
    os.mkfifo(file.with_name(f"pipe{suffix}"))
    os.symlink("circle.json", tmp_path / "circle.json")
    assert subsets(tmp_path) == []
    dataset = open_set(tmp_path)
    assert read_all(dataset) == wanted
    assert any("a pipe" in note and "1, the first in" in note for note in dataset.notes)


@needs_pipes
def test_a_pipe_in_place_of_what_is_needed_is_named(tmp_path):
    file = make("coco", tmp_path)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(FormatError, match=r"instances.json was passed over: it is a pipe"):
        open_set(tmp_path)
    with pytest.raises(FormatError, match="instances.json is a pipe, neither"):
        open_set(file)
    with pytest.raises(UsageError, match="instances.json is a pipe, neither"):
        open_part(file)
    file.unlink()
    make("coco", tmp_path)
    (tmp_path / "b.png").unlink()
    os.mkfifo(tmp_path / "b.png")
    with pytest.raises(FormatError, match=r"1 of 2 pictures are missing.*b.png is a pipe"):
        open_set(tmp_path)


@needs_pipes
def test_a_link_to_a_pipe_is_refused_where_it_is_opened(tmp_path):
    file = make("masks", tmp_path)
    os.mkfifo(tmp_path / "pipe")
    picture_file = tmp_path / "b" / "images" / "b.png"
    os.symlink(tmp_path / "pipe", file.with_name("link.png"))
    dataset = open_set(tmp_path)
    assert read_all(dataset) == [[1], [1]]
    assert "Passed over among the masks: a pipe (pictures): 1" in " ".join(dataset.notes)
    picture_file.unlink()
    os.symlink(tmp_path / "pipe", picture_file)
    with pytest.raises(FormatError, match=r"1 of 2 pictures are missing"):
        open_set(tmp_path)


def test_a_mask_that_is_a_link_to_nothing_is_missing(tmp_path):
    file = make("masks", tmp_path)
    os.symlink("nowhere", file.with_name("gone.png"))
    with pytest.raises(FormatError, match="gone.png is a link to nothing"):
        read_all(open_set(tmp_path))


# -- Names ------------------------------------------------------------------------------------

ODD = "half \ud800\n\x1b[31m"  # half a surrogate pair, two lines, and red from here on


def odd_set(format, folder):
    """A set whose class and picture have odd names, as JSON can write them."""
    if format == "coco":
        content = coco_content()
        content["categories"][0]["name"] = ODD
        content["categories"][0]["id"] = "--5"
        for annotation in content["annotations"]:
            annotation["category_id"] = "--5"
    elif format == "via":
        content = via_content()
        for entry in content.values():
            entry["regions"][0]["region_attributes"] = {"class": ODD}
    else:
        content = labelme_content("a.png", CAT, ODD)
    write_json(folder / "a.json", content)
    for name in "ab":
        picture(folder / f"{name}.png")
    if format == "labelme":
        write_json(folder / "b.json", labelme_content("b.png", CAT, ODD))


@pytest.mark.parametrize("format", ["coco", "via", "labelme"])
def test_odd_names_are_made_printable_in_every_command(format, tmp_path, capsys, monkeypatch):
    odd_set(format, tmp_path / "set")
    dataset = open_set(tmp_path / "set")
    assert "half \\ud800\\n\\x1b[31m" in dataset.class_names
    data, out = str(tmp_path / "set"), tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    assert main(["data", "check", data]) == 0
    assert main(["data", "show", data, "--out", str(tmp_path / "sheet.png")]) == 0
    for to in ("coco", "via", "labelme"):
        assert main(["data", "convert", data, str(out / to), "--to", to]) == 0
    assert main(["train", data, "--weights", "none", "--dry-run"]) == 0
    shown = capsys.readouterr()
    assert "\\ud800\\n" in shown.out and "Error" not in shown.err
    shown.out.encode()
    assert "half \\ud800\\n\\x1b[31m" in open_set(out / "labelme").class_names


def test_picture_ids_are_made_printable_in_what_a_check_says(tmp_path, capsys):
    make("coco", tmp_path)
    content = coco_content()
    content["images"][0]["id"] = ODD
    write_json(tmp_path / "instances.json", content)
    assert main(["data", "check", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "half \\ud800\\n\\x1b[31m" in told and "\x1b" not in told


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_check_says_of_a_name_that_is_no_utf8_what_can_be_written(tmp_path):
    make("masks", tmp_path)
    images = tmp_path / "a" / "images"
    (images / "a.png").write_bytes(b"no picture")
    os.rename(images / "a.png", os.fsencode(images) + b"/\xfe.png")
    report = check_dataset(open_set(tmp_path))
    assert len(report.mistakes) == 1 and "\\udcfe.png" in report.mistakes[0]
    str(report).encode()


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_pictures_whose_names_are_no_utf8_are_kept_for_validation_too(tmp_path):
    make("masks", tmp_path)
    os.rename(tmp_path / "a", os.fsencode(tmp_path) + b"/\xfe")
    parts = [open_part(tmp_path, subset=part) for part in ("train", "val")]
    assert [part.num_images for part in parts] == [1, 1]


def test_class_ids_that_are_no_numbers_are_sorted_as_text(tmp_path):
    make("coco", tmp_path)
    content = coco_content()
    ids = ["--5", "-", "5", -3, "x", "\u0663", "9" * 400]
    content["categories"] = [{"id": i, "name": f"class of {i}"} for i in ids]
    content["annotations"][0]["category_id"] = "--5"
    content["annotations"][1]["category_id"] = -3
    write_json(tmp_path / "instances.json", content)
    dataset = open_set(tmp_path)
    found = [info["id"] for info in dataset.class_info[1:]]
    assert found[:3] == [-3, "5", "9" * 400] and set(found[3:]) == {"--5", "-", "x", "\u0663"}


def test_a_colour_of_thousands_of_digits_is_none(tmp_path):
    make("indexed", tmp_path)
    for name in "ab":
        save(tmp_path / "SegmentationClass" / f"{name}.png", mask_of(CAT).astype(np.uint8))
    (tmp_path / "labelmap.txt").write_text(f"cat:{'9' * 5000},1,2::\n")
    assert open_set(tmp_path).class_names == ["BG", "cat"]


# -- Masks of enormous sizes ------------------------------------------------------------------

SIDE = 13_000


def enormous() -> bytes:
    """A PNG of 169 million black pixels in 20 KB."""
    stream = io.BytesIO()
    Image.new("1", (SIDE, SIDE), 1).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def enormous_png():
    return enormous()


@pytest.fixture
def decoded(monkeypatch):
    """The numbers of pixels of the pictures that Pillow decodes."""
    pixels = []
    load = ImageFile.ImageFile.load

    def noted(self):
        pixels.append(self.width * self.height)
        return load(self)

    monkeypatch.setattr(ImageFile.ImageFile, "load", noted)
    return pixels


@pytest.mark.parametrize("stated", [(HEIGHT, WIDTH), (None, None), (SIDE, SIDE)])
def test_labelme_masks_larger_than_their_picture_are_not_decoded(
    stated, tmp_path, enormous_png, decoded
):
    text = base64.b64encode(enormous_png).decode()
    corners = [[0, 0], [SIDE - 1, SIDE - 1]]
    shape = {"label": "cat", "shape_type": "mask", "points": corners, "mask": text}
    content = labelme_content("a.png", CAT, "cat")
    content["shapes"] += [shape] * 3
    content["imageHeight"], content["imageWidth"] = stated
    picture(tmp_path / "a.png")
    write_json(tmp_path / "a.json", content)

    dataset = open_set(tmp_path)
    if stated == (SIDE, SIDE):
        with pytest.raises(FormatError, match="labels .* were made for 13000 high"):
            dataset.load_mask(0)
    else:
        assert read_all(dataset) == [[1]]
        assert "larger than their picture" in dataset.notes[-1]
    assert max(decoded, default=0) <= HEIGHT * WIDTH


def test_enormous_pictures_inside_labelme_are_not_decoded(tmp_path, enormous_png, decoded):
    content = labelme_content("a.png", CAT, "cat")
    content["imageData"] = base64.b64encode(enormous_png).decode()
    write_json(tmp_path / "a.json", content)
    dataset = open_set(tmp_path)
    for load in (dataset.load_image, dataset.load_mask):
        with pytest.raises(FormatError, match="is 13000 high and 13000 wide, but"):
            load(0)
    assert max(decoded, default=0) <= HEIGHT * WIDTH


@pytest.mark.parametrize("format", ["masks", "indexed", "voc"])
def test_enormous_mask_files_are_not_decoded(format, tmp_path, enormous_png, decoded):
    if format == "voc":
        make("indexed", tmp_path)
        (tmp_path / "masks").rename(tmp_path / "SegmentationObject")
        (tmp_path / "images").rename(tmp_path / "JPEGImages")
        for name in "ab":
            save(tmp_path / "SegmentationClass" / f"{name}.png", mask_of(CAT).astype(np.uint8))
        file = tmp_path / "SegmentationClass" / "a.png"
    else:
        file = make(format, tmp_path)
    if format == "masks":
        file = file.with_name("2.png")
    file.write_bytes(enormous_png)
    with pytest.raises(FormatError, match="13000 high and 13000 wide"):
        read_all(open_set(tmp_path))
    assert max(decoded, default=0) <= HEIGHT * WIDTH


def test_a_damaged_mask_is_told_when_it_is_drawn(tmp_path):
    good = png(np.ones((10, 20), np.uint8) * 255)
    cut = base64.b64encode(base64.b64decode(good)[:45]).decode()
    shapes = [
        {"label": "cat", "shape_type": "mask", "points": [[10, 5], [29, 14]], "mask": mask}
        for mask in (good, cut)
    ]
    picture(tmp_path / "a.png")
    content = labelme_content("a.png", CAT, "cat") | {"shapes": shapes}
    (tmp_path / "a.json").write_text(json.dumps(content))
    dataset = open_set(tmp_path)
    assert read_all(dataset) == [[1]]
    assert "Instances left out: they have a mask that is no PNG file" in dataset.notes[-1]
