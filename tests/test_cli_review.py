"""`mrcnn data review`: from labels and weights to two lists and a page."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from mrcnn.cli import data_review, main

SQUARES = [(10, 10), (10, 60), (60, 10), (60, 60)]
SIDE = 24


@pytest.fixture
def cells(tmp_path):
    """Four pictures of squares labelled in COCO's form; the first lacks a label. Two unlabelled."""
    folder = tmp_path / "cells"
    folder.mkdir()
    images, annotations = [], []
    for i in range(6):
        Image.fromarray(np.full((100, 100, 3), 40 * i, np.uint8)).save(folder / f"{i}.png")
        if i > 3:
            continue
        images.append({"id": i, "file_name": f"{i}.png", "height": 100, "width": 100})
        for y, x in SQUARES[i == 0 :]:
            outline = [x, y, x + SIDE, y, x + SIDE, y + SIDE, x, y + SIDE]
            annotations.append(
                {
                    **{"id": len(annotations), "image_id": i, "category_id": 1, "iscrowd": 0},
                    **{"segmentation": [outline], "area": SIDE**2, "bbox": [x, y, SIDE, SIDE]},
                }
            )
    categories = [{"id": 1, "name": "cell"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "labels.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(autouse=True)
def oracle(monkeypatch):
    """A network that finds all squares."""
    configs = []

    def load(config, *_):
        configs.append(config)

        def detect(picture):
            masks = np.zeros((100, 100, len(SQUARES)), bool)
            for i, (y, x) in enumerate(SQUARES):
                masks[y : y + SIDE, x : x + SIDE, i] = True
            rois = np.array([(y, x, y + SIDE, x + SIDE) for y, x in SQUARES])
            ids, scores = np.ones(len(SQUARES), int), np.full(len(SQUARES), 0.9)
            return {"rois": rois, "masks": masks, "class_ids": ids, "scores": scores}

        return detect

    monkeypatch.setattr(data_review, "load_detector", load)
    return configs


def test_a_review_finds_the_label_that_is_missing(cells, tmp_path, capsys, oracle):
    out = tmp_path / "out"
    argv = ["data", "review", cells, "--weights", "nucleus", "--out", out]
    assert main(list(map(str, argv))) == 0
    told = capsys.readouterr().out
    assert "4 pictures with 15 labels: 1 place to look at" in told
    assert "missing object in 0.png" in told and "2 unlabelled pictures" in told
    assert len(oracle) == 1 and oracle[0].DETECTION_MIN_CONFIDENCE == 0.2
    with (out / "suspects.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["picture"], row["kind"], row["class"]) == ("0.png", "missing object", "cell")
    assert [int(row[name]) for name in ("x", "y", "width", "height")] == [10, 10, SIDE, SIDE]
    with (out / "label_next.csv").open() as file:
        assert sorted(row["picture"] for row in csv.DictReader(file)) == ["4.png", "5.png"]
    page = (out / "review.html").read_text()
    assert page.count("<img") == 4 and "1. missing object, cell" in page

    # The page can be without pictures; the lists have all.
    assert main(list(map(str, [*argv, "--most", 0]))) == 0
    assert "<img" not in (out / "review.html").read_text()
    assert len(json.loads((out / "review.json").read_text())["suspects"]) == 1


def test_what_cannot_be_reviewed_is_refused(cells, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for more, told in (
        (["--weights", "nucleus", "--out", tmp_path / "file"], "is a file"),
        ([], "--weights is missing"),
        (["--weights", "nucleus", "--unlabelled", tmp_path / "no"], "no"),
        (["--weights", "nucleus", "--set", "NUM_CLASSES=7"], "NUM_CLASSES"),
    ):
        assert main(list(map(str, ["data", "review", cells, *more]))) == 2
        assert told in capsys.readouterr().err


def test_a_picture_that_cannot_be_read_is_told(cells, tmp_path, capsys):
    (cells / "5.png").write_bytes(b"none")
    argv = ["data", "review", cells, "--weights", "nucleus", "--out", tmp_path / "out"]
    assert main(list(map(str, argv))) == 1
    assert "failed: 5.png" in capsys.readouterr().err


@pytest.mark.parametrize(("pieces", "labels"), [("whole", 2), ("split", 8)])
def test_labels_are_read_as_by_the_other_commands(pieces, labels, tmp_path, capsys):
    data = tmp_path / "set"
    for name in ("images", "masks"):
        (data / name).mkdir(parents=True)
    for i in range(2):
        mask = np.zeros((100, 100), np.uint8)
        for y, x in SQUARES:
            mask[y : y + SIDE, x : x + SIDE] = 255
        Image.fromarray(mask).save(data / "masks" / f"{i}.png")
        Image.fromarray(np.full((100, 100, 3), 40 * i, np.uint8)).save(data / "images" / f"{i}.png")
    argv = ["data", "review", data, "--weights", "nucleus", "--pieces", pieces]
    assert main([*map(str, argv), "--out", str(tmp_path / "out")]) == 0
    assert f"2 pictures with {labels} labels" in capsys.readouterr().out
