"""Large pictures in a run: read by parts, each object once, told what was cut, drawn small."""

import argparse
import json

import numpy as np
import pytest
import tifffile
from PIL import Image
from small_network import small_config

from mrcnn.cli.tiles import add_tiles_arguments, tiles_of
from mrcnn.data.formats import open as open_data
from mrcnn.data.pictures import PictureError
from mrcnn.data.scaling import Rule
from mrcnn.data.sources import find_sources
from mrcnn.data.windows import TiffWindows, open_windows, shrunk
from mrcnn.detect import files, large_overlays
from mrcnn.detect.instances import Instances
from mrcnn.detect.overlays import overlay_paths
from mrcnn.detect.results import coco_results
from mrcnn.detect.tiled import Tiles
from mrcnn.errors import UsageError
from mrcnn.progress import Progress

NAMES = ["BG", "cell", "dust"]


def squares(height, width):
    """A picture of bright squares, one in each cell of 50 pixels, and how many these are."""
    picture = np.full((height, width, 3), 30, np.uint8)
    for y in range(10, height - 30, 50):
        for x in range(10, width - 30, 50):
            picture[y : y + 25, x : x + 25] = 220
    count = len(range(10, height - 30, 50)) * len(range(10, width - 30, 50))
    return picture, count


def bright(picture, most=1000):
    from skimage.measure import label, regionprops

    regions = regionprops(label(picture[..., 0] > 120))[:most]
    masks = np.zeros((*picture.shape[:2], len(regions)), bool)
    for i, region in enumerate(regions):
        masks[(*region.coords.T, i)] = True
    found = Instances(
        rois=np.array([region.bbox for region in regions], np.int32).reshape(-1, 4),
        class_ids=np.ones(len(regions), np.int32),
        scores=np.ones(len(regions), np.float32),
        masks=masks,
    )
    found.limited = len(regions) == most
    return found


def run(given, out, detect=bright, tiles=Tiles(True, 128, 40), labels=None, **settings):  # noqa: B008
    sources = find_sources(given, out)
    overlays = overlay_paths(sources, out, "auto")
    config = small_config(POST_NMS_ROIS_INFERENCE=10_000, **settings)
    job = files.Job(
        *(sources, overlays, "w.h5", config, NAMES, out),
        *(labels, "auto", "auto", False, "", True, tiles),
    )
    return files.run(job, detect, Progress(len(sources)))


def listed(out):
    return json.loads((out / "images.json").read_text())["images"]


@pytest.fixture(autouse=True)
def _by_parts(monkeypatch):
    """Small files are read as large ones are."""
    monkeypatch.setattr("mrcnn.data.windows._WINDOWED", 1)


def write(path, picture, **how):
    tifffile.imwrite(path, picture, tile=(64, 64), photometric="rgb", **how)
    return path


def test_a_tiled_file_gives_each_object_once_and_an_overlay_that_opens(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(large_overlays, "OVERVIEW", 200)
    monkeypatch.setattr(large_overlays, "PART", 150)
    picture, count = squares(330, 420)
    path, out = write(tmp_path / "a.tif", picture), tmp_path / "out"
    assert run([path], out) == 0
    rows = json.loads((out / "results.json").read_text())
    assert len(rows) == count and all(row["bbox"][2:] == [25, 25] for row in rows)
    (entry,) = listed(out)
    assert entry["tiles"]["side"] == 128 and entry["instances"] == count
    small = np.asarray(Image.open(out / "a.png"))
    assert small.shape == (110, 140, 3)
    parts = [np.asarray(Image.open(out / f"a.part{i}.png")) for i in (1, 2)]
    assert all(len(set(map(tuple, part.reshape(-1, 3)))) > 2 for part in parts)
    assert "a.png is drawn at 1/3 of its size" in capsys.readouterr().out


def test_the_whole_and_its_tiles_find_the_same(tmp_path):
    picture, _ = squares(330, 420)
    whole = coco_results(1, bright(picture))
    out = tmp_path / "out"
    run([write(tmp_path / "a.tif", picture, compression="zlib")], out)
    rows = json.loads((out / "results.json").read_text())
    key = lambda row: row["bbox"]  # noqa: E731
    assert sorted(rows, key=key) == sorted(whole, key=key)


def test_a_picture_that_is_broken_in_its_middle_is_named_and_others_go_on(tmp_path, capsys):
    picture, count = squares(330, 420)
    path = write(tmp_path / "a.tif", picture, compression="zlib")
    good = write(tmp_path / "b.tif", picture, compression="zlib")
    with tifffile.TiffFile(path) as file:
        offset = file.pages[0].dataoffsets[24]  # fourth row of tiles, first but three
    data = bytearray(path.read_bytes())
    data[offset : offset + 40] = bytes(40)
    path.write_bytes(data)
    out = tmp_path / "out"
    assert run([path, good], out) == 1
    said = capsys.readouterr().err
    assert f"failed: {path} is damaged or cut short: the part of it at row 192, column 192" in said
    assert [(row["file_name"], row["instances"]) for row in listed(out)] == [("b.tif", count)]


def test_limits_are_told_with_the_setting(tmp_path, capsys):
    picture, _ = squares(330, 420)
    path = write(tmp_path / "a.tif", picture)
    run([path], tmp_path / "out", lambda tile: bright(tile, 5), DETECTION_MAX_INSTANCES=5)
    assert "parts of 1 picture with 5 instances" in (said := capsys.readouterr().out)
    assert "--set DETECTION_MAX_INSTANCES=20" in said
    assert listed(tmp_path / "out")[0]["limited"] is True


def test_a_picture_much_too_large_is_told_of_tiles(tmp_path, capsys):
    Image.new("RGB", (300, 310)).save(tmp_path / "a.png")
    Image.new("RGB", (100, 100)).save(tmp_path / "b.png")
    run([tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "out", tiles=Tiles())
    assert "a.png (300 x 310): many times larger" in (said := capsys.readouterr().out)
    assert "--tiles" in said
    run([tmp_path / "a.png"], tmp_path / "out", tiles=Tiles(False))
    assert "--tiles" not in capsys.readouterr().out


def test_weights_of_pieces_are_cut_unasked():
    pieces = small_config(IMAGE_RESIZE_MODE="crop", IMAGE_MIN_SCALE=2)
    assert Tiles().tiling(pieces, (2000, 500)).side == 512  # 1024 in the network
    assert Tiles().tiling(pieces, (500, 500)) is None
    assert Tiles(False).tiling(pieces, (2000, 500)) is None
    assert Tiles().tiling(small_config(), (2000, 500)) is None


# -- Windows of files -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [
        {"tile": (64, 48)},
        {"tile": (64, 48), "compression": "zlib", "predictor": True},
        {"rowsperstrip": 7, "byteorder": ">"},
        {"bigtiff": True},  # one block, of which rows are read
        {"tile": (32, 32), "ome": True},
        {"planarconfig": "separate", "tile": (64, 48)},
    ],
)
def test_windows_are_the_file(tmp_path, how):
    picture = np.random.default_rng(0).integers(0, 256, (150, 210, 3), np.uint8)
    stored = np.moveaxis(picture, 2, 0) if "planarconfig" in how else picture
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", **how)
    with open_windows(tmp_path / "a.tif", least=1) as windows:
        assert isinstance(windows, TiffWindows) and windows.shape == picture.shape
        for top, left, bottom, right in ((0, 0, 150, 210), (60, 100, 130, 202), (149, 0, 150, 9)):
            part = windows.read((top, left, bottom, right))
            assert (part == picture[top:bottom, left:right]).all()


