"""Colour splash: what was found keeps its colour, the rest of the picture turns grey."""

import numpy as np

from mrcnn.drawing.pixels import as_picture

# Brightness of red, green and blue to the eye (ITU-R BT.709).
LUMINANCE = np.array([0.2125, 0.7154, 0.0721], np.float32)


def color_splash(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A copy of an image that has its colours only where a mask is.

    image: [height, width, channels], what `mrcnn.drawing.pixels.as_picture` takes.
    mask: [height, width, instances] bool or 0 and 1; or one mask, [height, width].
    Returns [height, width, 3] uint8; all grey where there is no instance.

    Raises ValueError where the mask is not as large as the image.
    """
    picture, mask = as_picture(image), np.asarray(mask)
    if mask.shape[:2] != picture.shape[:2] or mask.ndim not in (2, 3):
        raise ValueError(
            f"The mask has shape {list(mask.shape)} and the image {list(picture.shape)}: give "
            "masks [height, width, instances] of the image's height and width."
        )
    found = (mask if mask.ndim == 2 else mask.any(axis=-1)).astype(bool)  # [height, width]
    grey = np.rint(picture @ LUMINANCE).astype(np.uint8)  # [height, width]
    return np.where(found[..., None], picture, grey[..., None])
