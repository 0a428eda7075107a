"""Instances on disk: COCO's results format, complete at any moment.

results.json   [{image_id, category_id, bbox, score, segmentation}], one for each instance
images.json    a COCO annotation file without annotations: what the ids in results.json mean

    truth = COCO("out/images.json")
    found = truth.loadRes("out/results.json")

category_id is the class id of the network, and so the index into the class names.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

RESULTS, IMAGES = "results.json", "images.json"


def coco_results(image_id: int, result: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """One picture's instances in COCO's results format.

    result: as from `MaskRCNN.detect`: rois [n, (y1, x1, y2, x2)] in pixels, class_ids [n],
        scores [n], masks bool [height, width, n].
    Returns dicts of image_id, category_id, bbox [x, y, width, height] in pixels, score, and
    segmentation {"size": [height, width], "counts": compressed RLE as text}.
    """
    from pycocotools import mask as rle

    masks = np.asfortranarray(result["masks"], dtype=np.uint8)
    segmentations = rle.encode(masks) if masks.shape[-1] else []
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

    While the run goes on they are named `*.part`, and after each picture they are whole JSON
    files: even a killed run loses nothing. Leaving the `with` block, for whatever reason, gives
    them their names; those of an earlier run stay until then.

    folder: is created. class_names: by class id, background first. info: goes into images.json.
    Raises OSError where the folder can't be written to.
    """

    def __init__(
        self, folder: str | os.PathLike, class_names: Sequence[str], info: Mapping[str, Any]
    ) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.failures: list[dict[str, str]] = []
        categories = [{"id": i, "name": name} for i, name in enumerate(class_names) if i > 0]
        head = {"info": dict(info), "categories": categories, "annotations": []}
        self._results = _GrowingList(self.folder / RESULTS, "[", "]")
        self._images = _GrowingList(
            self.folder / IMAGES, f'{json.dumps(head, indent=1)[:-2]},\n "images": [', ""
        )
        self._images.end(self._tail())

    def add(self, image: Mapping[str, Any], instances: Sequence[Mapping[str, Any]]) -> None:
        """Add a picture: its entry for images.json (id, file_name, height, width, and whatever
        else belongs there) and its instances as from `coco_results`."""
        # The picture first: instances of a picture that is not listed could not be loaded.
        self._images.add([image])
        self._images.end(self._tail())
        self._results.add(instances)
        self._results.end("]")

    def fail(self, file_name: str, reason: str) -> None:
        """Note a picture that gave no result."""
        self.failures.append({"file_name": file_name, "reason": reason})
        self._images.end(self._tail())

    def _tail(self) -> str:
        return f'],\n "failures": {json.dumps(self.failures)}}}'

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._images.close()
        self._results.close()


class _GrowingList:
    """A JSON list on disk that is complete after each call of `end`."""

    def __init__(self, path: Path, head: str, tail: str) -> None:
        self._path = path
        self._unfinished = path.with_name(f"{path.name}.part")
        self._file = self._unfinished.open("wb")
        self._file.write(head.encode())
        self._separator = "\n"
        self._end = self._file.tell()  # where the next item goes, over the tail
        self.end(tail)

    def add(self, items: Sequence[Mapping[str, Any]]) -> None:
        self._file.seek(self._end)
        for item in items:
            self._file.write(f"{self._separator}{json.dumps(item)}".encode())
            self._separator = ",\n"
        self._end = self._file.tell()

    def end(self, tail: str) -> None:
        self._tail = tail
        self._file.seek(self._end)
        self._file.write(f"\n{tail}\n".encode())
        self._file.truncate()
        self._file.flush()

    def close(self) -> None:
        self.end(self._tail)  # drops what an interruption left half written
        self._file.close()
        os.replace(self._unfinished, self._path)
