"""Config: what follows by itself, what is refused and in which words, what is left in peace."""

import warnings

import numpy as np
import pytest

from mrcnn.config import Config, ConfigError, function_of


def config(base=Config, **settings):
    return type("CellsConfig", (base,), {"NUM_CLASSES": 3, **settings})()


# Settings, and what the message must say; the name of the setting for a start.
MISTAKES = [
    ({"IMAGE_MAX_DIM": 1000}, r"1000x1000 \(from IMAGE_MAX_DIM\).*Near 1000 are 960 or 1024"),
    ({"IMAGE_MAX_DIM": 30}, "from IMAGE_MAX_DIM.*Near 30 are 64"),
    ({"IMAGE_RESIZE_MODE": "crop", "IMAGE_MIN_DIM": 100}, "100x100 .from IMAGE_MIN_DIM"),
    ({"IMAGE_RESIZE_MODE": "squared"}, "IMAGE_RESIZE_MODE is 'squared'.*none, square, pad64, crop"),
    ({"BACKBONE": "resnet34"}, "BACKBONE is 'resnet34'.*resnet50, resnet101.*a function"),
    ({"MEAN_PIXEL": np.zeros(4)}, "MEAN_PIXEL has 4 values and IMAGE_CHANNEL_COUNT is 3"),
    ({"IMAGE_CHANNEL_COUNT": 6}, "MEAN_PIXEL has 3 values and IMAGE_CHANNEL_COUNT is 6"),
    ({"IMAGE_RANGE": "all"}, "IMAGE_RANGE is 'all': it is auto, type, or"),
    ({"IMAGE_RANGE": (9, 1)}, r"IMAGE_RANGE is \(9, 1\)"),
    ({"IMAGE_CHANNELS": (-1, 0)}, r"IMAGE_CHANNELS is \(-1, 0\): it counts from 0"),
    ({"IMAGE_PLANE": 0.5}, "IMAGE_PLANE is 0.5"),
    ({"RPN_ANCHOR_SCALES": (8, 16, 32)}, r"RPN_ANCHOR_SCALES \(8, 16, 32\).*differ in length"),
    ({"RPN_ANCHOR_SCALES": ((8,),) * 5}, "RPN_ANCHOR_SCALES"),
    ({"BACKBONE_STRIDES": [4, 8, 16, 32, 48]}, r"BACKBONE_STRIDES is \[4, 8, 16, 32, 48\]"),
    (
        {"BACKBONE_STRIDES": [4, 8, 16, 32], "RPN_ANCHOR_SCALES": (8, 16, 32, 64)},
        "BACKBONE_STRIDES has 4 entries",
    ),
    ({"RPN_ANCHOR_RATIOS": []}, r"RPN_ANCHOR_RATIOS is \[\]"),
    ({"RPN_ANCHOR_RATIOS": [1, -2]}, r"RPN_ANCHOR_RATIOS is \[1, -2\].*positive"),
    ({"NUM_CLASSES": 0}, "NUM_CLASSES is 0: it must be a whole number of at least 1"),
    ({"NUM_CLASSES": "81"}, "NUM_CLASSES is '81'"),
    ({"POOL_SIZE": 7.5}, "POOL_SIZE is 7.5: it must be a whole number"),
    ({"IMAGES_PER_GPU": 0}, "IMAGES_PER_GPU is 0"),
    ({"GPU_COUNT": True}, "GPU_COUNT is True"),
    ({"IMAGES_PER_GPU": None}, "IMAGES_PER_GPU is None"),
    ({"IMAGE_MAX_DIM": "512"}, "IMAGE_MAX_DIM is '512'"),
    ({"POOL_SIZE": float("inf")}, "POOL_SIZE is inf"),
    ({"IMAGE_MAX_DIM": float("nan")}, "IMAGE_MAX_DIM is nan"),
    ({"BATCH_SIZE": 0}, "BATCH_SIZE is 0"),
    ({"BATCH_SIZE": "2"}, "BATCH_SIZE is '2'"),
    ({"RPN_ANCHOR_STRIDE": 0}, "RPN_ANCHOR_STRIDE is 0"),
    ({"POST_NMS_ROIS_INFERENCE": None}, "POST_NMS_ROIS_INFERENCE is None"),
    ({"DETECTION_MAX_INSTANCES": 0}, "DETECTION_MAX_INSTANCES is 0"),
    ({"MIXED_PRECISION": ["float16"]}, "MIXED_PRECISION is .'float16'.*False, True .*bfloat16"),
    ({"RPN_NMS_THRESHOLD": 70}, "RPN_NMS_THRESHOLD is 70: it must lie between 0 and 1"),
    ({"DETECTION_NMS_THRESHOLD": -0.1}, "DETECTION_NMS_THRESHOLD is -0.1"),
    ({"BBOX_STD_DEV": [0.1, 0.1]}, "BBOX_STD_DEV is .*four positive numbers"),
    ({"RPN_BBOX_STD_DEV": np.zeros(4)}, "RPN_BBOX_STD_DEV is"),
    ({"IMAGE_META_SIZE": 93}, "IMAGE_META_SIZE is 93 and NUM_CLASSES 3.*= 15; don't set it"),
]
TRAINING_MISTAKES = [
    ({"MASK_SHAPE": [56, 56]}, r"MASK_SHAPE is \[56, 56\] and MASK_POOL_SIZE 14.*\[28, 28\]"),
    ({"LOSS_WEIGHTS": {"mask_loss": 1.0}}, "LOSS_WEIGHTS names 'mask_loss'.*mrcnn_mask_loss"),
    ({"LEARNING_RATE_SCHEDULE": "cosinus"}, "LEARNING_RATE_SCHEDULE is 'cosinus'.*constant"),
]


