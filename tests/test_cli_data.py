"""`mrcnn data`: which pictures a command gets, what is counted, and the sheet."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mrcnn.cli import main
from mrcnn.config import Config
from mrcnn.data.parts import open_part, with_classes
from mrcnn.data.survey import badly_met, best_anchor_iou, suggest_scales, take_survey
from mrcnn.drawing.sheet import Tile, contact_sheet
from mrcnn.errors import UsageError
from mrcnn.geometry.anchors import anchors_of_picture
from mrcnn.geometry.boxes import compute_overlaps


def write_nuclei(root: Path, pictures: int, first: int = 0, side: int = 64) -> Path:
    """Pictures with two instances each, 16 and 20 pixels wide, in the layout of masks."""
    for i in range(first, first + pictures):
        for folder in ("images", "masks"):
            (root / f"p{i}" / folder).mkdir(parents=True)
        picture = np.full((side, side, 3), 10 * i % 256, np.uint8)
        for k, (y, x, size) in enumerate([(4, 6, 16), (30, 40, 20)]):
            mask = np.zeros((side, side), np.uint8)
            mask[y : y + size, x : x + size] = 255
            picture[mask > 0] = 200
            Image.fromarray(mask).save(root / f"p{i}" / "masks" / f"{k}.png")
        Image.fromarray(picture).save(root / f"p{i}" / "images" / f"p{i}.png")
    return root


def ids(dataset) -> set:
    return {info["id"] for info in dataset.image_info}


def run(*argv) -> int:
    return main([str(word) for word in argv])


# -- Parts and classes ----------------------------------------------------------------------


def test_a_set_without_parts_is_divided_the_same_way_each_time(tmp_path):
    root = write_nuclei(tmp_path / "cells", 10)
    train, val = open_part(root, subset="train"), open_part(root, subset="val")
    assert (train.num_images, val.num_images) == (8, 2)
    assert not ids(train) & ids(val)
    assert "2 of its 10 pictures" in val.notes[-1]
    assert ids(open_part(root, subset="val")) == ids(val)
    write_nuclei(root, 2, first=10)
    # A picture's rank is its own: new ones can only push others down, never shuffle them.
    more = open_part(root, subset="val")
    assert more.num_images == 2 and ids(more) <= ids(val) | {"p10", "p11"}
    assert open_part(root, subset="all").num_images == 12


def test_parts_are_taken_as_they_are(tmp_path):
    write_nuclei(tmp_path / "train", 3)
    write_nuclei(tmp_path / "valid", 1, first=7)
    assert ids(open_part(tmp_path, subset="val")) == {"p7"}
    assert open_part(tmp_path, subset="train").num_images == 3
    with pytest.raises(UsageError, match="no part test: it has train, valid"):
        open_part(tmp_path, subset="test")


def test_a_training_part_alone_is_divided(tmp_path):
    write_nuclei(tmp_path / "train", 5)
    assert open_part(tmp_path, subset="val").num_images == 1
    assert open_part(tmp_path, subset="train").num_images == 4


def test_parts_of_which_none_is_for_training_are_refused(tmp_path):
    write_nuclei(tmp_path / "monday", 2)
    write_nuclei(tmp_path / "tuesday", 2)
    with pytest.raises(UsageError, match="it has monday, tuesday"):
        open_part(tmp_path, subset="train")


def test_one_picture_is_too_few_to_divide(tmp_path):
    with pytest.raises(UsageError, match="has 1 labelled picture:"):
        open_part(write_nuclei(tmp_path / "cells", 1))


def test_classes_get_the_numbers_asked_for(tmp_path):
    dataset = open_part(write_nuclei(tmp_path / "cells", 3), subset="all", class_name="cell")
    other = with_classes(dataset, ["BG", "dust", "cell"])
    assert (other.num_classes, other.class_names) == (3, ["BG", "dust", "cell"])
    masks, class_ids = other.load_mask(1)
    assert class_ids.tolist() == [2, 2]
    np.testing.assert_array_equal(masks, dataset.load_mask(1)[0])
    np.testing.assert_array_equal(other.load_image(1), dataset.load_image(1))
    assert with_classes(dataset, ["BG", "cell"]) is dataset
    with pytest.raises(UsageError, match="not expected here: cell"):
        with_classes(dataset, ["BG", "dust"])


def test_a_class_without_a_name_is_the_only_one_expected(tmp_path):
    dataset = open_part(write_nuclei(tmp_path / "cells", 2), subset="all")
    assert with_classes(dataset, ["BG", "nucleus"]).class_names == ["BG", "nucleus"]


# -- Numbers --------------------------------------------------------------------------------


def test_survey_counts_what_is_there_and_reads_it_once(tmp_path, monkeypatch):
    dataset = open_part(write_nuclei(tmp_path / "cells", 3), subset="all")
    read = []
    load = dataset.load_mask
    monkeypatch.setattr(dataset, "load_mask", lambda i: read.append(i) or load(i))
    survey = take_survey(dataset)
    assert sorted(read) == [0, 1, 2]
    assert survey.counts.tolist() == [2, 2, 2]
    assert survey.per_class() == {"object": (6, 3)}
    assert survey.box_sizes[:2].tolist() == [[16, 16], [20, 20]]
    config = Config()  # IMAGE_MIN_DIM makes 800 of 64 pixels
    np.testing.assert_allclose(survey.network_boxes(config), survey.boxes * 12.5)


def test_best_anchor_iou_is_that_of_all_anchors():
    class Small(Config):
        IMAGE_MIN_DIM = IMAGE_MAX_DIM = 256
        RPN_ANCHOR_SCALES = (16, 32, 64, 128, 256)

    rng = np.random.default_rng(0)
    corners, sizes = rng.uniform(64, 150, (50, 2)), rng.uniform(8, 60, (50, 2))
    boxes = np.hstack([corners, corners + sizes])  # away from the border, where cells are missing
    anchors = anchors_of_picture(Small(), (256, 256))
    expected = compute_overlaps(anchors, boxes).max(axis=0)
    # The same formula in another order, in float64; compute_overlaps may keep float32.
    np.testing.assert_allclose(best_anchor_iou(boxes, Small()), expected, atol=1e-5)


def test_scales_are_suggested_only_where_they_are_clearly_better():
    config = Config()
    centres = np.random.default_rng(0).uniform(100, 900, (200, 2))
    small, large = (np.hstack([centres, centres + side]) for side in (14, 64))
    assert suggest_scales(large, config) == config.RPN_ANCHOR_SCALES
    better = suggest_scales(small, config)
    assert better[0] < 32
    assert badly_met(small, config) > 0.9
    assert suggest_scales(np.zeros((0, 4)), config) == config.RPN_ANCHOR_SCALES


# -- The commands ---------------------------------------------------------------------------


def test_check_tells_numbers_and_mistakes(tmp_path, capsys):
    write_nuclei(tmp_path / "train", 3)
    write_nuclei(tmp_path / "val", 2)
    assert run("data", "check", tmp_path) == 0
    told = capsys.readouterr().out
    assert "train: 3 pictures (masks)" in told and "val: 2 pictures" in told
    assert "object          6 in 3 pictures" in told
    assert "64x64 to 64x64" in told
    assert "no mistakes in 3 of 3 pictures" in told

    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "val" / "p1" / "masks" / "0.png")
    assert run("data", "check", tmp_path, "--subset", "val") == 1
    assert "1 mistake in 2 of 2" in capsys.readouterr().out


def test_check_compares_with_the_users_config(tmp_path, capsys):
    write_nuclei(tmp_path / "cells", 2)
    assert run("data", "check", tmp_path / "cells", "--set", "NUM_CLASSES=1") == 1
    assert "NUM_CLASSES is 1: it must count the background" in capsys.readouterr().out
    # It follows the data where nobody sets it.
    assert run("data", "check", tmp_path / "cells", "--set", "IMAGE_MAX_DIM=512") == 0
    (tmp_path / "one.py").write_text(
        "from mrcnn.config import Config\nclass One(Config):\n    NUM_CLASSES = 1\n"
    )
    assert run("data", "check", tmp_path / "cells", "--config", tmp_path / "one.py") == 1


def test_classes_without_instances_are_cut_after_ten(tmp_path, capsys):
    names = [f"c{i}" for i in range(80)]
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    truth = {
        "images": [{"id": 1, "file_name": "a.png", "height": 8, "width": 8}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]}],
        "categories": [{"id": i, "name": name} for i, name in enumerate(names, 1)],
    }
    truth["annotations"][0]["segmentation"] = [[1, 1, 6, 1, 6, 6, 1, 6]]
    (tmp_path / "labels.json").write_text(json.dumps(truth))
    assert run("data", "check", tmp_path) == 0
    told = capsys.readouterr().out
    assert ": 1 picture (coco)" in told and "1 in 1 picture\n" in told
    assert f"{', '.join(names[1:11])} and 69 more\n" in told


def test_the_class_of_masks_can_be_named(tmp_path, capsys):
    write_nuclei(tmp_path / "cells", 2)
    assert run("data", "check", tmp_path / "cells", "--class-name", "cell") == 0
    assert "    cell            4 in 2 pictures" in capsys.readouterr().out


def test_show_draws_a_sheet(tmp_path, capsys):
    write_nuclei(tmp_path / "cells", 5)
    out = tmp_path / "new" / "sheet.png"
    assert run("data", "show", tmp_path / "cells", "--out", out, "--count", "4") == 0
    assert "4 of 5 pictures drawn (3 of train, 1 of val): " in capsys.readouterr().out
    with Image.open(out) as sheet:
        assert sheet.width == 2000
    assert run("data", "show", tmp_path / "cells", "--out", tmp_path) == 2
    assert "is a folder" in capsys.readouterr().err


def test_sheet_holds_every_picture_tinted_where_its_mask_is():
    tiles = []
    for grey in (60, 120, 180):
        masks = np.zeros((50, 100, 1), bool)
        masks[:, 50:] = True
        image = np.full((50, 100, 3), grey, np.uint8)
        tiles.append(Tile(image, masks, np.array([-1]), ["BG", "cat"], "one.png: cat 1"))
    sheet = contact_sheet(tiles, 3, width=636)  # two columns of 300
    assert sheet.shape[1] == 636
    for (top, left), grey in zip([(12, 12), (12, 324), (200, 12)], (60, 120, 180)):
        assert (sheet[top + 60, left + 20] == grey).all()
        assert (sheet[top + 60, left + 200] != grey).any()


@pytest.mark.parametrize("what", ["check", "show"])
def test_what_cannot_be_read_is_a_sentence(what, tmp_path, capsys):
    assert run("data", what, tmp_path / "nowhere") == 2
    assert "there is no file or folder" in capsys.readouterr().err
    assert run("data", what, tmp_path) == 2
    assert "holds no labelled pictures" in capsys.readouterr().err
