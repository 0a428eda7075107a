"""A file's own config beside that of the model: what is told, and what nobody needs to hear."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from small_model import build_small

from mrcnn.config import Config
from mrcnn.detect.configs import config_from_weights
from mrcnn.weights.agreement import disagreement, warn_of_other_classes
from mrcnn.weights.download import weights_path
from mrcnn.weights.errors import WeightsWarning
from mrcnn.weights.inspection import inspect_weights
from mrcnn.weights.layout import load_weights, save_weights

PATH = Path("logs/cells.h5")
NUCLEUS = inspect_weights(weights_path("nucleus"))


def cells(**values):
    return type("CellsConfig", (Config,), values)()


def told_by(config):
    return config.hyper_parameters()


def compared(told, own, training=False, **options):
    return disagreement(PATH, told, own, training, **options)


def test_a_network_of_the_right_sizes_under_default_settings():
    """It found 8 nuclei of 49, without a word."""
    sizes = {name: NUCLEUS.attributes[name] for name in NUCLEUS.attributes}
    sentence = compared(NUCLEUS.description["config"], cells(**sizes))
    assert sentence.startswith("cells.h5 was trained under other settings than this model has: ")
    assert "RPN_ANCHOR_SCALES [16, 32, 64, 128, 256] (here [32, 64, 128, 256, 512])" in sentence
    assert "MEAN_PIXEL [127.0, 127.0, 127.0] (here [123.7, 116.8, 103.9])" in sentence
    assert "IMAGE_RESIZE_MODE 'pad64' (here 'square')" in sentence
    assert "IMAGE_MIN_SCALE 2 (here 0)" in sentence and "IMAGE_MAX_DIM" not in sentence
    assert "NMS" not in sentence and "DETECTION" not in sentence  # a matter of taste
    assert sentence.endswith('MaskRCNN.from_checkpoint("logs/cells.h5"), which takes them '
                             "from the file.")  # fmt: skip


def test_a_files_own_config_agrees_with_it():
    assert compared(NUCLEUS.description["config"], config_from_weights(NUCLEUS)) is None


@pytest.mark.parametrize(
    "there, here",
    [
        ({"MEAN_PIXEL": np.array([9, 9, 9])}, {"MEAN_PIXEL": 9.0}),
        ({"IMAGE_RESIZE_MODE": "crop"}, {"IMAGE_RESIZE_MODE": "pad64", "IMAGE_MIN_DIM": 0}),
        ({"IMAGE_MIN_SCALE": 0}, {"IMAGE_MIN_SCALE": 1}),
        ({"IMAGE_MIN_DIM": None}, {"IMAGE_MIN_DIM": 0}),
        ({"RPN_ANCHOR_SCALES": (8, 16, 24, 32, 64)}, {"RPN_ANCHOR_SCALES": [8, 16, 24, 32, 64]}),
        ({"IMAGES_PER_GPU": 8}, {"DETECTION_MIN_CONFIDENCE": 0.1, "POST_NMS_ROIS_INFERENCE": 99}),
    ],
)
def test_what_does_the_same_or_is_a_matter_of_taste(there, here):
    assert compared(told_by(cells(**there)), cells(**here)) is None


@pytest.mark.parametrize("name", ["IMAGE_MAX_DIM", "IMAGE_MIN_DIM"])
def test_another_size_counts_where_objects_are_looked_for(name):
    told = told_by(cells())
    assert f"{name} {getattr(Config, name)} (here 512)" in compared(told, cells(**{name: 512}))
    assert compared(told, cells(**{name: 512}), training=True) is None  # it learns any size
    meant = cells()
    setattr(meant, name, 512)  # as --set does, and who sets it on the object knows it
    assert compared(told, meant) is None


def test_an_encoder_alone_knows_no_anchors():
    told = told_by(cells(RPN_ANCHOR_SCALES=(1, 2, 3, 4, 5)))
    assert compared(told, cells(), encoder_only=True) is None
    assert "MEAN_PIXEL" in compared({"MEAN_PIXEL": [0, 0, 0]}, cells(), encoder_only=True)


@pytest.mark.parametrize("told", [None, {}, [], {"MEAN_PIXEL": {"a": []}}, {"MEAN_PIXEL": "\x00"}])
def test_files_that_tell_nothing_or_nonsense(told):
    sentence = compared(told, cells())
    assert sentence is None or "MEAN_PIXEL" in sentence and "\x00" not in sentence


def test_loading_warns_once_and_not_of_another_task(tmp_path):
    path = tmp_path / "small.h5"
    save_weights(build_small(), path, {"config": told_by(cells(RPN_ANCHOR_RATIOS=[1, 2, 3]))})
    model = build_small()
    with pytest.warns(WeightsWarning, match=r"RPN_ANCHOR_RATIOS \[1, 2, 3\] \(here") as caught:
        load_weights(model, path, config=cells())
    assert len(caught) == 1 and caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_weights(model, path, exclude=["mrcnn_mask"], config=cells())
        load_weights(model, path)


def test_heads_that_go_on_with_other_classes():
    known = ["BG", "cat", "dog"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for same in (known, None, ["BG", "cell"]):
            warn_of_other_classes(same, known)
    with pytest.warns(WeightsWarning) as caught:
        warn_of_other_classes(known, ("BG", "dog", "cat"))
    sentence = str(caught[0].message)
    assert "know cat, dog, and go on learning dog, cat in their places" in sentence
    assert 'exclude=["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask"]' in sentence
