"""What happens between batches and epochs of training."""

from typing import Any

import keras
import numpy as np

from mrcnn.data.dataset import Dataset
from mrcnn.data.inputs import picture_name
from mrcnn.signals import after_this
from mrcnn.train.checkpoints import (
    INTERRUPTED,
    LogDir,
    TrainingState,
    kept_variables,
    numbered,
    remove,
    remove_states,
    save_checkpoint,
    stable_names,
)
from mrcnn.train.stopping import TrainingStopped, cant_be_written, what_is_safe
from mrcnn.weights.errors import WeightsError


class TrainingDiverged(TrainingStopped):
    """A loss is NaN or infinite; the weights in memory are lost, the checkpoints are not."""


class Checkpoint(keras.callbacks.Callback):
    """Write the weights and, beside them, the optimiser's state after every epoch.

    log: where to; its `epoch` becomes the one that an exact resumption could go on after.
    state: what of `TrainingState` stays the same: first_epoch, last_epoch, seed, learning_rate.
    keep: delete all but the newest so many of this run; 0 keeps all.
    best_only: keep one checkpoint, that of the lowest validation loss (or loss, without one).
    best: that loss so far, where the run goes on from an earlier one.
    Raises TrainingStopped where a file can't be written.
    """

    def __init__(
        self, log: LogDir, state: dict[str, Any], keep: int, best_only: bool, best: float = np.inf
    ) -> None:
        super().__init__()
        self.log, self.state, self.best_only, self.best = log, state, best_only, best
        self.keep = 1 if best_only else keep

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._remove_older()  # where the last run was killed before it did

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.log.saved = ""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        with after_this():
            self._save(epoch, logs)

    def _save(self, epoch: int, logs: dict[str, float] | None) -> None:
        before, path = self.log.epoch, self.log.path(epoch + 1)
        try:
            self._write(path, epoch + 1, watched_loss(logs or {}))
        except (OSError, WeightsError) as error:
            self.log.epoch = before
            remove_states(self.log.weights, {before, *numbered(self.log.weights)})
            told = f"{cant_be_written(path, error)} {what_is_safe(self.log.weights)}"
            raise TrainingStopped(told) from error
        self._remove_older()
        interrupted = self.log.path(INTERRUPTED)
        if interrupted != path:  # a script may have set one path for all
            remove(interrupted)  # this epoch holds more
        newest = max(numbered(self.log.weights), default=epoch + 1)
        remove_states(self.log.weights, {epoch + 1, newest})

    def _write(self, path: str, epoch: int, loss: float) -> None:
        # The state goes first, and older ones go last: weights on disk then always have theirs.
        TrainingState(
            epoch,
            **self.state,
            trainable=stable_names(self.model.trainable_weights),
            variables=[np.asarray(v) for v in kept_variables(self.model.optimizer)],
        ).save(self.log.weights)
        self.log.epoch = epoch
        if not self.best_only or loss < self.best:
            save_checkpoint(self.model, path, epoch)
            self.log.saved = path
            self.best = loss if self.best_only else self.best

    def _remove_older(self) -> None:
        paths = list(numbered(self.log.weights).values())
        for path in paths[: -self.keep] if self.keep else []:
            remove(path)


def watched_loss(logs: dict[str, Any]) -> float:
    """What an epoch is judged by: the validation loss, or the loss where there is none."""
    return float(logs.get("val_loss") or logs.get("loss") or np.inf)


class StopWhenDiverged(keras.callbacks.Callback):
    """End the run at the first loss that is not a number, and name the pictures that made it."""

    def __init__(self, dataset: Dataset, checkpoint_folder: str) -> None:
        super().__init__()
        self.dataset, self.folder = dataset, checkpoint_folder

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if np.isfinite((logs or {}).get("loss", 0.0)):
            return
        ids = self.model.diverged_image_ids()
        pictures = "; ".join(picture_name(self.dataset, i) for i in ids)
        raise TrainingDiverged(
            f"The loss is not a number at batch {batch + 1}, whose pictures were: {pictures}. "
            f"{what_is_safe(self.folder)} Most often the learning rate is too high: try a tenth of "
            "it, or look at these pictures' masks."
        )


class Reseed(keras.callbacks.Callback):
    """Begin each epoch's sampling of regions from the run's seed and the epoch's number."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        seeds = self.model.get_layer("proposal_targets").seed_generator
        seeds.state.assign(np.array([self.seed, epoch << 16], np.uint32))
