"""A folder such as the pages speak of: labelled cells, new pictures, weights, a config."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from pages import ROOT, blocks
from small_network import SmallConfig

from mrcnn.data.formats import open as open_data
from mrcnn.data.pictures import write_png
from mrcnn.data.video import VideoWriter
from mrcnn.data.writers import Labelled, file_name_from, write_coco

NUCLEUS = ROOT / "mrcnn" / "weights" / "nucleus.h5"
SIDE = 128  # pixels of a picture here: enough for some nuclei, and quick


def write_cells(folder: Path) -> None:
    """Six labelled pieces of the sample's nuclei in COCO's layout, and two without labels."""
    dataset = open_data(ROOT / "samples" / "nucleus" / "data")
    parts = {"cells/train": range(4), "cells/val": range(4, 6), "new": range(6, 8)}
    (folder / "cells" / "annotations").mkdir(parents=True)
    for part, image_ids in parts.items():
        (folder / part).mkdir()
        path = folder / "cells" / "annotations" / f"instances_{Path(part).name}.json"
        items = []
        for image_id in image_ids:
            picture = folder / part / f"{part[-1]}{image_id}.png"
            write_png(picture, dataset.load_image(image_id)[:SIDE, :SIDE])
            masks = dataset.load_mask(image_id)[0][:SIDE, :SIDE]
            masks = masks[:, :, masks.sum(axis=(0, 1)) > 20]
            class_ids = np.ones(masks.shape[-1], int)
            file_name = file_name_from(path.parent, picture)
            items.append(Labelled(file_name, SIDE, SIDE, masks, class_ids))
        if part != "new":
            write_coco(path, items, ["BG", "cell"])


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory):
    """A weight file of a small network with one class."""
    from mrcnn.model import MaskRCNN

    folder = tmp_path_factory.mktemp("weights")
    config = type("CellsConfig", (SmallConfig,), {"NUM_CLASSES": 2})()
    path = folder / "mask_rcnn_cells_0030.h5"
    model = MaskRCNN("inference", config, str(folder))
    model.class_names = ["BG", "cell"]
    model.save_weights(path)
    return path


@pytest.fixture(scope="session")
def film(tmp_path_factory):
    """Three frames of nuclei."""
    path = tmp_path_factory.mktemp("film") / "clip.mp4"
    picture = open_data(ROOT / "samples" / "nucleus" / "data").load_image(0)
    with VideoWriter(path, 10) as video:
        for i in range(3):
            video.write(picture[4 * i : 4 * i + SIDE, :SIDE])
    return path


@pytest.fixture
def place(tmp_path, monkeypatch, small_weights, film):
    """The working folder of somebody who follows a page."""
    write_cells(tmp_path)
    (tmp_path / "images").symlink_to(ROOT / "images", target_is_directory=True)
    shutil.copy(film, tmp_path)
    shutil.copy(NUCLEUS, tmp_path / "mask_rcnn_mine.h5")
    shutil.copy(small_weights, tmp_path)
    run = tmp_path / "logs" / "cells20250101T1200"
    run.mkdir(parents=True)
    shutil.copy(NUCLEUS, run / "mask_rcnn_cells_0040.h5")
    shutil.copytree(tmp_path / "new", tmp_path / "scans")
    shutil.copy(tmp_path / "new" / "w6.png", tmp_path / "cells.png")
    (config,) = blocks(ROOT / "docs" / "choosing-a-config.md", "python")
    (tmp_path / "cells.py").write_text(config)
    monkeypatch.chdir(tmp_path)
    return tmp_path
