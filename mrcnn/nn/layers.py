"""Small layers that several stations use.

Shapes in this room
    BatchNorm    [batch, ...] -> the same
    WholeConv2D  [n, height, width, depth] -> [n, 1, 1, filters]
    RoiWise      [batch, num_rois, ...] -> [batch, num_rois, ...]
    NormBoxes    [batch, n, (y1, x1, y2, x2)], pixels -> normalised
"""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from mrcnn.nn.boxes import norm_boxes_graph


@keras.saving.register_keras_serializable(package="mrcnn")
class BatchNorm(keras.layers.BatchNormalization):
    """Keras's batch normalisation with one more setting, `train_bn`.

    train_bn: False: always with the stored mean and variance, in training too, for batches are
        too small to measure them; True: always with those of the batch; None: as usual in Keras.
        Scale and shift are trained in all three cases, as in the original.

    The setting lives in the layer, for Keras 3 forgets a `training=` that was written into a
    functional graph as soon as the model is called with another.
    """

    def __init__(self, train_bn: bool | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.train_bn = train_bn

    def call(self, inputs: tf.Tensor, training: bool | None = None, **kwargs: Any) -> tf.Tensor:
        if self.train_bn is not None:
            training = self.train_bn
        return super().call(inputs, training=training, **kwargs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "train_bn": self.train_bn}


@keras.saving.register_keras_serializable(package="mrcnn")
class WholeConv2D(keras.layers.Conv2D):
    """A convolution as large as its input, computed as the matrix product that it is.

    [n, height, width, depth] -> [n, 1, 1, filters]. On a processor its gradient takes a third of
    the time that the general one does.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        kernel = ops.reshape(self.kernel, (-1, self.filters))  # [height * width * depth, filters]
        x = ops.matmul(ops.reshape(inputs, (-1, kernel.shape[0])), kernel)
        if self.use_bias:
            x = ops.add(x, self.bias)
        return self.activation(ops.reshape(x, (-1, 1, 1, self.filters)))


@keras.saving.register_keras_serializable(package="mrcnn")
class RoiWise(keras.layers.Wrapper):
    """Apply a layer to each region: [batch, num_rois, ...] -> [batch, num_rois, ...].

    Folds the regions into the batch, so the graph holds the layer once. Keras 3's
    TimeDistributed would hold it once for each region, and batch normalisation inside it would
    see single regions. Weights carry the name of this wrapper, as they did in the original.
    """

    def build(self, input_shape: tuple) -> None:
        if not self.layer.built:
            self.layer.build((None, *input_shape[2:]))
        self.built = True

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        inner = self.layer.compute_output_shape((None, *input_shape[2:]))
        return (*input_shape[:2], *inner[1:])

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        batch, num_rois = tf.shape(inputs)[0], inputs.shape[1] or tf.shape(inputs)[1]
        options = {"training": training} if self.layer._call_has_training_arg else {}
        folded = tf.reshape(inputs, [-1, *inputs.shape[2:]])
        x = self.layer(folded, **options)  # [batch * num_rois, ...]
        return tf.reshape(x, [batch, num_rois, *x.shape[1:]])


@keras.saving.register_keras_serializable(package="mrcnn")
class NormBoxes(keras.layers.Layer):
    """[boxes in pixels, image] -> boxes normalised to that image."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        boxes, image = inputs
        return norm_boxes_graph(boxes, tf.shape(image)[1:3])

    def compute_output_shape(self, input_shape: list[tuple]) -> tuple:
        return input_shape[0]
