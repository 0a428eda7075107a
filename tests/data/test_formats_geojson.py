"""GeoJSON in pixels, as QuPath and others write it: outlines with holes, classes, pictures."""

import numpy as np
import pytest
from labelled_sets import (
    CAT,
    DOG,
    corners,
    geojson_content,
    geojson_feature,
    make,
    mask_of,
    picture,
    write_json,
)

from mrcnn.data import open as open_set
from mrcnn.data.formats import FormatError, subsets

HOLE = np.s_[8:11, 15:20]
BOTH = geojson_content(geojson_feature(CAT, "cat", HOLE), geojson_feature(DOG, "dog"))


def masks_of(dataset, image_id=0):
    masks, class_ids = dataset.load_mask(image_id)
    return list(np.moveaxis(masks, -1, 0)), [dataset.class_names[i] for i in class_ids]


def feature(region=CAT, **properties):
    return {**geojson_feature(region, ""), "properties": properties}


def rings(*regions):
    return [list(map(list, zip(*corners(region, edge=1)))) for region in regions]


def with_hole():
    mask = mask_of(CAT)
    mask[HOLE] = False
    return mask


def told(dataset):
    return " ".join(dataset.notes)


@pytest.mark.parametrize(
    "file, image",
    [
        ("a.geojson", "a.png"),
        ("a.json", "a.png"),
        ("a.png.geojson", "a.png"),
        ("labels/a.geojson", "images/a.png"),
        ("labels/a.json", "a.png"),
        ("geojson/a.geojson", "images/a.png"),
        ("annotations/a.geojson", "images/a.png"),
        ("exported.geojson", "a.png"),  # there is no other picture
    ],
)
@pytest.mark.parametrize("as_list", [False, True])
def test_a_file_is_of_the_picture_called_like_it(file, image, as_list, tmp_path):
    picture(tmp_path / image)
    write_json(tmp_path / file, BOTH["features"] if as_list else BOTH)
    for named in (tmp_path, tmp_path / file):
        dataset = open_set(named)
        assert dataset.format == "geojson" and dataset.class_names == ["BG", "cat", "dog"]
        masks, names = masks_of(dataset)
        assert names == ["cat", "dog"] and not dataset.notes
        np.testing.assert_array_equal(masks, [with_hole(), mask_of(DOG)])


def test_a_hole_is_cut_out_of_its_own_outline_alone(tmp_path):
    """What lies below, without a hole there, stays whole; so does what lies in the hole."""
    inside = np.s_[9:10, 16:18]
    picture(tmp_path / "a.png")
    large = np.s_[0:30, 0:60]
    features = [geojson_feature(CAT, "cat", HOLE), *map(feature, (large, inside))]
    write_json(tmp_path / "a.geojson", geojson_content(*features))
    masks, _ = masks_of(open_set(tmp_path))
    np.testing.assert_array_equal(masks, [with_hole(), mask_of(large), mask_of(inside)])


def test_pieces_of_a_multipolygon_are_one_instance(tmp_path):
    picture(tmp_path / "a.png")
    one = feature()
    flat = [[[1, 1], [2, 1], [3, 1]]]
    one["geometry"] = {"type": "MultiPolygon", "coordinates": [rings(CAT, HOLE), rings(DOG), flat]}
    write_json(tmp_path / "a.geojson", one)
    dataset = open_set(tmp_path)
    masks, _ = masks_of(dataset)
    np.testing.assert_array_equal(masks, [with_hole() | mask_of(DOG)])
    assert "Pieces of regions dropped: they have no area" in told(dataset)


@pytest.mark.parametrize(
    "properties, names, said",
    [
        ([{"classification": {"names": ["Tumor", "Positive"]}}, {}], ["Tumor: Positive", "thing"],
         "Regions without a class, taken as thing: 1"),
        ([{"classification": "cat", "name": "Rex"}] * 2, ["cat", "cat"], ""),
        ([{"name": "cat"}, {"name": "dog"}], ["cat", "dog"], "its attribute 'name'"),
        ([{"Label": "cat", "id": i} for i in range(2)], ["cat", "cat"], "its attribute 'Label'"),
        ([{"name": f"Cell {i}"} for i in "abcd"], ["thing"] * 4, "is another for each region"),
        ([{"area": 5}, {}], ["thing", "thing"], "all are of one, thing"),
        ([{"classification": {"name": "Ignore*"}}, {"classification": {"name": "cat"}}], ["cat"],
         "labelled as background"),
    ],
)  # fmt: skip
def test_classes(properties, names, said, tmp_path):
    picture(tmp_path / "a.png")
    places = [np.s_[i : i + 5, i : i + 9] for i in range(0, 40, 9)]
    features = [feature(place, **given) for place, given in zip(places, properties)]
    write_json(tmp_path / "a.geojson", geojson_content(*features))
    dataset = open_set(tmp_path, class_name="thing")
    assert masks_of(dataset)[1] == names
    assert said in told(dataset) if said else not dataset.notes


def test_the_class_attribute_can_be_named(tmp_path):
    picture(tmp_path / "a.png")
    features = [feature(CAT, kind="x", colour="red"), feature(DOG, kind="y", colour="green")]
    write_json(tmp_path / "a.geojson", geojson_content(*features))
    assert masks_of(open_set(tmp_path, class_attribute="colour"))[1] == ["red", "green"]
    with pytest.raises(FormatError, match="no region has a value in the attribute size"):
        open_set(tmp_path, class_attribute="size")


