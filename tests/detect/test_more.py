"""Measurements, outlines and label pictures of a run, opened as people open them."""

import csv
import functools
import json

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage.measure import label, regionprops_table
from small_network import SmallConfig

from mrcnn.cli import detect, main
from mrcnn.data import formats
from mrcnn.data.places import Pixel
from mrcnn.data.sources import find_sources
from mrcnn.data.windows import open_windows
from mrcnn.detect import files
from mrcnn.detect.instances import Instances
from mrcnn.detect.label_images import write_label_image
from mrcnn.detect.more import More
from mrcnn.detect.tiled import Tiles
from mrcnn.geometry.crops import MaskCrops
from mrcnn.progress import Progress

SIZE = (96, 128)
NAMES = ["BG", "cell"]
KEYS = [1, 1, 0, 3, 1024, 0, 1, 1, 3072, 0, 1, 32633, 3076, 0, 1, 9001]
MAP = [
    (34735, "H", 16, KEYS, True),
    (33550, "d", 3, (0.5, 0.5, 0), True),
    (33922, "d", 6, (0, 0, 0, 4e5, 5.6e6, 0), True),
]


def cells():
    """Bright discs of 16 bits on dark, and their numbers."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    numbers = np.zeros(SIZE, np.uint8)
    for number, (row, column) in enumerate([(20, 20), (60, 90), (75, 5)], start=1):
        numbers[(y - row) ** 2 + (x - column) ** 2 < 12**2] = number
    return (300 + 2000 * (numbers > 0) + x).astype(np.uint16), numbers


CELLS, NUMBERS = cells()


def ideal(picture):
    """A detector that finds what is bright."""
    grey = picture if picture.ndim == 2 else picture[..., 0]
    assert grey.dtype == np.uint8
    found = label(grey > 128)
    masks = found[..., None] == np.arange(1, found.max() + 1)
    return Instances(
        rois=MaskCrops.from_masks(masks).boxes,
        class_ids=np.ones(masks.shape[2], np.int32),
        scores=np.linspace(0.95, 0.9, masks.shape[2], dtype=np.float32),
        masks=masks,
        class_names=NAMES,
    )


def run(out, given, more, tiles=None, config=None, said=None):
    sources = find_sources(given, out / "fetched")
    job = files.Job(
        *(sources, None, "w.h5", config or SmallConfig(), NAMES, out),
        *(None, "auto", "auto", False, "", False, tiles or Tiles(False), more),
    )
    progress = Progress(len(sources))
    if said is not None:
        progress.say = said.append
    return files.run(job, ideal, progress)


def table(out):
    with (out / "measurements.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def write_all(folder):
    """A microscope's, a map's and a plain picture."""
    folder.mkdir()
    options = {"imagej": True, "resolution": (4, 4), "metadata": {"unit": "um"}}
    tifffile.imwrite(folder / "a.tif", CELLS, **options)
    colour = np.repeat((NUMBERS[..., None] > 0).astype(np.uint8) * 200, 3, axis=2)
    tifffile.imwrite(folder / "b.tif", colour, photometric="rgb", extratags=MAP)
    Image.fromarray(colour).save(folder / "c.png")
    return folder


def test_all_that_is_asked_for(tmp_path):
    out, said = tmp_path / "out", []
    folder = write_all(tmp_path / "in")
    assert run(out, [folder], More(True, True, True), said=said) == 0
    rows = table(out)
    assert [row["picture"] for row in rows] == ["a.tif"] * 3 + ["b.tif"] * 3 + ["c.png"] * 3
    areas = regionprops_table(label(NUMBERS), properties=("area",))["area"]
    for row, area in zip(rows, [*areas] * 3):
        assert float(row["area"]) == area
    assert float(rows[0]["area_um2"]) == areas[0] / 16 and rows[0]["area_m2"] == ""
    assert float(rows[3]["area_m2"]) == areas[0] / 4 and rows[3]["area_um2"] == ""
    assert rows[6]["area_um2"] == rows[6]["area_m2"] == ""
    assert [row["on_border"] for row in rows[:3]] == ["0", "0", "1"]
    for row, number in zip(rows, (1, 2, 3)):  # of the file's own values
        assert float(row["mean_0"]) == pytest.approx(CELLS[number == NUMBERS].mean(), rel=1e-12)
    assert rows[0]["mean_1"] == "" and rows[6]["mean_2"] == "200"

    pixels, on_map = (json.loads((out / "geojson" / f"{n}.geojson").read_text()) for n in "ab")
    first = pixels["features"][0]["properties"]
    assert first["objectType"] == "detection" and first["classification"] == {"name": "cell"}
    assert first["measurements"]["score"] == pytest.approx(0.95)
    x, y = np.array(on_map["features"][0]["geometry"]["coordinates"][0]).T
    assert abs(x.mean() - (4e5 + 10.25)) < 0.5 and abs(y.mean() - (5.6e6 - 10.25)) < 0.5
    assert on_map["crs"]["properties"]["name"].endswith("EPSG::32633")

    for name in "abc":
        numbers = tifffile.imread(out / "label_images" / f"{name}.tif")
        assert numbers.dtype == np.uint32
        np.testing.assert_array_equal(numbers, label(NUMBERS))
    assert "a.tif: its values are 300 to" in said[0] and "--range sets it (said once)" in said[0]
    assert any(
        "9 rows, in pixels and m and um (a pixel is 0.25 um, 0.5 m)" in line for line in said
    )
    read, _ = formats.open(out / "geojson").load_mask(1)
    assert np.count_nonzero(read.any(axis=2) ^ (NUMBERS > 0)) < 0.02 * np.count_nonzero(NUMBERS)


def test_pandas_opens_the_table(tmp_path):
    pandas = pytest.importorskip("pandas")
    run(tmp_path / "out", [write_all(tmp_path / "in")], More(table=True))
    frame = pandas.read_csv(tmp_path / "out" / "measurements.csv")
    assert len(frame) == 9 and frame["area"].dtype.kind in "if"
    assert frame.groupby("picture")["area_um2"].count().to_dict() == {
        "a.tif": 3,
        "b.tif": 0,
        "c.png": 0,
    }


def test_the_label_picture_lies_on_the_map(tmp_path):
    run(tmp_path / "out", [write_all(tmp_path / "in")], More(label_image=True))
    with tifffile.TiffFile(tmp_path / "out" / "label_images" / "b.tif") as file:
        tags = file.pages[0].tags
        assert tags[33922].value[3:5] == (4e5, 5.6e6) and tags[34735].value == tuple(KEYS)


def test_a_size_that_is_given_counts_more_than_the_files(tmp_path):
    out = tmp_path / "out"
    run(out, [write_all(tmp_path / "in")], More(table=True, pixel=Pixel(2, 2, "um")))
    assert all(float(row["area_um2"]) == 4 * float(row["area"]) for row in table(out))


def test_in_tiles_the_values_are_the_files_too(tmp_path, monkeypatch):
    small = functools.partial(open_windows, least=1)
    monkeypatch.setattr("mrcnn.detect.tiled.open_windows", small)
    tifffile.imwrite(tmp_path / "a.tif", CELLS, tile=(32, 32))
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run(whole, [tmp_path / "a.tif"], More(table=True))
    run(cut, [tmp_path / "a.tif"], More(table=True), Tiles(True, 64, 32))
    key = lambda row: (float(row["centroid_y"]), float(row["centroid_x"]))  # noqa: E731
    one, other = (sorted(table(out), key=key) for out in (whole, cut))
    assert len(one) == len(other) == 3
    for a, b in zip(one, other):
        assert (a["area"], a["mean_0"], a["sum_0"]) == (b["area"], b["mean_0"], b["sum_0"])


def test_overlapping_objects_and_several_tiles_of_a_label_picture(tmp_path):
    boxes = [(10, 10, 300, 300), (200, 250, 290, 600), (0, 0, 0, 0)]
    pieces = [np.ones((y2 - y1, x2 - x1), bool) for y1, x1, y2, x2 in boxes]
    crops = MaskCrops((310, 700), boxes, pieces)
    write_label_image(tmp_path / "x.tif", crops)
    expected = np.zeros((310, 700), np.uint32)
    expected[200:290, 250:600] = 2
    expected[10:300, 10:300] = 1
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "x.tif"), expected)


def test_rois_for_imagej(tmp_path):
    roifile = pytest.importorskip("roifile")
    run(tmp_path / "out", [write_all(tmp_path / "in") / "a.tif"], More(rois=True))
    rois = roifile.roiread(tmp_path / "out" / "rois" / "a.zip")
    assert [roi.name for roi in rois] == ["0001 cell", "0002 cell", "0003 cell"]
    y, x = np.nonzero(NUMBERS == 1)
    points = rois[0].coordinates()
    assert abs(points.min(axis=0) - (x.min(), y.min())).max() <= 0.5
    assert abs(points.max(axis=0) - (x.max() + 1, y.max() + 1)).max() <= 0.5


def test_what_a_config_looks_at_is_what_detect_looks_at(tmp_path):
    stack = np.stack([CELLS * 0 + 7, CELLS[::-1]])
    options = {"ome": True, "photometric": "minisblack", "metadata": {"axes": "ZYX"}}
    tifffile.imwrite(tmp_path / "a.tif", stack, **options)
    config = type("C", (SmallConfig,), {"IMAGE_PLANE": 1, "IMAGE_RANGE": (0, 3000)})()
    said = []
    assert (
        run(tmp_path / "out", [tmp_path / "a.tif"], More(table=True), config=config, said=said) == 0
    )
    assert len(table(tmp_path / "out")) == 3
    assert "it holds 2 depths, of which number 1 is taken" in said[0]
    assert "0 to 3000 become 0..255" in said[1]


def test_nonsense_is_one_sentence_and_the_others_go_on(tmp_path, capsys):
    write_all(tmp_path / "in")
    tifffile.imwrite(tmp_path / "in" / "nan.tif", np.full(SIZE, np.nan, np.float32))
    tifffile.imwrite(tmp_path / "in" / "flat.tif", np.full(SIZE, 4000, np.uint16))
    said = []
    assert run(tmp_path / "out", [tmp_path / "in"], More(table=True), said=said) == 1
    assert "nan.tif: it holds no number: all its values are NaN" in capsys.readouterr().err
    assert any("flat.tif: all its values are 4000, so that nothing can be seen" in s for s in said)
    assert len(table(tmp_path / "out")) == 9


@pytest.mark.parametrize(
    "words, told",
    [
        (["--pixel-size", "0.25um"], "--pixel-size is for measurements: add --table"),
        (["--pixel-size", "3", "--table"], "3 is no size of a pixel: write 0.25um"),
        (["--geojson", "--labels", "geojson"], "write the same files: leave one out"),
        (["--table", "--job", "x"], "mrcnn job convert DIR OUT --to csv"),
    ],
)
def test_what_contradicts_itself(tmp_path, capsys, words, told):
    folder = write_all(tmp_path / "in")
    given = ["detect", str(folder), "--weights", "synthetic", "--out", str(tmp_path / "out")]
    assert main([*given, *words]) == 2
    assert told in capsys.readouterr().err


def test_the_command(tmp_path, monkeypatch, capsys):
    """As a person calls it, with another network behind it."""
    monkeypatch.setattr(detect, "load_detector", lambda *_: ideal)
    monkeypatch.setattr(detect.synthetic, "synthetic_weights", lambda: tmp_path / "w.h5")
    folder, out = write_all(tmp_path / "in"), tmp_path / "out"
    words = "--weights synthetic --table --geojson --label-image --pixel-size 0.5um --range type"
    assert main(["detect", str(folder), "--out", str(out), *words.split()]) == 0
    said = capsys.readouterr().out
    assert f"Measurements in {out / 'measurements.csv'}: " in said
    assert f"Outlines in {out / 'geojson'}, 1 on the map" in said
