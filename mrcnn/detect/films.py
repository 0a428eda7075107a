"""What is told of a film as a whole: who is who in it, how many there are, and a table by frame.

NAME.tracks.csv     a row for each instance: frame, time, id, class, score, box, middle, area
NAME.counts.json    {"frames": .., "objects": {class: number}, "line": .., "area": ..}
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.detect.counting import Area, Line
from mrcnn.detect.tracking import PATIENCE, Tracker
from mrcnn.drawing.labels import class_name
from mrcnn.drawing.pixels import random_colors
from mrcnn.geometry.crops import MaskCrops
from mrcnn.whole import WholeFile, whole
from mrcnn.words import listed, printable

TRACKS, COUNTS = ".tracks.csv", ".counts.json"
COLUMNS = (
    *("frame", "time", "id", "class", "score", "y1", "x1", "y2", "x2"),
    *("center_y", "center_x", "area"),
)
_COLORS = 1000  # before the first comes again
_YELLOW = (255, 220, 0)


@dataclass(frozen=True)
class Counting:
    """What is counted in films: numbers x, y in pixels, or None."""

    line: tuple[float, ...] | None = None  # x1, y1, x2, y2
    area: tuple[float, ...] | None = None  # three points or more; two: a box's opposite corners


class Film:
    """Follows the instances of one video, frame after frame.

    path: without a suffix, where its files go. fps: frames a second, 0 where nobody knows.
    Raises OSError where they can't be written.
    """

    def __init__(
        self, path: Path, class_names: Sequence[str], fps: float, counting: Counting
    ) -> None:
        self._path, self._class_names = path, class_names
        self._tracker = Tracker(round(fps) or PATIENCE)
        self._counters: dict[str, Line | Area] = {}
        if counting.line:
            self._counters["line"] = Line(counting.line)
        if counting.area:
            self._counters["area"] = Area(_corners(counting.area))
        self._palette = random_colors(_COLORS)
        self._frames = self._last = 0
        self._time = 0.0
        self.numbers: list[int] = []  # of the instances that were added last
        self.passed = 1  # frames since the one before
        self._table = WholeFile(path.with_name(path.name + TRACKS))
        self._row(COLUMNS)

    def add(
        self,
        result: Mapping[str, np.ndarray],
        records: Sequence[dict[str, Any]],
        told: Mapping[str, Any],
    ) -> None:
        """The next frame: its rows in the table, and the number in each COCO record.

        told: {"frame": from 1, "time": seconds}.
        """
        masks = MaskCrops.from_masks(result["masks"]).tight()
        self.numbers = self._tracker(masks, result["class_ids"])
        self._frames, self._time = self._frames + 1, told["time"]
        self.passed = told["frame"] - self._last if self._last else 1
        self._last = told["frame"]
        centres, names = [], []
        for i, (number, record) in enumerate(zip(self.numbers, records)):
            record["track_id"] = number
            y, x = np.nonzero(masks.pieces[i])
            corner = masks.boxes[i][:2]
            middle = corner + [y.mean(), x.mean()] if len(y) else corner.astype(float)
            name = class_name(self._class_names, result["class_ids"][i])
            box = [int(side) for side in result["rois"][i]]
            score = f"{float(result['scores'][i]):.4f}"
            where = [f"{value:.2f}" for value in middle]
            self._row([told["frame"], told["time"], number, name, score, *box, *where, len(y)])
            if number:
                centres.append(middle)
                names.append(name)
        numbers = [number for number in self.numbers if number]
        for counter in self._counters.values():
            counter.see(numbers, names, centres)

    @property
    def colors(self) -> list[tuple[float, float, float]]:
        """Of the instances that were added last: an object keeps its own."""
        return [self._palette[number % _COLORS] for number in self.numbers]

    def mark(self, drawn: np.ndarray, scale: float) -> np.ndarray:
        """A drawn frame with the line and the area, and what was counted. scale: its enlargement.

        drawn: uint8 [height, width, 3].
        """
        if not self._counters:
            return drawn
        from PIL import Image, ImageDraw, ImageFont

        picture = Image.fromarray(drawn)
        pen = ImageDraw.Draw(picture)
        width = max(round(min(drawn.shape[:2]) / 200), 2)
        font = ImageFont.load_default(size=max(min(drawn.shape[:2]) // 28, 11))
        for i, counter in enumerate(self._counters.values()):
            points = [scale * value for value in counter.points]
            if isinstance(counter, Area):
                points += points[:2]
            pen.line(points, fill=_YELLOW, width=width)
            place = (2 * width, 2 * width + i * 1.3 * font.size)
            pen.text(
                place, counter.in_words(), fill=_YELLOW, font=font, stroke_width=2, stroke_fill=0
            )
        return np.asarray(picture)

    def told(self) -> dict[str, Any]:
        """What counts.json holds."""
        objects = self._tracker.distinct()
        return {
            "frames": self._frames,
            "seconds": self._time,
            "objects": {class_name(self._class_names, i): n for i, n in sorted(objects.items())},
            **{name: counter.told() for name, counter in self._counters.items()},
        }

    def close(self) -> str:
        """Finish the files; returns what was counted, in words."""
        self._table.close([])
        told = self.told()
        path = self._path.with_name(self._path.name + COUNTS)
        with whole(path) as unfinished:
            unfinished.write_text(json.dumps(told, indent=1, ensure_ascii=False), "utf-8")
        objects = listed(f"{n:,} {printable(name)}" for name, n in told["objects"].items())
        words = [f"different objects: {objects or 'none'}"]
        words += [counter.in_words() for counter in self._counters.values()]
        return "; ".join(words)

    def _row(self, values: Sequence[Any]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(values)
        self._table.write(text.getvalue())


def _corners(points: tuple[float, ...]) -> tuple[float, ...]:
    """A polygon; two points are a box."""
    if len(points) != 4:
        return points
    x1, y1, x2, y2 = points
    return x1, y1, x2, y1, x2, y2, x1, y2
