"""The least score of each class, chosen on labelled pictures."""

import numpy as np
import pytest

from mrcnn.evaluate.matching import Matches, by_picture, by_threshold
from mrcnn.evaluate.thresholds import choose_thresholds


def matches(*classes) -> Matches:
    """classes: (class id, labels, scores of right detections, scores of wrong ones)."""
    found = [
        (class_id, score, hit)
        for class_id, _, right, wrong in classes
        for scores, hit in ((right, True), (wrong, False))
        for score in scores
    ]
    ids, scores, hits = (np.array(column) for column in zip(*found))
    labels = np.concatenate([np.full(count, class_id) for class_id, count, *_ in classes])
    return Matches(
        np.arange(len(ids)),
        np.zeros(len(ids), int),
        ids,
        scores.astype(float),
        np.where(hits, 0, -1),
        np.where(hits, 0.8, 0.0),
        np.arange(len(labels)),
        np.zeros(len(labels), int),
        labels,
        [0],
    )


def test_each_class_has_the_confidence_of_its_best_f1():
    sure, unsure = np.linspace(0.8, 0.99, 200), np.linspace(0.3, 0.5, 200)
    found = matches(
        (1, 200, sure, np.linspace(0.1, 0.7, 200)), (2, 200, unsure, np.linspace(0.06, 0.2, 200))
    )
    chosen = choose_thresholds(found, [1, 2])
    assert chosen[1].score == pytest.approx(0.75, abs=0.001)  # in the middle of the gap
    assert 0.2 < chosen[2].score <= 0.3
    assert chosen[1].f1 == chosen[2].f1 == 1 and chosen[2].labels == 200


def test_few_labels_of_a_class_do_not_decide_alone():
    common = (1, 300, np.linspace(0.6, 0.99, 300), np.linspace(0.06, 0.5, 300))
    rare = (2, 2, [0.97, 0.98], [0.95])  # by itself: 0.96
    chosen = choose_thresholds(matches(common, rare), [1, 2, 3])
    assert chosen[2].score == pytest.approx(0.55, abs=0.01)
    assert (chosen[2].labels, chosen[3].labels) == (2, 0)
    assert (chosen[3].score, chosen[3].f1) == (chosen[0].score, -1)  # what suits all together
    many = (2, 200, np.full(200, 0.97), np.full(100, 0.95))
    assert 0.95 < choose_thresholds(matches(common, many), [2])[2].score <= 0.97


def test_edges():
    with pytest.raises(ValueError, match="by 9 labels"):
        choose_thresholds(matches((1, 9, [0.9], [])), [1])
    # All that is found is right: nothing is dropped that a network may find next time.
    assert choose_thresholds(matches((1, 12, [0.9, 0.5], [])), [1])[1].score == 0.275
    # Scores that lie close together keep their digits.
    near = matches((1, 10, [0.90001] * 10, [0.90000] * 30))
    assert 0.9 < choose_thresholds(near, [1])[1].score <= 0.90001


def test_counts_at_the_confidence_of_each_class():
    found = matches((1, 2, [0.9, 0.4], [0.3]), (2, 2, [0.8, 0.6], [0.7]))
    at = by_threshold(found, [{1: 0.35, 2: 0.75}])[0]
    assert (at["threshold"], at["found"], at["matched"]) == (None, 3, 3)
    assert by_threshold(found, [{1: 0.35, 2: 0.75}], class_id=2)[0]["recall"] == 0.5
    assert by_picture(found, {1: 0.35, 2: 0.75})[0]["found"] == 3
