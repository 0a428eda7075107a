"""Names, order and values against the original's files; and that none of it needs TensorFlow."""

import random
import subprocess
import sys
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from mrcnn.weights.errors import WeightsError
from mrcnn.weights.inspection import inspect_weights
from mrcnn.weights.layout import save_weights
from mrcnn.weights.names import matterport_layer, split_group
from mrcnn.weights.synthetic import digest, synthetic_arrays, write_synthetic
from mrcnn.weights.writing import write_weights

MODELS = (
    "resnet101_c81_inference",
    "resnet101_c81_training",
    "resnet50_c4_inference",
    "resnet50_c4_training",
    "resnet50_c81_inference",
)


def fake_model(layout: list) -> SimpleNamespace:
    """What save_weights asks of a model, with layers in the order of `layout`."""

    def layer(name: str, weights: list) -> SimpleNamespace:
        variables = [
            SimpleNamespace(
                name=weight.split("/")[1].split(":")[0],
                shape=tuple(shape),
                numpy=lambda: np.float32(0),  # the order is tested, not the values
            )
            for weight, shape in weights
        ]
        random.Random(name).shuffle(variables)
        return SimpleNamespace(name=name, weights=variables)

    def nested(name: str, weights: list) -> SimpleNamespace:
        inner = list(dict.fromkeys(weight.split("/")[0] for weight, _ in weights))
        parts = [layer(n, [w for w in weights if w[0].startswith(f"{n}/")]) for n in inner]
        return SimpleNamespace(name=name, layers=parts)

    return SimpleNamespace(
        layers=[(nested if name == "rpn_model" else layer)(name, w) for name, w in layout]
    )


@pytest.mark.parametrize("name", MODELS)
def test_saved_order_is_the_original_one(layouts, tmp_path, name):
    """Whatever order Keras 3 gives its layers, Keras 2 without by_name reads by this one."""
    shuffled = layouts[name][:]
    random.Random(0).shuffle(shuffled)
    save_weights(fake_model(shuffled), tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5") as file:
        layers = [layer.decode() for layer in file.attrs["layer_names"]]
        saved = [(n, [w.decode() for w in file[n].attrs["weight_names"]]) for n in layers]
    assert [item for item in saved if item[1]] == [
        (layer, [weight for weight, _ in weights]) for layer, weights in layouts[name] if weights
    ]
    assert sorted(layers) == sorted(layer for layer, _ in layouts[name])


def test_layers_of_an_own_backbone_keep_their_order_before_the_pyramid(tmp_path):
    layout = [
        (name, [(f"{name}/kernel:0", (1, 1))])
        for name in ("mrcnn_mask", "stem", "fpn_c5p5", "block_2", "block_1")
    ]
    save_weights(fake_model(layout), tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5") as file:
        names = [name.decode() for name in file.attrs["layer_names"]]
    assert names == ["stem", "block_2", "block_1", "fpn_c5p5", "mrcnn_mask"]


def test_synthetic_weights_are_those_of_the_golden_files(layouts, synthetic_golden, tmp_path):
    golden = synthetic_golden
    layout = layouts[golden["layout"]]
    written = write_synthetic(tmp_path / "x.h5", layout, golden["seed"], golden["overrides"])
    assert written == golden["digest"]

    info = inspect_weights(tmp_path / "x.h5")
    assert (info.tensors, info.parameters) == (384, 44_673_706)
    assert info.config_attributes() == {
        "BACKBONE": "resnet50",
        "NUM_CLASSES": 4,
        "TOP_DOWN_PYRAMID_SIZE": 256,
        "FPN_CLASSIF_FC_LAYERS_SIZE": 1024,
        "POOL_SIZE": 7,
        "RPN_CONV_CHANNELS": 512,
        "MASK_CONV_CHANNELS": 256,
        "IMAGE_CHANNEL_COUNT": 3,
    }
    assert info.anchors_per_location == 3
    assert info.parts == ["encoder", "FPN", "RPN", "class and box head", "mask head"]
    assert "    NUM_CLASSES = 4" in info.suggested_config()
    assert "Keras 2.0.8 weights" in str(info)


def test_synthetic_weights_depend_on_the_seed_and_know_every_tensor(layouts):
    layout = layouts["resnet50_c4_inference"][:3]
    assert digest(synthetic_arrays(layout, 1)) != digest(synthetic_arrays(layout, 2))
    with pytest.raises(ValueError, match="no rule says how to fill own/alpha:0"):
        list(synthetic_arrays([("own", [("own/alpha:0", (2,))])], 1))


def test_inspect_names_what_an_imagenet_file_lacks(layouts, tmp_path):
    """A few channels a layer are enough: the backbone is told by its blocks."""
    encoder = [
        (layer, [(weight, [1] * len(shape)) for weight, shape in weights])
        for layer, weights in layouts["resnet101_c81_inference"]
        if layer.startswith(("conv1", "bn", "res"))
    ]
    write_synthetic(tmp_path / "x.h5", encoder, seed=0)
    info = inspect_weights(tmp_path / "x.h5")
    assert (info.backbone, info.num_classes, info.parts) == ("resnet101", None, ["encoder"])
    assert "not there       FPN, RPN, class and box head, mask head" in str(info)
    write_weights(tmp_path / "empty.h5", [])
    with pytest.raises(WeightsError, match="no tensors at all"):
        inspect_weights(tmp_path / "empty.h5")


def test_inspect_needs_no_tensorflow(small_file):
    code = (
        "import sys; from mrcnn.weights.inspection import inspect_weights;"
        "import mrcnn.weights.download, mrcnn.weights.synthetic, mrcnn.weights.layout;"
        f"print(inspect_weights({str(small_file)!r}).num_classes);"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.stdout, result.returncode) == ("4\n", 0), result.stderr


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("conv1_conv", "conv1"),
        ("conv1_bn", "bn_conv1"),
        ("conv2_block1_0_conv", "res2a_branch1"),
        ("conv3_block4_1_bn", "bn3d_branch2a"),
        ("conv4_block23_3_bn", "bn4w_branch2c"),
        ("conv5_block3_2_conv", "res5c_branch2b"),
        ("conv4_block36_1_conv", "res4block36_branch2a"),
        ("res4w_branch2c", "res4w_branch2c"),
    ],
)
def test_names_of_keras_applications(theirs, ours):
    assert matterport_layer(theirs) == ours


