"""Small layers that several stations use.

Shapes in this room
    BatchNorm    [batch, ...] -> the same
    WholeConv2D  [n, height, width, depth] -> [n, 1, 1, filters]
    SparselyTaughtConv2D  [batch, height, width, depth] -> [batch, height', width', filters]
    RoiWise      [batch, num_rois, ...] -> [batch, num_rois, ...]
    NormBoxes    [batch, n, (y1, x1, y2, x2)], pixels -> normalised
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from mrcnn.config import PRECISIONS
from mrcnn.nn.boxes import norm_boxes_graph


@contextlib.contextmanager
def precision(mixed: bool | str) -> Iterator[None]:
    """Layers made in this block compute as MIXED_PRECISION asks; Keras's policy stays as it was."""
    policy = keras.config.dtype_policy()
    if PRECISIONS[mixed]:
        keras.config.set_dtype_policy(PRECISIONS[mixed])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


@keras.saving.register_keras_serializable(package="mrcnn")
class BatchNorm(keras.layers.BatchNormalization):
    """Keras's batch normalisation with one more setting, `train_bn`.

    train_bn: False: always with the stored mean and variance, in training too, for batches are
        too small to measure them; True: always with those of the batch; None: as usual in Keras.
        Scale and shift are trained in all three cases, as in the original.

    The setting lives in the layer, for Keras 3 forgets a `training=` that was written into a
    functional graph as soon as the model is called with another. Devices that share a batch measure
    its mean and variance together.
    """

    def __init__(self, train_bn: bool | None = None, **kwargs: Any) -> None:
        shared = tf.distribute.get_strategy().num_replicas_in_sync > 1
        super().__init__(**{"synchronized": shared, **kwargs})
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
class SparselyTaughtConv2D(keras.layers.Conv2D):
    """A "same" convolution for an output of which the loss reads few cells.

    The gradient of all the others is zero, so its two convolutions need to be worked out at the
    few alone: the same numbers, for hardly any time. A loss that reads many gets the usual ones.
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        if not training:
            return super().call(inputs)
        x = _sparsely_taught(inputs, tf.convert_to_tensor(self.kernel), self.strides)
        return self.activation(tf.nn.bias_add(x, tf.convert_to_tensor(self.bias)))


def _sparsely_taught(x: tf.Tensor, kernel: tf.Tensor, strides: tuple[int, int]) -> tf.Tensor:
    """The convolution of x [batch, height, width, depth] with kernel [kh, kw, depth, filters]."""
    options = {"strides": [1, *strides, 1], "padding": "SAME"}

    @tf.custom_gradient
    def convolve(x: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Any]:
        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            taught = tf.reduce_any(upstream != 0, axis=-1)  # [batch, height', width']
            cells = tf.where(taught)  # [n, (picture, y, x)]
            few = tf.size(cells) // 3 <= tf.size(taught) // 4
            return tf.cond(few, lambda: at_cells(upstream, cells), lambda: everywhere(upstream))

        def everywhere(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            raw, x_shape, kernel_shape = tf.raw_ops, tf.shape(x), tf.shape(kernel)
            return (
                raw.Conv2DBackpropInput(
                    input_sizes=x_shape, filter=kernel, out_backprop=upstream, **options
                ),
                raw.Conv2DBackpropFilter(
                    input=x, filter_sizes=kernel_shape, out_backprop=upstream, **options
                ),
            )

        def at_cells(upstream: tf.Tensor, cells: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            shape, (kh, kw, depth, filters) = tf.shape(x, tf.int64), kernel.shape
            rows = _same_padding(shape[1], kh, strides[0])
            columns = _same_padding(shape[2], kw, strides[1])
            padded = tf.pad(x, [[0, 0], rows, columns, [0, 0]])
            steps = tf.constant([[0, i, j] for i in range(kh) for j in range(kw)], tf.int64)
            seen = (cells * [1, *strides])[:, None] + steps  # [n, kh * kw, (picture, y, x)]

            patches = tf.reshape(tf.gather_nd(padded, seen), [-1, kh * kw * depth])
            upstream = tf.gather_nd(upstream, cells)  # [n, filters]
            to_kernel = tf.matmul(patches, upstream, transpose_a=True)
            weights = tf.reshape(kernel, [-1, filters])
            to_patches = tf.matmul(upstream, weights, transpose_b=True)
            to_padded = tf.scatter_nd(
                seen, tf.reshape(to_patches, [-1, kh * kw, depth]), tf.shape(padded, tf.int64)
            )
            top, left = rows[0], columns[0]
            to_x = to_padded[:, top : top + shape[1], left : left + shape[2]]
            return to_x, tf.reshape(to_kernel, kernel.shape)

        return tf.nn.conv2d(x, kernel, **options), gradient

    return convolve(x, kernel)


def _same_padding(size: tf.Tensor, kernel: int, stride: int) -> tuple[tf.Tensor, tf.Tensor]:
    """How many zeros TensorFlow's "same" padding puts before and after a side."""
    missing = tf.maximum((-(-size // stride) - 1) * stride + kernel - size, 0)
    return missing // 2, missing - missing // 2


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
