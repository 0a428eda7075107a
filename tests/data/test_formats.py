"""Readers of annotation formats: the right masks and classes, and a word for whatever isn't."""

import base64
import json
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from labelled_sets import (
    CAT,
    DOG,
    HEIGHT,
    SIZE,
    WIDTH,
    coco_content,
    labelme_content,
    make,
    mask_of,
    picture,
    png,
    save,
    via_content,
    voc_xml,
    write_json,
)
from PIL import Image
from pycocotools import mask as coco_mask

from mrcnn.data import open as open_set
from mrcnn.data.check import check_dataset
from mrcnn.data.formats import FORMATS, FormatError, subsets
from mrcnn.data.formats.rle import unpack
from mrcnn.data.pictures import PictureError

# Formats that name their classes.
NAMED = ("coco", "via", "labelme", "voc", "yolo", "cvat", "labelstudio", "geojson")


def masks_of(dataset, image_id=0):
    masks, class_ids = dataset.load_mask(image_id)
    assert masks.dtype == bool and class_ids.dtype == np.int32
    return [masks[..., i] for i in range(masks.shape[-1])], class_ids.tolist()


def assert_masks(found, *expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected):
        np.testing.assert_array_equal(one, other)


def via_region(shape, **attributes):
    return {"shape_attributes": shape, "region_attributes": attributes}


def one_via(folder, *regions):
    picture(folder / "a.png")
    write_json(folder / "via.json", {"a": {"filename": "a.png", "regions": list(regions)}})
    return open_set(folder, class_name="thing")


# -- Every format -----------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_set_in_every_format(format, tmp_path):
    make(format, tmp_path)
    dataset = open_set(tmp_path)
    assert dataset.format == format and dataset.root == tmp_path
    assert len(dataset.image_ids) == 2
    named = format in NAMED
    assert dataset.class_names == (["BG", "cat", "dog"] if named else ["BG", "object"])
    masks, class_ids = masks_of(dataset, 0)
    assert_masks(masks, mask_of(CAT))
    assert class_ids == [1]
    masks, class_ids = masks_of(dataset, 1)
    assert_masks(masks[:1], mask_of(DOG))
    assert class_ids[0] == (2 if named else 1)
    assert dataset.load_image(0).shape == (HEIGHT, WIDTH, 3)
    assert not check_dataset(dataset).mistakes
    assert subsets(tmp_path) == []
    again = pickle.loads(pickle.dumps(dataset))  # worker processes get it so
    assert_masks(masks_of(again)[0], mask_of(CAT))


@pytest.mark.parametrize("format", FORMATS)
def test_parts_are_told_and_chosen(format, tmp_path):
    for part in ("train", "valid"):
        make(format, tmp_path / part)
    assert subsets(tmp_path) == ["train", "valid"]
    assert len(open_set(tmp_path, subset="val").image_ids) == 2
    with pytest.raises(FormatError, match="has several parts, train, valid"):
        open_set(tmp_path)
    with pytest.raises(FormatError, match="no part 'test'"):
        open_set(tmp_path, subset="test")
    with pytest.raises(FormatError, match="one set without parts"):
        open_set(tmp_path / "train", subset="train")


@pytest.mark.parametrize("format", ["via", "labelme", "voc"])
def test_a_class_has_one_number_in_all_parts(format, tmp_path):
    make(format, tmp_path / "train")
    file = make(format, tmp_path / "val")
    if format == "via":
        content = via_content()
        del content["a.png1"]
        write_json(file, content)
    else:
        file.with_stem("a").unlink()
    assert open_set(tmp_path, subset="train").class_names == ["BG", "cat", "dog"]
    val = open_set(tmp_path, subset="val")
    assert val.class_names == ["BG", "cat", "dog"] and masks_of(val)[1] == [2]


