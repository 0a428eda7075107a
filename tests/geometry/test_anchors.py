from types import SimpleNamespace

import numpy as np

from mrcnn.config import Config
from mrcnn.geometry.anchors import (
    compute_backbone_shapes,
    generate_anchors,
    generate_pyramid_anchors,
)


def test_anchors_by_hand():
    anchors = generate_anchors(8, [1, 4], (1, 2), feature_stride=16, anchor_stride=1)
    square, wide = np.array([-4, -4, 4, 4]), np.array([-2, -8, 2, 8])
    right = np.array([0, 16, 0, 16])
    np.testing.assert_array_equal(anchors, [square, wide, square + right, wide + right])


def test_pyramid_is_its_levels_in_order():
    shapes = [(4, 4), (2, 2)]
    pyramid = generate_pyramid_anchors((8, 16), [1], shapes, [4, 8], anchor_stride=2)
    fine = generate_anchors(8, [1], (4, 4), 4, 2)
    coarse = generate_anchors(16, [1], (2, 2), 8, 2)
    np.testing.assert_array_equal(pyramid, np.concatenate([fine, coarse]))


def test_a_side_that_no_stride_divides_is_rounded_up():
    shapes = compute_backbone_shapes(Config(), (100, 64, 3))
    assert shapes.tolist() == [[25, 16], [13, 8], [7, 4], [4, 2], [2, 1]]


def test_own_backbone_says_its_shapes():
    config = SimpleNamespace(COMPUTE_BACKBONE_SHAPE=lambda image_shape: [image_shape[:2]])
    assert compute_backbone_shapes(config, (100, 64, 3)) == [(100, 64)]
