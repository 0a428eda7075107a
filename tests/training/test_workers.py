"""Batches that other processes make: the same ones, and nothing that these do ends a run."""

import contextlib
import logging
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from blobs import Blobs, config
from patience import PATIENCE

from mrcnn.config import ConfigError
from mrcnn.data import workers
from mrcnn.data.generator import DataGenerator
from mrcnn.data.workers import Workers
from mrcnn.model import MaskRCNN
from mrcnn.train import feed

ROOT = Path(__file__).parents[2]
PARENT = os.getpid()

pytestmark = pytest.mark.skipif(
    not feed.process_count(1), reason="processes are forked, which this system can't"
)


def assert_same(batch, other):
    assert len(batch) == len(other)
    for array, other_array in zip(batch, other):
        assert array.dtype == other_array.dtype
        np.testing.assert_array_equal(array, other_array)


def take(stream, count):
    return [inputs for (inputs,) in stream.take(count).as_numpy_iterator()]


@pytest.fixture(autouse=True)
def no_child_is_left():
    yield
    assert not multiprocessing.active_children()


class InChild(Blobs):
    """Does `what` where a process makes the batch with that picture; here it is as any other."""

    def __init__(self, what, picture=3, **kwargs):
        super().__init__(**kwargs)
        self.what, self.picture = what, picture

    def load_image(self, image_id):
        if image_id == self.picture and os.getpid() != PARENT:
            self.what()
        return super().load_image(image_id)


# -- The same batches -----------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2])
def test_the_streams_are_in_order_and_the_same_to_the_last_bit(count):
    class Slow(Blobs):
        def load_image(self, image_id):
            time.sleep(0.02 * (image_id % 3))  # later pictures are ready earlier
            return super().load_image(image_id)

    training = DataGenerator(Slow(), config(), steps=3, epoch=2, seed=1)
    validation = DataGenerator(Slow(4), config(), steps=2, seed=1, same_every_epoch=True)
    with feed.streams([training, validation], count) as (batches, val_batches):
        shown, validated = take(batches, 8), take(val_batches, 4)
        again = take(val_batches, 2)
    for k, inputs in enumerate(shown):
        assert_same(inputs, training.batch(2 + k // 3, k % 3, molded=False)[0])
    for k, inputs in enumerate(validated + again):
        assert_same(inputs, validation.batch(0, k % 2, molded=False)[0])
    with feed.streams([training], 0) as (batches,):
        for inputs, threaded in zip(shown, take(batches, 8)):
            assert_same(inputs, threaded)


def test_arrays_of_all_kinds_and_their_alignment():
    def make(epoch, index):
        made = [np.arange(7, dtype=np.uint8), np.full((2, 0, 3), 1.0), np.array([[True], [False]])]
        return [*made, np.float32(epoch) * np.ones((3, 5), np.float32)[:, ::2], np.array(index)]

    with Workers([make], 1, 100) as pool:
        for epoch in range(3):
            made = pool.make(0, epoch, 5)
            assert_same(made, make(epoch, 5))
            assert all(array.ctypes.data % 64 == 0 for array in made)
    kept = made  # they are this process's own
    assert_same(kept, make(2, 5))


def test_a_batch_that_is_too_large_is_made_here(monkeypatch):
    monkeypatch.setattr(workers, "_SLOT", 4096)

    def make(epoch, index):
        return [np.full(index, os.getpid())]

    with Workers([make], 1, 1, 60) as pool:
        (small,), (large,) = pool.make(0, 0, 500), pool.make(0, 0, 600)
        assert (small != PARENT).all() and (large == PARENT).all()
        assert pool.make(0, 0, 1)[0] != PARENT  # and on it goes


def test_processes_draw_different_numbers_from_the_global_generators():
    def make(epoch, index):
        return [np.array([np.random.random(), random.random(), os.getpid()])]

    before = np.random.get_state()[1].copy()
    with Workers([make], 2, 100) as pool:
        drawn = [pool.make(0, 0, i)[0] for i in range(8)]
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    assert len({numbers[0] for numbers in drawn}) == len({numbers[1] for numbers in drawn}) == 8


@pytest.mark.parametrize("available, cores, asked, expected", [
    (["spawn"], 8, None, 0),
    (["spawn"], 8, 2, 0),
    (["fork"], 2, None, 0),
    (["fork"], 3, None, 2),
    (["fork"], 64, None, 4),
    (["fork"], 2, 6, 6),
    (["fork"], 8, 0, 0),
])  # fmt: skip
def test_how_many(monkeypatch, available, cores, asked, expected):
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: available)
    monkeypatch.setattr(feed, "cores", lambda: cores)
    assert feed.process_count(asked) == expected


def test_threads_beside_a_gpu(monkeypatch, caplog):
    monkeypatch.setattr(feed, "cores", lambda: 8)
    monkeypatch.setattr(feed, "has_gpu", lambda: True)
    assert feed.process_count(None) == 0 and "WORKERS = 4 takes processes" in caplog.text
    assert feed.process_count(4) == 4  # somebody wants them


@pytest.mark.parametrize("asked", [-1, 1.5, True, "two"])
def test_what_is_no_count_is_refused(asked):
    with pytest.raises(ConfigError, match=f"WORKERS is {asked!r}: it must be a count of processes"):
        config(WORKERS=asked).validate("training")


# -- Whatever happens to them ---------------------------------------------------------------------


def test_an_error_of_the_data_is_the_users_own():
    class Odd(Exception):
        def __init__(self, one, two):  # can't be pickled
            super().__init__(f"{one} and {two}")

    def fail():
        raise Odd("this", "that")

    class Broken(Blobs):
        def load_mask(self, image_id):
            if image_id == 3:
                fail()
            return super().load_mask(image_id)

    generator = DataGenerator(Broken(), config(), shuffle=False, steps=3, seed=1)
    with (
        Workers([lambda *key: generator.batch(*key)[0]], 2, 10**6) as pool,
        pytest.raises(Odd, match="this and that") as caught,
    ):
        pool.make(0, 0, 0)
        pool.make(0, 0, 1)
    assert caught.value.__notes__ == ["While loading Picture 3 (blobs.blob3)."]
    assert caught.traceback[-1].name == "fail"


def hang():
    time.sleep(1000)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def crash():
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)  # pytest's handler prints a traceback
    os.kill(os.getpid(), signal.SIGSEGV)


