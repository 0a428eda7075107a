"""Signals that ask a program to stop, and Ctrl-C while it is imported."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from patience import PATIENCE
from PIL import Image

from mrcnn.cli import detect, main
from mrcnn.signals import STOPS, after_this, interruptible, undisturbed

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _as_in_a_terminal():
    """What started the tests may ignore some signals, as nohup and `&` do."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in STOPS}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOPS, ids=lambda number: number.name)
def test_what_asks_to_stop_interrupts(number):
    with pytest.raises(KeyboardInterrupt), interruptible():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) == signal.SIG_DFL


def test_of_a_closed_terminal_one_hears_twice():
    with interruptible():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)  # what is being saved goes on
        with undisturbed():
            os.kill(os.getpid(), signal.SIGTERM)


def test_what_is_being_saved_is_finished():
    done = []
    with pytest.raises(KeyboardInterrupt), interruptible(), after_this():
        os.kill(os.getpid(), signal.SIGINT)
        done.append("saved")
    assert done == ["saved"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt), after_this():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)  # it hangs, says who presses it twice
        done.append("hangs")
    with after_this():
        done.append("nobody pressed")
    assert done == ["saved", "nobody pressed"]


def test_nohup_and_other_handlers_stay():
    heard = []
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: heard.append("theirs"))
    with interruptible():
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
    assert heard == ["theirs"]


def test_in_another_thread_nothing_changes():
    seen = []

    def run():
        with interruptible(), undisturbed():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]


@pytest.mark.parametrize("number", [signal.SIGINT, *STOPS], ids=lambda number: number.name)
def test_detect_that_is_stopped_sums_up(number, tmp_path, monkeypatch, capsys):
    for i in range(3):
        Image.fromarray(np.full((20, 20, 3), 90, np.uint8)).save(tmp_path / f"{i}.png")
    nothing = {
        "rois": np.zeros((0, 4), np.int32),
        "class_ids": np.zeros(0, np.int32),
        "scores": np.zeros(0, np.float32),
        "masks": np.zeros((20, 20, 0), bool),
    }
    left = [None, number]

    def detector(picture):
        if number := left.pop(0):
            os.kill(os.getpid(), number)
        return nothing

    monkeypatch.setattr(detect, "load_detector", lambda *_: detector)
    out = tmp_path / "out"
    argv = ["detect", tmp_path, "--weights", "synthetic", "--out", out, "--no-pictures"]
    assert main([str(word) for word in argv]) == 130
    told = capsys.readouterr()
    assert "interrupted after 1 of 3 pictures" in told.err
    assert "1 picture, 0 instances" in told.out and "Results in" in told.out
    assert sorted(os.listdir(out)) == ["images.json", "results.json"]


@pytest.mark.parametrize(
    "program", [["-m", "mrcnn", "detect"], ["samples/coco/coco.py"]], ids="/".join
)
def test_ctrl_c_while_it_is_imported_is_a_line(program, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Pressed:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'numpy':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Pressed())\n"
    )
    done = subprocess.run(
        [sys.executable, *program, "--help"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.stderr == f"\n{'coco.py' if 'samples' in program[0] else 'mrcnn'}: interrupted.\n"
    assert done.stdout == "" and done.returncode in (-signal.SIGINT, 130)
