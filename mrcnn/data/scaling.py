"""From the values in a picture file to what the network knows: which channels, and 0..255.

    rule = Rule.of(config)                     # IMAGE_RANGE, IMAGE_CHANNELS, IMAGE_PLANE
    picked = rule.pick(picture)                # [height, width(, channels)], the channels it wants
    look = scaling(measured(picked), rule.range)
    look(picked[512:1024, :512])               # uint8: any window, by what the whole picture holds

The brightness of a window is never judged by itself: a tile of empty background would turn into
noise. A picture that isn't in memory is measured window by window:

    statistics = Statistics(picked_shape, dtype)
    for y, x, window in windows:
        statistics.add(rule.pick(window), y, x)

These are the same numbers, whatever the windows are, as long as they cover the picture once.
`look.told` says in words what is done, "" where the values are taken as they are.

picture:  [height, width] or [height, width, channels], of any type of numbers
range:    "auto": 0..255 as they are, floats of 0..1 times 255, else from the 0.1st to the 99.9th
          percentile; "type": what the type can hold; (low, high): these become 0 and 255
separate: each channel by its own percentiles, as dyes and bands are; colours go together
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mrcnn.config import Config
from mrcnn.words import listed

DARKEST, BRIGHTEST = 0.1, 99.9  # percentiles of a picture's values that become 0 and 255
_MOST_VALUES = 1 << 22  # that percentiles are taken of, where values can't be counted one by one
_AT_ONCE = 1 << 22  # values that are scaled at a time

Range = str | tuple[float, float]


@dataclass(frozen=True)
class Rule:
    """What a network sees of a picture file.

    range: see the top of this file. channels: numbers from 0, None for what fits. count: of the
    network's channels. plane: of a stack, from 0; None: the first, with a word of it.
    """

    range: Range = "auto"
    channels: tuple[int, ...] | None = None
    count: int = 3
    plane: int | None = None

    @classmethod
    def of(cls, config: Config) -> "Rule":
        """As a Config says it."""
        how, channels = config.IMAGE_RANGE, config.IMAGE_CHANNELS
        return cls(
            how if isinstance(how, str) else (float(how[0]), float(how[1])),
            None if channels is None else tuple(int(channel) for channel in channels),
            int(config.IMAGE_CHANNEL_COUNT),
            config.IMAGE_PLANE,
        )

    def chosen(self, number: int) -> tuple[int, ...]:
        """The channels to take of so many. Raises ValueError where one isn't there."""
        if self.channels is None:
            return tuple(range(min(number, self.count)))
        if missing := [channel for channel in self.channels if channel >= number]:
            raise ValueError(
                f"there is no channel {listed(map(str, missing))}: it has {number}, counted from 0"
            )
        if len(self.channels) > self.count:
            raise ValueError(
                f"{len(self.channels)} channels are asked for, and the network takes {self.count} "
                f"(one that takes them is trained from new weights: --weights none --set "
                f"IMAGE_CHANNEL_COUNT={len(self.channels)} --set MEAN_PIXEL=127)"
            )
        return self.channels

    def pick(self, picture: np.ndarray) -> np.ndarray:
        """The channels that the network sees: [height, width], or [height, width, count].

        Of fewer than it takes, the others are zeros; a single one is grey. Raises ValueError.
        """
        number = 1 if picture.ndim == 2 else picture.shape[2]
        chosen = self.chosen(number)
        if len(chosen) == 1:
            return picture if picture.ndim == 2 else picture[..., chosen[0]]
        if chosen == tuple(range(number)) and number == self.count:
            return picture
        if picture.ndim == 2:
            picture = picture[..., None]
        picked = np.zeros((*picture.shape[:2], self.count), picture.dtype)
        for place, channel in enumerate(chosen):
            picked[..., place] = picture[..., channel]
        return picked

    def told(self, number: int) -> str:
        """In words, what is taken of so many channels; "" where it is all of them."""
        chosen = self.chosen(number)
        if chosen == tuple(range(number)):
            return ""
        one = len(chosen) == 1
        which = f"channel{'' if one else 's'} {listed(map(str, chosen))} of 0..{number - 1}"
        return f"{which} {'is' if one else 'are'} taken"


# -- What the whole picture holds -----------------------------------------------------------


