"""Every command of README.md and docs/ is run, or checked as far as it can be without a download.

A page's commands run one after the other in one folder. Networks are made small and trainings
short from here; the command lines stay as they are printed.
"""

import re
from dataclasses import replace

import pytest
from pages import PAGES, ROOT, commands, name, words

from mrcnn.cli import detect as detect_command
from mrcnn.cli import main
from mrcnn.cli import train as train_command
from mrcnn.cli.commands import build_parser
from mrcnn.train import plan as plans

# What becomes of a command; one that no expression matches fails. The first match counts.
TABLE = {
    r"mrcnn inspect --env": "parse",  # tests/test_environment.py runs it
    r"mrcnn .*--weights (coco|imagenet)\b.*": "parse",  # a download
    # tests/export runs these with a network that is written in seconds.
    r"mrcnn export .*": "parse",
    r"mrcnn .*--(weights exported/\S+|engine \w+)": "parse",
    r"mrcnn serve .*": "parse",  # tests/serve/ runs it
    r"([A-Z_]+=\S+ )+mrcnn serve .*": "known",
    r"curl .*/v1/detect.*": "known",
    r"mrcnn .*--devices .*": "parse",  # tests/training/test_spread.py trains like this
    r"mrcnn detect (\d|rtsp:\S+) .*": "parse",  # cameras; tests/detect/test_films.py has one
    # tests/jobs runs their like: a cluster, a storage, lists.
    r"mrcnn .*(--runner ray|s3:|list\.txt|\w\.parquet).*": "parse",
    r"python benchmarks/accuracy\.py.*": "known",  # takes hours
    r"python benchmarks/scale_model\.py.*": "known",  # tests/test_benchmarks.py runs it
    r"RAY_ADDRESS=\S+ mrcnn .*": "known",
    r"mrcnn .*": "run",
    r"python3 -m venv \.venv": "known",
    r"\. \.venv/bin/activate": "known",
    r'pip install (-e )?"?\.(\[(test|cuda|jobs|notebooks|ray|video)\])?"?': "known",
    r"jupyter lab samples/\w+\.ipynb": "known",
    r'pytest( -n auto)? -m ("not slow"|quick)': "known",
    r"python samples/run_notebooks\.py \S+": "script",
    r"ruff (format|check) mrcnn samples tests benchmarks legacy": "known",
}
# Files that a page says its commands leave.
LEFT = {
    "README.md": ["out/results.json", "out/images.json", "out/w6.png", "sheet.png"],
    "train-your-own.md": [
        "evaluation/report.html",
        "found/via.json",
        "both/train/coco.json",
        "both/val/coco.json",
    ]
    + ["logs/cells2*/curves.png", "logs/cells2*/mask_rcnn_cells_0002.h5"],
    "measurements.md": [
        *("measured/measurements.csv", "outlines/geojson/w6.geojson", "layers/*/*.geojson"),
        *("outlines/label_images/w6.tif", "outlines/rois/w6.zip", "deep/results.json"),
    ],
    "formats.md": ["out/train/coco.json", "out/val/via.json", "evaluation/metrics.json"],
}
WITH_COMMANDS = [page for page in PAGES if commands(page)]


def treatment(command: str) -> str | None:
    return next((how for known, how in TABLE.items() if re.fullmatch(known, command)), None)


@pytest.fixture(scope="session")
def network(tmp_path_factory):
    """The bundled weights in a network that all commands share, since building it takes seconds."""
    from mrcnn.detect.configs import config_from_weights
    from mrcnn.model import MaskRCNN
    from mrcnn.weights.download import weights_path
    from mrcnn.weights.inspection import inspect_weights

    path = weights_path("nucleus")
    config = config_from_weights(inspect_weights(path))
    config.IMAGE_MIN_SCALE = 1  # the pictures as large as they are: four times as fast
    model = MaskRCNN("inference", config, str(tmp_path_factory.mktemp("logs")))
    model.load_weights(path)
    return lambda picture: model.detect([picture])[0]


@pytest.fixture
def short(monkeypatch, network, eager):
    """Detection by the shared network; trainings of one step on pictures of 64 pixels."""
    monkeypatch.setattr(detect_command, "load_detector", lambda *_: network)
    monkeypatch.setattr("mrcnn.cli.evaluate.load_detector", lambda *_: network)
    monkeypatch.setattr("mrcnn.cli.detect_job.load_detector", lambda *_: network)
    monkeypatch.setattr(plans, "has_gpu", lambda: False)

    def make_short_plan(wishes):
        plan = plans.make_plan(wishes)
        settings = {"IMAGE_RESIZE_MODE": "square", "IMAGE_MIN_DIM": 64, "IMAGE_MAX_DIM": 64}
        settings |= {"STEPS_PER_EPOCH": 1, "VALIDATION_STEPS": 1, "IMAGES_PER_GPU": 1}
        settings |= {"POST_NMS_ROIS_TRAINING": 50, "TRAIN_ROIS_PER_IMAGE": 10}
        for setting, value in settings.items():
            setattr(plan.config, setting, value)
        return replace(plan, epochs=2 if plan.start.resume else 1)

    monkeypatch.setattr(train_command, "make_plan", make_short_plan)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_table_knows_every_command(page):
    assert [command for command in commands(page) if not treatment(command)] == []


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name)
def test_commands(page, place, short, capsys):
    for command in commands(page):
        how, argv = treatment(command), words(command)[1:]
        if how == "parse":
            build_parser().parse_args(argv)
        elif how == "run":
            code = main(argv)
            captured = capsys.readouterr()
            assert code == 0, f"{command}\n{captured.out}{captured.err}"
        elif how == "script":
            script, *files = argv
            assert (ROOT / script).is_file() and all((ROOT / file).is_file() for file in files)
    for pattern in LEFT.get(page.name, []):
        assert list(place.glob(pattern)), f"the page's commands left no {pattern}"


def test_the_ci_finds_its_two_commands():
    text = (ROOT / "README.md").read_text("utf-8")
    marked = re.findall(r"<!-- command: (\w+) -->\n```bash\n(.+)\n```\n", text)
    assert [name for name, _ in marked] == ["main", "tests"]


def test_options_exist():
    parser = build_parser()
    shown = "".join(_help(parser))
    for page in PAGES:
        text = page.read_text("utf-8")
        for option in set(re.findall(r"`(--[a-z][a-z-]+)", text)):
            assert re.search(rf"{option}\b", shown), f"{page.name}: {option}"


def _help(parser):
    yield parser.format_help()
    for action in parser._actions:
        for inner in (action.choices or {}).values() if isinstance(action.choices, dict) else ():
            yield from _help(inner)
