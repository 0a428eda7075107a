"""What the old scripts share: a dataset, and a network with weights on disk, built once."""

import random

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from old_dataset import InferenceConfig, shapes
from small_network import fill


@pytest.fixture(scope="session")
def dataset():
    return shapes(4)


@pytest.fixture(scope="session")
def network(tmp_path_factory):
    """An inference model of InferenceConfig that finds things; leave it as it is."""
    from mrcnn import model as modellib

    model_dir = str(tmp_path_factory.mktemp("logs"))
    model = modellib.MaskRCNN(mode="inference", config=InferenceConfig(), model_dir=model_dir)
    fill(model.keras_model)
    return model


@pytest.fixture(scope="session")
def weights_path(network, tmp_path_factory):
    """A file of that network's weights."""
    path = str(tmp_path_factory.mktemp("weights") / "mask_rcnn_shapes.h5")
    network.keras_model.save_weights(path)
    return path


@pytest.fixture(scope="session")
def image(dataset):
    return dataset.load_image(0)


@pytest.fixture(scope="session")
def r(network, image):
    """What detect() gives for `image`."""
    result = network.detect([image], verbose=0)[0]
    assert len(result["rois"]) > 1  # or nothing below would be drawn or measured
    return result


@pytest.fixture(autouse=True)
def fresh():
    """The same random numbers for each test, and no figure left open."""
    random.seed(0)
    np.random.seed(0)
    yield
    plt.close("all")


def assert_same_detections(ours, theirs):
    """Equal to rounding: float32 sums in another order move a score by less than 1e-4."""
    np.testing.assert_array_equal(ours["rois"], theirs["rois"])
    np.testing.assert_array_equal(ours["class_ids"], theirs["class_ids"])
    np.testing.assert_allclose(ours["scores"], theirs["scores"], rtol=0, atol=1e-4)


@pytest.fixture
def same():
    return assert_same_detections
