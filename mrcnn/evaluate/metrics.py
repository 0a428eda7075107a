"""Every number of an evaluation in one dict: what metrics.json holds and report.html shows.

    metrics = all_metrics(collected, names={0: "a.png"}, threshold=0.5)
    metrics["masks"]["AP"], metrics["classes"][0]["boxes"]["AP50"], metrics["counts"]

None stands for "there was nothing to measure".
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mrcnn.evaluate.coco import AREAS, MAX_DETECTIONS, Collected, Evaluation
from mrcnn.evaluate.matching import Matches, Threshold, by_picture, by_threshold, confusion, match

IOU = 0.5  # least IoU of a match, wherever instances are counted
WORDS = {"segm": "masks", "bbox": "boxes"}
BACKGROUND = "background"
_STEP = 0.05  # of the confidence thresholds
_DIGITS = 4  # of a curve's points


def all_metrics(
    collected: Collected,
    names: Mapping[Any, str],
    threshold: float = 0.5,
    max_detections: int = MAX_DETECTIONS,
    least_score: float = 0.0,
    areas: Mapping[str, tuple[float, float]] = AREAS,
    class_thresholds: Mapping[int, float] | None = None,
) -> dict[str, Any]:
    """Measure everything.

    names: {id of a picture: how to call it}.
    threshold: confidence from which detections are counted and shown; the averages of precision
        weigh all of them, whatever it is.
    class_thresholds: {category id: confidence} that count in its place, where detect takes one for
        each class.
    max_detections: of a picture and class that count.
    least_score: confidence below which nothing was asked for. areas: as in `Collected.evaluate`.
    Returns plain values that JSON can hold:
        pictures, labels, crowds, detections      how many
        threshold, max_detections, areas          as given
        masks, boxes                {"AP": .., ..}: COCO's numbers; masks is None for boxes alone
        at                          as from `by_threshold`, all classes together, as counted here
        classes                     [{"name", "threshold", "labels", "masks", "boxes", "precision",
                                      "recall", "f1", "curves"}]; as in `Evaluation.curves`
        curves                      over all classes
        thresholds, best_threshold  as from `by_threshold`, all classes together; where F1 is best
        confusion                   {"classes": names, "matrix": rows: labels, columns: detections}
        counts                      {"labelled", "found", "mean_error", "mean_absolute_error"}
        per_picture                 [{"id", "name", "labelled", "found", "matched", "f1", "iou",
                                      "quality"}]
    """
    evaluations = {
        kind: collected.evaluate(kind, max_detections, areas) for kind in collected.kinds
    }
    main = evaluations[collected.kinds[0]]
    matches = match(collected, IOU, max_detections)
    used = class_thresholds or threshold
    pictures = by_picture(matches, used)
    thresholds = by_threshold(matches, _thresholds(least_score, threshold))
    crowds = sum(bool(row["iscrowd"]) for row in collected.truth)
    return {
        "pictures": len(collected.pictures),
        "labels": len(collected.truth) - crowds,
        "crowds": crowds,
        "detections": len(collected.found),
        "threshold": threshold,
        "at": _nulls(by_threshold(matches, [used])[0]),
        "max_detections": max_detections,
        "areas": {name: list(area) for name, area in areas.items()},
        **_summaries(evaluations),
        "classes": _classes(collected, evaluations, main, matches, used),
        "curves": _curves(main),
        "thresholds": [_nulls(row) for row in thresholds],
        "best_threshold": _best(thresholds),
        "confusion": _confusion(collected, used, max_detections),
        "counts": _counts(pictures),
        "per_picture": [
            {**_nulls(row), "id": row["id"], "name": names[row["id"]]} for row in pictures
        ],
    }


def _thresholds(least: float, chosen: float) -> list[float]:
    steps = np.arange(_STEP, 1 - _STEP / 2, _STEP).round(2).tolist()
    return sorted({chosen, *(step for step in steps if step >= least)})


def _best(thresholds: list[dict[str, float]]) -> float | None:
    best = max(thresholds, key=lambda row: (row["f1"], row["threshold"]))
    return best["threshold"] if best["f1"] > 0 else None


def _summaries(evaluations: Mapping[str, Evaluation], index: int | None = None) -> dict[str, Any]:
    found = {WORDS[kind]: _nulls(e.summary(index)) for kind, e in evaluations.items()}
    return {word: found.get(word) for word in WORDS.values()}


def _classes(
    collected: Collected,
    evaluations: Mapping[str, Evaluation],
    main: Evaluation,
    matches: Matches,
    threshold: Threshold,
) -> list[dict[str, Any]]:
    rows = []
    for category in collected.categories:
        index = main.index(category["id"])
        at = by_threshold(matches, [threshold], category["id"])[0]
        at = {name: at[name] for name in ("precision", "recall", "f1")}
        rows.append(
            {
                "name": category["name"],
                "threshold": threshold[category["id"]]
                if isinstance(threshold, Mapping)
                else threshold,
                "labels": int((matches.true_class == category["id"]).sum()),
                **_summaries(evaluations, index),
                **_nulls(at),
                "curves": _curves(main, index),
            }
        )
    return rows


def _curves(evaluation: Evaluation, index: int | None = None) -> dict[str, list[float]] | None:
    curves = evaluation.curves(index)
    if curves["mean"][0] < 0:
        return None
    return {name: curve.round(_DIGITS).tolist() for name, curve in curves.items()}


def _confusion(collected: Collected, threshold: Threshold, max_detections: int) -> dict[str, Any]:
    across = match(collected, IOU, max_detections * len(collected.categories), by_class=False)
    matrix = confusion(across, threshold, [row["id"] for row in collected.categories])
    names = [BACKGROUND, *(row["name"] for row in collected.categories)]
    return {"classes": names, "matrix": matrix.tolist()}


def _counts(pictures: list[dict]) -> dict[str, float | int | None]:
    errors = np.array([row["found"] - row["labelled"] for row in pictures], float)
    return {
        "labelled": sum(row["labelled"] for row in pictures),
        "found": sum(row["found"] for row in pictures),
        "mean_error": float(errors.mean()) if errors.size else None,
        "mean_absolute_error": float(np.abs(errors).mean()) if errors.size else None,
    }


def _nulls(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: None if value == -1 else value for name, value in row.items()}
