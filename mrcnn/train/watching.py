"""What a person sees of a training while it runs.

epoch 3/20: loss 1.2345, val_AP 0.4120, learning rate 0.00093, 3 min (42 min left), ...

A line an epoch; between two of them a bar on a terminal and in a notebook, else a line every few
minutes; in the run's folder progress.txt, which says how far it is, and curves.png.
"""

import datetime
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras

from mrcnn.train.history import plot_curves
from mrcnn.whole import whole
from mrcnn.words import duration

logger = logging.getLogger(__name__)

PROGRESS = "progress.txt"
_EVERY = 30  # seconds between two states of progress.txt
_LONGEST = 300  # seconds between two lines where there is no bar
_SETTLED = 5  # seconds after the first step, until a step's time is believed
_FIRST = ("val_AP", "val_AP50", "val_loss")  # in a line, behind the loss
_SHARE = 0.05  # of the time, that drawing the curves may take


class Watch(keras.callbacks.Callback):
    """Say how far a training is, and what came of each epoch.

    folder: of the run. steps, val_steps: batches of an epoch, to train and to validate.
    bar: redraw one line of stdout; None: where that is a terminal or a notebook.
    clock: seconds, from any point on.
    """

    def __init__(
        self,
        folder: str,
        steps: int,
        val_steps: int = 0,
        bar: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.folder, self.steps, self.val_steps, self.clock = folder, steps, val_steps, clock
        notebook = type(sys.stdout).__module__.startswith("ipykernel")
        self.bar = sys.stdout.isatty() or notebook if bar is None else bar
        self.pace = Pace(steps, val_steps)
        self._shown = 0  # letters of the bar
        self._told = False  # how long a step takes
        self._gap = _EVERY  # seconds to the next line

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        now = self.clock()
        self._began = self._written = self._line = self._drawn = now

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.epoch, self._epoch_began = epoch, self.clock()
        self.pace.begin(self._epoch_began, self.params["epochs"] - epoch)
        if self.bar:
            self._draw(self._bar(0))

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        now, loss = self.clock(), float((logs or {}).get("loss", 0.0))
        self.pace.step(now)
        if not self._told and self.pace.settled:
            self._told = True
            self._say(f"{'time':15} {self.pace.told()}")
        if self.bar:
            if now - self._drawn > 0.2 or batch + 1 == self.steps:
                self._drawn = now
                self._draw(self._bar(batch + 1, loss))
        elif now - self._line >= self._gap:
            self._line, self._gap = now, min(2 * self._gap, _LONGEST)
            self._say(self._state(batch + 1, loss))
        if now - self._written >= _EVERY:
            self._written = now
            self._write(self._state(batch + 1, loss))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        now = self.clock()
        self._line = self._written = now
        self.pace.end(now)
        epochs = self.params["epochs"]
        seconds = duration(now - self._epoch_began)
        left = f" ({duration(self.pace.left())} left)" if epoch + 1 < epochs else ""
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        line = epoch_line(epoch + 1, epochs, logs or {}, rate, seconds + left)
        self._say(line)
        self._write(line)

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        self._clear()

    def _state(self, step: int, loss: float) -> str:
        text = f"epoch {self.epoch + 1}/{self.params['epochs']}, step {step} of {self.steps}"
        left = self.pace.left()
        until = f", {duration(left)} left" if left is not None else ""
        return f"{text}: loss {loss:.4f}{until}"

    def _bar(self, step: int, loss: float | None = None) -> str:
        done = "=" * (20 * step // max(self.steps, 1))
        text = f"epoch {self.epoch + 1}/{self.params['epochs']} [{done:20}] {step} of {self.steps}"
        left = self.pace.epoch_left()
        until = f"  {duration(left)} left" if left is not None else ""
        return text if loss is None else f"{text}  loss {loss:.4f}{until}"

    # -- Where it is shown ------------------------------------------------------------------

    def _draw(self, text: str) -> None:
        text = text[: shutil.get_terminal_size().columns - 1]
        print(f"\r{text:{self._shown}}", end="", flush=True)
        self._shown = len(text)

    def _clear(self) -> None:
        if self._shown:
            print(f"\r{'':{self._shown}}\r", end="", flush=True)
            self._shown = 0

    def _say(self, text: str) -> None:
        self._clear()
        print(text, flush=True)

    def _write(self, text: str) -> None:
        """Replace progress.txt; a disk that is full shows at the next checkpoint."""
        now = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
        try:
            with whole(os.path.join(self.folder, PROGRESS)) as unfinished:
                unfinished.write_text(f"{text}\nwritten {now}\n", encoding="utf-8")
        except OSError as error:
            logger.debug("%s: %s", PROGRESS, error)


class Pace:
    """How long steps and epochs take, and what is left. All in seconds of one clock.

    steps, val_steps: batches of an epoch. The first step, which traces the graph, is no measure
    of the others. Until an epoch is over, a batch of validation counts as a third of a step.
    """

    def __init__(self, steps: int, val_steps: int = 0) -> None:
        self.steps, self.val_steps = steps, val_steps
        self._epochs: list[float] = []
        self._done = self._timed = 0  # steps of this epoch; steps since the first one ended
        self._first = self._last = None

    def begin(self, now: float, epochs_left: int) -> None:
        """An epoch begins. epochs_left: with this one."""
        self._began, self._epochs_left, self._done = now, epochs_left, 0
        self._first, self._timed = None, 0

    def step(self, now: float) -> None:
        """A step is done."""
        self._done += 1
        if self._first is None:
            self._first = now
        else:
            self._timed += 1
        self._last = now

    def end(self, now: float) -> None:
        """The epoch is over, with its validation and its checkpoint."""
        took = now - self._began
        if not self._epochs and self.per_step is not None:
            took -= max(self._first - self._began - self.per_step, 0)  # for tracing the graph
        self._epochs = [*self._epochs, took][-3:]
        self._epochs_left -= 1
        self._done = 0

    @property
    def settled(self) -> bool:
        """Whether enough steps were seen to tell how long one takes."""
        return self._timed >= 2 and self._last - self._first >= _SETTLED

    @property
    def per_step(self) -> float | None:
        """Seconds of a step of this epoch, or None before two are done."""
        return (self._last - self._first) / self._timed if self._timed else None

    def epoch(self) -> float | None:
        """Seconds of a whole epoch: of the last three, or as the steps so far let expect."""
        if self._epochs:
            return sum(self._epochs) / len(self._epochs)
        if self.per_step is None:
            return None
        return self.per_step * (self.steps + self.val_steps / 3)

    def epoch_left(self) -> float | None:
        """Seconds until this epoch's last step."""
        return None if self.per_step is None else self.per_step * (self.steps - self._done)

    def left(self) -> float | None:
        """Seconds until the last epoch is over."""
        epoch = self.epoch()
        if epoch is None:
            return None
        return epoch * max(self._epochs_left - self._done / max(self.steps, 1), 0)

    def told(self) -> str:
        """The time that a step, an epoch and all of it take, in words."""
        left = self.left()
        until = datetime.datetime.now() + datetime.timedelta(seconds=left)
        form = "%H:%M" if left < 20 * 3600 else "%A %H:%M"
        return (
            f"{self.per_step:.2g} s a step, so about {duration(self.epoch())} an epoch and "
            f"{duration(left)} in all, until {until:{form}}"
        )


def epoch_line(epoch: int, epochs: int, logs: Mapping[str, Any], rate: float, took: str) -> str:
    """What came of an epoch: the loss and what it is judged by first, its parts last.

    The validation's parts are in history.csv.
    """
    first = [f"loss {logs['loss']:.4f}"] if "loss" in logs else []
    first += [f"{name} {logs[name]:.4f}" for name in _FIRST if name in logs]
    others = [name for name in logs if not name.startswith("val_") and name not in ("loss", "l2")]
    others += ["l2"] if "l2" in logs else []
    parts = [f"{name} {logs[name]:.4f}" for name in others]
    all_parts = [*first, f"learning rate {rate:.3g}", took, *parts]
    return f"epoch {epoch}/{epochs}: {', '.join(all_parts)}"


class Curves(keras.callbacks.Callback):
    """Draw history.csv as curves.png after an epoch, unless drawing takes longer than it is worth.

    What goes wrong costs a warning, not the training.
    """

    def __init__(self, folder: str, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.folder, self.clock = folder, clock
        self._cost, self._drawn, self._complained = 0.0, -float("inf"), False

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        if self.clock() - self._drawn >= self._cost / _SHARE:
            self.draw()

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        self.draw()

    def draw(self) -> None:
        """Draw now."""
        began = self.clock()
        try:
            plot_curves(self.folder)
        except Exception as error:
            if not self._complained:
                logger.warning("curves.png can't be drawn: %s", error)
            self._complained = True
        self._drawn = self.clock()
        self._cost = self._drawn - began
