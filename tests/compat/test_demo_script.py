"""The script that every tutorial begins with, as it has been copied since 2017."""

import os
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.io
from small_network import SmallConfig, fill

from mrcnn import visualize

ROOT = Path(__file__).parents[2]


@pytest.fixture
def on_path(monkeypatch):
    """What the script does first: sys.path.append(ROOT_DIR), and samples/coco."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT), str(ROOT / "samples/coco/")])
    monkeypatch.delitem(sys.modules, "coco", raising=False)


def test_demo_takes_whatever_file_it_finds(on_path, monkeypatch, tmp_path):
    import coco

    import mrcnn.model as modellib

    ROOT_DIR = str(ROOT)
    MODEL_DIR = os.path.join(tmp_path, "logs")
    COCO_MODEL_PATH = os.path.join(tmp_path, "mask_rcnn_coco.h5")
    IMAGE_DIR = os.path.join(ROOT_DIR, "images")

    class InferenceConfig(coco.CocoConfig):
        GPU_COUNT = 1
        IMAGES_PER_GPU = 1

    for name, value in vars(SmallConfig).items():  # a network that is built in a second
        if name.isupper() and name not in ("NAME", "NUM_CLASSES"):
            setattr(InferenceConfig, name, value)
    config = InferenceConfig()
    config.display()

    other = modellib.MaskRCNN(mode="inference", model_dir=MODEL_DIR, config=config)
    fill(other.keras_model)
    other.keras_model.save_weights(COCO_MODEL_PATH)

    model = modellib.MaskRCNN(mode="inference", model_dir=MODEL_DIR, config=config)
    model.load_weights(COCO_MODEL_PATH, by_name=True)
    class_names = [f"name {i}" for i in range(81)]

    file_names = next(os.walk(IMAGE_DIR))[2]
    assert len(file_names) >= 3
    for chosen in file_names:
        monkeypatch.setattr(random, "choice", lambda names, chosen=chosen: chosen)
        image = skimage.io.imread(os.path.join(IMAGE_DIR, random.choice(file_names)))
        results = model.detect([image], verbose=1)
        r = results[0]
        visualize.display_instances(
            image, r["rois"], r["masks"], r["class_ids"], class_names, r["scores"]
        )
        assert r["masks"].shape[:2] == image.shape[:2]
        assert np.isfinite(r["scores"]).all()
