"""Inference: pictures in, instances out.

Shapes in this room
    images            a list of [height, width, channels], any sizes
    molded_images     [batch, height, width, channels] float32, mean subtracted
    image_metas       [batch, 12 + num_classes]
    anchors           [batch, num_anchors, (y1, x1, y2, x2)], normalised
    detections        [batch, max_instances, (y1, x1, y2, x2, class_id, score)], normalised
    mrcnn_mask        [batch, max_instances, mask_height, mask_width, num_classes]
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mrcnn.config import Config
from mrcnn.geometry.boxes import denorm_boxes, norm_boxes
from mrcnn.geometry.masks import paste_masks


def compiled_forward(keras_model: keras.Model) -> tf.types.experimental.GenericFunction:
    """The model as one traced function of float tensors with open batch, height and width.

    It is traced once and serves every picture size; calling the model itself would run it
    operation by operation, and `predict` would build a data pipeline for each call.
    """
    signature = [tf.TensorSpec(x.shape, tf.float32) for x in keras_model.inputs]

    @tf.function(input_signature=signature, autograph=False)
    def forward(*inputs: tf.Tensor) -> list[tf.Tensor]:
        return keras_model(list(inputs), training=False)

    return forward


def check_pictures(images: Sequence[np.ndarray], config: Config) -> list[np.ndarray]:
    """`check_picture` for each; ValueError names the picture, or says that a list is wanted."""
    if isinstance(images, np.ndarray) and images.ndim in (2, 3):
        raise ValueError(
            f"the pictures are one array of shape {images.shape}: give a list of pictures, for one "
            "of them detect([picture])."
        )
    checked = []  # no comprehension: a warning's stacklevel counts one as a call before 3.12
    for i, image in enumerate(images, start=1):
        checked.append(check_picture(image, config, f"picture {i} of {len(images)}"))
    return checked


def before_molding(images: Sequence[np.ndarray], config: Config) -> Sequence[np.ndarray]:
    """The pictures as they were before a script called `mold_image` on them itself.

    NOTE: a much copied tutorial hands detect() molded pictures. The original molded them a second
    time, and found less in them.
    """
    given, mean = [np.asarray(image) for image in images], np.atleast_1d(config.MEAN_PIXEL)
    molded = []
    for i, image in enumerate(given):
        fits = image.ndim == 3 and image.dtype.kind == "f" and mean.size in (1, image.shape[-1])
        # Pictures scaled to -1..1 or standardised don't reach so low; they are refused later.
        if fits and image.size and image.min() < -5:
            pixels = image + mean
            if pixels.min() >= -0.5 and pixels.max() <= 255.5:
                given[i] = pixels
                molded.append(i + 1)
    if not molded:
        return images
    warnings.warn(
        f"picture {molded[0]} of {len(given)} has had the mean pixel subtracted, by mold_image(): "
        "it was added back. Give detect() the picture itself, which it molds.",
        stacklevel=3,  # the line that called detect
    )
    return given


def outside_graphs(function: Callable, *args: Any) -> Any:
    """Call a function eagerly, even where a server of old wrote `with graph.as_default():`.

    The default graph belongs to a thread, so another thread is free of it.
    """
    if tf.executing_eagerly():
        return function(*args)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *args).result()


def check_picture(image: np.ndarray, config: Config, which: str) -> np.ndarray:
    """Give a picture the form that the network was made for, or say why that can't be done.

    image: [height, width] or [height, width, channels], any number type.
    which: names the picture in messages, e.g. "picture 3".
    Returns [height, width, IMAGE_CHANNEL_COUNT]. Grey becomes RGB, an alpha channel is dropped,
    a bool picture and a float one of 0..1 are stretched to 0..255.
    Raises ValueError: no picture, another channel count, not finite, or beyond 0..255.
    """
    image = np.asarray(image)
    channels = config.IMAGE_CHANNEL_COUNT
    if image.ndim not in (2, 3) or image.dtype.kind not in "buif":
        raise ValueError(
            f"{which} is an array of shape {image.shape} and type {image.dtype}: a picture is "
            f"numbers of shape [height, width, {channels}]. (detect takes a list of pictures: "
            "detect([picture]).)"
        )
    if image.ndim == 2:
        image = image[..., None]
    if 0 in image.shape:
        raise ValueError(f"{which} is empty: its shape is {image.shape}.")
    if image.shape[-1] == 1 and channels == 3:
        image = np.repeat(image, 3, axis=-1)
    elif image.shape[-1] == 4 and channels == 3:
        image = image[..., :3]
    elif image.shape[-1] == 2 and channels in (1, 3):  # grey with alpha
        image = np.repeat(image[..., :1], channels, axis=-1)
    if image.shape[-1] != channels:
        raise ValueError(
            f"{which} has {image.shape[-1]} channels and the network {channels} "
            "(IMAGE_CHANNEL_COUNT): convert the picture, or build the network for it."
        )
    return _check_values(image, config, which)


def _check_values(image: np.ndarray, config: Config, which: str) -> np.ndarray:
    if image.dtype == np.uint8:
        return image
    if image.dtype.kind == "b":
        return image.astype(np.uint8) * 255
    low, high = float(image.min()), float(image.max())
    if not np.isfinite([low, high]).all():
        raise ValueError(f"{which} holds NaN or infinite values: replace them first.")
    # Who set MEAN_PIXEL to another range trained on pictures of that range.
    mean = float(np.max(config.MEAN_PIXEL))
    if image.dtype.kind == "f" and low >= 0 and high <= 1 and high > 0 and 1 < mean <= 255:
        warnings.warn(
            f"{which} holds values of 0..1: taken times 255, the range that the network knows.",
            stacklevel=5,  # the line that called detect
        )
        return image * 255
    if 0 < mean <= 255 and (low < -0.5 or high > 255.5):
        raise ValueError(
            f"{which} ({image.dtype}) holds values from {low:g} to {high:g} and the network "
            "knows 0..255: convert it first, for example with skimage.exposure."
            'rescale_intensity(picture, out_range="uint8").'
        )
    return image


def check_molded_shape(shape: Sequence[int], config: Config, which: str) -> None:
    """Refuse a molded picture whose sides the backbone can't halve six times."""
    if shape[0] % 64 or shape[1] % 64:
        raise ValueError(
            f"{which} enters the network as {shape[0]}x{shape[1]}: with IMAGE_RESIZE_MODE = "
            f"{config.IMAGE_RESIZE_MODE!r} nothing brings its sides to multiples of 64. Use "
            '"square" or "pad64", or crop the picture.'
        )


