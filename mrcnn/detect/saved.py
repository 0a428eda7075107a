"""One result in a file: a COCO file that other tools open, or the arrays.

*.json   images (one: id, height, width), categories, annotations (COCO's results rows with id,
         area and iscrowd), info {"class_names": [..]}
*.npz    rois, class_ids, scores, masks, and class_names where they are known
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.detect.results import coco_results
from mrcnn.geometry.crops import MaskCrops
from mrcnn.geometry.rle import decode_crops
from mrcnn.whole import regular_file, whole

_IN_FULL = 1 << 30  # bytes of masks from which on they stay cut to their boxes
ARRAYS = ("rois", "class_ids", "scores", "masks")


def write_saved(
    path: str | os.PathLike, arrays: Mapping[str, np.ndarray], class_names: Sequence[str] | None
) -> None:
    """Write the four arrays of a result, whole or not at all; the suffix says in which form.

    Raises ValueError for another suffix than .json or .npz, OSError where it can't be written.
    """
    path = Path(path)
    kind = _kind(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as unfinished:
        if kind == ".json":
            text = json.dumps(as_coco_file(arrays, class_names), ensure_ascii=False)
            unfinished.write_text(text, encoding="utf-8")
            return
        kept: dict[str, Any] = {key: arrays[key] for key in ARRAYS}
        if class_names is not None:
            kept["class_names"] = np.array(class_names, dtype=str)
        with unfinished.open("wb") as file:
            np.savez_compressed(file, **kept)


def read_saved(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], list[str] | None]:
    """The four arrays and the class names in a file of `write_saved`.

    Raises ValueError for a file of another kind or a damaged one, OSError where it can't be read.
    """
    path = Path(path)
    kind = _kind(path)
    regular_file(path)
    try:
        if kind == ".json":
            return _from_coco_file(json.loads(path.read_text(encoding="utf-8")))
        with np.load(path, allow_pickle=False) as file:
            names = file.get("class_names")
            return {key: file[key] for key in ARRAYS}, None if names is None else names.tolist()
    except OSError:
        raise
    except Exception as error:  # whatever JSON, zip and RLE make of a damaged file
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"{path} is damaged, or wasn't written by Instances.save ({reason})."
        ) from error


def as_coco_file(
    arrays: Mapping[str, np.ndarray], class_names: Sequence[str] | None
) -> dict[str, Any]:
    """What is written of a result to a .json file."""
    from pycocotools import mask as rle

    height, width = arrays["masks"].shape[:2]
    rows = coco_results(1, arrays)
    areas = rle.area([row["segmentation"] for row in rows])
    for i, (row, score, area) in enumerate(zip(rows, arrays["scores"], areas), start=1):
        # The score to its last digit: results rows are rounded.
        row |= {"id": i, "score": float(score), "area": int(area), "iscrowd": 0}
    if class_names is None:
        names = {int(i): f"class {i}" for i in np.unique(arrays["class_ids"])}
    else:
        names = {i: name for i, name in enumerate(class_names) if i > 0}
    return {
        "info": {"class_names": class_names},
        "images": [{"id": 1, "height": height, "width": width}],
        "categories": [{"id": i, "name": name} for i, name in names.items()],
        "annotations": rows,
    }


def _from_coco_file(content: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], list[str] | None]:
    from pycocotools import mask as rle

    (image,), rows = content["images"], content["annotations"]
    size = [image["height"], image["width"]]
    if any(row["segmentation"]["size"] != size for row in rows):
        raise ValueError(f"a mask is not of the picture's size, {size[0]}x{size[1]}")
    segmentations = [row["segmentation"] for row in rows]
    masks: np.ndarray | MaskCrops
    if len(rows) * size[0] * size[1] > _IN_FULL:
        masks = decode_crops(segmentations, size)
    else:
        masks = rle.decode(segmentations).astype(bool) if rows else np.zeros((*size, 0), bool)
    corners = np.array([row["bbox"] for row in rows], np.int32).reshape(-1, 4)
    x, y, width, height = corners.T
    arrays = {
        "rois": np.stack([y, x, y + height, x + width], axis=1),
        "class_ids": np.array([row["category_id"] for row in rows], np.int32),
        "scores": np.array([row["score"] for row in rows], np.float32),
        "masks": masks,
    }
    return arrays, content["info"]["class_names"]


def _kind(path: Path) -> str:
    kind = path.suffix.lower()
    if kind not in (".json", ".npz"):
        raise ValueError(
            f"{path}: a result is kept in a .json or .npz file. For a picture of it, write what "
            "result.plot(picture) gives, for example with skimage.io.imsave."
        )
    return kind
