"""Pictures of any size become what the network takes in: batches of one size, and their metas."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from mrcnn.config import Config
from mrcnn.data.images import compose_image_meta, mold_image, molded_shape, resize_image


class Molded(NamedTuple):
    """Pictures as the network takes them, a batch of one size."""

    shapes: Sequence[Sequence[int]]  # (height, width, ...) of each picture as it was given
    images: np.ndarray  # float [batch, height, width, channels], mean subtracted
    metas: np.ndarray  # [batch, 12 + num_classes]
    windows: np.ndarray  # [batch, (y1, x1, y2, x2)], pixels without the padding


def molded_batches(
    images: Sequence[np.ndarray], config: Config, mold: Callable
) -> Iterator[Molded]:
    """Pictures in their order, cut where the molded size changes or BATCH_SIZE is reached.

    mold: `mold_inputs` of a MaskRCNN, or what a subclass has in its place.
    """
    sizes = [molded_shape(image.shape, config) for image in images]
    first = 0
    for end in range(1, len(images) + 1):
        full = end - first == config.BATCH_SIZE
        if full or end == len(images) or sizes[end] != sizes[first]:
            batch = images[first:end]
            yield Molded([image.shape for image in batch], *mold(batch))
            first = end


def mold_inputs(
    images: Sequence[np.ndarray], config: Config
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Resize, pad and centre pictures that end in one size.

    images: each [height, width, channels], 0..255.
    Returns molded_images float [batch, height, width, channels], image_metas
    [batch, 12 + num_classes], windows [batch, (y1, x1, y2, x2)] in pixels of the molded pictures:
    the part that is not padding.
    """
    molded_images, image_metas, windows = [], [], []
    for image in images:
        molded, window, scale, _, _ = resize_image(
            image,
            min_dim=config.IMAGE_MIN_DIM,
            min_scale=config.IMAGE_MIN_SCALE,
            max_dim=config.IMAGE_MAX_DIM,
            mode=config.IMAGE_RESIZE_MODE,
        )
        no_class_is_inactive = np.zeros([config.NUM_CLASSES], dtype=np.int32)
        image_metas.append(
            compose_image_meta(0, image.shape, molded.shape, window, scale, no_class_is_inactive)
        )
        molded_images.append(mold_image(molded, config))
        windows.append(window)
    return np.stack(molded_images), np.stack(image_metas), np.stack(windows)
