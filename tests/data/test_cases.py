"""Sets as people have them, each kind with the value that a person would expect.

Their pictures are 48 high and 64 wide, with an object at A (192 pixels), B (384) or C (192).
"""

import argparse
import csv
import json
import struct
import zlib

import numpy as np
import pytest
from labelled_sets import picture, write_json
from PIL import Image

from mrcnn.cli import evaluate, main, train
from mrcnn.data import open as open_set
from mrcnn.data.check import check_dataset
from mrcnn.data.formats import FormatError
from mrcnn.data.formats.labelled import LabelledDataset

HEIGHT, WIDTH = 48, 64
A, B, C = np.s_[8:20, 8:24], np.s_[24:40, 32:56], np.s_[28:44, 4:16]


def edges(region: tuple) -> list[int]:
    """[x1, y1, x2, y2] of a region's outer edges."""
    rows, columns = region
    return [columns.start, rows.start, columns.stop, rows.stop]


def square(region: tuple) -> list[list[int]]:
    """[x, y] of a region's four corners."""
    x1, y1, x2, y2 = edges(region)
    return [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]


def flat(region: tuple) -> list[int]:
    return [side for point in square(region) for side in point]


def runs(region: tuple) -> dict:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[region] = True
    steps = np.flatnonzero(np.diff(mask.T.reshape(-1), prepend=False))
    return {
        "size": [HEIGHT, WIDTH],
        "counts": np.diff([0, *steps, mask.size]).tolist(),
    }


def draw(path, **options):
    return picture(path, HEIGHT, WIDTH, **options)


def coco(annotations: list[dict], names=("cell",), pictures=("a.png",)) -> dict:
    """A COCO file's content; annotations are of the first picture and class, unless they say."""
    return {
        "images": [
            {"id": i, "file_name": name, "height": HEIGHT, "width": WIDTH}
            for i, name in enumerate(pictures, 1)
        ],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": 1, "iscrowd": 0, **row}
            for i, row in enumerate(annotations, 1)
        ],
        "categories": [{"id": i, "name": name} for i, name in enumerate(names, 1)],
    }


def labelme(shapes: list[dict], name: str = "a.png") -> dict:
    return {
        "version": "5.4.1",
        "shapes": [{"group_id": None, "shape_type": "polygon", **shape} for shape in shapes],
        "imagePath": name,
        "imageData": None,
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
    }


def found(dataset: LabelledDataset) -> list[tuple[str, int]]:
    """(class, pixels) of all instances, in order; of a crowd the class has a minus."""
    instances = []
    for i in dataset.image_ids:
        masks, class_ids = dataset.load_mask(i)
        for mask, class_id in zip(np.moveaxis(masks, -1, 0), class_ids.tolist()):
            name = "-" * (class_id < 0) + dataset.class_names[abs(class_id)]
            instances.append((name, int(mask.sum())))
    return instances


def told(dataset: LabelledDataset) -> str:
    return " ".join(dataset.notes)


# -- Crowds, boxes ----------------------------------------------------------------------------


def test_masks_that_are_all_crowds_are_instances(tmp_path):
    draw(tmp_path / "images" / "a.png")
    rows = [{"segmentation": runs(region), "iscrowd": 1} for region in (A, B, C)]
    write_json(tmp_path / "annotations" / "instances_default.json", coco(rows))
    dataset = open_set(tmp_path)
    assert found(dataset) == [("cell", 192), ("cell", 384), ("cell", 192)]
    assert dataset.listed_class_ids(0).tolist() == [1, 1, 1]
    assert "marks 3 annotations, all that it has, as crowds" in told(dataset)


@pytest.mark.parametrize("plain, advice", [(1, True), (19, False)])
def test_a_share_of_crowds_is_told(plain, advice, tmp_path):
    draw(tmp_path / "a.png")
    rows = [{"segmentation": [[x, 1, x + 3, 1, x + 3, 9, x, 9]]} for x in range(plain)]
    write_json(tmp_path / "x.json", coco([*rows, {"segmentation": runs(B), "iscrowd": 1}]))
    dataset = open_set(tmp_path)
    assert found(dataset)[-1] == ("-cell", 384)
    assert f"1 of {plain + 1} annotations in x.json are crowds" in told(dataset)
    assert ("set their iscrowd to 0" in told(dataset)) == advice


