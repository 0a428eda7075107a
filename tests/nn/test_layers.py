"""What every layer of ours must keep: its promised shape, its config, float32, its train_bn."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.data.images import compose_image_meta
from mrcnn.nn.anchors import Anchors
from mrcnn.nn.detection import DetectionLayer, PadInstances, RealDetections
from mrcnn.nn.layers import BatchNorm, NormBoxes, RoiWise, SparselyTaughtConv2D, WholeConv2D
from mrcnn.nn.losses import Loss
from mrcnn.nn.proposals import ProposalLayer, ProposalStep
from mrcnn.nn.roi_align import PyramidROIAlign
from mrcnn.nn.targets import DetectionTargetLayer, PositiveRois

RNG = np.random.default_rng(0)


def noise(*shape):
    return RNG.normal(0, 1, shape).astype(np.float32)


def boxes(*shape):
    corners = np.sort(RNG.uniform(0, 1, (*shape, 2, 2)), axis=-2)  # [..., (near, far), (y, x)]
    return corners.reshape(*shape, 4).astype(np.float32)


def probabilities(*shape):
    return keras.ops.convert_to_numpy(keras.ops.softmax(3 * noise(*shape)))


META = np.float32(
    [compose_image_meta(i, (64, 64, 3), (64, 64, 3), (0, 8, 64, 56), 1, [1] * 3) for i in (0, 1)]
)
MAPS = [noise(2, 64 // stride, 64 // stride, 6) for stride in (4, 8, 16, 32, 64)]
RPN = [probabilities(2, 30, 2), noise(2, 30, 4), boxes(2, 30)]
STD_DEV = [0.2, 0.2, 0.3, 0.3]
PROPOSAL = {"proposal_count": 9, "nms_threshold": 0.5, "bbox_std_dev": STD_DEV}
ROIS, GT_BOXES = boxes(2, 12), boxes(2, 3)
ROIS[:, :3] = GT_BOXES  # three positives in each picture
GT_MASKS = RNG.integers(0, 2, (2, 14, 14, 3)).astype(bool)
MATCH = RNG.integers(-1, 2, (2, 30, 1)).astype(np.int32)
CLASS_IDS = np.int32([[1, 2, 0, 0, 0], [2, 0, 0, 0, 0]])
MASKS = RNG.integers(0, 2, (2, 5, 6, 6)).astype(np.float32)
SCORES = np.float32([[[*b, 1, 0.9] for b in row] for row in boxes(2, 7)])
SCORES[:, 4:] = 0  # four detections, then padding

# Name, a function that makes the layer, its inputs.
LAYERS = {
    "BatchNorm": (lambda: BatchNorm(train_bn=False, epsilon=0.01), noise(2, 4, 4, 3)),
    "WholeConv2D": (lambda: WholeConv2D(5, (7, 6), activation="relu"), noise(4, 7, 6, 3)),
    "SparselyTaughtConv2D": (
        lambda: SparselyTaughtConv2D(5, 3, strides=2, padding="same", activation="relu"),
        noise(2, 7, 6, 3),
    ),
    "RoiWise-Conv2D": (lambda: RoiWise(keras.layers.Conv2D(5, 3)), noise(2, 6, 7, 7, 3)),
    "RoiWise-BatchNorm": (lambda: RoiWise(BatchNorm(False)), noise(2, 6, 7, 7, 3)),
    "RoiWise-Conv2DTranspose": (
        lambda: RoiWise(keras.layers.Conv2DTranspose(5, 2, strides=2, activation="relu")),
        noise(2, 6, 7, 7, 3),
    ),
    "RoiWise-Dense": (lambda: RoiWise(keras.layers.Dense(4)), noise(2, 6, 8)),
    "NormBoxes": (NormBoxes, [64 * boxes(2, 5), noise(2, 64, 32, 3)]),
    "Anchors": (lambda: Anchors(ratios=[1, 2], anchor_stride=2), [noise(2, 64, 64, 3), *MAPS]),
    "ProposalLayer": (lambda: ProposalLayer(pre_nms_limit=20, **PROPOSAL), RPN),
    "ProposalStep": (
        lambda: ProposalStep("refined_anchors", pre_nms_limit=20, **PROPOSAL),
        RPN,
    ),
    "PyramidROIAlign": (lambda: PyramidROIAlign((3, 5)), [ROIS, META, *MAPS[:4]]),
    "DetectionTargetLayer": (
        lambda: DetectionTargetLayer(
            train_rois_per_image=5, bbox_std_dev=STD_DEV, mask_shape=(6, 6), seed=7
        ),
        [ROIS, np.int32([[1, 2, 1], [2, 2, 1]]), GT_BOXES, GT_MASKS],
    ),
    "PositiveRois": (PositiveRois, [boxes(2, 5), CLASS_IDS, MASKS]),
    "DetectionLayer": (
        lambda: DetectionLayer(max_instances=7, min_confidence=0.4, bbox_std_dev=STD_DEV),
        [ROIS, probabilities(2, 12, 3), noise(2, 12, 3, 4), META],
    ),
    "DetectionLayer-every-class": (
        lambda: DetectionLayer(max_instances=7, min_confidence=0.2, every_class=True),
        [ROIS, probabilities(2, 12, 3), noise(2, 12, 3, 4), META],
    ),
    "RealDetections": (RealDetections, SCORES),
    "PadInstances": (lambda: PadInstances(9), noise(2, 4, 6, 6, 3)),
    "rpn_class_loss": (lambda: Loss("rpn_class_loss"), [MATCH, noise(2, 30, 2)]),
    "rpn_bbox_loss": (lambda: Loss("rpn_bbox_loss"), [noise(2, 30, 4), MATCH, noise(2, 30, 4)]),
    "mrcnn_class_loss": (
        lambda: Loss("mrcnn_class_loss"),
        [CLASS_IDS, noise(2, 5, 3), np.ones((2, 3), np.float32)],
    ),
    "mrcnn_bbox_loss": (
        lambda: Loss("mrcnn_bbox_loss"),
        [noise(2, 5, 4), CLASS_IDS, noise(2, 5, 3, 4)],
    ),
    "mrcnn_mask_loss": (
        lambda: Loss("mrcnn_mask_loss"),
        [MASKS, CLASS_IDS, probabilities(2, 5, 6, 6, 3)],
    ),
}
UNDER_A_POLICY = ("BatchNorm", "RoiWise", "WholeConv2D", "SparselyTaughtConv2D")
GEOMETRY = [name for name in LAYERS if not name.startswith(UNDER_A_POLICY)]


def tensors(inputs):
    return keras.tree.map_structure(tf.convert_to_tensor, inputs)


@pytest.fixture(params=LAYERS)
def layer_and_inputs(request):
    make, inputs = LAYERS[request.param]
    return make(), tensors(inputs)


def test_promised_shape_is_the_real_one(layer_and_inputs):
    layer, inputs = layer_and_inputs
    symbols = keras.tree.map_structure(
        lambda x: keras.Input(x.shape[1:], dtype=x.dtype.name), inputs
    )
    promised = keras.tree.flatten(layer(symbols))
    real = keras.tree.flatten(layer(inputs))
    traced = keras.tree.flatten(tf.function(layer).get_concrete_function(inputs).structured_outputs)
    assert len(promised) == len(real)
    for promise, value, trace in zip(promised, real, traced):
        assert promise.dtype == value.dtype.name
        assert len(promise.shape) == value.ndim
        for symbolic, in_graph, actual in zip(promise.shape, trace.shape, value.shape):
            assert symbolic in (None, actual)
            assert in_graph in (None, actual)


def test_made_again_from_its_config_it_computes_the_same(layer_and_inputs):
    layer, inputs = layer_and_inputs
    stored = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    again = keras.saving.deserialize_keras_object(stored)
    assert type(again) is type(layer) and again.get_config() == layer.get_config()
    expected = layer(inputs)  # builds the weights
    if layer.weights and not again.built:
        again.build(inputs.shape)
    weights = [w for w in layer.get_weights() if w.dtype != np.uint32]  # but not the random seed
    if weights:
        again.set_weights(weights)
    for ours, theirs in zip(keras.tree.flatten(again(inputs)), keras.tree.flatten(expected)):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", GEOMETRY)
def test_geometry_and_losses_stay_float32_under_mixed_precision(name):
    make, inputs = LAYERS[name]
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        outputs = keras.tree.flatten(make()(tensors(inputs)))
    finally:
        keras.config.set_dtype_policy(policy)
    assert {x.dtype.name for x in outputs} <= {"float32", "int32"}


def test_layers_that_xla_refuses_say_so():
    """Else Keras compiles the graph where a GPU is, and there it fails.

    On the object, for Keras's Layer sets the attribute anew in each.
    """
    layers = [ProposalLayer(9, 0.5), PyramidROIAlign((3, 3)), DetectionLayer()]
    for layer in [*layers, DetectionTargetLayer()]:
        assert layer.supports_jit is False


@pytest.mark.parametrize(
    ("train_bn", "training", "by_batch"),
    [
        (False, True, False),
        (False, False, False),
        (None, True, True),
        (None, False, False),
        (True, False, True),
        (True, True, True),
    ],
)
@pytest.mark.parametrize("roi_wise", [False, True])
def test_train_bn(train_bn, training, by_batch, roi_wise):
    """Whose mean and variance are used, and that the stored ones move only with the batch's."""
    x = tf.constant(5 + 3 * noise(4, 6, 2, 2, 3))
    norm = BatchNorm(train_bn, momentum=0.5)
    y = (RoiWise(norm) if roi_wise else norm)(x, training=training).numpy()
    # Over all regions of the batch: 96 values a channel, and epsilon 1e-3 under a variance of 9.
    np.testing.assert_allclose(y.mean(axis=(0, 1, 2, 3)), 0 if by_batch else 5, atol=1.2)
    np.testing.assert_allclose(y.std(axis=(0, 1, 2, 3)), 1 if by_batch else 3, atol=0.8)
    assert by_batch == bool(np.abs(norm.moving_mean.numpy()).max() > 1)
    assert norm.epsilon == 1e-3  # the original's, and Keras's default


