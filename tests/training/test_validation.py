"""When validation AP is measured, and which checkpoint is kept as the best."""

import os
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
from blobs import Blobs, config

from mrcnn.detect.instances import LimitWarning
from mrcnn.errors import UsageError
from mrcnn.model import MaskRCNN
from mrcnn.train.checkpoints import LogDir, find_last, newest, read_history
from mrcnn.train.finding import find_weights
from mrcnn.train.validation import KeepBest, ValidationAP


class Clock:
    """A clock that only moves when it is told to."""

    now = 1000.0

    def __call__(self):
        return self.now


def epochs_measured(
    epochs, seconds, cost, every=0, share=0.1, steps=10, first=0, pictures=20, building=0
):
    """The numbers of the epochs after which it was measured, and the share of the time it took."""
    clock = Clock()

    def measure():
        clock.now += cost + (0 if measured else building)
        return {"val_AP": 0.5}

    callback = ValidationAP(measure, every, share, pictures=pictures, batch=2, clock=clock)
    callback.set_params({"epochs": epochs})
    callback.on_train_begin()
    measured = []
    for epoch in range(first, epochs):
        callback.on_epoch_begin(epoch)
        for batch in range(steps):
            callback.on_train_batch_begin(batch)
            clock.now += seconds / steps
            callback.on_train_batch_end(batch)
        logs = {"loss": 1.0}
        callback.on_epoch_end(epoch, logs)
        measured += [epoch + 1] if "val_AP" in logs else []
    spent = len(measured) * cost + (building if measured else 0)
    return measured, spent / (clock.now - 1000.0)


def test_every_so_many_epochs():
    assert epochs_measured(7, 10, cost=100, every=3, share=0.0)[0] == [3, 6]
    assert epochs_measured(7, 10, cost=100, every=2, first=4)[0] == [6]


@pytest.mark.parametrize(
    ("found", "told"),
    [([0.0, 0.0, 0.0, 0.0], [3]), ([0.0, 0.2, 0.0, 0.0], []), ([-1.0] * 4, [])],
    ids=["nothing", "something", "no labels"],
)
def test_a_training_that_finds_nothing_says_so_once(found, told):
    values = iter(found)
    callback = ValidationAP(lambda: {"val_AP50": next(values)}, every=1)
    callback.set_params({"epochs": 4 * 2})
    callback.on_train_begin()
    warned = []
    for epoch in range(1, 5):  # the second epoch of a run that goes on is its first here
        callback.on_epoch_begin(epoch)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            callback.on_epoch_end(epoch, {})
        warned += [epoch + 1] * len(caught)
    assert warned == told


@pytest.mark.parametrize("cost", [0.5, 4, 20, 60])
def test_it_takes_no_more_than_its_share(cost):
    measured, share = epochs_measured(40, 100, cost)
    assert measured[-1] == 40  # what the weights are worth in the end is told
    assert share <= 0.1
    assert len(measured) >= min(20, 0.5 * 0.1 * 40 * 100 / cost)


def test_building_the_network_is_paid_for_once():
    measured, share = epochs_measured(40, 20, cost=2, building=30, pictures=2)
    assert len(measured) > 10 and share <= 0.1


def test_what_would_take_longer_is_never_measured():
    """A thousand large pictures to validate, a handful to train on."""
    assert epochs_measured(20, 10, cost=500, pictures=1000) == ([], 0)
    assert epochs_measured(20, 10, cost=5, share=0.0)[0] == []


