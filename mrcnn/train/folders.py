"""A run's folder while it is trained in: taken by one run, and clear of what no longer counts."""

import contextlib
import datetime
import itertools
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from mrcnn.errors import UsageError
from mrcnn.train.checkpoints import (
    BEST,
    HISTORY,
    INTERRUPTED,
    LogDir,
    checkpoints,
    numbered,
    reached,
    remove,
    remove_states,
)
from mrcnn.whole import sweep

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_TIME = "%Y%m%dT%H%M"
_DATED = re.compile(r"(.*)(\d{8}T\d{4})")
_locked: set[int] = set()


@contextlib.contextmanager
def begun(model: Any) -> Iterator[LogDir]:
    """The folder of a training, which is its own until the block ends.

    model: a MaskRCNN. Its log_dir and checkpoint_path follow, and its epoch at the end; what a
        script has set there itself is taken as it is.

    A new run takes a folder that nobody has: the next minute's where another run was first. One
    that goes on finds nothing there that isn't part of what it goes on from. Raises UsageError
    where another process trains in the folder, OSError where it can't be made.
    """
    run = getattr(model, "_run_dir", None)
    if run is None or (model.log_dir, model.checkpoint_path) != (run.folder, run.checkpoint):
        run = LogDir(model.log_dir, model.checkpoint_path, model.epoch, begun=True)
    run = replace(run if run.begun else _taken(run), epoch=model.epoch)
    model._run_dir, model.log_dir, model.checkpoint_path = run, run.folder, run.checkpoint
    for path in (run.folder, run.weights):
        os.makedirs(path, exist_ok=True)
    with _alone(run.weights):
        _clear(run)
        try:
            yield run
        finally:
            model.epoch = run.epoch


def _taken(run: LogDir) -> LogDir:
    """A folder for a new run, named by its minute, or by the first one after it that is free.

    Whoever makes a folder's history.csv has it. A folder without may be the user's, who has put
    something there before the training.
    """
    parent, name = os.path.split(run.folder)
    stem, started = _DATED.fullmatch(name).groups()
    started = datetime.datetime.strptime(started, _TIME)
    for minutes in itertools.count():
        later = started + datetime.timedelta(minutes=minutes)
        folder = os.path.join(parent, f"{stem}{later:{_TIME}}")
        os.makedirs(folder, exist_ok=True)
        if checkpoints(folder):
            continue
        if _created(os.path.join(folder, HISTORY), "epoch\r\n"):
            pattern = os.path.join(folder, os.path.basename(run.checkpoint))
            return replace(run, folder=folder, checkpoint=pattern, begun=True)
    raise AssertionError("a minute is free some time")


def _created(path: str, text: str) -> bool:
    """Whether a file was made here and now, and by nobody else."""
    try:
        file = open(path, "x", newline="", encoding="utf-8")  # noqa: SIM115
    except FileExistsError:
        return False
    try:
        with file:
            file.write(text)
    except OSError as error:
        remove(path)
        raise OSError(error.errno, error.strerror, path) from error
    return True


@contextlib.contextmanager
def _alone(folder: str) -> Iterator[None]:
    """No two processes at a time; the system forgets it when a process dies, however it does."""
    with contextlib.ExitStack() as stack:
        if fcntl:
            handle = os.open(folder, os.O_RDONLY)
            _locked.add(handle)
            stack.callback(_unlock, handle)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"another process is training in {folder}: each would overwrite what the "
                    "other saves. Wait until it ends, or begin a run of another NAME."
                ) from None
            except OSError:  # a network's disk that knows no locks
                pass
        yield


def _unlock(*handles: int) -> None:
    for handle in handles:
        if handle in _locked:
            _locked.discard(handle)
            os.close(handle)


if hasattr(os, "register_at_fork"):
    # A process that makes batches may outlive this one, and shall not keep its folder.
    os.register_at_fork(after_in_child=lambda: _unlock(*_locked))


def _clear(run: LogDir) -> None:
    """Remove what dead writers left, and put away what was trained after the epoch to go on from.

    Were that left where it is, a run killed soon would go on from a mixture of both.
    """
    for folder in {run.folder, run.weights}:
        sweep(folder)
    for folder in _siblings(run.folder):
        sweep(folder, untouched=3600)  # its run may live on another machine
    later = {epoch: path for epoch, path in numbered(run.weights).items() if epoch > run.epoch}
    aside = [
        path
        for path in reversed(checkpoints(run.weights))  # the newest first: a kill leaves no gap
        if path in later.values()
        or (path.endswith((f"{INTERRUPTED}.h5", f"{BEST}.h5")) and reached(path) > run.epoch)
    ]
    if aside:
        _put_away(run, aside, later)
    newest = max(numbered(run.weights), default=run.epoch)
    remove_states(run.weights, keep={run.epoch, newest})


def _put_away(run: LogDir, paths: list[str], epochs: dict[int, str]) -> None:
    names = itertools.chain([""], (f"_{number}" for number in itertools.count(2)))
    place = next(
        path
        for name in names
        if not os.path.exists(path := os.path.join(run.weights, f"after_{run.epoch:04d}{name}"))
    )
    os.mkdir(place)
    with contextlib.suppress(FileNotFoundError):
        shutil.copy2(os.path.join(run.folder, HISTORY), place)
    states = [os.path.join(run.weights, f"optimizer_{epoch:04d}.npz") for epoch in epochs]
    for path in [*paths, *filter(os.path.exists, states)]:
        os.replace(path, os.path.join(place, os.path.basename(path)))
    print(
        f"This training goes on after epoch {run.epoch}. What was trained after it before is now "
        f"in {place}: {', '.join(os.path.basename(path) for path in reversed(paths))}."
    )


def _siblings(folder: str) -> list[str]:
    """The folders of the other runs of the same NAME."""
    parent, name = os.path.split(folder)
    dated = _DATED.fullmatch(name)
    if not dated:
        return []
    matches = [(_DATED.fullmatch(other), other) for other in os.listdir(parent or ".")]
    return [
        os.path.join(parent, other)
        for match, other in matches
        if match and match[1] == dated[1] and other != name
    ]
