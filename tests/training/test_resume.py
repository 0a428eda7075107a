"""A run that was stopped goes on as if it had not been, and whatever stopped it loses little."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest
from blobs import Blobs, config
from patience import kill_when_it_hangs

from mrcnn.model import MaskRCNN
from mrcnn.train.checkpoints import TrainingState
from mrcnn.train.folders import begun

ROOT = Path(__file__).parents[2]


def largest_difference(model, other):
    """Over all weights, relative to the largest of each tensor."""
    pairs = zip(model.keras_model.get_weights(), other.keras_model.get_weights(), strict=True)
    return max(abs(a - b).max() / max(abs(a).max(), 1e-3) for a, b in pairs)


def trained(folder, epochs, start=None, callbacks=(), learning_rate=0.01, **settings):
    """A new model, gone on from the checkpoint `start`, trained to `epochs`."""
    keras.utils.set_random_seed(1)  # the same first weights
    settings = {"VALIDATION_STEPS": 0, "STEPS_PER_EPOCH": 1, **settings}
    model = MaskRCNN("training", config(**settings), str(folder))
    if start:
        model.load_weights(start)
        np.random.seed(99)  # what an unseeded run would draw in another process
    model.train(Blobs(), None, learning_rate, epochs, "all", custom_callbacks=callbacks)
    return model


# With deterministic kernels the runs are equal bit for bit here; another machine's may differ in
# rounding, which grows a little with each step. A lost momentum makes 1e-2.
CLOSE, FAR = 1e-4, 1e-3


def test_four_epochs_equal_two_and_two(tmp_path, eager, deterministic):
    """No seed is given: the run's own travels beside its checkpoint."""
    straight = trained(tmp_path / "straight", 4, SEED=None)
    first = trained(tmp_path / "halves", 2, SEED=None)
    shutil.copytree(tmp_path / "halves", tmp_path / "amnesic")
    last = MaskRCNN("training", config(), str(tmp_path / "halves")).find_last()
    halves = trained(tmp_path / "halves", 4, last, SEED=None)
    assert halves.log_dir == first.log_dir
    print("apart:", largest_difference(straight, halves))
    assert largest_difference(straight, halves) < CLOSE
    names = [name for name in os.listdir(halves.log_dir) if name.endswith((".h5", ".npz"))]
    numbers = [f"mask_rcnn_blobs_{i:04d}.h5" for i in range(1, 5)]
    assert sorted(names) == [*numbers, "optimizer_0004.npz"]

    # Without the optimiser's state the momentum is lost, or this test would prove nothing.
    for path in (tmp_path / "amnesic").rglob("*.npz"):
        path.unlink()
    start = MaskRCNN("training", config(), str(tmp_path / "amnesic")).find_last()
    amnesic = trained(tmp_path / "amnesic", 4, start, SEED=None)
    assert amnesic.epoch == 4
    assert largest_difference(straight, amnesic) > FAR


def test_a_run_cut_short_goes_on_along_its_schedule(tmp_path, eager, deterministic):
    """Ctrl-C in the third of four epochs, then the same call: the cosine is that of four."""
    schedule = {"LEARNING_RATE_SCHEDULE": "cosine", "WARMUP_STEPS": 2}
    straight = trained(tmp_path / "straight", 4, **schedule)

    def interrupt(epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt

    stop = keras.callbacks.LambdaCallback(on_epoch_begin=interrupt)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "cut", 4, callbacks=[stop], **schedule)
    last = MaskRCNN("training", config(), str(tmp_path / "cut")).find_last()
    assert last.endswith("mask_rcnn_blobs_interrupted.h5")
    resumed = trained(tmp_path / "cut", 4, last, **schedule)
    assert largest_difference(straight, resumed) < CLOSE
    assert not os.path.exists(last)  # epoch 3 holds more
    assert float(resumed.keras_model.optimizer.learning_rate) < 1e-4  # the end of the cosine


def test_a_new_learning_rate_counts(tmp_path, eager):
    """The optimiser's state must not bring the old one back."""

    def stop(epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt

    callback = keras.callbacks.LambdaCallback(on_epoch_begin=stop)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, 3, callbacks=[callback], STEPS_PER_EPOCH=1)
    last = MaskRCNN("training", config(), str(tmp_path)).find_last()
    model = trained(tmp_path, 3, last, learning_rate=0.001, STEPS_PER_EPOCH=1)
    assert float(model.keras_model.optimizer.learning_rate) == pytest.approx(0.001)