def test_roi_wise_holds_the_layer_once():
    """Keras 3's TimeDistributed holds one copy for each of 1000 regions."""
    layer = RoiWise(keras.layers.Conv2D(4, 3))
    function = tf.function(layer).get_concrete_function(tf.TensorSpec([None, 1000, 7, 7, 3]))
    operations = [op.type for op in function.graph.get_operations()]
    assert operations.count("Conv2D") == 1 and len(operations) < 40


def test_roi_wise_names_its_weights_as_the_files_do():
    layer = RoiWise(keras.layers.Conv2D(4, 3), name="mrcnn_class_conv1")
    layer.build((None, 5, 7, 7, 3))
    assert [(w.name, w.shape) for w in layer.weights] == [("kernel", (3, 3, 3, 4)), ("bias", (4,))]


def test_positive_rois_keeps_what_the_fullest_picture_has():
    layer = PositiveRois()
    rois, class_ids, masks = layer(tensors([boxes(2, 5), CLASS_IDS, MASKS]))
    assert (rois.shape, class_ids.shape, masks.shape) == ((2, 2, 4), (2, 2), (2, 2, 6, 6))
    rois, _, _ = layer(tensors([boxes(2, 5), 0 * CLASS_IDS, MASKS]))
    assert rois.shape == (2, 1, 4)  # convolutions want at least one


