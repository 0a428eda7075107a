"""Signals that ask a program to stop, which are to do what Ctrl-C does."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

# What `kill` and a system that shuts down send, a terminal or ssh that is closed, Windows' console.
STOPS = [
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
]


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP raise KeyboardInterrupt in this block, as Ctrl-C does.

    One that is ignored (nohup) or that somebody handles already stays so; and in a thread other
    than the main one all stays as it is, since Python tells no other of signals.
    """
    last = -2.0

    def interrupt(*_: Any) -> None:
        nonlocal last
        again, last = time.monotonic() - last < 1, time.monotonic()
        if not again:  # of a closed terminal both the system and the shell tell
            raise KeyboardInterrupt

    with _handled(interrupt, only=signal.SIG_DFL):
        yield


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """SIGTERM and SIGHUP are passed over in this block: what they ask for is being done."""
    with _handled(signal.SIG_IGN):
        yield


@contextlib.contextmanager
def after_this() -> Iterator[None]:
    """Ctrl-C and what else Python handles of these signals waits for the end of this block.

    A second one doesn't: the block may hang.
    """
    waiting: list[tuple[Any, int]] = []

    def wait(number: int, frame: Any) -> None:
        waiting.append((before[number], number))
        if len(waiting) > 1:
            waiting.pop()[0](number, frame)

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {n: old for n in (signal.SIGINT, *STOPS) if callable(old := signal.getsignal(n))}
    try:
        for number in before:
            signal.signal(number, wait)
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
    for handler, number in waiting:
        handler(number, None)


@contextlib.contextmanager
def _handled(handler: Any, only: Any = None) -> Iterator[None]:
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in STOPS}
        # None is another library's, which couldn't be set again.
        before = {n: old for n, old in before.items() if old is not None and only in (None, old)}
    try:
        for number in before:
            signal.signal(number, handler)
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
