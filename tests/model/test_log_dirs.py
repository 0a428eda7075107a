"""set_log_dir and find_last: which folder, which epoch, which checkpoint."""

import os
import re

import pytest
from small_network import reconfigured


@pytest.fixture
def model(small_model, tmp_path):
    copy = reconfigured(small_model, NAME="Cells")
    copy.model_dir = str(tmp_path)
    copy.set_log_dir()
    return copy


def checkpoint(model, run, name):
    path = os.path.join(model.model_dir, run, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    open(path, "w").close()
    return path


def test_a_new_run_is_named_by_the_time(model):
    name = os.path.basename(model.log_dir)
    assert re.fullmatch(r"cells\d{8}T\d{4}", name)
    assert os.path.dirname(model.log_dir) == model.model_dir
    assert model.checkpoint_path == os.path.join(model.log_dir, "mask_rcnn_cells_{epoch:04d}.h5")
    assert model.checkpoint_path.format(epoch=7).endswith("mask_rcnn_cells_0007.h5")
    assert model.epoch == 0
    assert os.listdir(model.model_dir) == []  # made when training starts


@pytest.mark.parametrize(
    "folder",
    ["logs", "/path/to/logs", "logs v1.2", "my logs/2018", "Protokolle/Zellgröße", "日志", "."],
)
def test_a_checkpoint_s_own_run_goes_on(model, folder):
    """Matterport: epoch 7 is finished, training goes on with the next one in the same folder."""
    path = os.path.join(folder, "cells20180101T1234", "mask_rcnn_cells_0007.h5")
    model.set_log_dir(path)
    assert model.epoch == 7
    assert os.path.basename(model.log_dir) == "cells20180101T1234"
    assert os.path.basename(model.checkpoint_path) == "mask_rcnn_cells_{epoch:04d}.h5"


@pytest.mark.parametrize(
    ("path", "epoch", "run"),
    [
        ("logs/coco20180101T1234/mask_rcnn_coco_0007.h5", 7, "20180101T1234"),
        ("logs/coco20180101T1234/mask_rcnn_coco_0160.h5", 160, "20180101T1234"),
        ("logs/a_b-c20190630T0001/mask_rcnn_a_b-c_0012.h5", 12, "20190630T0001"),
        ("logs/v1.2 20190630T0001/mask_rcnn_v1.2 _0012.h5", 12, "20190630T0001"),
        (r"C:\logs\coco20180101T1234\mask_rcnn_coco_0007.h5", 7, "20180101T1234"),
    ],
)
def test_checkpoints_of_other_names(model, path, epoch, run):
    model.set_log_dir(path)
    assert model.epoch == epoch
    assert os.path.basename(model.log_dir) == f"cells{run}"


@pytest.mark.parametrize(
    "path",
    [
        "mask_rcnn_coco.h5",
        "models/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "logs/coco20180101T1234/other_0007.h5",
        "logs/no_time/mask_rcnn_coco_0007.h5",
        "",
        None,
    ],
)
def test_any_other_file_begins_a_new_run(model, path):
    model.set_log_dir(path)
    assert model.epoch == 0
    assert not model.log_dir.endswith("20180101T1234")


def test_find_last(model):
    checkpoint(model, "cells20260101T0000", "mask_rcnn_cells_0001.h5")
    newest = [checkpoint(model, "cells20260302T0900", f"mask_rcnn_cells_000{i}.h5") for i in (1, 2)]
    os.makedirs(os.path.join(model.model_dir, "cells20260401T0000"))  # began, wrote nothing
    checkpoint(model, "nuclei20270101T0000", "mask_rcnn_nuclei_0009.h5")
    checkpoint(model, "cells_b20270101T0000", "mask_rcnn_cells_b_0009.h5")
    checkpoint(model, "cells20260302T0900", "events.out.tfevents.1")
    assert model.find_last() == newest[-1]


def test_find_last_says_what_it_looked_for(model):
    with pytest.raises(FileNotFoundError, match="holds no run named cells<date>"):
        model.find_last()
    os.makedirs(os.path.join(model.model_dir, "cells20260401T0000"))
    with pytest.raises(FileNotFoundError, match="has no checkpoint yet"):
        model.find_last()
    model.model_dir = os.path.join(model.model_dir, "nowhere")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        model.find_last()


def test_old_call_that_indexes_what_find_last_gives(model):
    """load_weights(model.find_last()[1]) was right until version 2.1; now [1] is a letter."""
    checkpoint(model, "cells20260101T0000", "mask_rcnn_cells_0001.h5")
    with pytest.raises(FileNotFoundError):
        model.load_weights(model.find_last()[1])
