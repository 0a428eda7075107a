"""The network as one traced function, with the anchors of the picture sizes that it meets."""

import contextlib
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mrcnn.config import Config
from mrcnn.detect.memory import out_of_memory
from mrcnn.detect.mold import Molded
from mrcnn.geometry.anchors import anchors_of_picture
from mrcnn.geometry.boxes import norm_boxes
from mrcnn.words import log

_MEMORY = re.compile(r"\bOOM\b|out of memory|bad_alloc|failed to allocate|can't allocate", re.I)


class Forward:
    """Runs molded pictures of any sizes through a Keras model, traced once."""

    SIZES = 4  # of pictures whose anchors are kept, as long as they take no more than ..
    BYTES = 64 << 20  # .. this; those of 1024x1024 take 12 MB

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
        Raises MemoryError, naming the setting, where TensorFlow runs out of memory.
        """
        if self.traced is None or self.traced[0] is not keras_model:
            self.traced = (keras_model, compiled_forward(keras_model))
        inputs = [batch.images, batch.metas, self.anchors_of_batch(batch.images, config)]
        if verbose:
            for name, array in zip(("molded_images", "image_metas", "anchors"), inputs):
                log(name, array)
        try:
            outputs = outside_graphs(self._run, self.traced[1], inputs)
        except tf.errors.OpError as error:
            # TensorFlow names the tensor and half the graph; its allocators differ in the kind.
            if not isinstance(error, tf.errors.ResourceExhaustedError) and not _MEMORY.search(
                error.message
            ):
                raise
            size = batch.images.shape[1:3]
            raise MemoryError(out_of_memory(size, len(batch.images), config)) from None
        detections, _, _, mrcnn_mask, *_ = outputs
        return detections.numpy(), mrcnn_mask.numpy()

    @staticmethod
    def _run(forward: Callable, inputs: Sequence[np.ndarray]) -> list[tf.Tensor]:
        return forward(*[tf.cast(x, tf.float32) for x in inputs])

    def anchors(self, image_shape: Sequence[int], config: Config) -> tuple[np.ndarray, np.ndarray]:
        """Anchors [num_anchors, (y1, x1, y2, x2)] of a molded picture: in pixels, normalised."""
        key, cache = tuple(int(side) for side in image_shape), self.anchor_cache
        found = cache.get(key)
        if found is None:
            anchors = anchors_of_picture(config, key)
            found = anchors, norm_boxes(anchors, key[:2])
        cache[key] = found
        with contextlib.suppress(KeyError):  # threads may share a model, and drop each other's
            cache.move_to_end(key)
            while len(cache) > self.SIZES or (len(cache) > 1 and _bytes(cache) > self.BYTES):
                cache.popitem(last=False)
        return found

    def anchors_of_batch(self, molded_images: np.ndarray, config: Config) -> np.ndarray:
        """The same anchors for each picture, normalised: [batch, num_anchors, 4], no copies."""
        _, anchors = self.anchors(molded_images.shape[1:], config)
        return np.broadcast_to(anchors, (len(molded_images), *anchors.shape))


def _bytes(cache: OrderedDict) -> int:
    return sum(array.nbytes for arrays in list(cache.values()) for array in arrays)


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
