"""YOLO, CVAT and Label Studio: files as these tools write them."""

import base64
import io
import json

import numpy as np
import pytest
from labelled_sets import (
    CAT,
    DOG,
    HEIGHT,
    SIZE,
    WIDTH,
    cvat_polygon,
    cvat_xml,
    labelstudio_polygon,
    labelstudio_result,
    labelstudio_task,
    mask_of,
    picture,
    write_json,
    yolo_rows,
)
from PIL import Image

from mrcnn.data import open as open_set
from mrcnn.data.formats import FormatError, subsets
from mrcnn.data.formats.brush import check_brush, pack_brush, unpack_brush
from mrcnn.data.formats.notes import Dropped
from mrcnn.data.formats.plain_yaml import read_yaml
from mrcnn.data.parts import open_part


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def masks_of(dataset, image_id=0):
    masks, class_ids = dataset.load_mask(image_id)
    return list(np.moveaxis(masks, -1, 0)), [dataset.class_names[i] for i in class_ids]


def assert_masks(found, *expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected):
        np.testing.assert_array_equal(one, other)


def told(dataset):
    return " ".join(dataset.notes)


def areas(dataset):
    found = [masks_of(dataset, i) for i in dataset.image_ids]
    return [(name, int(m.sum())) for masks, names in found for m, name in zip(masks, names)]


def test_sets_as_people_ask_about_them(tmp_path):
    """Pictures of 48x64 with objects of 192 and 384 pixels; coordinates lie on pixels' edges."""
    a, b = (
        "8.00,8.00;24.00,8.00;24.00,20.00;8.00,20.00",
        'left="32" top="24" width="24" height="16"',
    )
    picture(tmp_path / "cvat" / "images" / "a.png", 48, 64)
    shapes = f'<polygon label="leaf" points="{a}"/><mask label="leaf" rle="0, 384" {b}/>'
    image = f'<image id="0" name="a.png" width="64" height="48">{shapes}</image>'
    write(tmp_path / "cvat" / "annotations.xml", f"<annotations>{image}</annotations>")
    assert areas(open_set(tmp_path / "cvat")) == [("leaf", 192), ("leaf", 384)]
    corners = "0.125 0.166667 0.375 0.166667 0.375 0.416667 0.125 0.416667"
    picture(tmp_path / "yolo" / "images" / "train" / "a.jpg", 48, 64)
    write(tmp_path / "yolo" / "labels" / "train" / "a.txt", f"0 {corners}\n")
    write(tmp_path / "yolo" / "data.yaml", f"path: .\ntrain: images/train\n{NAMES}")
    assert areas(open_set(tmp_path / "yolo")) == [("leaf", 192)]
    picture(tmp_path / "ls" / "ab12-a.png", 48, 64)
    points = [[12.5, 16.666666666666668], [37.5, 16.666666666666668]]
    points += [[37.5, 41.666666666666664], [12.5, 41.666666666666664]]
    result = labelstudio_result("polygonlabels", "section", points=points)
    task = labelstudio_task(
        "/data/upload/1/ab12-a.png", {**result, "original_width": 64, "original_height": 48}
    )
    write_json(tmp_path / "ls" / "project-1-at-2024.json", [task])
    assert areas(open_set(tmp_path / "ls")) == [("section", 192)]


# -- YOLO ---------------------------------------------------------------------------------------

NAMES = "names:\n  0: leaf\n  1: fruit\n"


def yolo_pair(folder, images, labels, *names, rows=None):
    for name in names:
        picture(folder / images / f"{name}.jpg")
        write(folder / labels / f"{name}.txt", rows or yolo_rows(CAT, 1))


