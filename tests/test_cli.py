"""The command line: what it writes, what it says, and how it ends."""

import io
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
from patience import PATIENCE
from PIL import Image
from pycocotools.coco import COCO

from mrcnn.cli import detect, main, synthetic
from mrcnn.cli.commands import build_parser
from mrcnn.cli.configs import apply_setting, load_config
from mrcnn.config import Config, hyper_parameter_names
from mrcnn.data.formats import open as open_data
from mrcnn.detect import overlays
from mrcnn.detect.configs import class_names, config_from_weights
from mrcnn.errors import UsageError
from mrcnn.weights import download
from mrcnn.weights.inspection import inspect_weights
from mrcnn.weights.writing import write_weights

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def home(tmp_path_factory) -> Path:
    """A folder for MRCNN_HOME that all tests share: the synthetic weights are written once."""
    return tmp_path_factory.mktemp("mrcnn_home")


@pytest.fixture(autouse=True)
def _environment(home, monkeypatch):
    monkeypatch.setenv("MRCNN_HOME", str(home))
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(scope="session")
def weights(home) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MRCNN_HOME", str(home))
        return str(synthetic.synthetic_weights())


@pytest.fixture
def photos(tmp_path) -> Path:
    """Two sound pictures, a broken one and a text."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 256, (8, 10, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((700, 420)).save(folder / "large.jpg")
    Image.fromarray(noise).resize((90, 60)).save(folder / "small.png")
    (folder / "broken.jpg").write_bytes((folder / "large.jpg").read_bytes()[:3000])
    (folder / "README.md").write_text("no picture")
    return folder


def _fake(picture: np.ndarray) -> dict:
    """One instance, as MaskRCNN.detect gives it, in the upper left quarter."""
    height, width = picture.shape[:2]
    masks = np.zeros((height, width, 1), bool)
    masks[: height // 2, : width // 2] = True
    return {
        "rois": np.array([[0, 0, height // 2, width // 2]], np.int32),
        "class_ids": np.array([1], np.int32),
        "scores": np.array([0.9], np.float32),
        "masks": masks,
    }


@pytest.fixture
def fake_detector(monkeypatch):
    monkeypatch.setattr(detect, "load_detector", lambda *_: _fake)


def _run(*argv) -> int:
    return main([str(word) for word in argv])


def _python(*argv, **environment) -> subprocess.CompletedProcess:
    variables = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(
        [sys.executable, *map(str, argv)],
        cwd=ROOT,
        env={**variables, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


# -- The whole way --------------------------------------------------------------------------


def test_detect_with_synthetic_weights_from_the_terminal(photos, tmp_path, weights):
    out = tmp_path / "out"
    done = _python("-m", "mrcnn", "detect", photos, "--weights", "synthetic", "--out", out)
    assert done.returncode == 1, done.stderr
    # One line for the broken picture, and not a word of TensorFlow's.
    assert done.stderr.startswith(f"failed: {photos / 'broken.jpg'} is damaged")
    assert done.stderr.count("\n") == 1
    assert done.stdout.count("never trained") == 2
    assert "large.jpg  700 x 420" in done.stdout and "1 failed" in done.stdout

    with Image.open(out / "large.jpg") as overlay, Image.open(photos / "large.jpg") as picture:
        assert overlay.size == picture.size
    truth = COCO(out / "images.json")
    found = truth.loadRes(str(out / "results.json"))
    assert "never trained" in truth.dataset["info"]["note"]
    assert all(c["name"].startswith("synthetic ") for c in truth.dataset["categories"])
    assert truth.dataset["failures"][0]["file_name"] == "broken.jpg"
    for image in truth.dataset["images"]:
        instances = found.loadAnns(found.getAnnIds(imgIds=[image["id"]]))
        assert 1 <= len(instances) == image["instances"] <= 8  # a handful, as promised
        for instance in instances:
            assert found.annToMask(instance).shape == (image["height"], image["width"])


def test_detect_with_a_file_makes_the_config_from_it(photos, tmp_path, weights, capsys):
    out = tmp_path / "out"
    small = ["IMAGE_MIN_DIM=64", "IMAGE_MAX_DIM=64", "POST_NMS_ROIS_INFERENCE=20"]
    settings = [word for setting in small for word in ("--set", setting)]
    argv = ["detect", photos / "small.png", "--weights", weights, "--out", out, "--no-pictures"]
    argv += ["--classes", "cell,nucleus,dust", "--min-confidence", "0", *settings]
    assert _run(*argv) == 0, capsys.readouterr().err
    images = json.loads((out / "images.json").read_text())
    assert images["info"]["weights"] == weights
    assert images["info"]["class_names"] == ["BG", "cell", "nucleus", "dust"]
    assert images["info"]["min_confidence"] == 0
    assert "note" not in images["info"]
    results = json.loads((out / "results.json").read_text())
    assert len(results) == images["images"][0]["instances"] > 0
    assert sorted(path.name for path in out.iterdir()) == ["images.json", "results.json"]


def test_what_can_be_checked_is_checked_without_tensorflow(photos, tmp_path, weights):
    code = """
