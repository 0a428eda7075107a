"""EfficientNet-Lite0 with the weights that come along, and as a backbone of the whole network."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
import skimage.io
from small_network import blobs, fill, small_config

from mrcnn.model import MaskRCNN
from mrcnn.nn.efficientnet import efficientnet_graph, even_strength
from mrcnn.train.optimiser import LAYERS
from mrcnn.weights.download import weights_path
from mrcnn.weights.files import open_weights
from mrcnn.weights.inspection import inspect_weights
from mrcnn.weights.layout import load_weights
from mrcnn.weights.names import layer_names

ROOT = Path(__file__).parents[2]
FILE = weights_path("imagenet", "efficientnet_lite0")


@pytest.fixture(scope="module")
def encoder():
    picture = keras.Input((None, None, 3))
    model = keras.Model(picture, efficientnet_graph(picture, train_bn=False))
    load_weights(model, FILE, by_name=False)
    return model


def test_maps_of_growing_stride(encoder):
    stages = encoder(np.zeros((1, 128, 192, 3), np.float32))
    assert [stage.shape[1:3] for stage in stages] == [(64, 96), (32, 48), (16, 24), (8, 12), (4, 6)]
    assert [stage.shape[3] for stage in stages] == [16, 24, 40, 112, 320]


def test_features_are_those_of_the_original(encoder):
    """The file keeps kernels in float16, whose 11 bits pass 48 layers: 2 % of a map's spread at
    the worst of 2,000 places, a quarter of a percent on average. In float32 it is 1e-5, which
    samples/efficientnet/convert.py shows."""
    pixels = skimage.io.imread(ROOT / "images" / "chelsea.jpg")[:224, :224].astype(np.float32)
    stages = encoder(pixels[None] - 127)
    with np.load(ROOT / "tests" / "golden" / "efficientnet_lite0.npz") as golden:
        for i, stage in enumerate(stages, start=1):
            values = np.asarray(stage).reshape(-1)[golden[f"C{i}_places"]]
            apart = abs(values - golden[f"C{i}"]) / golden[f"C{i}_spread"]
            assert apart.max() < 0.02 and apart.mean() < 0.0025, f"C{i}"


def test_the_pyramid_sees_values_of_about_1(encoder):
    """Eight times as large, and the proposal network's units died in training: 7 % were active."""
    pixels = skimage.io.imread(ROOT / "images" / "chelsea.jpg")[:224, :224].astype(np.float32)
    for values in even_strength(encoder(pixels[None] - 127)[1:]):
        assert 0.7 < np.sqrt(np.mean(np.square(values))) < 1.4


def test_the_file_is_small_and_known():
    assert Path(FILE).stat().st_size < 7e6
    info = inspect_weights(FILE)
    assert (info.backbone, info.parts) == ("efficientnet_lite0", ["encoder"])
    assert info.config_attributes()["MEAN_PIXEL"] == [127.0] * 3
    assert 2.9e6 < info.parameters < 3.1e6


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    config = small_config(BACKBONE="efficientnet_lite0", MEAN_PIXEL=np.full(3, 127.0))
    return MaskRCNN("training", config, tmp_path_factory.mktemp("logs"))


@pytest.mark.parametrize(
    "layers, stages", [("heads", ""), ("5+", "5"), ("4+", "45"), ("3+", "345")]
)
def test_stages_mean_what_they_mean_for_resnets(network, layers, stages):
    network.set_trainable(LAYERS[layers], verbose=0)
    trained = {layer.name for layer in network.keras_model.layers if layer.trainable_weights}
    encoder = {name for name in trained if not re.match("mrcnn_|rpn_|fpn_", name)}
    assert {re.match(r"(?:res|bn)(\d)", name)[1] for name in encoder} == set(stages)
    assert any(name.startswith("fpn_") for name in trained)


@pytest.mark.parametrize("train_bn, frozen", [(False, True), (None, False)])
def test_batch_norm_stays_frozen_or_is_trained(train_bn, frozen):
    picture = keras.Input((64, 64, 3))
    model = keras.Model(picture, efficientnet_graph(picture, train_bn=train_bn))
    before = model.get_layer("bn1a_project").moving_mean.numpy()
    model(np.full((2, 64, 64, 3), 50, np.float32), training=True)
    assert np.array_equal(before, model.get_layer("bn1a_project").moving_mean.numpy()) is frozen


def test_it_detects_and_its_file_comes_back(network, tmp_path):
    path = tmp_path / "mask_rcnn_small_0001.h5"
    network.load_weights(FILE, by_name=True)
    network.save_weights(path)
    model = MaskRCNN("inference", network.config, tmp_path)
    fill(model.keras_model)
    model.load_weights(path)
    again = tmp_path / "again.h5"
    model.save_weights(again)
    with open_weights(path) as one, open_weights(again) as other:
        assert one.tensors.keys() == other.tensors.keys()
        for name, tensor in one.tensors.items():
            np.testing.assert_array_equal(tensor.read(), other.tensors[name].read())
    (found,) = model.detect([blobs(64, 64)])
    assert found.masks.shape == (64, 64, len(found))
    assert inspect_weights(path).backbone == "efficientnet_lite0"


def test_its_layers_are_known_without_tensorflow(network):
    known = set(layer_names("efficientnet_lite0"))
    there = {layer.name for layer in network.keras_model.layers if layer.weights}
    assert known - {"rpn_conv_shared", "rpn_class_raw", "rpn_bbox_pred"} == there - {"rpn_model"}