@pytest.mark.parametrize(
    "places, yaml",
    [
        ("images/{}", f"path: .\ntrain: images/train\nval: images/val\n{NAMES}"),
        ("images/{}", f"path: /content/sets/plants\ntrain: images/train\nval: images/val\n{NAMES}"),
        ("images/{}", f"path: ./\ntrain: train.txt\nval: val.txt\n{NAMES}"),
        ("images/{}", f"train: /home/me/plants/images/train\nval: images/val\nnc: 2\n{NAMES}"),
        # Roboflow's paths lead one folder too high.
        (
            "{}/images",
            "train: ../train/images\nval: ../val/images\nnc: 2\nnames: ['leaf', 'fruit']",
        ),
        ("{}/images", "names:\n- leaf\n- fruit\nnc: 2\ntrain: train/images\nval: val/images\n"),
        ("{}/images", "train: [train/images]\nval: val\nnames: {0: leaf, 1: 'fruit'}\n"),
    ],
)
def test_yolo_sets_are_found_by_their_yaml(places, yaml, tmp_path):
    for part in ("train", "val"):
        images = places.format(part)
        yolo_pair(tmp_path, images, images.replace("images", "labels"), part)
        write(tmp_path / f"{part}.txt", f"./{images}/{part}.jpg\n")
    file = write(tmp_path / "data.yaml", yaml)
    for named in (tmp_path, file):
        assert subsets(named) == ["train", "val"]
        dataset = open_set(named, subset="val")
        assert dataset.format == "yolo" and dataset.class_names == ["BG", "leaf", "fruit"]
        assert dataset.image_info[0]["path"] == str(tmp_path / places.format("val") / "val.jpg")
        masks, names = masks_of(dataset)
        assert names == ["fruit"]
        assert_masks(masks, mask_of(CAT))
    assert dataset.notes == []


@pytest.mark.parametrize("places", ["images/{}", "{}/images"])
@pytest.mark.parametrize("classes", [None, "classes.txt", "obj.names"])
def test_yolo_sets_without_a_yaml(places, classes, tmp_path):
    for part in ("train", "valid"):
        images = places.format(part)
        yolo_pair(tmp_path, images, images.replace("images", "labels"), "a", "b")
    write(
        tmp_path / places.format("train").replace("images", "labels") / "b.txt", yolo_rows(DOG, 0)
    )
    if classes:
        write(tmp_path / classes, "leaf\nfruit\n")
    assert subsets(tmp_path) == ["train", "valid"]
    dataset = open_part(tmp_path, subset="val")
    assert masks_of(dataset)[1] == ["fruit" if classes else "class 1"]
    assert ("called by their numbers" in told(dataset)) == (classes is None)
    assert "differ by a number" not in told(dataset)


def test_darknet_lists_and_labels_beside_pictures(tmp_path):
    """As CVAT's export "YOLO 1.1" has them."""
    yolo_pair(tmp_path, "obj_train_data", "obj_train_data", "a", "b")
    write(tmp_path / "train.txt", "data/obj_train_data/a.jpg\ndata/obj_train_data/b.jpg\n")
    write(tmp_path / "obj.names", "leaf\nfruit\n")
    write(tmp_path / "obj.data", "classes = 2\ntrain = data/train.txt\n")
    dataset = open_set(tmp_path, subset="train")
    assert len(dataset.image_ids) == 2 and masks_of(dataset)[1] == ["fruit"]
    beside = open_set(tmp_path / "obj_train_data")
    assert len(beside.image_ids) == 2 and masks_of(beside)[1] == ["fruit"]


def test_label_studios_export_to_yolo(tmp_path):
    yolo_pair(tmp_path, "images", "labels", "0badcafe-a")
    write(tmp_path / "classes.txt", "leaf\nfruit\n")
    content = {"categories": [{"id": 0, "name": "leaf"}], "info": {"contributor": "Label Studio"}}
    write_json(tmp_path / "notes.json", content)
    dataset = open_set(tmp_path)
    assert dataset.format == "yolo" and dataset.class_names == ["BG", "leaf", "fruit"]


def test_a_yolo_set_that_validates_on_its_training_pictures_is_one_set(tmp_path):
    yolo_pair(tmp_path, "images", "labels", "a", "b", "c")
    write(tmp_path / "data.yaml", f"train: images\nval: images\n{NAMES}")
    assert subsets(tmp_path) == []
    kept = len(open_part(tmp_path, subset="val").image_ids)
    assert kept == 1 and len(open_part(tmp_path, subset="train").image_ids) == 2


def one_yolo(folder, rows, yaml=f"train: images\n{NAMES}"):
    yolo_pair(folder, "images", "labels", "a", rows=rows)
    write(folder / "data.yaml", yaml)
    return open_set(folder)


