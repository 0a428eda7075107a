"""`mrcnn train`: what it chooses, what it refuses, and one small training from end to end."""

import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
from test_cli_data import run, write_nuclei

from mrcnn.cli.weights import find_weights
from mrcnn.config import Config, explicit_names
from mrcnn.data.check import DatasetReport
from mrcnn.data.survey import Survey
from mrcnn.errors import UsageError
from mrcnn.train import plan as plans
from mrcnn.train.choices import Circumstances, complete
from mrcnn.train.plan import find_start, run_name
from mrcnn.train.plan_text import lines
from mrcnn.weights.inspection import inspect_weights

# A network of a few thousand weights, so that a step takes milliseconds.
TINY = ["TOP_DOWN_PYRAMID_SIZE=8", "RPN_CONV_CHANNELS=8", "MASK_CONV_CHANNELS=4"]
TINY += ["FPN_CLASSIF_FC_LAYERS_SIZE=8", "POST_NMS_ROIS_TRAINING=20", "TRAIN_ROIS_PER_IMAGE=8"]
TINY += ["IMAGES_PER_GPU=2"]
SETTINGS = [word for setting in TINY for word in ("--set", setting)]


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    monkeypatch.setattr(plans, "has_gpu", lambda: False)


@pytest.fixture
def cells(tmp_path):
    """Five pictures, of which one is kept for validation."""
    return write_nuclei(tmp_path / "My Cells", 5)


def plan_of(*argv):
    """The plan behind a command line."""
    from mrcnn.cli import train
    from mrcnn.cli.commands import build_parser

    args = build_parser().parse_args(["train", *map(str, argv)])
    return plans.make_plan(train.wishes(args))


# -- What is chosen -------------------------------------------------------------------------


def survey_of(side: int, instance: int, count: int, pictures: int = 40) -> Survey:
    """Square pictures, each with so many square instances."""
    corners = np.random.default_rng(0).uniform(0, side - instance, (pictures * count, 2))
    return Survey(
        ["BG", "cell"],
        DatasetReport(),
        image_ids=list(range(pictures)),
        sizes=np.full((pictures, 2), side),
        counts=np.full(pictures, count),
        boxes=np.hstack([corners, corners + instance]),
        class_ids=np.ones(pictures * count, int),
        picture_of=np.repeat(np.arange(pictures), count),
    )


def chosen(
    survey: Survey, gpu: bool = False, trained: bool = True, pictures: int = 40, **user
) -> tuple[Config, int]:
    config = Config()
    for name, value in user.items():
        setattr(config, name, value)
    circumstances = Circumstances(
        pictures, 8, gpu, whole_network=trained, random_weights=not trained
    )
    return config, complete(config, set(user), survey, circumstances)


@pytest.mark.parametrize(
    "side, instance, gpu, mode, expected",
    [
        (600, 150, True, "square", 640),  # the next multiple of 64
        (3000, 900, True, "square", 1024),
        (3000, 900, False, "square", 512),
        (250, 12, False, "square", 512),  # doubled: there is room
        (2000, 20, True, "crop", 512),  # 10 pixels would be left of 20
        (2000, 20, False, "crop", 256),
    ],
)
def test_picture_size_follows_the_pictures_and_what_is_on_them(side, instance, gpu, mode, expected):
    config, _ = chosen(survey_of(side, instance, 5), gpu)
    assert mode == config.IMAGE_RESIZE_MODE
    assert expected == config.IMAGE_MAX_DIM
    config.validate("training")


