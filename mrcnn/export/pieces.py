"""Three steps of the network in operations that every runtime has: choosing, cropping, suppressing.

Each has a twin in `mrcnn.nn`, which is faster in TensorFlow; tests hold them equal.

Shapes in this room (A: anchors, n: boxes, P: side of the grid)
    scores          [A], or [n]
    boxes           [n, (y1, x1, y2, x2)], normalised
    feature_maps    P2, P3, P4, P5, each [1, height, width, depth]
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

_COARSE, _FINE = 24, 12  # halvings of a span of logarithms, then of what is left of it


def among_best(scores: tf.Tensor, count: int) -> tf.Tensor:
    """Which of scores [A], 0..1, are the `count` highest: bool [A].

    NOTE: a score as high as the last one that counts, to its last bit or two, counts as well. The
    threshold is found by halving: a runtime may take longer to sort than for all convolutions.
    """
    wanted = tf.cast(tf.minimum(count, tf.shape(scores)[0]), tf.float32)

    def enough(threshold: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.cast(scores >= threshold, tf.float32)) >= wanted

    low, high = tf.constant(-104.0), tf.constant(1.0)  # of the logarithm; exp(-104) is 0
    for _ in range(_COARSE):
        middle = (low + high) / 2
        fits = enough(tf.exp(middle))
        low, high = tf.where(fits, middle, low), tf.where(fits, high, middle)
    low, high = tf.exp(low), tf.exp(high)
    low = tf.where(enough(low), low, 0.0)
    for _ in range(_FINE):
        middle = (low + high) / 2
        fits = enough(middle)
        low, high = tf.where(fits, middle, low), tf.where(fits, high, middle)
    return scores >= low


def suppress(
    boxes: tf.Tensor, scores: tf.Tensor, limit: int, threshold: float, lite: int = 0
) -> tuple[tf.Tensor, tf.Tensor]:
    """Greedy suppression: indices int32 [limit], highest score first, and how many of them count.

    scores: [n]; a negative one takes no part. The indices that don't count are 0.
    lite: what LiteRT needs to come to the same: how many of the scores take part at most.
    """
    if lite:
        return _suppress_lite(boxes, scores, limit, threshold, lite)
    kept, count = tf.raw_ops.NonMaxSuppressionV4(
        boxes=boxes,
        scores=scores,
        max_output_size=limit,
        iou_threshold=threshold,
        score_threshold=-0.5,
        pad_to_max_output_size=True,
    )
    return tf.reshape(kept, [limit]), count  # its length is told to the converters


def _suppress_lite(
    boxes: tf.Tensor, scores: tf.Tensor, limit: int, threshold: float, most: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """NOTE: LiteRT takes equal scores in any order, suppresses at the threshold already, and puts a
    box that was chosen back among the others, to be suppressed by itself: an empty one is not, and
    would be chosen again and again. So ranks stand for the scores, the threshold is the next
    number, and empty boxes, or all where nothing is suppressed, lie apart far outside the picture.
    """
    number = tf.shape(scores)[0]
    scores = tf.concat([scores, tf.fill([most], -1.0)], axis=0)  # where there are fewer
    scores, order = tf.math.top_k(scores, most)  # of equals the first comes first
    order = tf.minimum(order, number - 1)
    places = tf.range(most, dtype=tf.float32)
    ranks = tf.where(scores < 0, -1.0, most - places)
    boxes = tf.gather(boxes, order)
    empty = (boxes[:, 2:3] <= boxes[:, 0:1]) | (boxes[:, 3:4] <= boxes[:, 1:2]) | (threshold >= 1)
    beyond = max(float(np.nextafter(np.float32(threshold), np.float32(2))), 1e-30)
    corner = 100.0 + 2.0 * places[:, None]
    alone = tf.concat([corner, corner, corner + 1.0, corner + 1.0], axis=1)
    kept, count = suppress(tf.where(empty, alone, boxes), ranks, limit, min(beyond, 1.0))
    return tf.where(tf.range(limit) < count, tf.gather(order, kept), 0), count


def apart_by_class(boxes: tf.Tensor, class_ids: tf.Tensor, num_classes: int) -> tf.Tensor:
    """Boxes moved so that those of two classes never overlap, for the suppression alone.

    boxes: [n, 4] within 0..1; class_ids: int32 [n]. Each class has a square of its own around the
    origin: in a row of 81 a box would lose seven bits of its place, on a 9x9 board it loses three.
    """
    side = 1
    while side * side < num_classes:
        side += 1
    row, column = class_ids // side, class_ids % side
    shift = tf.cast(tf.stack([row, column, row, column], axis=1) - side // 2, tf.float32)
    return boxes + shift


def rows(x: tf.Tensor, kept: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """The rows of x at indices kept [limit], zeros from the `count`-th on."""
    real = tf.range(kept.shape[0]) < count
    real = tf.reshape(real, [-1] + [1] * (x.shape.rank - 1))
    return tf.where(real, tf.gather(x, kept), tf.zeros([], x.dtype))


def of_class(x: tf.Tensor, class_ids: tf.Tensor, num_classes: int) -> tf.Tensor:
    """x [n, num_classes, depth] at each row's class: [n, depth]."""
    flat = tf.reshape(x, [-1, x.shape[-1]])  # batched gathers are what a converter trips over
    index = tf.range(tf.shape(class_ids)[0]) * num_classes + class_ids
    return tf.gather(flat, index)


