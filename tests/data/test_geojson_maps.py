"""GeoJSON there and back: in pixels, and by the map of a GeoTIFF to within half a pixel."""

import json

import numpy as np
import pytest
import skimage.draw
import tifffile
from PIL import Image

from mrcnn import data
from mrcnn.cli import main
from mrcnn.data.formats import FormatError
from mrcnn.data.places import Map, find_place
from mrcnn.data.writers import WRITERS, Labelled
from mrcnn.data.writing_geojson import polygons

SIZE = (120, 160)
NAMES = ["BG", "roof", "tree"]
UTM = {1024: 1, 1025: 1, 3072: 32633, 3076: 9001}
DEGREES = {1024: 2, 1025: 1, 2048: 4326}
# Pixels of 0.5 m at (4e5, 5.6e6); the same turned by 30 degrees; degrees of about 0.5 m.
TURN = 0.5 * np.array([[np.cos(0.5), np.sin(0.5)], [np.sin(0.5), -np.cos(0.5)]])
MAPS = {
    "straight": (UTM, [0.5, 0, 0, 4e5, 0, -0.5, 0, 5.6e6], 32633),
    "turned": (UTM, [*TURN[0], 0, 4e5, *TURN[1], 0, 5.6e6], 32633),
    "degrees": (DEGREES, [6e-6, 0, 0, 13.4, 0, -5e-6, 0, 52.5], 4326),
    "a system of its own": ({1024: 1, 3072: 32767}, [2, 0, 0, 500, 0, -2, 0, 900], None),
}


def geotiff(path, keys, matrix, picture=None):
    directory = [1, 1, 0, len(keys)]
    for key, value in keys.items():
        directory += [key, 0, 1, value]
    matrix = [*matrix, 0, 0, 0, 0, 0, 0, 0, 1]
    tags = [(34735, "H", len(directory), directory, True), (34264, "d", 16, matrix, True)]
    picture = np.zeros((*SIZE, 3), np.uint8) if picture is None else picture
    tifffile.imwrite(path, picture, photometric="rgb", extratags=tags)


def masks():
    """A turned rectangle, a crown with a hole, one in two parts, a dot in the hole, a pixel."""
    found = np.zeros((*SIZE, 5), bool)
    found[(*skimage.draw.polygon([20, 40, 60, 40], [20, 10, 60, 70], SIZE), 0)] = True
    found[(*skimage.draw.disk((80, 110), 30, shape=SIZE), 1)] = True
    found[(*skimage.draw.disk((80, 110), 15, shape=SIZE), 1)] = False
    found[5:15, 100:130, 2] = found[20:30, 120:150, 2] = True
    found[(*skimage.draw.disk((80, 110), 6, shape=SIZE), 3)] = True
    found[119, 0, 4] = True
    return found


def within_half_a_pixel(one, other):
    """No pixel differs but those that lie on the outline of either."""
    differ = one ^ other
    for mask in (one, other):
        inner = mask.copy()
        outer = mask.copy()
        for axis in (0, 1):
            for step in (-1, 1):
                near = np.roll(mask, step, axis)
                inner &= near
                outer |= near
        differ &= outer & ~inner
    return not ((one ^ other) & ~differ).any() and np.count_nonzero(one ^ other) <= 0.02 * one.sum()


def written(folder, item):
    with WRITERS["geojson"](folder, NAMES) as writer:
        writer.add(item)
    return writer