def test_yolo_boxes_are_filled_and_told(tmp_path):
    dataset = one_yolo(
        tmp_path, "0 0.5 0.5 0.25 0.5\n1 0.5 0.5 0.25 0.5 0.93\n1 0.1 0.1 .4 .1 .4 .4"
    )
    masks, names = masks_of(dataset)
    assert names == ["leaf", "fruit", "fruit"]
    assert masks[0].sum() == pytest.approx(15 * 20, rel=0.1)
    assert "Boxes without outlines" in told(dataset) and ": 2, the first in a.jpg" in told(dataset)


def test_rows_with_keypoints_are_boxes(tmp_path):
    yaml = f"train: images\nkpt_shape: [2, 3]\n{NAMES}"
    dataset = one_yolo(tmp_path, "0 0.5 0.5 0.25 0.5 0.4 0.4 2 0.6 0.6 1", yaml)
    assert masks_of(dataset)[0][0].sum() == pytest.approx(15 * 20, rel=0.1)
    assert "Keypoints left out" in told(dataset)


@pytest.mark.parametrize(
    "row, note",
    [
        ("9 .1 .1 .4 .1 .4 .4", "a class number that the list of names does not have"),
        ("leaf .1 .1 .4 .1 .4 .4", "begin with no number of a class"),
        ("0 10 10 40 10 40 40", "have coordinates in pixels"),
        ("0 .1 .1 .4", "neither the four numbers of a box nor three corners"),
        ("0 .1 .1 .4 x .4 .4", "something that is no number"),
        ("0 .1 .1 .4 nan .4 .4", "not finite"),
        ("0 .1 .1 .1 .1 .1 .1", "have no area"),
    ],
)
def test_bad_yolo_rows_are_dropped_with_a_note(row, note, tmp_path):
    dataset = one_yolo(tmp_path, f"{row}\n\n{yolo_rows(CAT, 0)}\n")
    assert_masks(masks_of(dataset)[0], mask_of(CAT))
    (said,) = dataset.notes
    assert note in said and ": 1, the first in a.jpg" in said


def test_pictures_without_labels_and_labels_without_pictures(tmp_path):
    dataset = one_yolo(tmp_path, "0.0 .1 .1 .4 .1 .4 .4 0.87")
    assert "Confidences behind outlines left out" in told(dataset)
    picture(tmp_path / "images" / "none.jpg")
    dataset = open_set(tmp_path)
    assert len(dataset.image_ids) == 2
    assert "without a file of labels, taken as having no instances: 1" in told(dataset)
    write(tmp_path / "labels" / "gone.txt", yolo_rows(CAT, 0))
    with pytest.raises(FormatError, match="1 of 3 pictures are missing, the first is gone.jpg"):
        open_set(tmp_path)
    write(tmp_path / "data.yaml", f"train: pictures/elsewhere\n{NAMES}")
    (tmp_path / "labels").rename(tmp_path / "texts")
    with pytest.raises(FormatError, match=r"not there \(train: pictures/elsewhere\)"):
        open_set(tmp_path / "data.yaml")


@pytest.mark.parametrize(
    "text, expected",
    [
        ("names: [a, 'b, c', \"d\"] # three", ["a", "b, c", "d"]),
        ("names: [ 'a',\n  'b' ]\nnc: 2", ["a", "b"]),
        ("names:\n- a\n- b # second\nnc: 2", ["a", "b"]),
        ("names:\n    - 'a'\n\n    - b\n", ["a", "b"]),
        ("names: {0: a, 1: 'b'}", {"0": "a", "1": "b"}),
        ('---\nnames:\n  # all\n  0: a b\n  1: "b: c"\n', {"0": "a b", "1": "b: c"}),
        ("names: a", "a"),
        ("names: ['it''s', don't]", ["it's", "don't"]),
        ("names: [a, b", ["a", "b"]),
        ("names: []", []),
        ("'names': [a]\n", ["a"]),
        ("download: |\n  from x import y\n  names: no\nnames:\n  0: a\n", {"0": "a"}),
    ],
)
def test_yaml_as_data_sets_have_it(text, expected, tmp_path):
    assert read_yaml(write(tmp_path / "a.yaml", text))["names"] == expected


# -- CVAT ---------------------------------------------------------------------------------------


