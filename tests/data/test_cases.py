"""Sets as people have them, each kind with the value that a person would expect.

Their pictures are 48 high and 64 wide, with an object at A (192 pixels), B (384) or C (192).
"""

import numpy as np
import pytest
from labelled_sets import picture, write_json

from mrcnn.data import open as open_set
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
    assert "masks are their boxes, filled" in told(dataset) and ": 3, the first in" in told(dataset)


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
