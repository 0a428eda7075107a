"""A training that is stopped says what is safe; one that is stopped from outside saves first."""

import contextlib
import errno
import os
from collections.abc import Iterator

from mrcnn.signals import interruptible, undisturbed
from mrcnn.train.checkpoints import INTERRUPTED, LogDir, checkpoints, save_checkpoint
from mrcnn.train.keras_model import TrainingModel
from mrcnn.weights.errors import WeightsError


class TrainingStopped(RuntimeError):
    """The training can't go on; its checkpoints so far are safe."""


def cant_be_written(path: str, error: Exception) -> str:
    """A sentence about a file of a run that couldn't be written."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        name = os.path.basename(path)
        return f"{name} can't be written: its folder {folder} was removed while the run trained."
    reason = getattr(error, "strerror", None) or error
    return f"{getattr(error, 'filename', None) or path} can't be written: {reason}."


def what_is_safe(folder: str) -> str:
    """A sentence about the checkpoint from which a run can go on."""
    saved = checkpoints(folder)
    return f"The last good checkpoint is safe: {saved[-1]}." if saved else "No checkpoint is there."


@contextlib.contextmanager
def stoppable(model: TrainingModel, log: LogDir) -> Iterator[None]:
    """Ctrl-C, SIGTERM or SIGHUP: save what there is, say how to go on, and pass the stop on.

    So too where nobody reads any more what is printed.
    """
    with interruptible():
        try:
            yield
        except (KeyboardInterrupt, OSError) as stop:
            if isinstance(stop, KeyboardInterrupt) or _unheard(stop):
                with undisturbed():
                    _save(model, log)
            raise


def _unheard(error: OSError) -> bool:
    """Whether it comes of printing into a pipe or a terminal that is closed."""
    return error.errno in (errno.EPIPE, errno.EIO) and error.filename is None


def _save(model: TrainingModel, log: LogDir) -> None:
    path = log.saved or log.path(INTERRUPTED)
    try:
        if not log.saved:
            save_checkpoint(model, path, log.epoch)
    except (OSError, WeightsError) as error:
        told = f"Stopped. {cant_be_written(path, error)} {what_is_safe(log.weights)}"
    else:
        told = (
            f"Stopped. The weights as they are stand in {path}. To go on: "
            "model.load_weights(model.find_last()), then the same train() call."
        )
    with contextlib.suppress(OSError):
        print(f"\n{told}", flush=True)