def batches(shapes: Sequence[tuple], batch_size: int) -> Iterator[list[int]]:
    """Indices of pictures in their order, cut where the molded shape changes or a batch is full."""
    batch: list[int] = []
    for i, shape in enumerate(shapes):
        if batch and (len(batch) == batch_size or shape != shapes[batch[0]]):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def unmold_detections(
    detections: np.ndarray,
    mrcnn_mask: np.ndarray,
    original_image_shape: Sequence[int],
    image_shape: Sequence[int],
    window: Sequence[int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One picture's detections in the frame of the picture as it was given.

    detections: [max_instances, (y1, x1, y2, x2, class_id, score)], normalised, zero padded.
    mrcnn_mask: [max_instances, mask_height, mask_width, num_classes].
    original_image_shape, image_shape: (height, width, ...) before and after molding.
    window: (y1, x1, y2, x2), pixels of the molded picture without its padding.

    Returns boxes int32 [n, (y1, x1, y2, x2)] in pixels, class_ids int32 [n], scores float32 [n]
    and masks bool [height, width, n]. Boxes that are empty after rounding are left out.
    """
    padding = np.flatnonzero(detections[:, 4] == 0)
    count = padding[0] if padding.size else len(detections)
    class_ids = detections[:count, 4].astype(np.int32)
    scores = detections[:count, 5]
    masks = mrcnn_mask[np.arange(count), :, :, class_ids]  # [n, mask_height, mask_width]

    wy1, wx1, wy2, wx2 = norm_boxes(np.asarray(window), image_shape[:2])
    shift = np.array([wy1, wx1, wy1, wx1])
    scale = np.array([wy2 - wy1, wx2 - wx1, wy2 - wy1, wx2 - wx1])
    # A picture scaled down to a single row fills it, though that row has no height to divide by.
    boxes = np.where(
        scale > 0, (detections[:count, :4] - shift) / np.where(scale > 0, scale, 1), [0, 0, 1, 1]
    )  # normalised to the window
    boxes = denorm_boxes(boxes, original_image_shape[:2])

    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    real = np.flatnonzero(area > 0)
    boxes, class_ids, scores, masks = boxes[real], class_ids[real], scores[real], masks[real]
    return boxes, class_ids, scores, paste_masks(masks, boxes, original_image_shape[:2])
