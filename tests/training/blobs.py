"""Pictures of bright squares and discs, and a network small enough to train within a test."""

import numpy as np

from mrcnn.config import Config
from mrcnn.data.dataset import Dataset


class BlobsConfig(Config):
    NAME = "blobs"
    NUM_CLASSES = 1 + 2
    BACKBONE = "resnet18_half"
    TOP_DOWN_PYRAMID_SIZE = 16
    RPN_CONV_CHANNELS = 16
    FPN_CLASSIF_FC_LAYERS_SIZE = 16
    MASK_CONV_CHANNELS = 8
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64
    RPN_ANCHOR_SCALES = (8, 16, 24, 32, 64)
    RPN_TRAIN_ANCHORS_PER_IMAGE = 32
    PRE_NMS_LIMIT = 200
    POST_NMS_ROIS_TRAINING = 40
    TRAIN_ROIS_PER_IMAGE = 12
    MAX_GT_INSTANCES = 5
    MINI_MASK_SHAPE = (16, 16)
    IMAGES_PER_GPU = 2
    STEPS_PER_EPOCH = 2
    VALIDATION_STEPS = 1
    TRAIN_BN = None  # trained from scratch
    SEED = 7


def config(**values) -> Config:
    """A BlobsConfig with other values."""
    made = BlobsConfig()
    for name, value in values.items():
        setattr(made, name, value)
    return made


class Blobs(Dataset):
    """Picture number i always looks the same; `empty` are the numbers of those without blobs."""

    def __init__(self, count: int = 6, side: int = 64, blobs: int = 3, empty=()) -> None:
        super().__init__()
        self.side, self.blobs, self.empty = side, blobs, set(empty)
        self.add_class("blobs", 1, "square")
        self.add_class("blobs", 2, "disc")
        for i in range(count):
            self.add_image("blobs", image_id=f"blob{i}", path=None)
        self.prepare()

    def load_mask(self, image_id):
        rng = np.random.default_rng(image_id)
        y, x = np.mgrid[: self.side, : self.side]
        masks, class_ids = [], []
        for _ in range(0 if image_id in self.empty else self.blobs):
            cy, cx = rng.uniform(12, self.side - 12, 2)
            radius, class_id = rng.uniform(5, 11), int(rng.integers(1, 3))
            apart = np.maximum(abs(y - cy), abs(x - cx)), np.hypot(y - cy, x - cx)
            masks.append(apart[class_id - 1] <= radius)
            class_ids.append(class_id)
        mask = np.stack(masks, -1) if masks else np.zeros((self.side, self.side, 0), bool)
        return mask, np.array(class_ids, np.int32)

    def load_image(self, image_id):
        mask, class_ids = Blobs.load_mask(self, image_id)  # whatever a test makes of the masks
        image = np.random.default_rng(image_id).integers(0, 60, (self.side, self.side, 3))
        for i, class_id in enumerate(class_ids):
            image[mask[:, :, i], class_id] = 230
        return image.astype(np.uint8)
