"""COCO's numbers: those published for its own example files, and the two ends of the scale."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.cocoeval import COCOeval
from squares import Oracle, Squares, part

from mrcnn.evaluate.coco import METRICS, Collected, collect, evaluate_dataset
from mrcnn.evaluate.coco_files import measure_files

GOLDEN = Path(__file__).parents[1] / "golden" / "coco_eval"
PUBLISHED = json.loads((GOLDEN / "expected_stats_pycocotools.json").read_text())


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> Path:
    """The golden files, unpacked."""
    folder = tmp_path_factory.mktemp("coco_eval")
    for path in GOLDEN.glob("*.json.gz"):
        (folder / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    return folder


@pytest.mark.parametrize("case", [name for name in PUBLISHED if "|" in name])
def test_published_numbers(files, case):
    """1e-9: the same additions by the same library; only their order may differ."""
    truth, results, kind = case.split("|")
    measured = measure_files(files / truth, files / results, kind)
    assert tuple(measured) == METRICS
    np.testing.assert_allclose(list(measured.values()), PUBLISHED[case], rtol=0, atol=1e-9)


def test_truth_as_detections_gives_one():
    """Detections inside a crowd are neither right nor wrong, so they take nothing away."""
    measured = evaluate_dataset(Oracle(), Squares(), verbose=0)
    assert set(measured) == {*METRICS, *(f"box_{name}" for name in METRICS)}
    for name in ("AP", "AP50", "AP75", "AR100", "AP_small", "AP_medium", "AP_large"):
        assert measured[name] == measured[f"box_{name}"] == pytest.approx(1, abs=1e-9)
    # Of two cells in one picture the first alone finds 2 of 3 cells and the only nucleus.
    assert measured["AR1"] == pytest.approx((2 / 3 + 1) / 2, abs=1e-9)


def test_no_detection_gives_zero():
    measured = evaluate_dataset(Oracle(lambda r: part(r, [])), Squares(), verbose=0)
    assert set(measured.values()) == {0.0}


def test_no_label_gives_minus_one():
    class Unlabelled(Squares):
        def load_mask(self, image_id):
            return np.zeros((200, 200, 0), bool), np.zeros(0, np.int32)

    assert set(evaluate_dataset(Oracle(), Unlabelled(), verbose=0).values()) == {-1.0}
    assert set(Collected.of(Squares()).measure().values()) == {-1.0}


def test_a_class_alone():
    only_cells = Oracle(lambda r: part(r, r["class_ids"] == 1))
    evaluation = collect(only_cells, Squares(), verbose=0).evaluate()
    assert evaluation.summary(0)["AP"] == pytest.approx(1, abs=1e-9)
    assert evaluation.summary(1)["AP"] == 0
    assert evaluation.summary()["AP"] == pytest.approx(0.5, abs=1e-9)
    curves = evaluation.curves()
    assert list(curves) == ["0.50", "0.75", "mean"]
    for curve in curves.values():
        np.testing.assert_allclose(curve, np.full(101, 0.5), atol=1e-9)


def test_most_detections_that_count():
    collected = collect(Oracle(), Squares(), verbose=0)
    measured = collected.evaluate("segm", max_detections=1).summary()
    assert "AR100" not in measured
    assert measured["AR_max"] == measured["AR10"] == measured["AR1"] == pytest.approx(5 / 6)
    assert collected.measure(400)["AR_max"] == pytest.approx(1)
    with pytest.raises(ValueError, match="max_detections is 0"):
        collected.measure(0)


def test_areas_of_ones_own():
    """One cell is 18x18, the others are larger; nothing reaches 30000 pixels."""
    areas = {"tiny": (0, 400), "huge": (30000, 1e10)}
    measured = collect(Oracle(), Squares(), verbose=0).evaluate(areas=areas).summary()
    assert measured["AP_tiny"] == pytest.approx(1) and measured["AR_tiny"] == pytest.approx(1)
    assert measured["AP_huge"] == measured["AR_huge"] == -1
    assert "AP_small" not in measured


def test_boxes_are_those_that_were_found():
    """A mask may leave its box; the boxes' AP must not be that of the masks' bounds."""

    def shifted(result):
        return {**result, "rois": result["rois"] + 200}

    measured = evaluate_dataset(Oracle(shifted), Squares(), verbose=0)
    assert measured["AP"] == pytest.approx(1) and measured["box_AP"] == 0


def test_equal_to_summarize():
    """At maxDets 100 COCOeval.summarize says the same, to 1e-9 (see above)."""
    collected = collect(Oracle(lambda r: part(r, slice(0, 2))), Squares(), verbose=0)
    evaluation: COCOeval = collected.evaluate("bbox").coco
    evaluation.summarize()
    measured = list(collected.evaluate("bbox").summary().values())
    np.testing.assert_allclose(measured, evaluation.stats, rtol=0, atol=1e-9)


def test_masks_of_another_size_than_the_picture():
    with pytest.raises(ValueError, match="Picture 3 is 20x10 .* shape"):
        Collected.of(Squares()).add_truth(3, np.ones((10, 20, 1), bool), [1], (20, 10, 3))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({}, "must hold a list of detections"),
        ([{"image_id": 1}], "detection 0 must have image_id, category_id and score"),
        (
            [{"image_id": 9, "category_id": 1, "score": 1, "bbox": [0, 0, 1, 1]}],
            "detection 0 is of picture 9",
        ),
        (
            [{"image_id": 1, "category_id": 9, "score": 1, "bbox": [0, 0, 1, 1]}],
            "detection 0 is of class 9",
        ),
        ([{"image_id": 1, "category_id": 1, "score": 1}], "neither bbox nor segmentation"),
        ("[{", "is no JSON file"),
    ],
)
def test_results_that_cannot_be_read(files, tmp_path, rows, message):
    path = tmp_path / "results.json"
    path.write_text(rows if isinstance(rows, str) else json.dumps(rows))
    with pytest.raises(ValueError, match=message) as error:
        measure_files(files / "faster_coco_eval_gt_dataset.json", path)
    assert str(path) in str(error.value)


def test_boxes_alone_have_no_masks_to_measure(files):
    truth = files / "instances_val2014_100.json"
    with pytest.raises(ValueError, match="Not all detections have masks"):
        measure_files(truth, files / "instances_val2014_fakebbox100_results.json", "segm")
