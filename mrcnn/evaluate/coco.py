"""COCO's average precision and recall on a whole dataset, by pycocotools.

    collected = collect(model, dataset)                # labels and detections, masks as RLE
    collected.measure()                                # {"AP": .., "AP50": .., .. "box_AP": ..}
    evaluation = collected.evaluate("segm")            # the same for one kind, and for one class

Shapes in this room
    masks    bool [height, width, num_instances]
    boxes    [num_instances, (y1, x1, y2, x2)] in pixels; COCO's own are (x, y, width, height)
    kind     "segm" compares masks, "bbox" boxes
    -1       stands for "there was nothing to measure", as in pycocotools
"""

import contextlib
import copy
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mrcnn.config import Config
from mrcnn.data.dataset import Dataset, mask_crops
from mrcnn.detect.tiled import Tiles, with_tiles
from mrcnn.detect.tiles import TRAINED_ON_PIECES
from mrcnn.geometry.crops import MaskCrops
from mrcnn.geometry.rle import encode

METRICS = (
    *("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"),
    *("AR1", "AR10", "AR100", "AR_small", "AR_medium", "AR_large"),
)
KINDS = {"segm": "", "bbox": "box_"}  # kind -> what its numbers' names begin with
MAX_DETECTIONS = 100  # COCO's own: the best so many of a picture (and class) count
# Least and greatest area in pixels of the picture as it is on disk.
AREAS = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e10)}
_ANY_AREA = (0, 1e10)


LEAST_SCORE = 0.05  # AP weighs unsure detections by itself; below, they only cost time


def measuring_config(config: Config) -> Config:
    """A copy of a config for measuring AP: pictures one by one, unsure detections too."""
    config = copy.copy(config)
    config.GPU_COUNT = config.IMAGES_PER_GPU = config.BATCH_SIZE = 1
    config.DETECTION_MIN_CONFIDENCE = LEAST_SCORE
    config.DETECTION_CLASS_CONFIDENCE = None
    if config.IMAGE_RESIZE_MODE == "crop":
        config.IMAGE_RESIZE_MODE = "pad64"
        setattr(config, TRAINED_ON_PIECES, True)
    return config


def evaluate_dataset(
    model: Any,
    dataset: Dataset,
    image_ids: Iterable[int] | None = None,
    max_detections: int = MAX_DETECTIONS,
    verbose: int = 1,
) -> dict[str, float]:
    """Detect on a dataset's pictures and measure against its labels.

    model: a MaskRCNN in inference mode, with a low DETECTION_MIN_CONFIDENCE: AP weighs unsure
        detections by itself.
    image_ids: None takes them all. max_detections: of a picture that count; COCO's own is 100,
        and crowded pictures need more.
    verbose: 1 shows how far it is.
    Returns COCO's twelve numbers (METRICS) for masks under their names and for boxes with "box_"
    before them; -1 where nothing was there to measure.
    """
    collected = collect(model, dataset, image_ids, verbose)
    return collected.measure(max(max_detections, collected.most_in_tiles))


def collect(
    model: Any, dataset: Dataset, image_ids: Iterable[int] | None = None, verbose: int = 1
) -> "Collected":
    """Detect on a dataset's pictures and lay the results beside its labels.

    Those that are larger than what weights of pieces know are looked at in tiles, as `mrcnn detect`
    does.
    """
    image_ids = [int(i) for i in (dataset.image_ids if image_ids is None else image_ids)]
    collected = Collected.of(dataset)

    def detect(picture: np.ndarray) -> Mapping[str, np.ndarray]:
        return model.detect([picture])[0]

    if hasattr(model, "config"):
        detect = with_tiles(detect, Tiles(), model.config)
    for done, image_id in enumerate(image_ids, start=1):
        image = dataset.load_image(image_id)
        labels = mask_crops(dataset, image_id) or dataset.load_mask(image_id)
        collected.add_truth(image_id, *labels, image.shape)
        collected.add_found(image_id, detect(image))
        if verbose and (done % 10 == 0 or done == len(image_ids)):
            print(f"{done} of {len(image_ids)} pictures", flush=True)
    return collected


# -- Labels and detections ------------------------------------------------------------------


