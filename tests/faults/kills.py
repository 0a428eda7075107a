"""Kill -9 at every touch of the disk while a training writes, go on, and look at what is left.

    python -m tests.faults.kills --cases 300 --seed 1

A run is killed a few times and gone on with after each, then trained to its end. Some runs are
interrupted by Ctrl-C in between, some keep few checkpoints or the best alone. Promised is: no
epoch is lost but the one under way, none is skipped, weights and momentum come out as those of a
run that nobody killed, history.csv has all rows, and no file is left behind.
"""

import csv
import itertools
import os
import random
import shutil
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mrcnn.train.checkpoints import TrainingState
from mrcnn.weights.files import open_weights
from tests.faults.attack import CASES, run_attack
from tests.faults.small_run import INTERRUPTED, STEPS, VAL_LOSSES, Moment, SmallRun

EPOCHS = 4
SETTINGS = [{}, {"KEEP_BEST": True}, {"KEEP_CHECKPOINTS": 2}, {"SAVE_BEST_ONLY": True}]


@dataclass
class Reference:
    """A run that nobody killed: what it left, and its touches of the disk."""

    weights: dict[str, dict[str, np.ndarray]]  # by file
    momentum: list[np.ndarray]  # at the end
    rows: list[dict[str, str]]
    files: set[str]
    touched: list[str]


def reference(place: Path, settings: dict) -> Reference:
    """Train to the end, undisturbed."""
    run = SmallRun(place, **settings)
    ended = run.train(EPOCHS)
    assert ended.code == 0, ended.told
    (folder,) = run.logs.iterdir()
    weights = {path.name: tensors(path) for path in folder.glob("*.h5")}
    momentum = TrainingState.load(str(folder), EPOCHS).variables
    return Reference(weights, momentum, rows(folder), set(os.listdir(folder)), ended.touched)


def tensors(path: Path) -> dict[str, np.ndarray]:
    """All that a weight file holds."""
    with open_weights(path) as file:
        return {"/".join(key): tensor.read() for key, tensor in file.tensors.items()}


def rows(folder: Path) -> list[dict[str, str]]:
    """The rows of history.csv."""
    with open(folder / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


def case(place: Path, rng: random.Random, straight: Reference, settings: dict) -> list[str]:
    """One run with its kills. Returns the touches at which it was killed; asserts the promises."""
    run, killed, interrupted, at = SmallRun(place, **settings), [], False, 0
    for _ in range(rng.randint(2, 4)):
        if rng.random() < 0.3:
            underway = max([epoch for what, epoch in run.journal if what == "begin"], default=1)
            ended = run.train(EPOCHS, interrupt=(underway, rng.randrange(STEPS)))
            interrupted = True
        else:
            moment = _moment(rng, straight.touched[at:])
            ended = run.train(EPOCHS, moment)
            if ended.code < 0:
                killed.append(straight.touched[at + moment.number])
                at += moment.number
        assert ended.code in (0, INTERRUPTED) or ended.code < 0, ended.told
        _an_hour_passes(run.logs)
    ended = run.train(EPOCHS)
    assert ended.code == 0, ended.told
    check(run, straight, settings, exact=not interrupted)
    return killed


def _moment(rng: random.Random, touched: list[str]) -> Moment:
    """Which of these touches to die at, or at which byte of the file that is opened there."""
    number = rng.randrange(len(touched))
    if touched[number].startswith("open") and rng.random() < 0.8:
        return Moment(number, rng.choice([0, 1, 100, rng.randrange(3000), rng.randrange(12000)]))
    return Moment(number)


def check(run: SmallRun, straight: Reference, settings: dict, exact: bool) -> None:
    """The promises, of a run that has come to its end. exact: Ctrl-C was never pressed."""
    _check_epochs(run.journal, bool(settings.get("SAVE_BEST_ONLY")))
    *others, folder = sorted(run.logs.iterdir())
    found = rows(folder)
    assert [row["epoch"] for row in found] == [str(i) for i in range(1, EPOCHS + 1)], found
    assert set(os.listdir(folder)) == straight.files, sorted(os.listdir(folder))
    for other in others:  # a run that was killed before its first checkpoint can't be gone on with
        assert not [name for name in os.listdir(other) if name.endswith((".tmp", ".h5"))]
    if exact:
        assert found == straight.rows
        for file, expected in straight.weights.items():
            values = tensors(folder / file)
            assert values.keys() == expected.keys()
            for name, value in values.items():
                np.testing.assert_array_equal(value, expected[name], err_msg=f"{file} {name}")
        momentum = TrainingState.load(str(folder), EPOCHS).variables
        for value, expected in zip(momentum, straight.momentum, strict=True):
            np.testing.assert_array_equal(value, expected)


def _check_epochs(journal: list[tuple[str, int]], best_only: bool) -> None:
    """What each process went on after, against what those before it had trained and saved."""
    saved = trained = at = 0
    for what, epoch in journal:
        if what == "resumed":
            least, most = (_best(saved), _best(trained)) if best_only else (saved, trained)
            # An interrupted run with the best checkpoint alone still has its last epoch's state.
            most = max(most, trained)
            assert least <= epoch <= most, f"resumed after {epoch}, of {least} to {most}: {journal}"
            at = saved = trained = epoch
        elif what == "begin":
            assert epoch == at + 1, f"epoch {epoch} after {at}: {journal}"
            at = epoch
        elif what == "trained":
            trained = epoch
        else:
            saved = epoch


def _best(epochs: int) -> int:
    """The epoch of the lowest loss among the first ones."""
    return min(range(epochs), key=VAL_LOSSES.__getitem__, default=-1) + 1


def _an_hour_passes(logs: Path) -> None:
    """Only then what a dead run left in a folder of its own is swept by others."""
    old = time.time() - 3601
    for path in logs.glob("*/.*.tmp"):
        os.utime(path, (old, old))


def attack(cases: int, seed: int, place: Path) -> Counter:
    """So many kills; counts them by what they hit."""
    hit: Counter = Counter()
    straight = [reference(place / f"straight{i}", s) for i, s in enumerate(SETTINGS)]
    for number in itertools.count():
        if hit[CASES] >= cases:
            return hit
        rng = random.Random(f"{seed}:{number}")
        which, here = rng.randrange(len(SETTINGS)), place / f"case{number}"
        try:
            killed = case(here, rng, straight[which], SETTINGS[which])
        except AssertionError as error:
            raise AssertionError(f"case {number} of seed {seed}: {error}") from error
        hit.update(touch.split()[0] for touch in killed)
        hit[CASES] += len(killed)
        hit["runs"] += 1
        shutil.rmtree(here)
    raise AssertionError("unreachable")


if __name__ == "__main__":
    sys.exit(run_attack(attack, __doc__, cases=300, what="kills"))