def one_cvat(folder, shapes, name="a.png"):
    picture(folder / "images" / "a.png")
    write(folder / "annotations.xml", cvat_xml((name, shapes)))
    return open_set(folder)


def test_cvat_shapes(tmp_path):
    shapes = [
        cvat_polygon(CAT, "cat"),
        '<mask label="dog" rle="2, 3, 1, 4" left="30" top="20" width="5" height="2" z_order="0"/>',
        '<box label="cat" xtl="10.00" ytl="5.00" xbr="30.00" ybr="15.40"/>',
        '<box label="cat" xtl="10" ytl="5" xbr="30" ybr="15" rotation="90.0"/>',
        '<ellipse label="dog" cx="20.5" cy="20.5" rx="10" ry="5" rotation="90"/>',
    ]
    dataset = one_cvat(tmp_path, "".join(shapes))
    masks, names = masks_of(dataset)
    assert names == ["cat", "dog", "cat", "cat", "dog"]
    assert_masks(masks[:1], mask_of(CAT))
    np.testing.assert_array_equal(
        masks[1][20:22, 30:35], [[False, False, True, True, True], [False, True, True, True, True]]
    )
    assert masks[1].sum() == 7
    assert_masks(masks[2:4], mask_of(CAT), mask_of(np.s_[0:20, 15:25]))
    rows, columns = np.nonzero(masks[4])
    assert (np.ptp(rows), np.ptp(columns)) == (20, 10) and rows.mean() == columns.mean() == 20
    assert [note for note in dataset.notes if "Boxes" not in note] == []


def test_cvat_groups_attributes_and_what_has_no_inside(tmp_path):
    left_out = (
        '<points label="cat" points="1,1;2,2"/><polyline label="cat" points="1,1;9,9"/>'
        '<tag label="cat"/><cuboid label="cat" xtl1="1"/><skeleton label="cat"><points/></skeleton>'
    )
    grouped = [
        cvat_polygon(region, "cat").replace(" z_", ' group_id="3" z_') for region in (CAT, DOG)
    ]
    inside = '<attribute name="old">yes</attribute></polygon>'
    single = cvat_polygon(CAT, "dog").replace("</polygon>", inside)
    dataset = one_cvat(tmp_path, "".join([left_out, *grouped, single]))
    masks, names = masks_of(dataset)
    assert names == ["cat", "dog"]
    assert_masks(masks, mask_of(CAT, DOG), mask_of(CAT))
    for what in (
        "Points left",
        "Open lines",
        "Tags",
        "Cuboids",
        "Skeletons",
        "joined by their group",
    ):
        assert what in told(dataset)


@pytest.mark.parametrize(
    "shape, note",
    [
        ('<polygon points="1,1;9,1;9,9"/>', "have no label"),
        ('<polygon label="cat" points="1,1;9;9,9"/>', "not pairs of numbers"),
        ('<polygon label="cat" points="1,1;9,x;9,9"/>', "not numbers"),
        ('<mask label="cat" rle="2, 3" left="1" top="1" width="5" height="2"/>', "do not fill"),
        (
            '<mask label="cat" rle="2, -3" left="1" top="1" width="5" height="2"/>',
            "no list of runs",
        ),
        ('<mask label="cat" rle="10" left="1" top="1" width="5" height="2"/>', "an empty mask"),
        (
            '<mask label="cat" rle="0, 10" left="1" top="1" width="5"/>',
            "without a place and a size",
        ),
        ('<mask label="cat" rle="0, 9000" left="0" top="0" width="90" height="100"/>', "is larger"),
        ('<box label="cat" xtl="1" ytl="1" xbr="9"/>', "have no ybr"),
        ('<box label="cat" xtl="1" ytl="1" xbr="1" ybr="1"/>', "boxes without area"),
        ('<ellipse label="cat" cx="1" cy="1" rx="0" ry="1"/>', "without a radius"),
        ('<star label="cat"/>', "a shape that CVAT does not have"),
    ],
)
def test_bad_cvat_shapes_are_dropped_with_a_note(shape, note, tmp_path):
    dataset = one_cvat(tmp_path, shape + cvat_polygon(CAT, "cat"))
    assert_masks(masks_of(dataset)[0], mask_of(CAT))
    (said,) = dataset.notes
    assert note in said and ": 1, the first in a.png" in said


