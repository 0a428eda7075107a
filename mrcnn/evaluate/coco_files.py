"""Labels and detections in COCO's files: measured without a network.

    measure_files("instances_val.json", "results.json", "bbox")    # {"AP": .., "AP50": .., ..}

An annotation file holds images, annotations and categories; a results file is a list of
{image_id, category_id, score, bbox [x, y, width, height] and / or segmentation}.
"""

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from mrcnn.evaluate.coco import MAX_DETECTIONS, Collected, area_of
from mrcnn.whole import regular_file


def measure_files(
    truth: str | os.PathLike,
    results: str | os.PathLike,
    kind: str = "segm",
    max_detections: int = MAX_DETECTIONS,
) -> dict[str, float]:
    """COCO's twelve numbers for a results file against an annotation file.

    kind: "segm" compares masks, "bbox" boxes. max_detections: of a picture and class that count.
    Raises ValueError, with the file and the place in it, where they don't belong together.
    """
    return read_files(truth, results).evaluate(kind, max_detections).summary()


def read_files(truth: str | os.PathLike, results: str | os.PathLike) -> Collected:
    """An annotation file and a results file, laid side by side. Raises as `measure_files`."""
    labels = read_json(truth)
    if not isinstance(labels, dict) or not {"images", "annotations", "categories"} <= set(labels):
        raise ValueError(
            f"{truth} is no COCO annotation file: it must hold images, annotations and categories."
        )
    pictures = {row["id"]: row for row in labels["images"]}
    known = {row["id"] for row in labels["categories"]}
    rows = []
    for i, row in enumerate(labels["annotations"]):
        where = f"{truth}: annotation {i}"
        rle = as_rle(row.get("segmentation"), _size(row, pictures, known, where), where)
        filled = {"iscrowd": 0, "area": float(mask_utils.area(rle)), **row, "segmentation": rle}
        filled.setdefault("bbox", mask_utils.toBbox(rle).tolist())
        rows.append(filled)
    found = as_found(read_results(results), pictures, known, results)
    return Collected(labels["categories"], labels["images"], rows, found)


def read_results(path: str | os.PathLike) -> list[dict]:
    """The detections of a results file as they stand there. Raises as `measure_files`."""
    results = read_json(path)
    if not isinstance(results, list):
        raise ValueError(f"{path} is no COCO results file: it must hold a list of detections.")
    for i, row in enumerate(results):
        if not isinstance(row, dict) or not {"image_id", "category_id", "score"} <= set(row):
            raise ValueError(
                f"{path}: detection {i} must have image_id, category_id and score (is this a file "
                "of labels?)."
            )
        if not row.get("segmentation") and not row.get("bbox"):
            raise ValueError(f"{path}: detection {i} has neither bbox nor segmentation.")
    return results


def as_found(
    results: list[dict],
    pictures: Mapping[Any, dict],
    category_ids: Iterable[Any],
    path: str | os.PathLike,
) -> list[dict]:
    """The detections of `read_results` as `Collected.found`; polygons become RLEs.

    pictures: {id: {"height", "width", ...}}; path: of the file, for messages.
    Raises as `measure_files`.

    NOTE: where detections come with boxes, pycocotools sorts them into small and large by their
    boxes, even to compare masks. So does this, for numbers equal to those published of a file.
    """
    known, found = set(category_ids), []
    boxes_first = bool(results) and bool(results[0].get("bbox"))
    for i, row in enumerate(results):
        where = f"{path}: detection {i}"
        size = _size(row, pictures, known, where)
        kept = {name: row[name] for name in ("image_id", "category_id", "score")}
        if row.get("segmentation"):
            kept["segmentation"] = as_rle(row["segmentation"], size, where)
        kept["bbox"] = row.get("bbox") or mask_utils.toBbox(kept["segmentation"]).tolist()
        if boxes_first:
            kept["area"] = area_of(kept, "bbox")
        found.append(kept)
    return found


def as_rle(segmentation: Any, size: tuple[int, int], where: str) -> dict[str, Any]:
    """COCO's polygons, counts or compressed counts as compressed RLE.

    size: (height, width) of the picture. None and [] give an empty mask. where: for messages.
    Raises ValueError for counts of another size, and for what is none of these.
    """
    if not segmentation:
        return mask_utils.encode(np.zeros(size, np.uint8, order="F"))
    try:
        if isinstance(segmentation, list):
            return mask_utils.merge(mask_utils.frPyObjects(segmentation, *size))
        own, counts = tuple(segmentation["size"]), segmentation["counts"]
    except Exception as error:  # pycocotools raises bare Exceptions, too
        raise ValueError(f"{where} has a segmentation that can't be read ({error}).") from error
    if own != size:
        raise ValueError(
            f"{where} has a mask of {own[0]}x{own[1]} pixels (height x width), but its picture is "
            f"{size[0]}x{size[1]}."
        )
    return mask_utils.frPyObjects(segmentation, *size) if isinstance(counts, list) else segmentation


def read_json(path: str | os.PathLike) -> Any:
    """What a JSON file holds. Raises ValueError with the file and the line where it breaks off."""
    try:
        return json.loads(regular_file(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no JSON file: {error}.") from error


def _size(row: dict, pictures: Mapping[Any, dict], known: set, where: str) -> tuple[int, int]:
    picture, class_id = pictures.get(row.get("image_id")), row.get("category_id")
    if picture is None:
        raise ValueError(f"{where} is of picture {row.get('image_id')}, which isn't in the data.")
    if class_id not in known:
        raise ValueError(f"{where} is of class {class_id}, which isn't in the data.")
    return picture["height"], picture["width"]
