"""A run's folder: whose it is, what lies there, and what a run that goes on believes of it."""

import csv
import datetime
import errno
import multiprocessing
import os
import shutil
import signal

import pytest

pytest.importorskip("resource")  # what the small run is bounded by

from mrcnn.errors import UsageError
from mrcnn.train import checkpoints
from mrcnn.train.folders import begun
from mrcnn.train.stopping import TrainingStopped
from tests.faults.kills import tensors
from tests.faults.small_run import INTERRUPTED, Moment, SmallRun

MINUTE = datetime.datetime(2026, 11, 23, 3, 8)


@pytest.fixture
def run(tmp_path):
    return SmallRun(tmp_path)


@pytest.fixture
def one_minute(monkeypatch):
    """All begins at 3:08."""

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return MINUTE

    monkeypatch.setattr(datetime, "datetime", Clock)


def names(folder):
    """Of its files; TensorBoard, where it is installed, has folders."""
    return sorted(set(os.listdir(folder)) - {"train", "validation"})


def epochs(folder):
    with open(os.path.join(folder, "history.csv"), newline="") as file:
        return [int(row["epoch"]) for row in csv.DictReader(file)]


def touch_before(run, place, touch, epochs=4):
    """The number of the touch before which a run is to be struck."""
    other = SmallRun(place, **run.settings)
    touched = other.train(epochs).touched
    return next(i for i, told in enumerate(touched) if told.startswith(touch))


# -- Whose it is ------------------------------------------------------------------------------


def test_two_runs_of_one_minute(run, one_minute):
    first, second = run.model(), run.model()
    assert first.log_dir == second.log_dir  # nobody has begun
    for model in (first, second):
        run.train_model(model, 2)
    assert names(run.logs) == ["small20261123T0308", "small20261123T0309"]
    assert second.log_dir.endswith("0309") and second.checkpoint_path.startswith(second.log_dir)
    assert second.find_last() == os.path.join(second.log_dir, "mask_rcnn_small_0002.h5")
    for model in (first, second):
        assert epochs(model.log_dir) == [1, 2]
    # Both go on where they are: another stage, or another process.
    run.train_model(first, 3)
    assert epochs(first.log_dir) == [1, 2, 3]
    again = run.model()
    again.load_weights(os.path.join(first.log_dir, "mask_rcnn_small_0003.h5"))
    run.train_model(again, 4)
    assert epochs(first.log_dir) == [1, 2, 3, 4] and len(names(run.logs)) == 2


def take(model, together, taken):
    together.wait()
    with begun(model) as log:
        taken.put(log.folder)
        together.wait()


def test_many_at_once(run, one_minute):
    context = multiprocessing.get_context("fork")
    together, taken = context.Barrier(6), context.Queue()
    model = run.model()
    processes = [context.Process(target=take, args=(model, together, taken)) for _ in range(6)]
    for process in processes:
        process.start()
    folders = {taken.get() for _ in processes}
    for process in processes:
        process.join()
    assert sorted(map(os.path.basename, folders)) == [
        f"small20261123T{i:04d}" for i in range(308, 314)
    ]


def test_a_folder_that_the_script_has_made(run, one_minute):
    model = run.model()
    os.makedirs(model.log_dir)
    with open(os.path.join(model.log_dir, "notes.txt"), "w") as file:
        file.write("what I try today")
    run.train_model(model, 1)
    assert names(run.logs) == ["small20261123T0308"] and "notes.txt" in names(model.log_dir)


def test_a_folder_of_another_program(run, one_minute):
    """Matterport's code, or a version before: checkpoints, and no history."""
    model = run.model()
    os.makedirs(model.log_dir)
    theirs = os.path.join(model.log_dir, "mask_rcnn_small_0005.h5")
    model.keras_model.save_weights(theirs)
    before = os.stat(theirs).st_mtime_ns
    run.train_model(run.model(), 1)
    assert os.stat(theirs).st_mtime_ns == before and len(names(run.logs)) == 2
    model.load_weights(theirs)  # meant to go on with
    run.train_model(model, 6)
    assert os.path.isfile(theirs.replace("0005", "0006"))


def test_weights_of_another_task_begin_a_run(run, one_minute, tmp_path):
    """Two trainings from one checkpoint of COCO would share the folder named by its time."""
    other = tmp_path / "coco20180101T1234" / "mask_rcnn_coco_0002.h5"
    other.parent.mkdir()
    run.model().keras_model.save_weights(other)
    for _ in range(2):
        model = run.model()
        model.load_weights(other)
        assert model.epoch == 2  # as in Matterport's code
        run.train_model(model, 3)
    assert names(run.logs) == ["small20180101T1234", "small20180101T1235"]


