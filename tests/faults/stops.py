"""Signals that ask to stop, and folders that vanish, at every touch of the disk.

    python -m tests.faults.stops --cases 100 --seed 1

Promised is: what SIGINT, SIGTERM or SIGHUP stops has saved its weights, or had nothing to save, and
the run goes on to its end; a folder that is removed ends the training with one sentence.
"""

import random
import shutil
import signal
import sys
from collections import Counter
from pathlib import Path

from tests.faults.attack import CASES, run_attack
from tests.faults.kills import EPOCHS, SETTINGS, check, reference
from tests.faults.small_run import FAILED, INTERRUPTED, Ended, Moment, SmallRun

WHAT = ["SIGINT", "SIGTERM", "SIGHUP", "rmtree"]


def attack(cases: int, seed: int, place: Path) -> Counter:
    """So many stops; counts them by what was done."""
    done: Counter = Counter()
    straight = [reference(place / f"straight{i}", s) for i, s in enumerate(SETTINGS)]
    for number in range(cases):
        rng = random.Random(f"{seed}:{number}")
        which = rng.randrange(len(SETTINGS))
        touched = straight[which].touched
        strike = Moment(rng.randrange(len(touched)), what=rng.choice(WHAT))
        run = SmallRun(place / f"case{number}", **SETTINGS[which])
        ended = run.train(EPOCHS, strike)
        try:
            (_check_removed if strike.what == "rmtree" else _check_stopped)(run, ended)
            ended = run.train(EPOCHS)
            assert ended.code == 0, ended.told
            if strike.what != "rmtree":
                check(run, straight[which], SETTINGS[which], exact=False)
        except AssertionError as error:
            at = f"{strike.what} at touch {strike.number}, {touched[strike.number]}"
            raise AssertionError(f"case {number} of seed {seed}, {at}: {error}") from error
        done[strike.what] += 1
        done[CASES] += 1
        shutil.rmtree(run.place)
    return done


def _check_stopped(run: SmallRun, ended: Ended) -> None:
    begun = [what for what, _ in run.journal if what == "begin"]
    finished = run.journal[-1:] == [("saved", EPOCHS)]
    if begun and not finished:
        assert ended.code == INTERRUPTED, ended
        assert "Stopped. The weights as they are stand in" in ended.told, ended.told
    else:  # nothing to save, or all is saved
        assert ended.code in (0, INTERRUPTED, *(-getattr(signal, name) for name in WHAT[:3])), ended


def _check_removed(run: SmallRun, ended: Ended) -> None:
    begun = [what for what, _ in run.journal if what == "begin"]
    if ended.code == FAILED and begun:
        *_, sentence = ended.told.strip().splitlines()
        assert sentence.startswith("TrainingStopped: "), ended.told
        assert "was removed while the run trained. No checkpoint is there." in sentence, sentence
    elif ended.code == 0:  # in the last epoch's last lines
        assert run.journal[-1] == ("saved", EPOCHS), ended.told


if __name__ == "__main__":
    sys.exit(run_attack(attack, __doc__, cases=100))
