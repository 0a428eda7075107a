"""What the user sees while a command works: lines, a progress bar, and no chatter of TensorFlow."""

import contextlib
import logging
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator

LISTED = 10  # names written out in a sentence


def counted(number: int, thing: str) -> str:
    """ "1 picture", "2,000 pictures"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def listed(names: Iterable[str], most: int = LISTED) -> str:
    """Names behind commas, and how many more there are."""
    names = [str(name) for name in names]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


class Progress:
    """Lines on stdout and stderr, with a bar below them if stderr is a terminal."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
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
        left = f"{(self._total - self._done) / rate:.0f} s left" if self._done else ""
        bar = "=" * (30 * self._done // max(self._total, 1))
        text = f"[{bar:30}] {self._done} of {self._total}  {rate:.2f} pictures/s  {left}"
        width = shutil.get_terminal_size().columns - 1
        print(f"\r\033[K{text[:width]}", end="", file=sys.stderr, flush=True)


@contextlib.contextmanager
def plain_warnings(progress: Progress) -> Iterator[None]:
    """Show warnings as lines without file names and code."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: progress.complain(f"warning: {message}")
        yield


@contextlib.contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Keep TensorFlow from talking while it is imported in this block, and afterwards.

    A user who set TF_CPP_MIN_LOG_LEVEL wants to hear it, and does. If the block fails, all that
    was said comes out.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # 2 still reports that there is no GPU, as an error
    for name in ("tensorflow", "absl"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with _held_back_stderr():
        yield


@contextlib.contextmanager
def _held_back_stderr() -> Iterator[None]:
    # Its C++ libraries write some lines to the file descriptor before they read any variable.
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        except Exception:
            held_back.seek(0)
            os.write(saved, held_back.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
