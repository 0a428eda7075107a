"""COCO's average precision on a whole dataset, by pycocotools.

Shapes in this room
    masks    bool [height, width, num_instances]
    boxes    [num_instances, (y1, x1, y2, x2)] in pixels; COCO's own are (x, y, width, height)
"""

import contextlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mrcnn.data.dataset import Dataset

METRICS = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")


def evaluate_dataset(
    model: Any,
    dataset: Dataset,
    image_ids: Iterable[int] | None = None,
    max_detections: int = 100,
    verbose: int = 1,
) -> dict[str, float]:
    """Detect on a dataset's pictures and measure against its labels.

    model: a MaskRCNN in inference mode, with a low DETECTION_MIN_CONFIDENCE: AP weighs unsure
        detections by itself.
    image_ids: None takes them all. max_detections: of a picture that count; COCO's own is 100,
        and crowded pictures need more.
    verbose: 1 shows how far it is.
    Returns AP over IoU 0.50:0.95, AP50, AP75 and AP by area, for masks under those names and for
    boxes with "box_" before them; -1 where nothing was there to measure.
    """
    return collect(model, dataset, image_ids, verbose).measure(max_detections)


def collect(
    model: Any, dataset: Dataset, image_ids: Iterable[int] | None = None, verbose: int = 1
) -> "Collected":
    """Detect on a dataset's pictures and lay the results beside its labels."""
    image_ids = [int(i) for i in (dataset.image_ids if image_ids is None else image_ids)]
    collected = Collected(
        [{"id": int(i), "name": dataset.class_names[i]} for i in dataset.class_ids[1:]]
    )
    for done, image_id in enumerate(image_ids, start=1):
        image = dataset.load_image(image_id)
        masks, class_ids = dataset.load_mask(image_id)
        collected.pictures.append(
            {"id": image_id, "height": image.shape[0], "width": image.shape[1]}
        )
        collected.truth += annotations(image_id, masks, class_ids)
        result = model.detect([image])[0]
        collected.found += annotations(
            image_id, result["masks"], result["class_ids"], result["scores"]
        )
        if verbose and (done % 10 == 0 or done == len(image_ids)):
            print(f"{done} of {len(image_ids)} pictures", flush=True)
    return collected


@dataclass
class Collected:
    """Pictures, labels and detections in COCO's form."""

    categories: list[dict]
    pictures: list[dict] = field(default_factory=list)
    truth: list[dict] = field(default_factory=list)
    found: list[dict] = field(default_factory=list)

    def only(self, image_ids: Iterable[int]) -> "Collected":
        """The part that belongs to some of the pictures."""
        kept = {int(i) for i in image_ids}
        return Collected(
            self.categories,
            [row for row in self.pictures if row["id"] in kept],
            [row for row in self.truth if row["image_id"] in kept],
            [row for row in self.found if row["image_id"] in kept],
        )

    def measure(self, max_detections: int = 100) -> dict[str, float]:
        """As `evaluate_dataset` returns it."""
        kinds = (("", "segm"), ("box_", "bbox"))
        return {
            f"{prefix}{name}": value
            for prefix, kind in kinds
            for name, value in measure(
                self.pictures, self.categories, self.truth, self.found, kind, max_detections
            ).items()
        }


def annotations(
    image_id: int,
    masks: np.ndarray,
    class_ids: Sequence[int],
    scores: Sequence[float] | None = None,
) -> list[dict[str, Any]]:
    """One picture's instances as COCO annotations, or with scores as COCO results.

    A negative class id is a crowd of that class.
    """
    rows = []
    if not len(class_ids):
        return rows
    rles = mask_utils.encode(np.asfortranarray(masks, dtype=np.uint8))
    for i, (rle, class_id) in enumerate(zip(rles, class_ids)):
        row = {
            "image_id": int(image_id),
            "category_id": abs(int(class_id)),
            "segmentation": rle,
            "bbox": mask_utils.toBbox(rle).tolist(),
            "area": float(mask_utils.area(rle)),
            "iscrowd": int(class_id < 0),
        }
        if scores is not None:
            row["score"] = float(scores[i])
        rows.append(row)
    return rows


def measure(
    pictures: list[dict],
    categories: list[dict],
    truth: list[dict],
    found: list[dict],
    kind: str,
    max_detections: int = 100,
) -> dict[str, float]:
    """Average precisions by METRICS' names; kind: "segm" or "bbox"."""
    if not truth:
        return dict.fromkeys(METRICS, -1.0)
    if not found:
        return dict.fromkeys(METRICS, 0.0)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints at every step
        ground = _coco(pictures, categories, truth)
        evaluation = COCOeval(ground, _coco(pictures, categories, found), kind)
        evaluation.params.maxDets = [1, 10, max_detections]
        evaluation.evaluate()
        evaluation.accumulate()
    # [IoU threshold, recall, class, area, maxDets]; COCOeval.summarize() knows only maxDets 100.
    precision = evaluation.eval["precision"][..., -1]
    views = [
        precision[..., 0],
        precision[0, ..., 0],
        precision[5, ..., 0],
        *(precision[..., area] for area in (1, 2, 3)),
    ]
    means = [view[view > -1].mean() if (view > -1).any() else -1.0 for view in views]
    return {name: float(mean) for name, mean in zip(METRICS, means)}


def _coco(pictures: list[dict], categories: list[dict], rows: list[dict]) -> COCO:
    coco = COCO()
    coco.dataset = {
        "images": pictures,
        "categories": categories,
        "annotations": [{**row, "id": i} for i, row in enumerate(rows, start=1)],
    }
    coco.createIndex()
    return coco