@pytest.mark.parametrize("format", NAMED)
def test_classes_are_chosen_ordered_and_renamed(format, tmp_path):
    make(format, tmp_path)
    dogs = open_set(tmp_path, class_ids=["dog"])
    assert dogs.class_names == ["BG", "dog"] and len(dogs.image_ids) == 1
    assert abs(masks_of(dogs)[1][0]) == 1
    assert open_set(tmp_path, class_ids=["dog", "cat"]).class_names == ["BG", "dog", "cat"]
    pets = open_set(tmp_path, class_map={"dog": "pet", "cat": "pet"})
    assert pets.class_names == ["BG", "pet"] and masks_of(pets)[1] == [1]
    cats = open_set(tmp_path, class_map={"dog": None})
    assert cats.class_names == ["BG", "cat"] and masks_of(cats, 1)[1] == []
    with pytest.raises(FormatError, match=r"18 dog, 17 cat|there are cat, dog"):
        open_set(tmp_path, class_ids=["cow"])


@pytest.mark.parametrize("format", ["coco", "via", "labelme", "voc", "indexed"])
def test_missing_pictures_are_counted_and_named(format, tmp_path):
    make(format, tmp_path)
    for file in tmp_path.rglob("b.png"):
        if file.parent.name != "masks":
            file.unlink()
    with pytest.raises(FormatError, match=r"1 of 2 pictures are missing, the first is b\.\w+"):
        open_set(tmp_path)


@pytest.mark.parametrize("format", FORMATS)
def test_a_corrupt_picture_is_named(format, tmp_path):
    make(format, tmp_path)
    dataset = open_set(tmp_path)
    file = Path(dataset.image_info[0]["path"])
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(PictureError, match="a.png is damaged"):
        open_set(tmp_path).load_image(0)