@dataclass
class Collected:
    """Pictures, labels and detections in COCO's form.

    pictures  {"id", "height", "width", ...}
    truth     {"image_id", "category_id", "segmentation": RLE, "bbox", "area", "iscrowd"}
    found     {"image_id", "category_id", "segmentation": RLE, "bbox", "score"}, and "area" where it
              is not that of what is compared; boxes alone come without segmentation
    most_in_tiles: detections of a picture that was looked at in tiles, which all count
    An RLE takes some hundred bytes, so that thousands of pictures fit into memory.
    """

    categories: list[dict]
    pictures: list[dict] = field(default_factory=list)
    truth: list[dict] = field(default_factory=list)
    found: list[dict] = field(default_factory=list)
    most_in_tiles: int = 0

    @classmethod
    def of(cls, dataset: Dataset) -> "Collected":
        """One without pictures, with a dataset's class ids as categories."""
        return cls([{"id": int(i), "name": dataset.class_names[i]} for i in dataset.class_ids[1:]])

    def add_truth(
        self,
        image_id: int,
        masks: np.ndarray | MaskCrops,
        class_ids: Sequence[int],
        shape: Sequence[int] | None = None,
    ) -> None:
        """Add a picture and its labels, as from `Dataset.load_mask`.

        shape: (height, width, ...) of the picture, by default that of the masks.
        Raises ValueError if the masks are not of the picture's size, or not one for each class id.
        """
        height, width = (masks.shape if shape is None else shape)[:2]
        if len(class_ids) and masks.shape != (height, width, len(class_ids)):
            raise ValueError(
                f"Picture {image_id} is {height}x{width} and has {len(class_ids)} labels, but its "
                f"masks have shape {list(masks.shape)}: they must be [height, width, labels]."
            )
        self.pictures.append({"id": int(image_id), "height": int(height), "width": int(width)})
        self.truth += annotations(image_id, masks, class_ids)

    def add_found(self, image_id: int, result: Mapping[str, np.ndarray]) -> None:
        """Add a picture's detections, as from `MaskRCNN.detect`."""
        if getattr(result, "tiles", None):
            self.most_in_tiles = max(self.most_in_tiles, len(result["class_ids"]))
        self.found += annotations(
            image_id, result["masks"], result["class_ids"], result["scores"], result["rois"]
        )

    def only(self, image_ids: Iterable[int]) -> "Collected":
        """The part that belongs to some of the pictures."""
        kept = {int(i) for i in image_ids}
        return Collected(
            self.categories,
            [row for row in self.pictures if row["id"] in kept],
            [row for row in self.truth if row["image_id"] in kept],
            [row for row in self.found if row["image_id"] in kept],
        )

    @property
    def kinds(self) -> tuple[str, ...]:
        """What can be compared: ("segm", "bbox"), or ("bbox",) where detections have no masks."""
        return tuple(KINDS) if all("segmentation" in row for row in self.found) else ("bbox",)

    def measure(self, max_detections: int = MAX_DETECTIONS) -> dict[str, float]:
        """As `evaluate_dataset` returns it."""
        return {
            f"{KINDS[kind]}{name}": value
            for kind in self.kinds
            for name, value in self.evaluate(kind, max_detections).summary().items()
        }

    def evaluate(
        self,
        kind: str = "segm",
        max_detections: int = MAX_DETECTIONS,
        areas: Mapping[str, tuple[float, float]] = AREAS,
    ) -> "Evaluation":
        """Run COCO's evaluation.

        kind: "segm" or "bbox". max_detections: of a picture and class that count.
        areas: {name: (least, greatest)} in pixels, for AP_name and AR_name.
        """
        if max_detections < 1:
            raise ValueError(f"max_detections is {max_detections}: at least 1 must count.")
        limits = sorted({1, min(10, max_detections), max_detections})
        evaluation = self.run_coco(kind, limits, [_ANY_AREA, *areas.values()])
        return Evaluation(self.categories, evaluation, list(areas), limits)

    def run_coco(
        self,
        kind: str,
        limits: Sequence[int],
        areas: Sequence[tuple[float, float]] = (_ANY_AREA,),
        ious: Sequence[float] | None = None,
        by_class: bool = True,
    ) -> COCOeval:
        """A finished COCOeval. An id in it is 1 + the index of a row in `truth` or `found`.

        by_class: False lets a detection match a label of any class.
        """
        if kind not in KINDS:
            raise ValueError(f"kind is {kind!r}: it must be one of {', '.join(KINDS)}.")
        if kind not in self.kinds:
            raise ValueError(f"Not all detections have masks: kind {kind!r} can't be measured.")
        # COCO sorts labels into small and large by the area of their masks, even to compare boxes;
        # detections by that of what is compared.
        found = [{"area": area_of(row, kind), **row, "iscrowd": 0} for row in self.found]
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints at every step
            evaluation = COCOeval(self._coco(self.truth), self._coco(found), kind)
            evaluation.params.maxDets = list(limits)
            evaluation.params.areaRng = [list(area) for area in areas]
            evaluation.params.useCats = int(by_class)
            if ious is not None:
                evaluation.params.iouThrs = np.asarray(ious, dtype=float)
            evaluation.evaluate()
            evaluation.accumulate()
        return evaluation

    def _coco(self, rows: list[dict]) -> COCO:
        coco = COCO()
        coco.dataset = {
            "images": self.pictures,
            "categories": self.categories,
            # From 1 on: to COCOeval a match with label 0 is no match.
            "annotations": [{**row, "id": i} for i, row in enumerate(rows, start=1)],
        }
        coco.createIndex()
        return coco


