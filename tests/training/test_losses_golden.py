"""One training batch of the original: the losses, the gradients, and the weights one step later.

train_golden.json, train_golden.npz: a ResNet-50 with synthetic weights, two 128x128 pictures.
    losses, l2_heads      the five losses, and the L2 of all weights and of the heads' alone
    gradient_norms        of each weight, in two variants (the README of the variants is below)
    weights_after         [norm, mean, first three] one SGD step later, clipped by the global norm
The variants: in the original, the box loss has a gradient through its own *targets* into the
proposals (`as_reference_all`); ours has none (`stop_gradient_all`). The step was made with the
leak and without L2. The original's random choice of regions was replaced by the first ones.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from mrcnn.config import Config
from mrcnn.nn import targets
from mrcnn.nn.targets import DetectionTargetLayer
from mrcnn.train.keras_model import LOSS_NAMES

GOLDEN = Path(__file__).parents[1] / "golden"
FACTS = json.loads((GOLDEN / "train_golden.json").read_text())
GoldenConfig = type("GoldenConfig", (Config,), FACTS["config"])


@pytest.fixture(scope="module")
def arrays():
    with np.load(GOLDEN / "train_golden.npz") as file:
        arrays = {name: file[name] for name in file.files}
    packed, shape = arrays["in_gt_masks"], (2, 56, 56, 10)
    arrays["in_gt_masks"] = np.unpackbits(packed, count=np.prod(shape)).astype(bool).reshape(shape)
    return arrays


@pytest.fixture(scope="module")
def inputs(arrays):
    """The seven inputs of the training model, in order."""
    names = ("images", "image_meta", "rpn_match", "rpn_bbox", "gt_class_ids", "gt_boxes")
    converted = [arrays[f"in_{name}"] for name in (*names, "gt_masks")]
    return tuple(x.astype(np.float32) if x.dtype == np.float64 else x for x in converted)


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory):
    from mrcnn.weights.synthetic import write_synthetic

    path = tmp_path_factory.mktemp("golden") / "weights.h5"
    layouts = json.loads((GOLDEN / "manifests.json").read_text())
    write_synthetic(path, layouts[FACTS["layout"]], FACTS["seed"], FACTS["overrides"])
    return path


@pytest.fixture(scope="module")
def model(weights_file):
    from mrcnn.model import MaskRCNN

    model = MaskRCNN("training", GoldenConfig(), str(weights_file.parent))
    model.load_weights(weights_file)
    model.set_trainable(".*", verbose=0)
    model.compile(FACTS["config"]["LEARNING_RATE"], FACTS["config"]["LEARNING_MOMENTUM"])
    return model


@pytest.fixture(autouse=True)
def first_ones(monkeypatch):
    """The regions are taken in the order of the proposals, as in the golden run."""

    def rank(self, shape):
        count = shape[-1]
        return tf.broadcast_to(tf.range(tf.cast(count, tf.float32)), shape)

    monkeypatch.setattr(DetectionTargetLayer, "rank", rank)


@pytest.fixture
def leak(monkeypatch):
    """The targets pass gradients on, as in the original."""

    class LeakyTensorFlow:
        stop_gradient = staticmethod(tf.identity)

        def __getattr__(self, name):
            return getattr(tf, name)

    monkeypatch.setattr(targets, "tf", LeakyTensorFlow())


def named_weights(model):
    """{the name in Matterport's files: variable}, nested models included."""
    found = {}
    for layer in model.layers:
        if hasattr(layer, "layers"):
            found |= named_weights(layer)
        else:
            found |= {f"{layer.name}/{v.name}:0": v for v in layer.weights}
    return found


def gradient_norms(model, inputs):
    weights = {k: v for k, v in named_weights(model.keras_model).items() if v.trainable}
    names = [name for name in weights if name in FACTS["gradient_norms"]["stop_gradient_all"]]
    with tf.GradientTape() as tape:
        losses = model.keras_model.losses_by_name(inputs, training=True)
        total = sum(losses[name] for name in LOSS_NAMES)  # the golden gradients leave L2 out
    gradients = tape.gradient(total, [weights[name] for name in names])
    return {name: float(tf.norm(tf.convert_to_tensor(g))) for name, g in zip(names, gradients)}


def summary(variable):
    """[norm, mean, first three], as in the golden file."""
    values = np.asarray(variable, np.float64).ravel()
    return np.array([np.linalg.norm(values), values.mean(), *values[:3]])


def assert_norms(norms, variant, tolerance):
    golden = FACTS["gradient_norms"][variant]
    assert norms.keys() == golden.keys()
    for name, norm in norms.items():
        assert norm == pytest.approx(golden[name], rel=tolerance), name
    together = np.linalg.norm(list(norms.values()))
    assert together == pytest.approx(FACTS["global_norm"][variant], rel=tolerance)


def test_targets(arrays, inputs):
    """From the golden proposals, so that nothing before them counts."""
    layer = DetectionTargetLayer(GoldenConfig())
    gt_boxes = (arrays["in_gt_boxes"] - [0, 0, 1, 1]) / np.float32(127)
    gt_boxes[~arrays["in_gt_boxes"].any(axis=-1)] = 0  # padding
    made = layer([arrays["out_rpn_rois"], inputs[4], gt_boxes.astype(np.float32), inputs[6]])
    rois, class_ids, deltas, masks = map(np.asarray, made)
    # 1e-6, 1e-5: float32 rounding of normalised boxes, and of deltas, which divide by 0.1.
    np.testing.assert_allclose(rois, arrays["out_rois"], atol=1e-6)
    np.testing.assert_array_equal(class_ids, arrays["out_target_class_ids"])
    np.testing.assert_allclose(deltas, arrays["out_target_bbox"], atol=1e-5)
    np.testing.assert_array_equal(masks, arrays["out_target_mask"])


def test_losses(model, inputs, deterministic):
    losses = model.keras_model.losses_by_name(inputs, training=True)
    golden = FACTS["losses"] | {"loss": FACTS["losses"]["total_with_l2"]}
    for name in (*LOSS_NAMES, "l2", "loss"):
        # 1e-4: two ResNets of 50 layers whose convolutions add up in other orders.
        assert float(losses[name]) == pytest.approx(golden[name], rel=1e-4), name


def test_gradients(model, inputs, deterministic):
    """1e-3: a gradient passes all layers twice, and the boxes' borders are steep. Kernels add up in
    one order, or a region at a cell's border may now and then jump over it, which is 1.3e-3."""
    assert_norms(gradient_norms(model, inputs), "stop_gradient_all", 1e-3)


def test_gradients_with_the_leak_of_the_original(model, inputs, leak, deterministic):
    norms = gradient_norms(model, inputs)
    assert_norms(norms, "as_reference_all", 1e-3)
    without = FACTS["gradient_norms"]["stop_gradient_all"]
    apart = [abs(norms[name] / without[name] - 1) for name in norms]
    assert max(apart) > 0.05  # or the two variants could not be told apart


def test_heads(model, inputs):
    """The weights that `layers="heads"` trains, and what L2 is left of them."""
    from mrcnn.train.optimiser import LAYERS

    try:
        model.set_trainable(LAYERS["heads"], verbose=0)
        names = {id(v): name for name, v in named_weights(model.keras_model).items()}
        trained = [names[id(v)] for v in model.keras_model.trainable_weights]
        assert sorted(trained) == sorted(FACTS["heads"])
        l2 = float(model.keras_model.l2())
        assert l2 == pytest.approx(FACTS["l2_heads"], rel=1e-5)  # float32 sums
    finally:
        model.set_trainable(".*", verbose=0)


def test_one_step(model, inputs, leak, eager, deterministic):
    """Through the public API. It changes the weights, so it comes last."""
    config = model.config
    config.WEIGHT_DECAY = 0.0
    model.compile(config.LEARNING_RATE, config.LEARNING_MOMENTUM)
    weights = named_weights(model.keras_model)
    before = {name: summary(weights[name]) for name in FACTS["weights_before"]}
    for name, golden in FACTS["weights_before"].items():
        np.testing.assert_allclose(before[name], golden, rtol=1e-6, atol=1e-9, err_msg=name)

    losses = model.keras_model.train_on_batch(inputs, return_dict=True)

    assert losses.keys() == {*LOSS_NAMES, "l2", "loss"}
    assert losses["l2"] == 0
    assert losses["loss"] == pytest.approx(FACTS["losses"]["total"], rel=1e-4)
    for name, golden in FACTS["weights_after"].items():
        after = summary(weights[name])
        # 1e-5 of the tensor's norm, for all five numbers.
        assert abs(after - golden).max() <= 1e-5 * golden[0], name
        # A step is far smaller than that, so it is looked at by itself: to 1 % of the largest (the
        # leaking gradients differ by as much in their smallest elements), and to the last bits of
        # a float32 weight.
        step = (after - before[name])[2:]
        golden_step = np.subtract(golden, FACTS["weights_before"][name])[2:]
        last_bits = 2 * np.spacing(np.abs(before[name][2:]).astype(np.float32))
        bound = 0.01 * abs(golden_step).max() + last_bits
        assert (abs(step - golden_step) <= bound).all(), name
