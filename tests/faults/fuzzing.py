"""Many damaged files, one after another, in a process that may die: what of it is a fault.

A case is a number; with the seed it says all about its file, so that `--only NUMBER` makes it
again. Cases run in a forked child, in whose place another comes when it dies, hangs or grows. A
fault is an error that isn't written for a person, a crash, a hang, or too much memory.
"""

import argparse
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

SECONDS = 20  # that a case may take
MEGABYTES = 2048  # that a process may come to hold
BATCH = 2000  # cases of a child


class Attack(ABC):
    """What a fuzzer brings."""

    def __init__(self, place: Path) -> None:
        """place: a folder of its own, in memory where the system has such."""
        self.place = place

    @abstractmethod
    def case(self, rng: random.Random) -> str:
        """Make a damaged file and read it; returns what came of it, in a word or two.

        Raises whatever the reading raises that isn't written for a person, and AssertionError
        where what came isn't what was promised.
        """


@dataclass
class Tally:
    """What came of all cases."""

    outcomes: Counter = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    slowest: float = 0.0
    megabytes: float = 0.0

    def __str__(self) -> str:
        cases = self.outcomes.total()
        rate = cases / max(self.seconds, 1e-9) * 60
        came = ", ".join(f"{what} {count:,}" for what, count in self.outcomes.most_common())
        return (
            f"{cases:,} cases in {self.seconds:,.0f} s ({rate:,.0f} a minute): "
            f"{len(self.faults)} faults; the slowest took {self.slowest:.1f} s, the largest "
            f"grew by {self.megabytes:,.0f} MB\n{came}"
        )


def run(kind: type[Attack], cases: int, seed: int, first: int = 0) -> Tally:
    """Run cases `first` to `first + cases - 1` of a seed."""
    tally, began = Tally(), time.monotonic()
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    place = Path(tempfile.mkdtemp(prefix="faults-", dir=memory))
    try:
        at, end = first, first + cases
        while at < end:
            at = _batch(kind, place, seed, at, min(at + BATCH, end), tally)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    tally.seconds = time.monotonic() - began
    return tally


def _batch(kind: type[Attack], place: Path, seed: int, at: int, end: int, tally: Tally) -> int:
    """Run cases in a child; returns the number of the next one."""
    receive, send = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.close(receive)
        _work(kind, place, seed, at, end, send)
    os.close(send)
    pending, told = b"", time.monotonic()
    while True:
        ready, _, _ = select.select([receive], [], [], 1.0)
        if ready:
            block = os.read(receive, 1 << 16)
            if not block:
                break
            *lines, pending = (pending + block).split(b"\n")
            for line in lines:
                at = _note(line.decode(), at, tally)
                told = time.monotonic()
        elif time.monotonic() - told > SECONDS:
            os.kill(child, signal.SIGKILL)
            break
    os.close(receive)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        hung = number == signal.SIGKILL and time.monotonic() - told > SECONDS
        what = f"took more than {SECONDS} s" if hung else f"ended the process by signal {number}"
        tally.faults.append(f"case {at} {what}")
        tally.outcomes["fault"] += 1
        return at + 1
    return at


def _note(line: str, at: int, tally: Tally) -> int:
    number, seconds, megabytes, what = line.split("\t", 3)
    tally.slowest = max(tally.slowest, float(seconds))
    tally.megabytes = max(tally.megabytes, float(megabytes))
    if what.startswith("FAULT "):
        tally.faults.append(f"case {number} {what[6:]}")
        what = "fault"
    tally.outcomes[what] += 1
    return int(number) + 1


def _work(kind: type[Attack], place: Path, seed: int, at: int, end: int, send: int) -> None:
    """The child: never returns."""
    code = 0
    try:
        folder = place / f"{at}"
        folder.mkdir()
        attack, before = kind(folder), _peak()  # a test's process may be large already
        for number in range(at, end):
            what, seconds = one(attack, seed, number)
            megabytes = _peak() - before
            if megabytes > MEGABYTES and not what.startswith("FAULT "):
                what = f"FAULT made the process grow by {megabytes:,.0f} MB"
            os.write(send, f"{number}\t{seconds:.3f}\t{megabytes:.0f}\t{what}\n".encode())
            if megabytes > MEGABYTES:
                break  # a new process begins small
        shutil.rmtree(folder, ignore_errors=True)
    except BaseException:
        traceback.print_exc()
        code = 1
    os._exit(code)


def _peak() -> float:
    """Megabytes that this process had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one(attack: Attack, seed: int, number: int) -> tuple[str, float]:
    """Run one case: (what came of it, or "FAULT .." on one line; seconds)."""
    began = time.monotonic()
    try:
        what = attack.case(random.Random(f"{seed}:{number}"))
    except Exception as error:
        places = traceback.extract_tb(error.__traceback__)
        where = f"{Path(places[-1].filename).name}:{places[-1].lineno}"
        text = str(error).encode("ascii", "backslashreplace").decode()
        what = f"FAULT {type(error).__name__} at {where}: {' '.join(text.split())[:300]}"
    return what, time.monotonic() - began


def main(kind: type[Attack], doc: str) -> int:
    """The attack from a terminal; 1 where there was a fault."""
    parser = argparse.ArgumentParser(description=doc.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=10_000, metavar="N", help="default: 10000")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="default: 1")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="begin with this case")
    parser.add_argument("--only", type=int, metavar="N", help="this case alone, with its traceback")
    args = parser.parse_args()
    if args.only is not None:
        place = Path(tempfile.mkdtemp(prefix="faults-"))
        print(f"in {place}")
        print(kind(place).case(random.Random(f"{args.seed}:{args.only}")))
        return 0
    tally = run(kind, args.cases, args.seed, args.first)
    print(f"seed {args.seed}: {tally}")
    for fault in tally.faults[:50]:
        print(f"  {fault}")
    return 1 if tally.faults else 0
