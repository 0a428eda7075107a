"""Curves for TensorBoard, where it is installed: a convenience, which never ends a training."""

import warnings
from typing import Any

import keras
import tensorflow as tf


class TensorBoardCurves(keras.callbacks.TensorBoard):
    """Keras's callback until its files can't be written (a full disk): then a warning alone."""

    broken = False

    def _try(self, name: str, *args: Any, **kwargs: Any) -> None:
        if self.broken and name != "on_train_end":  # which closes what is open
            return
        try:
            getattr(super(), name)(*args, **kwargs)
        except (OSError, tf.errors.OpError) as error:
            if not self.broken:
                reason = str(getattr(error, "message", error)).strip().splitlines()
                warnings.warn(
                    f"No more curves for TensorBoard: {self.log_dir} can't be written "
                    f"({reason[0] if reason else type(error).__name__}). The training goes on.",
                    stacklevel=2,
                )
            self.broken = True

    def set_model(self, model: keras.Model) -> None:
        self._try("set_model", model)

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._try("on_train_begin", logs)

    def on_train_end(self, logs: dict | None = None) -> None:
        self._try("on_train_end", logs)

    def on_test_begin(self, logs: dict | None = None) -> None:
        self._try("on_test_begin", logs)

    def on_test_end(self, logs: dict | None = None) -> None:
        self._try("on_test_end", logs)

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        self._try("on_train_batch_begin", batch, logs)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._try("on_train_batch_end", batch, logs)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._try("on_epoch_begin", epoch, logs)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._try("on_epoch_end", epoch, logs)
