"""Weight files of real models: what is written, and what is said when file and config differ."""

import itertools
import json
import warnings

import h5py
import numpy as np
import pytest
from golden_network import GOLDEN
from small_network import fill, small_config

from mrcnn.config import Config
from mrcnn.model import MaskRCNN
from mrcnn.weights.errors import WeightsError, WeightsWarning

LAYOUTS = json.loads((GOLDEN / "manifests.json").read_text())


def config_of(name):
    """("resnet50", "c4", "inference") of "resnet50_c4_inference" -> (mode, config)."""
    backbone, classes, mode = name.split("_")
    settings = {"NAME": "golden", "BACKBONE": backbone, "NUM_CLASSES": int(classes[1:])}
    return mode, type("OriginalConfig", (Config,), settings)()


@pytest.mark.parametrize("name", LAYOUTS)
def test_saved_file_is_laid_out_as_the_original_s(name, tmp_path):
    """Every group with weights, every tensor's name and shape, all in the original's order."""
    mode, config = config_of(name)
    MaskRCNN(mode, config, str(tmp_path)).save_weights(tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5") as file:
        layers = [layer.decode() for layer in file.attrs["layer_names"]]
        saved = [
            [
                layer,
                [
                    [w.decode(), list(file[layer][w].shape)]
                    for w in file[layer].attrs["weight_names"]
                ],
            ]
            for layer in layers
        ]
        assert {file[layer][w[0]].dtype for layer, weights in saved for w in weights} == {
            np.dtype("float32")
        }
    theirs = [group for group in LAYOUTS[name] if group[1]]
    assert [group for group in saved if group[1]] == theirs


def test_round_trip_keeps_every_bit(tmp_path):
    config = small_config(BACKBONE="resnet50", NUM_CLASSES=4)
    training = MaskRCNN("training", config, str(tmp_path))
    fill(training.keras_model)
    training.save_weights(tmp_path / "x.h5")
    inference = MaskRCNN("inference", config, str(tmp_path))
    report = inference.load_weights(tmp_path / "x.h5")
    assert not report.missing and not report.unused and not report.mismatched

    def tensors(model):
        layers = [part for x in model.keras_model.layers for part in getattr(x, "layers", [x])]
        return {(x.name, w.name): w.numpy() for x in layers for w in x.weights}

    ours, theirs = tensors(training), tensors(inference)
    assert len(theirs) == 384 == len(report.loaded)
    for key, value in theirs.items():
        np.testing.assert_array_equal(value, ours[key], err_msg=str(key))


# -- Weights meet configs -------------------------------------------------------------------

BUILDS = list(itertools.product(["resnet50", "resnet101"], [4, 81], [256, 128]))


def outcome(model, path, **options):
    """ "loaded", "warned: <text>" or "refused: <text>"; a model that was refused is unchanged."""
    before = [w.numpy() for w in model.keras_model.weights]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model.load_weights(path, **options)
        except WeightsError as error:
            for weight, value in zip(model.keras_model.weights, before):
                np.testing.assert_array_equal(weight, value)
            return f"refused: {error}"
    texts = [str(w.message) for w in caught if issubclass(w.category, WeightsWarning)]
    return f"warned: {' '.join(texts)}" if texts else "loaded"


def check_outcome(result, file, model):
    """Same build: loaded. Else the differing hyper-parameter stands in what is said."""
    if file == model:
        assert result == "loaded"
        return
    assert result != "loaded", f"file {file} went into model {model} without a word"
    (depth, classes, pyramid), (own_depth, own_classes, own_pyramid) = file, model
    if pyramid != own_pyramid:
        assert f"TOP_DOWN_PYRAMID_SIZE: file {pyramid}, model {own_pyramid}." in result
    if classes != own_classes:
        assert f"NUM_CLASSES: file {classes}, model {own_classes}." in result
    if depth != own_depth:
        assert "BACKBONE" in result
    shapes_differ = (classes, pyramid) != (own_classes, own_pyramid)
    assert result.startswith("refused" if shapes_differ else "warned")


def build(backbone, classes, pyramid, folder, width=16):
    config = small_config(
        BACKBONE=backbone,
        NUM_CLASSES=classes,
        TOP_DOWN_PYRAMID_SIZE=pyramid,
        FPN_CLASSIF_FC_LAYERS_SIZE=width,
    )
    return MaskRCNN("inference", config, str(folder))


# Each hyper-parameter differs between some two of these; all eight are for the slow test.
FEW = [("resnet50", 4, 128), ("resnet101", 4, 128), ("resnet50", 81, 256)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """{build: path} of a weight file of each of FEW."""
    folder = tmp_path_factory.mktemp("files")
    paths = {key: folder / f"{'_'.join(map(str, key))}.h5" for key in FEW}
    for key, path in paths.items():
        build(*key, folder).save_weights(path)
    yield paths
    for path in paths.values():
        path.unlink()


@pytest.mark.parametrize("key", FEW, ids=str)
def test_no_file_goes_into_another_model_silently(files, key, tmp_path):
    model = build(*key, tmp_path)
    for other, path in files.items():
        check_outcome(outcome(model, path, by_name=True), other, key)


def test_without_by_name_a_shallower_file_is_refused(files, tmp_path):
    model = build("resnet101", 4, 128, tmp_path)
    result = outcome(model, files["resnet50", 4, 128])
    assert result.startswith("refused") and "by_name=True" in result


def test_own_classes_from_a_file_of_81(files, tmp_path):
    """The usual start of a training: leave out the four layers that depend on the classes."""
    heads = ["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask"]
    model = build("resnet50", 4, 256, tmp_path)
    report = model.load_weights(files["resnet50", 81, 256], by_name=True, exclude=heads)
    assert len(report.excluded) == 6 and len(report.loaded) == 384 - 6
    refused = outcome(model, files["resnet50", 81, 256], by_name=True)
    assert all(f'"{name}"' in refused for name in heads if name != "mrcnn_bbox")


@pytest.mark.slow
@pytest.mark.parametrize("other", BUILDS, ids=str)
def test_all_64_pairs(other, tmp_path):
    """With heads of the full 1024 units: files of up to 257 MB."""
    build(*other, tmp_path, width=1024).save_weights(tmp_path / "x.h5")
    for key in BUILDS:
        model = build(*key, tmp_path, width=1024)
        check_outcome(outcome(model, tmp_path / "x.h5", by_name=True), other, key)
    (tmp_path / "x.h5").unlink()
