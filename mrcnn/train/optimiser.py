"""Which layers train, how the weights move, and how fast over time."""

import re
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mrcnn.config import Config, ConfigError
from mrcnn.weights.names import LAYER_PATTERNS as LAYERS


def set_trainable(model: keras.Model, layer_regex: str) -> list[keras.layers.Layer]:
    """Let the layers train whose whole name matches, freeze the others; returns the former.

    Nested models are gone into; their layers count by their own names.
    Raises ValueError where the expression is none, or matches no layer that owns weights.
    """
    try:
        pattern = re.compile(layer_regex)
    except re.error as error:
        raise ValueError(f"layers is {layer_regex!r}, no regular expression: {error}.") from None
    trained = _set_trainable(model, pattern)
    if not trained:
        raise ValueError(
            f"layers is {layer_regex!r}, which matches no layer: give one of "
            f"{', '.join(LAYERS)}, or a regular expression that matches whole layer names."
        )
    return trained


def _set_trainable(model: keras.Model, pattern: re.Pattern) -> list[keras.layers.Layer]:
    trained = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            trained += _set_trainable(layer, pattern)
        elif layer.weights:
            layer.trainable = bool(pattern.fullmatch(layer.name))
            trained += [layer] if layer.trainable else []
    return trained


def make_optimizer(
    config: Config, learning_rate: Any, momentum: float
) -> keras.optimizers.Optimizer:
    """SGD with momentum and a bound on the global norm of the gradients.

    NOTE: the original asked Keras 2.0 for `clipnorm`, which bounded the global norm then; under
    that name TensorFlow 2 bounds each tensor alone.
    Raises ConfigError for ACCUMULATE_GRADIENTS on several devices.
    """
    steps = config.ACCUMULATE_GRADIENTS
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if steps > 1 and replicas > 1:
        raise ConfigError(
            f"ACCUMULATE_GRADIENTS is {steps}, which Keras does on one device only, and {replicas} "
            "share the batch here: set it to 1, for a batch of several devices is larger already."
        )
    # Each replica has its share of the whole batch's gradient, and clips it by its share.
    clip = (config.GRADIENT_CLIP_NORM or 0) / replicas
    return (keras.optimizers.SGD if replicas == 1 else SharedSGD)(
        learning_rate=learning_rate,
        momentum=momentum,
        global_clipnorm=clip or None,
        gradient_accumulation_steps=steps if steps > 1 else None,
    )


@keras.saving.register_keras_serializable(package="mrcnn")
class SharedSGD(keras.optimizers.SGD):
    """SGD for devices that have the same gradients already, each its share of the whole.

    Keras would send them over once more to add them up, after it has clipped them.
    """

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> list[tuple]:
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        return [(x if x is None else x * replicas, variable) for x, variable in grads_and_vars]


def schedule(config: Config, learning_rate: float, epochs: int) -> Any:
    """The learning rate over so many epochs, as the config has it: a number or a Keras schedule."""
    total, warmup = epochs * config.STEPS_PER_EPOCH, config.WARMUP_STEPS
    if config.LEARNING_RATE_SCHEDULE == "constant" and not warmup:
        return learning_rate
    return WarmedUp(learning_rate, total, warmup, config.LEARNING_RATE_SCHEDULE)


@keras.saving.register_keras_serializable(package="mrcnn")
class WarmedUp(keras.optimizers.schedules.LearningRateSchedule):
    """A line up over `warmup` steps, then constant, a cosine down to 0, or two drops to a tenth."""

    def __init__(self, peak: float, total: int, warmup: int, shape: str) -> None:
        self.peak, self.total, self.warmup, self.shape = peak, total, warmup, shape

    def __call__(self, step: Any) -> Any:
        ops = keras.ops
        step = ops.cast(step, "float32")
        progress = ops.clip((step - self.warmup) / max(self.total - self.warmup, 1), 0.0, 1.0)
        factor = ops.ones_like(progress)
        if self.shape == "cosine":
            factor = 0.5 * (1 + ops.cos(np.pi * progress))
        elif self.shape == "step":
            late, last = ops.cast(progress >= 2 / 3, "float32"), progress >= 8 / 9
            factor = 0.1 ** (late + ops.cast(last, "float32"))
        rise = ops.minimum((step + 1) / max(self.warmup, 1), 1.0)
        return self.peak * rise * factor

    def get_config(self) -> dict[str, Any]:
        return {
            "peak": self.peak,
            "total": self.total,
            "warmup": self.warmup,
            "shape": self.shape,
        }
