"""Dataset subclasses as tutorials wrote them, each read to the end by load_image_gt."""

import json
import os
from xml.etree import ElementTree

import numpy as np
import pytest
import skimage.draw
import skimage.io
from numpy import asarray, zeros
from old_dataset import InferenceConfig

from mrcnn import model as modellib
from mrcnn import utils
from mrcnn.utils import Dataset, extract_bboxes


def read_all(dataset):
    """What every notebook does next; returns the boxes of picture 0."""
    print(f"Image Count: {len(dataset.image_ids)}\nClass Count: {dataset.num_classes}")
    for i, info in enumerate(dataset.class_info):
        print(f"{i:3}. {info['name']:50}")
    for image_id in np.random.choice(dataset.image_ids, 2):
        image, mask = dataset.load_image(image_id), dataset.load_mask(image_id)[0]
        assert image.shape[:2] == mask.shape[:2]
        modellib.load_image_gt(dataset, InferenceConfig(), image_id, use_mini_mask=False)
    return extract_bboxes(dataset.load_mask(0)[0])


@pytest.fixture
def pictures(tmp_path):
    """Two pictures of 40x60 in a folder."""
    names = ["00001.jpg", "00002.jpg"]
    for name in names:
        skimage.io.imsave(tmp_path / name, np.arange(7200, dtype=np.uint8).reshape(40, 60, 3))
    return str(tmp_path), names


def test_via_polygons(pictures):
    """The balloon sample, which 23 repositories grew from."""
    folder, names = pictures

    class BalloonDataset(utils.Dataset):
        def load_balloon(self, dataset_dir, subset):
            self.add_class("balloon", 1, "balloon")
            assert subset in ["train", "val"]
            annotations = json.load(open(os.path.join(dataset_dir, "via_region_data.json")))  # noqa: SIM115
            annotations = list(annotations.values())  # don't need the dict keys
            annotations = [a for a in annotations if a["regions"]]
            for a in annotations:
                polygons = [r["shape_attributes"] for r in a["regions"].values()]
                image_path = os.path.join(dataset_dir, a["filename"])
                image = skimage.io.imread(image_path)
                height, width = image.shape[:2]
                self.add_image(
                    "balloon", image_id=a["filename"], path=image_path,
                    width=width, height=height, polygons=polygons,
                )  # fmt: skip

        def load_mask(self, image_id):
            image_info = self.image_info[image_id]
            if image_info["source"] != "balloon":
                return super(self.__class__, self).load_mask(image_id)
            info = self.image_info[image_id]
            mask = np.zeros([info["height"], info["width"], len(info["polygons"])], dtype=np.uint8)
            for i, p in enumerate(info["polygons"]):
                rr, cc = skimage.draw.polygon(p["all_points_y"], p["all_points_x"])
                mask[rr, cc, i] = 1
            return mask.astype(np.bool_), np.ones([mask.shape[-1]], dtype=np.int32)

        def image_reference(self, image_id):
            info = self.image_info[image_id]
            if info["source"] == "balloon":
                return info["path"]
            else:
                super(self.__class__, self).image_reference(image_id)

    region = {"all_points_x": [10, 30, 30, 10], "all_points_y": [5, 5, 25, 25], "name": "polygon"}
    entries = {n: {"filename": n, "regions": {"0": {"shape_attributes": region}}} for n in names}
    with open(os.path.join(folder, "via_region_data.json"), "w") as file:
        json.dump(entries, file)
    dataset = BalloonDataset()
    dataset.load_balloon(folder, "train")
    dataset.prepare()
    # skimage.draw.polygon takes the corners in, and the far side of a box lies outside it.
    assert read_all(dataset).tolist() == [[5, 10, 26, 31]]
    assert dataset.image_reference(1) == dataset.source_image_link(1)
    assert dataset.image_reference(1).endswith(names[1])


