"""train(): what it minimises, what it writes, and what stops it."""

import csv
import os
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

from mrcnn.data.generator import DataGenerator
from mrcnn.model import MaskRCNN
from mrcnn.train import feed
from mrcnn.train.callbacks import TrainingDiverged
from mrcnn.train.keras_model import LOSS_NAMES, TrainingModel
from mrcnn.train.optimiser import WarmedUp, schedule

ROOT = Path(__file__).parents[2]


def files(folder):
    return sorted(os.listdir(folder))


def losses_of_first_batch(model):
    """By the public API, the regions chosen alike each time."""
    inputs, _ = DataGenerator(Blobs(), model.config, seed=1)[0]
    seeds = model.keras_model.get_layer("proposal_targets").seed_generator
    seeds.state.assign([1, 0])
    return model.keras_model.test_on_batch(inputs, return_dict=True)


def test_twenty_steps_lower_the_loss(tmp_path):
    """The only test here that trains as users do, in a traced graph."""
    settings = config(STEPS_PER_EPOCH=5, VALIDATION_STEPS=0)
    model = MaskRCNN("training", settings, str(tmp_path))
    history = model.train(Blobs(), None, 0.02, 4, "all").history
    print(history)
    for name in ("rpn_class_loss", "rpn_bbox_loss"):  # the heads' depend on what the RPN proposes
        assert history[name][3] < 0.8 * history[name][0], name
    assert history["loss"][3] < 0.9 * max(history["loss"])


@pytest.fixture(scope="module")
def two_stages(tmp_path_factory):
    """A run of heads to epoch 1 and all to epoch 2: (model, weights and losses on the way)."""
    with pytest.MonkeyPatch.context() as patch:
        compile_graph = TrainingModel.compile

        def compile_eagerly(self, *args, **kwargs):
            compile_graph(self, *args, **kwargs)
            self.run_eagerly = True

        patch.setattr(TrainingModel, "compile", compile_eagerly)
        weighted = config(LOSS_WEIGHTS={"rpn_class_loss": 2.0, "mrcnn_mask_loss": 0.5})
        model = MaskRCNN("training", weighted, str(tmp_path_factory.mktemp("logs")))
        seen = []

        def look():
            layers = ("conv1", "res5a_branch2a", "mrcnn_class_logits")
            weights = [model.keras_model.get_layer(name).get_weights()[0] for name in layers]
            seen.append((dict(zip(layers, weights)), losses_of_first_batch(model)))

        model.compile(0.01, 0.9)
        look()
        called = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: look())
        histories = [
            model.train(Blobs(), Blobs(2), 0.01, epochs, layers, custom_callbacks=[called])
            for epochs, layers in ((1, "heads"), (2, "all"))
        ]
        model.compile(0.5, 0.9)
        look()
    return model, seen, histories


def test_stages_train_their_layers(two_stages):
    _, [(start, _), (heads, _), (everything, _), _], _ = two_stages
    for layer in ("conv1", "res5a_branch2a"):
        np.testing.assert_array_equal(start[layer], heads[layer])
        assert (heads[layer] != everything[layer]).any()
    assert (start["mrcnn_class_logits"] != heads["mrcnn_class_logits"]).any()
    assert (heads["mrcnn_class_logits"] != everything["mrcnn_class_logits"]).any()


def test_the_total_means_the_same_after_a_second_train(two_stages):
    """In the original each compile() added the losses once more."""
    model, seen, histories = two_stages
    weights = {**dict.fromkeys(LOSS_NAMES, 1.0), "rpn_class_loss": 2.0, "mrcnn_mask_loss": 0.5}
    reported = [losses for _, losses in seen]
    reported += [{name: h.history[name][0] for name in h.history} for h in histories]
    for losses in reported:
        total = sum(weights[name] * losses[name] for name in LOSS_NAMES) + losses["l2"]
        assert losses["loss"] == pytest.approx(total, rel=1e-5)  # float32 sums
    before, after = reported[2:4]  # the same weights, compiled anew in between
    assert before == after


def test_the_history_is_kerass(two_stages):
    _, _, (heads, everything) = two_stages
    assert isinstance(everything, keras.callbacks.History)
    assert heads.epoch == [0] and everything.epoch == [1]
    names = {*LOSS_NAMES, "l2", "loss"}
    assert set(everything.history) == names | {f"val_{name}" for name in names}


