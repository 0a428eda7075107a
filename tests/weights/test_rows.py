"""The heads' rows of known classes, in weights that go to other data."""

from types import SimpleNamespace

import numpy as np
import pytest
from small_model import build_small, small_layout

from mrcnn.data.coco_names import COCO_NAMES
from mrcnn.train.rows import VALUES, load_for_classes, same_classes
from mrcnn.weights import layout
from mrcnn.weights.errors import WeightsError, WeightsWarning
from mrcnn.weights.files import open_weights
from mrcnn.weights.synthetic import synthetic_arrays
from mrcnn.weights.writing import write_weights


class Model:
    """As much of a MaskRCNN as loading needs."""

    def __init__(self, classes):
        self.config = SimpleNamespace(NUM_CLASSES=classes)
        self.keras_model = build_small(classes)
        self.begun = "a run"

    def load_weights(self, path, by_name, exclude):
        self.begun = str(path)
        return layout.load_weights(self.keras_model, path, exclude, by_name)

    def set_log_dir(self):
        self.begun = "a new run"

    def rows(self, layer, class_id):
        each = VALUES[layer]
        return [
            v.numpy()[..., each * class_id : each * (class_id + 1)]
            for v in self.keras_model.get_layer(layer).weights
        ]


@pytest.fixture
def eggs(tmp_path):
    layers = small_layout(classes=3)
    filled = [
        (group, [(name, values) for _, name, values in synthetic_arrays([(group, tensors)], 3)])
        for group, tensors in layers
    ]
    path = tmp_path / "eggs.h5"
    write_weights(path, filled, {"class_names": ["BG", "egg", "leaf"]})
    return path


def test_classes_are_the_same_by_name_wherever_they_stand():
    assert same_classes(["BG", "shell", "egg"], ["BG", "egg", "yolk"]) == {0: 0, 2: 1}
    assert same_classes(["BG", "person", "car"], COCO_NAMES) == {0: 0, 1: 1, 2: 3}
    assert same_classes(["BG", "Dining_Table"], COCO_NAMES) == {0: 0, 1: 61}
    assert same_classes(["BG", "Egg", "egg"], ["BG", "EGG", "egg"]) == {0: 0, 2: 2, 1: 1}
    assert same_classes(["BG", "Egg", "eGG"], ["BG", "egg"]) == {}  # which of them?
    assert same_classes(["BG", "shell"], ["BG", "egg"]) == same_classes(["BG", "egg"], []) == {}


def test_rows_of_known_classes_go_along_and_others_begin_anew(eggs):
    model = Model(4)
    before = {layer: model.rows(layer, 1) for layer in VALUES}
    load_for_classes(model, eggs, ["BG", "shell", "leaf", "egg"])
    with open_weights(eggs) as file:
        tensors = {key: tensor.read() for key, tensor in file.tensors.items()}
    for layer, each in VALUES.items():
        theirs = [tensors[layer, "kernel"], tensors[layer, "bias"]]
        for ours, known in ((0, 0), (2, 2), (3, 1)):
            for got, their in zip(model.rows(layer, ours), theirs):
                np.testing.assert_array_equal(got, their[..., each * known : each * (known + 1)])
        for got, old in zip(model.rows(layer, 1), before[layer]):
            np.testing.assert_array_equal(got, old)
    conv = model.keras_model.get_layer("conv1").weights[0].numpy()
    np.testing.assert_array_equal(conv, tensors["conv1", "kernel"])
    assert model.class_names == ["BG", "shell", "leaf", "egg"] and model.begun == "a new run"


def test_heads_that_know_no_class_begin_anew_and_that_is_said(eggs):
    model = Model(2)
    before = model.rows("mrcnn_mask", 1)
    with pytest.warns(WeightsWarning, match="knows egg, leaf: the heads begin anew for cell"):
        load_for_classes(model, eggs, ["BG", "cell"])
    for got, old in zip(model.rows("mrcnn_mask", 1), before):
        np.testing.assert_array_equal(got, old)


def test_what_does_not_fit_changes_nothing(eggs):
    with pytest.raises(WeightsError, match="2 classes are named.*NUM_CLASSES 4"):
        load_for_classes(Model(4), eggs, ["BG", "egg"])
    with open_weights(eggs) as file:
        kept = {key: t.read() for key, t in file.tensors.items() if key[0] != "mrcnn_mask"}
    layers = {}
    for (layer, weight), values in kept.items():
        layers.setdefault(layer, []).append((f"{layer}/{weight}:0", values))
    write_weights(eggs, layers.items(), {"class_names": ["BG", "egg", "leaf"]})
    model = Model(2)
    with pytest.raises(WeightsError, match="has nothing for mrcnn_mask/.*class by class"):
        load_for_classes(model, eggs, ["BG", "egg"])
    assert model.begun == "a run"