def test_voc_boxes_as_masks(pictures):
    """The kangaroo tutorial: boxes from XML, filled."""
    folder, names = pictures

    class KangarooDataset(Dataset):
        def load_dataset(self, dataset_dir, is_train=True):
            self.add_class("dataset", 1, "kangaroo")
            for filename in names:
                image_id = filename[:-4]
                if is_train and int(image_id) >= 150:
                    continue
                img_path, ann_path = dataset_dir + "/" + filename, dataset_dir + f"/{image_id}.xml"
                self.add_image("dataset", image_id=image_id, path=img_path, annotation=ann_path)

        def extract_boxes(self, filename):
            root = ElementTree.parse(filename).getroot()
            boxes = list()
            for box in root.findall(".//bndbox"):
                names = ("xmin", "ymin", "xmax", "ymax")
                boxes.append([int(box.find(name).text) for name in names])
            width, height = (int(root.find(f".//size/{name}").text) for name in ("width", "height"))
            return boxes, width, height

        def load_mask(self, image_id):
            info = self.image_info[image_id]
            boxes, w, h = self.extract_boxes(info["annotation"])
            masks = zeros([h, w, len(boxes)], dtype="uint8")
            class_ids = list()
            for i in range(len(boxes)):
                box = boxes[i]
                row_s, row_e, col_s, col_e = box[1], box[3], box[0], box[2]
                masks[row_s:row_e, col_s:col_e, i] = 1
                class_ids.append(self.class_names.index("kangaroo"))
            return masks, asarray(class_ids, dtype="int32")

        def image_reference(self, image_id):
            return self.image_info[image_id]["path"]

    xml = (
        "<annotation><size><width>60</width><height>40</height></size><object><bndbox><xmin>10"
        "</xmin><ymin>5</ymin><xmax>30</xmax><ymax>25</ymax></bndbox></object></annotation>"
    )
    for name in names:
        with open(os.path.join(folder, name.replace("jpg", "xml")), "w") as file:
            file.write(xml)
    train_set = KangarooDataset()
    train_set.load_dataset(folder, is_train=True)
    train_set.prepare()
    assert read_all(train_set).tolist() == [[5, 10, 25, 30]]


def test_sources_side_by_side(dataset):
    """image_info, class_info and the maps between ids, as samples and evaluators read them."""
    assert dataset.image_info[0]["source"] == "shapes" and dataset.image_info[0]["width"] == 64
    assert dataset.class_names == ["BG", "square", "circle", "triangle"]
    assert [info["id"] for info in dataset.class_info] == [0, 1, 2, 3]
    assert dataset.map_source_class_id("shapes.2") == 2
    assert dataset.map_source_class_id(f"shapes.{dataset.get_source_class_id(3, 'shapes')}") == 3
    assert dataset.image_reference(0) is dataset.image_info[0]["shapes"]
    assert (dataset.num_images, dataset.image_ids.tolist()) == (4, [0, 1, 2, 3])


def test_an_init_of_its_own():
    class CellsDataset(utils.Dataset):
        def __init__(self, class_map=None):
            super().__init__(class_map)
            self.add_class("cells", 1, "cell")

    dataset = CellsDataset(None)
    dataset.prepare(class_map=None)
    assert dataset.num_classes == 2 and utils.Dataset({}).class_info[0]["name"] == "BG"


def test_boxes_of_load_image_gt_are_those_of_the_masks(dataset):
    """inspect_data: the dataset's own masks, then the same picture resized."""
    mask, class_ids = dataset.load_mask(1)
    bbox = utils.extract_bboxes(mask)
    image, meta, gt_class_ids, gt_bbox, gt_mask = modellib.load_image_gt(
        dataset, InferenceConfig(), 1, augment=False, use_mini_mask=True
    )
    np.testing.assert_array_equal(gt_bbox, bbox)  # 64x64 pictures in a 64x64 network
    np.testing.assert_array_equal(gt_class_ids, class_ids)
    assert gt_mask.shape == (56, 56, 2)
    np.testing.assert_array_equal(
        utils.expand_mask(gt_bbox, gt_mask, image.shape).shape, mask.shape
    )
