"""docs/coming-from-matterport.md: its old lines fail, its new lines and its blocks run."""

import importlib.util
import os
import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from old_dataset import ShapesConfig

from mrcnn.model import MaskRCNN, load_image_gt

GUIDE = (Path(__file__).parents[2] / "docs" / "coming-from-matterport.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
TABLE = GUIDE.split("| Old line | Now |\n|---|---|\n")[1].split("\n\n")[0]
ROWS = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in TABLE.splitlines()]


@pytest.fixture
def names(network, dataset, image, weights_path, tmp_path, monkeypatch):
    """What a script of the guide's readers has at hand, one run with a checkpoint included."""
    monkeypatch.chdir(tmp_path)
    os.makedirs("logs/shapes20180101T0000")
    shutil.copy(weights_path, "logs/shapes20180101T0000/mask_rcnn_shapes_0001.h5")
    for name, value in (("model_dir", "logs"), ("log_dir", None), ("epoch", 0)):
        monkeypatch.setattr(network, name, value)  # put back afterwards
    return {
        "K": keras.backend,
        "MaskRCNN": MaskRCNN,
        "config": ShapesConfig(),
        "dataset": dataset,
        "dataset_val": dataset,
        "image": image,
        "keras": keras,
        "load_image_gt": load_image_gt,
        "model": network,
        "np": np,
        "optimizer": keras.optimizers.SGD(learning_rate=0.001),
        "sess": None,
        "tf": tf,
    }


def test_the_guide_was_read():
    assert len(ROWS) > 20 and len(BLOCKS) == 3 and all(len(row) == 2 for row in ROWS)


@pytest.mark.parametrize(("old", "new"), ROWS, ids=[old for old, _ in ROWS])
def test_row(old, new, names):
    if old == "`import imgaug`" and importlib.util.find_spec("imgaug"):
        pytest.skip("imgaug is installed here, and may work")
    with pytest.raises((AttributeError, ImportError, TypeError, ValueError)):
        exec(old.strip("`"), names)
    if not new.startswith("delete"):
        exec(new.strip("`"), names)


@pytest.mark.parametrize("block", BLOCKS, ids=[block.split("\n")[0] for block in BLOCKS])
def test_block(block, names, eager):
    exec(block, names)


def test_a_callback_may_not_set_model():
    class Old(keras.callbacks.Callback):
        def __init__(self, model):
            super().__init__()
            self.model = model

    with pytest.raises(AttributeError, match="model"):
        Old(None)
