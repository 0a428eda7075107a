"""Batches on their way from a generator into the network, made ahead of the steps."""

import contextlib
import glob
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import op_callbacks

from mrcnn.data import workers as processes
from mrcnn.data.generator import DataGenerator
from mrcnn.devices import cores, has_gpu

logger = logging.getLogger(__name__)

Make = Callable[[int, int], Sequence[np.ndarray]]  # of an epoch, and a batch's number in it
SLOWER = 30  # times that a process may take for a batch what the first ones took here


@contextlib.contextmanager
def streams(
    generators: Sequence[DataGenerator], workers: int | None = None
) -> Iterator[list[tf.data.Dataset]]:
    """The `stream` of each generator, fed by processes that end with the `with` block.

    workers: as Config.WORKERS: None chooses by the cores, and threads beside a GPU; 0 makes the
        batches in threads.
    """
    count = process_count(workers)
    started, before = time.monotonic(), _read_positions()
    with _noted_operations() as called:
        feeds = [_Feed(generator) for generator in generators]
    patience = max(processes.PATIENCE, SLOWER * (time.monotonic() - started))
    read_on = [path for path, at in _read_positions() - before if at]
    if count and read_on:
        logger.warning(
            "load_image() or load_mask() reads on in %s, which stays open. Processes would share "
            "their place in it and read wrong bytes, so threads make the batches; where each call "
            "opens it anew, processes can.",
            read_on[0],
        )
    if count and called:
        logger.warning(
            "load_image() or load_mask() calls TensorFlow (%s), which can't run in a process that "
            "is forked from this one, so threads make the batches.",
            called[0],
        )
    if not count or read_on or called:
        threads = max(1, min(4, cores() - 1))
        yield [feed.stream(feed.batch, threads) for feed in feeds]
        return
    largest = max(sum(array.nbytes for array in feed.example) for feed in feeds)
    with processes.Workers([feed.batch for feed in feeds], count, largest, patience) as pool:
        yield [feed.stream(partial(pool.make, i), pool.calls) for i, feed in enumerate(feeds)]


def process_count(workers: int | None) -> int:
    """How many processes Config.WORKERS means here, 0 where there is no forking.

    Windows has none, and macOS's libraries don't survive it.
    """
    if sys.platform == "darwin" or "fork" not in multiprocessing.get_all_start_methods():
        return 0
    if workers is not None:
        return int(workers)
    if cores() < 3:
        return 0
    count = min(4, cores() - 1)
    if has_gpu():
        # CUDA runs by now, which no forked process may call. Ours don't, but that was not tried
        # on a GPU, and threads mostly make batches faster than it uses them up.
        logger.warning(
            "A GPU is in use, so threads make the batches; WORKERS = %d takes processes.", count
        )
        return 0
    return count


@contextlib.contextmanager
def _noted_operations() -> Iterator[list[str]]:
    """Names of TensorFlow's operations that this thread runs in the block."""
    called: list[str] = []

    def note(kind: str | bytes, *_: Any, **__: Any) -> None:
        called.append(kind.decode() if isinstance(kind, bytes) else kind)

    op_callbacks.add_op_callback(note)
    try:
        yield called
    finally:
        op_callbacks.remove_op_callback(note)


def _read_positions() -> set[tuple[str, int]]:
    """(path, bytes read) of the files that this process holds open; Linux alone tells."""
    positions = set()
    for info in glob.glob("/proc/self/fdinfo/*"):
        with contextlib.suppress(OSError), open(info) as file:  # it may be closed by now
            position, flags = (line.split()[1] for line in [*file][:2])
            path = os.readlink(info.replace("fdinfo", "fd"))
            if int(flags, 8) & 3 != os.O_WRONLY and os.path.isfile(path):
                positions.add((path, int(position)))
    return positions


def stream(generator: DataGenerator, workers: int) -> tf.data.Dataset:
    """A generator's batches without end, from its epoch on, made ahead of time and in order.

    Keras would run through a generator itself, but it counts a first look at the data as an
    epoch, and its threads hand batches over in any order: a resumed run would see other ones.
    Pictures of uint8 go as they are, a quarter of the bytes; `TrainingModel` molds them.

    workers: threads; `streams` has processes.
    Raises what load_image() or load_mask() raises, as TensorFlow's error with the same text.
    """
    feed = _Feed(generator)
    return feed.stream(feed.batch, workers)


class _Feed:
    """A generator's batches with the same dtypes from the first to the last, as tf.data wants."""

    def __init__(self, generator: DataGenerator) -> None:
        self.generator = generator
        self.example = generator.batch(generator.epoch, 0, molded=False)[0]
        self.raw = self.example[0].dtype == np.uint8

    def batch(self, epoch: int, index: int) -> list[np.ndarray]:
        """The training model's inputs; pictures are molded, or uint8 where `raw`."""
        images, *others = self.generator.batch(epoch, index, molded=not self.raw)[0]
        # Augmentation may make floats of some pictures: among uint8 they travel as their bytes.
        return [images.view(np.uint8) if self.raw else images, *others]

    def stream(self, make: Make, calls: int) -> tf.data.Dataset:
        """The batches that `make` makes, so many at a time."""
        generator, steps = self.generator, len(self.generator)
        first = generator.epoch
        one_size = generator.config.IMAGE_RESIZE_MODE in ("square", "crop")

        def numbered(k: int) -> Sequence[np.ndarray]:
            epoch = first if generator.same_every_epoch else first + int(k) // steps
            return make(epoch, int(k) % steps)

        def load(k: tf.Tensor) -> tuple[tuple[tf.Tensor, ...]]:
            arrays = tf.numpy_function(numbered, [k], [x.dtype for x in self.example])
            shapes = [[None, *like.shape[1:]] for like in self.example]
            if not one_size:  # height and width of pictures vary, and with them the anchors
                shapes[0][1:3], shapes[2][1] = [None, None], None
            if self.raw:
                shapes[0][3] = None
            for array, shape in zip(arrays, shapes):
                array.set_shape(shape)
            return (tuple(arrays),)

        # Calls that wait for a process shall not take the threads that the network runs on.
        options = tf.data.Options()
        options.threading.private_threadpool_size = calls
        batches = tf.data.Dataset.counter()
        batches = batches.map(load, num_parallel_calls=calls, deterministic=True)
        return batches.prefetch(2).with_options(options)
