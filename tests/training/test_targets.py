"""The heads' targets against a plain NumPy reference, and what is left where there are none."""

import numpy as np
import pytest
import tensorflow as tf
from blobs import Blobs, config
from scipy.ndimage import map_coordinates

from mrcnn.data.generator import DataGenerator
from mrcnn.geometry.boxes import box_refinement, compute_overlaps, norm_boxes
from mrcnn.nn.losses import mrcnn_class_loss_graph, mrcnn_mask_loss_graph
from mrcnn.nn.targets import DetectionTargetLayer, PositiveRois, detection_targets_graph
from mrcnn.train.keras_model import LOSS_NAMES

SIDE = 64


def picture(seed, crowd=False):
    """(class ids, normalised boxes, full masks) of a picture of blobs, padded with two rows."""
    mask, class_ids = Blobs(blobs=4).load_mask(seed)
    boxes = [
        [ys.min(), xs.min(), ys.max() + 1, xs.max() + 1]
        for ys, xs in (np.nonzero(mask[..., i]) for i in range(4))
    ]
    if crowd:
        class_ids[1] = -class_ids[1]
    boxes = norm_boxes(np.array(boxes), (SIDE, SIDE))
    return (
        np.pad(class_ids, (0, 2)),
        np.pad(boxes, ((0, 2), (0, 0))).astype(np.float32),
        np.pad(mask, ((0, 0), (0, 0), (0, 2))),
    )


def proposals_near(boxes, count, seed):
    """Half of them jittered copies of the boxes, half anywhere; three rows of padding."""
    rng = np.random.default_rng(seed)
    real = boxes[boxes.any(axis=1)]
    near = real[rng.integers(len(real), size=count)] + rng.normal(0, 0.03, (count, 4))
    corners = np.sort(rng.random((count, 2, 2)), axis=1).reshape(count, 4)
    mixed = np.where(rng.random((count, 1)) < 0.5, near, corners).clip(0, 1)
    mixed[[3, 7, 11]] = 0
    return mixed.astype(np.float32)


def reference(proposals, rank, class_ids, boxes, masks, settings):
    """What the layer's docstring says, in NumPy, for full masks: (rois, ids, deltas, masks)."""
    kept = proposals.any(axis=1)
    proposals, rank = proposals[kept], rank[kept]
    real = boxes.any(axis=1)
    class_ids, boxes, masks = class_ids[real], boxes[real], masks[:, :, real]
    in_crowd = compute_overlaps(proposals, boxes[class_ids < 0]).max(axis=1, initial=0) >= 0.001
    boxes, masks = boxes[class_ids > 0], masks[:, :, class_ids > 0]
    class_ids = class_ids[class_ids > 0]
    overlaps = compute_overlaps(proposals, boxes)
    best = overlaps.max(axis=1, initial=0)

    def chosen(wanted, most):
        return sorted(np.flatnonzero(wanted), key=lambda i: rank[i])[:most]

    count, ratio = settings.TRAIN_ROIS_PER_IMAGE, settings.ROI_POSITIVE_RATIO
    positive = chosen(best >= 0.5, int(count * ratio))
    negative = chosen((best < 0.5) & ~in_crowd, int(len(positive) / ratio) - len(positive))
    rois, ids = np.zeros((count, 4)), np.zeros(count, int)
    deltas, mask_targets = np.zeros((count, 4)), np.zeros((count, *settings.MASK_SHAPE))
    rois[: len(positive) + len(negative)] = proposals[positive + negative]
    for row, i in enumerate(positive):
        match = overlaps[i].argmax()
        ids[row] = class_ids[match]
        refined = box_refinement(proposals[i : i + 1], boxes[match : match + 1])[0]
        deltas[row] = refined / settings.BBOX_STD_DEV
        y1, x1, y2, x2 = proposals[i] * (SIDE - 1)
        grid = np.meshgrid(np.linspace(y1, y2, 28), np.linspace(x1, x2, 28), indexing="ij")
        sampled = map_coordinates(masks[..., match].astype(float), grid, order=1)
        mask_targets[row] = np.round(sampled)
    return rois, ids, deltas, mask_targets


def with_rank(layer, rank):
    layer.rank = lambda shape: tf.constant(rank)
    return layer


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("crowd", [False, True])
def test_against_numpy(seed, crowd):
    settings = config(USE_MINI_MASK=False, TRAIN_ROIS_PER_IMAGE=24)
    pictures = [picture(2 * seed + i, crowd) for i in range(2)]
    proposals = np.stack([proposals_near(p[1], 60, seed) for p in pictures])
    rank = np.random.default_rng(seed).random((2, 60)).astype(np.float32)
    layer = with_rank(DetectionTargetLayer(settings), rank)
    made = layer([proposals, *(np.stack(arrays) for arrays in zip(*pictures))])
    positives = 0
    for i in range(2):
        rois, ids, deltas, masks = (np.asarray(x[i]) for x in made)
        expected = reference(proposals[i], rank[i], *pictures[i], settings)
        np.testing.assert_array_equal(rois, expected[0].astype(np.float32))
        np.testing.assert_array_equal(ids, expected[1])
        # 1e-4: float32 logarithms, divided by 0.1 or 0.2.
        np.testing.assert_allclose(deltas, expected[2], atol=1e-4)
        # A sample halfway between pixels may round either way: one pixel in a thousand.
        assert (masks != expected[3]).mean() < 1e-3
        positives += (ids > 0).sum()
    assert positives > 4  # or little was compared


