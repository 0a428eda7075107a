"""samples/tiles: the figure of the seams, with a detector that takes milliseconds."""

import importlib.util
import re
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.measure import label, regionprops

from mrcnn.detect.instances import Instances

PROGRAM = Path(__file__).parents[2] / "samples" / "tiles" / "seams.py"


def bright(picture):
    regions = [r for r in regionprops(label(picture[..., 0] > 120)) if r.area > 20]
    masks = np.zeros((*picture.shape[:2], len(regions)), bool)
    for i, region in enumerate(regions):
        masks[(*region.coords.T, i)] = True
    boxes = np.array([region.bbox for region in regions], np.int32).reshape(-1, 4)
    ones = np.ones(len(regions), np.int32)
    return Instances(rois=boxes, class_ids=ones, scores=ones.astype(np.float32), masks=masks)


def test_the_figure_of_the_seams(tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("seams", PROGRAM)
    seams = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(seams)
    seams.main(["--size", "300", "--tile", "160", "--out", str(tmp_path / "s.png")], bright)
    assert np.asarray(Image.open(tmp_path / "s.png")).std() > 10
    said = re.search(
        r"(\d+) tiles found (\d+) .* of objects: (\d+) objects", capsys.readouterr().out
    )
    tiles, parts, objects = map(int, said.groups())
    assert tiles == 9 and parts > objects > 0