import sys
from mrcnn.cli import main
photos, weights, out = sys.argv[1:]
cases = [
    (0, ["--help"]), (0, ["--version"]), (0, ["detect", "--help"]), (0, ["inspect", weights]),
    (2, ["inspect", photos]), (2, ["detect", "nowhere.jpg", "--weights", weights]),
    (2, ["detect", photos, "--weights", "nowhere.h5"]),
    (2, ["detect", photos, "--weights", weights, "--set", "NUM_CLASSES=7"]),
    (2, ["detect", photos, "--weights", weights, "--set", "IMAGE_MAX_DIM=100"]),
]
for code, argv in cases:
    assert main(argv) == code, argv
assert not {"tensorflow", "keras", "matplotlib"} & set(sys.modules)
"""
    done = _python("-c", code, photos, weights, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "mrcnn 3." in done.stdout and "backbone        resnet50" in done.stdout
    assert "Traceback" not in done.stderr


# -- What can't be done: one sentence, exit code 2 ------------------------------------------


@pytest.mark.parametrize(
    "argv, words",
    [
        (["{photos}/no.jpg"], "there is no file or folder"),
        (["{photos}/*.webp"], "no picture matches"),
        (["{photos}", "--weights", "{photos}/README.md"], "README.md"),
        (["{photos}", "--set", "IMAGE_MAX_DIMM=64"], "Did you mean IMAGE_MAX_DIM?"),
        (["{photos}", "--set", "NUM_CLASSES=81"], "NUM_CLASSES: file 4, config 81"),
        (["{photos}", "--set", "RPN_ANCHOR_RATIOS=[1]"], "file 3 values, config 1"),
        (["{photos}", "--set", "IMAGE_MAX_DIM=100"], "must be divisible by 64"),
        (["{photos}", "--min-confidence", "70"], "no number between 0 and 1"),
        (["{photos}", "--min-confidence", "high"], "no number between 0 and 1"),
        (["{photos}", "--classes", "a,b"], "--classes names 2 classes and the network has 3"),
        (["{photos}", "--config", "{photos}/no.py"], "there is no file"),
        (["{photos}", "--out", "{photos}/README.md"], "is a file"),
        (["{photos}", "--out", "{photos}"], "broken.jpg, one of the pictures"),
        (["{photos}", "--weights", "synthetic", "--config", "x.py"], "leave --config out"),
    ],
)
def test_errors_are_one_sentence(argv, words, photos, tmp_path, weights, capsys, fake_detector):
    argv = [word.format(photos=photos) for word in argv]
    more = [] if "--weights" in argv else ["--weights", weights]
    more += [] if "--out" in argv else ["--out", tmp_path / "out"]
    assert _run("detect", *argv, *more) == 2
    error = capsys.readouterr().err
    assert words in error and "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_debug_shows_where(photos, weights, capsys):
    assert _run("inspect", photos / "README.md") == 2
    assert "Traceback" not in capsys.readouterr().err
    assert _run("inspect", photos / "README.md", "--debug") == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
def test_a_reader_that_goes_away_is_no_traceback(weights):
    command = f"{sys.executable} -m mrcnn inspect {weights} | true"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"({command})"],
        cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.stderr == "" and done.returncode in (0, 2)  # 0: it had written before


def test_no_command_shows_the_commands(capsys):
    assert _run() == 2
    assert "detect" in capsys.readouterr().out
    assert _run("detekt") == 2
    assert "invalid choice" in capsys.readouterr().err


# -- Many pictures --------------------------------------------------------------------------


def _detect(photos, out, *more) -> int:
    return _run("detect", *photos, "--weights", "synthetic", "--out", out, *more)


def test_every_picture_gets_an_overlay_of_its_own(photos, tmp_path, fake_detector, capsys):
    (photos / "sub").mkdir()
    for name in ("large.bmp", "LARGE_2.png", "sub/large.png"):
        Image.new("RGB", (650, 40)).save(photos / name)
    (photos / "broken.jpg").unlink()
    out = tmp_path / "out"
    assert _detect([photos / "**"], out) == 0, capsys.readouterr().err
    images = json.loads((out / "images.json").read_text())["images"]
    overlays = {Path(image["path"]).relative_to(photos).as_posix(): image for image in images}
    assert {name: image["overlay"] for name, image in overlays.items()} == {
        "large.bmp": "large.png",
        "large.jpg": "large.jpg",
        "LARGE_2.png": "LARGE_2.png",
        "small.png": "small.png",
        "sub/large.png": "large_3.png",  # large_2 is another picture's own name
    }
    overlays = {path.name for path in out.iterdir() if path.suffix != ".json"}
    assert overlays == {image["overlay"] for image in images}
    with Image.open(out / "large.jpg") as overlay:
        assert overlay.size == (700, 420) and overlay.format == "JPEG"


def test_a_picture_that_the_network_refuses_does_not_stop_the_rest(
    photos, tmp_path, monkeypatch, capsys
):
    def picky(picture):
        if picture.shape[0] == 9:
            raise ValueError("picture 1 of 1 (9x9) holds nothing")
        if picture.shape[0] < 100:
            raise MemoryError
        return _fake(picture)

    monkeypatch.setattr(detect, "load_detector", lambda *_: picky)
    Image.fromarray(np.full((9, 9), 100, np.uint8)).save(photos / "nine.png")
    assert _detect([photos], tmp_path / "out") == 1
    said = capsys.readouterr()
    assert f"{photos / 'nine.png'}: the picture (9x9) holds nothing" in said.err
    assert f"{photos / 'small.png'}: MemoryError" in said.err
    assert "1 picture, 1 instance," in said.out and "3 failed" in said.out
    assert len(json.loads((tmp_path / "out" / "results.json").read_text())) == 1


def test_ctrl_c_writes_what_is_done(photos, tmp_path, monkeypatch, capsys):
    calls = []

    def interrupted(picture):
        calls.append(picture)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return _fake(picture)

    monkeypatch.setattr(detect, "load_detector", lambda *_: interrupted)
    out = tmp_path / "out"
    pictures = [photos / "large.jpg", photos / "small.png", photos / "broken.jpg"]
    assert _detect(pictures, out) == 130
    assert "interrupted after 1 of 3 pictures" in capsys.readouterr().err
    assert len(json.loads((out / "results.json").read_text())) == 1
    assert [i["file_name"] for i in json.loads((out / "images.json").read_text())["images"]] == [
        "large.jpg"
    ]


def test_a_full_disk_ends_the_run_with_a_sentence(photos, tmp_path, monkeypatch, capsys):
    def full(path, picture):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(detect, "load_detector", lambda *_: _fake)
    monkeypatch.setattr(overlays, "write_png", full)
    assert _detect([photos / "small.png", photos / "large.jpg"], tmp_path / "out") == 2
    assert "small.png: No space left on device." in capsys.readouterr().err


def test_the_bar_is_drawn_on_a_terminal_only(photos, tmp_path, monkeypatch, fake_detector):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, drawn in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        _detect([photos / "large.jpg", photos / "small.png"], tmp_path / "out")
        assert ("] 1 of 2  " in stream.getvalue()) is drawn
        assert ("pictures/s" in stream.getvalue()) is drawn
    assert stream.getvalue() == ""


# -- What people give -----------------------------------------------------------------------


@pytest.fixture
def server(photos):
    """The folder of pictures behind an http address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(photos)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_addresses_are_fetched_and_kept_beside_the_results(
    server, tmp_path, fake_detector, capsys, monkeypatch
):
    monkeypatch.setenv("no_proxy", "*")
    out = tmp_path / "out"
    addresses = [f"{server}/small.png", f"{server}/gone.jpg"]
    assert _detect(addresses, out, "--labels", "via") == 1
    said = capsys.readouterr()
    assert f"Fetching {addresses[0]}\n[1/2] {addresses[0]}  90 x 60  1 synthetic A" in said.out
    assert said.err == f"failed: {addresses[1]}: the server answers 404 File not found.\n"
    (image,) = json.loads((out / "images.json").read_text())["images"]
    assert image["address"] == addresses[0] and image["file_name"] == "small.png"
    assert Path(image["path"]) == out / "fetched" / "small.png" and Path(image["path"]).is_file()
    labelled = open_data(out / "via.json")
    assert [info["path"] for info in labelled.image_info] == [image["path"]]