def test_what_a_run_leaves_on_disk(two_stages):
    model, seen, histories = two_stages
    assert os.path.dirname(model.checkpoint_path) == model.log_dir
    expected = ["curves.png", "history.csv", "mask_rcnn_blobs_0001.h5", "mask_rcnn_blobs_0002.h5"]
    assert files(model.log_dir)[: len(expected) + 1] == [*expected, "optimizer_0002.npz"]
    assert files(model.model_dir) == [os.path.basename(model.log_dir)]
    with open(os.path.join(model.log_dir, "history.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for row, history in zip(rows, histories):
        for name, values in history.history.items():
            assert float(row[name]) == pytest.approx(values[0], rel=1e-6), name
    with open(os.path.join(model.log_dir, "curves.png"), "rb") as file:
        assert file.read(8) == b"\x89PNG\r\n\x1a\n"


def test_checkpoints_go_into_an_inference_model(two_stages):
    model, [_, (heads, _), (everything, _), _], _ = two_stages
    inference = MaskRCNN("inference", config(), model.model_dir)
    path = inference.find_last()
    assert path.endswith("mask_rcnn_blobs_0002.h5")
    for end, weights in (("0002.h5", everything), ("0001.h5", heads)):
        report = inference.load_weights(path.replace("0002.h5", end))
        assert not report.missing and not report.mismatched
        for layer, values in weights.items():
            loaded = inference.keras_model.get_layer(layer).get_weights()[0]
            np.testing.assert_array_equal(loaded, values)
    assert inference.epoch == 1 and inference.log_dir == model.log_dir


def test_layers_that_do_not_exist(two_stages):
    model = two_stages[0]
    for layers, words in (("res9.*", "matches no layer"), ("(heads", "no regular expression")):
        with pytest.raises(ValueError, match=words):
            model.train(Blobs(), None, 0.01, 3, layers)


@pytest.fixture
def val_losses(monkeypatch, eager):
    """A function that sets what validation will find, epoch after epoch."""

    def set_values(*values):
        left = iter(values)
        monkeypatch.setattr(
            TrainingModel, "test_step", lambda self, data: {"loss": tf.constant(next(left))}
        )
        monkeypatch.setattr(
            TrainingModel, "train_step", lambda self, data: {"loss": tf.constant(1.0)}
        )

    return set_values


def test_keep_checkpoints(val_losses, tmp_path):
    val_losses(4.0, 3.0, 2.0, 1.0)
    model = MaskRCNN("training", config(KEEP_CHECKPOINTS=2), str(tmp_path))
    model.train(Blobs(), Blobs(2), 0.01, 4, "heads")
    weights = [name for name in files(model.log_dir) if name.endswith(".h5")]
    assert weights == ["mask_rcnn_blobs_0003.h5", "mask_rcnn_blobs_0004.h5"]


def test_best_only_and_early_stopping(val_losses, tmp_path):
    settings = config(SAVE_BEST_ONLY=True, EARLY_STOPPING_PATIENCE=2)
    model = MaskRCNN("training", settings, str(tmp_path))
    val_losses(3.0, 2.0, 2.5, 2.1, 0.0)
    history = model.train(Blobs(), Blobs(2), 0.01, 9, "heads")
    assert history.history["val_loss"] == [3.0, 2.0, 2.5, pytest.approx(2.1)]  # then stopped
    left = [name for name in files(model.log_dir) if name.endswith((".h5", ".npz"))]
    # The state of the best epoch too: without it, to go on from there would lose the momentum.
    assert left == ["mask_rcnn_blobs_0002.h5", "optimizer_0002.npz", "optimizer_0004.npz"]

    val_losses(2.2, 1.5, 1.6, 1.7)
    again = MaskRCNN("training", settings, str(tmp_path))
    again.load_weights(again.find_last())
    assert again.epoch == 2
    again.train(Blobs(), Blobs(2), 0.01, 6, "heads")
    left = [name for name in files(model.log_dir) if name.endswith(".h5")]
    assert left == ["mask_rcnn_blobs_0004.h5"]  # 2.2, in epoch 3, was no better than 2.0


def test_schedules():
    def rates(shape, warmup, steps):
        made = WarmedUp(0.1, 100, warmup, shape)
        again = WarmedUp.from_config(made.get_config())
        assert [float(again(s)) for s in steps] == [float(made(s)) for s in steps]
        return [float(made(s)) for s in steps]

    close = pytest.approx  # 1e-6: float32
    assert rates("constant", 10, [0, 4, 9, 10, 99]) == close([0.01, 0.05, 0.1, 0.1, 0.1])
    assert rates("cosine", 0, [0, 25, 50, 100]) == close([0.1, 0.0853553, 0.05, 0], abs=1e-6)
    assert rates("cosine", 20, [19, 20, 60, 100]) == close([0.1, 0.1, 0.05, 0], abs=1e-6)
    assert rates("step", 0, [66, 67, 88, 89]) == close([0.1, 0.01, 0.01, 0.001])
    assert schedule(config(), 0.1, 5) == 0.1
    cosine = schedule(config(LEARNING_RATE_SCHEDULE="cosine", WARMUP_STEPS=3), 0.1, 5)
    assert (cosine.total, cosine.warmup) == (10, 3)


def test_accumulated_gradients(tmp_path, eager):
    model = MaskRCNN("training", config(ACCUMULATE_GRADIENTS=2), str(tmp_path))
    model.compile(0.01, 0.9)
    inputs, _ = DataGenerator(Blobs(), model.config, seed=1)[0]
    logits = model.keras_model.get_layer("mrcnn_class_logits").trainable_weights[0]
    start = logits.numpy()
    model.keras_model.train_on_batch(inputs)
    np.testing.assert_array_equal(logits.numpy(), start)
    model.keras_model.train_on_batch(inputs)
    assert (logits.numpy() != start).any()


def running_threads():
    """Python's own threads; those of TensorFlow that once ran a Python function never end."""
    return {t for t in threading.enumerate() if not isinstance(t, threading._DummyThread)}


def assert_no_threads_but(threads):
    deadline = time.monotonic() + PATIENCE
    while (left := running_threads() - threads) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


@pytest.mark.parametrize("cores, spoiled", [(1, "mrcnn_class_logits"), (4, "conv1")])
def test_a_loss_that_is_no_number(cores, spoiled, tmp_path, eager, monkeypatch):
    monkeypatch.setattr(feed, "cores", lambda: cores)  # 4: three processes make the batches
    threads = running_threads()
    model = MaskRCNN("training", config(VALIDATION_STEPS=0), str(tmp_path))

    def spoil(epoch, logs=None):
        if epoch == 1:
            layer = model.keras_model.get_layer(spoiled)
            layer.set_weights([w * np.nan for w in layer.get_weights()])

    with pytest.raises(TrainingDiverged) as caught:
        model.train(
            Blobs(),
            None,
            0.01,
            3,
            "all",
            custom_callbacks=[keras.callbacks.LambdaCallback(on_epoch_begin=spoil)],
        )
    told = str(caught.value)
    batch = DataGenerator(Blobs(), model.config, steps=2, epoch=1, seed=7)[0][0][1]
    for image_id in batch[:, 0].astype(int):
        assert f"Picture {image_id} (blobs.blob{image_id})" in told
    assert "at batch 1," in told and model.find_last() in told
    assert model.find_last().endswith("_0001.h5")
    assert np.isfinite(model.keras_model.optimizer.learning_rate)
    report = MaskRCNN("inference", config(), str(tmp_path)).load_weights(model.find_last())
    assert not report.missing
    del caught
    assert_no_threads_but(threads)


@pytest.mark.parametrize("cores", [1, 4])
def test_training_leaves_no_threads(cores, tmp_path, val_losses, monkeypatch):
    monkeypatch.setattr(feed, "cores", lambda: cores)
    threads = running_threads()
    val_losses(*[1.0] * 6)
    model = MaskRCNN("training", config(STEPS_PER_EPOCH=5), str(tmp_path))
    model.train(Blobs(), Blobs(2), 0.01, 3, "heads")
    assert_no_threads_but(threads)


def test_two_devices_share_a_batch(tmp_path):
    """In a process of its own: TensorFlow divides the processor in two before it does anything."""
    program = f"""
        import sys
        sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests" / "training")!r}]
        import tensorflow as tf
        (cpu,) = tf.config.list_physical_devices("CPU")
        half = tf.config.LogicalDeviceConfiguration()
        tf.config.set_logical_device_configuration(cpu, [half, half])
        from blobs import Blobs, config
        from mrcnn.model import MaskRCNN

        with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
            model = MaskRCNN("training", config(STEPS_PER_EPOCH=8, WORKERS=2), {str(tmp_path)!r})
            losses = model.train(Blobs(), Blobs(2), 0.01, 2, "heads").history["loss"]
        assert losses[1] < losses[0], losses
    """
    program = textwrap.dedent(program)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert not done.returncode, done.stderr[-3000:]


@pytest.mark.slow
def test_memory_stays_flat_over_500_steps(tmp_path):
    settings = config(STEPS_PER_EPOCH=100, VALIDATION_STEPS=2)
    model = MaskRCNN("training", settings, str(tmp_path))
    megabytes = []

    def measure(epoch, logs=None):
        with open("/proc/self/statm") as file:
            megabytes.append(int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20)

    model.train(
        Blobs(40),
        Blobs(4),
        0.01,
        6,
        "all",
        custom_callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=measure)],
    )
    # After the first epoch the allocators have their arenas; 25 MB is noise, 50 KB a step is not.
    assert megabytes[5] - megabytes[0] < 25, megabytes
