"""A job's table as files of other programs, a picture at a time in memory.

    convert("found", "coco", "found.json")

coco      one annotation file: images, annotations with exact masks (RLE) and scores
geojson   one file of outlines with holes, in pixels; each says which picture it is of
csv       a row for each instance: its picture, class, score, box, and what can be measured of it
"""

import csv
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.data.writers import WRITERS, Labelled, file_name_from, place
from mrcnn.data.writing_geojson import feature, polygons, properties
from mrcnn.errors import UsageError
from mrcnn.jobs import folder as folders
from mrcnn.jobs import storage, tables
from mrcnn.whole import WholeFile, check_free

Row = Mapping[str, Any]
_SUFFIXES = {"coco": ".json", "geojson": ".geojson", "csv": ".csv"}
FORMATS = (*_SUFFIXES, *(name for name in WRITERS if name not in _SUFFIXES))
MEASURED = (
    *("picture", "instance", "class", "score", "y1", "x1", "y2", "x2"),
    *("area", "center_y", "center_x", "equivalent_diameter", "touches_border"),
)


def convert(
    job: str | os.PathLike,
    to: str,
    out: str | os.PathLike,
    force: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> Path:
    """Write what a job has found so far; returns the file or folder. Failed pictures are left out.

    to: one of FORMATS. out: the file, or a folder that it goes into. force: overwrite it.
    Raises UsageError where there is no job, FileExistsError, and OSError where it can't be written.
    """
    told, path = folders.read_job(job), Path(out).expanduser()
    rows = (row for row in _rows(job, advance) if row["error"] is None)
    if to not in _SUFFIXES:
        path = place(path, to)
        _for_labelling(to, path, told["class_names"], rows, force)
        return path
    if path.suffix.lower() not in (_SUFFIXES[to], ".json"):
        path = path / f"{to}{_SUFFIXES[to]}"
    if not force:
        check_free(path)
    _write(path, {"coco": _coco, "geojson": _geojson, "csv": _csv}[to](told, rows))
    return path


def _write(path: Path, pieces: Iterator[str]) -> None:
    file = WholeFile(path)
    try:
        for piece in pieces:
            file.write(piece)
    except BaseException:
        file.close(None)
        raise
    file.close([])


def _rows(job: str | os.PathLike, advance: Callable[[], None]) -> Iterator[Row]:
    for part in folders.parts(job):
        for row in tables.rows_of(part):
            yield row
            advance()


def rle_of(row: Row) -> list[dict[str, Any]]:
    """The masks of a row as COCO's compressed RLE."""
    size = [row["height"], row["width"]]
    return [{"size": size, "counts": counts} for counts in row["masks"]]


def masks_of(row: Row) -> np.ndarray:
    """The masks of a row: bool [height, width, n]."""
    from pycocotools import mask as rle

    if not row["masks"]:
        return np.zeros((row["height"], row["width"], 0), bool)
    return np.asarray(rle.decode(rle_of(row)), bool)


# -- The formats ------------------------------------------------------------------------------


def _coco(told: Row, rows: Iterator[Row]) -> Iterator[str]:
    from pycocotools import mask as rle

    names = told["class_names"]
    categories = [{"id": i, "name": name} for i, name in enumerate(names) if i > 0]
    yield f'{{"categories": {json.dumps(categories)},\n"annotations": ['
    number = 0
    # The pictures go behind the annotations, and wait in a file of their own until then.
    images = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
    for i, row in enumerate(rows, start=1):
        image = {"id": i, "file_name": row["path"], "height": row["height"], "width": row["width"]}
        images.write(f"{',' if i > 1 else ''}\n{json.dumps(image)}")
        segmentations = rle_of(row)
        for class_id, score, (y1, x1, y2, x2), mask in zip(
            row["class_ids"], row["scores"], row["boxes"], segmentations
        ):
            number += 1
            annotation = {
                **{"id": number, "image_id": i, "category_id": class_id, "score": score},
                **{"bbox": [x1, y1, x2 - x1, y2 - y1], "area": int(rle.area(mask))},
                **{"iscrowd": 0, "segmentation": mask},
            }
            yield f"{',' if number > 1 else ''}\n{json.dumps(annotation)}"
    yield '\n],\n"images": ['
    with images:
        images.seek(0)
        yield from images
    yield "\n]}\n"


def _geojson(told: Row, rows: Iterator[Row]) -> Iterator[str]:
    names, between, number = told["class_names"], "\n", 0
    yield '{"type": "FeatureCollection", "features": ['
    for row in rows:
        masks = masks_of(row)
        for i, (class_id, score, (y1, x1, y2, x2)) in enumerate(
            zip(row["class_ids"], row["scores"], row["boxes"])
        ):
            parts = polygons(masks[y1:y2, x1:x2, i], y1, x1)
            if not parts:
                continue
            number += 1
            beside = properties(number, names[class_id], score, None, "annotation")
            yield between + json.dumps(feature(parts, {**beside, "image": row["path"]}))
            between = ",\n"
    yield "\n]}\n"


def _csv(told: Row, rows: Iterator[Row]) -> Iterator[str]:
    names = told["class_names"]
    yield _line(MEASURED)
    for row in rows:
        masks = masks_of(row)
        for i, (class_id, score, box) in enumerate(
            zip(row["class_ids"], row["scores"], row["boxes"])
        ):
            measured = measure(masks[..., i], box)
            yield _line([row["path"], i + 1, names[class_id], f"{score:.4f}", *box, *measured])


def measure(mask: np.ndarray, box: list[int]) -> list[Any]:
    """The last five of MEASURED, in pixels; centres count from the first pixel's middle.

    mask: bool [height, width]. box: (y1, x1, y2, x2), in which all of the mask lies.
    """
    y1, x1, y2, x2 = box
    y, x = np.nonzero(mask[y1:y2, x1:x2])
    at_border = y1 <= 0 or x1 <= 0 or y2 >= mask.shape[0] or x2 >= mask.shape[1]
    if not len(y):
        return [0, "", "", 0, int(at_border)]
    diameter = np.sqrt(4 * len(y) / np.pi)
    centre = [f"{y1 + y.mean():.2f}", f"{x1 + x.mean():.2f}"]
    return [len(y), *centre, f"{diameter:.2f}", int(at_border)]


def _line(values: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def _for_labelling(
    to: str, path: Path, class_names: list[str], rows: Iterator[Row], force: bool
) -> None:
    """By the writers of `mrcnn data convert`, whose files name pictures of this machine."""
    if not force:
        check_free(path)
    with WRITERS[to](path, class_names, overwrite=force) as writer:
        for row in rows:
            if storage.scheme(row["path"]):
                raise UsageError(
                    f"{to} names files on this machine, and {row['path']} isn't one: convert to "
                    f"{', '.join(_SUFFIXES)}."
                )
            name = file_name_from(writer.folder, row["path"])
            ids = np.array(row["class_ids"], np.int32)
            scores = np.array(row["scores"], np.float32)
            writer.add(Labelled(name, row["height"], row["width"], masks_of(row), ids, scores))
