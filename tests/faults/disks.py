"""A disk that fills up while a training writes.

    python -m tests.faults.disks --cases 60 --seed 1

The disk is a small tmpfs, or where no such may be mounted, a bound on the size of a file. Promised
is: the training ends with one sentence that names the file, what is missing and the checkpoint that
is safe; that one is whole, nothing else is left, and with more room the run goes on from it and
comes out as one that never stopped.
"""

import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from mrcnn.train.checkpoints import checkpoints
from tests.faults.attack import CASES, run_attack
from tests.faults.kills import EPOCHS, SETTINGS, check, reference, tensors
from tests.faults.small_run import FAILED, Ended, SmallRun

SENTENCE = re.compile(
    r"TrainingStopped: (\S+) can't be written: (the disk is full|no file may be so large here)"
    r"(: [\d.]+ kB are needed.*)?\. "
    r"(The last good checkpoint is safe: (?P<safe>\S+)\.|No checkpoint is there\.)"
)


def attack(cases: int, seed: int, place: Path) -> Counter:
    """So many disks of different sizes; counts them by the file that they had no room for."""
    counts: Counter = Counter()
    straight = [reference(place / f"straight{i}", s) for i, s in enumerate(SETTINGS)]
    for number in range(cases):
        rng = random.Random(f"{seed}:{number}")
        which, here = rng.randrange(len(SETTINGS)), place / f"case{number}"
        run = SmallRun(here, **SETTINGS[which])
        disk = _Disk(run.logs, rng)
        try:
            ended = run.train(EPOCHS, largest_file=disk.largest_file)
            if ended.code:
                counts[_check_stopped(run, ended)] += 1
            disk.grow()
            ended = run.train(EPOCHS)
            assert ended.code == 0, ended.told
            check(run, straight[which], SETTINGS[which], exact=True)
        except AssertionError as error:
            raise AssertionError(f"case {number} of seed {seed}, {disk}: {error}") from error
        finally:
            disk.end()
        counts[CASES] += 1
        shutil.rmtree(here)
    return counts


def _check_stopped(run: SmallRun, ended: Ended) -> str:
    """The file that there was no room for."""
    *_, told = ended.told.strip().splitlines()
    sentence = SENTENCE.fullmatch(told)
    assert ended.code == FAILED and sentence, ended.told
    (folder,) = run.logs.iterdir()
    left = [path.name for path in folder.iterdir()]
    assert not [name for name in left if name.endswith(".tmp")], left
    safe = next(reversed(checkpoints(str(folder))), None)
    assert sentence["safe"] == safe, (told, safe)
    if safe:
        assert tensors(Path(safe))
    return re.sub(r"\d{4}", "0000", Path(sentence[1]).name)


class _Disk:
    """A place of a few kilobytes, at a folder that is made."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder, self.largest_file = folder, None
        folder.mkdir(parents=True)
        self.size = rng.randrange(4, 100, 4) << 10
        self._mounted = self._mount("-t", "tmpfs", "-o", f"size={self.size}", "tmpfs")
        if not self._mounted:
            self.size = self.largest_file = rng.randrange(12 << 10)

    def __str__(self) -> str:
        return f"{self.size} bytes of {'a tmpfs' if self._mounted else 'a file'}"

    def grow(self) -> None:
        """Now there is room."""
        if self._mounted:
            assert self._mount("-o", "remount,size=9m")

    def end(self) -> None:
        """Nothing is left of it."""
        if self._mounted:
            subprocess.run(["umount", self.folder], check=True)

    def _mount(self, *words: str) -> bool:
        try:
            done = subprocess.run(["mount", *words, self.folder], capture_output=True)
        except OSError:
            return False
        return done.returncode == 0


if __name__ == "__main__":
    sys.exit(run_attack(attack, __doc__, cases=60))
