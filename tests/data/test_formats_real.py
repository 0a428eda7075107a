"""The readers on real sets, where a folder of them is at hand: counts that others have published.

    MRCNN_DATA=/path pytest tests/data/test_formats_real.py

The folder holds balloon/ (VIA 1, Matterport's), coco_mini/ (71 and 46 pictures of COCO 2017),
labelme_mini/ (LabelMe's three examples of VOC 2011) and nucleus/ (160 pictures of BBBC038v1).
"""

import os
from pathlib import Path

import numpy as np
import pytest
import skimage.draw
from pycocotools.coco import COCO

from mrcnn.config import Config
from mrcnn.data import open as open_set
from mrcnn.data.formats.files import read_json
from mrcnn.data.inputs import load_image_gt
from mrcnn.geometry.masks import minimize_mask

DATA = Path(os.environ.get("MRCNN_DATA", ""))
pytestmark = pytest.mark.skipif(
    "MRCNN_DATA" not in os.environ, reason="MRCNN_DATA names no folder of real sets"
)


@pytest.mark.parametrize(
    "name, subset, format, pictures, instances, crowds",
    [
        ("balloon", "train", "via", 61, 255, 0),
        ("balloon", "val", "via", 13, 50, 0),
        ("coco_mini", "train", "coco", 46, 642, 19),
        ("coco_mini", "val", "coco", 71, 574, 11),
        # 18 polygons; two are __ignore__, and two groups join 2 and 4 of them.
        ("labelme_mini", None, "labelme", 3, 12, 0),
        ("nucleus", "val", "masks", 40, 1979, 0),
        pytest.param("nucleus", "train", "masks", 120, 5929, 0, marks=pytest.mark.slow),
    ],
)
def test_counts(name, subset, format, pictures, instances, crowds):
    dataset = open_set(DATA / name, subset=subset)
    assert dataset.format == format and len(dataset.image_ids) == pictures
    found = np.concatenate([dataset.load_mask(i)[1] for i in dataset.image_ids])
    assert (len(found), int((found < 0).sum())) == (instances, crowds)


def test_coco_masks_are_those_of_its_own_tools():
    dataset = open_set(DATA / "coco_mini", subset="val")
    coco = COCO(DATA / "coco_mini" / "annotations" / "instances_val2017.json")
    for image_id, info in enumerate(dataset.image_info):
        masks, class_ids = dataset.load_mask(image_id)
        annotations = coco.imgToAnns[info["id"]]
        assert masks.shape[-1] == len(annotations)
        for i, annotation in enumerate(annotations):
            np.testing.assert_array_equal(masks[..., i], coco.annToMask(annotation))
            number = dataset.map_source_class_id(f"coco.{annotation['category_id']}")
            assert class_ids[i] == (-number if annotation["iscrowd"] else number)


def test_balloon_masks_are_those_of_matterports_sample():
    dataset = open_set(DATA / "balloon", subset="val")
    content = read_json(DATA / "balloon" / "val" / "via_region_data.json")
    for image_id, entry in enumerate(content.values()):
        masks, _ = dataset.load_mask(image_id)
        for i, region in enumerate(entry["regions"].values()):
            shape = region["shape_attributes"]
            expected = np.zeros(masks.shape[:2], bool)
            ys, xs = shape["all_points_y"], shape["all_points_x"]
            expected[skimage.draw.polygon(ys, xs, expected.shape)] = True
            np.testing.assert_array_equal(masks[..., i], expected)


@pytest.mark.parametrize(
    "name, subset",
    [("balloon", "val"), ("coco_mini", "val"), ("labelme_mini", None), ("nucleus", "val")],
)
def test_mini_masks_are_those_of_full_masks(name, subset):
    dataset = open_set(DATA / name, subset=subset)
    settings = {"NUM_CLASSES": dataset.num_classes, "IMAGE_MIN_DIM": 256, "IMAGE_MAX_DIM": 320}
    config = type("RealConfig", (Config,), settings)()
    for image_id in dataset.image_ids[:20]:
        *same, bbox, full = load_image_gt(dataset, config, image_id)
        expected = (*same, bbox, minimize_mask(bbox, full, config.MINI_MASK_SHAPE))
        found = load_image_gt(dataset, config, image_id, use_mini_mask=True)
        for one, other in zip(found, expected):
            np.testing.assert_array_equal(one, other)