def crop(feature_maps: Sequence[tf.Tensor], boxes: tf.Tensor, levels: tf.Tensor, side: int):
    """What `PyramidROIAlign` cuts out: [n, side, side, depth] of boxes [n, 4].

    levels: int32 [n], 2..5. Four gathers out of all maps laid end to end, whatever the level.
    """
    depth = feature_maps[0].shape[-1]
    table = tf.concat([tf.reshape(x, [-1, depth]) for x in feature_maps], axis=0)
    shapes = tf.stack([_sides(x) for x in feature_maps])  # [4, (height, width)]
    sizes = shapes[:, 0] * shapes[:, 1]
    shape = tf.gather(shapes, levels - 2)  # [n, 2]
    first = tf.gather(tf.cumsum(sizes, exclusive=True), levels - 2)[:, None, None]
    height, width = shape[:, 0], shape[:, 1]
    top, bottom, down, inside_y = _samples(boxes[:, 0], boxes[:, 2], height, side)  # each [n, side]
    left, right, across, inside_x = _samples(boxes[:, 1], boxes[:, 3], width, side)

    def at(y: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
        index = first + y[:, :, None] * width[:, None, None] + x[:, None, :]
        return tf.gather(table, index)  # [n, side, side, depth]

    across, down = across[:, None, :, None], down[:, :, None, None]
    upper, lower = at(top, left), at(bottom, left)
    upper += (at(top, right) - upper) * across
    lower += (at(bottom, right) - lower) * across
    inside = inside_y[:, :, None] & inside_x[:, None, :]
    return tf.where(inside[..., None], upper + (lower - upper) * down, 0.0)


def _sides(x: tf.Tensor) -> tf.Tensor:
    known = x.shape[1:3].is_fully_defined()
    return tf.constant(x.shape[1:3].as_list()) if known else tf.shape(x)[1:3]


def _samples(
    low: tf.Tensor, high: tf.Tensor, size: tf.Tensor, count: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Where `crop_and_resize` samples one axis: (before, after, share between them, inside).

    low, high: [n], the edges, normalised; size: int32 [n], cells of the map. Each [n, count].

    NOTE: the last bit decides whether the last sample of a box at the border is inside, so each
    step has to round as it does in `crop_and_resize`.
    """
    last = tf.cast(size - 1, tf.float32)[:, None]
    low, high = low[:, None], high[:, None]
    if count > 1:
        step = _quotient((high - low) * last, count - 1)
        place = _alone(low * last) + _alone(tf.range(count, dtype=tf.float32) * step)
    else:
        place = 0.5 * (low + high) * last
    inside = (place >= 0) & (place <= last)
    place = tf.where(inside, place, 0.0)
    before = tf.floor(place)
    after = tf.minimum(before + 1, last)
    return tf.cast(before, tf.int32), tf.cast(after, tf.int32), place - before, inside


def _alone(product: tf.Tensor) -> tf.Tensor:
    """A product that isn't fused with the sum it goes into, which would round both at once."""
    return tf.maximum(product, -1e9)


def _quotient(x: tf.Tensor, divisor: int) -> tf.Tensor:
    """x / divisor, rounded once, where a runtime multiplies by the reciprocal and rounds twice.

    What is left of x is found exactly, by products of half as many digits (Dekker 1971), and added.
    x: float32, 0..1e5; divisor: below 4096.
    """
    x = _alone(x)
    about = _alone(x / divisor)
    spread = _alone(about * 4097.0)  # 2**12 + 1
    high = spread - (spread - about)  # the upper 12 binary digits
    left = (x - high * divisor) - (about - high) * divisor
    return about + left / divisor