def test_a_place_of_the_script_s_own(run, tmp_path):
    """Old scripts set the attributes; braces in a path mean nothing."""
    for _ in range(2):
        model = run.model()
        model.log_dir = str(tmp_path / "mine {x}")
        model.checkpoint_path = os.path.join(model.log_dir, "weights", "mask_rcnn_w_{epoch:02d}.h5")
        run.train_model(model, 1)
    assert names(tmp_path / "mine {x}" / "weights") == ["mask_rcnn_w_01.h5", "optimizer_0001.npz"]
    model.checkpoint_path = os.path.join(model.log_dir, "one_for_all.h5")
    run.train_model(model, 2)
    assert os.path.isfile(model.checkpoint_path)


def test_one_process_at_a_time(run):
    run.train_here(1)
    model = run.model()
    model.load_weights(model.find_last())
    with begun(model):
        other = run.model()
        other.load_weights(other.find_last())
        with pytest.raises(UsageError, match="another process is training in .*small"):
            run.train_model(other, 2)
    run.train_model(other, 2)


# -- What it goes on from ---------------------------------------------------------------------


def test_a_state_without_its_weights_is_no_epoch(run, tmp_path):
    """Killed between the two, gone on after epoch 2, stopped early in 3: the next one trains 3."""
    at = touch_before(run, tmp_path / "straight", "open .mask_rcnn_small_0003.h5")
    assert run.train(4, Moment(at)).code == -signal.SIGKILL
    (folder,) = run.logs.iterdir()
    assert "optimizer_0003.npz" in names(folder) and not list(folder.glob("*_0003.h5"))
    assert run.train(4, interrupt=(3, 0)).code == INTERRUPTED
    assert "optimizer_0003.npz" not in names(folder)  # cleared when the run went on
    model = run.train_here(4)
    resumed = [epoch for what, epoch in run.journal if what == "resumed"]
    assert resumed == [0, 2, 2] and model.epoch == 4
    assert [e for what, e in run.journal if what == "trained"] == [1, 2, 3, 3, 4]
    assert epochs(folder) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "touch", ["open .optimizer_0003", "open .mask_rcnn_small_0003.h5", "open .curves"]
)
def test_history_has_a_row_for_each_checkpoint(run, tmp_path, touch):
    at = touch_before(run, tmp_path / "straight", touch)
    run.train(4, Moment(at))
    (folder,) = run.logs.iterdir()
    saved = checkpoints.numbered(str(folder))
    assert set(saved) <= set(epochs(folder))
    run.train_here(4)
    assert epochs(folder) == [1, 2, 3, 4]


def test_what_a_killed_writer_left_goes_when_the_run_goes_on(run, tmp_path):
    at = touch_before(run, tmp_path / "straight", "rename .mask_rcnn_small_0003.h5")
    run.train(4, Moment(at))
    (folder,) = run.logs.iterdir()
    assert [name for name in names(folder) if name.endswith(".tmp")]
    own = folder / f".mine.{os.getpid()}.tmp"  # its writer lives
    own.touch()
    run.train_here(4)
    assert [name for name in names(folder) if name.endswith(".tmp")] == [own.name]


def test_an_interruption_that_an_epoch_has_overtaken(run):
    """Killed after the epoch's checkpoint and before the interrupted one is removed."""
    run.train(4, interrupt=(3, 0))
    (folder,) = run.logs.iterdir()
    interrupted = folder / "mask_rcnn_small_interrupted.h5"
    shutil.copy(interrupted, folder.parent / "kept")
    run.train_here(3)
    assert not interrupted.exists()
    shutil.copy(folder.parent / "kept", interrupted)
    assert run.model().find_last().endswith("_0003.h5")
    assert checkpoints.reached(interrupted) == 2


def test_interrupted_files_of_older_versions(run):
    """They don't say which epoch was reached: the checkpoints and the history do."""
    run.train(4, interrupt=(3, 0))
    (folder,) = run.logs.iterdir()
    model = run.model()
    model.save_weights(folder / "mask_rcnn_small_interrupted.h5")  # without the epoch
    (folder / "optimizer_0003.npz").write_bytes(b"stale")
    assert checkpoints.reached(model.find_last()) == 2
    os.remove(folder / "mask_rcnn_small_0002.h5")  # with SAVE_BEST_ONLY
    assert checkpoints.reached(model.find_last()) == 2


def test_going_back_puts_away_what_came_after(run, capsys):
    """Else a run that is killed in epoch 3 would go on from the old epoch 4."""
    run.train_here(4)
    (folder,) = run.logs.iterdir()
    kept = tensors(folder / "mask_rcnn_small_0004.h5")
    model = run.model()
    model.load_weights(folder / "mask_rcnn_small_0002.h5")
    capsys.readouterr()
    run.train_model(model, 3)
    away = folder / "after_0002"
    assert (
        f"is now in {away}: mask_rcnn_small_0003.h5, mask_rcnn_small_0004.h5."
        in capsys.readouterr().out
    )
    assert names(away) == [
        "history.csv", "mask_rcnn_small_0003.h5", "mask_rcnn_small_0004.h5", "optimizer_0004.npz"
    ]  # fmt: skip
    assert model.find_last() == str(folder / "mask_rcnn_small_0003.h5")
    assert epochs(folder) == [1, 2, 3] and epochs(away) == [1, 2, 3, 4]
    again = tensors(away / "mask_rcnn_small_0004.h5")
    assert all((again[name] == kept[name]).all() for name in kept)


