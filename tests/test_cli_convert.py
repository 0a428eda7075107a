"""`mrcnn data convert` and `mrcnn detect --labels`: labels on their way to a tool and back."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from mrcnn.cli import detect, main
from mrcnn.data import formats
from mrcnn.data.writers import WRITERS, Labelled, write_coco, write_via
from mrcnn.geometry.outlines import mask_iou


@pytest.fixture(autouse=True)
def _environment(tmp_path, monkeypatch):
    monkeypatch.setenv("MRCNN_HOME", str(tmp_path / "mrcnn_home"))


def run(*argv) -> int:
    return main([str(word) for word in argv])


def squares(count: int) -> np.ndarray:
    masks = np.zeros((40, 60, count), bool)
    for i in range(count):
        masks[4 * i : 4 * i + 12, 6 * i : 6 * i + 12, i] = True
    return masks


def labelled_folder(folder: Path) -> Path:
    """COCO's files of two pictures, with category ids of their own and one crowd."""
    folder.mkdir(parents=True)
    items = []
    for name, class_ids in (("a.png", [1, 2, -1]), ("b.png", [2])):
        Image.new("RGB", (60, 40)).save(folder / name)
        items.append(Labelled(name, 40, 60, squares(len(class_ids)), np.array(class_ids)))
    write_coco(folder / "labels.json", items, ["BG", "cat", "dog"], category_ids=[0, 17, 18])
    return folder


@pytest.mark.parametrize("to", WRITERS)
def test_converted_labels_are_read_like_the_first(to, tmp_path, capsys):
    data, out = labelled_folder(tmp_path / "data"), tmp_path / "out"
    assert run("data", "convert", data, "--to", to, out) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert f"2 pictures, {4 if to == 'coco' else 3} instances of cat, dog ({to})" in said
    assert ("Crowds" in said) == (to != "coco")
    before, after = formats.open(data), formats.open(out)
    assert after.format == to and after.class_names == ["BG", "cat", "dog"]
    for i in range(2):
        assert Path(after.image_info[i]["path"]).samefile(before.image_info[i]["path"])
        expected, class_ids = before.load_mask(i)
        kept = class_ids > 0 if to != "coco" else slice(None)
        masks, found = after.load_mask(i)
        np.testing.assert_array_equal(found, class_ids[kept])
        for before_mask, after_mask in zip(expected[..., kept].T, masks.T):
            assert mask_iou(before_mask, after_mask) >= 0.98
    if to == "coco":
        assert COCO(out / "coco.json").getCatIds() == [17, 18]


def test_parts_stay_apart(tmp_path, capsys):
    for part in ("train", "val"):
        labelled_folder(tmp_path / "data" / part)
    assert run("data", "convert", tmp_path / "data", "--to", "via", tmp_path / "a.json") == 2
    assert "--subset" in capsys.readouterr().err
    assert run("data", "convert", tmp_path / "data", "--to", "via", tmp_path / "out") == 0
    assert sorted(formats.subsets(tmp_path / "out")) == ["train", "val"]
    one = tmp_path / "one.json"
    assert run("data", "convert", tmp_path / "data", "--to", "via", one, "--subset", "val") == 0
    assert formats.open(one).num_images == 2


