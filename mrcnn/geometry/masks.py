"""Masks in NumPy: resizing, the small masks that training stores, and pasting them back.

mask:      bool [height, width, num_instances], one plane for each instance
mini mask: bool [mini_height, mini_width, num_instances], cut to its box and resized
soft mask: float [mask_height, mask_width] of 0..1, what the mask head predicts inside a box
boxes:     int [num_instances, (y1, x1, y2, x2)] in pixels
"""

import math
from collections.abc import Sequence

import numpy as np
import skimage.transform

from mrcnn.config import Config
from mrcnn.geometry.boxes import extract_bboxes

MASK_THRESHOLD = 0.5  # a soft mask covers a pixel from this value on
_PIXELS_AT_ONCE = 1 << 20  # bounds a temporary array: 8 MB in float64


def compute_overlaps_masks(masks1: np.ndarray, masks2: np.ndarray) -> np.ndarray:
    """IoU of every mask in one list with every mask in another.

    masks1: [height, width, num_masks1]; masks2: [height, width, num_masks2]; pixels above 0.5
    count. Returns float32 [num_masks1, num_masks2]; 0 where both masks are empty.
    """
    shape = (masks1.shape[-1], masks2.shape[-1])
    if 0 in shape:
        return np.zeros(shape, np.float32)
    intersection, area1, area2 = np.zeros(shape), np.zeros(shape[0]), np.zeros(shape[1])
    # By strips of rows: a float copy of a hundred masks of a photograph would take gigabytes.
    rows_at_once = max(1, _PIXELS_AT_ONCE // (masks1.shape[1] * max(shape)))
    for top in range(0, len(masks1), rows_at_once):
        strip1 = _pixels_above_half(masks1[top : top + rows_at_once])  # [num_pixels, num_masks1]
        strip2 = _pixels_above_half(masks2[top : top + rows_at_once])  # [num_pixels, num_masks2]
        intersection += strip1.T @ strip2
        area1 += strip1.sum(axis=0)
        area2 += strip2.sum(axis=0)
    union = area1[:, np.newaxis] + area2 - intersection
    return (intersection / np.maximum(union, 1)).astype(np.float32)


_VALUES_AT_ONCE = 1 << 15  # of a resized picture: 256 kB in float64

# order, mode, cval, clip, preserve_range, anti_aliasing: what pictures and masks are resized with.
_PLAIN = (1, "constant", 0, True, True, False)


def resize(
    image: np.ndarray,
    output_shape: Sequence[int],
    order: int = 1,
    mode: str = "constant",
    cval: float = 0,
    clip: bool = True,
    preserve_range: bool = False,
    anti_aliasing: bool = False,
    anti_aliasing_sigma: float | None = None,
) -> np.ndarray:
    """`skimage.transform.resize` with the defaults that the network was trained with.

    image: [height, width] or [height, width, channels]; bool counts as 0.0 and 1.0.
    output_shape: (height, width) in pixels. Returns float of that size; integers are scaled to
    0..1 unless preserve_range.
    """
    counted = image.dtype in (np.bool_, np.uint8)  # no NaN to think of
    preserve_range = preserve_range or image.dtype == bool
    plain = (order, mode, cval, clip, preserve_range, anti_aliasing) == _PLAIN
    if plain and counted and image.size and len(output_shape) == 2:
        return _bilinear(image.view(np.uint8), output_shape)
    if image.dtype == bool:
        image = image.astype(np.float64)
    return skimage.transform.resize(
        image,
        output_shape,
        order=order,
        mode=mode,
        cval=cval,
        clip=clip,
        preserve_range=preserve_range,
        anti_aliasing=anti_aliasing,
        anti_aliasing_sigma=anti_aliasing_sigma,
    )


def _bilinear(image: np.ndarray, output_shape: Sequence[int]) -> np.ndarray:
    """`skimage.transform.resize` with the values of _PLAIN, to the last bit, many times as fast.

    That calls scipy's zoom, which goes through a general loop for every pixel and channel. A test
    holds the two equal. Here whole rows are worked on, so many at a time that they stay in a
    processor's own memory.
    """
    height, width = output_shape
    depth = math.prod(image.shape[2:])
    (y, down), (x, right) = (
        _between(np.arange(new_size), new_size, size)
        for size, new_size in zip(image.shape, (height, width))
    )
    framed = np.zeros((image.shape[0] + 2, (image.shape[1] + 2) * depth), np.uint8)
    framed[1:-1, depth:-depth] = image.reshape(len(image), -1)  # beyond the border lies black
    columns = (x[:, None] * depth + np.arange(depth)).ravel()  # [width * depth]
    down, right = down[:, None], right.repeat(depth)
    low, high = image.min(), image.max()
    result = np.empty((height, width * depth))
    step = max(1, _VALUES_AT_ONCE // max(result.shape[1], framed.shape[1]))
    for start in range(0, height, step):
        out, above, share = (a[start : start + step] for a in (result, y, down))
        # As scipy's: the last share is what the others leave of 1, which may differ in the last
        # bit, and the four parts are added in this order.
        upper, lower = framed[above] * (1 - share), framed[above + 1] * (1 - (1 - share))
        np.multiply(np.take(upper, columns, axis=1), 1 - right, out=out)
        out += np.take(upper, columns + depth, axis=1) * (1 - (1 - right))
        out += np.take(lower, columns, axis=1) * (1 - right)
        out += np.take(lower, columns + depth, axis=1) * (1 - (1 - right))
        black = None if low <= 0 <= high else out == 0
        np.clip(out, low, high, out=out)
        if black is not None:
            out[black] = 0
    return result.reshape(height, width, *image.shape[2:])


def resize_mask(
    mask: np.ndarray,
    scale: float,
    padding: Sequence[Sequence[int]],
    crop: Sequence[int] | None = None,
) -> np.ndarray:
    """Give masks the scale, padding and crop that `resize_image` gave their picture.

    mask: [height, width, num_instances]; scale, padding, crop: as `resize_image` returned them.
    Returns masks of the resized picture's height and width, dtype unchanged.
    """
    if scale != 1:
        rows, columns = (_nearest_source(side, scale) for side in mask.shape[:2])
        mask = mask[rows][:, columns]
    if crop is not None:
        y, x, height, width = crop
        return mask[y : y + height, x : x + width]
    if not np.any(padding):
        return mask
    return np.pad(mask, padding, mode="constant", constant_values=0)


def mask_sources(
    shape: Sequence[int],
    scale: float,
    padding: Sequence[Sequence[int]],
    crop: Sequence[int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Where `resize_mask` takes each pixel from.

    shape: (height, width, ...) of the masks. scale, padding, crop: as for `resize_mask`.
    Returns rows [new_height] and columns [new_width] of the masks; -1 in the padding.
    """
    sources = []
    for axis, size in enumerate(shape[:2]):
        source = _nearest_source(size, scale) if scale != 1 else np.arange(size)
        if crop is not None:
            sources.append(source[crop[axis] : crop[axis] + crop[axis + 2]])
        else:
            sources.append(np.pad(source, padding[axis], constant_values=-1))
    return tuple(sources)


def minimize_mask(bbox: np.ndarray, mask: np.ndarray, mini_shape: Sequence[int]) -> np.ndarray:
    """Cut masks to their boxes and resize them to one small shape, which saves memory.

    bbox: [num_instances, (y1, x1, y2, x2)] in pixels; mask: [height, width, num_instances].
    mini_shape: (height, width). Returns bool [mini_height, mini_width, num_instances].
    Raises ValueError for a box without area.
    """
    mini_mask = np.zeros((*mini_shape[:2], mask.shape[-1]), bool)
    for i in range(mask.shape[-1]):
        y1, x1, y2, x2 = bbox[i][:4]
        inside = mask[y1:y2, x1:x2, i].astype(bool)  # [box_height, box_width]
        if inside.size == 0:
            raise ValueError(
                f"The box of instance {i}, {[y1, x1, y2, x2]}, has no area inside the mask of "
                f"{mask.shape[0]}x{mask.shape[1]}: drop the instance, or compute its box with "
                "extract_bboxes."
            )
        mini_mask[:, :, i] = shrink_mask(inside, mini_shape)
    return mini_mask


def shrink_mask(inside: np.ndarray, mini_shape: Sequence[int]) -> np.ndarray:
    """One mini mask. inside: bool [box_height, box_width], the mask in its box.

    mini_shape: (height, width). Returns bool [mini_height, mini_width].
    """
    # In one piece of memory it is resized faster.
    return np.around(resize(np.ascontiguousarray(inside), mini_shape[:2])).astype(bool)


def expand_mask(bbox: np.ndarray, mini_mask: np.ndarray, image_shape: Sequence[int]) -> np.ndarray:
    """Put mini masks back into full size; the inverse of `minimize_mask` up to its rounding.

    bbox: [num_instances, (y1, x1, y2, x2)] in pixels, inside the picture.
    mini_mask: [mini_height, mini_width, num_instances]; image_shape: (height, width, ...).
    Returns bool [height, width, num_instances]; a box without area gives an empty mask.
    """
    masks = np.zeros((mini_mask.shape[-1], *image_shape[:2]), bool)
    for i in range(mini_mask.shape[-1]):
        y1, x1, y2, x2 = bbox[i][:4]
        if y2 > y1 and x2 > x1:
            inside = resize(mini_mask[:, :, i].astype(bool), (y2 - y1, x2 - x1))
            masks[i, y1:y2, x1:x2] = np.around(inside)
    return masks.transpose(1, 2, 0)


def mold_mask(mask: np.ndarray, config: Config) -> np.ndarray:
    """The mask head's target for a mask: cut to its box and resized to `config.MASK_SHAPE`.

    mask: [height, width], nonzero where the instance is. The original left this one empty; here
    it is the inverse of `unmold_mask` with the box from `extract_bboxes`.
    Returns float32 [mask_height, mask_width] of 0..1; zeros for an empty mask.
    """
    y1, x1, y2, x2 = extract_bboxes(mask[:, :, np.newaxis])[0]
    if y2 == y1:
        return np.zeros(tuple(config.MASK_SHAPE), np.float32)
    return resize(mask[y1:y2, x1:x2].astype(bool), config.MASK_SHAPE).astype(np.float32)


def unmold_mask(mask: np.ndarray, bbox: np.ndarray, image_shape: Sequence[int]) -> np.ndarray:
    """Turn one predicted soft mask into a mask of the whole picture.

    mask: float [mask_height, mask_width] of 0..1; bbox: [(y1, x1, y2, x2)] in pixels.
    image_shape: (height, width, ...). Returns bool [height, width]; see `paste_masks`.
    """
    return paste_masks(mask[np.newaxis], np.asarray(bbox)[np.newaxis], image_shape)[:, :, 0]


def paste_masks(masks: np.ndarray, boxes: np.ndarray, image_shape: Sequence[int]) -> np.ndarray:
    """Turn predicted soft masks into masks of the whole picture.

    masks: float [num_instances, mask_height, mask_width] of 0..1.
    boxes: int [num_instances, (y1, x1, y2, x2)] in pixels. A box may reach outside the picture,
    where its mask is cut off; a box without area gives an empty mask.
    image_shape: (height, width, ...).
    Returns bool [height, width, num_instances]: the mask, resized to its box by bilinear
    interpolation with zeros outside, is at least 0.5. Same as `resize`, pixel for pixel.
    """
    height, width = image_shape[:2]
    # Instances first: each one lies in one piece of memory, and the operating system commits
    # only the pages that a box touches.
    pasted = np.zeros((len(masks), height, width), bool)
    precision = np.result_type(masks.dtype, np.float32)
    for mask, box, plane in zip(masks, boxes, pasted):
        y1, x1, y2, x2 = (int(side) for side in box[:4])
        top, left, bottom, right = max(y1, 0), max(x1, 0), min(y2, height), min(x2, width)
        if bottom <= top or right <= left:
            continue
        # NOTE: at its rim a mask fades into the zeros outside; but skimage, and so the original,
        # lets no value drop below the least of the mask: one that is 0.5 all over fills its box.
        if mask.min() >= MASK_THRESHOLD:
            plane[top:bottom, left:right] = True
            continue
        # Bilinear interpolation is separable: one small matrix for the rows, one for the columns.
        rows = _interpolation(np.arange(top, bottom) - y1, y2 - y1, mask.shape[0]) @ mask
        columns = _interpolation(np.arange(left, right) - x1, x2 - x1, mask.shape[1]).T
        step = max(1, _PIXELS_AT_ONCE // (right - left))
        for start in range(0, bottom - top, step):
            # NOTE: rounded to the mask's own precision, as skimage does, before the comparison:
            # half way between 0.3 and 0.7 lies 0.5 in float32, and a little less in float64.
            soft = (rows[start : start + step] @ columns).astype(precision)
            plane[top + start : top + start + len(soft), left:right] = soft >= MASK_THRESHOLD
    return pasted.transpose(1, 2, 0)


def _pixels_above_half(masks: np.ndarray) -> np.ndarray:
    return (masks > 0.5).astype(np.float32).reshape(-1, masks.shape[-1])


def _interpolation(positions: np.ndarray, new_size: int, old_size: int) -> np.ndarray:
    """Weights [num_positions, old_size] that interpolate old_size samples at some of new_size.

    Beyond the ends the samples are 0, so that the weights there sum to less than 1.
    """
    before, share = _between(positions, new_size, old_size)
    weights = np.zeros((len(positions), old_size + 2))  # one sample of zeros at either end
    index = np.arange(len(positions))
    weights[index, before] = 1 - share
    weights[index, before + 1] = share
    return weights[:, 1:-1]


def _between(positions: np.ndarray, new_size: int, old_size: int) -> tuple[np.ndarray, np.ndarray]:
    """The two of old_size samples that each of new_size lies between: the index of the first, and
    how far it is from there to the second, 0..1.

    Both rows of samples span the same length and lie at the centers of their cells. Indices count
    from a sample beyond the end.
    """
    source = (positions + 0.5) * (old_size / new_size) - 0.5  # [num_positions]
    before = np.floor(source)
    return before.astype(np.int64) + 1, source - before


def _nearest_source(size: int, scale: float) -> np.ndarray:
    # NOTE: nearest neighbour between the centers of the corner pixels, while the picture is
    # resized between its edges: up to half a pixel apart, as in the original, whose weights
    # have learned it.
    # NOTE: the last sample is the last pixel. In scipy's zoom, which the original calls, it falls
    # outside by an ulp at some scales, and the mask then loses its last row.
    new_size = round(size * scale)
    step = (size - 1) / (new_size - 1) if new_size > 1 else 0.0
    source = np.floor(np.arange(new_size) * step + 0.5).astype(np.int64)
    return np.minimum(source, size - 1)