def test_a_model_that_was_interrupted_counts_on(run):
    """In a notebook train() is called once more, on the same object."""
    model = run.model()
    model.keras_model.interrupt = (3, 0)
    with pytest.raises(KeyboardInterrupt):
        run.train_model(model, 4)
    assert model.epoch == 2
    model.keras_model.interrupt = None
    run.train_model(model, 4)
    assert epochs(model.log_dir) == [1, 2, 3, 4]


def test_the_optimiser_s_state_is_kept_of_the_last_epoch_alone(run):
    run.train_here(4)
    (folder,) = run.logs.iterdir()
    assert [name for name in names(folder) if name.endswith(".npz")] == ["optimizer_0004.npz"]


def test_other_files_of_the_user_s_in_the_folder(run):
    run.train_here(1)
    (folder,) = run.logs.iterdir()
    shutil.copy(folder / "mask_rcnn_small_0001.h5", folder / "mask_rcnn_small_final.h5")
    model = run.train_here(2)
    assert "mask_rcnn_small_final.h5" in names(folder)
    assert model.find_last().endswith("_0002.h5")
    assert checkpoints.newest(run.logs).name == "mask_rcnn_small_0002.h5"


def test_a_history_that_somebody_rewrote(run):
    run.train_here(1)
    (folder,) = run.logs.iterdir()
    (folder / "history.csv").write_text("Epoche;Verlust\n1;0,5\n")
    with pytest.raises(UsageError, match=r"history\.csv is no table with a column `epoch`"):
        run.train_here(2)


# -- What can't be written --------------------------------------------------------------------


def failing(monkeypatch, name, error):
    """Writing a file of this name fails."""
    from mrcnn import whole as module

    replace = os.replace

    def replaced(source, target):
        if name in os.path.basename(target):
            raise error
        replace(source, target)

    monkeypatch.setattr(module.os, "replace", replaced)


@pytest.mark.parametrize("name", ["_0002.h5", "optimizer_0002", "history.csv"])
def test_a_full_disk_ends_it_with_a_sentence(run, monkeypatch, name):
    run.train_here(1)
    (folder,) = run.logs.iterdir()
    failing(monkeypatch, name, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(
        TrainingStopped, match=rf"{name}\S* can't be written: the disk is full"
    ) as told:
        run.train_here(3)
    safe = folder / "mask_rcnn_small_0001.h5"
    assert f"The last good checkpoint is safe: {safe}." in str(told.value)
    assert {*names(folder)} == {
        "curves.png", "history.csv", "mask_rcnn_small_0001.h5", "optimizer_0001.npz", "progress.txt"
    }  # fmt: skip
    monkeypatch.undo()
    assert run.train_here(3).epoch == 3 and epochs(folder) == [1, 2, 3]


def test_a_full_disk_when_it_is_stopped_by_hand(run, monkeypatch, capsys):
    run.train_here(1)
    failing(monkeypatch, "interrupted", OSError(errno.ENOSPC, "No space left on device"))
    model = run.model()
    model.load_weights(model.find_last())
    model.keras_model.interrupt = (2, 0)
    with pytest.raises(KeyboardInterrupt):
        run.train_model(model, 3)
    told = capsys.readouterr().out
    assert "Stopped. " in told and "interrupted.h5 can't be written: the disk is full" in told
    assert "The last good checkpoint is safe: " in told and "_0001.h5." in told


def test_a_table_that_another_program_holds(run, monkeypatch):
    """As on Windows: training goes on, and its rows come later."""
    failing(monkeypatch, "history.csv", PermissionError(errno.EACCES, "Permission denied"))
    with pytest.warns(UserWarning, match="history.csv can't be written: Permission denied"):
        model = run.train_here(1)
    monkeypatch.undo()
    run.train_model(model, 2)
    assert os.path.isfile(os.path.join(model.log_dir, "mask_rcnn_small_0002.h5"))


def test_a_pipe_that_nobody_reads_any_more(run):
    """`mrcnn train .. | tee log`, and tee is gone: the weights are saved as by Ctrl-C."""
    model = run.model()

    def closed(*_):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    model.keras_model.pull = closed
    with pytest.raises(BrokenPipeError):
        run.train_model(model, 2)
    assert model.find_last().endswith("interrupted.h5")


def test_little_room_is_told_before_it_begins(run, monkeypatch):
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr("mrcnn.train.fit.shutil.disk_usage", lambda folder: usage)
    with pytest.warns(UserWarning, match="has room for 0.1 kB, .* fewer with KEEP_CHECKPOINTS"):
        run.train_here(2)
