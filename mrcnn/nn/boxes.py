"""Boxes as tensors: the twins of `mrcnn.geometry.boxes`, held equal by a test.

Shapes in this room
    boxes, anchors, rois    [..., (y1, x1, y2, x2)]
    deltas                  [..., (dy, dx, log(dh), log(dw))]
    window                  [..., (y1, x1, y2, x2)], broadcast against the boxes
    image_meta              [batch, 12 + num_classes]
"""

from collections.abc import Callable, Sequence

import tensorflow as tf


def apply_box_deltas_graph(boxes: tf.Tensor, deltas: tf.Tensor) -> tf.Tensor:
    """Move and stretch boxes (Fast R-CNN, appendix C, inverted).

    boxes: [..., (y1, x1, y2, x2)]; deltas: [..., (dy, dx, log(dh), log(dw))] in units of the box.
    Returns boxes of the same shape and unit.
    """
    y1, x1, y2, x2 = tf.unstack(boxes, axis=-1)
    dy, dx, dh, dw = tf.unstack(deltas, axis=-1)
    height, width = y2 - y1, x2 - x1
    center_y = y1 + 0.5 * height + dy * height
    center_x = x1 + 0.5 * width + dx * width
    # A network in its first epochs asks for any size: exp overflows, and inf - inf is no number.
    height *= tf.exp(tf.minimum(dh, 30.0))
    width *= tf.exp(tf.minimum(dw, 30.0))
    y1 = center_y - 0.5 * height
    x1 = center_x - 0.5 * width
    return tf.stack([y1, x1, y1 + height, x1 + width], axis=-1)


def box_refinement_graph(box: tf.Tensor, gt_box: tf.Tensor) -> tf.Tensor:
    """Deltas that turn `box` into `gt_box` (Fast R-CNN, appendix C).

    box, gt_box: [..., (y1, x1, y2, x2)] in one unit, none of them empty.
    Returns [..., (dy, dx, log(dh), log(dw))].
    """
    y1, x1, y2, x2 = tf.unstack(tf.cast(box, tf.float32), axis=-1)
    gt_y1, gt_x1, gt_y2, gt_x2 = tf.unstack(tf.cast(gt_box, tf.float32), axis=-1)
    height, width = y2 - y1, x2 - x1
    gt_height, gt_width = gt_y2 - gt_y1, gt_x2 - gt_x1
    dy = ((gt_y1 + 0.5 * gt_height) - (y1 + 0.5 * height)) / height
    dx = ((gt_x1 + 0.5 * gt_width) - (x1 + 0.5 * width)) / width
    return tf.stack([dy, dx, tf.math.log(gt_height / height), tf.math.log(gt_width / width)], -1)


