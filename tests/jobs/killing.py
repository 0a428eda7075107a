"""Run a job in a process of its own, and end it amid its work as nothing can prevent: kill -9."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from patience import PATIENCE

HERE = Path(__file__).parent


def started(*words: object, **env: str) -> subprocess.Popen:
    """tests/jobs/fake_job.py with these words."""
    paths = [str(HERE), str(HERE.parents[1])]
    return subprocess.Popen(
        [sys.executable, str(HERE / "fake_job.py"), *map(str, words)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,  # so that what it starts ends with it
    )


def done(folder: Path) -> set[str]:
    """The parts that are there."""
    return {path.name for path in (folder / "parts").glob("[0-9]*.parquet")}


def run_and_kill(folder: Path, pictures: Path, times: int, rng: random.Random, *words) -> int:
    """Kill a job some times, each when a few more parts are done, then let it end.

    Returns how many parts were done at the last kill.
    """
    for _ in range(times):
        process = started(folder, pictures, *words)
        enough = len(done(folder)) + rng.randint(1, 8)
        until = time.monotonic() + PATIENCE
        while len(done(folder)) < enough and process.poll() is None and time.monotonic() < until:
            time.sleep(0.002)
        time.sleep(rng.random() / 50)  # at any place of a part
        assert process.poll() is None, process.stderr.read().decode()[-2000:]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()
    before = len(done(folder))
    process = started(folder, pictures, *words)
    said = process.communicate(timeout=PATIENCE)[1].decode()
    assert process.returncode == 0, said[-2000:]
    return before