def annotations(
    image_id: int,
    masks: np.ndarray | MaskCrops,
    class_ids: Sequence[int],
    scores: Sequence[float] | None = None,
    boxes: np.ndarray | None = None,
) -> list[dict[str, Any]]:
    """One picture's instances as COCO annotations, or with scores as COCO results.

    A negative class id is a crowd of that class. boxes: those found; else they follow the masks.
    """
    rows = []
    if not len(class_ids):
        return rows
    rles = encode(masks)
    for i, (rle, class_id) in enumerate(zip(rles, class_ids)):
        row = {
            "image_id": int(image_id),
            "category_id": abs(int(class_id)),
            "segmentation": rle,
            "bbox": mask_utils.toBbox(rle).tolist(),
        }
        if boxes is not None:
            y1, x1, y2, x2 = (float(side) for side in boxes[i])
            row["bbox"] = [x1, y1, x2 - x1, y2 - y1]
        if scores is None:
            row |= {"area": float(mask_utils.area(rle)), "iscrowd": int(class_id < 0)}
        else:
            row["score"] = float(scores[i])
        rows.append(row)
    return rows


def area_of(row: dict, kind: str) -> float:
    """Pixels that a detection covers, by its mask ("segm") or its box ("bbox")."""
    if kind == "segm":
        return float(mask_utils.area(row["segmentation"]))
    return float(row["bbox"][2] * row["bbox"][3])


# -- The numbers ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Evaluation:
    """What COCO's evaluation of one kind came to; every number 0..1, or -1."""

    categories: list[dict]
    coco: COCOeval
    areas: list[str]  # names; the first area of `coco` is "any" and stands before them
    limits: list[int]  # numbers of detections, in rising order

    def index(self, class_id: int) -> int:
        """Where a class stands in the arrays of `coco`, which go by rising category id."""
        return self.coco.params.catIds.index(class_id)

    def summary(self, index: int | None = None) -> dict[str, float]:
        """COCO's numbers by METRICS' names: over all classes, or for the one at `index`.

        The names follow `areas`; AR100 is AR_max where another number of detections counts.
        """
        which = slice(None) if index is None else slice(index, index + 1)
        precision = self.coco.eval["precision"][:, :, which, :, -1]  # [iou, recall, class, area]
        recall = self.coco.eval["recall"][:, which]  # [iou, class, area, limit]
        ten, most = self.limits.index(min(10, self.limits[-1])), self.limits[-1]
        views = {
            "AP": precision[..., 0],
            "AP50": precision[0, ..., 0],
            "AP75": precision[5, ..., 0],
            **{f"AP_{name}": precision[..., i] for i, name in enumerate(self.areas, start=1)},
            "AR1": recall[..., 0, 0],
            "AR10": recall[..., 0, ten],
            "AR100" if most == MAX_DETECTIONS else "AR_max": recall[..., 0, -1],
            **{f"AR_{name}": recall[..., i, -1] for i, name in enumerate(self.areas, start=1)},
        }
        return {name: _mean(view) for name, view in views.items()}

    def curves(self, index: int | None = None) -> dict[str, np.ndarray]:
        """Precision at recall 0, 0.01, .. 1, at IoU 0.50, at 0.75, and averaged over 0.50:0.95.

        index: of one class; None averages over the classes.
        Returns {"0.50" | "0.75" | "mean": [101]}, all -1 where there is no label.
        """
        precision = self.coco.eval["precision"][..., 0, -1]  # [iou, recall, class]
        labelled = precision[0, 0] > -1 if index is None else np.arange(precision.shape[2]) == index
        precision = precision[..., labelled]
        if not precision.size:
            return {name: np.full(101, -1.0) for name in ("0.50", "0.75", "mean")}
        by_iou = precision.mean(axis=2)  # [iou, recall]
        return {"0.50": by_iou[0], "0.75": by_iou[5], "mean": by_iou.mean(axis=0)}


def _mean(values: np.ndarray) -> float:
    measured = values[values > -1]
    return float(measured.mean()) if measured.size else -1.0
