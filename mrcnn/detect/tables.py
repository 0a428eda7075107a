"""measurements.csv: a row for each object of a run, written whole when the run ends.

with MeasurementsFile(out / MEASUREMENTS) as table:
    table.add("a.tif", names, scores, crops, values, pixel)

Pictures may differ in channels and units; the columns are those that any of them has, so the rows
wait in a file of their own until all are known.
"""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from mrcnn.data.places import Pixel
from mrcnn.data.writing import Waiting
from mrcnn.detect.measure import SHAPES, Box, ordered, rows
from mrcnn.geometry.crops import MaskCrops
from mrcnn.whole import WholeFile
from mrcnn.words import printable

MEASUREMENTS = "measurements.csv"
_FIRST = ("picture", "frame", "id", "class", "score")


class MeasurementsFile:
    """Writes the table of a run; leaving the `with` block, for whatever reason, makes the file.

    num_rows: added so far. units: those that there are columns of.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.num_rows = 0
        self.units: set[str] = set()
        self._file = WholeFile(path)
        self._waiting = Waiting()
        self._columns = {*_FIRST, *SHAPES} - {"frame"}

    def add(
        self,
        picture: str,
        names: Sequence[str],
        scores: Sequence[float] | np.ndarray,
        crops: MaskCrops,
        values: Callable[[Box], np.ndarray] | None = None,
        pixel: Pixel | None = None,
        frame: int | None = None,
    ) -> None:
        """Measure the instances of a picture. names: of their classes; the rest as for `rows`."""
        self.units |= {pixel.unit} if pixel else set()
        for i, row in enumerate(rows(crops, values, pixel)):
            head = {"picture": printable(picture), "id": i + 1, "class": printable(names[i])}
            head |= {"score": round(float(scores[i]), 6)} | ({"frame": frame} if frame else {})
            self._columns |= head.keys() | row.keys()
            self._waiting.add(head | row)
            self.num_rows += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._waiting as kept:
            self._file.close(self._text(kept))

    def _text(self, kept: Iterator[dict[str, Any]]) -> Iterator[str]:
        columns = ordered(self._columns, _FIRST)
        line = io.StringIO()
        writer = csv.writer(line, lineterminator="\n")
        writer.writerow(columns)
        for row in kept:
            if line.tell() > 1 << 16:
                yield line.getvalue()
                line.seek(0)
                line.truncate()
            writer.writerow([_text(row.get(name)) for name in columns])
        yield line.getvalue()


def _text(value: Any) -> Any:
    """Floats in as few digits as give the same number; what isn't known as nothing."""
    if isinstance(value, float):
        if value != value:
            return ""
        return int(value) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return "" if value is None else value