@pytest.mark.parametrize(("settings", "sentence"), MISTAKES)
def test_mistakes_are_named(settings, sentence):
    with pytest.raises(ConfigError, match=f"(?s)CellsConfig can't be built.*{sentence}"):
        config(**settings).validate()


@pytest.mark.parametrize(("settings", "sentence"), TRAINING_MISTAKES)
def test_mistakes_that_only_training_makes(settings, sentence):
    config(**settings).validate("inference")
    with pytest.raises(ConfigError, match=sentence):
        config(**settings).validate("training")


def test_all_mistakes_are_named_at_once():
    with pytest.raises(ConfigError) as caught:
        config(IMAGE_MAX_DIM=100, BACKBONE="vgg", POOL_SIZE=0).validate()
    assert str(caught.value).count("\n  - ") == 3
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"IMAGE_MIN_DIM": None},
        {"IMAGE_RESIZE_MODE": "none", "IMAGE_MIN_SCALE": 2.0},
        {"IMAGE_MIN_DIM": 800.0, "IMAGE_MAX_DIM": np.int64(1024)},
        {"IMAGE_CHANNEL_COUNT": 1, "MEAN_PIXEL": 127.0},
        {"RPN_ANCHOR_RATIOS": (1,), "DETECTION_MIN_CONFIDENCE": None},
        {"BACKBONE": lambda *args: None, "BACKBONE_STRIDES": [2, 4, 8, 16, 32]},
    ],
)
def test_what_works_is_not_refused(settings):
    config(**settings).validate()


def test_background_alone_gets_a_warning():
    with pytest.warns(UserWarning, match="NUM_CLASSES is 1, which is the background alone"):
        Config().validate()


# -- Names ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("IMAGE_MINDIM", "IMAGE_MIN_DIM"),
        ("DETECTION_MIN_CONFIDENCES", "DETECTION_MIN_CONFIDENCE"),
        ("NUM_CLASS", "NUM_CLASSES"),
        ("STEP_PER_EPOCH", "STEPS_PER_EPOCH"),
        ("RPN_ANCHORS_SCALES", "RPN_ANCHOR_SCALES"),
    ],
)
def test_a_misspelled_name_is_told(name, meant):
    with pytest.warns(UserWarning, match=f"CellsConfig.{name} is not .* did you mean {meant}?"):
        config(**{name: 1})


@pytest.mark.parametrize(
    "name",
    ["CLASS_NAMES", "NUM_EPOCHS", "MODEL_NAME", "PRE_TRAINED", "OUTFILE", "EPOCHS", "num_classes"]
    + ["IMAGE_DIR", "CLASSES", "DATASET", "IMAGE_SIZE", "BATCH", "MIN_CONFIDENCE", "class_names"],
)
def test_names_of_one_s_own_are_left_in_peace(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        own = config(**{name: 1})
    assert own.to_dict()[name] == 1


# -- What follows by itself -----------------------------------------------------------------


def test_computed_values_follow_until_they_are_set():
    own = config(GPU_COUNT=2, IMAGES_PER_GPU=3, IMAGE_MAX_DIM=512)
    assert (own.BATCH_SIZE, own.IMAGE_META_SIZE) == (6, 15)
    np.testing.assert_array_equal(own.IMAGE_SHAPE, [512, 512, 3])
    own.IMAGES_PER_GPU = own.GPU_COUNT = 1  # as the samples' inference configs do
    assert own.BATCH_SIZE == 1
    own.BATCH_SIZE = 5
    assert own.BATCH_SIZE == 5 and own.to_dict()["BATCH_SIZE"] == 5
    crop = config(IMAGE_RESIZE_MODE="crop", IMAGE_MIN_DIM=256)
    np.testing.assert_array_equal(crop.IMAGE_SHAPE, [256, 256, 3])


def test_display_and_to_dict(capsys):
    own = config(NAME="cells", CLASS_NAMES=["a", "b"])
    own.display()
    printed = capsys.readouterr().out
    assert "Configurations:" in printed
    assert all(f"\n{name} " in printed for name in ("NAME", "BATCH_SIZE", "CLASS_NAMES"))
    names = list(own.to_dict())
    assert names == sorted(names) and "display" not in names


def test_objects_don_t_share_what_is_set_on_one():
    first, second = config(), config()
    first.NUM_CLASSES = 9
    assert second.NUM_CLASSES == 3 and second.IMAGE_META_SIZE == 15


def test_functions_come_back_as_they_were_written():
    def plain(image_shape):
        return image_shape

    assert function_of(config(COMPUTE_BACKBONE_SHAPE=plain), "COMPUTE_BACKBONE_SHAPE") is plain
    static = config(COMPUTE_BACKBONE_SHAPE=staticmethod(plain))
    assert function_of(static, "COMPUTE_BACKBONE_SHAPE") is plain
    assert function_of(config(), "COMPUTE_BACKBONE_SHAPE") is None

    class Method(Config):
        def COMPUTE_BACKBONE_SHAPE(self, image_shape):
            return self.NAME, image_shape

    assert function_of(Method(), "COMPUTE_BACKBONE_SHAPE")((2, 3)) == (None, (2, 3))