class Statistics:
    """The values of a whole picture, as `scaling` needs them; it grows window by window.

    shape: of the whole picture. dtype: of its values. separate: see the top of this file.
    empty: a value that means "nothing is known here" (GDAL's nodata).
    least, most: of each channel, or of all together, [channels or 1].
    """

    def __init__(
        self,
        shape: Sequence[int],
        dtype: Any,
        separate: bool = False,
        empty: float | None = None,
    ) -> None:
        self.dtype = np.dtype(dtype)
        self.separate = separate and len(shape) == 3
        self.empty = empty
        channels = shape[2] if self.separate else 1
        self.least = np.full(channels, np.inf)
        self.most = np.full(channels, -np.inf)
        self.counted = 0  # values that are numbers
        self.other = 0  # NaN, infinite or empty ones
        # Of 16 bits each value can be counted; of others those on a grid have to do.
        self._counts = np.zeros((channels, 1 << 16), np.int64) if self._few() else None
        size = int(np.prod(shape, dtype=np.int64))
        self._step = max(1, int(np.ceil(np.sqrt(size / _MOST_VALUES))))
        self._found: list[list[np.ndarray]] = [[] for _ in range(channels)]

    def _few(self) -> bool:
        return self.dtype.kind in "iu" and self.dtype.itemsize == 2

    def add(self, window: np.ndarray, y: int = 0, x: int = 0) -> None:
        """Take in a window whose upper left corner lies at (y, x), in pixels of the whole."""
        channels = np.moveaxis(window, 2, 0) if self.separate else [window]
        for i, values in enumerate(channels):
            if self._counts is not None:
                self._count(i, values)
            else:
                self._sample(i, values, y, x)

    def _count(self, channel: int, values: np.ndarray) -> None:
        offset = np.iinfo(self.dtype).min
        counts = np.zeros(1 << 16, np.int64)
        flat = values.reshape(-1)
        for first in range(0, flat.size, _AT_ONCE):  # bincount makes int64 of them
            part = flat[first : first + _AT_ONCE].astype(np.int64) - offset
            counts += np.bincount(part, minlength=1 << 16)
        if self.empty is not None and 0 <= self.empty - offset < 1 << 16:
            self.other += int(counts[int(self.empty) - offset])
            counts[int(self.empty) - offset] = 0
        there = np.flatnonzero(counts)
        if len(there):
            self.least[channel] = min(self.least[channel], there[0] + offset)
            self.most[channel] = max(self.most[channel], there[-1] + offset)
        self.counted += int(counts.sum())
        self._counts[channel] += counts

    def _sample(self, channel: int, values: np.ndarray, y: int, x: int) -> None:
        known = self._known(values)
        numbers = values if known is None else values[known]
        if numbers.size:
            self.least[channel] = min(self.least[channel], float(numbers.min()))
            self.most[channel] = max(self.most[channel], float(numbers.max()))
        self.counted += numbers.size
        self.other += values.size - numbers.size
        if self.dtype.kind in "iu" and self.dtype.itemsize == 1:
            return  # taken as they are
        step = self._step
        grid = values[-y % step :: step, -x % step :: step]
        known = self._known(grid)
        self._found[channel].append(grid.reshape(-1) if known is None else grid[known])

    def _known(self, values: np.ndarray) -> np.ndarray | None:
        """Where there are numbers; None: everywhere."""
        known = np.isfinite(values) if values.dtype.kind == "f" else None
        if self.empty is not None:
            full = values != self.empty
            known = full if known is None else known & full
        return None if known is None or known.all() else known

    def percentiles(self) -> tuple[np.ndarray, np.ndarray]:
        """(low, high) of each channel, or of all together, [channels or 1]."""
        found = []
        for i in range(len(self.least)):
            if self._counts is not None:
                pair = _of_counts(self._counts[i], np.iinfo(self.dtype).min)
            else:
                values = np.concatenate(self._found[i]) if self._found[i] else np.zeros(0)
                pair = np.percentile(values, [DARKEST, BRIGHTEST]) if values.size else (0, 0)
            low, high = (float(value) for value in pair)
            if low >= high and self.least[i] <= self.most[i]:  # nearly all of it is of one value
                low, high = float(self.least[i]), float(self.most[i])
            found.append((low, high))
        low, high = np.array(found).T
        return low, high


def measured(picture: np.ndarray, separate: bool = False, empty: float | None = None) -> Statistics:
    """The statistics of a picture that is in memory."""
    statistics = Statistics(picture.shape, picture.dtype, separate, empty)
    statistics.add(picture)
    return statistics