def test_a_crowd_is_neither_positive_nor_negative():
    class_ids, boxes, masks = picture(0, crowd=True)
    crowd = boxes[class_ids < 0]
    instance = boxes[class_ids > 0][:1]
    far = np.array([[0.9, 0.9, 1, 1]], np.float32)
    proposals = np.concatenate([crowd, crowd, instance, far])
    rois, ids, _, _ = DetectionTargetLayer(config(USE_MINI_MASK=False))(
        [x[None] for x in (proposals, class_ids, boxes, masks)]
    )
    shown = {tuple(roi) for roi in np.asarray(rois[0]).round(5).tolist()}
    assert tuple(crowd[0].round(5).tolist()) not in shown
    assert tuple(instance[0].round(5).tolist()) in shown and (np.asarray(ids) > 0).sum() == 1


@pytest.mark.parametrize("which", ["no instance at all", "no positive proposal", "no proposal"])
def test_no_positives(which):
    class_ids, boxes, masks = picture(1)
    proposals = np.tile(np.float32([0, 0, 0.02, 0.02]), (20, 1))
    if which == "no instance at all":
        class_ids, boxes, masks = class_ids * 0, boxes * 0, masks & False
    if which == "no proposal":
        proposals = proposals * 0
    made = DetectionTargetLayer(config(USE_MINI_MASK=False))(
        [x[None] for x in (proposals, class_ids, boxes, masks)]
    )
    # Negatives come in proportion to the positives: here there are none of either.
    assert [x.shape for x in made] == [(1, 12, 4), (1, 12), (1, 12, 4), (1, 12, 28, 28)]
    assert not any(np.asarray(x).any() for x in made)


def test_more_positives_than_places():
    class_ids, boxes, masks = picture(1)
    proposals = proposals_near(boxes, 20, 0)
    proposals[:15] = boxes[0] + np.linspace(0, 0.01, 15)[:, None]
    settings = config(USE_MINI_MASK=False)
    rois, ids, _, _ = DetectionTargetLayer(settings, seed=1)(
        [x[None] for x in (proposals, class_ids, boxes, masks)]
    )
    positives = np.asarray(rois[0])[np.asarray(ids[0]) > 0]
    assert len(positives) == int(12 * 0.33) == 3
    assert len(np.unique(positives, axis=0)) == 3


def test_the_choice_is_settled_by_the_seed():
    class_ids, boxes, masks = picture(1)
    inputs = [x[None] for x in (proposals_near(boxes, 200, 0), class_ids, boxes, masks)]

    def rois(seed, calls=1):
        layer = DetectionTargetLayer(config(USE_MINI_MASK=False), seed=seed)
        return [np.asarray(layer(inputs)[0]) for _ in range(calls)]

    first, second = rois(1, calls=2)
    np.testing.assert_array_equal(first, rois(1)[0])
    assert (first != second).any()  # a choice anew in each step
    assert (first != rois(2)[0]).any()


def test_mini_masks_give_the_same_targets():
    """Within the rounding of a mask of 56x56 pixels for each box."""
    from mrcnn.geometry.masks import minimize_mask

    class_ids, boxes, masks = picture(2)
    pixels = np.round(boxes * (SIDE - 1) + [0, 0, 1, 1]).astype(int)
    pixels[4:] = 0
    mini = minimize_mask(pixels[:4], masks[..., :4], (56, 56))
    mini = np.pad(mini, ((0, 0), (0, 0), (0, 2)))
    proposals = proposals_near(boxes, 60, 1)
    rank = np.random.default_rng(0).random((1, 60)).astype(np.float32)
    made = []
    for use_mini_mask, gt_masks in ((True, mini), (False, masks)):
        settings = config(USE_MINI_MASK=use_mini_mask, TRAIN_ROIS_PER_IMAGE=40)
        layer = with_rank(DetectionTargetLayer(settings), rank)
        inputs = [x[None] for x in (proposals, class_ids, boxes, gt_masks)]
        made.append([np.asarray(x) for x in layer(inputs)])
    for with_mini, with_full in zip(made[0][:3], made[1][:3]):
        np.testing.assert_array_equal(with_mini, with_full)
    positive = made[0][1] > 0
    assert positive.sum() > 5
    apart = (made[0][3] != made[1][3])[positive].mean()
    assert apart < 0.1  # the border of a blob some 15 pixels wide lies half a pixel off at most


