"""Numbers, names and arrays in words."""

import re
from collections.abc import Iterable

import numpy as np

LISTED = 10  # names written out in a sentence

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def counted(number: int, thing: str) -> str:
    """ "1 picture", "2,000 pictures"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def listed(names: Iterable[str], most: int = LISTED) -> str:
    """Names behind commas, and how many more there are."""
    names = [str(name) for name in names]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def plain_name(name: str) -> str:
    """A class's name as people compare it: without case, and with a space for _."""
    return " ".join(name.replace("_", " ").casefold().split())


def duration(seconds: float) -> str:
    """ "45 s", "12 min", "3 h 20 min", "2 days 5 h"."""
    seconds = max(round(seconds), 0)
    if seconds < 100:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(minutes / 60)
    return f"{hours // 24} days {hours % 24} h"


def log(text: str, array: np.ndarray | None = None) -> None:
    """Print a text and, where an array is given, its shape, least and greatest value and type."""
    if array is not None:
        array = np.asarray(array)
        low, high = (f"{array.min():10.5f}", f"{array.max():10.5f}") if array.size else ("", "")
        text = f"{text.ljust(25)}shape: {array.shape!s:20}  min: {low:>10}  max: {high:>10}"
        text += f"  {array.dtype}"
    print(text)


def printable(name: object, encoding: str = "utf-8") -> str:
    """A name from a file, on one line that can be shown and written.

    Control characters, halves of surrogate pairs and what the encoding doesn't have become
    escapes, such as \\n and \\ud800.
    """
    text = _CONTROL.sub(lambda found: repr(found[0])[1:-1], str(name))
    return text.encode(encoding, "backslashreplace").decode(encoding)
