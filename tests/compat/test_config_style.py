"""Configs as old scripts write, change and read them."""

import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.config import Config as cfg

# Every attribute that three or more of 66 repositories set in their subclass.
OFTEN_SET = {
    "NAME": "cells",
    "IMAGES_PER_GPU": 1,
    "GPU_COUNT": 1,
    "NUM_CLASSES": 1 + 4,
    "STEPS_PER_EPOCH": 100,
    "DETECTION_MIN_CONFIDENCE": 0.9,
    "IMAGE_MAX_DIM": 512,
    "IMAGE_MIN_DIM": 512,
    "VALIDATION_STEPS": 5,
    "RPN_ANCHOR_SCALES": (8, 16, 32, 64, 128),
    "TRAIN_ROIS_PER_IMAGE": 32,
    "BACKBONE": "resnet50",
    "LEARNING_RATE": 0.002,
    "MAX_GT_INSTANCES": 200,
    "IMAGE_RESIZE_MODE": "crop",
    "USE_MINI_MASK": False,
    "DETECTION_MAX_INSTANCES": 400,
    "MEAN_PIXEL": np.array([43.53, 39.56, 48.22]),
    "RPN_NMS_THRESHOLD": 0.9,
    "DETECTION_NMS_THRESHOLD": 0.3,
    "RPN_TRAIN_ANCHORS_PER_IMAGE": 64,
    "MINI_MASK_SHAPE": (56, 56),
    "POST_NMS_ROIS_INFERENCE": 2000,
    "POST_NMS_ROIS_TRAINING": 1000,
    "RPN_ANCHOR_RATIOS": [0.5, 1, 2],
    "IMAGE_CHANNEL_COUNT": 3,
    "IMAGE_MIN_SCALE": 2.0,
    "LOSS_WEIGHTS": {
        "rpn_class_loss": 1.0,
        "rpn_bbox_loss": 1.0,
        "mrcnn_class_loss": 1.0,
        "mrcnn_bbox_loss": 1.0,
        "mrcnn_mask_loss": 1.0,
    },
}


@pytest.mark.parametrize("mode", ["training", "inference"])
def test_a_subclass_may_set_everything(mode, capsys):
    config = type("CellsConfig", (Config,), OFTEN_SET)()
    config.validate(mode)
    config.display()
    printed = capsys.readouterr().out
    for name, value in OFTEN_SET.items():
        np.testing.assert_equal(getattr(config, name), value)
        assert f"\n{name} " in printed
    assert config.IMAGE_SHAPE.tolist() == [512, 512, 3]
    assert config.IMAGE_META_SIZE == 12 + 5


def test_attributes_changed_on_the_object():
    """49 repositories read LEARNING_RATE there; others set sizes after construction."""
    config = cfg()
    config.NUM_CLASSES = 3
    config.IMAGES_PER_GPU = 4
    config.IMAGE_MIN_DIM = config.IMAGE_MAX_DIM = 256
    config.STEPS_PER_EPOCH = 7
    config.DETECTION_MIN_CONFIDENCE = 0.5
    assert (config.BATCH_SIZE, config.IMAGE_META_SIZE) == (4, 15)
    assert config.IMAGE_SHAPE[0] == config.IMAGE_SHAPE[1] == 256
    assert config.LEARNING_RATE / 10 == 0.0001
    config.validate("training")


def test_attributes_changed_on_the_class():
    class CellsConfig(Config):
        NAME = "cells"
        NUM_CLASSES = 2

    CellsConfig.STEPS_PER_EPOCH = 3
    CellsConfig.DETECTION_MIN_CONFIDENCE = 0.1
    config = CellsConfig()
    assert (config.STEPS_PER_EPOCH, config.DETECTION_MIN_CONFIDENCE) == (3, 0.1)
    assert Config.STEPS_PER_EPOCH == 1000


def test_an_init_of_its_own():
    """Some compute in __init__ what the original computed there, before or without super()."""

    class RunConfig(Config):
        NAME = "run"

        def __init__(self, classes, side):
            self.NUM_CLASSES = 1 + classes
            self.IMAGE_MIN_DIM = self.IMAGE_MAX_DIM = side
            self.IMAGES_PER_GPU = 1
            self.BATCH_SIZE = self.IMAGES_PER_GPU * self.GPU_COUNT
            self.IMAGE_SHAPE = np.array([side, side, 3])
            self.IMAGE_META_SIZE = 1 + 3 + 3 + 4 + 1 + self.NUM_CLASSES

    class CalledConfig(RunConfig):
        def __init__(self, classes, side):
            super().__init__(classes, side)
            Config.__init__(self)

    for config in (RunConfig(2, 128), CalledConfig(2, 128)):
        config.validate("training")
        assert (config.BATCH_SIZE, config.IMAGE_META_SIZE) == (1, 15)
        assert config.IMAGE_SHAPE.tolist() == [128, 128, 3]


def test_attributes_of_its_own():
    class CellsConfig(Config):
        NAME = "cells"
        NUM_CLASSES = 2
        OPTIMIZER = "SGD"
        CLASS_NAMES = ("BG", "cell")

        def get_dict(self):
            return {"classes": self.CLASS_NAMES}

    assert CellsConfig().get_dict() == {"classes": ("BG", "cell")}
    CellsConfig().validate()
