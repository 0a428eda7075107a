"""A model from a file in one line, and what is said where config and file disagree."""

import shutil
import warnings

import numpy as np
import pytest
from small_network import SmallConfig, blobs, fill, small_config

from mrcnn.config import Config
from mrcnn.data.coco_names import COCO_NAMES
from mrcnn.detect.configs import of_file
from mrcnn.errors import UsageError
from mrcnn.model import MaskRCNN
from mrcnn.weights.errors import WeightsWarning
from mrcnn.weights.writing import update_description

OWN = {"RPN_ANCHOR_SCALES": (6, 12, 24, 48, 96), "MEAN_PIXEL": np.array([50.0, 60.0, 70.0])}


def written(path, class_names=None, **settings):
    """A file of the small network under settings of its own."""
    model = MaskRCNN("inference", small_config(**settings), path.parent)
    fill(model.keras_model)
    model.class_names = class_names
    model.save_weights(path)
    return model


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A checkpoint in a run's folder, as training writes it on pieces of pictures."""
    logs = tmp_path_factory.mktemp("logs")
    path = logs / "small20260101T0000" / "mask_rcnn_small_0003.h5"
    path.parent.mkdir()
    pieces = {"IMAGE_RESIZE_MODE": "crop", "IMAGE_MIN_SCALE": 2, "IMAGES_PER_GPU": 2}
    return path, written(path, ["BG", "cat", "dog"], **OWN, **pieces)


@pytest.fixture(autouse=True)
def silence():
    with warnings.catch_warnings():
        warnings.simplefilter("error", WeightsWarning)
        yield


def test_the_config_and_the_classes_come_out_of_the_file(run):
    path, model = run
    ours = MaskRCNN.from_checkpoint(path)
    assert ours.class_names == ["BG", "cat", "dog"]
    assert tuple(ours.config.RPN_ANCHOR_SCALES) == OWN["RPN_ANCHOR_SCALES"]
    assert ours.config.IMAGE_RESIZE_MODE == "pad64" and ours.config.BATCH_SIZE == 1
    model.config.IMAGE_RESIZE_MODE, model.config.IMAGES_PER_GPU = "pad64", 1
    picture = blobs(60, 50)
    (found,), (wanted,) = ours.detect([picture]), model.detect([picture])
    assert len(found) > 1
    np.testing.assert_array_equal(found["rois"], wanted["rois"])
    np.testing.assert_allclose(found["scores"], wanted["scores"], atol=1e-5)


def test_settings_are_meant(run):
    model = MaskRCNN.from_checkpoint(run[0], DETECTION_MIN_CONFIDENCE=0.5, IMAGE_MIN_SCALE=1)
    assert model.config.DETECTION_MIN_CONFIDENCE == 0.5
    with pytest.raises(UsageError, match="no DETECTION_MIN_CONFIDENC to set. Did you mean DETECT"):
        MaskRCNN.from_checkpoint(run[0], DETECTION_MIN_CONFIDENC=0.5)


def test_words_for_files(run):
    path, _ = run
    logs = path.parent.parent
    assert MaskRCNN.from_checkpoint("last", model_dir=logs).class_names[1:] == ["cat", "dog"]
    with pytest.raises(UsageError, match="keeps no best checkpoint"):
        MaskRCNN.from_checkpoint("best", model_dir=logs)
    with pytest.raises(FileNotFoundError, match="nowhere.h5"):
        MaskRCNN.from_checkpoint("nowhere.h5")


def test_for_training_it_is_as_it_was_and_its_run_goes_on(run):
    path, _ = run
    model = MaskRCNN.from_checkpoint(path, "training", path.parent.parent)
    assert (model.epoch, model.log_dir) == (3, str(path.parent))
    assert model.config.IMAGE_RESIZE_MODE == "crop" and model.config.BATCH_SIZE == 2


def test_a_file_that_tells_nothing_of_its_training(tmp_path, monkeypatch):
    path = tmp_path / "mask_rcnn_shapes.h5"
    model = MaskRCNN("inference", small_config(), tmp_path)
    model.keras_model.description = None  # as Matterport's code writes it
    model.keras_model.save_weights(path)
    with pytest.warns(WeightsWarning, match="doesn't tell how it was trained") as caught:
        assert MaskRCNN.from_checkpoint(path).class_names is None
    assert len(caught) == 1 and caught[0].filename == __file__


def test_classes_of_coco_have_names(tmp_path):
    path = tmp_path / "some.h5"
    written(path, NUM_CLASSES=len(COCO_NAMES))
    assert MaskRCNN.from_checkpoint(path).class_names == COCO_NAMES


def test_a_config_of_ones_own_that_differs(run):
    """The sizes are right, so that it loads; what it would have found is another matter."""
    sizes = ("BACKBONE", "NUM_CLASSES", "TOP_DOWN_PYRAMID_SIZE", "RPN_CONV_CHANNELS")
    sizes += ("MASK_CONV_CHANNELS", "FPN_CLASSIF_FC_LAYERS_SIZE")
    own = type("CellsConfig", (Config,), {name: getattr(SmallConfig, name) for name in sizes})
    model = MaskRCNN("inference", own(), run[0].parent)
    with pytest.warns(WeightsWarning, match=r"RPN_ANCHOR_SCALES \[6, 12.*MEAN_PIXEL") as caught:
        model.load_weights(run[0], by_name=True)
    assert len(caught) == 1 and caught[0].filename == __file__


def test_confidences_by_class_come_out_of_the_file(run, tmp_path):
    """What is found is what was found before, without what is less sure than its class must be."""
    path, again = tmp_path / "own.h5", tmp_path / "again.h5"
    shutil.copy(run[0], path)
    picture = blobs(60, 50)
    wanted = MaskRCNN.from_checkpoint(path, DETECTION_EVERY_CLASS=True).detect([picture])[0]
    least = [0.0] + [float(np.median(wanted.of_class(i).scores)) for i in (1, 2)]
    update_description(path, {"class_confidence": {"scores": least}})
    for every in (True, False):
        model = MaskRCNN.from_checkpoint(path, DETECTION_EVERY_CLASS=every)
        found = model.detect([picture])[0]
        assert len(found) and (found.scores >= np.array(least, np.float32)[found.class_ids]).all()
        if every:
            kept = wanted[wanted.scores >= np.array(least, np.float32)[wanted.class_ids]]
            assert 0 < len(kept) < len(wanted)
            np.testing.assert_array_equal(found.boxes[: len(kept)], kept.boxes)
    # Written again, they are still those of these weights; further training drops them.
    model.save_weights(again)
    assert least == of_file(again, False, {})[0].DETECTION_CLASS_CONFIDENCE
    for training, settings in ((False, {"DETECTION_MIN_CONFIDENCE": 0.0}), (True, {})):
        assert of_file(again, training, settings)[0].DETECTION_CLASS_CONFIDENCE is None
