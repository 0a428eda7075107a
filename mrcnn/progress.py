"""What the user sees while a command works: lines, and a progress bar."""

import contextlib
import shutil
import sys
import time
import warnings
from collections.abc import Iterator

from mrcnn.words import duration


class Progress:
    """Lines on stdout and stderr, with a bar below them if stderr is a terminal."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._unit = "pictures"
        self._began = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def say(self, text: str) -> None:
        """Print a line of the result."""
        self._clear()
        print(text, flush=True)
        self._draw()

    def complain(self, text: str) -> None:
        """Print a line about something that is not as it should be."""
        self._clear()
        print(text, file=sys.stderr, flush=True)
        self._draw()

    def expect(self, more: int, unit: str = "") -> None:
        """There is more to do than was known; unit: what is counted from now on."""
        self._total += more
        self._unit = unit or self._unit
        self._draw()

    def advance(self) -> None:
        """One more is done."""
        self._done += 1
        self._draw()

    def close(self) -> None:
        """Take the bar away for good."""
        self._clear()
        self._terminal = False

    def _clear(self) -> None:
        if self._terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def _draw(self) -> None:
        if not self._terminal:
            return
        rate = self._done / max(time.monotonic() - self._began, 1e-6)
        left = f"{duration((self._total - self._done) / rate)} left" if self._done else ""
        bar = "=" * (30 * self._done // max(self._total, 1))
        text = f"[{bar:30}] {self._done} of {self._total}  {rate:.2f} {self._unit}/s  {left}"
        width = shutil.get_terminal_size().columns - 1
        print(f"\r\033[K{text[:width]}", end="", file=sys.stderr, flush=True)


@contextlib.contextmanager
def plain_warnings(progress: Progress) -> Iterator[None]:
    """Show warnings as lines without file names and code."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: progress.complain(f"warning: {message}")
        yield