def test_subsets_of_a_cvat_project_are_parts(tmp_path):
    """Both have a picture a.png, whose file lies in the folder of its subset."""
    text = cvat_xml(("a.png", cvat_polygon(CAT, "cat")), ("a.png", cvat_polygon(DOG, "dog")))
    for part, number in (("Train", 0), ("Validation", 1)):
        picture(tmp_path / "images" / part / "a.png")
        text = text.replace(f'<image id="{number}"', f'<image id="{number}" subset="{part}"')
    labels = "".join(f"<label><name>{name}</name></label>" for name in ("dog", "cat"))
    meta = f"<meta><project><labels>{labels}</labels></project></meta>"
    write(tmp_path / "annotations.xml", text.replace("<image", f"{meta}<image", 1))
    assert subsets(tmp_path) == subsets(tmp_path / "annotations.xml") == ["Train", "Validation"]
    val = open_set(tmp_path, subset="val")
    assert val.class_names == ["BG", "dog", "cat"]  # in the order of the project's own list
    assert masks_of(val)[1] == ["dog"] and len(val.image_ids) == 1
    assert val.image_info[0]["path"] == str(tmp_path / "images" / "Validation" / "a.png")


def test_videos_of_cvat_are_named_as_such(tmp_path):
    track = '<track id="0" label="cat"><polygon frame="0" points="1,1;9,1;9,9"/></track>'
    file = write(tmp_path / "annotations.xml", f"<annotations><meta/>{track}</annotations>")
    with pytest.raises(FormatError, match="export of a video: .* 'CVAT for images 1.1'"):
        open_set(tmp_path)
    file.write_text("<annotations><version>1.1</version></annotations>")
    with pytest.raises(FormatError, match="has no <image>"):
        open_set(tmp_path)
    dataset = one_cvat(tmp_path, cvat_polygon(CAT, "cat"))
    file.write_text(file.read_text().replace("</annotations>", f"{track}</annotations>"))
    dataset = open_set(tmp_path)
    assert len(masks_of(dataset)[0]) == 1 and "Tracks of videos left out: 1" in told(dataset)


# -- Label Studio -------------------------------------------------------------------------------


def one_labelstudio(folder, *results, image="/data/upload/1/0badcafe-a.png", file="a.png", **task):
    picture(folder / file)
    write_json(folder / "export.json", [{**labelstudio_task(image, *results), **task}])
    return open_set(folder)


def percents(x, y, width, height):
    return {
        "x": 100 * x / WIDTH,
        "y": 100 * y / HEIGHT,
        "width": 100 * width / WIDTH,
        "height": 100 * height / HEIGHT,
    }


def all_kinds():
    stream = io.BytesIO()
    Image.fromarray(mask_of(DOG).astype(np.uint8) * 255).save(stream, "PNG")
    address = f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
    oval = {"x": 50.0, "y": 50.0, "radiusX": 1000 / WIDTH, "radiusY": 500 / HEIGHT}
    # Turned about its upper left corner: to the right of it becomes below.
    box = percents(30, 5, 10, 20)
    return [
        labelstudio_polygon(CAT, "cat"),
        labelstudio_result("brushlabels", "dog", format="rle", rle=pack_brush(mask_of(DOG))),
        labelstudio_result("rectanglelabels", "cat", **percents(10, 5, 20, 10), rotation=0),
        labelstudio_result("rectanglelabels", "cat", **box, rotation=90),
        labelstudio_result("ellipselabels", "dog", **oval, rotation=90),
        labelstudio_result("bitmasklabels", "dog", imageDataURL=address),
        labelstudio_result("keypointlabels", "cat", x=10, y=10, width=0.3),
    ]


def as_min(results):
    """What the export JSON-MIN makes of results."""
    return [{**r["value"], "original_width": WIDTH, "original_height": HEIGHT} for r in results]