@pytest.mark.parametrize(
    "argv, words",
    [
        (["nowhere", "out", "--to", "via"], "no file or folder nowhere"),
        (["data", "out.json", "--to", "labelme"], "give a folder"),
        (["data", "data/labels.json", "--to", "coco"], "made by hand"),
        (["data", "out", "--to", "via", "--subset", "test"], "no part test"),
        (["data", "out", "--to", "voc"], "invalid choice"),
        (["data/broken.json", "out", "--to", "via"], "broken.json"),
    ],
)
def test_errors_are_one_sentence(argv, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    labelled_folder(tmp_path / "data")
    (tmp_path / "data" / "broken.json").write_text("{")
    before = (tmp_path / "data" / "labels.json").read_bytes()
    assert run("data", "convert", *argv) == 2
    error = capsys.readouterr().err
    assert words in error and "Traceback" not in error and "unexpected" not in error
    assert (tmp_path / "data" / "labels.json").read_bytes() == before
    assert not (tmp_path / "out").exists()


def test_force_overwrites(tmp_path):
    data = labelled_folder(tmp_path / "data")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.json").write_text("by hand")
    argv = ("data", "convert", data, "--to", "labelme", tmp_path / "out")
    assert run(*argv) == 2
    assert (tmp_path / "out" / "a.json").read_text() == "by hand"
    assert run(*argv, "--force") == 0
    assert json.loads((tmp_path / "out" / "a.json").read_text())["imagePath"] == "../data/a.png"


def test_a_picture_that_fails_leaves_no_half_a_file(tmp_path, capsys):
    data = labelled_folder(tmp_path / "data")
    (data / "b.png").write_bytes(b"no picture")
    assert run("data", "convert", data, "--to", "via", tmp_path / "out") == 2
    assert "b.png" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


# -- Several sets as one --------------------------------------------------------------------


def test_labels_of_a_joined_set_replace_those_before(tmp_path, capsys):
    data = labelled_folder(tmp_path / "data")
    Image.new("RGB", (60, 40)).save(data / "c.png")
    (tmp_path / "found").mkdir()
    corrected = [
        Labelled("../data/b.png", 40, 60, squares(2), np.array([1, 2])),
        Labelled("../data/c.png", 40, 60, squares(0), np.zeros(0, int)),
    ]
    write_via(tmp_path / "found" / "via.json", corrected, ["BG", "fox", "cat"])
    argv = ("data", "convert", data, "--with", tmp_path / "found" / "via.json", "--to", "coco")
    assert run(*argv, tmp_path / "both") == 0, capsys.readouterr().err
    assert "1 picture added, its labels taken for 1 picture" in capsys.readouterr().out
    both = formats.open(tmp_path / "both")
    assert both.class_names == ["BG", "cat", "dog", "fox"]
    labels = {
        Path(info["path"]).name: [both.class_names[abs(i)] for i in both.load_mask(image_id)[1]]
        for image_id, info in enumerate(both.image_info)
    }
    assert labels == {"a.png": ["cat", "dog", "cat"], "b.png": ["fox", "cat"], "c.png": []}


def test_joined_pictures_keep_their_part_and_new_ones_are_for_training(tmp_path, capsys):
    for part in ("train", "val"):
        labelled_folder(tmp_path / "data" / part)
    new = labelled_folder(tmp_path / "new")
    items = [
        Labelled(name, 40, 60, squares(1), np.array([2])) for name in ("a.png", "../data/val/a.png")
    ]
    write_coco(new / "labels.json", items, ["BG", "cat", "dog"], overwrite=True)
    argv = ("data", "convert", tmp_path / "data", "--with", new, "--to", "coco")
    assert run(*argv, "--subset", "val", tmp_path / "both") == 2
    assert "leave --subset out" in capsys.readouterr().err
    assert run(*argv, tmp_path / "both") == 0
    train, val = (formats.open(tmp_path / "both", subset=part) for part in ("train", "val"))
    assert (train.num_images, val.num_images) == (3, 2)
    assert val.load_mask(0)[1].tolist() == [2]
    assert run("data", "check", tmp_path / "data", "--with", new) == 0
    assert "data, train: 3 pictures (coco)" in capsys.readouterr().out


def test_a_new_picture_of_an_unknown_part_is_refused(tmp_path, capsys):
    for part in ("train", "val"):
        labelled_folder(tmp_path / "data" / part)
        labelled_folder(tmp_path / "new" / {"train": "monday", "val": "validation"}[part])
    argv = ("data", "convert", tmp_path / "data", "--with", tmp_path / "new", "--to", "coco")
    assert run(*argv, tmp_path / "both") == 2
    assert "new pictures in its part monday" in capsys.readouterr().err
    assert not (tmp_path / "both").exists()


def test_a_training_part_alone_is_converted_as_a_whole(tmp_path):
    labelled_folder(tmp_path / "data" / "train")
    labelled_folder(tmp_path / "data" / "test")
    assert run("data", "convert", tmp_path / "data", "--to", "coco", tmp_path / "out") == 0
    assert formats.open(tmp_path / "out", subset="train").num_images == 2


# -- mrcnn detect --labels ------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "results.png"):
        Image.new("RGB", (60, 40)).save(folder / name)
    found = {
        "rois": np.array([[0, 0, 12, 12], [4, 6, 16, 18]], np.int32),
        "class_ids": np.array([1, 1], np.int32),
        "scores": np.array([0.75, 0.5], np.float32),
        "masks": squares(2),
    }
    monkeypatch.setattr(detect, "load_detector", lambda *_: lambda picture: found)
    return folder


@pytest.mark.parametrize("labels", WRITERS)
def test_detections_come_back_as_labels(labels, photos, tmp_path, capsys):
    out = tmp_path / "out"
    argv = ("detect", photos, "--weights", "synthetic", "--out", out, "--labels", labels)
    assert run(*argv) == 0, capsys.readouterr().err
    place = out / f"{labels}{WRITERS[labels].suffix}"
    assert str(place) in capsys.readouterr().out
    if labels != "yolo":  # it has no place for scores
        assert "0.75" in (next(place.glob("a.*")) if place.is_dir() else place).read_text()
    dataset = formats.open(place)
    assert [Path(info["path"]).name for info in dataset.image_info] == ["a.png", "results.png"]
    masks, _ = dataset.load_mask(0)
    assert mask_iou(masks, squares(2)) >= 0.98
    assert formats.open(out).format == labels  # images.json, beside it, holds no labels
    assert len(json.loads((out / "results.json").read_text())) == 4  # beside, as ever

    assert run(*argv) == 2
    assert "made by hand" in capsys.readouterr().err
    assert run(*argv, "--force") == 0


def test_ctrl_c_keeps_the_labels_so_far(photos, tmp_path, monkeypatch, capsys):
    detect_one, seen = detect.load_detector(None, None, None), []

    def interrupted(picture):
        seen.append(picture)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return detect_one(picture)

    monkeypatch.setattr(detect, "load_detector", lambda *_: interrupted)
    argv = ("--weights", "synthetic", "--out", tmp_path / "out", "--labels", "via")
    assert run("detect", photos, *argv) == 130
    assert formats.open(tmp_path / "out" / "via.json").num_images == 1


def test_labels_stay_where_others_are_predictions_that_nobody_changed(tmp_path, capsys):
    """349 labels of a validation picture once became 97 by a correction of other pictures."""
    data = labelled_folder(tmp_path / "data" / "train").parent
    labelled_folder(data / "val")
    Image.new("RGB", (60, 40)).save(tmp_path / "new.png")
    names, scores = ["BG", "cat", "dog"], np.full(1, 0.9)
    places = ["../data/train/a.png", "../data/val/a.png", "../data/val/b.png", "../new.png"]
    items = [Labelled(place, 40, 60, squares(1), np.array([2]), scores) for place in places]
    found = tmp_path / "found" / "via.json"
    write_via(found, items, names)
    project = json.loads(found.read_text())
    corrected = project["_via_img_metadata"]
    key = next(key for key in corrected if "val/b.png" in key)
    corrected[key]["regions"][0]["region_attributes"]["class"] = "cat"
    found.write_text(json.dumps(project))

    both = tmp_path / "both"
    argv = ("data", "convert", data, "--with", found, "--to", "coco", both)
    assert run(*argv) == 0
    said = capsys.readouterr().out
    assert "1 picture had before keep their labels" in said and "nobody has changed" in said
    assert "1 picture added, 1 of them with predictions that nobody has changed" in said
    train, val = (formats.open(both, subset=part) for part in ("train", "val"))
    assert val.load_mask(0)[1].tolist() == [1, 2, -1]  # as labelled
    assert val.load_mask(1)[1].tolist() == [1]  # as corrected
    assert train.num_images == 3 and train.load_mask(0)[1].tolist() == [1, 2, -1]

    # Who has looked at them and found them right says so.
    assert run("data", "convert", found, "--to", "coco", tmp_path / "right.json") == 0
    argv = ("data", "convert", data, "--with", tmp_path / "right.json", "--to", "coco", both)
    assert run(*argv, "--force") == 0
    assert formats.open(both, subset="val").load_mask(0)[1].tolist() == [2]
