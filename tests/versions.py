"""Runs the tests on the lowest and on the highest versions that requirements.txt allows.

python tests/versions.py                                  # both, in fresh environments
python tests/versions.py --only highest --python python3.13
python tests/versions.py --only lowest --keep /tmp/envs -- tests/training -x

What follows -- goes to pytest, in place of -m "not slow" -n auto. An environment takes the
internet and some 3 GB, which are freed at the end.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
SETS = ("lowest", "highest")
PYTEST = ("-m", "not slow", "-n", "auto")
COLUMNS = ("set", "Python", "TensorFlow", "Keras", "NumPy", "passed", "skipped", "failed", "min")
VERSIONS = """
import platform
from importlib.metadata import version
print(platform.python_version(), *map(version, ("tensorflow", "keras", "numpy")))
"""


def floors(requirements: str) -> list[str]:
    """Each requirement at its lowest version: `numpy>=2.0,<3` gives `numpy==2.0`.

    Raises ValueError for a line that names none.
    """
    pinned = []
    for line in requirements.splitlines():
        if requirement := line.partition("#")[0].strip():
            match = re.fullmatch(r"([\w.-]+)\s*>=\s*([\w.]+)\s*(?:,.*)?", requirement)
            if not match:
                raise ValueError(f"requirements.txt names no lowest version in {requirement!r}.")
            pinned.append(f"{match[1]}=={match[2]}")
    return pinned


def run(name: str, python: str, folder: Path, pytest: Sequence[str]) -> tuple[list[str], bool]:
    """Make an environment and run the tests in it.

    name: "lowest" or "highest". python: the interpreter that it is made of.
    Returns a row of the table, and whether all is well.
    """
    environment, limits, result = (folder / f"{name}{end}" for end in ("", ".txt", ".xml"))
    pinned = floors((ROOT / "requirements.txt").read_text("utf-8")) if name == "lowest" else []
    limits.write_text("\n".join(pinned), "utf-8")
    print(f"== {name}: {', '.join(pinned) or 'the newest allowed'}", flush=True)
    subprocess.run([python, "-m", "venv", "--clear", environment], check=True)
    python = str(environment / ("Scripts" if sys.platform == "win32" else "bin") / "python")
    install = [python, "-m", "pip", "install", "--quiet", "--constraint", limits, ".[test]"]
    if subprocess.run(install, cwd=ROOT).returncode:
        return [name, *["-"] * 6, "pip", "-"], False
    versions = subprocess.run([python, "-c", VERSIONS], capture_output=True, text=True, check=True)
    began = time.monotonic()
    command = [python, "-m", "pytest", "-p", "no:cacheprovider", "--junitxml", result, *pytest]
    code = subprocess.run(command, cwd=ROOT).returncode
    minutes = (time.monotonic() - began) / 60
    return [name, *versions.stdout.split(), *_counts(result), f"{minutes:.1f}"], code == 0


def _counts(result: Path) -> list[str]:
    """Tests that passed, were skipped, failed, by pytest's XML; "-" where it wrote none."""
    if not result.exists():
        return ["-"] * 3
    (suite,) = ElementTree.parse(result).getroot().iter("testsuite")
    every, skipped, *bad = (int(suite.get(k)) for k in ("tests", "skipped", "failures", "errors"))
    return [str(number) for number in (every - skipped - sum(bad), skipped, sum(bad))]


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0 where every set passed, else 1."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=SETS, help="default: both")
    parser.add_argument("--python", default=sys.executable, help="default: the one that runs this")
    parser.add_argument("--keep", metavar="DIR", type=Path, help="make them there and leave them")
    parser.add_argument("pytest", nargs="*", default=PYTEST, help="pytest's arguments, after --")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as made:
        folder = args.keep or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        names = [args.only] if args.only else SETS
        done = [run(name, args.python, folder.absolute(), args.pytest) for name in names]
    print()
    for row in [COLUMNS, *(row for row, _ in done)]:
        print("  ".join(f"{cell:>10}" for cell in row))
    return 0 if all(well for _, well in done) else 1


if __name__ == "__main__":
    sys.exit(main())