@pytest.mark.parametrize("least", [False, True])
def test_label_studios_shapes(least, tmp_path):
    results = all_kinds()
    dataset = one_labelstudio(tmp_path, *results)
    if least:
        row = {"id": 1, "image": "/data/upload/1/0badcafe-a.png", "label": as_min(results)}
        write_json(tmp_path / "export.json", [{**row, "annotator": 1, "annotation_id": 1}])
        dataset = open_set(tmp_path)
    assert dataset.format == "labelstudio" and dataset.image_info[0]["path"].endswith("/a.png")
    masks, names = masks_of(dataset)
    assert names == ["cat", "dog", "cat", "cat", "dog", "dog"]
    assert_masks(masks[:4], mask_of(CAT), mask_of(DOG), mask_of(CAT), mask_of(np.s_[5:15, 10:30]))
    rows, columns = np.nonzero(masks[4])
    assert (np.ptp(rows), np.ptp(columns)) == (19, 9)
    assert_masks(masks[5:], mask_of(DOG))
    assert "Keypoints left out: 1, the first in a.png" in told(dataset).replace("0badcafe-", "")


def test_brush_masks_of_any_runs():
    rng = np.random.default_rng(0)
    for _ in range(50):
        mask = rng.random(rng.integers(1, 50, 2)) > rng.random()
        packed = check_brush(pack_brush(mask), *mask.shape)
        np.testing.assert_array_equal(unpack_brush(packed, *mask.shape), mask)
    for broken in (packed[: len(packed) // 2], packed[:7]):
        with pytest.raises(Dropped, match="cut short"):
            unpack_brush(broken, *mask.shape)
    with pytest.raises(Dropped, match="another size"):
        check_brush(list(packed), 7, 99)


def test_brush_masks_as_the_tool_packs_them():
    """Two pixels, one half transparent: values one by one; by the description of the format."""
    fields = [(8, 32), (7, 5), (2, 4), (3, 4), (7, 4), (15, 4)]  # bytes, value bits, four widths
    fields += [(0, 1), (0, 2), (7, 3)]  # no run, the first width, eight values
    fields += [(value, 8) for value in (9, 9, 9, 0, 1, 2, 3, 128)]
    text = "".join(f"{number:0{size}b}" for number, size in fields)
    packed = int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")
    np.testing.assert_array_equal(unpack_brush(packed, 1, 2), [[False, True]])


@pytest.mark.parametrize(
    "image, file",
    [
        ("/data/upload/1/0badcafe-a.png", "0badcafe-a.png"),
        ("/data/upload/1/0badcafe-a_b.png", "images/a_b.png"),
        ("/data/local-files/?d=scans/day%201/a%20b.png", "a b.png"),
        ("/data/local-files/?d=scans/one/a.png", "one/a.png"),
        ("/data/local-files/?d=C%3A%5Cscans%5Ca.png", "a.png"),
        ("s3://bucket/scans/a.png", "images/a.png"),
        ("https://example.org/scans/a%20b.png?X-Amz-Signature=0", "a b.png"),
        ("http://localhost:8080/data/upload/7/0badcafe-a.png", "a.png"),
        ("a.png", "a.png"),
    ],
)
def test_pictures_of_label_studio_are_found(image, file, tmp_path):
    dataset = one_labelstudio(tmp_path, labelstudio_polygon(CAT, "cat"), image=image, file=file)
    assert dataset.image_info[0]["path"] == str(tmp_path / file)


def test_uploads_of_one_name_are_not_mixed_up(tmp_path):
    tasks = [
        labelstudio_task(f"/data/upload/1/{number}-a.png", labelstudio_polygon(CAT, "cat"))
        for number in ("0badcafe", "1badcafe")
    ]
    picture(tmp_path / "a.png")
    write_json(tmp_path / "export.json", tasks)
    with pytest.raises(FormatError, match="several have their picture's name: 2"):
        open_set(tmp_path)
    for number in ("0badcafe", "1badcafe"):
        picture(tmp_path / f"{number}-a.png")
    assert len(open_set(tmp_path).image_ids) == 2


def test_which_annotation_of_a_task_counts(tmp_path):
    cat, dog = labelstudio_polygon(CAT, "cat"), labelstudio_polygon(DOG, "dog")
    skipped = {"result": [cat, cat, cat], "was_cancelled": True}
    several = [{"result": [cat]}, {"result": [dog]}, skipped]
    dataset = one_labelstudio(tmp_path, annotations=several)
    assert masks_of(dataset)[1] == ["dog"] and "labelled several times" in told(dataset)
    several[0]["ground_truth"] = True
    assert masks_of(one_labelstudio(tmp_path, annotations=several))[1] == ["cat"]
    guess = {"annotations": [], "predictions": [{"result": [cat], "score": 0.9}]}
    dataset = one_labelstudio(tmp_path, **guess)
    assert masks_of(dataset)[1] == ["cat"] and dataset.image_info[0]["predicted"]
    assert "predictions that nobody has changed" in told(dataset)
    judged = labelstudio_task("a.png", dog)
    empty = {**judged, "annotations": [{"result": []}]}
    unseen = {**judged, "annotations": []}
    write_json(tmp_path / "export.json", [judged, {**judged, **guess}, empty, unseen])
    dataset = open_set(tmp_path)
    assert [masks_of(dataset, i)[1] for i in dataset.image_ids] == [["dog"], ["cat"], []]
    assert "nobody has labelled them: 1" in told(dataset)


def test_a_shape_and_its_class_may_be_results_of_their_own(tmp_path):
    """As with <Polygon> and <Labels> in place of <PolygonLabels>."""
    whole = labelstudio_polygon(CAT, "cat")
    points = {"points": whole["value"]["points"]}
    shape = {**whole, "id": "a", "type": "polygon", "value": points}
    label = {**whole, "id": "a", "type": "labels", "value": {**points, "labels": ["cat"]}}
    choice = {"id": "a", "type": "choices", "value": {"choices": ["blurred"]}}
    for results in ([shape, label, choice], [label, shape], [label]):
        dataset = one_labelstudio(tmp_path, *results)
        assert masks_of(dataset)[1] == ["cat"] and dataset.notes == []
    assert "Regions dropped: they have no label: 1" in told(one_labelstudio(tmp_path, shape))


@pytest.mark.parametrize(
    "change, note",
    [
        ({"image_rotation": 90}, "drawn on a turned picture"),
        ({"value": {"points": [[1, 1], [9]], "polygonlabels": ["cat"]}}, "not pairs of numbers"),
        (
            {"value": {"points": [[1, 1], [9, "1"], [9, 9]], "polygonlabels": ["cat"]}},
            "not numbers",
        ),
        ({"value": {"rle": [1, 2, 3], "format": "rle", "brushlabels": ["cat"]}}, "an empty brush"),
        ({"value": {"rle": [0] * 99, "brushlabels": ["cat"]}}, "of another size"),
        ({"value": {"rle": [999], "brushlabels": ["cat"]}}, "no list of bytes"),
        ({"value": {"x": 1, "y": 1, "width": 9, "rectanglelabels": ["cat"]}}, "have no height"),
        ({"value": {"points": [[1, 1], [9, 1], [9, 9]], "polygonlabels": []}}, "have no label"),
    ],
)
def test_bad_label_studio_regions_are_dropped_with_a_note(change, note, tmp_path):
    good = labelstudio_polygon(CAT, "cat")
    dataset = one_labelstudio(tmp_path, {**good, **change}, good)
    assert_masks(masks_of(dataset)[0], mask_of(CAT))
    (said,) = dataset.notes
    assert note in said and ": 1, the first in" in said


def test_labels_are_scaled_to_a_picture_of_the_same_shape_alone(tmp_path):
    double = {"original_width": 2 * WIDTH, "original_height": 2 * HEIGHT}
    dataset = one_labelstudio(tmp_path, {**labelstudio_polygon(CAT, "cat"), **double})
    assert_masks(masks_of(dataset)[0], mask_of(CAT))
    assert "labelled at another size" in told(dataset)
    other = {"original_width": 2 * WIDTH, "original_height": HEIGHT}
    dataset = one_labelstudio(tmp_path, {**labelstudio_polygon(CAT, "cat"), **other})
    with pytest.raises(FormatError, match="its labels in"):
        dataset.load_image(0)


def test_no_tasks_are_told(tmp_path):
    for content in ([], [1], [{"id": 1, "annotation_id": 1, "text": "hello"}]):
        (tmp_path / "export.json").write_text(json.dumps(content))
        with pytest.raises(FormatError, match=r"no tasks|no task with a picture"):
            open_set(tmp_path / "export.json", "labelstudio")
    assert SIZE == (HEIGHT, WIDTH)