def test_coco_boxes_without_outline_are_filled_and_told(tmp_path):
    draw(tmp_path / "a.png")
    draw(tmp_path / "b.png")
    rows = [
        {"segmentation": [flat(A)], "bbox": [8, 8, 16, 12]},
        {"segmentation": [], "bbox": [32, 24, 24, 16]},
        {"bbox": [32, 24, 24, 16], "image_id": 2},
        # As CVAT writes a rotated box: a quarter of a turn about the middle.
        {"bbox": [32, 24, 24, 16], "image_id": 2, "attributes": {"rotation": 90.0}},
    ]
    write_json(tmp_path / "instances.json", coco(rows, pictures=["a.png", "b.png"]))
    dataset = open_set(tmp_path)
    assert found(dataset) == [("cell", 192)] + [("cell", 384)] * 3
    turned = dataset.load_mask(1)[0][..., 1]
    assert turned[20:44, 36:52].all() and turned.sum() == 24 * 16
    assert "whose masks are the boxes, filled" in told(dataset)
    assert ": 3, the first in" in told(dataset)


# -- Background, doubles, numbers --------------------------------------------------------------

RING, HOLE = np.s_[8:40, 8:40], np.s_[16:32, 16:32]


@pytest.mark.parametrize("name", ["_background_", "background", "__ignore__", "BG", "Background "])
def test_a_hole_labelled_as_background_is_cut_out(name, tmp_path):
    draw(tmp_path / "a.png")
    shapes = [
        {"label": "nut", "points": square(RING)},
        {"label": name, "points": square(HOLE)},
        # What is labelled so all over the picture is no hole.
        {"label": name, "points": [[0, 0], [63, 0], [63, 47], [0, 47]]},
    ]
    write_json(tmp_path / "a.json", labelme(shapes))
    dataset = open_set(tmp_path)
    assert dataset.class_names == ["BG", "nut"]
    assert found(dataset) == [("nut", 33 * 33 - 17 * 17)]
    assert "labelled as background, which is no class" in told(dataset)


def test_a_hole_in_coco_is_cut_out(tmp_path):
    draw(tmp_path / "a.png")
    rows = [
        {"segmentation": [flat(RING)], "category_id": 2},
        {"segmentation": [flat(HOLE)], "category_id": 1},
    ]
    write_json(tmp_path / "x.json", coco(rows, names=["_background_", "nut"]))
    dataset = open_set(tmp_path)
    assert dataset.class_names == ["BG", "nut"]
    assert found(dataset) == [("nut", 32 * 32 - 16 * 16)]
    assert dataset.map_source_class_id("coco.2") == 1
    wall = open_set(tmp_path, class_map={"_background_": "wall"})
    assert found(wall) == [("nut", 32 * 32), ("wall", 16 * 16)]


def test_void_is_a_class_like_others(tmp_path):
    draw(tmp_path / "a.png")
    write_json(tmp_path / "a.json", labelme([{"label": "void", "points": square(A)}]))
    assert open_set(tmp_path).class_names == ["BG", "void"]


def test_rows_and_pictures_that_are_there_twice_are_told(tmp_path):
    draw(tmp_path / "a.png")
    rows = [{"segmentation": [flat(A)]}, {"segmentation": [flat(B)]}, {"segmentation": [flat(A)]}]
    content = coco(rows, pictures=["a.png", "a.png"])
    write_json(tmp_path / "x.json", content)
    dataset = open_set(tmp_path)
    assert found(dataset) == [("cell", 192), ("cell", 384)]
    assert "Instances that are there twice, taken once: 1, the first in a.png." in dataset.notes
    assert "whose file is listed under several ids: 1" in told(dataset)


def test_doubled_shapes_of_other_tools_are_taken_once(tmp_path):
    draw(tmp_path / "a.png")
    shape = {"label": "cell", "points": square(A)}
    write_json(tmp_path / "a.json", labelme([shape, shape, {**shape, "label": "nut"}]))
    dataset = open_set(tmp_path)
    assert [name for name, _ in found(dataset)] == ["cell", "nut"]
    assert "there twice, taken once: 1" in told(dataset)


@pytest.mark.parametrize(
    "names, is_told",
    [
        (["horse-1", "horse-2", "dog"], True),
        (["cell_1", "cell (2)"], True),
        (["egg", "egg2", "shell"], False),
        (["a4", "b5", "100", "200"], False),
    ],
)
def test_names_that_count_are_pointed_out(names, is_told, tmp_path):
    draw(tmp_path / "a.png")
    rows = [{"segmentation": [flat(A)], "category_id": i} for i in range(1, len(names) + 1)]
    write_json(tmp_path / "x.json", coco(rows, names=names))
    dataset = open_set(tmp_path)
    assert dataset.class_names[1:] == names
    assert ("differ by a number alone" in told(dataset)) == is_told


