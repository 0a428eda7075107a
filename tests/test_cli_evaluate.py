"""`mrcnn evaluate`: from a folder of labels to a table, metrics.json and report.html."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
from patience import PATIENCE
from PIL import Image

from mrcnn.cli import evaluate, main
from mrcnn.detect.configs import config_from_weights
from mrcnn.detect.results import ResultsWriter, coco_results
from mrcnn.errors import UsageError
from mrcnn.evaluate.classes import match_names
from mrcnn.weights.download import weights_path
from mrcnn.weights.files import open_weights
from mrcnn.weights.inspection import inspect_weights

GOLDEN = Path(__file__).parent / "golden" / "coco_eval"
BOXES = {"a": [(2, 3, 30, 40), (50, 50, 90, 80)], "b": [(10, 10, 60, 60)], "c": [(5, 5, 95, 95)]}


@pytest.fixture
def cells(tmp_path) -> Path:
    """Three pictures with a file for each mask; a picture's grey value says which it is."""
    for value, (name, boxes) in enumerate(BOXES.items(), start=1):
        for kind in ("images", "masks"):
            (tmp_path / "cells" / name / kind).mkdir(parents=True)
        image = Image.fromarray(np.full((100, 100, 3), value, np.uint8))
        image.save(tmp_path / "cells" / name / "images" / f"{name}.png")
        for i, (y1, x1, y2, x2) in enumerate(boxes):
            mask = np.zeros((100, 100), np.uint8)
            mask[y1:y2, x1:x2] = 255
            Image.fromarray(mask).save(tmp_path / "cells" / name / "masks" / f"{i}.png")
    return tmp_path / "cells"


def found(boxes, scores, class_id=1) -> dict:
    masks = np.zeros((100, 100, len(boxes)), bool)
    for i, (y1, x1, y2, x2) in enumerate(boxes):
        masks[y1:y2, x1:x2, i] = True
    return {
        "rois": np.array(boxes, np.int32).reshape(-1, 4),
        "masks": masks,
        "class_ids": np.full(len(boxes), class_id, np.int32),
        "scores": np.array(scores, np.float32),
    }


@pytest.fixture
def oracle(monkeypatch):
    """A network that finds the labels; a detection of another class is its own invention."""
    configs = []

    def load(config, *_):
        configs.append(config)

        def detect(picture):
            boxes = list(BOXES.values())[picture[0, 0, 0] - 1]
            return found(boxes, np.linspace(0.9, 0.6, len(boxes)))

        return detect

    monkeypatch.setattr(evaluate, "load_detector", load)
    return configs


def run(*words) -> int:
    return main(["evaluate", *map(str, words)])


def numbers(out: Path) -> dict:
    return json.loads((out / "metrics.json").read_text())