def test_annotations_in_which_qupath_searched_are_no_objects(tmp_path):
    picture(tmp_path / "a.png")
    everywhere = np.s_[0:40, 0:60]
    features = [feature(everywhere, objectType="annotation"), feature(objectType="tile")]
    cells = [geojson_feature(place, "cell", objectType="cell") for place in (CAT, DOG)]
    write_json(tmp_path / "a.geojson", geojson_content(*features, *cells))
    dataset = open_set(tmp_path)
    assert dataset.class_names == ["BG", "cell"]
    np.testing.assert_array_equal(masks_of(dataset)[0], [mask_of(CAT), mask_of(DOG)])
    assert "in which QuPath found the other objects: 1" in told(dataset)
    assert "are tiles or cores of QuPath" in told(dataset)
    write_json(tmp_path / "a.geojson", geojson_content(features[0]))
    np.testing.assert_array_equal(masks_of(open_set(tmp_path))[0], [mask_of(everywhere)])


@pytest.mark.parametrize("key, values", [("image", ("a.png", "b.png")), ("file_name", ("a", "b"))])
def test_one_file_for_all_names_the_pictures(key, values, tmp_path):
    make("geojson", tmp_path / "images")
    for file in (tmp_path / "images").glob("*.geojson"):
        file.unlink()
    features = [
        geojson_feature(region, "cat", **{key: name}) for region, name in zip((DOG, CAT), values)
    ]
    write_json(tmp_path / "all.geojson", geojson_content(*features, geojson_feature(CAT, "cat")))
    dataset = open_set(tmp_path)
    assert [info["id"] for info in dataset.image_info] == ["a.png", "b.png"]
    np.testing.assert_array_equal(masks_of(dataset)[0], [mask_of(DOG)])
    assert "they name no picture: 1" in told(dataset)
    write_json(tmp_path / "val.geojson", geojson_content(*features[:1]))
    (tmp_path / "all.geojson").rename(tmp_path / "train.geojson")
    assert subsets(tmp_path) == ["train", "val"]
    assert len(open_set(tmp_path, subset="train").image_info) == 2
    joined = open_set([tmp_path / "train.geojson", tmp_path / "val.geojson"])
    assert len(joined.image_info) == 3


@pytest.mark.parametrize(
    "shift, scale, whole, message",
    [
        ((0, 0), 1, {"crs": {"type": "name", "properties": {"name": "EPSG:32632"}}},
         "coordinates of a map .crs: EPSG:32632."),
        ((4.5e5, 5.2e6), 1, {}, "all lie outside of their pictures .a.png is 60 wide"),
        ((11.5, 18.1), 1e-5, {}, "smaller than a pixel; the first begins at x 11.5"),
    ],
)  # fmt: skip
def test_coordinates_of_maps_are_told(shift, scale, whole, message, tmp_path):
    picture(tmp_path / "a.png", 40, 60)
    one = geojson_feature(CAT, "cat")
    (outline,) = one["geometry"]["coordinates"]
    moved = [[scale * x + shift[0], scale * y + shift[1], 0.0] for x, y in outline]
    one["geometry"]["coordinates"] = [moved]
    write_json(tmp_path / "a.geojson", {**geojson_content(one), **whole})
    with pytest.raises(FormatError, match=message) as error:
        open_set(tmp_path)
    assert "in pixels, counted from the upper left corner" in str(error.value)


def test_a_system_of_pixels_is_none_of_a_map(tmp_path):
    picture(tmp_path / "a.png")
    system = {"type": "name", "properties": {"name": "Simple Cartesian / Pixel Space"}}
    write_json(tmp_path / "a.geojson", {**BOTH, "crs": system})
    assert len(masks_of(open_set(tmp_path))[1]) == 2


def test_what_is_no_outline_is_told(tmp_path):
    picture(tmp_path / "a.png")
    point = {**feature(), "geometry": {"type": "Point", "coordinates": [1, 1]}}
    across = feature(np.s_[30:50, 50:70])
    outside = feature(np.s_[90:95, 90:95])
    nothing = {**feature(), "geometry": None}
    content = geojson_content(point, across, outside, nothing, feature(DOG))
    write_json(tmp_path / "a.geojson", content)
    dataset = open_set(tmp_path)
    assert len(masks_of(dataset)[1]) == 2
    for said in ("are points or lines: 1", "across the border", "lie outside", "neither Polygon"):
        assert said in told(dataset)


def test_files_without_pictures_or_features_are_told(tmp_path):
    make("geojson", tmp_path)
    (tmp_path / "b.png").rename(tmp_path / "c.png")
    with pytest.raises(FormatError, match=r"1 of 2 pictures are missing, .* that of b.geojson"):
        open_set(tmp_path)
    write_json(tmp_path / "b.geojson", {"type": "Topology"})
    assert "Files left out: they hold no features: 1" in told(open_set(tmp_path))
    with pytest.raises(FormatError, match="holds no features"):
        open_set(tmp_path / "b.geojson")


def test_labels_of_two_tools_in_one_folder_are_asked_about(tmp_path):
    make("geojson", tmp_path)
    make("coco", tmp_path)
    with pytest.raises(FormatError, match="several tools"):
        open_set(tmp_path)
    assert open_set(tmp_path, "geojson").format == "geojson"