def test_rectangles_by_their_corners(tmp_path):
    """As X-AnyLabeling writes them."""
    draw(tmp_path / "a.png")
    shapes = [
        {"label": "bar", "points": square(A), "shape_type": "rotation", "direction": 0.0},
        {"label": "bar", "points": square(B), "shape_type": "rectangle"},
    ]
    write_json(tmp_path / "a.json", labelme(shapes))
    assert found(open_set(tmp_path)) == [("bar", 17 * 13), ("bar", 25 * 17)]


# -- VIA ----------------------------------------------------------------------------------------


def via_region(region: tuple, attributes: dict) -> dict:
    xs, ys = zip(*square(region))
    shape = {"name": "polygon", "all_points_x": list(xs), "all_points_y": list(ys)}
    return {"shape_attributes": shape, "region_attributes": attributes}


def via(path, *attributes: dict, name: str = "a.png", regions=(A, B, C)):
    """A file of VIA 2 whose regions have these attributes."""
    rows = [via_region(region, more) for region, more in zip(regions, attributes)]
    return write_json(path, {name: {"filename": name, "size": 1, "regions": rows}})


NOBODY = {
    "name": "not_defined",
    "type": "unknown",
    "image_quality": {"good": True, "frontal": True},
}


@pytest.mark.parametrize(
    "attributes, names",
    [
        ([{**NOBODY, "names": name} for name in ("Car", "Bus", "Car")], ["Bus", "Car"]),
        ([{"name": "", "type": "Unknown", "kind": kind} for kind in "aba"], ["a", "b"]),
        # Only one class, beside defaults.
        ([{**NOBODY, "species": "owl"}] * 3, ["owl"]),
        # Of two usual names the one that varies.
        (
            [{"name": "damage", "type": kind} for kind in ("dent", "dent", "crack")],
            ["crack", "dent"],
        ),
        # Numbers of objects vary, and are no classes.
        ([{"label": "cell", "id": str(i)} for i in range(3)], ["cell"]),
        # A usual name that says something counts more than others.
        ([{"name": "car", "colour": colour} for colour in ("red", "blue", "red")], ["car"]),
        # Nothing but defaults.
        ([{"name": "not_defined"}] * 3, ["not_defined"]),
    ],
)
def test_the_class_of_via_is_what_people_entered(attributes, names, tmp_path):
    draw(tmp_path / "a.png")
    via(tmp_path / "via.json", *attributes)
    dataset = open_set(tmp_path)
    assert dataset.class_names[1:] == names
    assert [pixels for _, pixels in found(dataset)] == [17 * 13, 25 * 17, 13 * 17]


def test_the_class_attribute_that_is_asked_for_decides(tmp_path):
    draw(tmp_path / "a.png")
    rows = [{"name": "car", "colour": colour} for colour in ("red", "blue", "red")]
    via(tmp_path / "via.json", *rows)
    assert "--class-attribute decides" in told(open_set(tmp_path))
    asked = open_set(tmp_path, class_attribute="colour")
    assert asked.class_names == ["BG", "blue", "red"] and "decides" not in told(asked)
    with pytest.raises(FormatError, match="the attribute shade; those that have one are name, col"):
        open_set(tmp_path, class_attribute="shade")


def test_all_parts_have_their_class_in_one_attribute(tmp_path):
    """Though in one of them another would seem to hold it."""
    for part in ("train", "val"):
        draw(tmp_path / part / "a.png")
    rows = [{"name": "damage", "type": kind} for kind in ("dent", "crack", "dent")]
    via(tmp_path / "train" / "via.json", *rows)
    via(tmp_path / "val" / "via.json", rows[0])
    assert found(open_set(tmp_path, subset="val")) == [("dent", 17 * 13)]


