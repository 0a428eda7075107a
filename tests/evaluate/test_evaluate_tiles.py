"""Sets with large pictures are measured as they are detected in: in tiles."""

import json

import numpy as np
import pytest
from PIL import Image
from small_network import small_config

from mrcnn.cli import main
from mrcnn.data.formats import open as open_data
from mrcnn.detect.instances import Instances
from mrcnn.evaluate.coco import collect, measuring_config


@pytest.fixture
def plane(tmp_path):
    """A folder with one picture of 12 squares, labelled in COCO's format."""
    picture, annotations = np.full((260, 340, 3), 20, np.uint8), []
    for y in range(20, 220, 80):
        for x in range(20, 320, 80):
            picture[y : y + 40, x : x + 30] = 230
            outline = [x, y, x + 29, y, x + 29, y + 39, x, y + 39]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": 1, "category_id": 1, "iscrowd": 0,
                 "bbox": [x, y, 30, 40], "area": 1200, "segmentation": [outline]}
            )  # fmt: skip
    Image.fromarray(picture).save(tmp_path / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 260, "width": 340}],
        "categories": [{"id": 1, "name": "nucleus"}],
        "annotations": annotations,
    }
    (tmp_path / "coco.json").write_text(json.dumps(content))
    return tmp_path


def bright(picture):
    """Squares in a picture or a tile, of which a network would see no more than eight."""
    from skimage.measure import label, regionprops

    regions = regionprops(label(picture[..., 0] > 120))[:8]
    masks = np.zeros((*picture.shape[:2], len(regions)), bool)
    for i, region in enumerate(regions):
        masks[(*region.coords.T, i)] = True
    return Instances(
        rois=np.array([region.bbox for region in regions], np.int32).reshape(-1, 4),
        class_ids=np.ones(len(regions), np.int32),
        scores=np.full(len(regions), 0.9, np.float32),
        masks=masks,
    )


def test_evaluate_in_tiles(plane, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("mrcnn.cli.evaluate.load_detector", lambda *_: bright)
    found = {}
    for how in ([], ["--tiles", "128", "--overlap", "50"]):
        out = tmp_path / "-".join(["out", *how])
        given = ["evaluate", str(plane), "--weights", "nucleus", "--out", str(out), *how]
        assert main([*given, "--subset", "all"]) == 0
        found[bool(how)] = json.loads((out / "metrics.json").read_text())
    assert "1 picture looked at in tiles" in capsys.readouterr().out
    whole, tiles = found[False], found[True]
    assert tiles["masks"]["AP50"] == 1 > whole["masks"]["AP50"]


def test_validation_of_a_training_on_pieces_is_in_tiles(plane, monkeypatch):
    monkeypatch.setattr("mrcnn.detect.tiles.NETWORK_SIDE", 128)
    dataset = open_data(plane)
    dataset.prepare()

    class Model:
        config = measuring_config(small_config(IMAGE_RESIZE_MODE="crop"))

        def detect(self, pictures):
            return [bright(picture) for picture in pictures]

    collected = collect(Model(), dataset, verbose=0)
    assert len(collected.found) == collected.most_in_tiles == 12
    Model.config = measuring_config(small_config())
    assert len(collect(Model(), dataset, verbose=0).found) == 8
