"""Processes that make batches ahead, which threads can hardly do at once: they share Python's lock.

They are forked: a dataset class of a notebook needs no pickling. They can't hold up a run: where
one dies, fails or doesn't answer, all are ended, a warning says so, and this process makes the
batches, which are the same. Arrays come back through memory that both sides share, and pipes tell
where in it they lie.
"""

import contextlib
import gc
import logging
import math
import mmap
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, NoReturn

import numpy as np

from mrcnn.signals import STOPS

logger = logging.getLogger(__name__)

Maker = Callable[[int, int], Sequence[np.ndarray]]
PATIENCE = 60  # seconds to wait for a batch, at least
GRACE = 5  # seconds that a batch may still take when the run ends
_ALIGNED = 64  # bytes; an array that begins elsewhere TensorFlow copies once more
_SLOT = 64 << 20  # bytes, at least; what is never written to takes no memory


class _Slot(NamedTuple):
    """What one batch at a time comes back through: an end of a pipe, and the shared memory."""

    pipe: Connection
    memory: mmap.mmap


@dataclass
class _Worker:
    """A process and its free slots: with two, it makes a batch while its last one is copied."""

    process: Any
    free: list[_Slot]
    owed: int = 0  # batches


class Workers:
    """Functions that make batches, called in other processes; leaving the `with` ends these.

    makers: f(epoch, index) -> arrays, which depend on nothing else.
    count: processes, forked here and now.
    example_bytes: of a batch. One of four times that, and of more than 64 MB, is made here.
    patience: seconds after which a process that owes a batch counts as stuck.

    `make` is called by several threads at a time; `calls` of them keep the processes busy.
    """

    def __init__(
        self, makers: Sequence[Maker], count: int, example_bytes: int, patience: float = PATIENCE
    ) -> None:
        self.makers, self.patience = makers, patience
        size = max(4 * example_bytes, _SLOT)
        slots = 2 if size == _SLOT else 1  # second ones of large batches would fill the memory
        self.calls = count * slots
        self._threads = threading.Semaphore(count)
        self._change, self._ending = threading.Condition(), threading.Lock()
        self._workers: list[_Worker] = []
        self._life: Connection | None = None
        self._closed = False
        try:
            self._fork(count, slots, size)
        except BaseException as error:
            self._end(0)
            if not isinstance(error, OSError | AssertionError):
                raise
            # Too little memory, too many processes, or this is a child that may have no children.
            self._warn(f"can't be started ({error})")

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: Any) -> None:
        self._closed = True
        self._end(GRACE)

    def make(self, which: int, epoch: int, index: int) -> Sequence[np.ndarray]:
        """The arrays of `makers[which](epoch, index)`; raises what that raises."""
        if (taken := self._take()) is None:
            return self._make_here(which, epoch, index)
        worker, slot, seconds = taken
        places, error, trouble = None, None, None
        try:
            slot.pipe.send((which, epoch, index))
            # By the second: where the whole program was paused, that counts as one.
            if any(slot.pipe.poll(1) for _ in range(seconds)):
                places, error = slot.pipe.recv()
            else:
                trouble = f"has not answered for {seconds} s"
        except (EOFError, OSError):
            with self._ending:
                worker.process.join(1)
                trouble = _end_of(worker.process.exitcode)
        if not error and not trouble:
            arrays = _copied(slot.memory, places) if places else None
            with self._change:
                worker.free.append(slot)
                worker.owed -= 1
                self._change.notify()
            return arrays or self._make_here(which, epoch, index)
        first = self._end(0)
        if first and trouble:
            self._warn(f"{trouble}, with batch {index + 1} of epoch {epoch + 1} to make")
        # An error of the data comes again, as itself and with its traceback. One that doesn't
        # lies in the forking, as where load_image() calls TensorFlow.
        arrays = self._make_here(which, epoch, index)
        if first and error:
            self._warn(f"could not make a batch that this process can ({error})")
        return arrays

    def _take(self) -> tuple[_Worker, _Slot, int] | None:
        """A slot of the worker that owes least, and how long to wait; None: there is no worker."""
        with self._change:
            while self._workers:
                worker = max(self._workers, key=lambda worker: len(worker.free))
                if worker.free:
                    worker.owed += 1
                    return worker, worker.free.pop(), math.ceil(self.patience * worker.owed)
                self._change.wait()
        return None

    def _make_here(self, which: int, epoch: int, index: int) -> Sequence[np.ndarray]:
        if self._closed:
            raise RuntimeError("The run that these batches were for has ended.")
        with self._threads:
            return self.makers[which](epoch, index)

    def _warn(self, what: str) -> None:
        if not self._closed:
            logger.warning(
                "A process that makes batches %s: the batches are made in this process from here "
                "on; WORKERS = 0 does that from the start.",
                what,
            )

    def _fork(self, count: int, slots: int, size: int) -> None:
        context = multiprocessing.get_context("fork")
        life, self._life = context.Pipe(duplex=False)
        pipes = [context.Pipe() for _ in range(count * slots)]
        # A signal between the fork and the child's first line would raise in the caller's code.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, *STOPS})
        try:
            for first in range(0, len(pipes), slots):
                memory = [mmap.mmap(-1, size) for _ in range(slots)]
                ours, theirs = (
                    [_Slot(ends[side], m) for ends, m in zip(pipes[first:], memory)]
                    for side in (0, 1)
                )
                mine = {life, *(slot.pipe for slot in theirs)}
                # What a sibling holds of a pipe would keep it open after its owner's end.
                others = [end for ends in ((life, self._life), *pipes) for end in ends]
                others = [end for end in others if end not in mine]
                process = context.Process(
                    target=_serve,
                    args=(self.makers, theirs, life, others, os.getpid(), mask),
                    daemon=True,
                )
                with warnings.catch_warnings():
                    # Python 3.12 warns that a lock of another thread may stay shut in the child.
                    # That runs NumPy and the user's loader alone, and is ended where it sticks.
                    warnings.filterwarnings(
                        "ignore", ".*multi-threaded, use of fork", DeprecationWarning
                    )
                    process.start()
                self._workers.append(_Worker(process, ours))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            for end in (life, *(theirs for _, theirs in pipes)):
                end.close()

    def _end(self, grace: float) -> bool:
        """End the processes, after their batch if that is made soon; whether there were any."""
        with self._ending:
            with self._change:
                workers, self._workers = self._workers, []
                self._change.notify_all()
            if self._life:
                self._life.close()
            until = time.monotonic() + grace
            for worker in workers:
                worker.process.join(max(0, until - time.monotonic()))
            for worker in workers:
                worker.process.kill()
            for worker in workers:
                worker.process.join(GRACE)
        return bool(workers)


