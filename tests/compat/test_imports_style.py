"""Where old scripts import from: the package in every spelling, and the flat layout before it."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from patience import PATIENCE

ROOT = Path(__file__).parents[2]
LEGACY = ROOT / "legacy"

# Every import of ours that three or more of 66 repositories write.
IMPORTS = """
from mrcnn.config import Config
from mrcnn import utils
from mrcnn import visualize
from mrcnn import model as modellib
from mrcnn import model
from mrcnn import config
from mrcnn import utils, visualize, model as modellib
import mrcnn.model as modellib
import mrcnn.utils as utils
import mrcnn.model, mrcnn.utils, mrcnn.config, mrcnn.visualize
from mrcnn.model import MaskRCNN, log, mold_image, load_image_gt
from mrcnn.visualize import display_images, display_instances
from mrcnn.visualize import random_colors, apply_mask, plot_precision_recall
from mrcnn.utils import compute_ap, Dataset, extract_bboxes, compute_overlaps
from mrcnn.utils import download_trained_weights, minimize_mask, expand_mask
from mrcnn.parallel_model import ParallelModel
from mrcnn import __version__
from keras.preprocessing.image import load_img, img_to_array
from tensorflow.keras.preprocessing.image import load_img, img_to_array
"""


@pytest.mark.parametrize("line", IMPORTS.strip().splitlines())
def test_import(line):
    names = {}
    exec(line, names)
    assert len(names) > 1


def test_reloading_the_package():
    """Notebooks do so after an edit; classes made before go on working."""
    from mrcnn import config

    before = dict(vars(config))
    try:
        reloaded = importlib.reload(config).Config
        assert reloaded().NUM_CLASSES == before["Config"]().NUM_CLASSES
    finally:
        vars(config).update(before)  # the other tests hold the old classes


def run(script, *folders, tmp_path, python_path=""):
    """Run a script as a user would, from elsewhere, with folders at the end of sys.path."""
    path = tmp_path / "script.py"
    paths = [str(folder) for folder in folders]
    path.write_text(f"import sys\nsys.path += {paths}\n{script}")
    done = subprocess.run(
        [sys.executable, path],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(python_path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


FLAT = """
from config import Config
import utils
import model as modellib
import visualize
from model import log
import mrcnn.config, mrcnn.model, mrcnn.utils
"""


def test_flat_layout_of_2017(tmp_path):
    """PYTHONPATH=legacy, in a clone that isn't installed; one copy of each class."""
    check = """
import coco
assert Config is mrcnn.config.Config and modellib is mrcnn.model and utils is mrcnn.utils
assert issubclass(coco.CocoConfig, Config)
print(coco.CocoConfig().NUM_CLASSES, len(visualize.random_colors(2)), coco.__file__)
"""
    printed = run(FLAT + check, tmp_path=tmp_path, python_path=LEGACY)
    assert printed.split() == ["81", "2", str(ROOT / "samples" / "coco" / "coco.py")]


def test_flat_layout_takes_the_installed_package(tmp_path):
    """A clone's legacy/ beside a package that was installed: the clone's own isn't a second one."""
    package = tmp_path / "installed" / "mrcnn"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "config.py").write_text("Config = 'the installed one'")
    script = "from config import Config; print(Config)"
    before_pips = f"{LEGACY}{os.pathsep}{tmp_path / 'installed'}"  # which may hold this one
    printed = run(script, tmp_path=tmp_path, python_path=before_pips)
    assert printed == "the installed one\n"


def test_coco_outside_its_clone(tmp_path):
    shutil.copytree(LEGACY, tmp_path / "legacy")
    script = "try:\n    import coco\nexcept ImportError as error:\n    print(error)"
    printed = run(script, tmp_path=tmp_path, python_path=tmp_path / "legacy")
    assert "has no coco.py: legacy/ works from a clone" in printed


def test_package_folder_on_the_path(tmp_path):
    """sys.path.append("Mask_RCNN/mrcnn"): files are read a second time; nothing asks which copy."""
    script = """
import keras.backend as K
import numpy as np
import tensorflow as tf

class TinyConfig(Config):
    NAME = "tiny"
    NUM_CLASSES = 1 + 1
    BACKBONE = "resnet18_half"
    IMAGES_PER_GPU = 1
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64

class TinyDataset(utils.Dataset):
    pass

assert Config is not mrcnn.config.Config and issubclass(TinyDataset, mrcnn.utils.Dataset)
K.clear_session()
model = modellib.MaskRCNN(mode="inference", config=TinyConfig(), model_dir="logs")
log("rois", model.detect([np.zeros((64, 64, 3), np.uint8)])[0]["rois"])
TinyConfig().validate("training")
print(len(visualize.random_colors(2)))
"""
    printed = run(FLAT + script, ROOT / "mrcnn", ROOT, tmp_path=tmp_path)
    assert printed.split()[0] == "rois" and printed.splitlines()[-1] == "2"


def test_disable_v2_behavior_is_refused_with_a_sentence(tmp_path):
    script = """
import tensorflow as tf
tf.compat.v1.disable_v2_behavior()
from mrcnn.config import Config
from mrcnn.model import MaskRCNN
try:
    MaskRCNN("inference", type("C", (Config,), {"NUM_CLASSES": 2})(), "logs")
except RuntimeError as error:
    print(error)
"""
    assert "delete the line with disable_v2_behavior()" in run(script, ROOT, tmp_path=tmp_path)
