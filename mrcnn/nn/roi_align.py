"""ROIAlign over a pyramid: cut every region out of the level that suits its size.

Shapes in this room (R: regions of a picture)
    boxes           [batch, R, (y1, x1, y2, x2)], normalised
    image_meta      [batch, 12 + num_classes]
    feature_maps    P2, P3, P4, P5, each [batch, height, width, depth]
    pooled          [batch, R, pool_height, pool_width, depth]
"""

from typing import Any

import keras
import tensorflow as tf

from mrcnn.nn.boxes import log2_graph, parse_image_meta_graph


@keras.saving.register_keras_serializable(package="mrcnn")
class PyramidROIAlign(keras.layers.Layer):
    """[boxes, image_meta, P2, P3, P4, P5] -> regions on one grid (He et al. 2017, section 3).

    pool_shape: (height, width) of the grid.

    NOTE: one bilinear sample stands for each bin, at the corners of the grid, as in the original;
    the paper averages four. Old weights are made for it.
    """

    def __init__(self, pool_shape: tuple[int, int], **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.supports_jit = False  # XLA has no kernel for crop_and_resize
        self.pool_shape = tuple(int(side) for side in pool_shape)

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        boxes, image_meta, *feature_maps = inputs
        batch, num_rois = tf.shape(boxes)[0], tf.shape(boxes)[1]
        levels = tf.reshape(roi_levels(boxes, image_meta), [-1])  # [batch * R]
        pictures = tf.repeat(tf.range(batch), num_rois)
        flat_boxes = tf.stop_gradient(tf.reshape(boxes, [-1, 4]))
        # crop_and_resize refuses NaN; the loss of a run that diverged is to say so, by name.
        flat_boxes = tf.where(tf.math.is_finite(flat_boxes), flat_boxes, 0.0)

        pooled, origins = [], []
        for level, feature_map in enumerate(feature_maps, start=2):
            here = tf.where(levels == level)[:, 0]
            crops = tf.image.crop_and_resize(
                feature_map,
                tf.gather(flat_boxes, here),
                tf.gather(pictures, here),
                self.pool_shape,
            )
            pooled.append(crops)
            origins.append(here)
        order = tf.math.invert_permutation(tf.concat(origins, axis=0))
        pooled = tf.gather(tf.concat(pooled, axis=0), order)  # in the order of the boxes again
        num_rois = boxes.shape[1] or num_rois
        return tf.reshape(pooled, [batch, num_rois, *self.pool_shape, feature_maps[0].shape[-1]])

    def compute_output_shape(self, input_shape: list[tuple]) -> tuple:
        return (*input_shape[0][:2], *self.pool_shape, input_shape[2][-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pool_shape": self.pool_shape}


def roi_levels(boxes: tf.Tensor, image_meta: tf.Tensor) -> tf.Tensor:
    """The pyramid level, 2..5, for each box (Lin et al. 2017, equation 1, k0 = 4).

    boxes: [batch, R, 4] normalised. Returns int32 [batch, R]. A box of 224x224 pixels belongs to
    P4, one of half that side to P3; an empty or inverted box, or one of NaN, goes to P2.
    """
    y1, x1, y2, x2 = tf.unstack(boxes, axis=-1)
    image_shape = parse_image_meta_graph(image_meta)["image_shape"]
    image_area = tf.cast(image_shape[:, 0] * image_shape[:, 1], tf.float32)[:, None]
    side = tf.sqrt((y2 - y1) * (x2 - x1)) / (224.0 / tf.sqrt(image_area))
    # The logarithm of 0 is -inf, the root of an inverted box's area NaN, and casting either to an
    # integer is undefined.
    level = 4 + tf.round(log2_graph(tf.where(side > 1e-6, side, 1e-6)))
    return tf.cast(tf.clip_by_value(level, 2, 5), tf.int32)