def test_weights(cells, oracle, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(cells, "--weights", "nucleus", "--out", out) == 0
    told = capsys.readouterr().out
    assert "one class, nucleus, and the data one, object: taken as one" in told
    assert "cells has no parts: all of it is measured" in told
    assert "3 pictures, 4 labels, 4 detections; the best 400 of a picture" in told
    assert sorted(path.name for path in out.iterdir()) == ["metrics.json", "report.html"]
    metrics = numbers(out)
    for kind in ("masks", "boxes"):
        assert metrics[kind]["AP"] == pytest.approx(1, abs=1e-9)
    # The Config's own confidence counts instances, a low one is asked of the network.
    config = oracle[0]
    assert (metrics["threshold"], config.DETECTION_MIN_CONFIDENCE) == (0.7, 0.05)
    assert metrics["about"]["config"]["DETECTION_MIN_CONFIDENCE"] == 0.7
    report = (out / "report.html").read_text()
    assert "nucleus.h5 on cells" in report
    used, best = metrics["threshold"], metrics["best_threshold"]
    assert f"F1 is best at {best:g} (green). Counts on this page are made at {used:g}" in report
    assert "tensorflow" not in told.lower()


def test_options(cells, oracle, tmp_path):
    out = tmp_path / "out"
    words = ["--max-detections", 1, "--min-score", 0.2, "--threshold", 0.7, "--limit", 2]
    settings = ["--set", "DETECTION_NMS_THRESHOLD=0.4"]
    assert run(cells, "--weights", "nucleus", "--out", out, *words, *settings) == 0
    config = oracle[0]
    assert config.DETECTION_MAX_INSTANCES == 1 and config.DETECTION_MIN_CONFIDENCE == 0.2
    assert config.DETECTION_NMS_THRESHOLD == 0.4
    metrics = numbers(out)
    assert (metrics["pictures"], metrics["threshold"]) == (2, 0.7)
    assert metrics["masks"]["AR_max"] == pytest.approx(2 / 3)  # one of two and one of one
    assert metrics["counts"]["found"] == 2


def test_limits_that_are_reached_are_told(cells, oracle, tmp_path, capsys, monkeypatch):
    class Limited(dict):
        limited = True

    def load(*_):
        return lambda picture: Limited(found([(2, 3, 30, 40)], [0.9]))

    monkeypatch.setattr(evaluate, "load_detector", load)
    out = tmp_path / "out"
    assert run(cells, "--weights", "nucleus", "--out", out, "--max-detections", 1) == 0
    said = capsys.readouterr().out
    through = "NOTE: 3 pictures with 1 detections, which is all that DETECTION_MAX_INSTANCES lets"
    labels = (
        "NOTE: 1 picture with more labels of a class than the 1 detections that count, up to 2:"
    )
    assert through in said and "(--max-detections 4)" in said and labels in said
    notes = numbers(out)["about"]["notes"]  # they stand in the report, too
    assert [f"NOTE: {note}" in said for note in notes[-2:]] == [True, True]
    assert run(cells, "--weights", "nucleus", "--out", out) == 0
    assert "more labels of a class" not in capsys.readouterr().out


def test_a_part(cells, oracle, tmp_path, capsys):
    """Without parts, the fifth that `mrcnn train` keeps for validation: one picture here."""
    assert run(cells, "--weights", "nucleus", "--subset", "val", "--out", tmp_path / "out") == 0
    assert "1 of its 3 pictures" in capsys.readouterr().out
    assert numbers(tmp_path / "out")["pictures"] == 1


def test_a_broken_picture_is_left_out(cells, oracle, tmp_path, capsys):
    picture = cells / "b" / "images" / "b.png"
    picture.write_bytes(picture.read_bytes()[:60])
    assert run(cells, "--weights", "nucleus", "--out", tmp_path / "out") == 1
    said = capsys.readouterr()
    assert said.err.startswith("failed: b.png") and "1 picture failed" in said.out
    metrics = numbers(tmp_path / "out")
    assert metrics["pictures"] == 2 and metrics["masks"]["AP"] == pytest.approx(1, abs=1e-9)


# -- Files of results -----------------------------------------------------------------------


def test_what_detect_wrote(cells, tmp_path, capsys):
    """Pictures by name, classes by name; detections of other pictures are left out and told."""
    wrote = tmp_path / "wrote"
    with ResultsWriter(wrote, ["BG", "Object", "dust"], {}) as writer:
        for number, name in enumerate(["c", "zebra", "a", "b"], start=1):
            result = found(BOXES.get(name, [(0, 0, 9, 9)]), [0.9] * len(BOXES.get(name, [1])))
            entry = {"id": number, "file_name": f"{name}.png", "height": 100, "width": 100}
            writer.add(entry, coco_results(number, result))
    assert run(cells, "--results", wrote / "results.json", "--out", tmp_path / "out") == 0
    assert "1 of 5 detections are of other pictures or classes" in capsys.readouterr().out
    metrics = numbers(tmp_path / "out")
    assert metrics["masks"]["AP"] == metrics["boxes"]["AP"] == pytest.approx(1, abs=1e-9)
    assert metrics["detections"] == 4


@pytest.fixture
def coco(tmp_path) -> Path:
    """Three pictures of 256x256 with COCO labels whose numbers are published."""
    folder = tmp_path / "coco"
    folder.mkdir()
    for name in ("gt", "dt"):
        packed = (GOLDEN / f"faster_coco_eval_{name}_dataset.json.gz").read_bytes()
        (tmp_path / f"{name}.json").write_bytes(gzip.decompress(packed))
    truth = json.loads((tmp_path / "gt.json").read_text())
    (folder / "annotations.json").write_text(json.dumps(truth))
    for image in truth["images"]:
        size = image["width"], image["height"]
        Image.new("RGB", size).save(folder / image["file_name"])
    return folder


def test_published_numbers(coco, tmp_path):
    """1e-9 as in tests/run/test_coco_eval.py, here by way of the labels that training reads."""
    assert run(coco, "--results", tmp_path / "dt.json", "--min-score", 0, "--out", tmp_path) == 0
    published = json.loads((GOLDEN / "expected_stats_pycocotools.json").read_text())
    for word, kind in (("masks", "segm"), ("boxes", "bbox")):
        case = f"faster_coco_eval_gt_dataset.json|faster_coco_eval_dt_dataset.json|{kind}"
        expected = [None if value == -1 else value for value in published[case]]
        assert list(numbers(tmp_path)[word].values()) == [
            None if value is None else pytest.approx(value, abs=1e-9) for value in expected
        ]


def test_results_of_other_pictures(coco, tmp_path, capsys):
    rows = [{"image_id": 77, "category_id": 1, "score": 1, "bbox": [0, 0, 9, 9]}]
    (tmp_path / "other.json").write_text(json.dumps(rows))
    assert run(coco, "--results", tmp_path / "other.json", "--out", tmp_path / "out") == 2
    assert "the first is of picture 77, class 1" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without such pipes")
def test_results_in_a_pipe_are_not_waited_for(coco, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.json")
    assert run(coco, "--results", tmp_path / "pipe.json") == 2
    assert "pipe.json: It is a pipe, not a file." in capsys.readouterr().err


def test_a_mask_of_another_size(coco, tmp_path, capsys):
    rle = {"size": [10, 10], "counts": [50, 50]}
    rows = [{"image_id": 1, "category_id": 1, "score": 1, "segmentation": rle}]
    (tmp_path / "small.json").write_text(json.dumps(rows))
    assert run(coco, "--results", tmp_path / "small.json", "--out", tmp_path / "out") == 2
    assert "has a mask of 10x10 pixels" in capsys.readouterr().err


# -- Classes, and what can't be done ------------------------------------------------------------


def test_classes_by_name():
    ours = {1: "white cell", 2: "dust"}
    classes, notes = match_names({4: "Dust", 5: "White_Cell"}, ours, "weights")
    assert classes == {4: 2, 5: 1} and notes == []
    classes, notes = match_names({1: "dust", 2: "cat", 3: "dog"}, ours, "weights")
    assert classes == {1: 2}
    assert notes == [
        "2 classes of the weights not in the data, left out: cat, dog.",
        "A class of the data not known to the weights, so that its AP is 0: white cell.",
    ]


def test_classes_without_names():
    theirs = {1: "class 1", 2: "class 2"}
    classes, notes = match_names(theirs, {1: "cell", 2: "dust"}, "weights", named=False)
    assert classes == {1: 1, 2: 2} and "in the order of the data's, cell, dust" in notes[0]
    with pytest.raises(UsageError, match="2 classes without names.*--classes"):
        match_names(theirs, {1: "a", 2: "b", 3: "c"}, "weights", named=False)
    with pytest.raises(UsageError, match="the weights know cat, dog; the data cell, dust"):
        match_names({1: "cat", 2: "dog"}, {1: "cell", 2: "dust"}, "weights")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "which weights? --weights is missing. Names are nucleus"),
        (["--weights", "w", "--results", "r"], "not allowed with"),
        (["--weights", "nucleus", "--limit", "0"], "0 is no whole number from 1 on"),
        (["--weights", "nucleus", "--min-score", "2"], "2 is no number between 0 and 1"),
        (["--weights", "nucleus", "--subset", "spring"], "has no part spring"),
        (["--weights", "nucleus", "--set", "NUM_CLASSES=5"], "doesn't fit"),
        (["--weights", "missing.h5"], "missing.h5"),
        (["--results", "missing.json"], "missing.json"),
        (["--results", "r.json", "--set", "A=1"], "belong to --weights"),
    ],
)
def test_what_cannot_be_done(cells, tmp_path, capsys, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    assert run(cells, *words) == 2
    said = capsys.readouterr().err
    assert message in said and "Traceback" not in said and "unexpected" not in said
    assert not (tmp_path / "evaluation").exists()


def test_results_need_no_tensorflow(coco, tmp_path):
    code = (
        "import sys; from mrcnn.cli import main; code = main(sys.argv[1:]);"
        "sys.exit(code or str({'tensorflow', 'keras'} & set(sys.modules) or ''))"
    )
    words = ["evaluate", coco, "--results", tmp_path / "dt.json", "--out", tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.stderr.strip() == "" and "AP50" in done.stdout


# -- As in the training -----------------------------------------------------------------------


def via_set(folder, labels) -> Path:
    """VIA's file of the pictures; labels: the class of each one's regions, None for none."""
    folder.mkdir()
    content = {}
    for value, ((name, boxes), label) in enumerate(zip(BOXES.items(), labels), start=1):
        image = Image.fromarray(np.full((100, 100, 3), value, np.uint8))
        image.save(folder / f"{name}.png")
        shapes = [
            {"name": "rect", "x": x1, "y": y1, "width": x2 - x1 - 1, "height": y2 - y1 - 1}
            for y1, x1, y2, x2 in boxes
        ]
        attributes = {"class": label} if label else {}
        regions = [{"shape_attributes": s, "region_attributes": attributes} for s in shapes]
        content[name] = {"filename": f"{name}.png", "size": 1, "regions": regions}
        content[name]["file_attributes"] = {}
    (folder / "via.json").write_text(json.dumps(content))
    return folder


def weights_that_say(path, names, **data) -> Path:
    """The nucleus network with other class names, and what it says of its training's labels."""
    with open_weights(weights_path("nucleus")) as file:
        told = {**file.description, "class_names": ["BG", *names]}
    if data:
        told["data"] = data
    shutil.copy(weights_path("nucleus"), path)
    with h5py.File(path, "r+") as file:
        for name in [name for name in file.attrs if name.startswith("mrcnn_description")]:
            del file.attrs[name]
        file.attrs["mrcnn_description"] = np.array([json.dumps(told).encode()])
    return path


def test_labels_are_read_as_in_the_training(oracle, tmp_path, capsys):
    data, out = via_set(tmp_path / "bugs", [None] * 3), tmp_path / "out"
    weights = weights_that_say(tmp_path / "w.h5", ["beetle"], format="via", class_name="beetle")
    assert run(data, "--weights", weights, "--out", out) == 0
    told = capsys.readouterr().out
    assert "What the files don't name is beetle, as in the training" in told
    assert "Read as via, as in the training" in told
    assert numbers(out)["masks"]["AP"] == pytest.approx(1)
    # Data of another format are read as what they are, and who says otherwise is obeyed.
    other = tmp_path / "w2.h5"
    weights_that_say(other, ["beetle"], format="masks", class_name="beetle")
    assert run(data, "--weights", other, "--out", out, "--class-name", "bug") == 0
    told = capsys.readouterr().out
    assert "as in the training" not in told and "the data one, bug: taken as one" in told
    # What else may stand there is no reason to stumble.
    for odd in ({"format": 7, "class_name": None}, {"format": "../x"}, {"class_name": ["a"]}):
        assert run(data, "--weights", weights_that_say(other, ["beetle"], **odd), "--out", out) == 0


def test_labels_that_the_weights_mostly_dont_know_are_refused(oracle, tmp_path, capsys):
    weights = weights_that_say(tmp_path / "w.h5", ["beetle"])
    out = tmp_path / "out"
    mixed = via_set(tmp_path / "mixed", ["beetle", "ant", "ant"])  # 2 labels of 4 are known
    assert run(mixed, "--weights", weights, "--out", out) == 0
    assert "not known to the weights, so that its AP is 0: ant" in capsys.readouterr().out
    most = via_set(tmp_path / "most", ["ant", "wasp", "beetle"])
    assert run(most, "--weights", weights, "--out", tmp_path / "none") == 2
    told = capsys.readouterr().err
    assert "most labels, 3 of 4, are of classes that the weights don't know: ant, wasp" in told
    assert "with --classes" in told and not (tmp_path / "none").exists()


def test_labels_without_names_are_refused_with_their_cure(oracle, tmp_path, capsys):
    weights = weights_that_say(tmp_path / "w.h5", ["beetle"])
    data = tmp_path / "set"
    data.mkdir()
    via_set(data / "train", ["beetle"] * 3)
    via_set(data / "val", [None] * 3)
    assert run(data, "--weights", weights, "--out", tmp_path / "out") == 2
    told = capsys.readouterr().err
    assert "3 of 3" in told or "4 of 4" in told
    assert "If object stands for it, add --class-name beetle." in told
    out = tmp_path / "out"
    assert run(data, "--weights", weights, "--out", out, "--class-name", "beetle") == 0
    assert numbers(out)["masks"]["AP"] == pytest.approx(1)


def test_classes_that_are_only_listed_are_no_classes_to_find():
    labels = Counter({"cell": 5})
    ours = {1: "cell", 2: "phantom"}
    classes, notes = match_names({1: "cell"}, ours, "weights", labels=labels)
    assert classes == {1: 1} and notes == []


# -- Confidences by class, kept in the weights --------------------------------------------------


@pytest.fixture
def weights(tmp_path) -> Path:
    return Path(shutil.copy(weights_path("nucleus"), tmp_path / "mine.h5"))


def test_thresholds_are_kept_in_the_weights_and_detect_takes_them(
    cells, oracle, weights, tmp_path, capsys, monkeypatch
):
    out = tmp_path / "out"
    argv = [cells, "--weights", weights, "--out", out]
    assert run(*argv, "--save-thresholds") == 2
    assert "can't be chosen by 4 labels" in capsys.readouterr().err
    assert inspect_weights(weights).class_confidence is None
    monkeypatch.setattr("mrcnn.evaluate.thresholds.LEAST_LABELS", 4)
    assert run(*argv, "--save-thresholds") == 0
    told = capsys.readouterr().out
    assert f"kept in {weights} for mrcnn detect:\n  nucleus         0.325  F1 1.000 of 4" in told
    assert inspect_weights(weights).class_confidence == [0, 0.325]
    assert inspect_weights(weights).description["class_names"] == ["BG", "nucleus"]

    # The report counts with them, now and later, while AP is measured from a low one on.
    assert oracle[-1].DETECTION_CLASS_CONFIDENCE is None
    for more, threshold in ([], 0.325), (["--threshold", 0.7], 0.7):
        assert run(*argv, *more) == 0
        metrics = numbers(out)
        assert metrics["classes"][0]["threshold"] == threshold
        assert metrics["counts"]["found"] == (4 if threshold < 0.6 else 3)
        assert metrics["about"]["config"]["DETECTION_CLASS_CONFIDENCE"] == [0, 0.325]
        report = (out / "report.html").read_text()
        assert ("from each class’s own confidence on" in report) == (not more)
    assert "At confidence 0.7:" in capsys.readouterr().out

    # Training takes none of them; detect does, unless one is given for all.
    assert config_from_weights(inspect_weights(weights), training=True).to_dict()[
        "DETECTION_CLASS_CONFIDENCE"
    ] is None  # fmt: skip
    picture = next(cells.glob("a/images/*"))
    configs = []

    def load(config, *_):
        configs.append(config)
        return lambda picture: found([(2, 3, 30, 40)], [0.9])

    monkeypatch.setattr("mrcnn.cli.detect.load_detector", load)
    argv = ["detect", picture, "--weights", weights, "--out", tmp_path / "found", "--no-pictures"]
    for more, least in (
        ([], [0, 0.325]),
        (["--min-confidence", 0.5], None),
        (["--set", "DETECTION_MIN_CONFIDENCE=0.5"], None),
        (["--set", "DETECTION_CLASS_CONFIDENCE=[0, 0.2]"], [0, 0.2]),
    ):
        assert main(list(map(str, argv + more))) == 0
        assert least == configs[-1].DETECTION_CLASS_CONFIDENCE
        told = f"by class, as the weights have it: nucleus {least[1]:g} (" if least else "by class"
        assert (told in capsys.readouterr().out) == bool(least)
        info = json.loads((tmp_path / "found" / "images.json").read_text())["info"]
        assert info.get("min_confidence_by_class") == (least and {"nucleus": least[1]})
    settings = ["--set", "DETECTION_CLASS_CONFIDENCE=[0.2]"]
    assert main(list(map(str, argv + settings))) == 2
    assert "must be None, or 2 numbers from 0 to 1" in capsys.readouterr().err


def test_thresholds_do_not_go_into_the_packages_own_files(cells, oracle, capsys):
    assert run(cells, "--weights", "nucleus", "--save-thresholds") == 2
    assert "copy it, and give the copy" in capsys.readouterr().err
    assert run(cells, "--results", "r.json", "--save-thresholds") == 2
