"""Measurements: scikit-image's own on full masks, in the file's unit, in a table of whole rows."""

import csv
import io

import numpy as np
import pytest
import tifffile
from skimage.measure import regionprops_table

from mrcnn.data.places import Pixel
from mrcnn.detect.instances import Instances
from mrcnn.detect.measure import LENGTHS, rows, table
from mrcnn.detect.tables import MeasurementsFile
from mrcnn.geometry.crops import MaskCrops

RNG = np.random.default_rng(5)
SIZE = (90, 120)


def shapes():
    """A disc, an ellipse with a hole, one in two parts, one on the border, a line and a pixel."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    disc = (y - 30) ** 2 + (x - 30) ** 2 < 15**2
    ring = ((y - 50) / 2) ** 2 + (x - 80) ** 2 < 15**2
    ring &= (y - 50) ** 2 + (x - 80) ** 2 > 6**2
    parts = ((y - 70) ** 2 + (x - 20) ** 2 < 8**2) | ((y - 70) ** 2 + (x - 45) ** 2 < 5**2)
    border = (y + x) > SIZE[0] + SIZE[1] - 30
    line, pixel = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    line[10, 50:70] = pixel[5, 100] = True
    return np.stack([disc, ring, parts, border, line, pixel, np.zeros(SIZE, bool)], axis=2)


MASKS = shapes()
PICTURE = RNG.integers(0, 65536, (*SIZE, 2)).astype(np.uint16)
THEIRS = {
    **{name: name for name in ("area", "perimeter", "orientation", "eccentricity", "solidity")},
    **{"centroid_y": "centroid-0", "centroid_x": "centroid-1"},
    **{name: f"bbox-{i}" for i, name in enumerate(("y1", "x1", "y2", "x2"))},
    "equivalent_diameter": "equivalent_diameter_area",
    **{"major_axis": "axis_major_length", "minor_axis": "axis_minor_length"},
    **{f"mean_{c}": f"intensity_mean-{c}" for c in (0, 1)},
    **{f"min_{c}": f"intensity_min-{c}" for c in (0, 1)},
    **{f"max_{c}": f"intensity_max-{c}" for c in (0, 1)},
}


def values(box):
    return PICTURE[box[0] : box[2], box[1] : box[3]]


@pytest.mark.filterwarnings("ignore")  # of lines, which have no hull
def test_the_numbers_are_scikit_images_on_full_masks():
    wanted = {name.partition("-")[0] for name in THEIRS.values()}
    found = table(MaskCrops.from_masks(MASKS), [1] * 7, ["cell"] * 7, [0.9] * 7, values)
    for i in range(6):
        full = regionprops_table(MASKS[..., i].astype(int), PICTURE, tuple(wanted))
        for ours, theirs in THEIRS.items():
            assert found[ours][i] == pytest.approx(full[theirs][0], rel=1e-9, abs=1e-9), ours
        inside = PICTURE[MASKS[..., i]].astype(float)
        assert (found["sum_0"][i], found["sum_1"][i]) == tuple(inside.sum(axis=0))
    assert found["on_border"].tolist()[:6] == [0, 0, 0, 1, 0, 0]
    assert found["area"][6] == 0 and np.isnan(found["perimeter"][6])
    assert found["id"].tolist() == [1, 2, 3, 4, 5, 6, 7] and set(found["class"]) == {"cell"}


def test_units():
    crops = MaskCrops.from_masks(MASKS[..., :1])
    (row,) = rows(crops, pixel=Pixel(0.5, 0.5, "um"))
    assert row["area_um2"] == row["area"] / 4
    for name in LENGTHS[3:]:
        assert row[f"{name}_um"] == pytest.approx(row[name] / 2)
    assert (row["centroid_y_um"], row["centroid_x_um"]) == (30.5 / 2, 30.5 / 2)
    (row,) = rows(crops, pixel=Pixel(0.5, 2.0, "m"))
    assert row["area_m2"] == row["area"]
    assert row["equivalent_diameter_m"] == pytest.approx(row["equivalent_diameter"])
    assert (row["centroid_y_m"], row["centroid_x_m"]) == (61, 15.25)
    assert "perimeter_m" not in row and "major_axis_m" not in row


def found():
    ids = [1, 2, 1, 1, 1, 1, 2]
    boxes = MaskCrops.from_masks(MASKS).boxes
    names = ["BG", "cell", "nucleus, dark"]
    return Instances(rois=boxes, class_ids=ids, scores=[0.9] * 7, masks=MASKS, class_names=names)


def test_instances_give_a_table(tmp_path):
    columns = found().table(PICTURE)
    assert list(columns)[:6] == ["id", "class", "class_id", "score", "area", "perimeter"]
    assert columns["class"].tolist()[:2] == ["cell", "nucleus, dark"]
    assert {len(column) for column in columns.values()} == {7}
    options = {"imagej": True, "resolution": (4, 4), "metadata": {"unit": "um"}}
    tifffile.imwrite(tmp_path / "x.tif", PICTURE[..., 0], **options)
    of_file = found().table(tmp_path / "x.tif")
    assert of_file["area_um2"][0] == columns["area"][0] / 16
    np.testing.assert_array_equal(of_file["mean_0"], columns["mean_0"])
    assert "mean_1" not in of_file and "mean_0" not in found().table()
    assert found().table(pixel_size="0.5m")["area_m2"][0] == columns["area"][0] / 4
    with pytest.raises(ValueError, match="masks are 90 high and 120 wide: give the picture that"):
        found().table(PICTURE[1:])
    empty = found()[[]].table(PICTURE)
    assert {len(column) for column in empty.values()} == {0} and "area" in empty


def test_pandas_takes_it():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(found().table(PICTURE))
    assert frame.groupby("class")["area"].sum().sum() == MASKS.sum()


def test_the_file_has_the_columns_of_all_pictures(tmp_path):
    instances = found()
    with MeasurementsFile(tmp_path / "measurements.csv") as file:
        for name, pixel, channels in (("a.tif", Pixel(0.5, 0.5, "um"), 2), ("b.png", None, 1)):
            file.add(
                name,
                *(["cell"] * 7, instances.scores, instances.crops),
                lambda box, channels=channels: values(box)[..., :channels],
                pixel,
            )
        assert not (tmp_path / "measurements.csv").exists()  # before it is whole
    text = (tmp_path / "measurements.csv").read_text()
    read = list(csv.DictReader(io.StringIO(text)))
    assert [row["picture"] for row in read] == ["a.tif"] * 7 + ["b.png"] * 7
    assert list(read[0])[:6] == ["picture", "id", "class", "score", "area", "perimeter"]
    assert list(read[0])[-8:-4] == ["mean_0", "min_0", "max_0", "sum_0"]
    columns = instances.table(PICTURE)
    for i, row in enumerate(read[:6]):
        for name in ("area", "perimeter", "orientation", "solidity", "mean_1", "sum_0"):
            assert float(row[name]) == columns[name][i], name
        assert float(row["area_um2"]) == columns["area"][i] / 4
    assert read[7]["area_um2"] == read[7]["mean_1"] == read[6]["perimeter"] == ""
    assert (file.num_rows, file.units) == (14, {"um"})


def test_a_run_that_finds_nothing_has_a_head_all_the_same(tmp_path):
    with MeasurementsFile(tmp_path / "measurements.csv") as file:
        file.add("a.png", [], [], MaskCrops(SIZE, [], []))
    assert (tmp_path / "measurements.csv").read_text().startswith("picture,id,class,score,area,")
