"""What can be wrong with a weight file, as exceptions and warnings."""

import re
import sys
import warnings
from typing import Any

from mrcnn.words import printable

_ENDLESS = re.compile(r"\S{1000,}")  # longer than any path that people have


class WeightsError(ValueError):
    """A weight file can't be used as asked; the message says why and what to do."""

    report: Any = None  # the LoadReport, where the file was read but did not fit

    def __str__(self) -> str:
        """The message; names that nobody could read are cut, and made printable."""
        text = _ENDLESS.sub(lambda found: f"{found[0][:100]}..", super().__str__())
        return "\n".join(map(printable, text.split("\n")))


class WeightsNotFoundError(WeightsError, FileNotFoundError):
    """There is no file at this path."""


class WeightsWarning(UserWarning):
    """Weights were loaded, but not as one would expect."""


def warn(text: str) -> None:
    """Warn of the line of the user's program that the call came from."""
    frame, level = sys._getframe(), 1
    while frame.f_back and _inner(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, WeightsWarning, stacklevel=level)


def _inner(module: str) -> bool:
    return module.startswith(("mrcnn.", "concurrent."))