def test_a_training_that_measures_and_keeps_the_best(tmp_path, eager, capsys):
    settings = config(VALIDATION_AP_EVERY=2, KEEP_BEST=True, KEEP_CHECKPOINTS=1)
    model = MaskRCNN("training", settings, str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("error", LimitWarning)
        history = model.train(Blobs(), Blobs(2), 0.01, 2, "all").history
    assert len(history["val_AP"]) == 1 and history["val_AP"][0] >= 0
    told = capsys.readouterr().out.splitlines()
    (line,) = (text for text in told if text.startswith("epoch 2/2: "))
    assert f"{history['loss'][1]:.4f}, val_AP {history['val_AP'][0]:.4f}, val_AP50 " in line
    assert line.split(", ")[-1].startswith("l2 ")
    folder = Path(model.log_dir)
    assert {"curves.png", "progress.txt"} < {path.name for path in folder.iterdir()}
    (row,) = [row for row in read_history(folder / "history.csv") if row["epoch"] == "2"]
    assert float(row["val_AP"]) == history["val_AP"][0]
    best = folder / "mask_rcnn_blobs_best.h5"
    assert MaskRCNN.from_checkpoint(best, model_dir=tmp_path).class_names[1:] == ["square", "disc"]

    # A new run begins with it; this one isn't gone on with.
    other = MaskRCNN("training", settings, str(tmp_path))
    other.load_weights(best)
    assert other.epoch == 0


# -- The best checkpoint ------------------------------------------------------------------------


class Model:
    """Weights that are a text."""

    description: dict = {}

    def save_weights(self, path):
        with open(path, "w") as file:
            file.write("saved for itself")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run's folder, and a function that goes through its epochs with these logs."""

    def reached(path):
        with open(path) as file:
            return int(file.read().split()[-1])

    monkeypatch.setattr("mrcnn.train.validation.reached", reached)
    folder = tmp_path / "logs" / "cells20260101T0000"
    folder.mkdir(parents=True)
    log = LogDir(str(folder), str(folder / "mask_rcnn_cells_{epoch:04d}.h5"), 0)
    rows = []

    def go(*epochs, killed=False):
        keep = KeepBest(log, rows)
        keep.set_model(Model())
        keep.on_train_begin()
        for logs in epochs:
            epoch = len(rows)
            rows.append({"epoch": epoch + 1, **logs})
            with open(log.path(epoch + 1), "w") as file:
                file.write(f"epoch {epoch + 1}")
            if not killed:
                keep.on_epoch_end(epoch, logs)

    return SimpleNamespace(folder=folder, go=go, best=folder / "mask_rcnn_cells_best.h5", rows=rows)


def test_the_lowest_validation_loss_until_ap_is_known(run):
    run.go({"loss": 3, "val_loss": 2.0})
    assert run.best.read_text() == "epoch 1"
    run.go({"loss": 1, "val_loss": 2.5}, {"loss": 1, "val_loss": 1.5})
    assert run.best.read_text() == "epoch 3"
    run.go({"val_loss": 9.0, "val_AP": 0.1}, {"val_loss": 0.1})
    assert run.best.read_text() == "epoch 4"  # a measured one, and none is better by its loss
    run.go({"val_loss": 1.0, "val_AP": 0.3}, {"val_loss": 1.0, "val_AP": 0.2})
    assert run.best.read_text() == "epoch 6"


@pytest.mark.parametrize("logs", [{}, {"loss": float("nan")}, {"val_AP": -1.0}])
def test_an_epoch_of_which_nothing_is_known_is_not_the_best(run, logs):
    run.go(logs)
    assert not run.best.exists()


def test_a_run_that_was_killed_before_it_kept_the_best_makes_up_for_it(run):
    run.go({"loss": 3.0}, {"loss": 2.0})
    run.go({"loss": 1.0}, killed=True)
    assert run.best.read_text() == "epoch 2"
    run.go()
    assert run.best.read_text() == "epoch 3"
    run.go({"loss": 1.5})
    assert run.best.read_text() == "epoch 3"


def test_numbers_of_a_history_are_texts(run):
    run.go({"loss": "3.0", "val_AP": ""}, {"loss": "2.0", "val_AP": "0.5"}, {"loss": "1.0"})
    run.go({"loss": 0.5, "val_AP": 0.4})
    assert run.best.read_text() == "epoch 2"


def test_it_costs_no_room_while_its_checkpoint_is_there(run):
    run.go({"loss": 1.0})
    checkpoint = run.folder / "mask_rcnn_cells_0001.h5"
    assert os.stat(checkpoint).st_ino == os.stat(run.best).st_ino
    checkpoint.unlink()
    assert run.best.read_text() == "epoch 1"


def test_a_disk_without_second_names_gets_a_copy(run, monkeypatch):
    def link(*_):
        raise PermissionError("not here")

    monkeypatch.setattr(os, "link", link)
    run.go({"loss": 1.0})
    assert run.best.read_text() == "epoch 1" and len(list(run.folder.iterdir())) == 2


def test_a_best_that_cannot_be_kept_costs_a_warning(run, monkeypatch):
    monkeypatch.setattr("mrcnn.train.validation._second_name", lambda *_: os.stat("/nowhere"))
    with pytest.warns(UserWarning, match="can't be written"):
        run.go({"loss": 1.0})


def test_the_best_is_found_by_its_word_and_is_never_the_last(run, tmp_path):
    logs = tmp_path / "logs"
    with pytest.raises(UsageError, match="--weights best: no run under"):
        find_weights("best", logs)
    run.go({"loss": 2.0}, {"loss": 1.0})
    assert run.best.read_text() == "epoch 2"  # written at the same time as the last
    last = run.folder / "mask_rcnn_cells_0002.h5"
    assert find_weights("best", logs) == run.best
    assert find_weights("last", logs) == newest(logs) == last
    assert find_last(str(logs), SimpleNamespace(NAME="cells")) == str(last)
    run.best.unlink()
    with pytest.raises(UsageError, match="keeps no best checkpoint"):
        find_weights("best", logs)
