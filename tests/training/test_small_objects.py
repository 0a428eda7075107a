"""Instances that would be too small in the network: what is chosen, and what is said."""

import json

import numpy as np
import pytest
from PIL import Image

from mrcnn.cli.commands import main
from mrcnn.cli.configs import apply_setting
from mrcnn.config import Config
from mrcnn.data.check import DatasetReport
from mrcnn.data.survey import Survey
from mrcnn.train import plan as plans
from mrcnn.train.choices import Circumstances, complete, larger_input, network_sides


def survey_of(side, sizes, pictures=40):
    """Square pictures; sizes: of the square instances in each."""
    corners = np.zeros((pictures * len(sizes), 2))
    ends = np.repeat(np.tile(sizes, pictures)[:, None], 2, axis=1)
    return Survey(
        ["BG", "cell"],
        DatasetReport(),
        image_ids=list(range(pictures)),
        sizes=np.full((pictures, 2), side),
        counts=np.full(pictures, len(sizes)),
        boxes=np.hstack([corners, ends]),
        class_ids=np.ones(len(ends), int),
        picture_of=np.repeat(np.arange(pictures), len(sizes)),
    )


def chosen(survey, gpu=False, **fixed):
    config = Config()
    for name, value in fixed.items():
        setattr(config, name, value)
    complete(config, set(fixed), survey, Circumstances(40, 8, gpu, whole_network=True))
    return config


@pytest.mark.parametrize("gpu", [False, True])
def test_a_few_large_objects_dont_veto_pieces(gpu):
    side = {False: 768, True: 1536}[gpu]
    survey = survey_of(side, [12] * 22 + [300, 300])
    config = chosen(survey, gpu)
    assert config.IMAGE_RESIZE_MODE == "crop"
    assert np.median(network_sides(config, survey)) == 24
    assert larger_input(config, survey, gpu) == []


def test_many_large_objects_keep_pictures_whole():
    assert chosen(survey_of(768, [12] * 10 + [300] * 10)).IMAGE_RESIZE_MODE == "square"


@pytest.mark.parametrize("sizes", [[12], [5], [12] * 10 + [300] * 10, [100]])
@pytest.mark.parametrize(
    "fixed", [{"IMAGE_RESIZE_MODE": "square", "IMAGE_MAX_DIM": 512}, {"IMAGE_MIN_SCALE": 0}, {}]
)
def test_the_settings_that_are_told_help(sizes, fixed):
    survey = survey_of(768, sizes)
    config = chosen(survey, **fixed)
    told = larger_input(config, survey, gpu=False)
    assert bool(told) == (np.percentile(network_sides(config, survey), 25) < 16)
    for setting in told:
        apply_setting(config, setting)
    config.validate("training")
    assert np.percentile(network_sides(config, survey), 25) >= 16
    assert larger_input(config, survey, gpu=False) == []


def test_what_no_enlargement_brings_there_is_not_enlarged_for_ever():
    survey = survey_of(768, [2])
    config = chosen(survey)
    for setting in larger_input(config, survey, gpu=False):
        apply_setting(config, setting)
    assert config.IMAGE_MIN_SCALE == 4
    assert larger_input(config, survey, gpu=False) == []


def test_the_plan_tells_sizes_in_the_network(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(plans, "has_gpu", lambda: False)
    monkeypatch.chdir(tmp_path)
    content = {}
    for name in ("a.png", "b.png"):
        Image.fromarray(np.full((768, 768, 3), 90, np.uint8)).save(tmp_path / name)
        regions = [
            {
                "shape_attributes": {"name": "rect", "x": x, "y": x, "width": 11, "height": 11},
                "region_attributes": {"class": "cell"},
            }
            for x in range(0, 700, 20)
        ]
        content[name] = {"filename": name, "size": 1, "regions": regions, "file_attributes": {}}
    (tmp_path / "via.json").write_text(json.dumps(content))
    argv = ["train", ".", "--weights", "none", "--dry-run"]
    assert main(argv) == 0
    shown = capsys.readouterr().out
    assert "12 pixels (median) in the pictures, 24 in the network" in shown
    assert "mostly rim" not in shown
    settings = ["--set", "IMAGE_RESIZE_MODE=square", "--set", "IMAGE_MAX_DIM=512"]
    assert main([*argv, *settings]) == 0
    shown = capsys.readouterr().out
    assert "8 in the network; 100% are below 16 there, of which masks are mostly rim" in shown
    line = next(line for line in shown.splitlines() if "mostly rim" in line)
    assert "--set IMAGE_RESIZE_MODE=crop --set IMAGE_MIN_SCALE=1.5" in line
