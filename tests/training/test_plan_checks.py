"""What a training's plan refuses and tells before anything is fetched, built or written."""

import json

import numpy as np
import pytest
from PIL import Image

from mrcnn.cli.commands import main
from mrcnn.train import plan as plans
from mrcnn.weights import download
from mrcnn.weights.files import open_weights
from mrcnn.weights.writing import write_weights


@pytest.fixture(autouse=True)
def _plain(monkeypatch, tmp_path):
    monkeypatch.setattr(plans, "has_gpu", lambda: False)
    monkeypatch.setenv("MRCNN_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def via(folder, pictures, label=None, count=3):
    """Pictures of 64x64 with squares of 20 pixels; label: of all regions, None for none."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {}
    for name in pictures:
        Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(folder / name)
        regions = [
            {
                "shape_attributes": {"name": "rect", "x": x, "y": 5, "width": 19, "height": 19},
                "region_attributes": {"class": label} if label else {},
            }
            for x in range(0, 20 * count, 20)
        ]
        content[name] = {"filename": name, "size": 1, "regions": regions, "file_attributes": {}}
    (folder / "via.json").write_text(json.dumps(content))
    return folder


def coco(path, pictures, categories, labels):
    """labels: category ids, one instance each, in every picture. Pictures beside the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for i, name in enumerate(pictures):
        Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(path.parent / name)
        images.append({"id": i, "file_name": name, "height": 64, "width": 64})
        for category in labels:
            outline = [4, 4, 30, 4, 30, 30, 4, 30]
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": i,
                    "category_id": category,
                    "segmentation": [outline],
                    "bbox": [4, 4, 26, 26],
                    "area": 676,
                    "iscrowd": 0,
                }
            )
    named = [{"id": i, "name": name} for i, name in categories.items()]
    content = {"images": images, "annotations": annotations, "categories": named}
    path.write_text(json.dumps(content))
    return path


def run(*argv):
    return main([str(word) for word in argv])


def dry_run(*argv):
    return run("train", *argv, "--dry-run")


def heads(path, names):
    """A weight file whose heads know some classes."""
    bias = np.zeros(len(names) + 1, np.float32)
    layer = ("mrcnn_class_logits", [("mrcnn_class_logits/bias:0", bias)])
    write_weights(path, [layer], {"class_names": ["BG", *names]})
    return path


# -- Training and validation mean the same classes --------------------------------------------


def test_parts_that_disagree_about_classes_are_a_mistake_with_its_cure(tmp_path, capsys):
    data = tmp_path / "bugs"
    via(data / "train", ["a.png", "b.png"], "beetle")
    via(data / "val", ["c.png"])
    assert run("data", "check", data) == 1
    shown = capsys.readouterr()
    told = "are of classes that the training data have none of: object. Training has beetle."
    assert f"3 of 3, {told}" in shown.out and "add --class-name beetle" in shown.out
    for argv in ([], ["--dry-run"]):
        assert run("train", data, "--weights", "none", *argv) == 2
        shown = capsys.readouterr()
        assert f"3 of 3, {told}" in shown.err and "add --class-name beetle" in shown.err
    assert dry_run(data, "--weights", "none", "--class-name", "beetle") == 0
    assert run("data", "check", data, "--class-name", "beetle") == 0


def test_other_names_in_validation_and_none_in_training(tmp_path, capsys):
    train = via(tmp_path / "one", ["a.png", "b.png"])
    val = via(tmp_path / "two", ["c.png"], "leaf beetle")
    assert dry_run(train, "--val", val, "--weights", "none") == 2
    assert "add --class-name 'leaf beetle'" in capsys.readouterr().err
    other = via(tmp_path / "three", ["d.png"], "ant")
    assert dry_run(val, "--val", other, "--weights", "none") == 2
    assert "same names in both" in capsys.readouterr().err


def test_a_few_labels_of_a_class_that_only_validation_has_are_told(tmp_path, capsys):
    categories = {1: "cell", 2: "rare"}
    coco(tmp_path / "set" / "train" / "a.json", ["a.png", "b.png"], categories, [1])
    coco(tmp_path / "set" / "val" / "a.json", ["c.png"], categories, [1, 1, 2])
    assert dry_run(tmp_path / "set", "--weights", "none") == 0
    assert "not in training rare (1 label): can't be learned" in capsys.readouterr().out