@pytest.mark.parametrize("first", ["filename", "#filename"])
def test_csv_of_via(first, tmp_path):
    draw(tmp_path / "a.png")
    columns = "file_size,file_attributes,region_count,region_id,region_shape_attributes"
    with (tmp_path / "via_region_data.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([first, *columns.split(","), "region_attributes"])
        for number, region in enumerate((A, B)):
            row = via_region(region, {"name": "cell"})
            drawn, attributes = map(json.dumps, row.values())
            rows.writerow(["a.png", 1234, "{}", 2, number, drawn, attributes])
        rows.writerow(["b.png", 1234, "{}", 0, 0, "{}", "{}"])
    draw(tmp_path / "b.png")
    dataset = open_set(tmp_path)
    assert dataset.format == "via" and dataset.num_images == 2
    assert found(dataset) == [("cell", 17 * 13), ("cell", 25 * 17)]
    assert found(open_set(tmp_path / "via_region_data.csv")) == found(dataset)
    # Who exports both means the same labels.
    via(tmp_path / "via_region_data.json", {"name": "nut"})
    assert found(open_set(tmp_path)) == [("nut", 17 * 13)]


def via_3() -> dict:
    def row(numbers, **more):
        return {"vid": "1", "flg": 0, "z": [], "xy": numbers, "av": {"1": "0", "2": "x"}} | more

    return {
        "project": {"pid": "__VIA_PROJECT_ID__", "rev": "1", "pname": "x", "vid_list": ["1"]},
        "config": {"file": {"loc_prefix": {}}},
        "attribute": {
            "1": {"aname": "kind", "type": 4, "options": {"0": "cell", "1": "nut"}},
            "2": {"aname": "remark", "type": 1, "options": {}},
        },
        "file": {"7": {"fid": "7", "fname": "a.png", "type": 2, "loc": 1, "src": "a.png"}},
        "metadata": {
            "1_a": row([7, *flat(A)]),
            "1_b": row([2, 32, 24, 24, 16]),
            "1_c": row([3, 20, 20, 5], av={"1": "1"}),
            "1_d": row([8, 4, 30, 10, 28, 16, 35, 9, 44]),
            "1_e": row([9, 25, 20, 15, 20, 20, 25]),
            "1_f": row([], z=[1.5, 2.5]),
            "1_g": row([1, 4, 4]),
        },
        "view": {"1": {"fid_list": ["7"]}},
    }


def test_via_3(tmp_path):
    draw(tmp_path / "a.png")
    write_json(tmp_path / "project.json", via_3())
    dataset = open_set(tmp_path)
    assert dataset.format == "via"
    circle = 81  # pixels within 5 of a pixel's centre
    assert found(dataset) == [
        *[("cell", 17 * 13), ("cell", 25 * 17), ("nut", circle), ("cell", 13 * 17)],
        ("cell", circle),
    ]
    assert "The class of a region is its attribute 'kind'." in dataset.notes
    assert "they are points: 1" in told(dataset)


def test_regions_of_via_in_rows_that_are_broken_are_told(tmp_path):
    draw(tmp_path / "a.png")
    broken = via_3()
    broken["metadata"]["1_a"]["vid"] = "2"  # a view that isn't there
    del broken["metadata"]["1_b"]["xy"]
    dataset = open_set(write_json(tmp_path / "project.json", broken))
    assert len(found(dataset)) == 3
    assert "they have no filename: 1, the first in region 1_a" in told(dataset)
    assert "they have no shape_attributes: 1" in told(dataset)
    row = "a.png,{},{}"
    (tmp_path / "a.csv").write_text(
        f"filename,region_shape_attributes,region_attributes\n0,{row}\n"
    )
    with pytest.raises(FormatError, match="1 of 1 pictures are missing, the first is 0"):
        open_set(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text(
        f"filename,region_shape_attributes,region_attributes\n{row}\na.png,,{{}},{{}}\n"
    )
    assert "they have no shape_attributes: 1" in told(open_set(tmp_path / "a.csv"))


def test_via_3_as_csv(tmp_path):
    draw(tmp_path / "a.png")
    rows = [
        "# Exported using VGG Image Annotator",
        "# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,"
        "spatial_coordinates,metadata",
        '"1_a","[""a.png""]",0,"[]","[7,8,8,24,8,24,20,8,20]","{""1"":""cell""}"',
    ]
    (tmp_path / "x.csv").write_text("\n".join(rows))
    assert found(open_set(tmp_path)) == [("cell", 17 * 13)]


def turned(path, orientation: int = 6) -> None:
    """A picture stored lying, and shown upright, if orientation is from 5 to 8."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    draw(path, exif=exif)


def test_labels_that_fit_only_the_stored_pixels_lie_on_them(tmp_path):
    turned(tmp_path / "a.jpg")
    turned(tmp_path / "b.jpg", 8)
    rows = {
        name: {"filename": name, "regions": [via_region(r, {"name": "cell"}) for r in regions]}
        for name, regions in (("a.jpg", (A, B)), ("b.jpg", (A,)))
    }
    write_json(tmp_path / "via.json", rows)
    dataset = open_set(tmp_path)
    assert dataset.load_image(0).shape == dataset.load_image(1).shape == (HEIGHT, WIDTH, 3)
    assert found(dataset) == [("cell", 17 * 13), ("cell", 25 * 17), ("cell", 17 * 13)]
    assert "kept lying, since labels fit only so: 2, the first in a.jpg." in told(dataset)
    # Labels that fit both ways lie on the picture as people see it.
    del rows["a.jpg"]["regions"][1]
    write_json(tmp_path / "via.json", rows)
    assert open_set(tmp_path).load_image(0).shape == (WIDTH, HEIGHT, 3)


# -- Pictures of 16 bits --------------------------------------------------------------------------


def png_of_16_bits(path, array: np.ndarray) -> None:
    """A PNG of 16-bit colour, which Pillow doesn't write. array: uint16 [height, width, 3 or 4]."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    height, width, channels = array.shape
    head = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)


def of_12_bits() -> np.ndarray:
    """A picture of 90..3900, as microscopes write it, brighter at A and B."""
    values = np.full((HEIGHT, WIDTH), 90, np.uint16)
    values[A], values[B] = 3900, 2000
    return values


@pytest.mark.parametrize("kind", ["grey", "rgb", "rgba"])
def test_pictures_and_labels_of_16_bits(kind, tmp_path):
    values = of_12_bits()
    labels = np.zeros((HEIGHT, WIDTH), np.uint16)
    labels[A], labels[B] = 1, 300
    (tmp_path / "masks").mkdir()
    Image.fromarray(labels).save(tmp_path / "masks" / "a.tif")
    if kind == "grey":
        (tmp_path / "images").mkdir()
        Image.fromarray(values).save(tmp_path / "images" / "a.tif")
    else:
        colours = np.stack([values] * len(kind), axis=-1)
        png_of_16_bits(tmp_path / "images" / "a.png", colours)
    dataset = open_set(tmp_path)
    image = dataset.load_image(0)
    dataset.load_image(0)
    assert image.dtype == np.uint8 and image.shape == (HEIGHT, WIDTH, 3)
    assert image[0, 0, 0] == 0 and image[10, 10, 0] == 255
    middle = round(255 * (2000 - 90) / (3900 - 90))
    assert abs(int(image[30, 40, 0]) - middle) <= 1  # no step of a byte is lost
    assert found(dataset) == [("object", 192), ("object", 384)]
    assert "more than 8 bits, their brightness scaled to 0..255: 1, the first in" in told(dataset)


# -- XML with polygons ---------------------------------------------------------------------------


def test_polygons_in_xml(tmp_path):
    a, b = edges(A), edges(B)
    polygons = {
        # Beside a box: RectLabel, supervision.
        "a": f"<bndbox><xmin>9</xmin><ymin>9</ymin><xmax>24</xmax><ymax>20</ymax></bndbox><polygon>"
        f"<x1>{a[0]}</x1><y1>{a[1]}</y1><x2>{a[2]}</x2><y2>{a[1]}</y2><x3>{a[0]}</x3>"
        f"<y3>{a[3]}</y3></polygon>",
        # LabelMe of MIT.
        "b": f"<deleted>0</deleted><polygon><username>x</username><pt><x>{b[0]}</x><y>{b[1]}</y>"
        f"</pt><pt><x>{b[2]}</x><y>{b[1]}</y></pt><pt><x>{b[0]}</x><y>{b[3]}</y></pt></polygon>",
        "c": "<deleted>1</deleted><polygon/>",
        "d": "<bndbox><xmin>9</xmin><ymin>9</ymin><xmax>24</xmax><ymax>20</ymax></bndbox>",
    }
    size = f"<imagesize><nrows>{HEIGHT}</nrows><ncols>{WIDTH}</ncols></imagesize>"
    for name, drawn in polygons.items():
        draw(tmp_path / "Images" / "roofs" / f"{name}.png")
        file = tmp_path / "Annotations" / "roofs" / f"{name}.xml"
        file.parent.mkdir(parents=True, exist_ok=True)
        thing = f"<object><name>roof</name>{drawn}</object>"
        file.write_text(f"<annotation><filename>{name}.png</filename>{thing}{size}</annotation>")
    dataset = open_set(tmp_path)
    assert dataset.class_names == ["BG", "roof"]
    (_, first), (_, second), (_, box) = found(dataset)
    assert first == pytest.approx(96, rel=0.2) and second == pytest.approx(192, rel=0.2)
    assert box == 192
    assert "Boxes without outlines, whose masks are the boxes, filled" in told(dataset)
    assert ": 1, the first in d.png" in told(dataset) and "marked as deleted: 1" in told(dataset)


# -- Which file is meant -------------------------------------------------------------------------


def test_two_annotation_files_are_asked_about(tmp_path):
    for part in ("train", "val"):
        draw(tmp_path / part / "images" / "a.png")
        for name in ("annotation.json", "annotation-small.json"):
            write_json(tmp_path / part / name, coco([{"segmentation": [flat(A)]}]))
    with pytest.raises(FormatError, match="train holds 2 annotation files, annotation-s"):
        open_set(tmp_path, subset="train")
    assert found(open_set(tmp_path / "train" / "annotation.json")) == [("cell", 192)]


def test_a_folder_above_the_set_is_told(tmp_path):
    for part in ("train", "val"):
        draw(tmp_path / "set" / part / "a.png")
        content = coco([{"segmentation": [flat(A)]}])
        write_json(tmp_path / "set" / "annotations" / f"instances_{part}.json", content)
    with pytest.raises(FormatError, match="set is a set by itself, of the parts train, val"):
        open_set(tmp_path)


def test_annotations_of_two_tools_are_asked_about(tmp_path):
    draw(tmp_path / "a.png")
    write_json(tmp_path / "coco.json", coco([{"segmentation": [flat(A)]}]))
    write_json(tmp_path / "a.json", labelme([{"label": "nut", "points": square(B)}]))
    with pytest.raises(FormatError, match=r"several tools, labelme \(a.json\), coco \(coco.json\)"):
        open_set(tmp_path)
    assert found(open_set(tmp_path, "coco")) == [("cell", 192)]


def test_validation_without_annotations_is_refused(tmp_path):
    """Before a network is built."""
    rows = [{"segmentation": [flat(A)], "image_id": i} for i in (1, 2)]
    for part, annotations in (("train", rows), ("val", [])):
        pictures = [f"{part}{i}.png" for i in range(2)]
        for name in pictures:
            draw(tmp_path / part / name)
        content = coco(annotations, pictures=pictures)
        write_json(tmp_path / "annotations" / f"instances_{part}.json", content)
    report = check_dataset(open_set(tmp_path, subset="val"))
    (mistake,) = report.mistakes
    assert "No picture has an instance: label some in" in mistake and "load_mask" not in mistake


# -- Masks as files --------------------------------------------------------------------------------


def mask(*regions: tuple, values=None) -> np.ndarray:
    """uint8 [HEIGHT, WIDTH]; values: of each region, 1, 2, .. unless given."""
    plane = np.zeros((HEIGHT, WIDTH), np.uint8)
    for region, value in zip(regions, values or range(1, 99)):
        plane[region] = value
    return plane


def of_white(*regions: tuple) -> np.ndarray:
    return mask(*regions, values=[255] * len(regions))


def put(path, array: np.ndarray, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def test_pieces_of_masks_in_black_and_white(tmp_path):
    for name, plane in (("a", of_white(A, B, C)), ("b", of_white(A))):
        draw(tmp_path / "images" / f"{name}.png")
        put(tmp_path / "masks" / f"{name}.png", plane)
    three = [("object", 192), ("object", 384), ("object", 192)]
    dataset = open_set(tmp_path)
    assert sorted(found(dataset)) == sorted([*three, ("object", 192)])
    assert "each separate piece is an instance of its own (--pieces whole" in told(dataset)
    assert found(open_set(tmp_path, pieces="whole")) == [("object", 768), ("object", 192)]
    with pytest.raises(FormatError, match="pieces is 'half': it must be auto, whole, split"):
        open_set(tmp_path, pieces="half")
    # Where a file numbers its instances, one in two pieces is one, unless it is asked otherwise.
    put(tmp_path / "masks" / "b.png", mask(A, B, C, values=[1, 1, 2]))
    assert found(open_set(tmp_path))[1:] == [("object", 576), ("object", 192)]
    assert len(found(open_set(tmp_path, pieces="split"))) == 6


def test_masks_that_number_their_instances_are_known_by_the_one_file_with_two(tmp_path):
    """A 1 is also the number of an only instance, whose pieces belong together."""
    plane = np.zeros((8, 8), np.uint8)
    plane[0], plane[4] = 1, 1
    for number in range(45):
        picture(tmp_path / "images" / f"{number:02}.png", 8, 8)
        put(tmp_path / "masks" / f"{number:02}.png", plane)
    assert len(found(open_set(tmp_path))) == 90
    plane[4] = 2
    put(tmp_path / "masks" / "01.png", plane)  # not among the first that are looked at
    assert len(found(open_set(tmp_path))) == 46


def test_a_folder_of_one_mask_a_picture_is_split(tmp_path):
    draw(tmp_path / "x" / "images" / "x.png")
    put(tmp_path / "x" / "masks" / "1.png", of_white(A, B))
    assert found(open_set(tmp_path)) == [("object", 192), ("object", 384)]
    put(tmp_path / "x" / "masks" / "2.png", of_white(C))  # a file an instance
    assert found(open_set(tmp_path)) == [("object", 576), ("object", 192)]


@pytest.mark.parametrize(
    "picture, mask_file",
    [
        ("images/img1.png", "masks/img1_seg_mask.png"),
        ("PNGImages/Ped1.png", "PedMasks/Ped1_mask.png"),
        ("img1.tif", "img1_masks.tif"),
        ("img1.png", "img1_cp_masks.png"),
        ("Images/image_001.png", "Labels/mask_001.png"),
        ("train/7.jpg", "train_masks/7_mask.gif"),
    ],
)
def test_masks_whose_names_say_so(picture, mask_file, tmp_path):
    draw(tmp_path / picture)
    draw((tmp_path / picture).with_stem("other"))
    put(tmp_path / mask_file, mask(A, B))
    dataset = open_set(tmp_path)
    assert dataset.num_images == 1
    assert found(dataset) == [("object", 192), ("object", 384)]
    assert "they have no mask file: 1, the first in other" in told(dataset)


def test_names_that_could_belong_to_two_pictures_are_not_guessed(tmp_path):
    for name in ("img_1", "image_1"):
        draw(tmp_path / "images" / f"{name}.png")
        put(tmp_path / "masks" / f"{name}.png", mask(A if name == "img_1" else B))
    dataset = open_set(tmp_path)
    assert {
        info["id"]: pixels for info, (_, pixels) in zip(dataset.image_info, found(dataset))
    } == {
        "image_1": 384,
        "img_1": 192,
    }


def test_one_file_an_instance_with_its_class_in_the_name(tmp_path):
    """As pycococreator has it."""
    for name in ("1000", "1000_2"):
        draw(tmp_path / "images" / f"{name}.png")
    names = ["1000_square_0", "1000_square_1", "1000_circle_2", "1000_2_circle_0"]
    for name, region in zip(names, (A, B, C, A)):
        put(tmp_path / "annotations" / f"{name}.png", of_white(region))
    dataset = open_set(tmp_path)
    assert dataset.class_names == ["BG", "circle", "square"]
    assert [sorted(dataset.load_mask(i)[1].tolist()) for i in (0, 1)] == [[1, 2, 2], [1]]
    assert dataset.listed_class_ids(0).tolist() == dataset.load_mask(0)[1].tolist()


@pytest.mark.parametrize("kind", ["jpg", "onebit", "palette", "gif", "alpha", "soft"])
def test_masks_of_other_kinds_of_file(kind, tmp_path):
    draw(tmp_path / "images" / "a.png")
    white, path = of_white(A), tmp_path / "masks" / "a.png"
    if kind in ("jpg", "gif"):
        put(path.with_suffix(f".{kind}"), white)
    elif kind == "onebit":
        put(path, white > 0)
    elif kind == "palette":
        picture = Image.fromarray(white)
        picture.putpalette([i for i in range(256) for _ in "rgb"])
        path.parent.mkdir()
        picture.save(path)
    elif kind == "alpha":  # white all over, and transparent but for the object
        put(path, np.dstack([np.full((HEIGHT, WIDTH, 3), 255, np.uint8), white]))
    else:  # drawn with soft edges
        soft = white.copy()
        soft[7, 8:24], soft[20, 8:24], soft[8:20, 7], soft[8:20, 24] = 40, 60, 90, 120
        put(path, soft)
    (instance,) = found(open_set(tmp_path))
    assert instance[1] == pytest.approx(192, rel=0.05 if kind == "jpg" else 0)


def test_what_is_transparent_is_no_instance(tmp_path):
    draw(tmp_path / "images" / "a.png")
    colours = np.full((HEIGHT, WIDTH, 4), (9, 9, 9, 0), np.uint8)
    colours[A], colours[B] = (255, 0, 0, 255), (0, 255, 0, 255)
    put(tmp_path / "masks" / "a.png", colours)
    assert sorted(found(open_set(tmp_path))) == [("object", 192), ("object", 384)]


def test_numbers_in_a_jpeg_are_refused(tmp_path):
    draw(tmp_path / "images" / "a.png")
    put(tmp_path / "masks" / "a.jpg", mask(A, B, values=[60, 120]))
    with pytest.raises(FormatError, match="a JPEG that is not black and white.*Save masks as PNG"):
        open_set(tmp_path).load_mask(0)


# -- What the commands pass on -------------------------------------------------------------------


def test_the_commands_pass_on_how_labels_are_read(tmp_path, capsys):
    for part in ("train", "val"):
        draw(tmp_path / part / "a.png")
        rows = [{"name": "car", "colour": colour} for colour in ("red", "blue", "red")]
        via(tmp_path / part / "via.json", *rows)
    words = [str(tmp_path), "--class-attribute", "colour", "--pieces", "whole"]
    assert main(["data", "check", *words]) == 0
    assert "  red             2 in 1 picture" in capsys.readouterr().out
    assert main(["data", "convert", *words, str(tmp_path / "out"), "--to", "coco"]) == 0
    assert open_set(tmp_path / "out" / "train").class_names == ["BG", "blue", "red"]

    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    wanted = train.wishes(parser.parse_args(words))
    assert (wanted.class_attribute, wanted.pieces) == ("colour", "whole")
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    kept = {"class_name": "cell", "class_attribute": "colour", "pieces": "whole"}  # in a checkpoint
    plain = parser.parse_args([str(tmp_path), "--weights", "x.h5"])
    assert evaluate._reading(plain, tmp_path, kept) == ("auto", kept)
    asked = parser.parse_args([str(tmp_path), "--weights", "x.h5", "--pieces", "split"])
    assert evaluate._reading(asked, tmp_path, kept)[1] == {**kept, "pieces": "split"}


# -- Names of files, and other tools -------------------------------------------------------------


@pytest.mark.parametrize(
    "named, there",
    [
        ("my%20cell.png", "my cell.png"),
        ("my cell.png", "my%20cell.png"),
        ("images/A.PNG", "a.png"),
        ("zelle\u0308.png", "zell\u00eb.png"),
    ],
)
def test_names_that_are_written_otherwise(named, there, tmp_path):
    draw(tmp_path / there)
    write_json(tmp_path / "x.json", coco([{"segmentation": [flat(A)]}], pictures=[named]))
    assert found(open_set(tmp_path)) == [("cell", 192)]


def test_a_name_is_not_guessed_between_two(tmp_path):
    draw(tmp_path / "A.png")
    draw(tmp_path / "a.PNG")
    write_json(tmp_path / "x.json", coco([{"segmentation": [flat(A)]}], pictures=["a.png"]))
    with pytest.raises(FormatError, match="1 of 1 pictures are missing"):
        open_set(tmp_path)


@pytest.mark.parametrize(
    "name, content, told",
    [
        ("ds/ann/a.png.json", '{"objects": [{"classTitle": "x"}]}', "Supervisely's labels"),
        ("RoiSet.zip", "PK", "ImageJ's ROIs.*label image"),
        ("a_gtFine_instanceIds.png", "", "Cityscapes' labels"),
        ("annotations/captions_val2017.json", "{}", "COCO's captions.*instances_"),
        ("annotations/person_keypoints_train.json", "{}", "COCO's keypoints.*that file itself"),
        ("a_seg.npy", "", "cellpose's own file.*Save masks"),
        ("train.csv", "ImageId,EncodedPixels\n", "run-lengths of Kaggle"),
        ("x.tfrecord", "", "TFRecords"),
    ],
)
def test_what_is_not_read_is_named(name, content, told, tmp_path):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(content)
    with pytest.raises(FormatError, match=f"looks like {told}"):
        open_set(tmp_path)
