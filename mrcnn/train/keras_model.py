"""The Keras model that a user reaches as `model.keras_model`."""

import os
import warnings
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mrcnn.detect.forward import outside_graphs
from mrcnn.nn.replicas import mean_over_replicas
from mrcnn.weights.errors import WeightsError, WeightsWarning
from mrcnn.weights.layout import LoadReport, load_weights, save_weights

LOSS_NAMES = (
    "rpn_class_loss",
    "rpn_bbox_loss",
    "mrcnn_class_loss",
    "mrcnn_bbox_loss",
    "mrcnn_mask_loss",
)


@keras.saving.register_keras_serializable(package="mrcnn")
class KerasModel(keras.Model):
    """A functional model that reads and writes Matterport's `.h5` files.

    Keras 3 refuses to save weights under a name like `mask_rcnn_cells_0001.h5` and reads such
    files by the order of their layers; here they are read and written by name. Names that end in
    `.weights.h5` or `.keras` go to Keras.

    description: config and class names, written into the file; `MaskRCNN` keeps it.
    data: how the labels that it is trained on were read, for others to read theirs alike; it goes
        into the file too.
    """

    def save_weights(self, filepath: str | os.PathLike, *args: Any, **kwargs: Any) -> None:
        """Write all weights; `overwrite` and `save_format` of old Keras are accepted."""
        if str(filepath).endswith((".weights.h5", ".weights.json")):
            kwargs.pop("save_format", None)
            return super().save_weights(filepath, *args, **kwargs)
        description, data = getattr(self, "description", None), getattr(self, "data", None)
        if data:
            description = {**(description or {}), "data": dict(data)}
        outside_graphs(save_weights, self, filepath, description)

    def load_weights(
        self,
        filepath: str | os.PathLike,
        by_name: bool = False,
        skip_mismatch: bool = False,
        exclude: Any = None,
        **kwargs: Any,
    ) -> LoadReport:
        """Read weights by name, whatever program wrote them; see `MaskRCNN.load_weights`.

        skip_mismatch: leave out layers of another shape in the file, with a warning (Keras 2's);
            it allows a part of the model too. kwargs: others of old Keras are accepted.
        """
        read = partial(outside_graphs, load_weights, self, filepath)
        try:
            return read(exclude, by_name or skip_mismatch)
        except WeightsError as error:
            mismatched = error.report.mismatched if error.report else []
            if not (skip_mismatch and mismatched):
                raise
            layers = sorted({name.split("/")[0] for name in mismatched})
        warnings.warn(
            f"{os.fspath(filepath)} has other shapes for {', '.join(layers)}: they stay as they "
            "were (skip_mismatch).",
            WeightsWarning,
            stacklevel=2,
        )
        excluded = [exclude] if isinstance(exclude, str) else list(exclude or [])
        return read([*excluded, *layers], True)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Keras's `predict`, inside a server's `with graph.as_default():` too."""
        return outside_graphs(partial(super().predict, *args, **kwargs))

    def _make_predict_function(self) -> None:
        """Keras 2 wanted this called before a model was used from another thread; now nothing."""


@keras.saving.register_keras_serializable(package="mrcnn")
class TrainingModel(KerasModel):
    """A model whose last five outputs are the losses; it trains on inputs alone.

    `fit`, `train_on_batch(inputs, return_dict=True)` and `test_on_batch` report the five losses
    by name, "l2", and "loss", which is their weighted sum with l2. Pictures may come molded, or as
    uint8, which is molded here.

    loss_weights, weight_decay, mean_pixel: set by `prepare`.
    batch_image_ids, batch_loss: ids of the pictures of the last batch, from its image metas, and
        its loss; each device has its own.
    """

    def prepare(self, loss_weights: dict[str, float], weight_decay: float, mean_pixel: Any) -> None:
        """Set how the losses add up and what is subtracted from pictures of uint8.

        mean_pixel: one number, or one a channel. A second call replaces the first.
        """
        self.mean_pixel = np.asarray(mean_pixel, np.float64)
        self.loss_weights = {name: float(loss_weights.get(name, 1.0)) for name in LOSS_NAMES}
        self.weight_decay = float(weight_decay)
        self.trackers = {
            name: keras.metrics.Mean(name=name) for name in ("loss", *LOSS_NAMES, "l2")
        }
        self.batch_image_ids = tf.Variable(
            tf.zeros([0]), shape=[None], trainable=False, name="batch_image_ids"
        )
        self.batch_loss = tf.Variable(0.0, trainable=False, name="batch_loss")

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return list(self.trackers.values()) if "trackers" in self.__dict__ else []

    def losses_by_name(self, inputs: tuple, training: bool) -> dict[str, tf.Tensor]:
        """ "loss", the five losses and "l2", each a scalar."""
        images, *others = map(tf.convert_to_tensor, inputs)  # Keras refuses to mix in arrays
        outputs = self((self.molded(images), *others), training=training)
        losses = dict(zip(LOSS_NAMES, outputs[-len(LOSS_NAMES) :]))
        l2 = self.l2()
        total = sum(self.loss_weights[name] * loss for name, loss in losses.items()) + l2
        return {"loss": total, **losses, "l2": l2}

    def molded(self, images: tf.Tensor) -> tf.Tensor:
        """Pictures of uint8 with the mean pixel subtracted; others as they are.

        images: [batch, height, width, channels]; or bytes, 4 * channels, of float32 that is molded
        already, which `mrcnn.train.feed` passes where uint8 was agreed on.
        """
        if images.dtype != tf.uint8:
            return images
        channels = self.inputs[0].shape[-1]

        def subtracted() -> tf.Tensor:
            # As molded_batch does, to the last bit: in float64, and rounded once.
            return tf.cast(tf.cast(images, tf.float64) - self.mean_pixel, tf.float32)

        def unpacked() -> tf.Tensor:
            shape = [*tf.unstack(tf.shape(images)[:3]), channels, 4]
            return tf.bitcast(tf.reshape(images, shape), tf.float32)

        if images.shape[-1] == channels:
            return subtracted()
        raw = tf.equal(tf.shape(images)[-1], channels)
        return tf.ensure_shape(tf.cond(raw, subtracted, unpacked), [None, None, None, channels])

    def l2(self) -> tf.Tensor:
        """Weight decay over what is being trained, batch norm's scale and shift left out.

        NOTE: the mean of each tensor's squares counts, not their sum, as in the original.
        """
        decayed = [w for w in self.trainable_weights if w.name not in ("gamma", "beta")]
        means = [tf.reduce_mean(tf.square(tf.cast(w, tf.float32))) for w in decayed]
        return self.weight_decay * tf.add_n(means) if means else tf.constant(0.0)

    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Keras's; it reports this batch alone, where Keras before 3.15 goes on with a mean."""
        self.reset_metrics()
        return super().train_on_batch(*args, **kwargs)

    def test_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """As `train_on_batch`, and nothing moves."""
        self.reset_metrics()
        return super().test_on_batch(*args, **kwargs)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        inputs, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self._track(self.learn(inputs))

    def learn(self, inputs: tuple) -> dict[str, tf.Tensor]:
        """Move the weights once; the losses before, as `losses_by_name` has them."""
        with tf.GradientTape() as tape:
            losses = self.losses_by_name(inputs, training=True)
            # The optimiser adds up what all replicas give it, so each gives its share.
            replicas = tf.distribute.get_strategy().num_replicas_in_sync
            scaled = self.optimizer.scale_loss(losses["loss"] / replicas)
        weights = self.trainable_weights
        pairs = list(zip(tape.gradient(scaled, weights), weights))
        gradients, weights = zip(*(pair for pair in pairs if pair[0] is not None))
        # The same for each replica before they are clipped, as one device would clip them.
        self.optimizer.apply_gradients(zip(mean_over_replicas(gradients), weights))
        self.batch_image_ids.assign(tf.cast(inputs[1][:, 0], tf.float32))
        self.batch_loss.assign(losses["loss"])
        return losses

    def diverged_image_ids(self) -> list[int]:
        """Ids of the last batch's pictures on this machine's devices whose loss was no number."""
        here = self.distribute_strategy.experimental_local_results
        shares = zip(here(self.batch_image_ids), here(self.batch_loss))
        ids = [np.asarray(ids) for ids, loss in shares if not np.isfinite(loss)]
        return [int(x) for x in np.concatenate([*ids, []]) if x >= 0]  # -1: only fills up

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        inputs, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self._track(self.losses_by_name(inputs, training=False))

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Nothing: it is built. On several devices Keras would add up masks, which are bool."""

    def _track(self, losses: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        for name, loss in losses.items():
            self.trackers[name].update_state(loss)
        return {name: tracker.result() for name, tracker in self.trackers.items()}
