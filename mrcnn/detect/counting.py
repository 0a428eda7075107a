"""Counting objects with numbers: those that pass a line, and those that are in an area.

    line = Line((0, 240, 640, 240))    # x1, y1, x2, y2 in pixels
    line.see(numbers, ["car", ..], centres)
    line.told()                        # {"left_to_right": {"car": 3}, "right_to_left": {}}

centres: [n, (y, x)] of the instances' masks, in pixels. Left and right are those of somebody who
goes along the line from its first point to its second, as seen on the screen.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

FORGET = 300  # frames after which a number that isn't seen doesn't come again


@dataclass
class _Seen:
    """Of one number: where it was last, and when."""

    centre: np.ndarray
    frame: int
    inside: bool = False


@dataclass
class _Counter:
    """What a line and an area have in common."""

    points: tuple[float, ...]  # x1, y1, x2, y2 ..
    _frame: int = 0
    _seen: dict[int, _Seen] = field(default_factory=dict)

    def _forget(self) -> None:
        self._frame += 1
        if self._frame % FORGET == 0:
            old = self._frame - FORGET
            self._seen = {n: seen for n, seen in self._seen.items() if seen.frame > old}


@dataclass
class Line(_Counter):
    """Counts who passes the straight piece between two points, in each direction."""

    passed: dict[str, Counter[str]] = field(
        default_factory=lambda: {"left_to_right": Counter(), "right_to_left": Counter()}
    )

    def see(
        self, numbers: Sequence[int], classes: Sequence[str], centres: Sequence[np.ndarray]
    ) -> None:
        """The instances of the next frame."""
        self._forget()
        for number, name, centre in zip(numbers, classes, centres):
            before = self._seen.get(number)
            if before is not None and (way := self._way(before.centre, centre)):
                self.passed[way][name] += 1
            self._seen[number] = _Seen(np.asarray(centre, float), self._frame)

    def _way(self, before: np.ndarray, now: np.ndarray) -> str:
        """By which side it left the line between two frames, "" if it didn't pass it."""
        x1, y1, x2, y2 = self.points
        first, last = np.array([y1, x1]), np.array([y2, x2])
        was, is_ = _side(first, last, before), _side(first, last, now)
        if (was < 0) == (is_ < 0):
            return ""
        if (_side(before, now, first) < 0) == (_side(before, now, last) < 0):
            return ""  # it went round the end
        return "left_to_right" if is_ > was else "right_to_left"

    def told(self) -> dict[str, Any]:
        """For JSON."""
        return {way: dict(counts) for way, counts in self.passed.items()}

    def in_words(self) -> str:
        """One line for a person."""
        ways = {"left_to_right": "to the right", "right_to_left": "to the left"}
        return ", ".join(f"{self.passed[way].total():,} {words}" for way, words in ways.items())


@dataclass
class Area(_Counter):
    """Counts whose middle was ever inside a polygon, and how many were at once."""

    entered: Counter[str] = field(default_factory=Counter)
    now: int = 0
    most: int = 0

    def see(
        self, numbers: Sequence[int], classes: Sequence[str], centres: Sequence[np.ndarray]
    ) -> None:
        """The instances of the next frame."""
        self._forget()
        self.now = 0
        for number, name, centre in zip(numbers, classes, centres):
            inside = self._holds(centre)
            known = self._seen.get(number)
            self.now += inside
            self.entered[name] += inside and not (known is not None and known.inside)
            was = known is not None and known.inside
            self._seen[number] = _Seen(np.asarray(centre, float), self._frame, was or inside)
        self.most = max(self.most, self.now)

    def _holds(self, centre: np.ndarray) -> bool:
        """Whether a ray to the right meets the border an odd number of times."""
        y, x = centre
        corners = np.reshape(self.points, (-1, 2))  # (x, y)
        inside = False
        for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0)):
            if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
                inside = not inside
        return inside

    def told(self) -> dict[str, Any]:
        """For JSON."""
        return {"entered": dict(+self.entered), "most_at_once": self.most}

    def in_words(self) -> str:
        """One line for a person."""
        return f"{self.entered.total():,} were in the area, {self.most:,} at most at once"


def _side(first: np.ndarray, last: np.ndarray, point: np.ndarray) -> float:
    """Above 0 to the right of a line on the screen, below to the left. Points are (y, x)."""
    (y1, x1), (y2, x2), (y, x) = first, last, point
    return float((x2 - x1) * (y - y1) - (y2 - y1) * (x - x1))