@pytest.mark.parametrize("name", MAPS)
def test_from_a_geotiff_to_geojson_to_labels_to_masks(tmp_path, name):
    keys, matrix, epsg = MAPS[name]
    geotiff(tmp_path / "field.tif", keys, matrix)
    truth = masks()
    writer = written(tmp_path, Labelled("field.tif", *SIZE, truth, np.array([1, 2, 1, 2, 2])))
    assert "Coordinates are those of the map" in writer.notes[0]
    content = json.loads((tmp_path / "field.geojson").read_text())
    classes = [one["properties"]["class"] for one in content["features"]]
    assert classes == ["roof", "tree", "roof", "tree", "tree"]
    said = content.get("crs", {}).get("properties", {}).get("name", "")
    systems = {
        32633: "urn:ogc:def:crs:EPSG::32633",
        4326: "urn:ogc:def:crs:OGC:1.3:CRS84",
        None: "",
    }
    assert said == systems[epsg]
    corner = content["features"][0]["geometry"]["coordinates"][0][0]
    assert abs(corner[0] - matrix[3]) < 200 * abs(max(matrix[:2], key=abs))
    for feature in content["features"]:
        several = feature["geometry"]["coordinates"]
        several = several if feature["geometry"]["type"] == "MultiPolygon" else [several]
        for outline, *holes in several:  # outlines against the clock, where y goes up
            assert area(outline) > 0 and all(area(hole) < 0 for hole in holes)
            assert outline[0] == outline[-1]

    if name == "degrees":  # where nothing is said, GeoJSON means degrees
        del content["crs"]
        (tmp_path / "field.geojson").write_text(json.dumps(content))
    dataset = data.open(tmp_path)
    assert dataset.format == "geojson" and dataset.class_names == NAMES
    assert any("in coordinates of their map" in note for note in dataset.notes)
    read, class_ids = dataset.load_mask(0)
    assert class_ids.tolist() == [1, 2, 1, 2, 2]
    for i in range(truth.shape[2]):
        assert within_half_a_pixel(truth[..., i], read[..., i]), i


def area(ring):
    x, y = (np.array(ring) - ring[0]).T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(np.roll(x, -1), y)) / 2


def test_in_pixels_for_qupath(tmp_path):
    Image.new("RGB", SIZE[::-1]).save(tmp_path / "slide.png")
    truth = masks()
    item = Labelled("slide.png", *SIZE, truth, np.array([1, 2, 1, 2, 2]), np.full(5, 0.9))
    assert written(tmp_path, item).notes == []
    content = json.loads((tmp_path / "slide.geojson").read_text())
    assert "crs" not in content and content["image"] == "slide.png"
    first = content["features"][0]["properties"]
    assert first == {
        "objectType": "annotation",
        "classification": {"name": "roof"},
        "name": "roof 1",
        "measurements": {"score": 0.9},
    }
    assert [len(content["features"][i]["geometry"]["coordinates"]) for i in (0, 1, 2)] == [1, 2, 2]
    assert content["features"][2]["geometry"]["type"] == "MultiPolygon"
    pixel = content["features"][4]["geometry"]["coordinates"][0]
    assert np.array(pixel).min(axis=0).tolist() == [0, 119] and len(pixel) == 5
    read, _ = data.open(tmp_path).load_mask(0)
    for i in range(truth.shape[2]):
        assert within_half_a_pixel(truth[..., i], read[..., i]), i


def test_few_points_within_half_a_pixel():
    disc = np.zeros((200, 200), bool)
    disc[skimage.draw.disk((100, 100), 90)] = True
    ((outline,),) = polygons(disc, 10, 20)
    assert len(outline) < 120
    distances = np.hypot(*(outline - (120.5, 110.5)).T)
    assert abs(distances - 90).max() < 1.2


def layer(tmp_path, points, **head):
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [points]},
        "properties": {"class": "roof"},
    }
    content = {"type": "FeatureCollection", "features": [feature], **head}
    (tmp_path / "field.geojson").write_text(json.dumps(content))
    return data.open(tmp_path)


def system(name):
    return {"crs": {"type": "name", "properties": {"name": name}}}


