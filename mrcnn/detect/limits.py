"""What a run over many pictures must say of its limits: nothing is cut silently."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from mrcnn.config import Config
from mrcnn.detect.tiles import network_scale, network_side
from mrcnn.progress import Progress
from mrcnn.words import counted, duration

_TILES_A_LINE = 100  # where no bar shows how far it is
_VERY_LARGE = (1 << 20, 1 << 20)  # a picture that nothing enlarges but IMAGE_MIN_SCALE
_FULL = 0.5  # share of the regions that are instances, from which on they may be too few


class Limits:
    """Counts where a limit was reached, and says which setting to raise."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.pictures = 0  # with as many instances as are let through, or with such a tile
        self.looks = 0  # of pictures and tiles: those that had so many
        self.regions = 0  # those with so many that there may have been too few regions
        self.large: list[str] = []  # pictures that only tiles would show as the weights know them

    def add(self, found: Mapping[str, Any]) -> None:
        """What was found in a picture that is looked at as a whole, or in a tile."""
        self.looks += bool(getattr(found, "limited", False))
        # Each instance is proposed several times, so that a crowd runs out of regions before.
        self.regions += len(found["class_ids"]) > _FULL * self._config.POST_NMS_ROIS_INFERENCE

    def notes(self) -> list[str]:
        """Sentences, one for each limit that was reached."""
        config, notes = self._config, []
        if self.pictures:
            most = config.DETECTION_MAX_INSTANCES
            which = counted(self.pictures, "picture")
            if self.looks > self.pictures:
                which = f"{self.looks} parts of {which}"
            notes.append(
                f"{which} with {most} instances, which is all "
                "that DETECTION_MAX_INSTANCES lets through: there may be more (--set "
                f"DETECTION_MAX_INSTANCES={4 * most})."
            )
        if self.regions:
            most = config.POST_NMS_ROIS_INFERENCE
            notes.append(
                f"{counted(self.regions, 'picture')}, or parts of them, with more instances than "
                f"half of the regions that are looked at, POST_NMS_ROIS_INFERENCE = {most}: there "
                f"may be more (--set POST_NMS_ROIS_INFERENCE={2 * most})."
            )
        if self.large:
            side = round(network_side(config) / network_scale(config, _VERY_LARGE))
            others = f" and {len(self.large) - 1} more" if len(self.large) > 1 else ""
            notes.append(
                f"{self.large[0]}{others}: many times larger than what the weights know, "
                f"some {side} pixels: --tiles finds what gets lost when it is looked at as a whole."
            )
        return notes


class TileLines:
    """Shows how far a picture is, tile by tile; also a function for `detect_tiles`."""

    def __init__(
        self,
        which: str,
        count: int,
        progress: Progress,
        then: Callable[[Mapping[str, Any]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._which, self._count, self._progress, self._then = which, count, progress, then
        self._clock, self._began, self._done = clock, clock(), 0

    def __call__(self, found: Mapping[str, Any]) -> None:
        self._then(found)
        self._done += 1
        self._progress.advance()
        if self._done % _TILES_A_LINE == 0 and self._done < self._count:
            each = (self._clock() - self._began) / self._done
            left = duration(each * (self._count - self._done))
            self._progress.say(f"{self._which}  tile {self._done} of {self._count}, {left} left")
