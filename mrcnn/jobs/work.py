"""What is done with a slice of the list: read, decode, detect; a row for each picture.

    data = Worker(detect).part(paths, begun, told, advance)    # the bytes of a Parquet file

Whatever one picture costs becomes the error of its row. One at which the program died three times
isn't tried again: its decoder may be at fault, or memory.
"""

import os
import tempfile
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mrcnn.data.pictures import PictureError, decode_picture
from mrcnn.data.scaling import Rule
from mrcnn.data.seen import see
from mrcnn.data.sources import Source
from mrcnn.detect.files import Detector, reason
from mrcnn.detect.results import coco_results
from mrcnn.errors import UsageError
from mrcnn.geometry.crops import MaskCrops
from mrcnn.jobs.storage import read, scheme
from mrcnn.jobs.tables import as_bytes
from mrcnn.words import printable

DEATHS = 3  # at one picture, after which it isn't tried again
_AHEAD = 4  # files that are read before their turn comes
_ALL_OF = 10  # pictures in which the network fails, and in no other: then it isn't theirs
_POSTSCRIPT = (b"%!PS", b"\xc5\xd0\xd3\xc6")
_NOTHING: dict[str, Any] = {"boxes": [], "class_ids": [], "scores": [], "masks": []}


class Worker:
    """Works on slices, one after the other, with one detector.

    detect: gets a picture [height, width, 3] or [height, width]. rule: how pictures become what
        the network sees, as `mrcnn detect` has it; None: of 8 bits, as they are.
    """

    def __init__(self, detect: Detector, rule: Rule | None = None) -> None:
        self._detect, self._rule = detect, rule

    def part(
        self,
        paths: Sequence[str],
        begun: Path | None,
        told: Mapping[str, str],
        advance: Callable[[], None] = lambda: None,
    ) -> bytes:
        """The Parquet file of a slice.

        begun: where it is noted which picture is worked on; None, where nobody could read it.
        advance: called after each picture.
        Raises UsageError where the network fails in all pictures, which then aren't at fault.
        """
        rows = []
        broken: list[str] = []
        detected = 0
        with _Notes(begun) as notes, ThreadPoolExecutor(_AHEAD) as readers:
            try:
                for i, (path, waiting) in enumerate(_ahead(paths, readers, self._bytes)):
                    if notes.deaths[i] >= DEATHS:
                        text = f"the program died {DEATHS} times while it was at this picture"
                        rows.append(_failed(path, text))
                    else:
                        notes.at(i)
                        row, fault = self._row(path, waiting)
                        rows.append(row)
                        broken += [fault] if fault else []
                        detected += not row["error"]
                    advance()
            except BaseException:
                readers.shutdown(wait=False, cancel_futures=True)
                raise
        if not detected and len(broken) >= _ALL_OF:
            raise UsageError(
                f"the network fails in all of {len(broken)} pictures: {broken[0]}. The job stops "
                "here, and the same command goes on once that is mended."
            )
        return as_bytes(rows, told)

    def _bytes(self, path: str) -> bytes:
        # A file of this machine is opened where it lies.
        return b"" if self._rule and not scheme(path) else read(path)

    def _picture(self, path: str, data: bytes) -> np.ndarray:
        if self._rule is None:
            return decode_picture(data, printable(path))
        if not scheme(path):
            return see(path, self._rule).picture
        if data.startswith(_POSTSCRIPT):  # Pillow would run it
            raise PictureError(f"{printable(path)} is a program in PostScript, and no picture.")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"picture{PurePosixPath(path.partition('?')[0]).suffix}"
            file.write_bytes(data)
            try:
                return see(file, self._rule).picture
            except PictureError as error:
                text = str(error).replace(printable(file), printable(path))
                raise PictureError(text) from None

    def _row(self, path: str, waiting: "Future[bytes]") -> tuple[dict[str, Any], str]:
        """The row of a picture, and what the network said where it failed by itself, else ""."""
        shape: tuple[int | None, int | None] = (None, None)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a line for each of a million is read by nobody
                picture = self._picture(path, waiting.result())
                shape = picture.shape[:2]
                return {"path": path, **_found(picture, self._detect(picture))}, ""
        except Exception as error:
            row = _failed(path, reason(error, Source(Path(path), path)), *shape)
            own = shape[0] is not None and not isinstance(error, ValueError | MemoryError)
            return row, row["error"] if own else ""


def _found(picture: np.ndarray, result: Mapping[str, np.ndarray]) -> dict[str, Any]:
    # Cut to their boxes first, they take a tenth of the time to encode.
    crops = MaskCrops.from_masks(result["masks"])
    masks = [row["segmentation"]["counts"] for row in coco_results(0, {**result, "masks": crops})]
    return {
        "height": picture.shape[0],
        "width": picture.shape[1],
        "boxes": np.asarray(result["rois"], np.int32).tolist(),
        "class_ids": np.asarray(result["class_ids"], np.int32).tolist(),
        "scores": np.asarray(result["scores"], np.float32).tolist(),
        "masks": masks,
        "error": None,
    }


def _failed(
    path: str, text: str, height: int | None = None, width: int | None = None
) -> dict[str, Any]:
    return {"path": path, "height": height, "width": width, **_NOTHING, "error": text}


def _ahead(
    paths: Sequence[str], readers: ThreadPoolExecutor, read: Callable[[str], bytes]
) -> Iterator[tuple[str, "Future[bytes]"]]:
    """Each path with its bytes, which some threads fetch a few pictures ahead."""
    waiting: deque[tuple[str, Future[bytes]]] = deque()
    for path in paths:
        waiting.append((path, readers.submit(read, path)))
        if len(waiting) > _AHEAD:
            yield waiting.popleft()
    yield from waiting


class _Notes:
    """Which picture of a slice is worked on, in a file that outlives the program.

    A line for each picture that is begun, "-" where a program begins and "+" where it ends well.
    """

    def __init__(self, path: Path | None) -> None:
        self.deaths: Counter[int] = Counter()  # by place in the slice
        self._file: int | None = None
        if path is None or not path.parent.is_dir():
            return
        self._read(path)
        # Unbuffered: each line must be there before its picture is touched.
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        self._write("-")

    def _read(self, path: Path) -> None:
        at = None
        words = path.read_text("ascii").split() if path.exists() else []
        for word in [*words, "-"]:
            if word == "-" and at is not None:
                self.deaths[at] += 1
            at = int(word) if word.isdigit() else None

    def at(self, place: int) -> None:
        """The next picture is touched now."""
        self._write(str(place))

    def _write(self, word: str) -> None:
        if self._file is not None:
            os.write(self._file, f"{word}\n".encode())

    def __enter__(self) -> "_Notes":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._write("+")
            os.close(self._file)
