"""Anchors inside the graph: the twin of `mrcnn.geometry.anchors`, held equal by a test.

Training makes them here, from the maps themselves, so that they fit any picture size; inference
takes them as an input, as the original does.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mrcnn.config import Config
from mrcnn.geometry.anchors import generate_anchors
from mrcnn.nn.boxes import norm_boxes_graph


@keras.saving.register_keras_serializable(package="mrcnn")
class Anchors(keras.layers.Layer):
    """[image, P2, ..., P6] -> anchors [batch, num_anchors, (y1, x1, y2, x2)], normalised.

    config: where one is given, its RPN_ANCHOR_* and BACKBONE_STRIDES are read; else the others.
    Order: level, row, column, ratio, which is the order of the proposal network's outputs.
    """

    def __init__(
        self,
        config: Config | None = None,
        scales: tuple[float, ...] = (32, 64, 128, 256, 512),
        ratios: tuple[float, ...] = (0.5, 1, 2),
        strides: tuple[int, ...] = (4, 8, 16, 32, 64),
        anchor_stride: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        if config is not None:
            scales, ratios = config.RPN_ANCHOR_SCALES, config.RPN_ANCHOR_RATIOS
            strides, anchor_stride = config.BACKBONE_STRIDES, config.RPN_ANCHOR_STRIDE
        # Tuples: Keras wraps a list in an object that can't be copied into a config.
        self.scales = tuple(float(x) for x in scales)
        self.ratios = tuple(float(x) for x in ratios)
        self.strides = tuple(int(x) for x in strides)
        self.anchor_stride = int(anchor_stride)

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        image, *feature_maps = inputs
        levels = [
            self._level(tf.shape(feature_map)[1:3], scale, stride)
            for feature_map, scale, stride in zip(feature_maps, self.scales, self.strides)
        ]
        anchors = norm_boxes_graph(tf.concat(levels, axis=0), tf.shape(image)[1:3])
        return tf.tile(anchors[None], [tf.shape(image)[0], 1, 1])

    def _level(self, shape: tf.Tensor, scale: float, stride: int) -> tf.Tensor:
        """Pixel anchors of one level [height * width * ratios, 4]: one cell's, moved about."""
        cell = generate_anchors(scale, self.ratios, (1, 1), stride, 1)  # [ratios, 4]
        step = stride * self.anchor_stride
        y = tf.range(0, shape[0] * stride, step)
        x = tf.range(0, shape[1] * stride, step)
        y, x = (tf.reshape(grid, [-1]) for grid in tf.meshgrid(y, x, indexing="ij"))
        shift = tf.cast(tf.stack([y, x, y, x], axis=1), tf.float64)[:, None]  # [cells, 1, 4]
        return tf.cast(tf.reshape(shift + np.asarray(cell, np.float64), [-1, 4]), tf.float32)

    def compute_output_spec(self, inputs: list[Any]) -> keras.KerasTensor:
        return keras.KerasTensor((inputs[0].shape[0], None, 4), "float32")

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "scales": self.scales,
            "ratios": self.ratios,
            "strides": self.strides,
            "anchor_stride": self.anchor_stride,
        }