def test_a_picture_on_standard_input(photos, tmp_path):
    code = """
import sys
from mrcnn.cli import detect, main
from test_cli import _fake
detect.load_detector = lambda *_: _fake
sys.exit(main(["detect", "-", "--weights", "nucleus", "--out", sys.argv[1]]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "out")],
        input=(photos / "small.png").read_bytes(),
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert b"[1/1] standard input  90 x 60  1 nucleus" in done.stdout
    assert (tmp_path / "out" / "stdin.png").is_file()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names themselves")
def test_names_that_the_terminal_cannot_show(photos, tmp_path):
    """細胞.png under cp1252, and bytes that are no UTF-8, ended the whole run."""
    for name in ("細胞.png", os.fsdecode(b"\xff.png")):
        os.link(photos / "small.png", photos / name)
    code = """
import sys
from mrcnn.cli import detect, main
from test_cli import _fake
detect.load_detector = lambda *_: _fake
sys.exit(main(["detect", *sys.argv[1:3], "--weights", "nucleus", "--out", sys.argv[3]]))
"""
    variables = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(
        [sys.executable, "-c", code, photos, photos / "no.png", tmp_path / "out"],
        env={**os.environ, **variables},
        capture_output=True,
    )
    assert done.returncode == 2 and b"there is no file or folder" in done.stderr
    (photos / "broken.jpg").unlink()
    done = subprocess.run(
        [sys.executable, "-c", code, photos, photos / "small.png", tmp_path / "out"],
        env={**os.environ, **variables},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert rb"\u7d30\u80de.png  90 x 60" in done.stdout and rb"\udcff.png" in done.stdout
    assert b"4 pictures, 4 instances" in done.stdout and done.stderr == b""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_a_pipe_is_not_waited_for(photos, tmp_path, fake_detector, capsys):
    os.mkfifo(photos / "pipe.png")
    assert _detect([photos / "pipe.png"], tmp_path / "out") == 2
    assert "pipe.png is a pipe, not a file" in capsys.readouterr().err
    assert _detect([photos], tmp_path / "out") == 1
    assert f"warning: passed over in {photos}" in capsys.readouterr().err


def test_videos_need_no_labels_and_their_package(
    photos, tmp_path, fake_detector, capsys, monkeypatch
):
    (photos / "film.MP4").touch()
    given = ["detect", photos / "film.MP4", "--weights", "synthetic", "--out", tmp_path / "out"]
    assert _run(*given, "--labels", "via") == 2
    assert "--labels via needs pictures, and" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)  # its import then fails
    assert _run(*given) == 2
    assert "film.MP4: Video needs the package imageio-ffmpeg" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# -- Names of weights -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, near",
    [
        ("nucleu", "nucleus"),
        ("Coco", "coco"),
        ("mask_rcnn_coco.h5", "coco"),
        ("coco.h5", "coco"),
        ("lastt", "last"),
        ("cels.h5", "cells.h5"),
        ("qqq", None),
    ],
)
@pytest.mark.parametrize("command", ["detect", "evaluate", "inspect", "train"])
def test_a_name_that_is_none_is_answered_with_the_near_one(
    command, name, near, photos, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cells.h5").touch()
    argv = [command, name] if command == "inspect" else [command, photos, "--weights", name]
    assert _run(*argv) == 2
    said = capsys.readouterr().err
    assert f"there is no weight file {name}, and no weights of that name. " in said
    assert "Names are " in said and "nucleus (nuclei of cells; comes with the package)" in said
    if near not in ("last", None) or command not in ("inspect",):
        assert (f"Did you mean {near}? " in said) is (near is not None)


def test_python_too_is_told_the_near_file(tmp_path):
    (tmp_path / "cells.h5").touch()
    with pytest.raises(FileNotFoundError, match=r"holds no cels\.h5\. Did you mean cells\.h5\?"):
        inspect_weights(tmp_path / "cels.h5")


@pytest.mark.parametrize("command", ["detect", "evaluate"])
def test_missing_weights_are_answered_with_the_names(command, photos, capsys):
    assert _run(command, photos) == 2
    said = capsys.readouterr().err
    assert f"mrcnn {command}: which weights? --weights is missing. Names are nucleus (" in said
    assert "usage" not in said


def test_a_download_without_a_connection_says_that_it_tries_and_how_long(
    photos, tmp_path, monkeypatch, capsys
):
    unreachable = replace(download.KNOWN_FILES["coco"], url="http://127.0.0.1:9/coco.h5")
    monkeypatch.setitem(download.KNOWN_FILES, "coco", unreachable)
    monkeypatch.setenv("MRCNN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "PAUSE", 0.001)
    assert _run("detect", photos, "--weights", "coco", "--out", tmp_path / "out") == 2
    first, _, how_long, *attempts, last = capsys.readouterr().err.splitlines()
    assert first == "Downloading http://127.0.0.1:9/coco.h5"
    assert how_long == "         in 5 attempts: without a connection that ends within 3 minutes"
    assert len(attempts) == 4 and all("no connection" in line for line in attempts)
    assert attempts[0].endswith("Trying again in 0 s, attempt 2 of 5.")
    assert last.startswith("mrcnn detect: can't fetch http://127.0.0.1:9/coco.h5: no connection")


# -- Thresholds and limits ------------------------------------------------------------------


def test_a_threshold_that_no_score_can_miss_is_told(
    photos, tmp_path, weights, fake_detector, capsys
):
    out, given = tmp_path / "out", ["detect", photos / "small.png", "--weights"]
    assert _run(*given, "nucleus", "--min-confidence", "0.3", "--out", out) == 0
    said = capsys.readouterr().out
    assert said.startswith("NOTE: a least confidence of 0.3 finds no more than 0.5 would: among 2")
    assert "DETECTION_EVERY_CLASS=True" in said
    for more in (
        ["--min-confidence", "0.5"],
        ["--min-confidence", "0.3", "--set", "DETECTION_EVERY_CLASS=True"],
    ):
        assert _run(*given, "nucleus", *more, "--out", out) == 0
        assert "finds no more than" not in capsys.readouterr().out
    assert "nothing is found below 0.5" in " ".join(build_parser_help("detect").split())


def build_parser_help(command: str) -> str:
    (commands,) = [a for a in build_parser()._actions if isinstance(a.choices, dict)]
    return commands.choices[command].format_help()


# -- Class names ----------------------------------------------------------------------------


def test_class_names(tmp_path):
    coco = class_names(None, 81)
    assert len(coco) == len(set(coco)) == 81
    # A sample of Matterport's demo list, whose order is that of the trained heads.
    order = {0: "BG", 1: "person", 10: "traffic light", 17: "dog", 34: "kite", 57: "chair"}
    assert {i: coco[i] for i in order} == order and coco[80] == "toothbrush"
    assert class_names(None, 2, "balloon") == ["BG", "balloon"]
    assert class_names(None, 3) == ["BG", "class 1", "class 2"]
    assert class_names("a, b", 3) == ["BG", "a", "b"]
    assert class_names("BG,a", 2) == ["BG", "a"]
    (tmp_path / "names.txt").write_text("background\nfire hydrant\n\n")
    assert class_names(str(tmp_path / "names.txt"), 2)[1] == "fire hydrant"


# -- Config ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "setting, value",
    [
        ("IMAGE_MAX_DIM=512", 512),
        ("DETECTION_MIN_CONFIDENCE = 0.5", 0.5),
        ("BACKBONE=resnet50", "resnet50"),
        ("RPN_ANCHOR_SCALES=[8, 16, 32, 64, 128]", (8, 16, 32, 64, 128)),
        ("IMAGE_MIN_DIM=None", None),
        ("USE_MINI_MASK=False", False),
        ("MIXED_PRECISION=True", True),
        ("MIXED_PRECISION=bfloat16", "bfloat16"),
        ("SEED=7", 7),
        ("SEED=None", None),
    ],
)
def test_set(setting, value):
    config = Config()
    apply_setting(config, setting)
    found = getattr(config, setting.split("=")[0].strip())
    assert found == value and type(found) is type(value)


# What else than a value like the default the checks of a Config let through.
_OTHERS = {
    "NAME": ["cells", "2026", "a b"],
    "SEED": [7],
    "WORKERS": [0, 4],
    "TRAIN_BN": [True, None],
    "IMAGE_MIN_DIM": [None],
    "IMAGE_MIN_SCALE": [None, 2.0],
    "GRADIENT_CLIP_NORM": [None, 0],
    "MEAN_PIXEL": [127, 0.5],
    "IMAGE_RANGE": ["type", (0, 4095)],
    "IMAGE_CHANNELS": [(2, 1, 0), [1]],
    "IMAGE_PLANE": [3],
    "MIXED_PRECISION": [True, "bfloat16"],
    "BACKBONE": ["resnet18_half"],
    "IMAGE_RESIZE_MODE": ["pad64", "none"],
    "LOSS_WEIGHTS": [{"mrcnn_mask_loss": 2}],
    "LEARNING_RATE_SCHEDULE": ["cosine"],
}


@pytest.mark.parametrize("name", hyper_parameter_names())
def test_every_attribute_takes_by_set_what_a_config_may_hold(name):
    if name == "COMPUTE_BACKBONE_SHAPE":
        return  # a function
    default = getattr(Config, name)
    default = default.tolist() if isinstance(default, np.ndarray) else default
    values = [default, *_OTHERS.get(name, [])]
    if isinstance(default, float):
        values.append(1)
    if isinstance(default, tuple | list):
        values += [list(default), tuple(default)]
    for value in values:
        config = Config()
        config.NUM_CLASSES = 2
        text = value if isinstance(value, str) else repr(value)
        assert apply_setting(config, f"{name}={text}") == name
        np.testing.assert_array_equal(getattr(config, name), value)
        if name != "NUM_CLASSES":
            config.validate("training")


def test_a_config_from_weights_leaves_out_what_belongs_to_the_training_and_its_machine(tmp_path):
    said = {"MIXED_PRECISION": True, "IMAGES_PER_GPU": 8, "IMAGE_RESIZE_MODE": "crop", "NAME": "x"}
    path = tmp_path / "cells.h5"
    tensors = [("mrcnn_class_logits/kernel:0", np.zeros((4, 3)))]
    write_weights(path, [("mrcnn_class_logits", tensors)], {"config": said})
    config = config_from_weights(inspect_weights(path))
    kept = config.NAME, config.NUM_CLASSES, config.IMAGES_PER_GPU, config.MIXED_PRECISION
    assert kept == ("x", 3, 1, False) and config.IMAGE_RESIZE_MODE == "pad64"


def test_set_makes_an_array_of_the_mean_pixel():
    config = Config()
    apply_setting(config, "MEAN_PIXEL=[1, 2, 3]")
    assert config.MEAN_PIXEL.dtype == np.float64
    np.testing.assert_array_equal(config.MEAN_PIXEL, [1, 2, 3])


@pytest.mark.parametrize(
    "setting, words",
    [
        ("IMAGE_MAX_DIM", "write NAME=VALUE"),
        ("image_max_dim=512", "Did you mean IMAGE_MAX_DIM?"),
        ("IMAGE_MAX_DIM=big", "is a number, not 'big'"),
        ("IMAGE_MAX_DIM=True", "is a number, not True"),
        ("RPN_ANCHOR_RATIOS=1", "is a list of numbers"),
        ("RPN_ANCHOR_RATIOS=['a']", "is a list of numbers"),
        ("USE_MINI_MASK=true", "is True or False"),
        ("BACKBONE=50", "is text, not 50"),
        ("BATCH_SIZE=2", "follows from IMAGES_PER_GPU and GPU_COUNT"),
        ("COMPUTE_BACKBONE_SHAPE=f", "is a function"),
    ],
)
def test_set_refuses(setting, words):
    with pytest.raises(UsageError, match=words.replace("?", r"\?")):
        apply_setting(Config(), setting)


def test_config_from_a_file(tmp_path, monkeypatch):
    (tmp_path / "beside.py").write_text("CLASSES = 3\n")
    file = tmp_path / "cells.py"
    file.write_text(
        "from beside import CLASSES\nfrom mrcnn.config import Config\n"
        "class CellsConfig(Config):\n    NAME = 'cells'\n    NUM_CLASSES = CLASSES\n"
    )
    before = list(sys.path)
    for spec in (f"{file}:CellsConfig", str(file)):
        config = load_config(spec)
        assert (config.NAME, config.NUM_CLASSES) == ("cells", 3)
    monkeypatch.syspath_prepend(tmp_path)
    assert load_config("cells:CellsConfig").NAME == "cells"
    assert sys.path[1:] == before
    with pytest.raises(UsageError, match=r"nothing named CellConfig\. Did you mean CellsConfig\?"):
        load_config(f"{file}:CellConfig")


@pytest.mark.parametrize(
    "text, words",
    [
        ("import no_such_module_anywhere", "ModuleNotFoundError"),
        ("class A: pass", "It defines none"),
        ("from mrcnn.config import Config\nclass A(Config): pass\nclass B(A): pass", "A, B"),
        ("raise SystemExit(1)", "SystemExit"),
        ("def broken(:", "SyntaxError"),
    ],
)
def test_config_file_errors(tmp_path, text, words):
    (tmp_path / "c.py").write_text(text)
    with pytest.raises(UsageError, match=words):
        load_config(str(tmp_path / "c.py"))


def test_config_module_errors():
    with pytest.raises(UsageError, match="there is no such file or module"):
        load_config("no_such_module_anywhere:X")
    with pytest.raises(UsageError, match="no subclass of mrcnn.config.Config"):
        load_config("json:JSONDecoder")