def fail():
    raise ConnectionError("the database knows this process not")


@pytest.mark.parametrize("what, words", [
    (die, ["was ended by signal 9, Killed (the system does so where memory is short)"]),
    (crash, ["was ended by signal 11, Segmentation fault, with"]),
    (lambda: os._exit(3), ["ended by itself (exit status 3)"]),
    (hang, ["has not answered for 1 s", "2 s"]),
    (fail, ["could not make a batch that this process can (ConnectionError: the database"]),
    (sys.exit, ["could not make a batch that this process can (SystemExit"]),
], ids=["killed", "crashes", "leaves", "hangs", "fails", "exits"])  # fmt: skip
def test_a_run_goes_on_without_them(what, words, monkeypatch, caplog):
    monkeypatch.setattr(workers, "PATIENCE", 1)
    monkeypatch.setattr(feed, "SLOWER", 0)
    generator = DataGenerator(InChild(what), config(), shuffle=False, steps=3, seed=1)
    with feed.streams([generator], 2) as (batches,):
        shown = take(batches, 7)
        assert not multiprocessing.active_children()
    for k, inputs in enumerate(shown):
        assert_same(inputs, generator.batch(k // 3, k % 3, molded=False)[0])
    (record,) = caplog.records
    assert any(part in record.message for part in words), record.message
    assert "made in this process from here on; WORKERS = 0 does that" in record.message


@pytest.mark.parametrize("anew", [False, True])
def test_files_that_stay_open_are_left_to_one_process(anew, tmp_path, caplog):
    """Forked processes share the place in a file, and would read on where another left it."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), np.uint8)
    (tmp_path / "pixels").write_bytes(pixels.tobytes())

    class OneFile(Blobs):
        file = None

        def load_image(self, image_id):
            file = self.file or open(tmp_path / "pixels", "rb", buffering=0)  # noqa: SIM115
            self.file = None if anew else file
            file.seek(image_id * pixels[0].size)
            return np.frombuffer(file.read(pixels[0].size), np.uint8).reshape(64, 64, 3)

    generator = DataGenerator(OneFile(), config(), shuffle=False, steps=3, seed=1)
    with feed.streams([generator], 2) as (batches,):
        assert len(multiprocessing.active_children()) == (2 if anew else 0)
        shown = take(batches, 3)
    np.testing.assert_array_equal(np.concatenate([inputs[0] for inputs in shown]), pixels)
    told = "reads on in" in caplog.text and str(tmp_path / "pixels") in caplog.text
    assert told != anew


def test_a_loader_that_calls_tensorflow_is_left_to_threads(caplog):
    """In a forked process it would wait for threads that are not there."""

    class Mirrored(Blobs):
        def load_image(self, image_id):
            return tf.reverse(super().load_image(image_id), [1]).numpy()

    generator = DataGenerator(Mirrored(), config(), shuffle=False, steps=3, seed=1)
    with feed.streams([generator], 2) as (batches,):
        assert not multiprocessing.active_children()
        assert_same(take(batches, 1)[0], generator.batch(0, 0, molded=False)[0])
    assert "calls TensorFlow (ReverseV2)" in caplog.text


def test_no_process_can_be_started(monkeypatch, caplog):
    def refuse(self):
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(multiprocessing.context.ForkProcess, "start", refuse)
    generator = DataGenerator(Blobs(), config(), steps=3, seed=1)
    with feed.streams([generator], 2) as (batches,):
        assert_same(take(batches, 1)[0], generator.batch(0, 0, molded=False)[0])
    assert "can't be started (Resource temporarily unavailable)" in caplog.text


def test_pictures_without_instances_are_told_of_once_by_all(capfd):
    """pytest's own handler would keep the records of each process to itself."""
    handler = logging.StreamHandler(os.fdopen(os.dup(2), "w"))
    logging.getLogger("mrcnn.data.generator").addHandler(handler)
    try:
        generator = DataGenerator(Blobs(12, empty=range(2, 12, 2)), config(), seed=1)
        generator._said_empty[0] = False
        with Workers([lambda *key: generator.batch(*key)[0]], 2, 10**6) as pool:
            for i in range(6):
                pool.make(0, 0, i)
    finally:
        logging.getLogger("mrcnn.data.generator").removeHandler(handler)
    assert capfd.readouterr().err.count("left out of training") == 1


@pytest.mark.parametrize("seconds", [0.3, 1000])
def test_the_end_waits_for_a_batch_but_not_for_long(seconds, monkeypatch, tmp_path):
    """A loader that keeps what it has made on the disk should not leave half a file."""
    monkeypatch.setattr(workers, "GRACE", PATIENCE if seconds < 1 else 1)

    def keep(epoch, index):
        (tmp_path / "begun").touch()
        time.sleep(seconds)
        (tmp_path / "finished").touch()
        return [np.zeros(1)]

    def ask():
        with contextlib.suppress(RuntimeError):  # the run has ended
            pool.make(0, 0, 0)

    with Workers([keep], 1, 100) as pool:
        asking = threading.Thread(target=ask)
        asking.start()
        while not (tmp_path / "begun").exists():
            time.sleep(0.01)
        started = time.monotonic()
    assert time.monotonic() - started < 900
    asking.join(PATIENCE)
    assert not asking.is_alive()
    assert (tmp_path / "finished").exists() == (seconds < 1)


PROGRAM = """
    import os, sys, threading, time
    sys.path.insert(0, {root!r})
    import numpy as np
    from mrcnn.data.workers import Workers

    def make(epoch, index):
        if index:
            time.sleep(1000)
        return [np.array(os.getpid())]

    with Workers([make], 3, 100) as pool:
        for worker in pool._workers:
            print(worker.process.pid, flush=True)
        thread = threading.Thread(target=pool.make, args=(0, 0, 1), daemon=True)
        thread.start()  # one of them is in the midst of a batch
        time.sleep(0.5)
        print("READY", flush=True)
        time.sleep(1000)
"""


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def test_they_end_with_a_parent_that_is_killed():
    program = textwrap.dedent(PROGRAM).format(root=str(ROOT))
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    with process:
        pids = [int(line) for line in iter(process.stdout.readline, "READY\n")]
        assert len(pids) == 3 and all(map(running, pids))
        process.kill()
    deadline = time.monotonic() + PATIENCE
    while any(map(running, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(running, pids))


# -- train() --------------------------------------------------------------------------------------


def trained(folder, dataset=None, callbacks=(), **settings):
    """[losses of each epoch, weights at the end] of the same run in other circumstances."""
    keras.utils.set_random_seed(1)
    model = MaskRCNN("training", config(**settings), str(folder))
    history = model.train(
        dataset or Blobs(), Blobs(3), 0.01, 2, "all", custom_callbacks=list(callbacks)
    )
    assert not multiprocessing.active_children()
    return history.history, model.keras_model.get_weights()


def test_a_run_is_the_same_with_and_without_them(tmp_path, eager, deterministic, monkeypatch):
    in_threads, weights = trained(tmp_path, WORKERS=0)
    assert in_threads["loss"][0] != in_threads["loss"][1] and "val_loss" in in_threads
    monkeypatch.setattr(feed, "cores", lambda: 3)
    in_processes, others = trained(tmp_path, InChild(die))  # half the way
    assert in_processes == in_threads
    assert_same(others, weights)
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    monkeypatch.setattr(workers.Workers, "_fork", None)
    assert trained(tmp_path, WORKERS=2)[0] == in_threads


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_no_process_outlives_a_run_that_ends_early(error, tmp_path, eager):
    children = []

    def stop(batch, logs=None):
        children.extend(multiprocessing.active_children())
        raise error

    with pytest.raises(error):
        trained(tmp_path, None, [keras.callbacks.LambdaCallback(on_batch_end=stop)], WORKERS=2)
    assert len(children) == 2 and not any(running(child.pid) for child in children)


def test_an_error_ends_the_run_with_its_text(tmp_path, eager, monkeypatch):
    """One that the check before the run didn't see, for it reads some pictures alone."""
    monkeypatch.setattr("mrcnn.model.check", lambda *_: None)

    class Broken(Blobs):
        def load_mask(self, image_id):
            if image_id == 30:
                raise KeyError("all_points_y")
            return super().load_mask(image_id)

    with pytest.raises(Exception, match="all_points_y") as caught:
        trained(tmp_path, Broken(40), WORKERS=2, STEPS_PER_EPOCH=20)
    told = str(caught.value) + "".join(getattr(caught.value, "__notes__", []))
    assert "While loading Picture 30 (blobs.blob30)" in told
