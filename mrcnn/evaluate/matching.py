"""Which detection is which label: what a confidence threshold gives, confusions, picture scores.

    matches = match(collected, iou=0.5)            # a label is found by a detection of its class
    by_threshold(matches, [0.3, 0.5, 0.7])         # precision, recall and F1 at each
    by_picture(matches, threshold=0.5)             # labelled, found, F1, mean IoU of each picture
    confusion(collected, threshold=0.5)            # which class is taken for which

Matching is COCO's: the most confident detection chooses first, the label it overlaps most, if the
IoU reaches the threshold; each label is taken once. So what lies below a confidence threshold never
changes what lies above it, and one matching serves all thresholds.
Crowds count nowhere, nor do detections inside them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from mrcnn.evaluate.coco import MAX_DETECTIONS, Collected

# One least confidence for all classes, or {category id: one}.
Threshold = float | Mapping[int, float]


@dataclass(frozen=True)
class Matches:
    """Detections and labels by row; crowds and detections in crowds are left out.

    found_row, true_row        [num], rows in `Collected.found` and `.truth`
    found_image, true_image    [num], ids of pictures
    found_class, true_class    [num], category ids
    found_score                [num_found], confidence 0..1
    found_label                [num_found], row of the label that it matches, or -1
    found_iou                  [num_found], its IoU with that label, 0 without one
    pictures                   ids of all pictures, those without labels and detections included
    """

    found_row: np.ndarray
    found_image: np.ndarray
    found_class: np.ndarray
    found_score: np.ndarray
    found_label: np.ndarray
    found_iou: np.ndarray
    true_row: np.ndarray
    true_image: np.ndarray
    true_class: np.ndarray
    pictures: list


def match(
    collected: Collected,
    iou: float = 0.5,
    max_detections: int = MAX_DETECTIONS,
    by_class: bool = True,
) -> Matches:
    """Match detections with labels by their masks, by boxes where detections have no masks.

    iou: least IoU of a match. max_detections: of a picture (and class) that take part.
    by_class: False lets a detection match a label of another class.
    """
    kind = collected.kinds[0]
    coco = collected.run_coco(kind, [max_detections], ious=[iou], by_class=by_class)
    labels = [i for i, row in enumerate(collected.truth) if not row["iscrowd"]]
    label_of = {row: i for i, row in enumerate(labels)}
    found, found_label, found_iou = [], [], []
    for picture in filter(None, coco.evalImgs):
        for found_id, true_id, ignored in zip(
            picture["dtIds"], picture["dtMatches"][0], picture["dtIgnore"][0]
        ):
            if ignored:
                continue
            row, label = found_id - 1, int(true_id) - 1  # COCOeval's ids begin at 1
            found.append(row)
            found_label.append(label_of.get(label, -1))
            known = label >= 0
            found_iou.append(
                _iou(collected.found[row], collected.truth[label], kind) if known else 0
            )
    return Matches(
        np.array(found, int),
        _column(collected.found, found, "image_id"),
        _column(collected.found, found, "category_id"),
        _column(collected.found, found, "score").astype(float),
        np.array(found_label, int),
        np.array(found_iou, float),
        np.array(labels, int),
        _column(collected.truth, labels, "image_id"),
        _column(collected.truth, labels, "category_id"),
        [row["id"] for row in collected.pictures],
    )


def sure(matches: Matches, threshold: Threshold) -> np.ndarray:
    """Which detections are as sure as they must be: bool [num_found]."""
    if not isinstance(threshold, Mapping):
        return matches.found_score >= threshold
    least = [threshold[class_id] for class_id in matches.found_class.tolist()]
    return matches.found_score >= np.array(least, float)


def by_threshold(
    matches: Matches, thresholds: Sequence[Threshold], class_id: int | None = None
) -> list[dict[str, Any]]:
    """What detect would give with each of these as DETECTION_MIN_CONFIDENCE.

    matches: by class. class_id: count this class only; None counts all together.
    Returns for each {"threshold", "found", "matched", "precision", "recall", "f1"}; -1 for a
    precision of no detections and a recall of no labels, and None as the threshold where each class
    has one.
    """
    hit, mine = matches.found_label >= 0, np.ones(len(matches.found_score), bool)
    labelled = len(matches.true_class)
    if class_id is not None:
        mine = matches.found_class == class_id
        labelled = int((matches.true_class == class_id).sum())
    rows = []
    for threshold in thresholds:
        kept = sure(matches, threshold) & mine
        found, matched = int(kept.sum()), int((kept & hit).sum())
        rows.append(
            {
                "threshold": None if isinstance(threshold, Mapping) else float(threshold),
                "found": found,
                "matched": matched,
                "precision": matched / found if found else -1.0,
                "recall": matched / labelled if labelled else -1.0,
                "f1": _f1(matched, found, labelled),
            }
        )
    return rows


def by_picture(matches: Matches, threshold: Threshold) -> list[dict]:
    """How each picture came out, in the order of `matches.pictures`.

    matches: by class. threshold: least confidence of a detection that counts.
    Returns for each {"id", "labelled", "found", "matched", "f1", "iou", "quality"}: iou is the mean
    of the matched (-1 without any), quality the sum of their IoU over the mean of labelled and
    found: Kirillov's panoptic quality (arXiv 1801.00868, eq. 1), 1 for a perfect picture. f1 and
    quality are -1 for a picture with nothing to find and nothing found.
    """
    place = {image_id: i for i, image_id in enumerate(matches.pictures)}
    kept = sure(matches, threshold)
    hit = kept & (matches.found_label >= 0)
    count = len(place)
    found_at = np.array([place[i] for i in matches.found_image.tolist()], int)
    true_at = np.array([place[i] for i in matches.true_image.tolist()], int)
    labelled = np.bincount(true_at, minlength=count)
    found = np.bincount(found_at[kept], minlength=count)
    matched = np.bincount(found_at[hit], minlength=count)
    iou_sum = np.bincount(found_at[hit], matches.found_iou[hit], minlength=count)
    return [
        {
            "id": image_id,
            "labelled": int(labelled[i]),
            "found": int(found[i]),
            "matched": int(matched[i]),
            "f1": _f1(int(matched[i]), int(found[i]), int(labelled[i])),
            "iou": float(iou_sum[i] / matched[i]) if matched[i] else -1.0,
            "quality": float(2 * iou_sum[i] / (labelled[i] + found[i]))
            if labelled[i] + found[i]
            else -1.0,
        }
        for image_id, i in place.items()
    ]


def confusion(matches: Matches, threshold: Threshold, class_ids: Sequence[int]) -> np.ndarray:
    """How often a label of one class was found as another.

    matches: not by class. threshold: least confidence of a detection that counts.
    class_ids: the classes, without the background.
    Returns int [1 + classes, 1 + classes]: rows are labels, columns detections, the background is
    the first of both: row 0 counts detections of nothing, column 0 labels that were not found.
    """
    place = {class_id: i for i, class_id in enumerate(class_ids, start=1)}
    matrix = np.zeros((1 + len(place), 1 + len(place)), int)
    missed = np.ones(len(matches.true_class), bool)
    for i in np.flatnonzero(sure(matches, threshold)):
        label = matches.found_label[i]
        row = place[matches.true_class[label]] if label >= 0 else 0
        matrix[row, place[matches.found_class[i]]] += 1
        if label >= 0:
            missed[label] = False
    for class_id in matches.true_class[missed]:
        matrix[place[class_id], 0] += 1
    return matrix


def _f1(matched: int, found: int, labelled: int) -> float:
    return 2 * matched / (found + labelled) if found + labelled else -1.0


def _iou(found: dict, label: dict, kind: str) -> float:
    shape = "segmentation" if kind == "segm" else "bbox"
    return float(mask_utils.iou([found[shape]], [label[shape]], [0])[0, 0])


def _column(rows: list[dict], which: list[int], name: str) -> np.ndarray:
    return np.array([rows[i][name] for i in which])