def clip_boxes_graph(boxes: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Cut boxes [..., 4] to a window [4], or to windows that broadcast against them."""
    y1, x1, y2, x2 = tf.unstack(boxes, axis=-1)
    wy1, wx1, wy2, wx2 = tf.unstack(window, axis=-1)
    return tf.stack(
        [
            tf.clip_by_value(y1, wy1, wy2),
            tf.clip_by_value(x1, wx1, wx2),
            tf.clip_by_value(y2, wy1, wy2),
            tf.clip_by_value(x2, wx1, wx2),
        ],
        axis=-1,
    )


def overlaps_graph(boxes1: tf.Tensor, boxes2: tf.Tensor) -> tf.Tensor:
    """IoU of every pair: boxes [n, 4] and [m, 4] in one unit -> [n, m]; empty boxes give 0."""
    y1, x1, y2, x2 = tf.unstack(tf.cast(boxes1, tf.float32)[:, None], axis=-1)  # each [n, 1]
    v1, u1, v2, u2 = tf.unstack(tf.cast(boxes2, tf.float32)[None], axis=-1)  # each [1, m]
    height = tf.maximum(tf.minimum(y2, v2) - tf.maximum(y1, v1), 0)
    width = tf.maximum(tf.minimum(x2, u2) - tf.maximum(x1, u1), 0)
    intersection = height * width
    union = (y2 - y1) * (x2 - x1) + (v2 - v1) * (u2 - u1) - intersection
    return tf.math.divide_no_nan(intersection, union)


def norm_boxes_graph(boxes: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    """Pixels -> normalised: boxes [..., 4], shape (height, width) -> float32 [..., 4].

    NOTE: the far corner moves in by one pixel and sizes count as (size - 1), as in the original.
    """
    scale, shift = _pixel_frame(shape)
    return (tf.cast(boxes, tf.float32) - shift) / scale


def denorm_boxes_graph(boxes: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    """Normalised -> pixels: boxes [..., 4], shape (height, width) -> int32 [..., 4], rounded."""
    scale, shift = _pixel_frame(shape)
    return tf.cast(tf.round(boxes * scale + shift), tf.int32)


def _pixel_frame(shape: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    height, width = tf.unstack(tf.cast(shape, tf.float32), axis=-1)
    scale = tf.stack([height, width, height, width], axis=-1) - 1.0
    return scale, tf.constant([0.0, 0.0, 1.0, 1.0])


def trim_zeros_graph(boxes: tf.Tensor, name: str = "trim_zeros") -> tuple[tf.Tensor, tf.Tensor]:
    """Drop the rows of zeros that pad boxes [n, 4]: ([m, 4], bool mask [n] of the rows kept)."""
    non_zeros = tf.reduce_any(tf.not_equal(boxes, 0), axis=1)
    return tf.boolean_mask(boxes, non_zeros, name=name), non_zeros


def pad_rows(x: tf.Tensor, num_rows: int) -> tf.Tensor:
    """[n, ...] -> [num_rows, ...]: zeros after the n rows; n must not exceed num_rows."""
    paddings = [[0, num_rows - tf.shape(x)[0]]] + [[0, 0]] * (x.shape.rank - 1)
    padded = tf.pad(x, paddings)
    return tf.ensure_shape(padded, [num_rows, *x.shape[1:]])


def batch_pack_graph(x: tf.Tensor, counts: tf.Tensor, num_rows: int) -> tf.Tensor:
    """The first counts[i] rows of each picture, one after the other.

    x: [batch, max_rows, ...]; counts: int [batch]; num_rows: the batch size (its old name).
    """
    kept = tf.sequence_mask(counts[:num_rows], tf.shape(x)[1])  # [batch, max_rows]
    return tf.boolean_mask(x[:num_rows], kept)


def batch_slice(
    inputs: Sequence[tf.Tensor] | tf.Tensor,
    graph_fn: Callable,
    batch_size: int,
    names: Sequence[str | None] | None = None,
) -> tf.Tensor | list[tf.Tensor]:
    """Run a function that knows one picture on each picture of a batch, and stack what it gives.

    Kept for old custom layers: it copies `graph_fn` into the graph `batch_size` times, where
    `tf.map_fn` takes one copy. Returns a tensor, or a list of them if the function gives several.
    """
    if not isinstance(inputs, list | tuple):
        inputs = [inputs]
    rows = []
    for i in range(batch_size):
        row = graph_fn(*[x[i] for x in inputs])
        rows.append(list(row) if isinstance(row, list | tuple) else [row])
    names = names or [None] * len(rows[0])
    stacked = [tf.stack(column, name=name) for column, name in zip(zip(*rows), names)]
    return stacked[0] if len(stacked) == 1 else stacked


def parse_image_meta_graph(meta: tf.Tensor) -> dict[str, tf.Tensor]:
    """Split image_meta [batch, 12 + num_classes] into its named parts, each [batch, ...]."""
    return {
        "image_id": meta[:, 0],
        "original_image_shape": meta[:, 1:4],
        "image_shape": meta[:, 4:7],
        "window": meta[:, 7:11],  # [batch, (y1, x1, y2, x2)] pixels of the molded picture
        "scale": meta[:, 11],
        "active_class_ids": meta[:, 12:],
    }


def log2_graph(x: tf.Tensor) -> tf.Tensor:
    """Logarithm to the base 2."""
    return tf.math.log(x) / tf.math.log(2.0)