def test_validation_without_labels_is_refused_before_anything_is_built(tmp_path, capsys):
    data = tmp_path / "set"
    coco(data / "train" / "a.json", ["a.png", "b.png"], {1: "cell"}, [1])
    coco(data / "val" / "a.json", ["c.png", "d.png"], {1: "cell"}, [])
    for argv in ([], ["--dry-run"]):
        assert run("train", data, "--weights", "none", *argv) == 2
        told = capsys.readouterr().err
        assert "No picture for validation has an instance: label some in" in told and "val" in told


# -- Classes without instances ----------------------------------------------------------------


def test_a_class_without_instances_is_not_trained_and_does_not_cost_the_heads(tmp_path, capsys):
    data = tmp_path / "set"
    categories = {1: "cell", 2: "phantom"}
    coco(data / "train" / "a.json", ["a.png", "b.png"], categories, [1])
    coco(data / "val" / "a.json", ["c.png"], categories, [1])
    weights = heads(tmp_path / "cells.h5", ["cell"])
    assert dry_run(data, "--weights", weights) == 0
    shown = capsys.readouterr().out
    assert "phantom: left out" in shown and "new heads" not in shown
    # Weights that know just what the files list keep their heads too.
    assert dry_run(data, "--weights", heads(tmp_path / "both.h5", ["cell", "phantom"])) == 0
    shown = capsys.readouterr().out
    assert "phantom: can't be learned" in shown and "new heads" not in shown
    # Who counts it in NUM_CLASSES wants it.
    assert dry_run(data, "--weights", "none", "--set", "NUM_CLASSES=3") == 0


def test_more_classes_are_those_that_have_instances(tmp_path, capsys):
    categories = {i: f"class {i}" for i in range(1, 81)}
    data = tmp_path / "set"
    coco(data / "train" / "a.json", ["a.png", "b.png"], categories, range(1, 13))
    coco(data / "val" / "a.json", ["c.png"], categories, range(1, 13))
    assert dry_run(data, "--weights", "none") == 0
    shown = capsys.readouterr().out
    assert "class 10 2, and 2 more classes" in shown
    assert "class 13, class 14" in shown and "and 58 more: left out" in shown


def test_convert_and_with_pass_on_only_what_has_instances(tmp_path, capsys):
    one = coco(tmp_path / "one" / "a.json", ["a.png"], {7: "cell", 8: "phantom"}, [7])
    two = coco(tmp_path / "two" / "a.json", ["b.png"], {1: "dust", 2: "ghost"}, [1])
    assert run("data", "convert", one.parent, "out.json", "--to", "coco") == 0
    listed = json.loads((tmp_path / "out.json").read_text())["categories"]
    assert [(row["id"], row["name"]) for row in listed] == [(7, "cell")]
    assert run("data", "convert", one.parent, "via.json", "--to", "via") == 0
    options = json.loads((tmp_path / "via.json").read_text())["_via_attributes"]["region"]["class"]
    assert list(options["options"]) == ["cell"]
    capsys.readouterr()
    for to in ("coco", "via"):
        out = tmp_path / f"both_{to}.json"
        assert run("data", "convert", one.parent, out, "--to", to, "--with", two.parent) == 0
        assert "of cell, dust (" in capsys.readouterr().out
        assert "ghost" not in out.read_text() and "phantom" not in out.read_text()


# -- A dry run checks what a training checks --------------------------------------------------


