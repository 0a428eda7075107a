"""`mrcnn.data.images.resize_image` inside a graph: a picture of any size made the network's.

To the last bit, and so in float64, which OpenVINO and TFLite don't compute in: files for these
take the picture resized.
"""

from typing import NamedTuple

import tensorflow as tf

from mrcnn.config import Config


class Resized(NamedTuple):
    """A picture as the network takes it, and what it takes to come back from it."""

    picture: tf.Tensor  # uint8 [1, height, width, channels]
    window: tf.Tensor  # float32 [(y1, x1, y2, x2)], pixels without the padding


def resized(picture: tf.Tensor, config: Config) -> Resized:
    """picture: uint8 [1, height, width, channels], of any size. Modes none, square and pad64."""
    if config.IMAGE_RESIZE_MODE == "none":
        sides = tf.cast(tf.shape(picture)[1:3], tf.float32)
        return Resized(picture, tf.concat([tf.zeros([2]), sides], axis=0))
    sides = tf.shape(picture)[1:3]
    new = _new_sides(tf.cast(sides, tf.float64), config)
    image = tf.cast(_bilinear(picture[0], sides, new), tf.uint8)  # cut down, as in `resize_image`
    if config.IMAGE_RESIZE_MODE == "square":
        missing = int(config.IMAGE_MAX_DIM) - new
    else:
        missing = (64 - new % 64) % 64
    before = missing // 2
    padding = tf.stack([before, missing - before], axis=1)  # [2, (before, after)]
    image = tf.pad(tf.cast(image, tf.int32), tf.concat([padding, [[0, 0]]], axis=0))
    if config.IMAGE_RESIZE_MODE == "square":
        image = tf.reshape(image, [*[int(config.IMAGE_MAX_DIM)] * 2, config.IMAGE_CHANNEL_COUNT])
    window = tf.cast(tf.concat([before, before + new], axis=0), tf.float32)
    return Resized(tf.cast(image, tf.uint8)[None], window)


def in_the_given(boxes: tf.Tensor, window: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    """Boxes [N, 4] in pixels of the network's picture -> of the picture [1, height, width, ...]
    of that shape, as `unmold_detections` has them before it rounds; rows of zeros stay."""
    far = tf.constant([0.0, 0.0, 1.0, 1.0])
    sides = tf.cast(shape[1:3], tf.float32)
    old = tf.tile(window[2:] - window[:2] - 1.0, [2])  # its first to its last pixel
    new = tf.tile(sides - 1.0, [2])
    first = tf.tile(window[:2], [2])
    # A picture scaled down to a single row fills it, though that row has no height to divide by.
    shares = tf.where(old > 0, (boxes - far - first) / tf.maximum(old, 1.0), far)
    real = tf.reduce_any(boxes != 0, axis=1, keepdims=True)
    return tf.where(real, shares * new + far, 0.0)


def _new_sides(sides: tf.Tensor, config: Config) -> tf.Tensor:
    """int32 [(height, width)] of the picture without padding. sides: float64 [2]."""
    scale = tf.constant(1.0, tf.float64)
    if config.IMAGE_MIN_DIM:
        least = tf.constant(config.IMAGE_MIN_DIM, tf.float64)
        scale = tf.maximum(scale, least / tf.reduce_min(sides))
    if config.IMAGE_MIN_SCALE:
        scale = tf.maximum(scale, tf.constant(config.IMAGE_MIN_SCALE, tf.float64))
    if config.IMAGE_RESIZE_MODE == "square":
        longest, most = tf.reduce_max(sides), tf.constant(config.IMAGE_MAX_DIM, tf.float64)
        scale = tf.where(tf.round(longest * scale) > most, most / longest, scale)
    one = tf.constant(1.0, tf.float64)
    return tf.cast(tf.maximum(tf.round(sides * scale), one), tf.int32)


def _bilinear(image: tf.Tensor, sides: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
    """As `mrcnn.geometry.masks.resize`: uint8 [height, width, channels] -> float64, new sides."""
    # Beyond the border lies black; padding of bytes is not what every runtime has.
    framed = tf.pad(tf.cast(image, tf.int32), [[1, 1], [1, 1], [0, 0]])
    y, down = _between(sides[0], new[0])
    x, right = _between(sides[1], new[1])
    down, right, one = down[:, None, None], right[None, :, None], tf.constant(1.0, tf.float64)

    def at(rows: tf.Tensor, columns: tf.Tensor, share: tf.Tensor, across: tf.Tensor) -> tf.Tensor:
        lines = tf.cast(tf.gather(framed, rows), tf.float64) * share
        return tf.gather(lines, columns, axis=1) * across

    left, rest, below = one - right, one - (one - right), one - (one - down)
    total = at(y, x, one - down, left)  # the four parts in this order: their sum is then the same
    total += at(y, x + 1, one - down, rest)
    total += at(y + 1, x, below, left)
    total += at(y + 1, x + 1, below, rest)
    pixels = tf.cast(image, tf.int32)
    low = tf.cast(tf.reduce_min(pixels), tf.float64)
    high = tf.cast(tf.reduce_max(pixels), tf.float64)
    black = tf.constant(0.0, tf.float64)
    return tf.where(total == black, black, tf.minimum(tf.maximum(total, low), high))


def _between(size: tf.Tensor, new_size: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The sample before each of new_size, counted from one beyond the end, and how far on it is."""
    one = tf.constant(1.0, tf.float64)
    size, new_size = tf.cast(size, tf.float64), tf.cast(new_size, tf.float64)
    half = tf.constant(0.5, tf.float64)
    places = tf.cast(tf.range(tf.cast(new_size, tf.int32)), tf.float64)
    source = (places + half) * (size / new_size) - half
    before = tf.floor(source)
    return tf.cast(before + one, tf.int32), source - before