def test_an_epoch_shows_each_picture_once_and_training_has_enough_steps():
    config, epochs = chosen(survey_of(600, 150, 5), gpu=True, pictures=400)
    assert config.STEPS_PER_EPOCH == -(-400 // config.IMAGES_PER_GPU)
    assert epochs == -(-2000 // config.STEPS_PER_EPOCH)
    config, epochs = chosen(survey_of(600, 150, 5), gpu=True)
    assert (config.STEPS_PER_EPOCH, epochs) == (20, 100)  # of 40 pictures each comes twice or so
    assert chosen(survey_of(600, 150, 5), gpu=True, STEPS_PER_EPOCH=150)[1] == 14
    assert chosen(survey_of(600, 150, 5), STEPS_PER_EPOCH=50)[1] == 20
    _, epochs = chosen(survey_of(600, 150, 5), STEPS_PER_EPOCH=150, trained=False)
    assert epochs == 40
    assert chosen(survey_of(600, 150, 5), STEPS_PER_EPOCH=10_000)[1] == 10


def test_new_classes_in_a_small_network_show_more_of_the_background():
    small = {"BACKBONE": "efficientnet_lite0"}
    assert chosen(survey_of(600, 150, 5), **small)[0].ROI_POSITIVE_RATIO == 0.2
    assert chosen(survey_of(600, 150, 5))[0].ROI_POSITIVE_RATIO == Config.ROI_POSITIVE_RATIO
    scratch, _ = chosen(survey_of(600, 150, 5), trained=False, **small)
    assert scratch.ROI_POSITIVE_RATIO == Config.ROI_POSITIVE_RATIO


def test_dense_pictures_raise_the_limits():
    sparse, _ = chosen(survey_of(600, 60, 3))
    assert (sparse.MAX_GT_INSTANCES, sparse.DETECTION_MAX_INSTANCES) == (20, 100)
    assert sparse.DETECTION_NMS_THRESHOLD == Config.DETECTION_NMS_THRESHOLD
    dense, _ = chosen(survey_of(600, 30, 233))
    assert (dense.MAX_GT_INSTANCES, dense.DETECTION_MAX_INSTANCES) == (240, 300)
    assert dense.DETECTION_NMS_THRESHOLD == 0.5


def test_the_rate_follows_what_trains():
    assert chosen(survey_of(600, 60, 3), TRAIN_BN=False)[0].LEARNING_RATE == 0.001
    small = {"TRAIN_BN": False, "BACKBONE": "efficientnet_lite0"}
    assert chosen(survey_of(600, 60, 3), **small)[0].LEARNING_RATE == 0.005
    assert chosen(survey_of(600, 60, 3), TRAIN_BN=None)[0].LEARNING_RATE == 0.01
    scratch, _ = chosen(survey_of(600, 60, 3), TRAIN_BN=None, trained=False)
    assert scratch.LEARNING_RATE == 0.02


def test_what_the_user_fixed_stays_and_others_follow_from_it():
    config, _ = chosen(survey_of(600, 60, 3), IMAGES_PER_GPU=3, RPN_ANCHOR_SCALES=(1, 2, 3, 4, 5))
    assert config.STEPS_PER_EPOCH == 14
    assert config.RPN_ANCHOR_SCALES == (1, 2, 3, 4, 5)


def test_the_names_a_users_config_sets():
    class Base(Config):
        NAME = "base"

    class Mine(Base):
        IMAGES_PER_GPU = 1

    config = Mine()
    config.SEED = 3
    assert explicit_names(config) == {"NAME", "IMAGES_PER_GPU", "SEED"}


def test_runs_are_named_after_the_folder(tmp_path):
    (tmp_path / "My Cells (2)" / "train").mkdir(parents=True)
    assert run_name(tmp_path / "My Cells (2)") == "my_cells_2"
    assert run_name(tmp_path / "My Cells (2)" / "train") == "my_cells_2"


# -- Where the config comes from ------------------------------------------------------------


def test_the_network_is_that_of_the_weights_and_the_classes_those_of_the_data(cells):
    plan = plan_of(cells, "--weights", "nucleus")
    assert plan.config.TOP_DOWN_PYRAMID_SIZE == 96  # the weights'
    assert plan.config.NAME == "my_cells"
    assert plan.config.SEED is None  # theirs is 2018
    assert "mrcnn_mask" in plan.exclude
    assert plan.train.class_names == ["BG", "object"]
    assert any("new heads" in line for line in lines(plan))


def test_heads_for_the_same_classes_are_kept(cells):
    plan = plan_of(cells, "--weights", "nucleus", "--class-name", "nucleus")
    assert plan.exclude == []
    assert plan.config.LEARNING_RATE == 0.002
    assert plan.config.RPN_ANCHOR_SCALES == [16, 32, 64, 128, 256]  # the weights know their anchors


def test_config_file_and_settings_count_more_than_what_is_chosen(cells, tmp_path):
    (tmp_path / "cells.py").write_text(
        "from mrcnn.config import Config\n"
        "class Cells(Config):\n"
        "    NAME = 'mine'\n    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 192\n    IMAGES_PER_GPU = 1\n"
    )
    file = f"{tmp_path / 'cells.py'}:Cells"
    plan = plan_of(
        cells, "--weights", "none", "--config", file, "--set", "IMAGES_PER_GPU=2", "--seed", "5"
    )
    config = plan.config
    assert (config.NAME, config.IMAGE_MAX_DIM, config.SEED) == ("mine", 192, 5)
    assert (config.IMAGES_PER_GPU, config.STEPS_PER_EPOCH) == (2, 60)  # 100 epochs of 6,000
    assert config.BACKBONE == "resnet18_half"  # chosen for random weights


def test_a_folder_of_its_own_for_validation(cells, tmp_path):
    other = write_nuclei(tmp_path / "other", 2, first=20)
    plan = plan_of(cells, "--val", other, "--weights", "none")
    assert (plan.train.num_images, plan.val.num_images) == (5, 2)


def test_the_last_weights_are_those_written_last(tmp_path, capsys):
    with pytest.raises(UsageError, match="no run under .* has a checkpoint"):
        find_weights("last", str(tmp_path))
    names = ["b20250101T1200/mask_rcnn_b_0009.h5", "a20260101T1200/mask_rcnn_a_0001.h5"]
    names += ["c/mask_rcnn_c_0001.h5", "c20270101T1200/other.h5"]  # no checkpoints of a run
    for age, name in enumerate(names):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (age, age))
    assert find_weights("last", str(tmp_path)) == tmp_path / names[1]
    os.utime(tmp_path / names[0], (9, 9))  # an older run that was gone on with
    assert find_weights("last", str(tmp_path)) == tmp_path / names[0]
    assert f"Weights: {tmp_path / names[0]}" in capsys.readouterr().out


# -- What is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argv, sentence",
    [
        (["--weights", "nowhere.h5"], "nowhere.h5"),
        (["--weights", "last"], "no run named my_cells under"),
        (["--set", "NUM_CLASSES=1"], "NUM_CLASSES is 1, and the data have 2 classes"),
        (["--set", "NUM_CLASSES=9"], "NUM_CLASSES is 9, and the data have 2 classes"),
        (["--layers", "head"], "--layers head matches no layer of the network: did you mean heads"),
        (["--layers", "res4"], "did you mean res4.*?"),
        (["--weights", "imagenet", "--set", "BACKBONE=resnet18"], "no published ImageNet"),
        (["--weights", "nucleus", "--set", "BACKBONE=resnet50"], "doesn't fit the network"),
        (["--config", "mrcnn.config:Confg"], "Did you mean Config"),
        (["--layers", "["], "no regular expression"),
        (["--set", "IMAGE_MAX_DIM=100"], "divisible by 64"),
        (["--val", "nowhere"], "there is no file or folder nowhere"),
    ],
)
def test_mistakes_are_sentences(cells, tmp_path, argv, sentence, capsys):
    logs = tmp_path / "logs"
    weights = [] if "--weights" in argv else ["--weights", "none"]
    assert run("train", cells, "--logs", logs, *weights, *argv) == 2
    err = capsys.readouterr().err
    assert sentence in err and "Traceback" not in err
    assert not logs.exists()


