"""What can be wrong with a weight file, as exceptions and warnings."""

from typing import Any


class WeightsError(ValueError):
    """A weight file can't be used as asked; the message says why and what to do."""

    report: Any = None  # the LoadReport, where the file was read but did not fit


class WeightsNotFoundError(WeightsError, FileNotFoundError):
    """There is no file at this path."""


class WeightsWarning(UserWarning):
    """Weights were loaded, but not as one would expect."""