def test_real_detections_and_padding_undo_each_other():
    real = RealDetections()(SCORES)
    assert real.shape == (2, 4, 4)
    np.testing.assert_array_equal(PadInstances(7)(real), SCORES[..., :4])
    assert RealDetections()(0 * SCORES).shape == (2, 1, 4)


def taught(layer, x, upstream):
    """[output, gradients of x, kernel and bias] in training, given the output's gradient."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    return [y, *tape.gradient(y, [x, layer.kernel, layer.bias], upstream)]


@pytest.mark.parametrize("share", [0.0, 0.02, 0.2, 1.0], ids=lambda share: f"{share:.0%} taught")
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("size", [(16, 16), (13, 18), (1, 2)])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_sparsely_taught_equals_keras(share, strides, size, activation):
    """1e-5 of each tensor's largest value: the same sums in another order."""
    options = {"strides": strides, "padding": "same", "activation": activation}
    ours, theirs = SparselyTaughtConv2D(8, 3, **options), keras.layers.Conv2D(8, 3, **options)
    x = tf.constant(noise(3, *size, 5))
    ours(x), theirs(x)
    theirs.set_weights([noise(3, 3, 5, 8), noise(8)])
    ours.set_weights(theirs.get_weights())
    shape = theirs(x).shape
    upstream = tf.constant(noise(*shape) * (RNG.random(shape[:3]) < share)[..., None])
    upstream = tf.cast(upstream, tf.float32)
    for training in (taught, tf.function(taught)):
        for got, expected in zip(training(ours, x, upstream), taught(theirs, x, upstream)):
            expected = expected.numpy()
            most = max(np.abs(expected).max(), 1e-6)
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * most)


def test_sparsely_taught_reads_nothing_else():
    """What is infinite far away would turn a sum over all cells into NaN."""
    layer = SparselyTaughtConv2D(4, 3, padding="same")
    x = noise(1, 20, 20, 3)
    layer(x)
    upstream = np.zeros((1, 20, 20, 4), np.float32)
    upstream[0, 5, 5] = 1
    gradient = taught(layer, tf.constant(x), tf.constant(upstream))[2]
    x[0, 15:] = np.inf
    far = taught(layer, tf.constant(x), tf.constant(upstream))[2]
    np.testing.assert_array_equal(far, gradient)


def test_sparsely_taught_in_the_rpn():
    """Once for each level, under the name of the weight files."""
    from mrcnn.nn.rpn import build_rpn_model

    layer = build_rpn_model(1, 3, 16).get_layer("rpn_conv_shared")
    assert isinstance(layer, SparselyTaughtConv2D)


@pytest.mark.parametrize("size", [(7, 7), (1, 1)])
def test_whole_conv_equals_keras(size):
    """1e-5: sums of up to 147 products, in another order."""
    ours, theirs = WholeConv2D(8, size), keras.layers.Conv2D(8, size)
    x = tf.constant(noise(6, *size, 3))
    ours(x), theirs(x)
    ours.set_weights(theirs.get_weights())
    upstream = tf.constant(noise(6, 1, 1, 8))
    for got, expected in zip(taught(ours, x, upstream), taught(theirs, x, upstream)):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