def test_the_originals_function_for_one_picture():
    class_ids, boxes, masks = picture(1)
    settings = config(USE_MINI_MASK=False)
    made = detection_targets_graph(proposals_near(boxes, 60, 0), class_ids, boxes, masks, settings)
    assert [x.shape for x in made] == [(12, 4), (12,), (12, 4), (12, 28, 28)]
    assert (np.asarray(made[1]) > 0).any()


def test_classes_are_active_picture_by_picture():
    """The original took the first picture's classes for the whole batch."""
    logits = np.zeros((2, 2, 3), np.float32)
    logits[:, 0, 1] = logits[:, 1, 2] = 5  # predicted: class 1, class 2
    target = np.array([[1, 1], [1, 1]], np.int32)
    active = np.array([[1, 1, 0], [1, 0, 1]], np.float32)  # picture 1 doesn't know class 1
    right, wrong = (np.log(np.exp([0, 0, 5]).sum()) - x for x in (5, 0))
    loss = mrcnn_class_loss_graph(target, logits, active)
    assert float(loss) == pytest.approx((right + wrong) / 2, rel=1e-5)  # float32
    assert float(mrcnn_class_loss_graph(target, logits, active[:1].repeat(2, 0))) == pytest.approx(
        right, rel=1e-4
    )


def test_only_rows_with_mask_loss_reach_the_mask_head():
    ids = np.array([[2, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]], np.int32)
    rng = np.random.default_rng(0)
    rois = rng.random((2, 6, 4), np.float32)
    masks = rng.integers(0, 2, (2, 6, 28, 28)).astype(np.float32)
    predicted = rng.random((2, 6, 28, 28, 3), np.float32)
    cut_rois, cut_ids, cut_masks = PositiveRois()([rois, ids, masks])
    assert cut_rois.shape == (2, 2, 4)
    whole = mrcnn_mask_loss_graph(masks, ids, predicted)
    cut = mrcnn_mask_loss_graph(cut_masks, cut_ids, predicted[:, :2])
    assert float(whole) == pytest.approx(float(cut), rel=1e-6)  # the same numbers, summed
    assert PositiveRois()([rois, ids * 0, masks])[0].shape == (2, 1, 4)  # never none


@pytest.mark.parametrize("use_mini_mask", [True, False])
def test_a_batch_without_instances_gives_finite_losses_and_gradients(use_mini_mask, tmp_path):
    from mrcnn.model import MaskRCNN

    settings = config(TRAIN_ON_EMPTY_IMAGES=True, USE_MINI_MASK=use_mini_mask)
    model = MaskRCNN("training", settings, str(tmp_path))
    model.compile(0.01, 0.9)
    inputs, _ = DataGenerator(Blobs(2, empty=(0, 1)), settings, seed=1)[0]
    inputs = tuple(map(tf.constant, inputs))
    with tf.GradientTape() as tape:
        losses = model.keras_model.losses_by_name(inputs, training=True)
    gradients = tape.gradient(losses["loss"], model.keras_model.trainable_weights)
    for name in ("rpn_bbox_loss", "mrcnn_bbox_loss", "mrcnn_mask_loss"):
        assert float(losses[name]) == 0, name
    for name in (*LOSS_NAMES, "l2", "loss"):
        assert np.isfinite(float(losses[name])), name
    assert float(losses["rpn_class_loss"]) > 0  # the background is learned
    moved = [g for g in gradients if g is not None]
    assert moved and all(np.isfinite(np.asarray(g)).all() for g in moved)


def test_regions_of_the_generator(tmp_path, eager):
    """USE_RPN_ROIS = False: an eighth input, and it trains."""
    from mrcnn.model import MaskRCNN

    settings = config(USE_RPN_ROIS=False)
    model = MaskRCNN("training", settings, str(tmp_path))
    assert [x.shape[1:] for x in model.keras_model.inputs[7:]] == [(40, 4)]
    history = model.train(Blobs(), Blobs(2), 0.01, 1, "heads").history
    assert np.isfinite(history["loss"][0]) and np.isfinite(history["val_loss"][0])
    assert history["mrcnn_mask_loss"][0] > 0  # nine tenths of the regions lie near instances


def test_deltas_that_overflow_still_give_boxes():
    """Seen in a first validation, when batch norm's averages lag far behind."""
    from mrcnn.nn.boxes import apply_box_deltas_graph, clip_boxes_graph

    deltas = tf.constant([[0.0, 0.0, 500.0, 0.1], [5.0, 0.0, 100.0, 100.0]])
    boxes = apply_box_deltas_graph(tf.constant([[0.2, 0.2, 0.4, 0.4]] * 2), deltas)
    clipped = np.asarray(clip_boxes_graph(boxes, tf.constant([0.0, 0.0, 1.0, 1.0])))
    assert clipped[0] == pytest.approx([0, 0.3 - 0.1 * np.exp(0.1), 1, 0.3 + 0.1 * np.exp(0.1)])
    assert clipped[1].tolist() == [0, 0, 1, 1]
