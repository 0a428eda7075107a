"""Counts on three pictures whose every detection can be followed by hand."""

import numpy as np
import pytest
from squares import Oracle, Squares, part

from mrcnn.evaluate.coco import Collected, collect
from mrcnn.evaluate.matching import by_picture, by_threshold, confusion, match


def collected(change=lambda result: result) -> Collected:
    return collect(Oracle(change), Squares(), verbose=0)


def test_truth_as_detections():
    matches = match(collected())
    assert matches.true_class.tolist() == [1, 2, 1, 1]  # the crowd is no label
    assert sorted(matches.found_label.tolist()) == [0, 1, 2, 3]  # what lies in it is left out
    assert matches.found_iou.tolist() == [1.0] * 4
    rows = by_threshold(matches, [0.5, 0.8, 0.95])
    assert [(row["found"], row["matched"]) for row in rows] == [(4, 4), (2, 2), (0, 0)]
    assert rows[0]["precision"] == rows[0]["recall"] == rows[0]["f1"] == 1
    assert rows[1]["recall"] == 0.5 and rows[1]["f1"] == pytest.approx(2 / 3)
    assert rows[2]["precision"] == -1 and rows[2]["recall"] == rows[2]["f1"] == 0


def test_one_class_alone():
    row = by_threshold(match(collected()), [0.8], class_id=1)[0]
    assert (row["found"], row["matched"], row["recall"]) == (2, 2, pytest.approx(2 / 3))


def test_a_label_is_taken_once():
    twice = match(collected(lambda r: part(r, [0, 0] if len(r["scores"]) else [])))
    row = by_threshold(twice, [0.0])[0]
    assert (row["found"], row["matched"]) == (4, 2)


def test_pictures():
    """The first picture loses its nucleus; the empty one gets a detection of nothing."""

    def spoil(result):
        if len(result["scores"]):
            return part(result, result["class_ids"] == 1)
        masks = np.zeros((200, 200, 1), bool)
        masks[:9, :9] = True
        boxes, ones = np.array([[0, 0, 9, 9]]), np.ones(1, int)
        return {"masks": masks, "rois": boxes, "class_ids": ones, "scores": np.array([0.7])}

    rows = by_picture(match(collected(spoil)), threshold=0.5)
    assert [(r["labelled"], r["found"], r["matched"]) for r in rows] == [
        (2, 1, 1),
        (2, 2, 2),
        (0, 1, 0),
    ]
    assert rows[0]["f1"] == rows[0]["quality"] == pytest.approx(2 / 3)
    assert rows[1]["quality"] == rows[1]["iou"] == 1
    assert rows[2]["quality"] == rows[2]["f1"] == 0 and rows[2]["iou"] == -1
    nothing = by_picture(match(collected(spoil)), threshold=0.75)[2]
    assert nothing["quality"] == nothing["f1"] == -1


def test_quality_falls_with_the_overlap():
    def narrower(result):
        masks = result["masks"].copy()
        masks[:, 5 + 55 // 2 + 1 :, :1] = False  # the cell of picture 1 keeps 28 of 55 columns
        return {**result, "masks": masks}

    row = by_picture(match(collected(narrower)), 0.5)[1]
    assert row["iou"] == pytest.approx((28 / 55 + 1) / 2)
    assert row["quality"] == pytest.approx(row["f1"] * row["iou"])


def test_confusion():
    """Nucleus taken for cell; the second cell of picture 1 missed; nothing found in addition."""

    def spoil(result):
        return part({**result, "class_ids": np.ones_like(result["class_ids"])}, slice(0, 2))

    matches = match(collected(spoil), by_class=False)
    matrix = confusion(matches, 0.6, [1, 2])
    assert matrix.tolist() == [[0, 0, 0], [1, 2, 0], [0, 1, 0]]
    assert confusion(matches, 0.95, [1, 2]).tolist() == [[0, 0, 0], [3, 0, 0], [1, 0, 0]]


def test_detections_of_nothing_are_in_the_background_row():
    def elsewhere(result):
        return {**result, "masks": np.roll(result["masks"], 100, axis=0)[:, ::-1]}

    matrix = confusion(match(collected(elsewhere), by_class=False), 0.0, [1, 2])
    assert matrix[0].tolist() == [0, 4, 1] and matrix[:, 0].tolist() == [0, 3, 1]


def test_without_anything():
    matches = match(Collected.of(Squares()))
    assert by_picture(matches, 0.5) == []
    assert by_threshold(matches, [0.5])[0]["f1"] == -1
    assert not confusion(matches, 0.5, [1, 2]).any()
