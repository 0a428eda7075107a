"""The portable network beside the Keras model: the same instances, from the same weights."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small_network import blobs, reconfigured, small_config

from mrcnn.data.images import resize_image
from mrcnn.export import pieces
from mrcnn.export.formats import lite
from mrcnn.export.graph import PortableNetwork, traced
from mrcnn.export.resizing import in_the_given, resized
from mrcnn.nn.detection import DetectionLayer
from mrcnn.nn.roi_align import PyramidROIAlign, roi_levels

# -- Suppression ----------------------------------------------------------------------------


def random_regions(rng, number, classes, grid):
    """Boxes on a grid, so that ties, empty, equal and touching ones are common; and scores."""
    corners = np.sort(rng.integers(0, grid + 1, (number, 2, 2)), axis=1).astype(np.float32) / grid
    boxes = corners.reshape(number, 4)
    probs = rng.integers(0, 9, (number, classes)).astype(np.float32)
    probs[:, 0] = rng.integers(0, 9, number)
    return boxes, probs / np.maximum(probs.sum(axis=1, keepdims=True), 1)


@pytest.fixture(scope="module")
def both():
    """f(boxes, probs, settings) -> rows of the layer, rows of the portable writing."""
    meta = tf.constant([[0, 64, 64, 3, 64, 64, 3, 0, 0, 64, 64, 1.0]])

    def run(boxes, probs, **options):
        config = small_config(NUM_CLASSES=probs.shape[1], **options)
        deltas = tf.zeros([*probs.shape, 4])
        args = [tf.constant(boxes), tf.constant(probs), deltas]
        layer = DetectionLayer(config)([x[None] for x in args] + [meta])[0].numpy()
        network = object.__new__(PortableNetwork)
        network.config = config
        least = tf.constant([config.DETECTION_MIN_CONFIDENCE])
        found = network.detections(*args, tf.constant([0.0, 0.0, 1.0, 1.0]), least)
        boxes, ids, scores, count = (x.numpy() for x in found)
        rows = np.concatenate([boxes, ids[:, None], scores[:, None]], axis=1)
        return layer, rows, count

    return run


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    number=st.integers(1, 60),
    classes=st.sampled_from([2, 3, 9, 10, 81]),
    grid=st.sampled_from([1, 4, 16, 1000]),
    threshold=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    confidence=st.sampled_from([0.0, 0.2, 0.9]),
)
def test_boxes_moved_by_class_are_suppressed_as_by_the_layer(
    both, seed, number, classes, grid, threshold, confidence
):
    boxes, probs = random_regions(np.random.default_rng(seed), number, classes, grid)
    layer, rows, count = both(
        boxes,
        probs,
        DETECTION_NMS_THRESHOLD=threshold,
        DETECTION_MIN_CONFIDENCE=confidence,
        DETECTION_MAX_INSTANCES=20,
    )
    assert count == (layer[:, 4] > 0).sum()
    np.testing.assert_array_equal(rows, layer)


@pytest.mark.parametrize("classes", [3, 81])
def test_every_class_of_a_region_may_count(both, classes):
    rng = np.random.default_rng(classes)
    boxes, _ = random_regions(rng, 30, classes, 16)
    probs = rng.dirichlet(np.ones(classes), 30).astype(np.float32)  # no two alike
    layer, rows, _ = both(boxes, probs, DETECTION_EVERY_CLASS=True, DETECTION_MIN_CONFIDENCE=0.01)
    np.testing.assert_array_equal(rows, layer)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 1.0])
def test_litert_suppresses_the_same(threshold):
    """With ties, empty boxes and overlaps of just the threshold."""
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    signature = [tf.TensorSpec([60, 4], name="boxes"), tf.TensorSpec([60], name="scores")]

    @tf.function(input_signature=signature, autograph=False)
    def suppressed(boxes, scores):
        kept, count = pieces.suppress(boxes, scores, 20, threshold, lite=60)
        return {"kept": kept, "count": tf.reshape(count, [1])}

    interpreter = litert.Interpreter(model_content=lite(suppressed.get_concrete_function()))
    run = interpreter.get_signature_runner()
    for seed in range(20):
        boxes, probs = random_regions(np.random.default_rng(seed), 60, 3, 1 + seed % 5)
        scores = np.where(probs[:, 1] < 0.1, -1, probs[:, 1])
        found = run(boxes=boxes, scores=scores.astype(np.float32))
        kept, count = pieces.suppress(boxes, scores.astype(np.float32), 20, threshold)
        assert found["count"][0] == count
        np.testing.assert_array_equal(found["kept"], np.where(np.arange(20) < count, kept, 0))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 300), power=st.sampled_from([1, 9, 40]))
@example(seed=247, count=171, power=40)
def test_the_best_anchors_are_those_that_sorting_gives(seed, count, power):
    scores = np.random.default_rng(seed).random(200).astype(np.float32) ** power
    chosen = pieces.among_best(tf.constant(scores), count).numpy()
    best = np.argsort(-scores, kind="stable")[:count]
    worst = scores[best].min()
    assert chosen[best].all()
    # A few that are as good as the last one, to its last bits; below 1e-37 all are 0 to processors
    # that flush denormal numbers, as TensorFlow has them do.
    assert worst < 1e-37 or (scores[chosen] >= worst * (1 - 1e-6)).all()


# -- Crops and resizing ---------------------------------------------------------------------


@pytest.mark.parametrize("side", [1, 7, 14])
def test_crops_are_those_of_roi_align(side):
    rng = np.random.default_rng(0)
    maps = [tf.constant(rng.random((1, s, s + 2, 5), np.float32)) for s in (32, 16, 8, 4)]
    boxes = rng.uniform(-0.1, 1.1, (50, 2, 2)).astype(np.float32)
    boxes = np.sort(boxes, axis=1).reshape(50, 4)
    boxes[:3] = [[0, 0, 1, 1], [0, 0, 0, 0], [0.5, 0.25, 0.5, 0.75]]
    meta = tf.constant([[0, 0, 0, 0, 800, 900, 0, 0, 0, 0, 0, 0.0]])
    wanted = PyramidROIAlign((side, side))([boxes[None], meta, *maps])[0]
    levels = roi_levels(boxes[None], meta)[0]
    assert set(levels.numpy()) == {2, 3, 4, 5}
    found = pieces.crop(maps, tf.constant(boxes), levels, side)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("runtime", ["openvino", "tflite"])
def test_boxes_at_the_border_are_cropped_alike_by_every_runtime(runtime):
    """The last bit says whether their last sample is inside, and a row of zeros is no rounding."""
    rng = np.random.default_rng(0)
    maps = [tf.constant(rng.random((1, s, s, 2), np.float32)) for s in (64, 32, 16, 8)]
    boxes = rng.random((300, 4), np.float32)
    boxes[:, 2:] = 1
    meta = tf.constant([[0, 0, 0, 0, 512, 512, 0, 0, 0, 0, 0, 0.0]])

    @tf.function(input_signature=[tf.TensorSpec([300, 4], tf.float32, "boxes")], autograph=False)
    def crops(boxes):
        return {"found": pieces.crop(maps, boxes, roi_levels(boxes[None], meta)[0], 7)}

    wanted = PyramidROIAlign((7, 7))([boxes[None], meta, *maps])[0]
    assert 0 < (wanted.numpy()[:, -1] == 0).all(axis=(1, 2)).sum() < 300
    if runtime == "openvino":
        ov = pytest.importorskip("openvino")
        network = ov.convert_model(crops.get_concrete_function())
        compiled = ov.Core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found = compiled({"boxes": boxes})["found"]
    else:
        litert = pytest.importorskip("ai_edge_litert.interpreter")
        interpreter = litert.Interpreter(model_content=lite(crops.get_concrete_function()))
        found = interpreter.get_signature_runner()(boxes=boxes)["found"]
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"IMAGE_RESIZE_MODE": "square", "IMAGE_MIN_DIM": 40, "IMAGE_MAX_DIM": 64},
        {"IMAGE_RESIZE_MODE": "square", "IMAGE_MIN_DIM": 64, "IMAGE_MAX_DIM": 64},
        {"IMAGE_RESIZE_MODE": "pad64", "IMAGE_MIN_DIM": 64, "IMAGE_MIN_SCALE": 1.7},
        {"IMAGE_RESIZE_MODE": "pad64", "IMAGE_MIN_DIM": None},
    ],
)
@pytest.mark.parametrize("size", [(64, 64), (50, 37), (31, 200), (300, 7)])
def test_pictures_are_resized_to_the_last_bit(options, size):
    config = small_config(**options)
    picture = np.random.default_rng(1).integers(3, 250, (*size, 3), np.uint8)
    picture[: size[0] // 2] = 7  # a flat part: its pixels are cut down by what rounding left
    wanted, window, *_ = resize_image(
        picture,
        min_dim=config.IMAGE_MIN_DIM,
        max_dim=config.IMAGE_MAX_DIM,
        min_scale=config.IMAGE_MIN_SCALE,
        mode=config.IMAGE_RESIZE_MODE,
    )
    found = resized(tf.constant(picture[None]), config)
    np.testing.assert_array_equal(found.picture[0], wanted)
    np.testing.assert_array_equal(found.window, window)
    corners = tf.constant([[*map(float, window)], [0.0] * 4])
    boxes = in_the_given(corners, found.window, tf.constant([1, *size, 3]))
    np.testing.assert_allclose(boxes, [[0, 0, *size], [0] * 4], rtol=1e-6)


# -- The whole ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fixed", "native"), [(True, True), (False, False)], ids=["fixed size", "any size"]
)
def test_detections_are_those_of_the_keras_model(small_model, fixed, native):
    model = reconfigured(small_model, IMAGE_RESIZE_MODE="pad64", IMAGE_MIN_DIM=None)
    size = (64, 128) if fixed else None
    network = PortableNetwork(model.keras_model, model.config, size, native, every_row=native)
    call = traced(network, 3, size)
    for picture in (blobs(64, 128), blobs(40, 100)) if fixed else (blobs(128, 192), blobs(64, 64)):
        images, metas, windows = model.mold_inputs([picture])
        anchors = model.get_anchors(images.shape[1:])[None]
        inputs = [tf.cast(x, tf.float32) for x in (images, metas, anchors)]
        detections, *_, masks, _, _, _ = (x[0].numpy() for x in model.keras_model(inputs))
        molded = np.rint(images + model.config.MEAN_PIXEL).astype(np.uint8)
        window = tf.constant(windows[0], tf.float32)
        found = {k: v.numpy() for k, v in call(molded, window, tf.constant([0.0])).items()}

        count = int(found["count"][0])
        assert count == (detections[:, 4] > 0).sum() > 3
        far = np.array([*images.shape[1:3]] * 2) - 1
        boxes = detections[:count, :4] * far + [0, 0, 1, 1]
        np.testing.assert_allclose(found["boxes"][:count], boxes, atol=1e-4)  # pixels
        np.testing.assert_array_equal(found["class_ids"], detections[:, 4])
        np.testing.assert_allclose(found["scores"], detections[:, 5], atol=1e-5)
        ids = found["class_ids"][:count]
        mine = masks[np.arange(count), :, :, ids]
        np.testing.assert_allclose(found["masks"][:count], mine, atol=1e-4)
        assert not any(found[name][count:].any() for name in ("boxes", "scores", "masks"))