def test_which_train_calls_go_on_with_a_state():
    class Model:
        trainable_weights = [type("Weight", (), {"path": "conv1/conv2d_7/kernel"})]

    def fits(epoch=2, last=4, now=4, rate=0.01, steady=True, layers=("conv1/kernel",)):
        state = TrainingState(epoch, 0, last, 7, 0.01, list(layers), [])
        return state.fits(Model, rate, now, steady)

    assert fits()  # cut short, and asked for once more
    assert fits(rate=0.001, steady=False)  # the schedule's shape is kept
    assert fits(epoch=4, now=8)  # finished, and prolonged
    assert not fits(epoch=4, now=8, rate=0.001)  # a next stage
    assert not fits(epoch=4, now=8, steady=False)  # another cosine
    assert not fits(layers=("conv1/kernel", "conv1/bias"))


def test_a_state_of_other_settings_is_refused():
    optimizer = keras.optimizers.SGD(momentum=0.9)
    optimizer.build([keras.Variable(np.zeros(3, np.float32))])
    state = TrainingState(12, 0, 20, 7, 0.01, ["w"], [np.array(5), np.ones(3, np.float32)])
    state.restore(optimizer)
    assert int(optimizer.iterations) == 5 and optimizer.momentums[0].numpy().tolist() == [1, 1, 1]
    state.variables.append(np.array(1.0))
    with pytest.raises(ValueError, match="optimizer_0012.npz.*MIXED_PRECISION"):
        state.restore(optimizer)


# -- In a process of its own --------------------------------------------------------------------

PROGRAM = """
    import sys, time
    sys.path[:0] = [{root!r}, {tests!r}]
    import signal
    for number in (signal.SIGTERM, signal.SIGHUP):  # whatever started the tests ignores
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    import keras
    from blobs import Blobs, config
    from mrcnn.model import MaskRCNN
    from mrcnn.train.keras_model import TrainingModel
    from mrcnn.weights import writing

    compile_graph = TrainingModel.compile
    def compile_eagerly(self, *args, **kwargs):
        compile_graph(self, *args, **kwargs)
        self.run_eagerly = True
    TrainingModel.compile = compile_eagerly

    {patch}
    settings = config(VALIDATION_STEPS=0, STEPS_PER_EPOCH=1, WORKERS=2)
    model = MaskRCNN("training", settings, {logs!r})
    model.train(Blobs(), None, 0.01, 500, "heads", custom_callbacks=[{callback}])
"""
# Between two steps: TensorFlow 2.18 aborts where eager gradients are interrupted, and only these.
IN_EPOCH_3 = """keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs:
        epoch == 2 and (print("READY", flush=True), time.sleep(10000)))"""
STUCK_SECOND_WRITE = """
    import contextlib
    whole = writing.whole

    @contextlib.contextmanager
    def stuck(path, **kwargs):
        with whole(path, **kwargs) as unfinished:
            yield unfinished
            if "_0002" in path.name:
                print("READY", flush=True)
                time.sleep(10000)

    writing.whole = stuck
"""


def run_until_ready(logs, patch="", callback=""):
    program = textwrap.dedent(PROGRAM).format(
        root=str(ROOT),
        tests=str(Path(__file__).parent),
        logs=str(logs),
        patch=textwrap.dedent(patch),
        callback=callback,
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    kill_when_it_hangs(process)
    for line in process.stdout:
        if line.strip() == "READY":
            return process
    raise AssertionError(process.communicate()[1][-2000:])


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda s: s.name
)
def test_a_signal_saves_and_says_how_to_go_on(number, tmp_path):
    process = run_until_ready(tmp_path, callback=IN_EPOCH_3)
    os.killpg(process.pid, number)  # as a terminal does: the processes that make batches get it too
    printed, _ = process.communicate()  # which waits for these to end
    assert process.returncode != 0
    assert "Stopped. The weights as they are stand in" in printed
    assert "model.load_weights(model.find_last()), then the same train() call" in printed
    model = MaskRCNN("training", config(), str(tmp_path))
    last = model.find_last()
    assert last.endswith("mask_rcnn_blobs_interrupted.h5") and last in printed
    assert not model.load_weights(last).missing
    assert model.epoch >= 2 and TrainingState.load(model.log_dir, model.epoch)


def test_killed_in_the_middle_of_a_checkpoint(tmp_path):
    process = run_until_ready(tmp_path, patch=STUCK_SECOND_WRITE)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    (folder,) = tmp_path.iterdir()
    assert any(name.startswith(".mask_rcnn_blobs_0002.h5") for name in os.listdir(folder))
    model = MaskRCNN("training", config(), str(tmp_path))
    last = model.find_last()
    assert last.endswith("mask_rcnn_blobs_0001.h5")
    assert not model.load_weights(last).missing
    assert model.epoch == 1
    assert TrainingState.load(model.log_dir, 1)  # the momentum is not lost either
    with begun(model):
        left = {name for name in os.listdir(folder) if not name.endswith((".png", ".txt"))}
    left -= {"train", "validation"}  # TensorBoard's, where it is installed
    assert left == {"history.csv", "mask_rcnn_blobs_0001.h5", "optimizer_0001.npz"}
