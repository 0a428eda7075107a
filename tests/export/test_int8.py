"""Eight bits: which operations get them, and a file that is measured before it is kept."""

import json

import numpy as np
import pytest
import skimage.io
from small_network import blobs, reconfigured

from mrcnn.detect.card import card_path
from mrcnn.detect.exported import Exported
from mrcnn.errors import UsageError
from mrcnn.export import int8


@pytest.fixture
def ov():
    pytest.importorskip("nncf")
    return pytest.importorskip("openvino")


def test_the_last_layer_and_what_follows_it_stay_in_float(ov):
    op = pytest.importorskip("openvino.opset13")

    def layer(x, name):
        kernel = op.constant(np.ones((4, 4, 1, 1), np.float32))
        x = op.convolution(x, kernel, [1, 1], [0, 0], [0, 0], [1, 1], name=name)
        bias = op.constant(np.ones((1, 4, 1, 1), np.float32))
        return op.relu(op.add(x, bias, name=f"{name}_bias"), name=f"{name}_relu")

    picture = op.parameter([1, 4, 8, 8], np.float32)
    first = layer(picture, "first")
    second = op.add(layer(first, "second"), first, name="residual")
    deltas = op.reshape(layer(second, "last"), op.constant([4, 64]), False)
    parts = op.split(deltas, op.constant(0), 4).outputs()
    size = op.multiply(op.exp(parts[0], name="exp"), parts[1], name="arithmetic")
    model = ov.Model([op.result(size)], [picture])
    assert sorted(int8.kept_in_float(model)) == ["arithmetic", "exp", "last"]


def test_a_file_of_eight_bits_is_measured_and_kept(ov, small_model, tmp_path, capsys):
    model = reconfigured(small_model, IMAGE_MIN_DIM=64, IMAGE_MAX_DIM=64)
    model.class_names = ["BG", "round", "square"]
    write_labelled(tmp_path / "set", 6)
    said = []
    from mrcnn.export.export import export

    picture = tmp_path / "picture.png"
    skimage.io.imsave(picture, blobs(64, 64, seed=3), check_contrast=False)
    path = export(
        model, "openvino", tmp_path / "out", None, [picture], say=said.append, int8=tmp_path / "set"
    )
    assert path.name == "small_int8.xml" and "mask AP" in "\n".join(said)
    names = sorted(file.name for file in path.parent.iterdir())
    assert names == ["small_int8.bin", "small_int8.xml", "small_int8.xml.json"]
    told = json.loads(card_path(path).read_text())["int8"]
    assert told["after"]["bytes"] < 0.6 * told["before"]["bytes"]
    assert {"AP", "box_AP", "seconds", "bytes"} == told["after"].keys() == told["before"].keys()
    assert len(Exported(path).detect([blobs(64, 64)])[0]) > 3

    assert int8.LOSS < 1
    worse = {"AP": -1.0, "box_AP": 0.0}
    better = {"AP": 0.5, "box_AP": 0.5}
    with pytest.MonkeyPatch.context() as patch, pytest.raises(int8.ProofFailed, match="0.500 to"):
        answers = iter([better, worse])
        patch.setattr(int8, "measured", lambda *_: dict(next(answers)))
        export(model, "openvino", tmp_path / "no", None, [picture], say=len, int8=tmp_path / "set")
    assert list((tmp_path / "no").iterdir()) == []


def test_what_eight_bits_are_for(ov, tmp_path):
    with pytest.raises(UsageError, match="--int8 is for --to openvino"):
        int8.labelled(tmp_path, "onnx", ["BG", "cell"])


def write_labelled(folder, pictures):
    """A set in COCO's format, all in one part."""
    (folder / "images").mkdir(parents=True)
    images, rows = [], []
    for i in range(1, pictures + 1):
        skimage.io.imsave(folder / "images" / f"{i}.png", blobs(64, 64, i), check_contrast=False)
        images.append({"id": i, "file_name": f"{i}.png", "height": 64, "width": 64})
        corners = [4, 4, 40, 4, 40, 40, 4, 40]
        row = {"id": i, "image_id": i, "category_id": 1 + i % 2, "segmentation": [corners]}
        rows.append({**row, "bbox": [4, 4, 36, 36], "area": 1296, "iscrowd": 0})
    categories = [{"id": 1, "name": "round"}, {"id": 2, "name": "square"}]
    told = {"images": images, "annotations": rows, "categories": categories}
    (folder / "labels.json").write_text(json.dumps(told))
