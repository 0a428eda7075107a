"""How good a training is on pictures that it doesn't learn from, and which epoch was the best."""

import math
import os
import shutil
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from mrcnn.detect.instances import LimitWarning
from mrcnn.train.checkpoints import BEST, LogDir, numbered, reached, save_checkpoint
from mrcnn.train.stopping import cant_be_written
from mrcnn.weights.errors import WeightsError
from mrcnn.whole import whole

_NOTHING = (-1, 0.0)  # the rank of an epoch of which nothing is known
_BUILDING = 15  # seconds, about, until the network that detects is built and traced
_EARLY = 0.25  # of the epochs, after which a training should find something
_FINDS_NOTHING = 0.01  # an AP at IoU 0.5 that is chance


class ValidationAP(keras.callbacks.Callback):
    """Measure on the validation set every so often; the numbers join the epoch's logs.

    every: epochs between two measurements; 0: as `share` allows.
    share: of the training's time that measuring may take; it decides where `every` is 0. The
        first time, a picture is taken to cost what it costs in training; then the clock tells.
        The last epoch's measurement is saved up for.
    pictures: to validate. batch: pictures of a training step.
    """

    def __init__(
        self,
        measure: Callable[[], dict[str, float]],
        every: int,
        share: float = 0.0,
        pictures: int = 0,
        batch: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.measure, self.every, self.share, self.clock = measure, every, share, clock
        self.pictures, self.batch = pictures, batch
        self._spent, self._cost, self._steps, self._stepping = 0.0, None, 0, 0.0
        self._told = False  # that nothing is found

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        self._began, self._first = self.clock(), None

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self._step_began = self.clock()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        if self._steps:  # the first one traced the graph
            self._stepping += self.clock() - self._step_began
        self._steps += 1

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._first = epoch if self._first is None else self._first

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if not self._is_due(epoch):
            return
        began = self.clock()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LimitWarning)  # AP takes in all that is unsure
            measured = self.measure()
        took = self.clock() - began
        self._spent += took
        # The first one has built a network too, which the others find there.
        self._cost = min(took, self._guessed()) if self._cost is None else took
        logs.update(measured)
        self._tell_of_nothing(epoch, measured)

    def _tell_of_nothing(self, epoch: int, measured: Mapping[str, float]) -> None:
        """Warn once where a good part of the epochs is done and nothing has been found."""
        found = measured.get("val_AP50", -1)
        self._told |= found >= _FINDS_NOTHING
        done, epochs = epoch + 1 - self._first, self.params["epochs"] - self._first
        if self._told or found < 0 or not _EARLY * epochs <= done < epochs:
            return
        self._told = True
        warnings.warn(
            f"After {done} of {epochs} epochs the network finds nothing in the validation pictures "
            f"(AP at IoU 0.5 is {found:.3f}). If the loss still falls, it may come. Else look at "
            "the labels as they are read (mrcnn data show), at the instances' size in the network "
            "(below 16 pixels is too small: a larger IMAGE_MAX_DIM, or pieces of pictures), and at "
            "the learning rate.",
            stacklevel=2,
        )

    def _is_due(self, epoch: int) -> bool:
        if self.every:
            return (epoch + 1) % self.every == 0
        done, epochs = epoch + 1 - self._first, self.params["epochs"] - self._first
        elapsed = self.clock() - self._began - self._spent  # seconds of training
        after = self._spent + self._expected()
        if epoch + 1 < self.params["epochs"]:
            total = elapsed * epochs / done
            if after + self._expected() > self.share * total:
                return False
        return after <= self.share * elapsed

    def _expected(self) -> float:
        """Seconds of a measurement."""
        return _BUILDING + self._guessed() if self._cost is None else self._cost

    def _guessed(self) -> float:
        """Seconds of one where a picture costs what it costs in training, which is more."""
        return self._stepping / max(self._steps - 1, 1) * self.pictures / self.batch


class KeepBest(keras.callbacks.Callback):
    """Keep the best epoch's checkpoint under a name of its own: mask_rcnn_<name>_best.h5.

    The best is that of the highest validation AP, where that was measured, else of the lowest
    validation loss, or loss. It is the numbered checkpoint under a second name where the disk can
    do that, and comes after it: a run that was killed in between makes up for it.
    rows: of the run's history, the epoch's own last; a run that goes on learns what to beat.
    """

    def __init__(self, log: LogDir, rows: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        self.path, self.log, self.rows = log.path(BEST), log, rows
        self.best = _NOTHING

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        ranks = {int(row["epoch"]): _rank(row) for row in self.rows}
        if os.path.isfile(self.path):
            self.best = ranks.get(reached(self.path), _NOTHING)
        there = numbered(self.log.weights)
        better = [epoch for epoch in there if ranks.get(epoch, _NOTHING) > self.best]
        if better:
            self._keep(max(better, key=ranks.get), max(map(ranks.get, better)))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        rank = _rank(logs or {})
        if rank > self.best:
            self._keep(epoch + 1, rank)

    def _keep(self, epoch: int, rank: tuple[int, float]) -> None:
        checkpoint = self.log.path(epoch)
        try:
            if os.path.isfile(checkpoint):
                with whole(self.path) as unfinished:
                    _second_name(checkpoint, unfinished)
            else:  # SAVE_BEST_ONLY goes by the loss alone
                save_checkpoint(self.model, self.path, epoch)
        except (OSError, WeightsError) as error:
            warnings.warn(cant_be_written(self.path, error), stacklevel=2)
        else:
            self.best = rank


def _second_name(path: str, name: str | os.PathLike) -> None:
    try:
        os.link(path, name)
    except OSError:  # a disk that has no such thing
        shutil.copyfile(path, name)


def _rank(numbers: Mapping[str, Any]) -> tuple[int, float]:
    """What an epoch is worth, from its logs or its row: any AP is more than any loss."""
    if _number(numbers.get("val_AP")) >= 0:  # -1 where no label was there to measure with
        return 1, _number(numbers["val_AP"])
    losses = (_number(numbers.get(name)) for name in ("val_loss", "loss"))
    return next(((0, -loss) for loss in losses if math.isfinite(loss)), _NOTHING)


def _number(value: Any) -> float:
    return math.nan if value in (None, "") else float(value)