@pytest.mark.parametrize(
    ("group", "names", "keys"),
    [
        ("conv1", ["conv1/kernel:0"], [("conv1", "kernel")]),
        ("conv1", ["conv1_W:0", "conv1_b:0"], [("conv1", "kernel"), ("conv1", "bias")]),
        ("bn", ["bn/bn_running_std:0"], [("bn", "moving_variance")]),
        ("head", ["head/inner/kernel", "head/inner/bias"], [("head", "kernel"), ("head", "bias")]),
        ("body", ["a/kernel:0", "b/kernel:0"], [("a", "kernel"), ("b", "kernel")]),
        (
            "rpn_model",
            ["rpn_model/rpn_class_raw/kernel:0", "rpn_model/rpn_bbox_pred/kernel:0"],
            [("rpn_class_raw", "kernel"), ("rpn_bbox_pred", "kernel")],
        ),
        (
            "attention",
            ["attention/query/kernel", "attention/key/kernel"],
            [("attention", "query/kernel"), ("attention", "key/kernel")],
        ),
    ],
)
def test_tensors_of_a_group(group, names, keys):
    assert split_group(group, names) == keys


def test_long_lists_of_names_are_split_and_read_back(tmp_path):
    """1500 names of 60 bytes exceed the 64 KB that HDF5 gives to attributes."""
    names = [f"block_{i:04d}_{'x' * 49}" for i in range(1500)]
    write_weights(tmp_path / "x.h5", ((n, [(f"{n}/kernel:0", np.zeros(1))]) for n in names))
    with h5py.File(tmp_path / "x.h5") as file:
        assert "layer_names" not in file.attrs and "layer_names1" in file.attrs
    assert inspect_weights(tmp_path / "x.h5").layers == 1500


def test_a_file_can_say_more_of_itself(tmp_path):
    """Config and class names travel in the file; a reader of the original's files passes over."""
    path = tmp_path / "said.h5"
    tensors = [
        ("mrcnn_class_logits/kernel:0", np.ones((8, 3))),
        ("mrcnn_class_logits/bias:0", np.ones(3)),
    ]
    said = {
        "config": {"IMAGE_MIN_DIM": 512, "NUM_CLASSES": 99},
        "class_names": ["BG", "r\u00f6d", "b"],
    }
    write_weights(
        path, [("mrcnn_class_logits", tensors)], said | {"long": "x" * 100_000}, np.float16
    )
    info = inspect_weights(path)
    assert info.class_names == ["BG", "r\u00f6d", "b"]
    assert info.config_attributes()["IMAGE_MIN_DIM"] == 512
    assert info.config_attributes()["NUM_CLASSES"] == 3  # what the tensors show counts more
    with h5py.File(path) as file:
        assert [name.decode() for name in file.attrs["layer_names"]] == ["mrcnn_class_logits"]
        assert file["mrcnn_class_logits/mrcnn_class_logits/kernel:0"].dtype == np.float16
        # A variance of 1e5 would be infinite in float16.
        assert file["mrcnn_class_logits/mrcnn_class_logits/bias:0"].dtype == np.float32
