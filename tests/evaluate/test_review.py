"""Labels that are probably wrong, on pictures of discs where it is known which."""

import csv
import json

import numpy as np
import pytest

from mrcnn.evaluate.coco import Collected, annotations
from mrcnn.evaluate.label_next import Look, doubt, label_next, look
from mrcnn.evaluate.review import (
    CLASS,
    EXTRA,
    MERGED,
    MISSING,
    OUTLINE,
    SPLIT,
    Suspect,
    find_suspects,
)
from mrcnn.evaluate.review_page import write_review
from mrcnn.evaluate.review_pictures import cut_out, region

SIZE = 120
PLACES = [(y, x) for y in (18, 48, 78, 104) for x in (18, 48, 78, 104)]


def disc(y, x, radius=10):
    rows, columns = np.mgrid[:SIZE, :SIZE]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def collected(change, pictures=6) -> Collected:
    """Labels of 16 discs a picture, found as they are; `change` alters picture 0.

    change: (labels, found) -> the same, each a list of (mask, class id, score).
    """
    result = Collected([{"id": 1, "name": "cell"}, {"id": 2, "name": "egg"}])
    for image_id in range(pictures):
        labels = [(disc(*place), 1, 1.0) for place in PLACES]
        found = [(disc(y, x), 1, 0.95) for y, x in PLACES]
        if image_id == 0:
            labels, found = change(labels, found)
        result.pictures.append({"id": image_id, "height": SIZE, "width": SIZE})
        for rows, into in ((labels, result.truth), (found, result.found)):
            masks = np.stack([mask for mask, _, _ in rows], axis=-1)
            ids = [class_id for _, class_id, _ in rows]
            scores = [score for _, _, score in rows] if into is result.found else None
            into += annotations(image_id, masks, ids, scores)
    return result


def first(change) -> Suspect:
    suspects = find_suspects(collected(change))
    assert len(suspects) == 1 and suspects[0].image_id == 0
    return suspects[0]


def test_labels_that_are_right_are_left_alone():
    assert find_suspects(collected(lambda labels, found: (labels, found))) == []
    assert find_suspects(Collected([{"id": 1, "name": "cell"}])) == []


def test_an_object_without_a_label():
    one = first(lambda labels, found: (labels[1:], found))
    assert (one.kind, one.labels, one.found, one.class_id) == (MISSING, (), (0,), 1)
    assert one.confidence > 0.8


def test_a_label_without_an_object():
    one = first(lambda labels, found: (labels, found[1:]))
    assert (one.kind, one.labels, one.found) == (EXTRA, (0,), ())
    assert one.confidence > 0.8


def test_another_class():
    one = first(lambda labels, found: ([(labels[0][0], 2, 1.0), *labels[1:]], found))
    assert (one.kind, one.labels, one.class_id, one.better) == (CLASS, (0,), 2, 1)
    assert one.confidence > 0.8


@pytest.mark.parametrize("wrong", [disc(18, 26), disc(18, 18, 14), disc(18, 18, 6)])
def test_a_loose_outline(wrong):
    one = first(lambda labels, found: ([(wrong, 1, 1.0), *labels[1:]], found))
    assert (one.kind, one.labels, one.found) == (OUTLINE, (0,), (0,))


def test_several_in_one_and_one_in_several():
    both = disc(18, 18) | disc(18, 48)
    one = first(lambda labels, found: ([(both, 1, 1.0), *labels[2:]], found))
    assert (one.kind, one.labels, one.found) == (MERGED, (0,), (0, 1))
    upper = disc(18, 18) & (np.arange(SIZE)[:, None] < 18)
    halves = [(upper, 1, 1.0), (disc(18, 18) & ~upper, 1, 1.0)]
    one = first(lambda labels, found: ([*halves, *labels[1:]], found))
    assert (one.kind, one.labels, one.found) == (SPLIT, (0, 1), (0,))


