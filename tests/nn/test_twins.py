"""Tensors against numpy: the same formula in `nn` and in `geometry`, or written out here."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mrcnn.config import Config
from mrcnn.data.images import compose_image_meta, parse_image_meta
from mrcnn.geometry import boxes as numpy_boxes
from mrcnn.geometry.anchors import compute_backbone_shapes, generate_pyramid_anchors
from mrcnn.nn import boxes as graph_boxes
from mrcnn.nn.anchors import Anchors
from mrcnn.nn.detection import DetectionLayer
from mrcnn.nn.proposals import ProposalLayer
from mrcnn.nn.roi_align import PyramidROIAlign, roi_levels

NO_TIME_LIMIT = settings(deadline=None, max_examples=50)


def random_boxes(rng, count, reach=1.0):
    """float32 [count, (y1, x1, y2, x2)] of some area, inside 0..reach."""
    corners = np.sort(rng.uniform(0, reach, (count, 2, 2)), axis=1)  # [count, (near, far), (y, x)]
    corners[:, 1] += 0.01 * reach
    return np.minimum(corners, reach).reshape(count, 4).astype(np.float32)


@st.composite
def pixel_boxes(draw):
    """Boxes of integer pixels, 0 to 8 of them; some of them empty."""
    count = draw(st.integers(0, 8))
    near = draw(arrays(np.int32, (count, 2), elements=st.integers(0, 60)))
    size = draw(arrays(np.int32, (count, 2), elements=st.integers(0, 40)))
    return np.concatenate([near, near + size], axis=1)


def meta_of(*shapes, num_classes=3, window=None):
    """Image metas of pictures that fill their frame, or only a window of it."""
    return np.float32(
        [
            compose_image_meta(
                i, (*shape, 3), (*shape, 3), window or (0, 0, *shape), 1.0, np.ones(num_classes)
            )
            for i, shape in enumerate(shapes)
        ]
    )


# -- Boxes ----------------------------------------------------------------------------------


@NO_TIME_LIMIT
@given(pixel_boxes(), pixel_boxes())
def test_overlaps(boxes1, boxes2):
    ours = graph_boxes.overlaps_graph(boxes1, boxes2)
    areas = [np.prod(b[:, 2:] - b[:, :2], axis=1) for b in (boxes1, boxes2)]
    both = areas[0][:, None] + areas[1][None] > 0  # numpy has no answer for two empty boxes
    expected = numpy_boxes.compute_overlaps(boxes1.astype(np.float32), boxes2.astype(np.float32))
    # Areas of whole pixels are exact in float32; one division rounds.
    np.testing.assert_allclose(ours.numpy()[both], np.asarray(expected)[both], rtol=1e-6)
    assert not ours.numpy()[~both].any()


@NO_TIME_LIMIT
@given(pixel_boxes(), st.integers(2, 2000), st.integers(2, 2000))
def test_norm_and_denorm(boxes, height, width):
    normalised = graph_boxes.norm_boxes_graph(boxes, (height, width))
    expected = numpy_boxes.norm_boxes(boxes, (height, width))
    # One subtraction is exact and one division rounds, in float32 there and in float64 here.
    np.testing.assert_allclose(normalised, expected, rtol=3e-7, atol=1e-12)
    again = graph_boxes.denorm_boxes_graph(normalised, (height, width))
    np.testing.assert_array_equal(again, boxes)
    np.testing.assert_array_equal(numpy_boxes.denorm_boxes(expected, (height, width)), boxes)


def test_deltas():
    rng = np.random.default_rng(0)
    boxes, gt_boxes = random_boxes(rng, 100, 200.0), random_boxes(rng, 100, 200.0)
    deltas = graph_boxes.box_refinement_graph(boxes, gt_boxes)
    # float32 on both sides; centres far from 0 lose three digits against small boxes.
    expected = numpy_boxes.box_refinement(boxes, gt_boxes)
    np.testing.assert_allclose(deltas, expected, rtol=1e-4, atol=1e-5)
    moved = graph_boxes.apply_box_deltas_graph(tf.constant(boxes), deltas)
    np.testing.assert_allclose(moved, gt_boxes, atol=1e-3)
    expected = numpy_boxes.apply_box_deltas(boxes, deltas.numpy())
    np.testing.assert_allclose(moved, expected, atol=1e-4)


def test_clip_takes_one_window_or_one_for_each_picture():
    rng = np.random.default_rng(0)
    boxes = rng.uniform(-1, 2, (2, 5, 4)).astype(np.float32)
    windows = np.float32([[0, 0, 1, 1], [0.2, 0.1, 0.8, 0.7]])
    ours = graph_boxes.clip_boxes_graph(boxes, windows[:, None])
    for clipped, box, (y1, x1, y2, x2) in zip(ours.numpy(), boxes, windows):
        np.testing.assert_array_equal(clipped, np.clip(box, [y1, x1, y1, x1], [y2, x2, y2, x2]))
        alone = graph_boxes.clip_boxes_graph(box, tf.constant([y1, x1, y2, x2]))
        np.testing.assert_array_equal(alone, clipped)


def test_parse_image_meta():
    metas = meta_of((64, 128), (96, 32), window=(1, 2, 33, 24))
    theirs = parse_image_meta(metas)
    ours = graph_boxes.parse_image_meta_graph(tf.constant(metas))
    assert ours.keys() == theirs.keys()
    for name in theirs:
        np.testing.assert_array_equal(ours[name], theirs[name])


def test_rows():
    rows = np.float32([[1, 2, 3, 4], [0, 0, 0, 0], [0, 0, 5, 6], [0, 0, 0, 0]])
    kept, mask = graph_boxes.trim_zeros_graph(rows)
    np.testing.assert_array_equal(kept, numpy_boxes.trim_zeros(rows))
    np.testing.assert_array_equal(mask, [True, False, True, False])
    np.testing.assert_array_equal(graph_boxes.pad_rows(kept, 4)[2:], np.zeros((2, 4)))

    packed = graph_boxes.batch_pack_graph(tf.reshape(tf.range(12), (2, 3, 2)), [1, 3], 2)
    np.testing.assert_array_equal(packed, [[0, 1], [6, 7], [8, 9], [10, 11]])
    np.testing.assert_array_equal(graph_boxes.log2_graph(tf.constant([1.0, 8.0])), [0, 3])


# -- Anchors --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "stride", "ratios"),
    [
        ((64, 64), 1, [0.5, 1, 2]),
        ((128, 192), 1, [1]),
        ((192, 64), 2, [0.5, 1, 2]),
        ((320, 64), 1, [0.3, 0.5, 1, 2, 3]),
        ((1024, 1024), 1, [0.5, 1, 2]),
        ((448, 832), 3, [1, 2]),
    ],
)
def test_anchors(shape, stride, ratios):
    config = Config()
    config.RPN_ANCHOR_STRIDE, config.RPN_ANCHOR_RATIOS = stride, ratios
    shapes = compute_backbone_shapes(config, shape)
    expected = generate_pyramid_anchors(
        config.RPN_ANCHOR_SCALES, ratios, shapes, config.BACKBONE_STRIDES, stride
    )
    expected = numpy_boxes.norm_boxes(expected, shape)
    inputs = [tf.zeros((2, *shape, 3)), *(tf.zeros((2, *level, 1)) for level in shapes)]
    ours = Anchors(config)(inputs)
    assert ours.shape == (2, *expected.shape)
    # Pixels are float32 there, float64 here: half a unit in the last place of a coordinate.
    np.testing.assert_allclose(ours[1], expected, rtol=0, atol=1e-6)


# -- Proposals ------------------------------------------------------------------------------


def numpy_proposals(layer, scores, deltas, anchors):
    """Step by step what Ren et al. describe, one picture: [R, 4]."""
    best = np.argsort(-scores, kind="stable")[: layer.pre_nms_limit]
    boxes = numpy_boxes.apply_box_deltas(anchors[best], deltas[best] * layer.bbox_std_dev)
    boxes = np.clip(boxes, 0, 1)
    kept = []
    for i in range(len(boxes)):
        iou = numpy_boxes.compute_overlaps(boxes[i : i + 1], boxes[kept])
        if not kept or np.nan_to_num(iou).max() <= layer.nms_threshold:
            kept.append(i)
    padded = np.zeros((layer.proposal_count, 4), np.float32)
    boxes = boxes[kept][: layer.proposal_count]
    padded[: len(boxes)] = boxes
    return padded


@pytest.mark.parametrize(("count", "limit"), [(30, 6000), (500, 120), (8, 10)])
def test_proposals(count, limit):
    rng = np.random.default_rng(count)
    anchors = np.stack([random_boxes(rng, 200) for _ in range(2)])
    object_score = rng.permuted(np.linspace(0, 1, 400)).reshape(2, 200).astype(np.float32)
    rpn_class = np.stack([1 - object_score, object_score], axis=-1)
    rpn_bbox = rng.normal(0, 1, (2, 200, 4)).astype(np.float32)
    layer = ProposalLayer(count, 0.7, pre_nms_limit=limit)
    ours = layer([tf.constant(x) for x in (rpn_class, rpn_bbox, anchors)])
    expected = [
        numpy_proposals(layer, *x) for x in zip(object_score, rpn_bbox.astype(np.float64), anchors)
    ]
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-6)  # float32 exp


def test_proposals_of_empty_boxes():
    """Boxes that were cut down to nothing at the rim neither crash nor hide others."""
    anchors = np.float32([[[1, 1, 1.5, 1.5], [0.1, 0.1, 0.4, 0.4], [-1, -1, -0.5, -0.5]]])
    rpn_class = np.float32([[[0, 1], [0.5, 0.5], [0.2, 0.8]]])
    ours = ProposalLayer(5, 0.7)([tf.constant(x) for x in (rpn_class, 0 * anchors, anchors)])
    assert ours.shape == (1, 5, 4)
    np.testing.assert_allclose(ours[0, 2], [0.1, 0.1, 0.4, 0.4], rtol=1e-6)
    assert np.isfinite(ours).all()


# -- ROIAlign -------------------------------------------------------------------------------


def numpy_roi_align(box, feature_map, size):
    """One bilinear sample a bin, the grid's corners on the box's: [size, size, depth]."""
    height, width = feature_map.shape[:2]
    y1, x1, y2, x2 = box.astype(np.float64) * [height - 1, width - 1, height - 1, width - 1]
    pooled = np.zeros((size, size, feature_map.shape[2]))
    for i, y in enumerate(np.linspace(y1, y2, size)):
        for j, x in enumerate(np.linspace(x1, x2, size)):
            top, left = int(y), int(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            a, b = y - top, x - left
            upper = (1 - b) * feature_map[top, left] + b * feature_map[top, right]
            lower = (1 - b) * feature_map[bottom, left] + b * feature_map[bottom, right]
            pooled[i, j] = (1 - a) * upper + a * lower
    return pooled


def numpy_level(box, image_shape):
    """Lin et al. 2017, equation 1, with k0 = 4."""
    side = np.sqrt((box[2] - box[0]) * (box[3] - box[1])) * np.sqrt(np.prod(image_shape))
    return int(np.clip(4 + np.round(np.log2(max(side, 1e-6) / 224)), 2, 5))


@pytest.mark.parametrize("shape", [(512, 512), (256, 1024)])
def test_roi_align(shape):
    rng = np.random.default_rng(0)
    maps = [
        rng.normal(0, 1, (2, shape[0] // s, shape[1] // s, 5)).astype(np.float32)
        for s in (4, 8, 16, 32)
    ]
    # 0.99: what a sample at exactly 1.0 reads is the last bit's to decide (see the golden tests).
    boxes = np.stack([random_boxes(rng, 40, 0.99), random_boxes(rng, 40, 0.3)])
    metas = meta_of(shape, shape)
    pooled = PyramidROIAlign((7, 7))([tf.constant(x) for x in (boxes, metas, *maps)])
    levels = roi_levels(tf.constant(boxes), tf.constant(metas)).numpy()
    assert set(levels.ravel()) == {2, 3, 4, 5}
    for i, j in np.ndindex(2, 40):
        level = numpy_level(boxes[i, j].astype(np.float64), shape)
        assert levels[i, j] == level
        expected = numpy_roi_align(boxes[i, j], maps[level - 2][i], 7)
        # A coordinate on a map of 256 cells has 2e-5 of a cell in float32, and features span 8.
        np.testing.assert_allclose(pooled[i, j], expected, rtol=0, atol=3e-4)


def test_boxes_that_are_none_stay_in_line():
    """Inverted ones, which a script's own regions may hold, and NaN of a run that diverges."""
    maps = [tf.random.stateless_normal((1, 64 // s, 64 // s, 2), (0, s)) for s in (1, 2, 4, 8)]
    good = [0.1, 0.1, 0.9, 0.9]
    boxes = tf.constant([[good, [0.5, 0.2, 0.4, 0.9], [np.nan] * 4, good]], tf.float32)
    meta = tf.constant(meta_of((256, 256)))
    assert roi_levels(boxes, meta).numpy().tolist() == [[4, 2, 2, 4]]
    pooled = PyramidROIAlign((3, 3))([boxes, meta, *maps])
    np.testing.assert_array_equal(pooled[0, 0], pooled[0, 3])


def test_roi_align_of_padding():
    """Rows of zeros read the corner of P2 and come out finite; no regions at all is fine too."""
    maps = [tf.random.stateless_normal((1, 64 // s, 64 // s, 2), (0, s)) for s in (1, 2, 4, 8)]
    layer, meta = PyramidROIAlign((3, 3)), tf.constant(meta_of((256, 256)))
    pooled = layer([tf.zeros((1, 4, 4)), meta, *maps])
    np.testing.assert_array_equal(pooled, np.broadcast_to(maps[0][0, 0, 0], (1, 4, 3, 3, 2)))
    assert layer([tf.zeros((1, 0, 4)), meta, *maps]).shape == (1, 0, 3, 3, 2)


# -- Detections -----------------------------------------------------------------------------


def numpy_detections(layer, rois, probs, deltas, window):
    """Class by class with greedy suppression, as the original's text describes it: [D, 6]."""
    class_ids = probs.argmax(axis=1)
    rows = np.arange(len(rois))
    if layer.every_class:
        rows, class_ids = np.indices(probs.shape).reshape(2, -1)
        rois = rois[rows]
    scores = probs[rows, class_ids]
    boxes = numpy_boxes.apply_box_deltas(rois, deltas[rows, class_ids] * layer.bbox_std_dev)
    boxes = np.clip(boxes, window[[0, 1, 0, 1]], window[[2, 3, 2, 3]])
    sure = (class_ids > 0) & (scores >= layer.min_confidence)
    kept = []
    for class_id in np.unique(class_ids[sure]):
        mine = np.flatnonzero(sure & (class_ids == class_id))
        survivors = numpy_boxes.non_max_suppression(boxes[mine], scores[mine], layer.nms_threshold)
        kept += mine[survivors].tolist()
    kept = sorted(kept, key=lambda i: -scores[i])[: layer.max_instances]
    padded = np.zeros((layer.max_instances, 6), np.float32)
    for row, i in enumerate(kept):
        padded[row] = [*boxes[i], class_ids[i], scores[i]]
    return padded


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_classes=st.sampled_from([2, 5, 81]),
    min_confidence=st.sampled_from([0.0, 0.4, 0.99]),
    nms_threshold=st.sampled_from([0.0, 0.3, 1.0]),
    max_instances=st.sampled_from([1, 10, 60]),
    every_class=st.booleans(),
)
def test_detections(seed, num_classes, min_confidence, nms_threshold, max_instances, every_class):
    rng = np.random.default_rng(seed)
    rois = np.stack([random_boxes(rng, 40) for _ in range(2)])
    rois[1, 30:] = 0  # padding
    logits = rng.normal(0, 3, (2, 40, num_classes))
    probs = (np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)).astype(np.float32)
    deltas = rng.normal(0, 1, (2, 40, num_classes, 4)).astype(np.float32)
    metas = meta_of((64, 64), (64, 64), num_classes=num_classes, window=(0, 8, 64, 56))
    layer = DetectionLayer(
        None, (0.1, 0.1, 0.2, 0.2), max_instances, min_confidence, nms_threshold, every_class
    )
    ours = layer([tf.constant(x) for x in (rois, probs, deltas, metas)]).numpy()
    window = numpy_boxes.norm_boxes(np.array([[0, 8, 64, 56]]), (64, 64))[0]
    for picture, *inputs in zip(ours, rois, probs, deltas):
        expected = numpy_detections(layer, *inputs, window)
        np.testing.assert_array_equal(picture[:, 4], expected[:, 4])
        np.testing.assert_allclose(picture, expected, rtol=0, atol=1e-6)  # float32 exp


def test_with_every_class_one_class_is_found_below_a_half():
    """Else background wins the argmax, and a threshold below 0.5 changes nothing."""
    meta = tf.constant(meta_of((64, 64), num_classes=2))
    rois = tf.constant([[[0.1, 0.1, 0.4, 0.4], [0.5, 0.5, 0.9, 0.9]]])
    probs, deltas = tf.constant([[[0.7, 0.3], [0.4, 0.6]]]), tf.zeros((1, 2, 2, 4))
    for every_class, scores in ((False, [0.6, 0]), (True, [0.6, 0.3])):
        layer = DetectionLayer(max_instances=2, min_confidence=0.2, every_class=every_class)
        np.testing.assert_allclose(layer([rois, probs, deltas, meta])[0, :, 5], scores)


@pytest.mark.parametrize("every_class", [False, True])
def test_nothing_to_detect(every_class):
    """No sure region, background alone, no region at all: rows of zeros."""
    meta = tf.constant(meta_of((64, 64), num_classes=2))
    rois = tf.constant(random_boxes(np.random.default_rng(0), 6)[None])
    layer = DetectionLayer(max_instances=4, min_confidence=0.9, every_class=every_class)
    deltas = tf.zeros((1, 6, 2, 4))
    for probs in ([0.2, 0.8], [1.0, 0.0]):
        assert not layer([rois, tf.tile([[probs]], (1, 6, 1)), deltas, meta]).numpy().any()
    empty = [tf.zeros((1, 0, *shape)) for shape in ((4,), (2,), (2, 4))]
    assert not layer([*empty, meta]).numpy().any()
    only_background = [rois, tf.ones((1, 6, 1)), tf.zeros((1, 6, 1, 4)), meta]
    assert not layer(only_background).numpy().any()
