"""Arrays of pixels: making an image fit to be looked at, colours, painting masks and boxes.

picture   [height, width, 3] uint8, what is shown, whatever the image was
crop      [height, width] bool, a mask cut to the pixels it covers
color     (red, green, blue) of 0..1
"""

import colorsys
from collections.abc import Sequence

import numpy as np

GOLDEN_RATIO = (1 + 5**0.5) / 2
_STRIP = 256  # rows that are worked on at a time


def as_picture(image: np.ndarray) -> np.ndarray:
    """A copy of `image` that can be looked at: [height, width, 3] uint8.

    image: [height, width] or [height, width, channels]; grey becomes RGB, of more than three
    channels, such as bands, the first three are shown. Whole numbers are taken as 0..255, floats
    as 0..1 if they lie there and as 0..255 if not; values beyond 255 (16-bit pictures) are scaled
    so that the largest is 255, those below 0 become 0.

    Raises ValueError for any other shape, two channels included.
    """
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] in (0, 2) or not image.size:
        raise ValueError(
            f"The image has shape {list(image.shape)}: to be drawn it must be [height, width] or "
            "[height, width, channels] with 1, 3 or more channels and at least one pixel."
        )
    image = image[..., :3]
    if image.dtype != np.uint8:
        values = np.nan_to_num(image.astype(np.float32), posinf=255)
        if image.dtype.kind in "bf" and values.max() <= 1 and values.min() >= 0:
            values *= 255
        elif values.max() > 255:
            values *= 255 / values.max()
        image = np.rint(values.clip(0, 255)).astype(np.uint8)
    return np.concatenate([image] * 3, axis=2) if image.shape[2] == 1 else image.copy()


def random_colors(N: int, bright: bool = True) -> list[tuple[float, float, float]]:
    """N distinct colours, (red, green, blue) of 0..1, the same ones at every call.

    The first k of them do not depend on N, and neighbours lie far apart: the hue goes on by the
    golden ratio, which never comes back to an old one, and brightness and saturation take turns.
    bright: False for colours of less brightness.
    """
    turns = [(0.90, 1.0), (0.55, 1.0), (1.0, 0.8)]  # (saturation, value)
    colors = []
    for i in range(N):
        saturation, value = turns[i % len(turns)]
        hue = (0.02 + i / GOLDEN_RATIO) % 1
        red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value if bright else 0.7 * value)
        colors.append((red, green, blue))
    return colors


def apply_mask(
    image: np.ndarray, mask: np.ndarray, color: Sequence[float], alpha: float = 0.5
) -> np.ndarray:
    """Tint the pixels of `image` where `mask` is 1, in place, and return it.

    image: [height, width, 3 or more], 0..255; mask: [height, width], bool or 0 and 1;
    color: (red, green, blue) of 0..1. A pixel becomes image * (1 - alpha) + alpha * color * 255,
    cut to the image's dtype.
    """
    mask = np.asarray(mask) == 1
    for crop, corner in cut_masks(mask[..., None], [0]).values():
        tint(image, crop, corner, color, alpha)
    return image


def draw_box(image: np.ndarray, box: Sequence[int], color: Sequence[float]) -> np.ndarray:
    """Paint the edge of `box` into `image`, two pixels wide, in place, and return it.

    image: [height, width, channels]; box: (y1, x1, y2, x2), whole pixels; color: one value a
    channel, in the image's own range.

    NOTE: the lower and right edges lie outside the box, as in the original.
    """
    y1, x1, y2, x2 = (max(int(side), 0) for side in box)
    image[y1 : y1 + 2, x1:x2] = color
    image[y2 : y2 + 2, x1:x2] = color
    image[y1:y2, x1 : x1 + 2] = color
    image[y1:y2, x2 : x2 + 2] = color
    return image


def cut_masks(
    masks: np.ndarray, which: Sequence[int]
) -> dict[int, tuple[np.ndarray, tuple[int, int]]]:
    """Each mask cut to the pixels it covers, and where its upper left corner lies.

    masks: [height, width, instances]; `which` of them. Returns {index: (crop, (y, x))}, the crop
    [height of the mask, width of the mask] bool; empty masks are left out.

    NOTE: the windows of all masks are found at once. Where instances lie side by side in memory,
    a loop over them would read the whole array once for each.
    """
    rows, cols = masks.any(axis=1), masks.any(axis=0)  # [height, instances], [width, instances]
    crops = {}
    for i in which:
        y, x = np.flatnonzero(rows[:, i]), np.flatnonzero(cols[:, i])
        if y.size:
            crop = masks[y[0] : y[-1] + 1, x[0] : x[-1] + 1, i] > 0
            crops[i] = crop, (int(y[0]), int(x[0]))
    return crops


def tint(
    image: np.ndarray,
    crop: np.ndarray,
    corner: Sequence[int],
    color: Sequence[float],
    alpha: float = 0.45,
) -> None:
    """Mix `color` (RGB, 0..1) into `image` under a mask, in place.

    image: [height, width, 3 or more], 0..255; crop: the mask, [height, width] bool, its upper
    left pixel at `corner` (y, x). A pixel becomes image * (1 - alpha) + alpha * color * 255.
    """
    height, width = crop.shape
    window = image[corner[0] : corner[0] + height, corner[1] : corner[1] + width, :3]
    light = alpha * np.asarray(color[:3]) * 255
    for top in range(0, height, _STRIP):  # the mixture of a large mask would take 50 bytes a pixel
        part, mask = window[top : top + _STRIP], crop[top : top + _STRIP]
        part[mask] = part[mask] * (1 - alpha) + light


def lay_over(picture: np.ndarray, marks: np.ndarray, factor: int = 1) -> np.ndarray:
    """A picture with marks that are drawn on glass, so to say, laid over it.

    picture: [height, width, 3] uint8. marks: [height * factor, width * factor, RGBA] uint8.
    Returns [height * factor, width * factor, 3] uint8, each pixel of the picture enlarged; where
    factor is 1, the picture itself.
    """
    laid = picture if factor == 1 else picture.repeat(factor, axis=0).repeat(factor, axis=1)
    for top in range(0, len(laid), _STRIP):
        below, above = laid[top : top + _STRIP], marks[top : top + _STRIP]
        marked = above[..., 3] > 0
        color = above[marked].astype(np.float32)
        opaque = color[:, 3:] / 255
        below[marked] = np.rint(below[marked] * (1 - opaque) + color[:, :3] * opaque)
    return laid