def _end_of(code: int | None) -> str:
    if code is None or code >= 0:
        return f"ended by itself (exit status {code})"
    killed = " (the system does so where memory is short)" if code == -signal.SIGKILL else ""
    return f"was ended by signal {-code}, {signal.strsignal(-code)}{killed}"


def _copied(memory: mmap.mmap, places: list[tuple[int, tuple, str]]) -> list[np.ndarray]:
    """Arrays of this process's own, from where `_answer` says that they lie."""
    end = max(start + math.prod(shape) * np.dtype(kind).itemsize for start, shape, kind in places)
    room = np.empty(end + _ALIGNED, np.uint8)
    skipped = -room.ctypes.data % _ALIGNED
    room = room[skipped : skipped + end]
    room[:] = np.frombuffer(memory, np.uint8, end)
    return [np.ndarray(shape, kind, room, start) for start, shape, kind in places]


# -- In the child -------------------------------------------------------------------------------


def _serve(
    makers: Sequence[Maker],
    slots: list[_Slot],
    life: Connection,
    others: list[Connection],
    parent: int,
    mask: set,
) -> NoReturn:
    """Make batches until the parent closes `life`, or is no more; then end without its hooks."""
    try:
        gc.freeze()  # the parent's objects are never destroyed here
        for number in (signal.SIGINT, *STOPS):  # Ctrl-C is for the parent to decide
            signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for end in others:
            end.close()
        threading.Thread(target=_leave_after, args=(parent,), daemon=True).start()
        run = np.random.randint(2**31)  # the same in all, and the parent's generator stays
        memory = {slot.pipe: slot.memory for slot in slots}
        while life not in (ready := wait([life, *memory])):
            for pipe in ready:
                which, epoch, index = pipe.recv()
                # For loaders that draw from the global generators: all would draw the same.
                np.random.seed((run, which, epoch, index))
                random.seed(np.random.bytes(8))
                pipe.send(_answer(makers[which], memory[pipe], epoch, index))
    except (EOFError, OSError):
        pass  # the parent is gone
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def _leave_after(parent: int) -> None:
    """End when the parent has been killed, in the midst of a batch too."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


def _answer(make: Maker, memory: mmap.mmap, epoch: int, index: int) -> tuple[list, str | None]:
    """(places of the arrays in the memory, none where they are too large; the error if any)."""
    try:
        arrays = make(epoch, index)
    except BaseException as error:  # SystemExit too
        return [], "".join(traceback.format_exception_only(error)).strip()[:1000]
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()  # what a loader prints; os._exit drops it
    places, end = [], 0
    for array in arrays:
        start = -(-end // _ALIGNED) * _ALIGNED
        end = start + array.nbytes
        places.append((start, array.shape, array.dtype.str))
    if end > len(memory):
        return [], None
    for (start, shape, kind), array in zip(places, arrays):
        np.ndarray(shape, kind, memory, start)[...] = array
    return places, None
