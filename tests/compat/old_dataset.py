"""A dataset and its configs, written as scripts of 2018 wrote theirs."""

import math
import random

import numpy as np

from mrcnn import utils
from mrcnn.config import Config


class ShapesConfig(Config):
    # Give the configuration a recognizable name
    NAME = "shapes"

    GPU_COUNT = 1
    IMAGES_PER_GPU = 2
    NUM_CLASSES = 1 + 3  # background + 3 shapes
    IMAGE_MIN_DIM = 64
    IMAGE_MAX_DIM = 64
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)  # anchor side in pixels
    TRAIN_ROIS_PER_IMAGE = 8
    STEPS_PER_EPOCH = 1
    VALIDATION_STEPS = 1

    # Not of the time: a network that is built in a second.
    BACKBONE = "resnet18_half"
    TOP_DOWN_PYRAMID_SIZE = 16
    FPN_CLASSIF_FC_LAYERS_SIZE = 16
    RPN_CONV_CHANNELS = 16
    MASK_CONV_CHANNELS = 8
    POST_NMS_ROIS_TRAINING = 40
    POST_NMS_ROIS_INFERENCE = 40


class InferenceConfig(ShapesConfig):
    GPU_COUNT = 1
    IMAGES_PER_GPU = 1
    DETECTION_MIN_CONFIDENCE = 0
    DETECTION_MAX_INSTANCES = 10


class ShapesDataset(utils.Dataset):
    """Pictures drawn on the fly from a list of shapes in image_info."""

    def load_shapes(self, count, height, width):
        self.add_class("shapes", 1, "square")
        self.add_class("shapes", 2, "circle")
        self.add_class("shapes", 3, "triangle")
        for i in range(count):
            bg_color = np.array([random.randint(0, 255) for _ in range(3)])
            shapes = [
                (random.choice(["square", "circle", "triangle"]), 18 + 26 * k, 20 + 22 * k, 9)
                for k in range(2)
            ]
            self.add_image(
                "shapes", image_id=i, path=None, width=width, height=height,
                bg_color=bg_color, shapes=shapes,
            )  # fmt: skip

    def load_image(self, image_id):
        info = self.image_info[image_id]
        image = np.ones([info["height"], info["width"], 3], dtype=np.uint8)
        image = image * info["bg_color"].reshape([1, 1, 3]).astype(np.uint8)
        mask, _ = self.load_mask(image_id)
        image[mask.any(axis=-1)] = 255 - info["bg_color"]
        return image

    def image_reference(self, image_id):
        info = self.image_info[image_id]
        if info["source"] == "shapes":
            return info["shapes"]
        else:
            super(self.__class__).image_reference(self)

    def load_mask(self, image_id):
        info = self.image_info[image_id]
        mask = np.zeros([info["height"], info["width"], len(info["shapes"])], dtype=np.uint8)
        for i, (shape, y, x, s) in enumerate(info["shapes"]):
            mask[:, :, i] = self.draw_mask(mask[:, :, i].copy(), shape, y, x, s)
        class_ids = np.array([self.class_names.index(s[0]) for s in info["shapes"]])
        return mask.astype(bool), class_ids.astype(np.int32)

    def draw_mask(self, mask, shape, y, x, s):
        rows, cols = np.ogrid[: mask.shape[0], : mask.shape[1]]
        if shape == "square":
            mask[y - s : y + s, x - s : x + s] = 1
        elif shape == "circle":
            mask[(rows - y) ** 2 + (cols - x) ** 2 < s**2] = 1
        else:
            mask[(abs(cols - x) < (rows - y + s) / math.sqrt(3)) & (rows < y + s)] = 1
        return mask


def shapes(count):
    dataset = ShapesDataset()
    dataset.load_shapes(count, 64, 64)
    dataset.prepare()
    return dataset
