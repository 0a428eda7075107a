"""How long a test waits before it counts as hanging: no test may fail because a machine is busy."""

import subprocess
import threading

PATIENCE = 1800  # seconds


def kill_when_it_hangs(process: subprocess.Popen) -> None:
    """End a process that a test waits for, should it take longer than any does."""
    timer = threading.Timer(PATIENCE, process.kill)
    timer.daemon = True
    timer.start()
