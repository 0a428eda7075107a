"""An attack as a program: its seed, its budget, and how it ended."""

import argparse
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

CASES = "cases"  # the count of all, among those of each kind


def run_attack(
    attack: Callable[[int, int, Path], Counter], about: str, cases: int, what: str = "cases"
) -> int:
    """Run `attack(cases, seed, folder)` as the terminal asks; returns the exit code.

    The attack asserts what is promised, and counts its cases by kind, all of them under CASES.
    about: its module's docstring. cases: how many, unless said otherwise. what: to call them.
    """
    parser = argparse.ArgumentParser(description=about.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=cases, help=f"(default: {cases})")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    began, place = time.monotonic(), Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        counts = attack(args.cases, args.seed, place)
    except AssertionError as error:
        print(f"BROKEN, see {place}: {error}")
        return 1
    shutil.rmtree(place)
    total, seconds = counts.pop(CASES), time.monotonic() - began
    print(f"{total} {what}, seed {args.seed}, {seconds:.0f} s: every promise kept.")
    print(", ".join(f"{kind} {count}" for kind, count in counts.most_common()))
    return 0
