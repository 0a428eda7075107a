"""What the readers say: errors that stop them, and notes of what was dropped, cut or assumed."""

from mrcnn.words import printable


class FormatError(ValueError):
    """A labelled set can't be read; the message names the file, and where in it."""


class Dropped(Exception):
    """One region or row can't be used; the message ends the sentence "Regions dropped: they ..".

    It never leaves the readers, which count it in their notes and go on.
    """


class Notes:
    """Sentences about a set: each kind of remark once, with a count and the first picture."""

    def __init__(self) -> None:
        self._said: list[str] = []
        self._counts: dict[str, tuple[int, str]] = {}

    def say(self, sentence: str) -> None:
        """Add a sentence as it is, once."""
        if sentence not in self._said:
            self._said.append(sentence)

    def count(self, what: str, picture: object, number: int = 1) -> None:
        """Count one more of what happened. picture: the name of where."""
        before, first = self._counts.get(what, (0, str(picture)))
        self._counts[what] = before + number, first

    def sentences(self) -> list[str]:
        """All remarks so far, the counted ones behind."""
        counted = [
            f"{what}: {number}, the first in {shortened(first)}."
            for what, (number, first) in self._counts.items()
        ]
        return [printable(sentence) for sentence in self._said + counted]


def shortened(value: object, length: int = 80) -> str:
    """A value from a file in as many characters as a message can bear."""
    text = str(value) if isinstance(value, str | int | float) else repr(value)
    text = printable(" ".join(text[: 4 * length].split()))
    return text if len(text) <= length else f"{text[:length]}.."
