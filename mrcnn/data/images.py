"""Pictures on their way into the network and back: resizing, molding, and the image meta.

image:   [height, width, channels], RGB, 0..255
window:  (y1, x1, y2, x2), where the picture lies inside its padding, in pixels
scale:   resized / original side
padding: [(top, bottom), (left, right), (0, 0)] in pixels
crop:    (y, x, height, width) in pixels of the resized picture, or None
meta:    [12 + num_classes] numbers that travel with a picture through the graph
"""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from mrcnn.config import RESIZE_MODES, Config
from mrcnn.geometry.masks import resize

Window = tuple[int, int, int, int]
Padding = list[tuple[int, int]]


def resize_image(
    image: np.ndarray,
    min_dim: int | None = None,
    max_dim: int | None = None,
    min_scale: float | None = None,
    mode: str = "square",
    *,
    rng: Any = random,
) -> tuple[np.ndarray, Window, float, Padding, Window | None]:
    """Scale a picture, keeping its aspect, and pad or crop it.

    image: [height, width, channels].
    min_dim: scale up until the short side has this many pixels.
    max_dim: in mode "square", the side of the result; the long side never gets longer.
    min_scale: scale up at least this much, whatever min_dim says.
    mode: "none": the picture as it is. "square": padded with zeros to max_dim x max_dim.
        "pad64": padded with zeros until both sides are divisible by 64. "crop": a random
        min_dim x min_dim piece.
    rng: what chooses that piece: Python's `random`, or a `random.Random`.
    Returns image (dtype unchanged), window, scale, padding, crop; see the top of this file.
    Raises ValueError for an unknown mode, or sides the mode can't work with.
    """
    height, width = image.shape[:2]
    _check_sides(height, width, min_dim, max_dim, mode)
    window, padding = (0, 0, height, width), [(0, 0), (0, 0), (0, 0)]
    if mode == "none":
        return image, window, 1.0, padding, None

    dtype = image.dtype
    scale = resize_scale(height, width, min_dim, max_dim if mode == "square" else None, min_scale)
    if scale != 1:
        height, width = _scaled(height, width, scale)
        image = resize(image, (height, width), preserve_range=True)
    # NOTE: an integer picture is cut down, not rounded, to its dtype; the original does so, and
    # its weights have learned it.
    image = image.astype(dtype)

    if mode == "crop":
        y, x = rng.randint(0, height - min_dim), rng.randint(0, width - min_dim)
        image = image[y : y + min_dim, x : x + min_dim]
        return image, (0, 0, min_dim, min_dim), scale, padding, (y, x, min_dim, min_dim)

    if mode == "square":
        padding[:2] = _centered(max_dim - height), _centered(max_dim - width)
    else:
        padding[:2] = _centered(-height % 64), _centered(-width % 64)
    image = np.pad(image, padding[: image.ndim], mode="constant", constant_values=0)
    top, left = padding[0][0], padding[1][0]
    return image, (top, left, top + height, left + width), scale, padding, None


def molded_shape(image_shape: Sequence[int], config: Config) -> tuple[int, int]:
    """(height, width) that `resize_image` will give a picture under this config.

    image_shape: (height, width, ...) in pixels.
    """
    height, width = image_shape[:2]
    if config.IMAGE_RESIZE_MODE == "none":
        return height, width
    if config.IMAGE_RESIZE_MODE == "square":
        return config.IMAGE_MAX_DIM, config.IMAGE_MAX_DIM
    if config.IMAGE_RESIZE_MODE == "crop":
        return config.IMAGE_MIN_DIM, config.IMAGE_MIN_DIM
    scale = resize_scale(height, width, config.IMAGE_MIN_DIM, None, config.IMAGE_MIN_SCALE)
    if scale != 1:
        height, width = _scaled(height, width, scale)
    return height + -height % 64, width + -width % 64


def mold_image(images: np.ndarray, config: Config) -> np.ndarray:
    """Subtract the mean pixel: what the network takes in.

    images: [..., height, width, channels], RGB, 0..255. Returns floats of the same shape.
    """
    return images.astype(np.float32) - config.MEAN_PIXEL