@pytest.mark.parametrize("compression, error", [("tiff_lzw", 0), ("jpeg", 6)])
def test_what_tifffile_cannot_unpack_pillow_does(tmp_path, compression, error):
    y, x = np.mgrid[:150, :210]
    picture = np.stack([y, x, (y + x) // 2], axis=-1).astype(np.uint8)
    path = tmp_path / "a.tif"
    Image.fromarray(picture).save(path, compression=compression, tiffinfo={278: 16})
    with open_windows(path, least=1) as windows:
        assert isinstance(windows, TiffWindows)
        part = windows.read((20, 10, 150, 200)).astype(int)
    assert np.abs(part - picture[20:150, 10:200]).max() <= error


def test_brightness_is_that_of_the_whole_picture(tmp_path):
    deep = np.zeros((150, 210), np.uint16)
    deep[:, 105:] = np.linspace(0, 40_000, 105).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", deep, tile=(64, 48))
    with open_windows(tmp_path / "a.tif", least=1) as windows:
        assert windows.read((0, 0, 150, 100)).max() == 0
        assert windows.read((0, 105, 150, 210)).max() == 255
        small, factor = shrunk(windows, 30)
        assert small.shape == (22, 30) and factor == 7


def test_a_channel_that_is_not_there_is_told_with_the_file(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((150, 210), np.uint16), tile=(64, 48))
    with (
        pytest.raises(PictureError, match=r"a\.tif: there is no channel 3"),
        open_windows(tmp_path / "a.tif", Rule(channels=(3,)), least=1),
    ):
        pass


def test_labels_of_tiles_are_those_of_the_whole(tmp_path):
    picture, count = squares(330, 420)
    path = write(tmp_path / "a.tif", picture)
    run([path], tmp_path / "out", labels="coco")
    found = open_data(tmp_path / "out" / "coco.json")
    crops, _ = found.load_mask_crops(0)
    assert len(crops) == count and {piece.size for piece in crops.pieces} == {625}


# -- The command line -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "given, asked",
    [
        ("", Tiles()),
        ("--tiles", Tiles(True)),
        ("--tiles 0", Tiles(False)),
        ("--tiles 512 --overlap 64", Tiles(True, 512, 64)),
        ("--coarse", Tiles(True, coarse=True)),
    ],
)
def test_what_is_asked_for(given, asked):
    assert tiles_of(parser().parse_args(given.split())) == asked


def test_what_cannot_be_is_refused_before_the_network_is_built(capsys):
    for given, text in (("--tiles 0 --coarse", "no tiles for"), ("--tiles 90 --overlap 60", "45")):
        with pytest.raises(UsageError, match=text):
            tiles_of(parser().parse_args(given.split()))
    with pytest.raises(SystemExit):
        parser().parse_args(["--tiles", "slide.tif"])
    assert "put --tiles behind the pictures" in capsys.readouterr().err


def parser():
    parser = argparse.ArgumentParser()
    add_tiles_arguments(parser)
    return parser
