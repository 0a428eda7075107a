"""A training of milliseconds: the real MaskRCNN.train() and all that it writes, a tiny network.

Only what feeds the network is left out. A process that is forked from this one trains, so that it
can be killed; what it did it notes in a journal outside of the run's folder.

    run = SmallRun("/tmp/somewhere")
    run.train(epochs=4, strike=Moment(17))  # killed there -> how it ended
    run.train(epochs=4)                     # goes on from model.find_last()
"""

import contextlib
import functools
import json
import os
import resource
import shutil
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from mrcnn import model as modellib
from mrcnn.config import Config
from mrcnn.model import MaskRCNN
from mrcnn.signals import STOPS
from mrcnn.train import fit as fitting
from mrcnn.train import watching
from mrcnn.train.keras_model import TrainingModel
from mrcnn.whole import whole

STEPS = 2
# By which val_loss falls and rises: with SAVE_BEST_ONLY some epochs aren't kept.
VAL_LOSSES = [9.0, 8.0, 8.5, 7.0, 7.5, 6.0, 5.0]
INTERRUPTED, FAILED = 130, 3


class SmallConfig(Config):
    NAME = "small"
    NUM_CLASSES = 2
    STEPS_PER_EPOCH = STEPS
    VALIDATION_STEPS = 0
    LEARNING_RATE = 0.1
    SEED = 7


class SmallModel(TrainingModel):
    """Two layers; each step pulls their weights to another place, with momentum."""

    journal = None  # (what, epoch) of all that happens
    interrupt = None  # (epoch, step) at which Ctrl-C is pressed

    def fit(self, batches, initial_epoch, epochs, callbacks, **_):
        calls = keras.callbacks.CallbackList(
            callbacks, add_history=True, model=self, epochs=epochs, steps=STEPS
        )
        calls.on_train_begin()
        for epoch in range(initial_epoch, epochs):
            self.journal("begin", epoch + 1)
            calls.on_epoch_begin(epoch)
            for step in range(STEPS):
                calls.on_train_batch_begin(step)
                loss = self.pull(epoch * STEPS + step)
                if (epoch + 1, step) == self.interrupt:
                    raise KeyboardInterrupt
                calls.on_train_batch_end(step, {"loss": loss})
            self.journal("trained", epoch + 1)
            calls.on_epoch_end(epoch, {"loss": loss, "val_loss": VAL_LOSSES[epoch]})
            self.journal("saved", epoch + 1)
        calls.on_train_end()
        return self.history

    def pull(self, step):
        """One step of SGD, whose numbers depend on the weights and the step alone."""
        weights = self.trainable_variables
        gradients = [keras.ops.convert_to_tensor(w - np.float32(step % 5)) for w in weights]
        self.optimizer.apply(gradients, weights)
        return float(np.mean([np.abs(w.numpy()).mean() for w in weights]))


class SmallRCNN(MaskRCNN):
    """MaskRCNN around the small model."""

    def build(self, mode, config):
        image = keras.Input([4], name="input_image")
        inner = keras.layers.Dense(3, name="conv1", kernel_initializer="ones")(image)
        inner = _Seeded(name="proposal_targets")(inner)
        return SmallModel(
            image, keras.layers.Dense(2, name="res5", kernel_initializer="ones")(inner)
        )


