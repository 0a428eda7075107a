"""Exported files: proven when they are written, run without TensorFlow, refused in a sentence."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.io
from small_network import blobs, reconfigured

from mrcnn.cli import main
from mrcnn.config import Config
from mrcnn.detect import card
from mrcnn.detect.card import Card, card_path, format_of, inspect, read_card
from mrcnn.detect.engines import kept_export
from mrcnn.detect.exported import Exported, Found, least_confidence
from mrcnn.errors import UsageError
from mrcnn.export import proof
from mrcnn.export.export import ProofFailed, export, sized

ROOT = Path(__file__).parents[2]
NEEDED = {
    "saved_model": (),
    "openvino": ("openvino",),
    "onnx": ("tf2onnx", "onnxruntime"),
    "tflite": ("ai_edge_litert",),
}


@pytest.fixture(scope="module")
def model(small_model):
    """The small network; of 60 pixels' pictures it makes 64x64."""
    model = reconfigured(small_model, IMAGE_MIN_DIM=40, IMAGE_MAX_DIM=64)
    model.class_names = ["BG", "round", "square"]
    return model


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Paths of three pictures of several sizes."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / f"{i}.png" for i in range(3)]
    for path, size in zip(paths, [(64, 64), (50, 33), (90, 120)]):
        skimage.io.imsave(path, blobs(*size, seed=size[0]), check_contrast=False)
    return paths


@pytest.fixture(scope="module")
def exported(model, pictures, tmp_path_factory):
    """f(format) -> the path of the network in it, written once."""
    written = {}

    def path(to):
        for package in NEEDED[to]:
            pytest.importorskip(package)
        if to not in written:
            out = tmp_path_factory.mktemp(to)
            written[to] = export(model, to, out, check=pictures, say=lambda text: None)
        return written[to]

    return path


@pytest.mark.parametrize("to", ["saved_model", "onnx", "openvino", "tflite"])
def test_a_file_finds_what_the_network_finds(exported, model, to):
    path = exported(to)
    told = json.loads(card_path(path).read_text())
    assert told["class_names"] == ["BG", "round", "square"]
    assert told["proof"]["pictures"] == 3 and told["proof"]["matched"] > 20
    assert told["proof"]["missing"] == told["proof"]["extra"] == 0
    runner, picture = Exported(path), blobs(80, 50, seed=3)
    wanted, found = model.detect([picture])[0], runner.detect([picture])[0]
    assert len(wanted) > 3 and found.class_names == model.class_names
    np.testing.assert_array_equal(found.class_ids, wanted.class_ids)
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-4)
    np.testing.assert_allclose(found.boxes, wanted.boxes, atol=1)  # at a half they may be rounded
    assert (found.masks != wanted.masks).mean() < 1e-2


def test_a_litert_file_takes_pictures_of_any_size(model, pictures, tmp_path):
    pytest.importorskip("ai_edge_litert")
    padded = reconfigured(model, IMAGE_RESIZE_MODE="pad64", IMAGE_MIN_DIM=None)
    path = export(padded, "tflite", tmp_path, check=pictures, say=lambda text: None)
    assert read_card(path).size is None
    assert json.loads(card_path(path).read_text())["proof"]["matched"] > 20


