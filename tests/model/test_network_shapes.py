"""The graph under other configs than the default: sizes, channels, backbones, anchors, grids."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as KL
from small_network import SmallConfig, blobs, fill, small_config

from mrcnn.detect import forward
from mrcnn.model import MaskRCNN


def tiny_backbone(input_image, stage5=True, train_bn=None):
    """[C1, C2, C3, C4, C5] of strides 4, 4, 8, 16, 32."""
    x = KL.Conv2D(8, 3, strides=4, padding="same", name="stem", activation="relu")(input_image)
    stages = [x, x]
    for i in range(3, 6):
        x = KL.Conv2D(8, 3, strides=2, padding="same", name=f"stage{i}", activation="relu")(x)
        stages.append(x)
    return stages


class PlainFunction(SmallConfig):
    def BACKBONE(input_image, stage5=True, train_bn=None):
        return tiny_backbone(input_image, stage5, train_bn)


class Method(SmallConfig):
    def BACKBONE(self, input_image, stage5=True, train_bn=None):
        return tiny_backbone(input_image, stage5, train_bn)


@pytest.fixture
def eagerly(monkeypatch):
    """Run a network operation by operation: tracing it would cost more than one picture takes."""
    monkeypatch.setattr(forward, "compiled_forward", lambda model: lambda *x: model(list(x)))


def check_detection(model, size=(64, 64)):
    """detect() gives instances of the promised shapes, types and ranges; at least one."""
    config = model.config
    picture = blobs(*size, channels=config.IMAGE_CHANNEL_COUNT)
    (result,) = model.detect([picture])
    rois, class_ids, scores, masks = (result[k] for k in ("rois", "class_ids", "scores", "masks"))
    count = len(rois)
    assert 0 < count <= config.DETECTION_MAX_INSTANCES
    assert (rois.dtype, class_ids.dtype, masks.dtype) == (np.int32, np.int32, bool)
    assert (rois.shape, class_ids.shape, scores.shape) == ((count, 4), (count,), (count,))
    assert masks.shape == (*size, count)
    assert (rois >= 0).all() and (rois[:, 2:] <= size).all() and (rois[:, 2:] > rois[:, :2]).all()
    assert ((class_ids > 0) & (class_ids < config.NUM_CLASSES)).all()
    assert (np.diff(scores) <= 0).all() and (scores > 0).all() and (scores <= 1).all()


VARIANTS = {
    "grey, one mean as a number": {"IMAGE_CHANNEL_COUNT": 1, "MEAN_PIXEL": 100.0},
    "RGB with depth": {"IMAGE_CHANNEL_COUNT": 4, "MEAN_PIXEL": [123.7, 116.8, 103.9, 80.0]},
    "six channels": {"IMAGE_CHANNEL_COUNT": 6, "MEAN_PIXEL": np.full(6, 110.0)},
    "resnet18": {"BACKBONE": "resnet18"},
    "resnet50": {"BACKBONE": "resnet50"},
    "81 classes": {"NUM_CLASSES": 81},
    "two classes": {"NUM_CLASSES": 2},
    "one ratio": {"RPN_ANCHOR_RATIOS": [1]},
    "five ratios": {"RPN_ANCHOR_RATIOS": [0.25, 0.5, 1, 2, 4]},
    "anchors in every other cell": {"RPN_ANCHOR_STRIDE": 2, "IMAGE_MAX_DIM": 128},
    "other grids": {"POOL_SIZE": 5, "MASK_POOL_SIZE": 7, "MASK_SHAPE": [14, 14]},
    "batch norm as Keras has it": {"TRAIN_BN": None},
    "batch norm of the batch": {"TRAIN_BN": True},
    "float16 convolutions": {"MIXED_PRECISION": True},
    "bfloat16 convolutions": {"MIXED_PRECISION": "bfloat16"},
    "few proposals": {"POST_NMS_ROIS_INFERENCE": 3, "DETECTION_MAX_INSTANCES": 50},
}
BACKBONES = {
    "a function in the class": PlainFunction,
    "a method": Method,
    "a staticmethod": type("Static", (SmallConfig,), {"BACKBONE": staticmethod(tiny_backbone)}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_detect(name, tmp_path, eagerly):
    settings = VARIANTS[name]
    model = MaskRCNN("inference", small_config(**settings), str(tmp_path))
    fill(model.keras_model)
    check_detection(model)
    shapes = [tuple(x.shape) for x in model.keras_model.outputs]
    c, classes = model.config, model.config.NUM_CLASSES
    rois, most, side = c.POST_NMS_ROIS_INFERENCE, c.DETECTION_MAX_INSTANCES, 2 * c.MASK_POOL_SIZE
    assert shapes == [
        (None, most, 6),
        (None, rois, classes),
        (None, rois, classes, 4),
        (None, most, side, side, classes),
        (None, rois, 4),
        (None, None, 2),
        (None, None, 4),
    ]


@pytest.mark.parametrize("name", BACKBONES)
def test_backbone_functions(name, tmp_path, eagerly):
    model = MaskRCNN("inference", BACKBONES[name](), str(tmp_path))
    fill(model.keras_model)
    check_detection(model)
    assert model.keras_model.get_layer("stage5")


def test_backbone_that_gives_too_few_maps(tmp_path):
    config = small_config(BACKBONE=staticmethod(lambda x, **kwargs: [x, x]))
    with pytest.raises(ValueError, match="gave 2 tensors: it must give five"):
        MaskRCNN("inference", config, str(tmp_path))


@pytest.mark.parametrize(
    "name",
    ["six channels", "resnet18", "81 classes", "five ratios", "anchors in every other cell"]
    + ["other grids", "batch norm of the batch", "a method"],
)
def test_training_graph_has_the_same_weights(name, tmp_path):
    """What one mode saves the other loads: layer by layer the same names and shapes."""
    config = BACKBONES[name]() if name in BACKBONES else small_config(**VARIANTS[name])

    def shapes(mode):
        model = MaskRCNN(mode, config, str(tmp_path)).keras_model
        layers = [part for layer in model.layers for part in getattr(layer, "layers", [layer])]
        return {(x.name, w.name): w.shape for x in layers for w in x.weights}

    training = shapes("training")
    random_state = {key for key in training if key[0] == "proposal_targets"}
    assert {k: v for k, v in training.items() if k not in random_state} == shapes("inference")


def test_two_ways_to_fill_a_batch(small_model):
    """A batch of three gives what three batches of one give.

    1e-4 of pixels of 0..1: Eigen cuts matrix products differently for other batch sizes.
    """
    pictures = [blobs(64, 64, seed) for seed in range(3)]
    molded, metas, _ = small_model.mold_inputs(pictures)
    anchors = np.broadcast_to(small_model.get_anchors((64, 64)), (3, 1023, 4))
    together = small_model.keras_model.predict([molded, metas, anchors], verbose=0)
    for i in range(3):
        inputs = [molded[i : i + 1], metas[i : i + 1], anchors[i : i + 1]]
        alone = small_model.keras_model.predict(inputs, verbose=0)
        for a, b in zip(together, alone):
            np.testing.assert_allclose(a[i], b[0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("size", [(64, 64), (64, 128), (192, 64), (128, 320)])
def test_any_size_divisible_by_64(small_model, size, batch):
    """One model for all of them: Keras's own predict with the three inputs that servers give."""
    shape = (batch, *size, 3)
    meta = np.zeros((batch, 15))
    meta[:, 4:7], meta[:, 9:11] = shape[1:], size
    anchors = np.broadcast_to(small_model.get_anchors(size), (batch, *_anchor_shape(size)))
    outputs = small_model.keras_model([tf.zeros(shape), tf.constant(meta), tf.constant(anchors)])
    assert [len(x) for x in outputs] == [batch] * 7
    assert outputs[5].shape == (batch, *_anchor_shape(size)[:1], 2)
    assert all(np.isfinite(x).all() for x in outputs)