class _Seeded(keras.layers.Layer):
    """Where training draws its regions from, for `Reseed`."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(1)

    def call(self, x):
        return x


class _Pictures:
    """In place of a data set."""

    class_names = ["BG", "cell"]


class _Batches:
    def __init__(self, *_, **__):
        pass

    def __len__(self):
        return STEPS


# -- Where a process dies ---------------------------------------------------------------------


@dataclass(frozen=True)
class Moment:
    """What happens at the `number`th touch of the disk.

    byte: not there, but when that byte of the file opened there is written. what: "SIGKILL" or
        another signal's name, or "rmtree", which removes the run's folder.
    """

    number: int
    byte: int | None = None
    what: str = "SIGKILL"


@dataclass
class _Watched:
    """Counts the touches of a folder in this process, and strikes at one of them.

    touched: what each was, such as "open .mask_rcnn_small_0002.h5.17.tmp".
    """

    folder: str
    strike: Moment | None
    largest_file: int | None = None
    touched: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """From here on, and until the process ends."""
        sys.addaudithook(self._audit)
        fsync = os.fsync

        def noted_fsync(handle):
            self._touch("fsync", "")
            fsync(handle)

        os.fsync = noted_fsync

    def _audit(self, event: str, args: tuple) -> None:
        if event == "open":
            writes = args[2] & (os.O_WRONLY | os.O_RDWR)
        else:
            writes = event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link")
        if writes and isinstance(args[0], str | os.PathLike):
            self._touch(event.removeprefix("os."), os.fspath(args[0]))

    def _touch(self, event: str, path: str) -> None:
        if path and not os.path.abspath(path).startswith(self.folder):
            return
        moment = len(self.touched)
        self.touched.append(f"{event} {os.path.basename(path)}".strip())
        limit = resource.RLIM_INFINITY if self.largest_file is None else self.largest_file
        if self.strike and self.strike.number == moment:
            if self.strike.what == "rmtree":
                for folder in os.listdir(self.folder):
                    shutil.rmtree(os.path.join(self.folder, folder))
            elif self.strike.byte is None:
                os.kill(os.getpid(), getattr(signal, self.strike.what))
            elif event == "open":  # the system kills at a write beyond
                limit = self.strike.byte
        _limit_file_size(limit)


def _limit_file_size(limit: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))


# -- The run ----------------------------------------------------------------------------------


@dataclass
class Ended:
    """How a process ended. code: its exit code, negative for a signal."""

    code: int
    told: str  # what it printed
    touched: list[str]


class SmallRun:
    """Runs of one NAME in a folder of logs, process by process; see the module."""

    def __init__(self, place: str | os.PathLike, **settings) -> None:
        self.place = Path(place)
        self.logs, self.settings = self.place / "logs", settings
        self.journal_path = self.place / "journal"
        self.place.mkdir(parents=True, exist_ok=True)
        self.journal_path.touch()

    @property
    def journal(self) -> list[tuple[str, int]]:
        """(what, epoch): "resumed", "begin", "trained", "saved", in the order of all processes."""
        return [tuple(json.loads(line)) for line in self.journal_path.read_text().splitlines()]

    def model(self) -> SmallRCNN:
        """A new model, as a script makes it."""
        return self._ours(_build(**self.settings))

    def _ours(self, model: SmallRCNN) -> SmallRCNN:
        model.model_dir, model.keras_model.journal = str(self.logs), self._note
        model.set_log_dir()
        return model

    def train_here(
        self,
        epochs: int,
        interrupt: tuple[int, int] | None = None,
        model: SmallRCNN | None = None,
    ) -> SmallRCNN:
        """Go on with the last run, or begin one, in this process."""
        model = model or self.model()
        with contextlib.suppress(FileNotFoundError):
            model.load_weights(model.find_last())
        self._note("resumed", model.epoch)
        model.keras_model.interrupt = interrupt
        self.train_model(model, epochs)
        return model

    def train_model(self, model: SmallRCNN, epochs: int) -> None:
        """Train a model that `model` gave."""
        with _fed():
            model.train(_Pictures(), None, model.config.LEARNING_RATE, epochs, "all")

    def train(
        self,
        epochs: int,
        strike: Moment | None = None,
        interrupt: tuple[int, int] | None = None,
        largest_file: int | None = None,
    ) -> Ended:
        """The same in a process of its own, to which something may happen at a moment.

        largest_file: bytes that a file in the run's folder may have; a write beyond fails.
        """
        told, touched = self.place / "told", self.place / "touched"
        touched.write_text("")
        model = _built(**self.settings)
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            self._child(self._ours(model), told, touched, epochs, strike, interrupt, largest_file)
        _, status = os.waitpid(child, 0)
        return Ended(
            os.waitstatus_to_exitcode(status), told.read_text(), touched.read_text().splitlines()
        )

    def _child(self, model, told, touched, epochs, strike, interrupt, largest_file) -> None:
        code = FAILED
        watched = _Watched(str(self.logs), strike, largest_file)
        try:
            sys.stdout = sys.stderr = out = open(told, "w", buffering=1)  # noqa: SIM115
            for stream in (1, 2):
                os.dup2(out.fileno(), stream)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            for number in STOPS:  # whatever this process ignores
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            beyond = signal.SIG_DFL if largest_file is None else signal.SIG_IGN
            signal.signal(signal.SIGXFSZ, beyond)
            watched.watch()
            self.train_here(epochs, interrupt, model)
            code = 0
        except KeyboardInterrupt:
            code = INTERRUPTED
        except BaseException as error:
            print(f"{type(error).__name__}: {error}")
            if os.environ.get("MRCNN_FAULTS_DEBUG"):
                import traceback

                traceback.print_exc()
        finally:
            with contextlib.suppress(BaseException):
                sys.stdout.flush()
                touched.write_text("\n".join(watched.touched))
            os._exit(code)

    def _note(self, what: str, epoch: int) -> None:
        with open(self.journal_path, "a") as file:
            file.write(json.dumps([what, epoch]) + "\n")


def _build(**settings) -> SmallRCNN:
    config = SmallConfig()
    for name, value in settings.items():
        setattr(config, name, value)
    return SmallRCNN("training", config, "logs")


_built = functools.cache(_build)  # once for all processes, each of which has a copy


@contextlib.contextmanager
def _fed():
    """Training without data: nothing is checked, read, prepared or drawn."""

    @contextlib.contextmanager
    def streams(*_):
        yield [None]

    with (
        mock.patch.object(fitting, "DataGenerator", _Batches),
        mock.patch.object(fitting, "streams", streams),
        mock.patch.object(modellib, "check"),
        mock.patch.object(watching, "plot_curves", _drawn),
    ):
        yield


def _drawn(folder):
    """In place of curves.png, which takes longer than all else."""
    with whole(os.path.join(folder, "curves.png")) as unfinished:
        unfinished.write_bytes(b"curves")
