"""Damaged files of other kinds: VIA's CSV and VIA 3, polygons in XML, GeoJSON, masks by suffix.

As in test_formats_fuzz: a sentence, a note or the right mask, and never an instance that is gone
without a word.
"""

import csv
import json
import re

import numpy as np
import pytest
import skimage.draw
from hypothesis import given
from hypothesis import strategies as st
from labelled_sets import (
    CAT,
    DOG,
    HEIGHT,
    SIZE,
    WIDTH,
    corners,
    geojson_content,
    geojson_feature,
    mask_of,
    picture,
    save,
)
from test_formats_fuzz import (
    RIGHT,
    damaged,
    fuzzed,
    is_told,
    places,
    point_lists,
    read,
    steps,
    word_steps,
)

from mrcnn.data import open as open_set
from mrcnn.data.formats import FormatError

THINGS = (("a.png", CAT, "cat"), ("b.png", DOG, "dog"))
HOLE = np.s_[8:11, 15:20]
WITH_HOLE = mask_of(CAT) & ~mask_of(HOLE)


def pictures(folder):
    for name, _, _ in THINGS:
        if not (folder / name).exists():
            picture(folder / name)


def flat(region):
    return [side for point in zip(*corners(region)) for side in point]


# -- JSON ---------------------------------------------------------------------------------------


def geojson():
    features = [geojson_feature(CAT, "cat", HOLE, image="a.png")]
    return geojson_content(*features, geojson_feature(DOG, "dog", image="b.png"))


def via_3():
    rows = {
        str(number): {"vid": str(number), "z": [], "xy": [7, *flat(region)], "av": {"1": label}}
        for number, (_, region, label) in enumerate(THINGS)
    }
    numbers = [str(number) for number in range(len(THINGS))]
    files = {n: {"fid": n, "fname": name, "src": name} for n, (name, _, _) in zip(numbers, THINGS)}
    return {
        "project": {"pid": "x", "vid_list": numbers},
        "config": {},
        "attribute": {"1": {"aname": "kind", "type": 1}},
        "file": files,
        "metadata": rows,
        "view": {number: {"fid_list": [number]} for number in numbers},
    }


def num_regions(content):
    """How many regions a file lists, whether they can be used or not."""
    if isinstance(content, list):
        return len(content)
    listed = content.get("features", content.get("metadata", ()))
    listed = list(listed.values()) if isinstance(listed, dict) else listed
    rows = listed if isinstance(listed, list) else []
    # A row of VIA 3 without a shape is a remark about its picture.
    return sum(not isinstance(row, dict) or row.get("xy") != [] for row in rows)


def outlines(content):
    """What of a file's content says where regions lie."""
    keys = ("coordinates", "xy", "geometry")
    return {json.dumps(container[key]) for container, key in places(content, []) if key in keys}


@pytest.mark.parametrize("format, content", [("geojson", geojson()), ("via", via_3())])
@given(changes=st.lists(steps, min_size=1, max_size=3))
@fuzzed
def test_broken_json(format, content, changes, tmp_path):
    pictures(tmp_path)
    file = tmp_path / "labels.json"
    broken = damaged(content, changes)
    file.write_text(json.dumps(broken))
    read(tmp_path, "auto")
    result = read(file, format)
    if result is None:
        return
    masks, notes = result
    if not is_told(notes):
        assert len(masks) == num_regions(broken), "instances are gone without a word"
    if outlines(broken) <= outlines(content):
        right = [*RIGHT, WITH_HOLE] if format == "geojson" else RIGHT
        assert all(any((mask == one).all() for one in right) for mask in masks), "nobody drew that"


@given(points=point_lists, hole=point_lists)
@fuzzed
def test_any_polygon_of_geojson_is_drawn_less_its_hole_or_told(points, hole, tmp_path):
    pictures(tmp_path)
    content = geojson()
    content["features"][0]["geometry"]["coordinates"] = [list(map(list, p)) for p in (points, hole)]
    (tmp_path / "all.geojson").write_text(json.dumps(content))
    masks, notes = read(tmp_path, "auto")
    if len(masks) == 1:
        assert is_told(notes)
        return
    expected = np.zeros(SIZE, bool)
    for ring, value in ((points, True), (hole, False)):
        if value or not any("Holes passed over" in note for note in notes):
            x, y = np.array(ring, float).T - 0.5
            expected[skimage.draw.polygon(y, x, SIZE)] = value
    np.testing.assert_array_equal(masks[0], expected)


