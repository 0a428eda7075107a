"""Instances on disk: COCO's results format, and nothing lost however a run ends.

results.json   [{image_id, category_id, bbox, score, segmentation}], one for each instance
images.json    a COCO annotation file without annotations: what the ids in results.json mean
unfinished.jsonl    while a run goes on: a line for each picture, of which the two are made

    truth = COCO("out/images.json")
    found = truth.loadRes("out/results.json")

category_id is the class id of the network, and so the index into the class names.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np

from mrcnn.errors import UsageError
from mrcnn.geometry.rle import encode
from mrcnn.whole import regular_file, whole

RESULTS, IMAGES, UNFINISHED = "results.json", "images.json", "unfinished.jsonl"


def coco_results(image_id: int, result: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """One picture's instances in COCO's results format.

    result: as from `MaskRCNN.detect`: rois [n, (y1, x1, y2, x2)] in pixels, class_ids [n],
        scores [n], masks bool [height, width, n], or cut to their boxes.
    Returns dicts of image_id, category_id, bbox [x, y, width, height] in pixels, score, and
    segmentation {"size": [height, width], "counts": compressed RLE as text}.
    """
    segmentations = encode(result["masks"])
    records = []
    for roi, class_id, score, segmentation in zip(
        result["rois"], result["class_ids"], result["scores"], segmentations
    ):
        y1, x1, y2, x2 = (int(side) for side in roi)
        size = [int(side) for side in segmentation["size"]]
        counts = segmentation["counts"].decode("ascii")
        records.append(
            {
                "image_id": image_id,
                "category_id": int(class_id),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": round(float(score), 6),
                "segmentation": {"size": size, "counts": counts},
            }
        )
    return records


class ResultsWriter:
    """Writes the two files of a run, picture by picture.

    While the run goes on, its pictures stand in `unfinished.jsonl`, each in a line of its own that
    is written at once: {"image": .., "instances": [..]}, or {"failure": ..}. Leaving the `with`
    block, for whatever reason, makes both files of it; those of an earlier run stay until then.
    Of a run that was killed it is left behind, without at most the picture it was at, and `finish`
    makes the files. The next writer in that folder does so by itself: `recovered` is then the
    number of pictures, else None.

    folder: is created. class_names: by class id, background first. info: goes into images.json.
    Raises OSError where the folder can't be written to, UsageError where another run writes to it.
    """

    def __init__(
        self, folder: str | os.PathLike, class_names: Sequence[str], info: Mapping[str, Any]
    ) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.failures: list[dict[str, str]] = []
        self._file = locked(self.folder / UNFINISHED)
        self.recovered = finish(self.folder) if os.fstat(self._file.fileno()).st_size else None
        if self.recovered is not None:
            self._file.close()
            self._file = locked(self.folder / UNFINISHED)
        categories = [{"id": i, "name": name} for i, name in enumerate(class_names) if i > 0]
        self._append({"info": dict(info), "categories": categories, "annotations": []})

    def add(self, image: Mapping[str, Any], instances: Sequence[Mapping[str, Any]]) -> None:
        """Add a picture: its entry for images.json (id, file_name, height, width, and whatever
        else belongs there) and its instances as from `coco_results`."""
        self._append({"image": image, "instances": instances})

    def fail(self, file_name: str, reason: str) -> None:
        """Note a picture that gave no result."""
        self.failures.append({"file_name": file_name, "reason": reason})
        self._append({"failure": self.failures[-1]})

    def _append(self, record: Mapping[str, Any]) -> None:
        line = f"{json.dumps(record)}\n".encode()
        end = os.fstat(self._file.fileno()).st_size
        try:
            while line:
                line = line[os.write(self._file.fileno(), line) :]
        except BaseException:
            os.ftruncate(self._file.fileno(), end)  # half a line would spoil the next one
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._file:
            regular_file(self.folder / UNFINISHED)  # somebody may have removed it
            finish(self.folder)


def finish(folder: str | os.PathLike) -> int:
    """Make results.json and images.json of what a killed run has left in a folder.

    Returns the number of pictures, 0 where nothing was left. Raises OSError where the files can't
    be written; what was left then stays.
    """
    folder = Path(folder)
    unfinished = folder / UNFINISHED
    if not unfinished.exists():
        return 0
    try:
        # The pictures get their name first: instances of one that isn't listed can't be loaded.
        with whole(folder / RESULTS) as results, whole(folder / IMAGES) as images:
            count = _write_out(unfinished, results, images)
    except OSError as error:
        raise OSError(
            error.errno,
            f"{error.strerror}; what was found so far is kept in {unfinished}, and the next run "
            "into that folder makes the files of it",
            error.filename,
        ) from error
    unfinished.unlink()
    return count


def _write_out(unfinished: Path, results: Path, images: Path) -> int:
    records = _records(unfinished)
    head = next(records, {"info": {}, "categories": [], "annotations": []})
    failures, count = [], 0
    with results.open("w", encoding="ascii") as found, images.open("w", encoding="ascii") as listed:
        found.write("[")
        listed.write(f'{json.dumps(head, indent=1)[:-2]},\n "images": [')
        between = "\n"
        for record in records:
            if "failure" in record:
                failures.append(record["failure"])
                continue
            listed.write(f"{',' if count else ''}\n{json.dumps(record['image'])}")
            count += 1
            for instance in record["instances"]:
                found.write(f"{between}{json.dumps(instance)}")
                between = ",\n"
        found.write("\n]\n")
        listed.write(f'\n],\n "failures": {json.dumps(failures)}}}\n')
    return count


def _records(path: Path) -> Iterator[dict[str, Any]]:
    """The lines that are whole: a kill, or a loss of power, may have torn the last one."""
    with path.open("rb") as lines:
        for line in lines:
            try:
                record = json.loads(line) if line.endswith(b"\n") else None
            except ValueError:
                record = None
            if record is None:
                return
            yield record


def locked(path: Path, option: str = "--out") -> BinaryIO:
    """Open a file to append to, and keep other runs away from it until it is closed.

    option: of the command line, by which another folder is given.
    Raises UsageError where another run has it.
    """
    while True:
        file = path.open("ab", buffering=0)
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise UsageError(
                f"another run is writing to {path.parent}: wait until it ends, or give another "
                f"folder ({option})."
            ) from None
        except (ImportError, OSError):  # Windows, and network drives without locks
            return file
        # Whoever had it may have ended, and removed it, since it was opened.
        if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
            return file
        file.close()
