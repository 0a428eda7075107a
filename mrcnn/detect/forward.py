"""The network as one traced function, with the anchors of the picture sizes that it meets."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mrcnn.config import Config
from mrcnn.detect.mold import Molded
from mrcnn.geometry.anchors import anchors_of_picture
from mrcnn.geometry.boxes import norm_boxes
from mrcnn.words import log


class Forward:
    """Runs molded pictures of any sizes through a Keras model, traced once."""

    SIZES = 4  # of pictures whose anchors are kept; those of 1024x1024 take 16 MB

    def __init__(self) -> None:
        self.anchor_cache: OrderedDict[tuple, tuple[np.ndarray, np.ndarray]] = OrderedDict()
        self.traced: tuple | None = None

    def __call__(
        self,
        keras_model: keras.Model,
        config: Config,
        batch: Molded,
        verbose: int = 0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """(detections, mrcnn_mask) of a batch.

        config: what the anchors follow from. verbose: 1 prints the arrays that go in.
        """
        if self.traced is None or self.traced[0] is not keras_model:
            self.traced = (keras_model, compiled_forward(keras_model))
        inputs = [batch.images, batch.metas, self.anchors_of_batch(batch.images, config)]
        if verbose:
            for name, array in zip(("molded_images", "image_metas", "anchors"), inputs):
                log(name, array)
        detections, _, _, mrcnn_mask, *_ = outside_graphs(self._run, self.traced[1], inputs)
        return detections.numpy(), mrcnn_mask.numpy()

    @staticmethod
    def _run(forward: Callable, inputs: Sequence[np.ndarray]) -> list[tf.Tensor]:
        return forward(*[tf.cast(x, tf.float32) for x in inputs])

    def anchors(self, image_shape: Sequence[int], config: Config) -> tuple[np.ndarray, np.ndarray]:
        """Anchors [num_anchors, (y1, x1, y2, x2)] of a molded picture: in pixels, normalised."""
        key = tuple(int(side) for side in image_shape)
        if key not in self.anchor_cache:
            anchors = anchors_of_picture(config, key)
            self.anchor_cache[key] = anchors, norm_boxes(anchors, key[:2])
            while len(self.anchor_cache) > self.SIZES:
                self.anchor_cache.popitem(last=False)
        self.anchor_cache.move_to_end(key)
        return self.anchor_cache[key]

    def anchors_of_batch(self, molded_images: np.ndarray, config: Config) -> np.ndarray:
        """The same anchors for each picture, normalised: [batch, num_anchors, 4], no copies."""
        _, anchors = self.anchors(molded_images.shape[1:], config)
        return np.broadcast_to(anchors, (len(molded_images), *anchors.shape))


def compiled_forward(keras_model: keras.Model) -> tf.types.experimental.GenericFunction:
    """The model as one traced function of float tensors with open batch, height and width.

    It is traced once and serves every picture size; calling the model itself would run it
    operation by operation, and `predict` would build a data pipeline for each call.
    """
    signature = [tf.TensorSpec(x.shape, tf.float32) for x in keras_model.inputs]

    @tf.function(input_signature=signature, autograph=False)
    def forward(*inputs: tf.Tensor) -> list[tf.Tensor]:
        return keras_model(list(inputs), training=False)

    return forward


def outside_graphs(function: Callable, *args: Any) -> Any:
    """Call a function eagerly, even where a server of old wrote `with graph.as_default():`.

    The default graph belongs to a thread, so another thread is free of it.
    """
    if tf.executing_eagerly():
        return function(*args)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *args).result()


def require_eager() -> None:
    """Raise RuntimeError where a script turned TensorFlow 2 back into TensorFlow 1."""
    if not outside_graphs(tf.executing_eagerly):
        raise RuntimeError(
            "TensorFlow runs without eager execution: delete the line with "
            "disable_v2_behavior() or disable_eager_execution(); nothing here needs it."
        )