def molded_batch(images: Sequence[np.ndarray], config: Config) -> np.ndarray:
    """Pictures of one size after `mold_image`, as the network takes them.

    images: each [height, width, channels]. Returns float32 [batch, height, width, channels], made
    in one pass: a step on two processor cores waits for its pictures.
    """
    molded = np.empty((len(images), *images[0].shape), np.float32)
    height, width, channels = images[0].shape
    row = np.tile(np.broadcast_to(np.asarray(config.MEAN_PIXEL, np.float64), channels), width)
    for image, out in zip(images, molded.reshape(len(images), height, width * channels)):
        # As mold_image does: the difference in float64, then rounded once.
        np.subtract(image.reshape(height, -1), row, out=out, casting="unsafe")
    return molded


def unmold_image(normalized_images: np.ndarray, config: Config) -> np.ndarray:
    """Add the mean pixel back; the inverse of `mold_image`.

    normalized_images: [..., height, width, channels]. Returns uint8 of the same shape.
    """
    # NOTE: cut down, not rounded, to uint8, as in the original.
    return (normalized_images + config.MEAN_PIXEL).astype(np.uint8)


def compose_image_meta(
    image_id: int,
    original_image_shape: Sequence[int],
    image_shape: Sequence[int],
    window: Sequence[int],
    scale: float,
    active_class_ids: Sequence[int],
) -> np.ndarray:
    """Pack what is known of a picture into one row of numbers.

    image_id: its number in the dataset. original_image_shape, image_shape: [height, width,
    channels] before and after resizing. window: (y1, x1, y2, x2) in pixels of the resized
    picture. active_class_ids: [num_classes], 1 for a class that its source labels, else 0.
    Returns float64 [12 + num_classes].
    """
    return np.concatenate(
        [
            [image_id],
            original_image_shape,
            image_shape,
            window,
            [scale],
            active_class_ids,
        ]
    ).astype(np.float64)


def parse_image_meta(meta: np.ndarray) -> dict[str, np.ndarray]:
    """Unpack rows of image meta; the inverse of `compose_image_meta`.

    meta: [batch, 12 + num_classes]. Returns a dict of [batch, ...] arrays: float32 for "scale",
    int32 for the others.
    """
    return {
        "image_id": meta[:, 0].astype(np.int32),
        "original_image_shape": meta[:, 1:4].astype(np.int32),
        "image_shape": meta[:, 4:7].astype(np.int32),
        "window": meta[:, 7:11].astype(np.int32),
        "scale": meta[:, 11].astype(np.float32),
        "active_class_ids": meta[:, 12:].astype(np.int32),
    }


def resize_scale(
    height: int, width: int, min_dim: int | None, max_dim: int | None, min_scale: float | None
) -> float:
    """By how much `resize_image` scales a picture of that size in pixels."""
    scale = 1.0
    if min_dim:
        scale = max(scale, min_dim / min(height, width))
    if min_scale:
        scale = max(scale, min_scale)
    longest = max(height, width)
    if max_dim and round(longest * scale) > max_dim:
        scale = max_dim / longest
    return scale


def _scaled(height: int, width: int, scale: float) -> tuple[int, int]:
    # A strip 500 times as long as wide, made to fit a small square, keeps one row of pixels.
    return max(round(height * scale), 1), max(round(width * scale), 1)


def _centered(missing: int) -> tuple[int, int]:
    return missing // 2, missing - missing // 2


def _check_sides(height: int, width: int, min_dim: Any, max_dim: Any, mode: str) -> None:
    if mode not in RESIZE_MODES:
        raise ValueError(f"mode is {mode!r}: it must be one of {', '.join(RESIZE_MODES)}.")
    if mode == "none":
        return
    if not height or not width:
        raise ValueError(f"The picture is {height}x{width} pixels: there is nothing to resize.")
    if mode == "square" and not max_dim:
        raise ValueError("mode 'square' needs max_dim, the side of the resized picture.")
    if mode == "crop" and not min_dim:
        raise ValueError("mode 'crop' needs min_dim, the side of the piece to cut out.")
    if mode == "pad64" and min_dim and min_dim % 64:
        raise ValueError(
            f"min_dim is {min_dim}: in mode 'pad64' it must be divisible by 64, as every side "
            f"of the padded picture is. Near it are {min_dim // 64 * 64} and "
            f"{-(-min_dim // 64) * 64}."
        )