def test_nothing_is_fetched_for_a_plan(tmp_path, capsys, monkeypatch):
    data = via(tmp_path / "bugs", ["a.png", "b.png"], "beetle")
    monkeypatch.setattr(download, "fetch", lambda *_: pytest.fail("it fetches"))
    for name, told in (
        ("coco", "246 MB from https://github.com/matterport"),
        ("balloon", "from https://github.com/matterport"),
        ("imagenet", "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"),
    ):
        assert dry_run(data, "--weights", name) == 0
        shown = capsys.readouterr().out
        assert "fetched first: " in shown and told in shown and str(tmp_path / "home") in shown
    assert not (tmp_path / "home").exists()
    assert dry_run(data, "--weights", "coco", "--set", "RPN_CONV_CHANNELS=64") == 2
    assert "RPN_CONV_CHANNELS: file 512, config 64" in capsys.readouterr().err


def test_a_dry_run_finds_mistakes_that_the_config_makes(tmp_path, capsys):
    data = via(tmp_path / "bugs", ["a.png", "b.png", "c.png"], "beetle")
    Image.fromarray(np.full((128, 64, 3), 90, np.uint8)).save(data / "c.png")
    argv = ["--weights", "none", "--set", "IMAGE_RESIZE_MODE=none", "--set", "IMAGES_PER_GPU=2"]
    assert dry_run(data, "--val", data, *argv, "--set", "IMAGE_MAX_DIM=64") == 2
    assert "can't share a batch" in capsys.readouterr().err


# -- What stays random ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "weights, layers, told",
    [
        ("none", "heads", "40 layers would stay random"),
        ("none", "all", ""),
        ("nucleus", "heads", ""),
        ("nucleus", "mrcnn_class.*", "2 layers would stay random"),
        ("imagenet", "mrcnn_.*", "11 layers would stay random"),
    ],
)
def test_layers_that_stay_random_are_told(weights, layers, told, tmp_path, capsys):
    data = via(tmp_path / "bugs", ["a.png", "b.png"], "beetle")
    assert dry_run(data, "--weights", weights, "--layers", layers) == 0
    shown = capsys.readouterr().out
    assert told in shown and ("would stay random" in shown) == bool(told)


# -- Going on with other classes --------------------------------------------------------------


@pytest.fixture
def eggs(tmp_path):
    """Data named eggs, and a run on egg and yolk."""
    run_folder = tmp_path / "logs" / "eggs20260101T0000"
    run_folder.mkdir(parents=True)
    path = heads(run_folder / "mask_rcnn_eggs_0002.h5", ["egg", "yolk"])
    with open_weights(path) as file:
        layers = [("mrcnn_class_logits", [("mrcnn_class_logits/bias:0", np.zeros(3))])]
        told = {**file.description, "config": {"NAME": "eggs", "BATCH_SIZE": 1}}
    write_weights(path, layers, told)
    return tmp_path / "eggs", path


@pytest.mark.parametrize("weights", ["last", "path"])
@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["egg", "shell", "yolk"], "keep what they know of egg, yolk, and begin anew for shell"),
        (["egg"], "keep what they know of egg; yolk is left out"),
        (["eggs", "yolk"], "keep what they know of yolk, and begin anew for eggs; egg is left out"),
        (["fish"], "which is of other classes, new heads for these classes"),
        (["yolk", "egg"], None),
    ],
)
def test_other_classes_begin_a_new_run_with_what_the_heads_know(eggs, weights, names, told, capsys):
    data, checkpoint = eggs
    coco(data / "a.json", ["a.png", "b.png", "c.png"], dict(enumerate(names)), range(len(names)))
    weights = checkpoint if weights == "path" else weights
    assert dry_run(data, "--weights", weights, "--epochs", "9") == 0
    shown = capsys.readouterr().out
    if told:
        assert told in shown and f"a new run that begins with {checkpoint.parent.parent.name}" in (
            shown.replace(f"{checkpoint.parent.parent.parent}/", "")
        )
        assert "going on with this run" not in shown
    else:
        assert "going on with this run" in shown and "heads" not in shown


def test_classes_that_coco_has_keep_their_rows(tmp_path, capsys):
    data = coco(tmp_path / "cars" / "a.json", ["a.png", "b.png"], {1: "car", 2: "kite2"}, [1, 2])
    assert dry_run(data.parent, "--weights", "coco") == 0
    shown = capsys.readouterr().out
    told = "heads keep what they know of car, and begin anew for kite2; 79 other classes are left"
    assert told in shown