def test_no_data_no_training(tmp_path, capsys):
    assert run("train", tmp_path / "nowhere") == 2
    assert "there is no file or folder" in capsys.readouterr().err
    assert run("train", tmp_path) == 2
    assert "holds no labelled pictures" in capsys.readouterr().err
    assert run("train", tmp_path, "--epochs", "0") == 2


def test_mistakes_in_the_data_stop_it_before_anything_is_built(cells, tmp_path, capsys):
    next(cells.glob("p1/images/*")).write_bytes(b"no picture")
    code = run("train", cells, "--weights", "none", "--logs", tmp_path / "logs")
    assert code == 2 and "p1" in capsys.readouterr().err


# -- From end to end ------------------------------------------------------------------------


def test_train_resume_and_use_a_checkpoint(cells, tmp_path, capsys, monkeypatch, caplog, eager):
    logs = tmp_path / "logs"
    argv = ["train", cells, "--weights", "none", "--logs", logs, "--class-name", "cell"]
    assert run(*argv, *SETTINGS, "--epochs", "1", "--dry-run") == 0
    assert not logs.exists() and "--dry-run" in capsys.readouterr().out

    assert run(*argv, *SETTINGS, "--epochs", "1") == 0
    told = capsys.readouterr().out
    (folder,) = logs.iterdir()
    checkpoint = folder / "mask_rcnn_my_cells_0001.h5"
    assert checkpoint.exists() and f"--weights {checkpoint}" in told.replace("'", "")
    assert "Cells --subset val --class-name cell --weights" in told.replace("'", "")
    assert "TensorBoard" not in caplog.text
    info = inspect_weights(checkpoint)
    assert info.class_names == ["BG", "cell"]
    assert info.description["config"]["IMAGES_PER_GPU"] == 2
    read = {"format": "auto", "class_name": "cell", "class_attribute": None, "pieces": "auto"}
    assert info.description["data"] == read

    # Its run is gone on with, under its own config; --set needn't be said again.
    resume = ["train", cells, "--weights", "last", "--logs", logs, "--class-name", "cell"]
    assert run(*resume) == 2
    assert "has reached epoch 1 already" in capsys.readouterr().err
    assert run(*resume, "--epochs", "2") == 0
    assert "Starting at epoch 1" in capsys.readouterr().out
    assert (folder / "mask_rcnn_my_cells_0002.h5").exists()
    assert len((folder / "history.csv").read_text().splitlines()) == 3

    # Detecting needs nothing but the file.
    picture = next(cells.glob("p1/images/*"))
    out = tmp_path / "out"
    argv = ["detect", picture, "--weights", "last", "--logs", logs, "--out", out, "--no-pictures"]
    assert run(*argv) == 0
    assert "_0002.h5, the newest checkpoint under" in capsys.readouterr().out
    assert json.loads((out / "images.json").read_text())["info"]["class_names"] == ["BG", "cell"]

    # Another task begins a run of its own from it.
    config = SimpleNamespace(NAME="other", BACKBONE="resnet18_half")
    assert find_start(str(checkpoint), str(logs), config).resume is False

    # So does its best checkpoint, of which the end of a training tells.
    assert "mask_rcnn_my_cells_best.h5 (epoch 1), curves.png, history.csv." in told
    config.NAME = "my_cells"
    best, last = (find_start(name, str(logs), config) for name in ("best", "last"))
    assert best.path == folder / "mask_rcnn_my_cells_best.h5"
    assert (best.resume, last.resume) == (False, True)

    # Ctrl-C: what there is is saved, and the way back is said.
    def interrupt(self, *args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("mrcnn.model.MaskRCNN.train", interrupt)
    assert run(*resume, "--epochs", "9", "--augment", "flip") == 130
    told = capsys.readouterr().out
    assert "--weights last --epochs 9 --augment flip" in told and "--class-name cell" in told