@pytest.mark.parametrize("format", FORMATS)
def test_labels_lie_on_the_upright_picture(format, tmp_path):
    """Stored lying, with orientation 6 of EXIF: upright, the red pixel is on the right."""
    make(format, tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = Path(open_set(tmp_path).image_info[0]["path"])
    picture(path, WIDTH, HEIGHT, exif=exif)
    dataset = open_set(tmp_path)
    image = dataset.load_image(0)
    assert image.shape == (HEIGHT, WIDTH, 3) and image[0, -1].tolist() == [255, 0, 0]
    assert_masks(masks_of(dataset)[0], mask_of(CAT))


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("format", ["coco", "labelme", "voc", "masks", "indexed"])
def test_labels_on_the_stored_pixels_keep_the_picture_lying(format, orientation, tmp_path):
    make(format, tmp_path)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = Path(open_set(tmp_path).image_info[0]["path"])
    picture(path, HEIGHT, WIDTH, exif=exif)  # stored as large as the labels say
    dataset = open_set(tmp_path)
    image = dataset.load_image(0)
    assert image.shape == (HEIGHT, WIDTH, 3) and image[0, 0].tolist() == [255, 0, 0]
    assert_masks(masks_of(dataset)[0], mask_of(CAT))


@pytest.mark.parametrize("format", ["coco", "labelme", "voc", "masks", "indexed"])
def test_a_picture_of_another_size_than_its_labels_is_refused(format, tmp_path):
    make(format, tmp_path)
    dataset = open_set(tmp_path)
    picture(Path(dataset.image_info[0]["path"]), HEIGHT, WIDTH + 1)
    for load in (dataset.load_image, dataset.load_mask):
        with pytest.raises(FormatError, match="a.png is 40 high and 61 wide.*40 high and 60 wide"):
            load(0)


def test_what_is_no_set_is_told(tmp_path):
    with pytest.raises(FormatError, match="no such file or folder"):
        open_set(tmp_path / "none")
    with pytest.raises(FormatError, match="holds no labelled pictures"):
        open_set(tmp_path)
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(FormatError, match="a.txt is no annotation file"):
        open_set(tmp_path / "a.txt")
    with pytest.raises(FormatError, match="must be auto, coco"):
        open_set(tmp_path, "dota")
    make("coco", tmp_path / "one")
    make("via", tmp_path / "two")
    with pytest.raises(FormatError, match=r"one \(coco\), two \(via\)"):
        open_set(tmp_path)


# -- COCO -------------------------------------------------------------------------------------


def test_coco_ids_crowds_and_boxes_survive(tmp_path):
    make("coco", tmp_path)
    dataset = open_set(tmp_path)
    assert [info["id"] for info in dataset.image_info] == [7, 9]
    assert dataset.map_source_class_id("coco.18") == 2
    masks, class_ids = masks_of(dataset, 1)
    assert class_ids == [2, -2]
    assert_masks(masks, mask_of(DOG), mask_of(DOG))
    assert dataset.image_info[0]["annotations"][0]["bbox"] == [10, 5, 20, 10]
    assert dataset.notes == [
        "1 of 3 annotations in instances.json are crowds (iscrowd 1): training neither learns from "
        "them nor takes them for background. If they are single objects, as masks from CVAT are, "
        "set their iscrowd to 0."
    ]
    # By COCO's own ids, as CocoDataset takes them.
    assert open_set(tmp_path, class_ids=[18]).class_info[1] == {
        "source": "coco",
        "id": 18,
        "name": "dog",
    }


def test_coco_masks_are_those_of_pycocotools(tmp_path):
    """Polygons off the pixels, across the border, of several parts, and a packed RLE."""
    rng = np.random.default_rng(0)
    content = coco_content()
    outlines = [
        [rng.uniform(-20, 70, 2 * corners).round(2).tolist() for corners in (3, 5, 9)]
        for _ in range(20)
    ]
    rles = [coco_mask.encode(np.asfortranarray(rng.random(SIZE) < 0.5, np.uint8)) for _ in "abc"]
    packed = [{"size": list(SIZE), "counts": rle["counts"].decode()} for rle in rles]
    content["annotations"] = [
        {"id": i, "image_id": 7, "category_id": 17, "segmentation": outline}
        for i, outline in enumerate(outlines + packed)
    ]
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    write_json(tmp_path / "x.json", content)
    drawn = [coco_mask.merge(coco_mask.frPyObjects(outline, *SIZE)) for outline in outlines]
    expected = [coco_mask.decode(rle).astype(bool) for rle in drawn + rles]
    assert_masks(masks_of(open_set(tmp_path))[0], *expected)


def test_packed_runs_are_unpacked():
    rng = np.random.default_rng(1)
    for share in (0.001, 0.1, 0.5, 0.99):
        mask = np.asfortranarray(rng.random((300, 500)) < share, np.uint8)
        runs = unpack(coco_mask.encode(mask)["counts"].decode())
        flat = np.repeat(np.arange(len(runs)) % 2, runs)
        np.testing.assert_array_equal(flat, mask.T.reshape(-1))


@pytest.mark.parametrize(
    "change, note",
    [
        ({"segmentation": [[1, 1, 5, 5]]}, "fewer than three corners"),
        ({"segmentation": [[1, 1, 5, 5, 9, 9]]}, "have no area"),
        ({"segmentation": [[1, 1, 5, 5, 9]]}, "odd number"),
        ({"segmentation": [[900, 900, 990, 900, 990, 990]]}, "lie outside"),
        ({"segmentation": [[1, 1, float("nan"), 5, 9, 1]]}, "not finite"),
        ({"segmentation": [[1, 1, 1e308, 5, 9, 1]]}, "not finite"),
        ({"segmentation": [[1, 1, "5", 5, 9, 1]]}, "not numbers"),
        ({"segmentation": [], "bbox": None}, "have no outline (segmentation) and no box"),
        ({"segmentation": [], "bbox": [1, 1, 0, 9]}, "have no outline (segmentation), and a box"),
        ({"segmentation": "none"}, "neither a list nor an RLE"),
        ({"segmentation": {"size": [40, 60], "counts": [5, 5]}}, "do not fill"),
        ({"segmentation": {"size": [40, 60], "counts": "zzz"}}, "no list of runs"),
        ({"segmentation": {"size": [40, 60], "counts": ""}}, "no list of runs"),
        ({"segmentation": {"size": [20, 60], "counts": [600, 600]}}, "another size"),
        ({"segmentation": {"size": [40, 60], "counts": [2400]}}, "empty mask"),
        ({"category_id": 99}, "category that the file does not list"),
        ({"image_id": 99}, "belong to no picture"),
        ({"iscrowd": "yes"}, "neither 0 nor 1"),
    ],
)
def test_a_bad_coco_annotation_is_dropped_with_a_note(change, note, tmp_path):
    make("coco", tmp_path)
    content = coco_content()
    content["annotations"][0] |= change
    write_json(tmp_path / "instances.json", content)
    dataset = open_set(tmp_path)
    assert sum(len(masks_of(dataset, i)[1]) for i in (0, 1)) == 2
    (said,) = [note for note in dataset.notes if "crowds (iscrowd 1)" not in note]
    assert note in said and ": 1, the first in" in said


def test_coco_polygons_across_the_border_are_cut_and_counted(tmp_path):
    make("coco", tmp_path)
    content = coco_content()
    content["annotations"][0]["segmentation"] = [[50, 30, 100, 30, 100, 90, 50, 90]]
    write_json(tmp_path / "instances.json", content)
    dataset = open_set(tmp_path)
    assert_masks(masks_of(dataset)[0], mask_of(np.s_[30:, 50:]))
    assert dataset.notes[1:] == [
        "Polygons cut: they reach across the border of their picture: 1, the first in a.png."
    ]


def test_a_crowd_of_another_size_fills_its_picture(tmp_path):
    """As in Matterport's sample, but not without a word."""
    make("coco", tmp_path)
    content = coco_content()
    content["annotations"][2]["segmentation"] = {"size": [2, 2], "counts": [1, 3]}
    write_json(tmp_path / "instances.json", content)
    dataset = open_set(tmp_path)
    masks, class_ids = masks_of(dataset, 1)
    assert class_ids == [2, -2] and masks[1].all()
    assert "taken to fill the picture (pictures): 1, the first in" in dataset.notes[1]


def test_several_coco_files_become_one_set(tmp_path):
    make("coco", tmp_path / "one")
    file = make("coco", tmp_path / "two")
    content = coco_content()
    content["categories"] = [{"id": 1, "name": "dog"}, {"id": 17, "name": "cow"}]
    for annotation in content["annotations"]:
        annotation["category_id"] = 17 if annotation["category_id"] == 17 else 1
    write_json(file, content)
    dataset = open_set([tmp_path / "one" / "instances.json", file])
    assert dataset.class_names == ["BG", "cat", "dog", "cow"]
    assert [masks_of(dataset, i)[1] for i in range(4)] == [[1], [2, -2], [3], [2, -2]]
    assert [info["id"] for info in dataset.image_info] == [7, 9, "instances/7", "instances/9"]
    assert any("The class cow has the id 17 in instances.json" in note for note in dataset.notes)
    with pytest.raises(FormatError, match="of one format"):
        open_set([file, make("via", tmp_path / "three")])


@pytest.mark.parametrize(
    "annotations, pictures",
    [
        ("annotations/instances_train2017.json", "train2017"),
        ("annotations/instances_minival2014.json", "val2014"),
        ("annotations/instances_default.json", "images"),
        ("annotations/instances_train.json", "images/train"),
        ("_annotations.coco.json", ""),
        ("labels.json", "data"),
        ("result.json", "images"),
    ],
)
def test_coco_layouts_are_found(annotations, pictures, tmp_path):
    write_json(tmp_path / annotations, coco_content())
    for name in ("a.png", "b.png"):
        picture(tmp_path / pictures / name)
    dataset = open_set(tmp_path)
    assert Path(dataset.image_info[0]["path"]) == tmp_path / pictures / "a.png"


def test_coco_parts_are_told_without_their_year(tmp_path):
    for part in ("train2017", "val2017"):
        write_json(tmp_path / f"annotations/instances_{part}.json", coco_content())
        write_json(tmp_path / f"annotations/captions_{part}.json", {"images": []})
        for name in ("a.png", "b.png"):
            picture(tmp_path / part / name)
    assert subsets(tmp_path) == ["train2017", "val2017"]
    for subset in ("val", "val2017"):
        assert "val2017" in open_set(tmp_path, subset=subset).image_info[0]["path"]


def test_the_only_part_goes_by_its_name(tmp_path):
    write_json(tmp_path / "annotations/instances_train2017.json", coco_content())
    for name in ("a.png", "b.png"):
        picture(tmp_path / "train2017" / name)
    assert len(open_set(tmp_path, subset="train").image_ids) == 2
    with pytest.raises(FormatError, match="one set without parts, so that there is no 'val'"):
        open_set(tmp_path, subset="val")


def test_names_as_tools_write_them(tmp_path):
    """Folders in names, back-slashes, links, ids as text, a supercategory as category 0."""
    content = coco_content()
    content["images"][0]["file_name"] = "C:\\data\\a.png"
    content["images"][1] = {"id": "9", "coco_url": "http://x.org/pictures/b.png?size=1"}
    content["categories"] = [
        {"id": 0, "name": "animal", "supercategory": "none"},
        {"id": "17", "name": "cat", "supercategory": "animal"},
        {"id": 18, "name": "dog", "supercategory": "animal"},
    ]
    write_json(tmp_path / "labels.json", content)
    for name in ("a.png", "b.png"):
        picture(tmp_path / name)
    dataset = open_set(tmp_path)
    assert dataset.class_names == ["BG", "cat", "dog"]
    assert [masks_of(dataset, i)[1] for i in (0, 1)] == [[1], [2, -2]]
    assert any("Category 0, animal, is no class" in note for note in dataset.notes)
    assert any("whose stated size is none" in note for note in dataset.notes)


def test_equal_names_in_two_folders_are_not_mixed_up(tmp_path):
    content = coco_content()
    content["images"][0]["file_name"] = "left/1.png"
    content["images"][1]["file_name"] = "right/1.png"
    write_json(tmp_path / "x.json", content)
    picture(tmp_path / "1.png")
    with pytest.raises(FormatError, match="2 of 2 pictures are missing, the first is left/1.png"):
        open_set(tmp_path)
    picture(tmp_path / "left" / "1.png")
    picture(tmp_path / "right" / "1.png")
    assert open_set(tmp_path).image_info[1]["path"].endswith("right/1.png")


@pytest.mark.parametrize("count", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_coco_stays_small_in_memory(count, tmp_path):
    """Pictures of one instance: 1.2 kB each, whatever their number, and none for reading masks."""
    content = coco_content()
    image, annotation = content["images"][0], content["annotations"][0]
    numbers = range(count)
    content["images"] = [{**image, "id": i, "file_name": "a.png"} for i in numbers]
    content["annotations"] = [{**annotation, "id": i, "image_id": i} for i in numbers]
    picture(tmp_path / "a.png")
    file = write_json(tmp_path / "x.json", content)
    del content
    tracemalloc.start()
    try:
        dataset = open_set(file)
        opened, _ = tracemalloc.get_traced_memory()
        assert len(dataset.image_ids) == len(numbers)
        assert opened / len(numbers) < 2000  # bytes
        dataset.load_mask(0)
        before, _ = tracemalloc.get_traced_memory()
        for image_id in range(1000):
            dataset.load_mask(image_id)
        after, _ = tracemalloc.get_traced_memory()
        assert after - before < 100_000  # bytes; one mask has 2400
    finally:
        tracemalloc.stop()


# -- VIA --------------------------------------------------------------------------------------


def test_via_shapes(tmp_path):
    xs, ys = [29, 29, 10, 10], [5, 14, 14, 5]
    dataset = one_via(
        tmp_path,
        via_region({"name": "polygon", "all_points_x": xs, "all_points_y": ys}),
        via_region(
            {"name": "polyline", "all_points_x": xs[1:] + xs[:1], "all_points_y": ys[1:] + ys[:1]}
        ),
        via_region({"name": "rect", "x": 10, "y": 5, "width": 19, "height": 9}),
        via_region({"name": "circle", "cx": 20, "cy": 20, "r": 5}),
        via_region({"name": "ellipse", "cx": 20, "cy": 20, "rx": 9, "ry": 3, "theta": np.pi / 2}),
        via_region({"name": "point", "cx": 3, "cy": 3}),
        via_region({"name": "blob"}),
        via_region({"name": "circle", "cx": 20, "cy": 20}),
    )
    masks, class_ids = masks_of(dataset)
    assert_masks(masks[:3], *[mask_of(CAT)] * 3)
    y, x = np.ogrid[:HEIGHT, :WIDTH]
    np.testing.assert_array_equal(masks[3], (y - 20) ** 2 + (x - 20) ** 2 <= 25)
    assert masks[4].any(axis=1).sum() == 19 and masks[4].any(axis=0).sum() == 7  # it stands
    assert class_ids == [1] * 5 and dataset.class_names == ["BG", "thing"]
    assert dataset.notes == [
        "Regions have no attribute, so that all are of one class, thing.",
        "Polylines closed to polygons: 1, the first in a.png.",
        "Regions dropped: they are points: 1, the first in a.png.",
        "Regions dropped: they are of a shape that VIA does not have: 1, the first in a.png.",
        "Regions dropped: they are of shape circle and have no r: 1, the first in a.png.",
    ]


def test_via_1_and_project_files_are_read_alike(tmp_path):
    for name in ("one", "project"):
        make("via", tmp_path / name)
    content = via_content()
    for entry in content.values():
        entry["regions"] = {str(i): region for i, region in enumerate(entry["regions"])}
    write_json(tmp_path / "one" / "via_region_data.json", content)
    project = {"_via_settings": {}, "_via_img_metadata": via_content(), "_via_attributes": {}}
    write_json(tmp_path / "project" / "via_region_data.json", project)
    for name in ("one", "project"):
        dataset = open_set(tmp_path / name)
        assert_masks(masks_of(dataset)[0], mask_of(CAT))
        assert dataset.class_names == ["BG", "cat", "dog"]


def test_the_class_is_the_attribute_that_regions_have(tmp_path):
    shape = {"name": "rect", "x": 10, "y": 5, "width": 19, "height": 9}
    dataset = one_via(
        tmp_path,
        via_region(shape, quality="good", Type={"cat": True, "dog": False}),
        via_region(shape, quality="good", Type={"dog": True}),
        via_region(shape, quality="bad", Type={"dog": True, "cat": True}),
        via_region(shape, quality="bad", Type=""),
    )
    assert masks_of(dataset)[1] == [1, 2] and dataset.class_names == ["BG", "cat", "dog"]
    assert dataset.notes == [
        "The class of a region is its attribute 'Type'.",
        "Another attribute could be the class, too (quality): --class-attribute decides "
        "(class_attribute= in Python).",
        "Regions dropped: they have several boxes ticked in their attribute 'Type': 1, "
        "the first in a.png.",
        "Regions dropped: they have no value in their attribute 'Type': 1, the first in a.png.",
    ]


def test_via_regions_across_the_border(tmp_path):
    dataset = one_via(
        tmp_path,
        via_region({"name": "rect", "x": 50, "y": 30, "width": 100, "height": 100}),
        via_region({"name": "rect", "x": 500, "y": 30, "width": 100, "height": 100}),
    )
    assert_masks(masks_of(dataset)[0], mask_of(np.s_[30:, 50:]))
    assert dataset.notes[1:] == [
        "Regions cut: they reach across the border of their picture: 1, the first in a.png.",
        "Regions dropped: they lie outside of their picture: 1, the first in a.png.",
    ]


def test_what_covers_no_pixel_is_told_when_it_is_drawn(tmp_path, caplog):
    xs, ys = [4.2, 4.4, 4.4], [4.2, 4.2, 4.4]
    dataset = one_via(
        tmp_path, via_region({"name": "polygon", "all_points_x": xs, "all_points_y": ys})
    )
    for _ in range(2):
        masks, class_ids = dataset.load_mask(0)
        assert masks.shape == (*SIZE, 0) and class_ids.shape == (0,)
    assert "cover no pixel, left out (pictures): 1, the first in" in dataset.notes[-1]
    assert len(caplog.records) == 1


# -- LabelMe ----------------------------------------------------------------------------------


def one_labelme(folder, *shapes, **changes):
    picture(folder / "a.png")
    content = labelme_content("a.png", CAT, "cat") | {"shapes": list(shapes)} | changes
    write_json(folder / "a.json", content)
    return open_set(folder)


def labelme_shape(kind, points, label="cat", **more):
    return {"label": label, "points": points, "shape_type": kind, **more}


def test_labelme_shapes(tmp_path):
    piece = np.ones((10, 20), np.uint8)
    piece[0] = 0
    dataset = one_labelme(
        tmp_path,
        labelme_shape("rectangle", [[29, 14], [10, 5]]),
        labelme_shape("circle", [[20, 20], [23, 24]]),
        labelme_shape("mask", [[10, 5], [29, 14]], mask=png(piece * 255)),
        labelme_shape("line", [[10, 5], [29, 14]]),
        labelme_shape("polygon", [[1, 1], [9, 1], [9, 9]], label="__mine__"),
        labelme_shape("mask", [[10, 5], [29, 14]], mask="not base64!"),
        labelme_shape("mask", [[0, 0], [3, 3]], mask=png(piece)),
    )
    masks, class_ids = masks_of(dataset)
    y, x = np.ogrid[:HEIGHT, :WIDTH]
    circle = (y - 20) ** 2 + (x - 20) ** 2 <= 25
    assert_masks(masks, mask_of(CAT), circle, mask_of(np.s_[6:15, 10:30]))
    assert class_ids == [1, 1, 1] and dataset.class_names == ["BG", "cat"]
    assert [note.split(": ")[1].split(",")[0] for note in dataset.notes] == [
        "they are points or lines",
        "they have a label that begins with __",
        "they have a mask that is not in base64",
        "they have a mask of another size than its box",
    ]


def test_labelme_groups_are_one_instance(tmp_path):
    left, right = [[2, 2], [8, 2], [8, 8], [2, 8]], [[20, 2], [28, 2], [28, 8], [20, 8]]
    dataset = one_labelme(
        tmp_path,
        labelme_shape("polygon", left, group_id=0),
        labelme_shape("polygon", left, "dog", group_id=0),
        labelme_shape("polygon", right, group_id=0),
        labelme_shape("polygon", right, group_id=None),
    )
    masks, class_ids = masks_of(dataset)
    assert class_ids == [1, 2, 1]
    assert_masks(masks[:1], mask_of(np.s_[2:9, 2:9], np.s_[2:9, 20:29]))


def test_labelme_pictures_inside_files_and_under_other_names(tmp_path):
    picture(tmp_path / "x.png")
    content = base64.b64encode((tmp_path / "x.png").read_bytes()).decode()
    dataset = one_labelme(tmp_path / "set", imageData=content, imagePath="..\\pictures\\a.png")
    assert dataset.image_info[0]["path"].endswith("a.png")  # beside the file after all
    (tmp_path / "set" / "a.png").unlink()
    dataset = open_set(tmp_path / "set")
    assert dataset.load_image(0)[0, 0].tolist() == [255, 0, 0]
    assert "taken from inside" in dataset.notes[0]
    one_labelme(tmp_path / "bad", imageData="A" * 100)
    (tmp_path / "bad" / "a.png").unlink()
    with pytest.raises(PictureError, match="a.json: the picture inside is damaged"):
        open_set(tmp_path / "bad").load_image(0)


# -- Masks in files ---------------------------------------------------------------------------


def test_indexed_masks_of_every_kind(tmp_path):
    """8 and 16 bits, palette with void, colours."""
    values = np.zeros(SIZE, np.uint16)
    values[CAT], values[DOG] = 1, 1000
    save(tmp_path / "masks" / "wide.png", values)
    values = np.zeros(SIZE, np.uint8)
    values[CAT], values[DOG], values[0] = 1, 2, 255
    save(tmp_path / "masks" / "palette.png", values, palette=True)
    values[0] = 0
    values[DOG] = 255
    save(tmp_path / "masks" / "grey.png", values)
    colours = np.zeros((*SIZE, 3), np.uint8)
    colours[CAT], colours[DOG] = (0, 0, 7), (250, 0, 0)
    save(tmp_path / "masks" / "colour.png", colours)
    for name in ("wide", "palette", "grey", "colour", "unlabelled"):
        picture(tmp_path / "images" / f"{name}.jpg")
    dataset = open_set(tmp_path, class_name="pet")
    assert len(dataset.image_ids) == 4 and dataset.class_names == ["BG", "pet"]
    for image_id in dataset.image_ids:
        assert_masks(masks_of(dataset, image_id)[0], mask_of(CAT), mask_of(DOG))
    assert "Pictures left out: they have no mask file: 1, the first in unlabelled.jpg." in (
        dataset.notes
    )


@pytest.mark.parametrize("names", ["voc", "labelmap", "list", "numbers"])
def test_voc_masks_have_the_classes_of_segmentation_class(names, tmp_path):
    instances, classes = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    instances[CAT], instances[DOG], instances[0] = 1, 2, 255
    classes[CAT], classes[DOG], classes[20] = 8, 12, 255
    pictures = "images" if names == "numbers" else "JPEGImages"
    for name in ("a", "b"):
        picture(tmp_path / pictures / f"{name}.png")
    save(tmp_path / "SegmentationObject" / "a.png", instances, palette=True)
    save(tmp_path / "SegmentationClass" / "a.png", classes, palette=True)
    expected = ["cat", "dog"]
    if names == "labelmap":
        lines = ["background:0,0,0::", *(f"class{i}:{i},0,0::" for i in range(1, 13))]
        (tmp_path / "labelmap.txt").write_text("\n".join(["# label:colour", *lines]))
        expected = ["class8", "class12"]
    if names == "list":
        lines = ["__ignore__", "_background_", *(f"name{i}" for i in range(1, 13))]
        (tmp_path / "class_names.txt").write_text("\n".join(lines))
        expected = ["name8", "name12"]
    if names == "numbers":
        expected = ["class 8", "class 12"]
    dataset = open_set(tmp_path)
    masks, class_ids = masks_of(dataset)
    assert_masks(masks, mask_of(CAT), mask_of(DOG))
    assert [dataset.class_names[i] for i in class_ids] == expected


def test_voc_lists_of_parts(tmp_path):
    make("voc", tmp_path)
    for part, name in (("train", "a"), ("val", "b"), ("cat_train", "a")):
        file = tmp_path / "ImageSets" / "Main" / f"{part}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{name}\n")
    assert subsets(tmp_path) == ["train", "val"]
    val = open_set(tmp_path, subset="val")
    assert [info["id"] for info in val.image_info] == ["b.png"] and masks_of(val)[1] == [2]
    assert "whose masks are the boxes, filled" in val.notes[0]


@pytest.mark.parametrize(
    "text, message",
    [
        ('<!DOCTYPE a [<!ENTITY x "y">]><annotation>&x;</annotation>', "has a DOCTYPE"),
        ("<annotation>", "no XML, or cut short"),
        ("<html></html>", "has <html> outermost"),
        ('<?xml version="1.0" encoding="nope"?><annotation/>', "no XML, or cut short"),
    ],
)
def test_xml_that_is_none(text, message, tmp_path):
    make("voc", tmp_path).write_text(text)
    with pytest.raises(FormatError, match=f"b.xml.*{message}"):
        open_set(tmp_path)


def test_bad_boxes_are_dropped_with_a_note(tmp_path):
    file = make("voc", tmp_path)
    text = voc_xml("b.png", DOG, "dog")
    file.write_text(text.replace("<xmax>51</xmax>", "<xmax>nan</xmax>"))
    dataset = open_set(tmp_path)
    assert masks_of(dataset, 1)[1] == []
    assert "Objects dropped: they have coordinates that are not finite" in dataset.notes[-1]


def test_a_mask_folder_that_is_incomplete(tmp_path):
    make("masks", tmp_path)
    picture(tmp_path / "unlabelled" / "images" / "c.png")
    dataset = open_set(tmp_path)
    assert len(dataset.image_ids) == 2
    assert "no folder of masks: 1, the first in unlabelled" in dataset.notes[-1]
    (tmp_path / "a" / "images" / "a.png").unlink()
    with pytest.raises(FormatError, match="1 of 2 pictures are missing, the first is that of a"):
        open_set(tmp_path)
    (tmp_path / "b" / "masks" / "2.png").write_bytes(b"no picture")
    with pytest.raises(FormatError, match="2.png can't be read as a mask"):
        dataset.load_mask(1)


# -- JSON -------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["coco", "via", "labelme"])
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'"x"', b"[" * 100_000, b"\xff\xfe\x00", b"1" * 5000],
    ids=["empty", "cut", "list", "null", "text", "deep", "bytes", "digits"],
)
def test_a_file_that_is_none_is_named(format, content, tmp_path):
    file = make(format, tmp_path)
    if format == "labelme":
        file.with_stem("a").unlink()
    file.write_bytes(content)
    with pytest.raises(FormatError, match=file.name):
        open_set(file, format)


def test_json_in_other_encodings(tmp_path):
    make("coco", tmp_path)
    content = coco_content()
    content["categories"][0]["name"] = "hündchen"
    for encoding in ("utf-8-sig", "utf-16"):
        text = json.dumps(content, ensure_ascii=False)
        (tmp_path / "instances.json").write_text(text, encoding=encoding)
        assert "hündchen" in open_set(tmp_path / "instances.json", "coco").class_names
