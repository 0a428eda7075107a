"""Anchors: the reference boxes at every cell of the feature pyramid (Ren et al. 2015, 3.1.1).

anchors:  float64 [num_anchors, (y1, x1, y2, x2)] in pixels of the network's picture; they may
          reach outside it. Order: level, row, column, ratio; the RPN's outputs follow it.
"""

from collections.abc import Sequence

import numpy as np

from mrcnn.config import Config, Numbers, function_of


def compute_backbone_shapes(config: Config, image_shape: Sequence[int]) -> np.ndarray:
    """Heights and widths of the pyramid's feature maps for a picture.

    image_shape: (height, width, ...) in pixels.
    Returns int64 [num_levels, (height, width)], or what `config.COMPUTE_BACKBONE_SHAPE` returns
    where that is a function.
    """
    compute = function_of(config, "COMPUTE_BACKBONE_SHAPE")
    if compute is not None:
        return compute(image_shape)
    strides = np.asarray(config.BACKBONE_STRIDES)[:, np.newaxis]  # [num_levels, 1]
    return np.ceil(np.asarray(image_shape)[:2] / strides).astype(np.int64)


def generate_anchors(
    scales: float | Numbers,
    ratios: Numbers,
    shape: Sequence[int],
    feature_stride: int,
    anchor_stride: int,
) -> np.ndarray:
    """Anchors of one pyramid level.

    scales: side of the square anchor in pixels, one or several.
    ratios: width / height of the anchors; each has the area of the square one.
    shape: (height, width) of the feature map, in cells.
    feature_stride: pixels between two cells.
    anchor_stride: 1 for anchors in every cell, 2 for every other one.
    Returns float64 [num_anchors, (y1, x1, y2, x2)] in pixels, by row, column, ratio, scale.
    """
    scales, ratios = np.ravel(scales), np.ravel(ratios)[:, np.newaxis]
    heights, widths = scales / np.sqrt(ratios), scales * np.sqrt(ratios)  # [num_ratios, num_scales]
    sizes = np.stack([heights.ravel(), widths.ravel()], axis=1)  # [anchors_per_cell, 2]

    rows = np.arange(0, shape[0], anchor_stride) * feature_stride
    columns = np.arange(0, shape[1], anchor_stride) * feature_stride
    centers = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1)  # [rows, columns, 2]
    centers = centers[:, :, np.newaxis]  # [rows, columns, 1, 2]
    corners = [centers - 0.5 * sizes, centers + 0.5 * sizes]
    return np.concatenate(corners, axis=-1).reshape(-1, 4)


def generate_pyramid_anchors(
    scales: Numbers,
    ratios: Numbers,
    feature_shapes: Sequence[Sequence[int]] | np.ndarray,
    feature_strides: Numbers,
    anchor_stride: int,
) -> np.ndarray:
    """Anchors of all pyramid levels, the finest level first (Lin et al. 2017, FPN, 4.1).

    scales, feature_shapes, feature_strides: one entry for each level; see `generate_anchors`.
    Returns float64 [num_anchors, (y1, x1, y2, x2)] in pixels.
    """
    levels = zip(scales, feature_shapes, feature_strides)
    return np.concatenate(
        [
            generate_anchors(scale, ratios, shape, stride, anchor_stride)
            for scale, shape, stride in levels
        ]
    )


def anchors_of_picture(config: Config, image_shape: Sequence[int]) -> np.ndarray:
    """The anchors that a config puts on a picture of the network's size.

    image_shape: (height, width, ...) in pixels.
    Returns float64 [num_anchors, (y1, x1, y2, x2)] in pixels.
    """
    return generate_pyramid_anchors(
        config.RPN_ANCHOR_SCALES,
        config.RPN_ANCHOR_RATIOS,
        compute_backbone_shapes(config, image_shape),
        config.BACKBONE_STRIDES,
        config.RPN_ANCHOR_STRIDE,
    )