def _of_counts(counts: np.ndarray, offset: int) -> np.ndarray:
    """The two percentiles, as np.percentile has them, from how often each value occurs."""
    below = np.cumsum(counts)
    if not below[-1]:
        return np.zeros(2)
    places = np.array([DARKEST, BRIGHTEST]) / 100 * (below[-1] - 1)
    first, second = (
        np.searchsorted(below, at, side="right") for at in (np.floor(places), np.ceil(places))
    )
    return offset + first + (second - first) * (places - np.floor(places))


# -- What the network sees ------------------------------------------------------------------


@dataclass(frozen=True)
class Scaling:
    """f(window) -> the window as uint8; or as it is, where that is 0..255 already.

    low, high: what becomes 0 and 255, of each channel or one for all. told: what is done, in words.
    constant: nothing can be seen in it, for all pixels are alike.
    """

    low: np.ndarray
    high: np.ndarray
    as_it_is: bool
    empty: float | None
    told: str
    constant: bool

    def __call__(self, window: np.ndarray) -> np.ndarray:
        if self.as_it_is:
            return window
        scaled = np.empty(window.shape, np.uint8)
        rows = max(1, _AT_ONCE // max(window[:1].size, 1))
        exact = np.float64 if window.dtype.itemsize > 4 else np.float32
        low = self.low.astype(exact)
        by = (255 / np.maximum(self.high - self.low, 1e-30)).astype(exact)
        for top in range(0, len(window), rows):
            part = window[top : top + rows]
            with np.errstate(over="ignore", invalid="ignore"):  # of what isn't finite
                values = (part.astype(exact) - low) * by
            if self.empty is not None:
                values[part == self.empty] = 0
            if part.dtype.kind == "f":
                values[~np.isfinite(part)] = 0
            scaled[top : top + rows] = np.rint(np.clip(values, 0, 255))
        return scaled


def scaling(statistics: Statistics, how: Range = "auto") -> Scaling:
    """How the windows of a picture become 0..255.

    how: see the top of this file. Raises ValueError, without the picture's name, where it holds no
    number at all.
    """
    if isinstance(how, str) and how not in ("auto", "type"):
        raise ValueError(f"IMAGE_RANGE is {how!r}: it is auto, type, or (low, high)")
    kind, whole = statistics.dtype.kind, statistics.dtype.kind in "iu"
    one = np.zeros(1)
    if kind == "b":
        return Scaling(one, one + 1, False, None, "", False)
    if not statistics.counted:
        raise ValueError("it holds no number: all its values are NaN, infinite or empty")
    least, most = float(statistics.least.min()), float(statistics.most.max())
    empty = statistics.empty
    where = f"its values are {least:g} to {most:g}"
    if statistics.other:
        where += f", {statistics.other:,} are NaN, infinite or empty and become 0"
    if not isinstance(how, str):
        low, high = one + how[0], one + how[1]
        told = f"{where}; {how[0]:g} to {how[1]:g} become 0..255"
        return Scaling(low, high, False, empty, told, False)
    if how == "type":
        bounds = np.iinfo(statistics.dtype) if whole else None
        low, high = (one + bounds.min, one + bounds.max) if bounds else (one, one + 1)
        as_it_is = statistics.dtype == np.uint8
        told = f"{where}; {low[0]:g} to {high[0]:g}, the range of {statistics.dtype}, become 0..255"
        return Scaling(low, high, as_it_is, empty, "" if as_it_is else told, False)
    if not whole and least >= 0 and 0 < most <= 1:
        told = f"{where}, taken times 255"
        return Scaling(one, one + 1, False, empty, told, False)
    if least >= 0 and most <= 255 and not statistics.other:
        return Scaling(one, one + 255, True, empty, "", False)
    low, high = statistics.percentiles()
    if least == most:
        told = f"all its values are {least:g}, so that nothing can be seen in it"
        return Scaling(low, high, False, empty, told, True)
    parts = [f"{a:g} to {b:g}" for a, b in zip(low, high)]
    told = f"{where}; {listed(parts)} (percentiles {DARKEST} and {BRIGHTEST}"
    told += " of each channel)" if len(parts) > 1 else ")"
    return Scaling(low, high, False, empty, f"{told} become 0..255", False)
