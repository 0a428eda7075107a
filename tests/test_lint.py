"""Formatting and lint, as pyproject.toml has them."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("command", [["format", "--check"], ["check"]], ids=["format", "lint"])
def test_ruff_has_nothing_to_say(command):
    places = ["mrcnn", "samples", "tests", "benchmarks", "legacy", *map(str, ROOT.glob("*.py"))]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "--no-cache", *places],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