def _anchor_shape(size):
    cells = sum((size[0] // s) * (size[1] // s) for s in (4, 8, 16, 32, 64))
    return 3 * cells, 4


@pytest.mark.parametrize(
    ("mode", "size", "molded"),
    [
        ("none", (128, 64), (128, 64)),
        ("square", (70, 50), (64, 64)),
        ("pad64", (70, 200), (128, 256)),
        ("crop", (150, 100), (64, 64)),
    ],
)
def test_resize_modes(small_model, mode, size, molded, eagerly):
    model = MaskRCNN.__new__(MaskRCNN)
    vars(model).update(vars(small_model), _forward=forward.Forward())
    model.config = small_config(IMAGE_RESIZE_MODE=mode)
    assert model.mold_inputs([blobs(*size)])[0].shape == (1, *molded, 3)
    (result,) = model.detect([blobs(*size)])
    assert result["masks"].shape[:2] == size
    assert len(result["rois"]) and (result["rois"][:, 2:] <= size).all()


# -- As a Keras model -----------------------------------------------------------------------


def same_outputs(one, other, model):
    """Same weights, same numbers: 1e-5, for Eigen's threads don't add up in a fixed order."""
    molded, metas, _ = model.mold_inputs([blobs(64, 64)])
    arrays = [molded, metas, model.get_anchors((64, 64))[None]]
    inputs = [tf.constant(array, tf.float32) for array in arrays]
    for a, b in zip(one(inputs), other(inputs)):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


def test_keras_saves_and_loads_the_whole_model(small_model, tmp_path):
    small_model.keras_model.save(tmp_path / "x.keras")
    again = keras.models.load_model(tmp_path / "x.keras")
    assert type(again) is type(small_model.keras_model)
    same_outputs(again, small_model.keras_model, small_model)


@pytest.mark.parametrize("name", ["x.h5", "x.weights.h5", "mask_rcnn_small_0001.h5"])
def test_weights_go_to_a_file_and_back(small_model, tmp_path, name):
    small_model.keras_model.save_weights(str(tmp_path / name), overwrite=True)
    other = MaskRCNN("inference", SmallConfig(), str(tmp_path))
    other.keras_model.load_weights(tmp_path / name)
    same_outputs(other.keras_model, small_model.keras_model, small_model)


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("suffix", ["h5", "keras"])
def test_whole_models_are_written_in_both_modes(small_model, tmp_path, mode, suffix):
    """`keras_model.save(...)`; of the `.h5` our reader takes the weights."""
    model = MaskRCNN(mode, SmallConfig(), str(tmp_path)).keras_model
    fill(model)
    model.save(tmp_path / f"x.{suffix}")
    if suffix == "keras":
        assert keras.models.load_model(tmp_path / "x.keras").count_params() == model.count_params()
    else:
        other = MaskRCNN("inference", SmallConfig(), str(tmp_path))
        assert not other.load_weights(tmp_path / "x.h5").missing
        same_outputs(other.keras_model, small_model.keras_model, small_model)


def test_summary_and_layers_by_name(small_model, capsys):
    small_model.keras_model.summary()
    printed = capsys.readouterr().out
    assert "fpn_c5p5" in printed and "mrcnn_mask_deconv" in printed
    assert small_model.keras_model.get_layer("rpn_model").get_layer("rpn_conv_shared").filters == 16
    assert [x.name for x in small_model.keras_model.inputs] == [
        "input_image",
        "input_image_meta",
        "input_anchors",
    ]


def test_drawing_the_graph(small_model):
    pytest.importorskip("pydot")
    dot = keras.utils.model_to_dot(small_model.keras_model, show_shapes=True)
    assert "mrcnn_class_logits" in dot.to_string()


def test_xla_stays_off():
    """Keras turns XLA on by itself where a GPU is, and XLA has no kernel for crop_and_resize."""
    from keras.src.trainers.trainer import model_supports_jit

    for mode in ("inference", "training"):
        assert not model_supports_jit(MaskRCNN(mode, SmallConfig(), "logs").keras_model)