def test_a_file_runs_where_there_is_no_tensorflow(exported, tmp_path):
    path = exported("onnx")
    np.save(tmp_path / "picture.npy", blobs(64, 64))
    code = (
        "import sys; sys.modules['tensorflow'] = sys.modules['keras'] = None\n"
        "import numpy, mrcnn.cli\n"
        "from mrcnn.detect.exported import Exported\n"
        "found = Exported(sys.argv[1]).detect([numpy.load(sys.argv[2])])[0]\n"
        "print(len(found))"
    )
    command = [sys.executable, "-c", code, str(path), str(tmp_path / "picture.npy")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(result.stdout) > 3


def test_the_client_of_the_docs_finds_the_same(exported, pictures, tmp_path):
    path = exported("onnx")
    page = (ROOT / "docs" / "ship-it.md").read_text("utf-8")
    blocks = re.findall(r"^```py\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    (client,) = (block for block in blocks if "import onnxruntime" in block)
    assert "mrcnn" not in client and "tensorflow" not in client
    (tmp_path / "client.py").write_text(client)
    command = [sys.executable, "client.py", str(path), str(pictures[2])]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    found = Exported(path).detect([skimage.io.imread(pictures[2])])[0]
    lines = [line.rsplit(maxsplit=6) for line in result.stdout.splitlines()]
    assert [line[0] for line in lines] == [found.class_names[i] for i in found.class_ids]
    np.testing.assert_allclose([float(line[1]) for line in lines], found.scores, atol=1e-4)
    np.testing.assert_array_equal([[int(x) for x in line[2:6]] for line in lines], found.boxes)
    areas = np.array([int(line[6]) for line in lines])
    assert np.abs(areas - found.masks.sum(axis=(0, 1))).max() <= 2


def test_a_confidence_and_a_limit_are_set_when_it_runs(exported):
    path, picture = exported("saved_model"), blobs(64, 64)
    everything = Exported(path).detect([picture])[0]
    config = read_card(path).config()
    config.DETECTION_MIN_CONFIDENCE = float(np.median(everything.scores))
    half = Exported(path, config).detect([picture])[0]
    assert 0 < len(half) < len(everything)
    config.DETECTION_MAX_INSTANCES = 2
    assert len(Exported(path, config).detect([picture])[0]) == 2
    config.DETECTION_MAX_INSTANCES = 1000
    with pytest.raises(UsageError, match="20 instances of a picture at most"):
        Exported(path, config)
    config = read_card(path).config()
    config.IMAGE_MAX_DIM = 128
    with pytest.raises(UsageError, match="exported with IMAGE_MAX_DIM = 64, and 128"):
        Exported(path, config)


def test_a_saved_model_needs_nothing_of_this_package(exported, pictures):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(exported("saved_model")))
    picture = loaded.signatures["serving_default"](picture=tf.constant(blobs(90, 120, 90)[None]))
    encoded = tf.constant([pictures[2].read_bytes()])
    of_bytes = loaded.signatures["image_bytes"](image_bytes=encoded)
    assert int(picture["count"][0]) > 3
    np.testing.assert_array_equal(of_bytes["boxes"], picture["boxes"])
    named = [name for name in sys.modules if name.startswith("mrcnn.")]
    assert named  # they are there in this process; the file itself holds operations alone


def test_detect_takes_a_file_as_weights(exported, pictures, tmp_path, capsys):
    path, out = exported("saved_model"), tmp_path / "out"
    argv = ["detect", str(pictures[0]), "--weights", str(path), "--out", str(out)]
    assert main([*argv, "--no-pictures", "--min-confidence", "0.2"]) == 0
    told = capsys.readouterr().out
    assert "Runtime: TensorFlow, SavedModel" in told
    assert "round" in told or "square" in told
    assert json.loads((out / "results.json").read_text())
    assert main([*argv, "--set", "IMAGE_MAX_DIM=128"]) == 2
    assert "was exported with IMAGE_MAX_DIM = 64" in capsys.readouterr().err
    assert main([*argv, "--engine", "onnx"]) == 2
    assert "leave --engine out" in capsys.readouterr().err
    assert main(["export", str(path), "--to", "onnx"]) == 2
    assert "is exported already" in capsys.readouterr().err


def test_other_commands_say_what_a_file_is(exported, tmp_path, capsys):
    path = str(exported("saved_model"))
    assert main(["inspect", path]) == 0
    told = capsys.readouterr().out
    assert "exported, saved_model" in told and "round, square" in told and "3 pictures" in told
    argv = ["evaluate", str(tmp_path), "--weights", path, "--save-thresholds"]
    assert main(argv) == 2
    assert f"{path} is exported: choose them with the weights" in capsys.readouterr().err
    assert main(["train", str(tmp_path), "--weights", path, "--logs", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_file_is_hashed_once(exported):
    path = exported("saved_model")
    read_card(path)
    before = card._sha256.cache_info().misses
    Exported(path)
    assert card._sha256.cache_info().misses == before


def test_an_engine_exports_once(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", sys)  # whether it is there doesn't matter
    monkeypatch.setenv("MRCNN_HOME", str(tmp_path))
    (tmp_path / "cells.h5").write_bytes(b"weights")
    made = []

    def convert():
        def write(to, folder):
            folder.mkdir(parents=True)
            made.append(folder / f"cells.{to}")
            made[-1].write_bytes(b"")
            return made[-1]

        return write

    config = type("OfCells", (Config,), {"NUM_CLASSES": 2})()

    def kept():
        return kept_export(tmp_path / "cells.h5", config, "onnx", convert, lambda text: None)

    first = kept()
    config.DETECTION_MIN_CONFIDENCE = 0.1  # is asked for when it runs
    assert kept() == first and len(made) == 1
    config.RPN_NMS_THRESHOLD = 0.5
    assert kept() != first and len(made) == 2
    (tmp_path / "cells.h5").write_bytes(b"other weights")
    kept()
    assert len(made) == 3


# -- What goes wrong ------------------------------------------------------------------------


def test_a_file_that_finds_other_things_is_not_kept(model, pictures, tmp_path, monkeypatch):
    find = Exported.find

    def half_a_pixel_more(self, picture):
        found = find(self, picture)
        return found._replace(boxes=found.boxes + 0.6)

    monkeypatch.setattr(Exported, "find", half_a_pixel_more)
    with pytest.raises(ProofFailed, match="other things than the Keras model in 1 picture of 1"):
        export(model, "saved_model", tmp_path, check=pictures[:1], say=lambda text: None)
    assert list(tmp_path.iterdir()) == []


def test_wrong_files_are_told_in_a_sentence(exported, tmp_path):
    with pytest.raises(UsageError, match="there is no exported file"):
        read_card(tmp_path / "cells.onnx")
    (tmp_path / "cells.onnx").write_bytes(b"some bytes")
    with pytest.raises(UsageError, match=r"has no card: cells.onnx.json must lie beside it"):
        read_card(tmp_path / "cells.onnx")
    (tmp_path / "cells.onnx.json").write_text('{"format": "onnx"}')
    with pytest.raises(UsageError, match="is no card of mrcnn export"):
        read_card(tmp_path / "cells.onnx")
    path = exported("saved_model")
    shutil.copy(card_path(path), tmp_path / "cells.onnx.json")
    with pytest.raises(UsageError, match="is the card of another file"):
        read_card(tmp_path / "cells.onnx")
    with pytest.raises(UsageError, match="is no exported network"):
        read_card(tmp_path)
    assert inspect(path).class_names == ["BG", "round", "square"]


def test_a_missing_runtime_is_named_with_its_extra(exported, tmp_path, monkeypatch):
    path = exported("saved_model")
    told = json.loads(card_path(path).read_text())
    from mrcnn.detect.card import sha256

    other = tmp_path / "cells.onnx"
    other.write_bytes(b"some bytes")
    told |= {"format": "onnx", "file": {"sha256": sha256([other])}}
    card_path(other).write_text(json.dumps(told))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError, match=r"needs the package onnxruntime .*\.\[onnx\]"):
        Exported(other)


def test_a_picture_of_another_size_than_the_file_takes():
    config = type("Padded", (Config,), {"IMAGE_RESIZE_MODE": "pad64", "IMAGE_MIN_DIM": 0})()
    file = object.__new__(Exported)
    file.card = Card(Path("cells.xml"), {"size": [64, 128]})
    file.config = config
    file._check_sizes([blobs(64, 128), blobs(50, 100)])
    with pytest.raises(ValueError, match="picture 2 of 2 enters the network as 128x128, and cells"):
        file._check_sizes([blobs(64, 128), blobs(100, 100)])


def test_sizes_that_cannot_be(model):
    with pytest.raises(UsageError, match="must be divisible by 64"):
        sized(model.config, 100)
    with pytest.raises(UsageError, match="IMAGE_RESIZE_MODE is square"):
        sized(model.config, (64, 128))
    config, size = sized(model.config, 128)
    assert (config.IMAGE_MAX_DIM, size) == (128, (128, 128)) and model.config.IMAGE_MAX_DIM == 64
    with pytest.raises(UsageError, match="there is no format 'torch'"):
        export(model, "torch")
    assert format_of("a/cells.h5") is None


# -- The comparison -------------------------------------------------------------------------


def found(boxes, scores, ids=None, masks=None):
    boxes = np.array(boxes, float).reshape(-1, 4)
    ids = np.ones(len(boxes), np.int32) if ids is None else np.array(ids, np.int32)
    masks = np.ones((len(boxes), 4, 4), np.float32) if masks is None else masks
    return Found(boxes, ids, np.array(scores, np.float32), masks)


def test_instances_are_paired_and_measured():
    keras = found([[0, 0, 20, 20], [0, 0, 20, 20], [50, 50, 80, 80]], [0.9, 0.8, 0.7])
    same = found([[0, 0, 20, 20.2], [50, 50, 80, 80], [0, 0, 20, 20]], [0.8, 0.7, 0.9])
    row = proof.compare("a", (99, 99), keras, same, 0.5)
    assert (row.matched, row.missing, row.extra, row.holds) == (3, 0, 0, True)
    assert row.box == pytest.approx(0.2) and row.score == 0 and row.mask == 1
    other = found([[0, 0, 20, 20], [50, 50, 80, 80]], [0.9, 0.69], ids=[2, 1])
    row = proof.compare("a", (99, 99), keras, other, 0.5)
    assert (row.matched, row.missing, row.extra, row.holds) == (1, 2, 1, False)


def test_an_instance_at_the_threshold_may_fall_on_either_side():
    keras, file = found([[0, 0, 9, 9]], [0.70001]), found([], [])
    row = proof.compare("a", (99, 99), keras, file, 0.7)
    assert (row.missing, row.at_threshold, row.holds) == (0, 1, True)
    assert not proof.compare("a", (99, 99), keras, file, 0.5).holds


def test_masks_are_compared_in_the_same_box():
    masks = np.zeros((1, 4, 4), np.float32)
    masks[:, :2] = 1
    keras = found([[0, 0, 40, 40]], [0.9], masks=masks)
    row = proof.compare("a", (99, 99), keras, found([[0, 0, 40, 40]], [0.9]), 0.5)
    assert row.mask == pytest.approx(0.5, abs=0.05) and not row.holds


def test_each_class_may_have_a_confidence_of_its_own():
    config = type("OfClasses", (Config,), {"NUM_CLASSES": 3})()
    np.testing.assert_allclose(least_confidence(config), [0.7, 0.7, 0.7])
    config.DETECTION_CLASS_CONFIDENCE = [0, 0.4, 0.9]
    np.testing.assert_allclose(least_confidence(config), [0.4, 0.4, 0.9])