# -- CSV and XML --------------------------------------------------------------------------------


def via_csv(folder):
    file = folder / "via.csv"
    with file.open("w", newline="") as table:
        rows = csv.writer(table)
        rows.writerow(["filename", "region_id", "region_shape_attributes", "region_attributes"])
        for name, region, label in THINGS:
            xs, ys = corners(region)
            shape = {"name": "polygon", "all_points_x": xs, "all_points_y": ys}
            rows.writerow([name, 0, json.dumps(shape), json.dumps({"class": label})])
    return file


def xml_of_mit(folder):
    for name, region, label in THINGS:
        outline = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in zip(*corners(region)))
        size = f"<imagesize><nrows>{HEIGHT}</nrows><ncols>{WIDTH}</ncols></imagesize>"
        thing = f"<object><name>{label}</name><polygon>{outline}</polygon></object>"
        file = folder / name.replace(".png", ".xml")
        file.write_text(f"<annotation><filename>{name}</filename>{size}{thing}</annotation>")
    return file


@pytest.mark.parametrize("write, format", [(via_csv, "via"), (xml_of_mit, "voc")])
@given(changes=st.lists(word_steps, min_size=1, max_size=3))
@fuzzed
def test_broken_words(write, format, changes, tmp_path):
    pictures(tmp_path)
    file = write(tmp_path)
    pieces = re.split(r"([\w.-]+)", file.read_text())
    for number, how, word in changes:
        at = 2 * (number % (len(pieces) // 2)) + 1
        pieces[at] = f"{pieces[at]} {pieces[at]}" if how == "double" else word
    file.write_text("".join(pieces))
    read(tmp_path, "auto")
    result = read(tmp_path, format)
    if result and not is_told(result[1]):
        assert len(result[0]) == 2, "instances are gone without a word"


# -- Masks by the names of their files ----------------------------------------------------------

stems = st.from_regex(r"(img|x|Cell|scan)?[-_ ]?[0-9]{1,2}([-_](ch|t)[0-9])?", fullmatch=True)
namings = st.sampled_from(
    ["{}_mask", "{}_masks", "{}_cp_masks", "{}_seg", "{}-label", "mask_{}", "{} instances", "{}"]
)
odd_names = st.sampled_from(["{}_mask_mask", "{}_outlines", "mask", "_mask", "{}_mask (1)", "é{}"])


@given(
    names=st.lists(stems, min_size=1, max_size=4, unique_by=str.lower),
    naming=namings,
    odd=st.none() | odd_names,
    gone=st.none() | st.integers(0, 3),
    beside=st.booleans(),
    data=st.data(),
)
@fuzzed
def test_a_mask_goes_to_its_own_picture_or_is_told(
    names, naming, odd, gone, beside, data, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("set")
    masks = folder if beside and naming != "{}" else folder / "masks"
    for number, name in enumerate(names):
        picture(folder / ("" if masks == folder else "images") / f"{name}.png", 8, 8)
        plane = np.zeros((8, 8), np.uint8)
        plane[2 * number, : number + 1] = 2  # says whose it is
        plane[7, 7] = 3
        how = odd if odd and data.draw(st.booleans()) else naming
        if number != gone:
            save(masks / f"{how.format(name)}.png", plane)
    try:
        dataset = masks_by_name(folder)
    except FormatError as error:
        assert re.fullmatch(r"[^\n]{10,2000}[.?)]", str(error))
        return
    for name, found in dataset:
        number = names.index(name)
        assert len(found) == 2, "instances of another number"
        assert found.sum() == number + 2 and found.any(axis=0)[2 * number, number]


def masks_by_name(folder):
    """(a picture's name, its masks) of a set."""
    dataset = open_set(folder)
    names = [info["path"].rsplit("/", 1)[-1].removesuffix(".png") for info in dataset.image_info]
    masks = [np.moveaxis(dataset.load_mask(i)[0], -1, 0) for i in dataset.image_ids]
    return list(zip(names, masks))
