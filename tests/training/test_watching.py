"""What a person sees of a training: lines, progress.txt, curves, and the time that is left."""

from types import SimpleNamespace

import keras
import pytest

from mrcnn.train import watching
from mrcnn.train.watching import Curves, Pace, Watch, epoch_line

LOGS = {
    "loss": 1.5,
    "rpn_class_loss": 0.1,
    "mrcnn_mask_loss": 0.4,
    "l2": 0.03,
    "val_loss": 1.75,
    "val_mrcnn_mask_loss": 0.5,
    "val_AP": 0.25,
    "val_AP50": 0.5,
}


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def train(watch, clock, epochs, seconds, first=0.0, validation=0.0):
    """Go through the calls of a training whose steps take so long."""
    watch.set_params({"epochs": epochs})
    watch.set_model(SimpleNamespace(optimizer=SimpleNamespace(learning_rate=0.00125)))
    watch.on_train_begin()
    for epoch in range(epochs):
        watch.on_epoch_begin(epoch)
        for step in range(watch.steps):
            clock.now += seconds + (first if epoch == step == 0 else 0)
            watch.on_train_batch_end(step, {"loss": 2.0 - step / 100})
        clock.now += validation
        watch.on_epoch_end(epoch, LOGS)
    watch.on_train_end()


def test_an_epochs_line_begins_with_what_counts_and_ends_with_l2():
    line = epoch_line(3, 20, LOGS, 0.00125, "151 s")
    assert line == (
        "epoch 3/20: loss 1.5000, val_AP 0.2500, val_AP50 0.5000, val_loss 1.7500, "
        "learning rate 0.00125, 151 s, rpn_class_loss 0.1000, mrcnn_mask_loss 0.4000, l2 0.0300"
    )


def test_a_file_gets_a_line_an_epoch_and_some_between(tmp_path, capsys):
    clock = Clock()
    watch = Watch(str(tmp_path), steps=100, bar=False, clock=clock)
    train(watch, clock, epochs=2, seconds=2.0, first=30.0)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("epoch 1/2, step 1 of 100: loss 2.0000")  # after half a minute
    assert lines[1].startswith("time            2 s a step, so about 3 min an epoch and 7 min in")
    assert [line for line in lines if line.startswith("epoch 1/2: loss 1.5000, val_AP")]
    assert [line for line in lines if line.startswith("epoch 2/2: ")] == lines[-1:]
    between = [line for line in lines if ", step " in line]
    assert 3 <= len(between) <= 6  # in seven minutes: 30, 60, 120, 240 s after one another
    assert all("left" in line for line in between[1:])
    assert (tmp_path / "progress.txt").read_text().startswith("epoch 2/2: loss 1.5")
    assert [path.name for path in tmp_path.iterdir()] == ["progress.txt"]


def test_progress_within_an_epoch_is_in_the_file(tmp_path):
    clock = Clock()
    watch = Watch(str(tmp_path), steps=100, bar=True, clock=clock)
    watch.set_params({"epochs": 4})
    watch.on_train_begin()
    watch.on_epoch_begin(0)
    for step in range(50):
        clock.now += 1
        watch.on_train_batch_end(step, {"loss": 1.0})
    told = (tmp_path / "progress.txt").read_text()
    assert told.startswith("epoch 1/4, step 30 of 100: loss 1.0000, 6 min left\nwritten 2")


def test_a_bar_is_wiped_before_a_line(tmp_path, capsys):
    clock = Clock()
    train(Watch(str(tmp_path), 4, bar=True, clock=clock), clock, epochs=1, seconds=1.0)
    shown = capsys.readouterr().out
    assert "\repoch 1/1 [==========          ] 2 of 4  loss 1.9900" in shown
    bar, line = shown.split("\r")[-2:]
    assert bar.strip() == "" and line.startswith("epoch 1/1: loss 1.5000")


def test_a_folder_that_cannot_be_written_to_stops_nothing(tmp_path, capsys):
    clock = Clock()
    train(Watch(str(tmp_path / "gone"), 3, bar=False, clock=clock), clock, 1, seconds=40.0)
    assert "epoch 1/1: loss" in capsys.readouterr().out


def test_the_first_step_and_validation_are_no_measure_of_steps():
    pace = Pace(steps=10, val_steps=3)
    pace.begin(0.0, epochs_left=2)
    assert pace.left() is None
    pace.step(100.0)  # the graph was traced
    assert pace.left() is None and not pace.settled
    for i in range(1, 5):
        pace.step(100.0 + 2 * i)
    assert pace.per_step == 2 and pace.settled
    assert pace.epoch() == 2 * (10 + 1) and pace.epoch_left() == 2 * 5
    assert pace.left() == 22 * 1.5
    for i in range(5, 10):
        pace.step(100.0 + 2 * i)
    pace.end(118.0 + 12)  # validation took twelve seconds
    assert pace.epoch() == 32 and pace.left() == 32  # 130 but for 98 of tracing
    pace.begin(130.0, epochs_left=1)
    assert pace.left() == 32 and pace.epoch_left() is None


@pytest.fixture
def drawn(monkeypatch):
    """The folders whose curves were drawn; drawing takes a second of `clock`."""
    clock, folders = Clock(), []

    def plot_curves(folder):
        clock.now += 1
        folders.append(folder)

    monkeypatch.setattr(watching, "plot_curves", plot_curves)
    return clock, folders


def test_curves_are_drawn_after_an_epoch_but_not_all_the_time(drawn):
    clock, folders = drawn
    curves = Curves("run", clock=clock)
    for epoch in range(60):  # of ten seconds
        clock.now += 10
        curves.on_epoch_end(epoch)
    assert 20 <= len(folders) <= 31
    before = len(folders)
    curves.on_train_end()
    assert len(folders) == before + 1


def test_curves_that_cannot_be_drawn_stop_nothing(monkeypatch, caplog):
    def plot_curves(folder):
        raise MemoryError("no room for a picture")

    monkeypatch.setattr(watching, "plot_curves", plot_curves)
    curves = Curves("run")
    curves.on_epoch_end(0)
    curves.on_train_end()
    assert caplog.text.count("curves.png can't be drawn: no room for a picture") == 1


def test_a_disk_that_is_full_ends_tensorboards_curves_and_not_the_training(monkeypatch, tmp_path):
    from mrcnn.train.tensorboard import TensorBoardCurves

    def full(self, *_):
        raise OSError(28, "No space left on device")

    curves = TensorBoardCurves(log_dir=str(tmp_path))
    monkeypatch.setattr(keras.callbacks.TensorBoard, "on_train_begin", full)
    monkeypatch.setattr(keras.callbacks.TensorBoard, "on_epoch_end", full)
    with pytest.warns(UserWarning, match="No more curves for TensorBoard: .* No space left"):
        curves.on_train_begin()
    curves.on_epoch_end(0, {"loss": 1.0})  # said once
