"""Which least score suits each class: where its F1 is best on labelled pictures.

    chosen = choose_thresholds(match(collected), [1, 2])    # {1: Chosen(..), 2: Chosen(..)}

The F1 of few labels jumps with each of them, and its best place is chance. So each class is judged
together with `SHARED` labels' worth of all classes: a class with hundreds of labels hardly feels
them, and one with three gets nearly what suits all classes together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mrcnn.evaluate.coco import LEAST_SCORE
from mrcnn.evaluate.matching import Matches, by_threshold

SHARED = 10  # labels of all classes that weigh beside a class's own
LEAST_LABELS = 10  # of all classes; fewer say nothing about a threshold
_DIGITS = 3


@dataclass(frozen=True)
class Chosen:
    """The least score of a class. f1: with it, of the class alone; -1 where it has no labels."""

    score: float
    labels: int
    f1: float


def choose_thresholds(
    matches: Matches, class_ids: Sequence[int], least: float = LEAST_SCORE
) -> dict[int, Chosen]:
    """The least score of each class, and under 0 that of all classes together.

    matches: by class, of detections from score `least` on. Raises ValueError for fewer labels than
    LEAST_LABELS.
    """
    total = len(matches.true_class)
    if total < LEAST_LABELS:
        raise ValueError(
            f"thresholds by class can't be chosen by {total} labels: take pictures with at least "
            f"{LEAST_LABELS}."
        )
    scores, hits = matches.found_score, matches.found_label >= 0
    everything = _best(scores, hits, np.ones(len(scores)), total, least)
    at = by_threshold(matches, [everything])[0]
    chosen = {0: Chosen(everything, total, at["f1"])}
    for class_id in class_ids:
        labels = int((matches.true_class == class_id).sum())
        mine = matches.found_class == class_id
        weights = mine + SHARED / total  # its own count once more than in the share of all
        best = everything
        if labels:
            best = _best(scores, hits, weights, labels + SHARED, least)
        at = by_threshold(matches, [best], class_id)[0]
        chosen[class_id] = Chosen(best, labels, at["f1"] if labels else -1.0)
    return chosen


def _best(
    scores: np.ndarray, hits: np.ndarray, weights: np.ndarray, labels: float, least: float
) -> float:
    """The score from which F1 is best, in the middle of the gap below the last one that counts."""
    order = np.argsort(-scores, kind="stable")
    scores, found = scores[order], np.cumsum(weights[order])
    matched = np.cumsum((weights * hits)[order])
    if not len(scores):
        return least
    f1 = 2 * matched / (found + labels)
    last = np.flatnonzero(np.append(scores[1:] < scores[:-1], True))  # of those of one score
    best = last[np.argmax(f1[last])]
    below = scores[best + 1] if best + 1 < len(scores) else min(least, scores[best])
    middle = float(scores[best] + below) / 2
    short = round(middle, _DIGITS)
    return short if below < short <= scores[best] else middle