def test_crowds_are_no_labels_and_hide_what_lies_in_them():
    crowd = (disc(18, 18, 14), -1, 1.0)
    assert find_suspects(collected(lambda labels, found: ([crowd, *labels[1:]], found))) == []


def test_a_network_that_is_often_wrong_is_believed_less():
    def nothing_found(labels, found):
        return labels, found[1:]

    sure = find_suspects(collected(nothing_found))[0].confidence
    blind = collected(nothing_found)
    blind.found = blind.found[::3]
    doubts = [one.confidence for one in find_suspects(blind) if one.kind == EXTRA]
    assert max(doubts) < sure - 0.3


# -- What to label next -----------------------------------------------------------------------


def test_doubtful_and_new_pictures_come_first_and_no_two_alike():
    def at(name, place, scores):
        return Look(name, np.array(place, float), np.array(scores))

    known = [at("", (0, 0), [0.9]), at("", (0, 1), [0.9])]
    order = label_next(
        [
            at("dull", (0, 0.1), [0.99]),
            at("doubtful", (0, 0.1), [0.5] * 8),
            at("new", (9, 9), [0.99]),
            at("new again", (9, 9.01), [0.99]),
        ],
        known,
    )
    assert order[0].name == "doubtful" and order[1].name.startswith("new")
    assert order[1].new > 0.85 and order[-1].new < 0.1
    assert next(one for one in order[2:] if one.name.startswith("new")).new < 0.05
    assert [one.name for one in label_next(known[:1], [])] == [""] and label_next([], known) == []
    assert doubt(np.array([])) == 0 and doubt(np.array([0.5])) > doubt(np.array([0.95]))


@pytest.mark.parametrize("shape", [(1, 1), (40, 30), (40, 30, 3), (20, 20, 4)])
def test_any_picture_has_a_look(shape):
    found = {"scores": np.array([0.5]), "rois": np.array([[0, 0, 4, 4]])}
    one = look("a", np.full(shape, 7, np.uint8), found)
    assert np.isfinite(one.features).all()
    none = {"scores": np.zeros(0), "rois": np.zeros((0, 4))}
    assert look("a", np.zeros(shape), none).features.shape == one.features.shape


# -- Files --------------------------------------------------------------------------------------


def test_lists_and_page(tmp_path):
    data = collected(lambda labels, found: (labels[1:], found))
    picture = np.full((SIZE, SIZE, 3), 90, np.uint8)
    plain, drawn = cut_out(picture, [], data.found[:1])
    assert plain.startswith("data:image/jpeg;base64,") and plain != drawn
    assert region(data.found[:1]) == (8, 8, 29, 29)
    row = {
        **{"picture": "<a>.png", "kind": MISSING, "confidence": 0.9, "class": "cell", "better": ""},
        **{"x": 8, "y": 8, "width": 21, "height": 21, "labels": [], "cut_outs": (plain, drawn)},
    }
    order = label_next([Look("b.png", np.zeros(2), np.array([0.5]))], [])
    about = {"title": "Review of <cells>", "facts": {"Data": "<x>"}, "notes": ["<note>"]}
    written = write_review(tmp_path / "out", about, [row], order, {"b.png": plain})
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(written)
    page = (tmp_path / "out" / "review.html").read_text()
    assert "&lt;a&gt;.png" in page and "<a>.png" not in page and page.count("<img") == 3
    assert "http" not in page.replace("http-equiv", "")
    told = json.loads((tmp_path / "out" / "review.json").read_text())
    assert told["suspects"][0]["x"] == 8 and told["label_next"][0]["picture"] == "b.png"
    with (tmp_path / "out" / "suspects.csv").open() as file:
        assert list(csv.DictReader(file))[0]["confidence"] == "0.9"
    write_review(tmp_path / "empty", about, [], [], {})
    assert "labels and detections agree" in (tmp_path / "empty" / "review.html").read_text()
