"""What happens between batches and epochs of training."""

import contextlib
import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from mrcnn.data.dataset import Dataset
from mrcnn.data.inputs import picture_name
from mrcnn.train.checkpoints import (
    INTERRUPTED,
    TrainingState,
    checkpoints,
    kept_variables,
    remove_states,
    stable_names,
)


class TrainingDiverged(RuntimeError):
    """A loss is NaN or infinite; the weights in memory are lost, the checkpoints are not."""


class Checkpoint(keras.callbacks.Callback):
    """Write the weights and, beside them, the optimiser's state after every epoch.

    path: the file, with {epoch:04d} in it.
    state: what of `TrainingState` stays the same: first_epoch, last_epoch, seed, learning_rate.
    keep: delete all but the newest so many of this run; 0 keeps all.
    best_only: keep one checkpoint, that of the lowest validation loss (or loss, without one).
    best: that loss so far, where the run goes on from an earlier one.
    """

    def __init__(
        self, path: str, state: dict[str, Any], keep: int, best_only: bool, best: float = np.inf
    ) -> None:
        super().__init__()
        self.path, self.state, self.keep, self.best_only = path, state, keep, best_only
        self.best = best

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        loss = watched_loss(logs or {})
        folder, path = os.path.dirname(self.path), self.path.format(epoch=epoch + 1)
        older = checkpoints(folder)
        # The state goes first, and older ones go last: weights on disk then always have theirs.
        TrainingState(
            epoch + 1,
            **self.state,
            trainable=stable_names(self.model.trainable_weights),
            variables=[np.asarray(v) for v in kept_variables(self.model.optimizer)],
        ).save(folder)
        if not self.best_only or loss < self.best:
            self.best = loss
            self.model.save_weights(path)
            keep = 1 if self.best_only else self.keep
            numbered = [p for p in older if not p.endswith(f"{INTERRUPTED}.h5") and p != path]
            for old in numbered[: len(numbered) + 1 - keep] if keep else []:
                os.remove(old)
        for old in older:  # this epoch holds more than what an interruption had left
            if old.endswith(f"{INTERRUPTED}.h5"):
                with contextlib.suppress(FileNotFoundError):
                    os.remove(old)
        newest = [int(p[-7:-3]) for p in checkpoints(folder)[-1:]]
        remove_states(folder, keep={epoch + 1, *newest})


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
        ids = np.asarray(self.model.batch_image_ids).astype(int)
        pictures = "; ".join(picture_name(self.dataset, i) for i in ids)
        saved = checkpoints(self.folder)
        rescue = f"The last checkpoint is {saved[-1]}." if saved else "No epoch was finished."
        raise TrainingDiverged(
            f"The loss is not a number at batch {batch + 1}, whose pictures were: {pictures}. "
            f"{rescue} Most often the learning rate is too high: try a tenth of it, or look at "
            "these pictures' masks."
        )


class Reseed(keras.callbacks.Callback):
    """Begin each epoch's sampling of regions from the run's seed and the epoch's number."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        seeds = self.model.get_layer("proposal_targets").seed_generator
        seeds.state.assign(np.array([self.seed, epoch << 16], np.uint32))


class ValidationAP(keras.callbacks.Callback):
    """Measure on the validation set every so many epochs; the numbers join the epoch's logs."""

    def __init__(self, every: int, measure: Callable[[], dict[str, float]]) -> None:
        super().__init__()
        self.every, self.measure = every, measure

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if (epoch + 1) % self.every == 0:
            measured = self.measure()
            print("validation: " + ", ".join(f"{k} {v:.4f}" for k, v in measured.items()))
            logs.update(measured)
