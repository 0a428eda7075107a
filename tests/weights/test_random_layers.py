"""Layers that no weights were loaded into, and that won't be trained: told, by their names."""

import warnings

import numpy as np
import pytest
from small_model import build_small

from mrcnn.weights.errors import WeightsWarning
from mrcnn.weights.layout import load_weights, warn_of_random_layers


@pytest.fixture
def model():
    return build_small()


def freeze(model, *trained):
    """Let only layers of these names train."""
    for layer in model.layers:
        nested = getattr(layer, "layers", [])
        for one in [layer, *nested]:
            one.trainable = one.name in trained or bool(nested and one is layer)


def told(model) -> str:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_random_layers(model)
    assert len(caught) < 2
    return str(caught[0].message) if caught else ""


def test_a_whole_file_leaves_nothing_random(model, small_file):
    load_weights(model, small_file)
    freeze(model, "mrcnn_mask")
    assert told(model) == ""


def test_excluded_and_frozen_layers_are_named(model, small_file):
    load_weights(model, small_file, exclude=["conv1", "mrcnn_mask"])
    freeze(model, "mrcnn_mask")
    assert "Layers hold random values and won't be trained: conv1. " in told(model)
    freeze(model, "mrcnn_mask", "conv1")
    assert told(model) == ""


def test_what_is_set_by_hand_or_trained_is_random_no_more(model, small_file):
    load_weights(model, small_file, exclude=["conv1", "mrcnn_mask"])
    freeze(model)
    assert "conv1, mrcnn_mask" in told(model)
    kernel, bias = model.get_layer("conv1").get_weights()
    model.get_layer("conv1").set_weights([kernel + 1, bias])
    assert "trained: mrcnn_mask. " in told(model)
    load_weights(model, small_file)
    assert told(model) == ""


def test_a_new_model_is_random_until_it_has_been_trained(model):
    freeze(model, "mrcnn_mask")
    assert "bn_conv1" in told(model) and "mrcnn_mask" not in told(model)
    for variable in model.weights:
        variable.assign(np.asarray(variable) + 0.1)
    freeze(model)
    assert told(model) == ""


def test_training_heads_of_a_random_network_warns(tmp_path, monkeypatch):
    """As `load_weights(exclude=["conv1"])` for four channels and `train(layers="heads")` did not"""
    from mrcnn.train import fit

    class Stop(Exception):
        pass

    def stop(*_):
        raise Stop

    config = type("Config", (), {"LEARNING_RATE_SCHEDULE": "constant", "SEED": 1})
    log = type("Log", (), {"folder": tmp_path, "weights": tmp_path, "epoch": 0, "checkpoint": ""})
    monkeypatch.setattr(fit, "schedule", stop)
    model = build_small()
    freeze(model, "mrcnn_mask")
    with pytest.raises(Stop), pytest.warns(WeightsWarning, match="won't be trained: conv1"):
        fit.fit(model, config, log, None, None, None, 0.1, 1)