def test_layers_that_say_their_system_and_layers_that_dont(tmp_path):
    geotiff(tmp_path / "field.tif", *MAPS["straight"][:2])
    square = np.array([[10, 20], [50, 20], [50, 60], [10, 60], [10, 20]])
    world = find_place(tmp_path / "field.tif").map.to_world(square).tolist()
    for head in ({}, system("urn:ogc:def:crs:EPSG::32633"), system("EPSG:32633")):
        read, _ = layer(tmp_path, world, **head).load_mask(0)
        assert read.sum() == 1600 and read[20:60, 10:50].all()
    read, _ = layer(tmp_path, square.tolist()).load_mask(0)  # in pixels
    assert read.sum() == 1600
    with pytest.raises(FormatError, match=r"EPSG:25832, and field\.tif is in EPSG:32633: bring"):
        layer(tmp_path, world, **system("urn:ogc:def:crs:EPSG::25832"))
    degrees = (square * 1e-6 + (13.4, 52.5)).tolist()
    with pytest.raises(FormatError, match="EPSG:4326, and field.tif is in EPSG:32633"):
        layer(tmp_path, degrees, **system("urn:ogc:def:crs:OGC:1.3:CRS84"))
    with pytest.raises(FormatError, match="or, where the picture is a GeoTIFF, in its own system"):
        layer(tmp_path, degrees)


def test_what_is_no_point_is_passed_over(tmp_path):
    geotiff(tmp_path / "field.tif", *MAPS["straight"][:2])
    square = np.array([[10, 20], [50, 20], [50, 60], [10, 60], [10, 20]])
    world = find_place(tmp_path / "field.tif").map.to_world(square).tolist()
    for odd in ([[10**400, 0]] * 4, [[float("nan"), 1]] * 4, [{"x": 1}], [[True, None]], "x", [[]]):
        features = [
            {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}}
            for ring in (odd, world)
        ]
        content = json.dumps({"type": "FeatureCollection", "features": features})
        (tmp_path / "field.geojson").write_text(content)
        read, _ = data.open(tmp_path).load_mask(0)
        assert read.sum() == 1600


def test_convert_writes_it_and_keeps_what_was_corrected(tmp_path, capsys):
    geotiff(tmp_path / "field.tif", *MAPS["straight"][:2])
    written(tmp_path, Labelled("field.tif", *SIZE, masks(), np.array([1, 2, 1, 2, 2])))
    out = tmp_path / "out"
    assert main(["data", "convert", str(tmp_path), "--to", "geojson", str(out)]) == 0
    assert "1 picture, 5 instances of roof, tree (geojson)" in capsys.readouterr().out
    first = json.loads((tmp_path / "field.geojson").read_text())
    second = json.loads((out / "field.geojson").read_text())
    assert second["image"] == "../field.tif" and len(second["features"]) == 5
    assert second["crs"] == first["crs"]
    read, _ = data.open(out).load_mask(0)
    assert within_half_a_pixel(masks()[..., 0], read[..., 0])
    assert main(["data", "convert", str(tmp_path), "--to", "geojson", str(out)]) == 2
    assert "may hold corrections made by hand" in capsys.readouterr().err


def test_a_map_without_a_turn_is_exact():
    on_map = Map((0.5, 0.0, 4e5, 0.0, -0.5, 5.6e6), 32633)
    assert on_map.to_world(np.array([[2, 4]])).tolist() == [[400001, 5599998]]


def test_predictions_are_marked_until_somebody_changes_them(tmp_path):
    geotiff(tmp_path / "field.tif", *MAPS["degrees"][:2])
    written(tmp_path, Labelled("field.tif", *SIZE, masks(), np.array([1] * 5), np.ones(5)))
    assert data.open(tmp_path).image_info[0]["predicted"]
    path = tmp_path / "field.geojson"
    content = json.loads(path.read_text())
    ring = content["features"][0]["geometry"]["coordinates"][0]
    ring[0][0] = ring[-1][0] = ring[0][0] + 1e-5
    path.write_text(json.dumps(content))
    assert "predicted" not in data.open(tmp_path).image_info[0]
