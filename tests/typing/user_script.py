"""What a user writes. Type checkers read it with the package installed; nothing runs it."""

from typing import assert_type

import numpy as np
from numpy.typing import NDArray

from mrcnn import utils, visualize
from mrcnn.config import Config
from mrcnn.detect.instances import Instances
from mrcnn.model import MaskRCNN, compute_backbone_shapes


class CellsConfig(Config):
    NAME = "cells"
    NUM_CLASSES = 1 + 1
    IMAGES_PER_GPU = 1
    BATCH_SIZE = 1
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    MEAN_PIXEL = [43.5, 39.6, 48.2]
    IMAGE_MIN_SCALE = 2.0
    TRAIN_BN = None
    SEED = 1
    MIXED_PRECISION = "bfloat16"


class CellsDataset(utils.Dataset):
    def load_mask(self, image_id: int) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
        return np.zeros((64, 64, 0), bool), np.zeros(0, np.int32)


dataset = CellsDataset()
dataset.add_class("cells", 1, "cell")
dataset.add_image("cells", image_id="a", path="a.png")
dataset.prepare()
training = MaskRCNN("training", CellsConfig(), "logs")
training.train(dataset, None, learning_rate=0.001, epochs=1, layers="heads")

model = MaskRCNN(mode="inference", config=CellsConfig(), model_dir="logs")
model.load_weights("mask_rcnn_cells_0030.h5", by_name=True)
image = np.zeros((64, 64, 3), np.uint8)
found = model.detect([image])[0]
assert_type(found, Instances)
boxes: NDArray[np.int32] = found.boxes
sure = found.above(0.9).of_class("cell")
assert_type(sure, Instances)
print(len(sure), sure.counts()["cell"], found["masks"].shape, boxes.tolist())
visualize.display_instances(
    image, found["rois"], found["masks"], found["class_ids"], ["BG", "cell"], found["scores"]
)
visualize.display_top_masks(image, found["masks"], found["class_ids"], ["BG", "cell"])

config = CellsConfig()
shapes = compute_backbone_shapes(config, image.shape)
utils.generate_pyramid_anchors(
    config.RPN_ANCHOR_SCALES, config.RPN_ANCHOR_RATIOS, shapes, config.BACKBONE_STRIDES, 1
)
AP, precisions, recalls, overlaps = utils.compute_ap(
    boxes, found.class_ids, found.masks, boxes, found.class_ids, found.scores, found.masks
)
visualize.plot_precision_recall(AP, precisions, recalls)
visualize.plot_overlaps(
    found.class_ids, found.class_ids, found.scores, overlaps, dataset.class_names
)
