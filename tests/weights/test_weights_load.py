"""Loading into a real Keras model: every format, every refusal, every warning."""

import warnings

import h5py
import keras
import numpy as np
import pytest
from small_model import build_small, small_layout

from mrcnn.weights.errors import WeightsError, WeightsWarning
from mrcnn.weights.layout import load_weights, save_weights
from mrcnn.weights.synthetic import digest, synthetic_arrays, write_synthetic
from mrcnn.weights.writing import write_weights

HEADS = ["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask"]


@pytest.fixture(autouse=True)
def no_unexpected_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error", WeightsWarning)
        yield


def values(model) -> dict:
    """{"conv1/kernel:0": array} of a model, nested and wrapped layers by their names."""
    leaves = [*model.layers, *model.get_layer("rpn_model").layers]
    return {
        f"{layer.name}/{v.name}:0": v.numpy()
        for layer in leaves
        if not isinstance(layer, keras.Model)
        for v in layer.weights
    }


def expected(**layout) -> dict:
    return {name: array for _, name, array in synthetic_arrays(small_layout(**layout), seed=1)}


def assert_same(model, want: dict) -> None:
    """Bit for bit: loading only copies float32."""
    have = values(model)
    assert have.keys() == want.keys()
    for name in want:
        np.testing.assert_array_equal(have[name], want[name], err_msg=name)


def rewrite(path, change) -> None:
    """Write a small file again with every (group, [(name, array)]) passed through `change`."""
    groups = {}
    for group, name, array in synthetic_arrays(small_layout(), seed=1):
        groups.setdefault(group, []).append((name, array))
    write_weights(path, [change(group, tensors) for group, tensors in groups.items()])


def test_keras_2_weights(small_file):
    model = build_small()
    report = load_weights(model, small_file, by_name=False)
    assert_same(model, expected())
    assert (len(report.loaded), report.missing, report.unused) == (28, [], [])
    assert str(report) == "small.h5: 28 tensors loaded (Keras 2.0.8 weights)."


def test_whole_model_file_of_keras_2(small_file, tmp_path):
    with h5py.File(small_file) as weights, h5py.File(tmp_path / "full.h5", "w") as full:
        weights.copy("/", full, "model_weights")
        full["model_weights"].attrs.update(weights.attrs)
    model = build_small()
    load_weights(model, tmp_path / "full.h5", by_name=False)
    assert_same(model, expected())


def test_formats_that_keras_3_writes(small_file, tmp_path):
    source = build_small()
    load_weights(source, small_file)
    source.save_weights(tmp_path / "x.weights.h5")
    source.save(tmp_path / "x.h5")
    for name in ("x.weights.h5", "x.h5"):
        model = build_small()
        load_weights(model, tmp_path / name, by_name=False)
        assert_same(model, expected())


def test_tf2_fork_with_anchors_top_level_rpn_and_split_lists(small_file, tmp_path):
    """What the forks add to the layout: a variable of anchors, an RPN that is not nested,
    attributes in pieces, and a group of the model's own weights."""
    path = tmp_path / "fork.h5"
    with h5py.File(small_file) as source, h5py.File(path, "w") as fork:
        names = [n.decode() for n in source.attrs["layer_names"] if n != b"rpn_model"]
        for name in names:
            source.copy(name, fork)
        for name in ("rpn_conv_shared", "rpn_class_raw", "rpn_bbox_pred"):
            group = fork.create_group(name)
            source.copy(f"rpn_model/{name}", group)
            group.attrs["weight_names0"] = [f"{name}/bias:0".encode()]
            group.attrs["weight_names1"] = [f"{name}/kernel:0".encode()]
            names.append(name)
        fork.create_group("anchors").attrs["weight_names"] = [b"Variable:0"]
        fork["anchors"].create_dataset("Variable:0", data=np.zeros((1, 5, 4)))
        fork.create_group("top_level_model_weights").attrs["weight_names"] = np.zeros(0)
        names.append("anchors")
        fork.attrs["layer_names0"] = [n.encode() for n in names[:3]]
        fork.attrs["layer_names1"] = [n.encode() for n in names[3:]]
    model = build_small()
    report = load_weights(model, path, by_name=False)
    assert_same(model, expected())
    assert report.unused == []


def test_order_in_the_file_does_not_matter(tmp_path):
    """Old Keras went by order: beta before gamma, or a frozen layer, shifted the values."""
    rewrite(tmp_path / "x.h5", lambda group, tensors: (group, tensors[::-1]))
    model = build_small()
    model.get_layer("rpn_model").get_layer("rpn_conv_shared").trainable = False
    model.get_layer("mrcnn_class_bn1").trainable = False
    load_weights(model, tmp_path / "x.h5", by_name=False)
    assert_same(model, expected())


def test_names_of_keras_1_and_of_a_second_model_in_one_process(tmp_path):
    keras_1 = {
        **{"kernel": "W", "bias": "b", "gamma": "gamma", "beta": "beta"},
        **{"moving_mean": "running_mean", "moving_variance": "running_std"},
    }

    def rename(group, tensors):
        if group == "rpn_model":  # TensorFlow 1 numbered names to keep them apart
            return group, [(name.replace("/", "_1/"), array) for name, array in tensors]
        if group.startswith("mrcnn"):
            return group, [(name.replace("/", "_2/"), array) for name, array in tensors]
        short = [(name.split("/")[1].split(":")[0], array) for name, array in tensors]
        return group, [(f"{group}_{keras_1[name]}:0", array) for name, array in short]

    rewrite(tmp_path / "x.h5", rename)
    model = build_small()
    load_weights(model, tmp_path / "x.h5", by_name=False)
    assert_same(model, expected())


@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16"])
def test_other_float_types(small_file, dtype):
    """Within the precision of the type: 2^-10 for float16, 2^-8 for bfloat16, and exact for
    float64, which was float32 before."""
    model = build_small()
    with h5py.File(small_file, "r+") as file:
        path = "conv1/conv1/kernel:0"
        kernel = file[path][()]
        del file[path]
        if dtype == "bfloat16":  # as Keras 3 stores it
            bits = (kernel.view(np.uint32) >> 16).astype(np.uint16).view("V2")
            file.create_dataset(path, data=bits).attrs["dtype"] = "bfloat16"
        else:
            file[path] = kernel.astype(dtype)
    load_weights(model, small_file)
    loaded = values(model)["conv1/kernel:0"]
    assert loaded.dtype == np.float32
    tolerance = {"float16": 2**-10, "bfloat16": 2**-7, "float64": 0}[dtype]
    np.testing.assert_allclose(loaded, kernel, rtol=tolerance, atol=1e-7 if tolerance else 0)


def test_a_file_is_closed_after_it_was_read(small_file):
    load_weights(build_small(), small_file)
    with h5py.File(small_file, "r+"):  # refused while it is open for reading
        pass


# -- exclude --------------------------------------------------------------------------------


def test_exclude_takes_whole_names(small_file):
    model = build_small()
    load_weights(model, small_file, exclude=["mrcnn_bbox"])
    assert_same(model, expected())


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        (["rpn_conv_shared"], {"rpn_conv_shared"}),
        ("rpn_model", {"rpn_conv_shared", "rpn_class_raw", "rpn_bbox_pred"}),
        ([r"mrcnn_.*"], {*HEADS, "mrcnn_class_conv1", "mrcnn_class_bn1"} - {"mrcnn_bbox"}),
    ],
)
def test_exclude_leaves_layers_alone(small_file, exclude, left):
    model = build_small()
    before = values(model)
    report = load_weights(model, small_file, exclude=exclude)
    want = {k: before[k] if k.split("/")[0] in left else v for k, v in expected().items()}
    assert_same(model, want)
    assert {name.split("/")[0] for name in report.excluded} == left
    assert report.missing == report.unused == []


def test_exclude_that_names_no_layer_warns(small_file):
    with pytest.warns(WeightsWarning, match="no layer 'mrcnn_class_logit'.*logits") as caught:
        load_weights(build_small(), small_file, exclude=["mrcnn_class_logit"])
    assert caught[0].filename == __file__  # the line of the program that called
    with pytest.raises(WeightsError, match="neither a layer's name nor a regular"):
        load_weights(build_small(), small_file, exclude=["mrcnn_("])


# -- Refusals -------------------------------------------------------------------------------


def assert_refused(model, path, *fragments: str, **options) -> WeightsError:
    """The load fails, says all fragments, and leaves the model as it was."""
    before = values(model)
    with pytest.raises(WeightsError) as caught:
        load_weights(model, path, **options)
    for fragment in fragments:
        assert fragment in str(caught.value)
    assert_same(model, before)
    return caught.value


def test_other_number_of_classes(small_file):
    model = build_small(classes=7)
    error = assert_refused(
        model,
        small_file,
        "mrcnn_class_logits/kernel: file (5, 4), model (5, 7)",
        "NUM_CLASSES: file 4, model 7.",
        'exclude=["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask"]',
    )
    assert len(error.report.mismatched) == 6 and error.report.loaded == []
    report = load_weights(model, small_file, exclude=HEADS)
    assert len(report.loaded) == 22 and len(report.excluded) == 6


def test_other_channels_and_other_pyramid(small_file):
    assert_refused(
        build_small(channels=4),
        small_file,
        "conv1/kernel: file (3, 3, 3, 6), model (3, 3, 4, 6)",
        "IMAGE_CHANNEL_COUNT: file 3, model 4.",
        'exclude=["conv1"]',
    )
    assert_refused(
        build_small(width=6), small_file, "TOP_DOWN_PYRAMID_SIZE: file 4, model 6.", "Config"
    )


def test_nothing_fits(tmp_path):
    write_weights(tmp_path / "x.h5", [("dense", [("dense/kernel:0", np.zeros((2, 2)))])])
    assert_refused(build_small(), tmp_path / "x.h5", "nothing of", "dense", "conv1")


def test_all_is_demanded_without_by_name(tmp_path):
    write_synthetic(tmp_path / "x.h5", small_layout()[:-1], seed=1)
    assert_refused(
        build_small(), tmp_path / "x.h5", "lacks 2 tensors", "mrcnn_mask/kernel", by_name=False
    )


def test_damage_found_while_reading_leaves_the_model_alone(small_file):
    with h5py.File(small_file, "r+") as file:
        name = "mrcnn_mask/mrcnn_mask/kernel:0"
        shape = file[name].shape
        del file[name]
        file.create_dataset(name, shape, "f4")  # declared, but never written
    assert_refused(build_small(), small_file, "is damaged: /mrcnn_mask", "has no values")


# -- Warnings -------------------------------------------------------------------------------


def test_encoder_filled_in_part_warns(tmp_path):
    layout = [item for item in small_layout() if item[0] != "res2a_branch2a"]
    write_synthetic(tmp_path / "x.h5", layout, seed=1)
    with pytest.warns(WeightsWarning, match="lacks 2 of the encoder's 8 tensors.*res2a_branch2a"):
        load_weights(build_small(), tmp_path / "x.h5")


def test_encoder_without_biases_warns_and_says_it_is_harmless(tmp_path):
    def drop(group, tensors):
        return group, [t for t in tensors if not (group[:3] in ("con", "res") and "bias" in t[0])]

    rewrite(tmp_path / "x.h5", drop)
    with pytest.warns(WeightsWarning, match="no biases.*zero in a new model"):
        load_weights(build_small(), tmp_path / "x.h5")


def test_larger_encoder_in_the_file_warns(tmp_path):
    more = ("res4w_branch2a", [("res4w_branch2a/kernel:0", (1, 1, 2, 2))])
    write_synthetic(tmp_path / "x.h5", [*small_layout(), more], seed=1)
    with pytest.warns(WeightsWarning, match="1 encoder tensors.*no place: res4w_branch2a"):
        report = load_weights(build_small(), tmp_path / "x.h5")
    assert report.unused == ["res4w_branch2a/kernel"]


def test_heads_filled_in_part_warn_but_heads_not_there_do_not(tmp_path):
    write_synthetic(tmp_path / "half.h5", small_layout()[:-1], seed=1)
    with pytest.warns(WeightsWarning, match="only in part.*mrcnn_mask"):
        load_weights(build_small(), tmp_path / "half.h5")
    write_synthetic(tmp_path / "encoder.h5", small_layout()[:3], seed=1)
    report = load_weights(build_small(), tmp_path / "encoder.h5")
    assert len(report.loaded) == 8 and len(report.missing) == 20
    assert "20 not in the file, left as they were: fpn_c5p5" in str(report)


def test_not_finite_values_warn(small_file):
    with h5py.File(small_file, "r+") as file:
        file["fpn_c5p5/fpn_c5p5/bias:0"][1] = np.nan
    with pytest.warns(WeightsWarning, match="NaN or infinite values in fpn_c5p5/bias"):
        load_weights(build_small(), small_file)


# -- keras.applications ---------------------------------------------------------------------


def test_batch_norm_of_keras_applications_computes_the_same(tmp_path):
    """Its epsilon is 1.001e-5 and ours 1e-3; with the smallest variance here, 1e-4, ignoring that
    would be off by a factor of 3. Tolerance 1e-5: a few roundings of float32."""
    picture = keras.Input((4, 4, 3))
    theirs = keras.layers.Conv2D(6, 1, name="conv1_conv")(picture)
    theirs = keras.layers.BatchNormalization(epsilon=1.001e-5, name="conv1_bn")(theirs)
    theirs = keras.Model(picture, theirs)
    rng = np.random.default_rng(0)
    variance = np.logspace(-4, 1, 6)
    norm = [rng.normal(size=6), rng.normal(size=6), rng.normal(size=6), variance]
    theirs.get_layer("conv1_bn").set_weights(norm)
    theirs.save(tmp_path / "notop.h5")

    ours = keras.layers.Conv2D(6, 1, name="conv1")(picture)
    ours = keras.Model(picture, keras.layers.BatchNormalization(name="bn_conv1")(ours))
    load_weights(ours, tmp_path / "notop.h5", by_name=False)
    x = rng.normal(size=(1, 4, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


def test_resnets_of_keras_applications_have_our_names(tmp_path, layouts):
    """The real networks of the installed Keras, against the encoders of the original."""
    from mrcnn.weights.files import open_weights

    for build, layout in (
        (keras.applications.ResNet50, "resnet50_c4_inference"),
        (keras.applications.ResNet101, "resnet101_c81_inference"),
    ):
        build(weights=None, include_top=False, input_shape=(32, 32, 3)).save(tmp_path / "x.h5")
        with open_weights(tmp_path / "x.h5") as file:
            have = {f"{layer}/{weight}:0": t.shape for (layer, weight), t in file.tensors.items()}
        want = {
            name: tuple(shape)
            for layer, weights in layouts[layout]
            for name, shape in weights
            if not layer.startswith(("fpn", "rpn", "mrcnn"))
        }
        assert have == want


def test_resnet_v2_is_refused(tmp_path):
    picture = keras.Input((4, 4, 3))
    x = keras.layers.Conv2D(6, 1, name="conv1_conv")(picture)
    x = keras.layers.BatchNormalization(name="post_bn")(x)
    keras.Model(picture, x).save(tmp_path / "v2.h5")
    assert_refused(build_small(), tmp_path / "v2.h5", "ResNet V2")


# -- Saving ---------------------------------------------------------------------------------


def test_save_writes_the_file_it_was_loaded_from(small_file, tmp_path):
    model = build_small()
    load_weights(model, small_file)
    save_weights(model, tmp_path / "out.h5")
    with h5py.File(small_file) as want, h5py.File(tmp_path / "out.h5") as have:
        assert have.attrs["backend"] == b"tensorflow" and have.attrs["keras_version"] == b"2.0.8"
        names = [
            n for n in have.attrs["layer_names"] if have[n.decode()].attrs["weight_names"].size
        ]
        assert names == list(want.attrs["layer_names"])
        for layer in want:
            weights = want[layer].attrs["weight_names"]
            np.testing.assert_array_equal(have[layer].attrs["weight_names"], weights)
            for name in weights:
                stored = have[layer][name.decode()]
                assert stored.dtype == np.float32
                np.testing.assert_array_equal(stored, want[layer][name.decode()])
        assert have["mrcnn_bbox"].attrs["weight_names"].dtype == np.float64
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []


def test_failed_save_leaves_the_old_file(small_file, tmp_path):
    before = small_file.read_bytes()

    def broken():
        yield "conv1", [("conv1/kernel:0", np.zeros(3))]
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        write_weights(small_file, broken())
    assert small_file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["small.h5"]
    with pytest.raises(WeightsError, match="no folder"):
        write_weights(tmp_path / "nowhere" / "x.h5", [])


def test_two_layers_of_one_name_are_refused(tmp_path):
    picture = keras.Input((4, 4, 3))
    inner = keras.Model(picture, keras.layers.Conv2D(3, 1, name="conv1")(picture), name="inner")
    model = keras.Model(picture, keras.layers.Conv2D(3, 1, name="conv1")(inner(picture)))
    with pytest.raises(WeightsError, match="two layers of the model are named conv1"):
        save_weights(model, tmp_path / "x.h5")


# -- The real network -----------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_mask_rcnn_holds_the_tensors_of_the_original(layouts, synthetic_golden, tmp_path, mode):
    """Loaded and saved again, the golden weights keep their digest: same names, order, shapes and
    bits in both models, though their heads stand in another order."""
    from mrcnn.config import Config
    from mrcnn.model import MaskRCNN

    class GoldenConfig(Config):
        NAME = "golden"
        BACKBONE = "resnet50"
        NUM_CLASSES = 4
        IMAGE_MIN_DIM = IMAGE_MAX_DIM = 128
        IMAGES_PER_GPU = 1

    golden, path, again = synthetic_golden, tmp_path / "golden.h5", tmp_path / "again.h5"
    write_synthetic(path, layouts[golden["layout"]], golden["seed"], golden["overrides"])
    model = MaskRCNN(mode, GoldenConfig(), str(tmp_path)).keras_model
    report = load_weights(model, path, by_name=False)
    assert len(report.loaded) == len(model.weights) == 384

    save_weights(model, again)
    with h5py.File(again) as file:
        layers = [layer.decode() for layer in file.attrs["layer_names"]]
        assert [n for n in layers if file[n].attrs["weight_names"].size] == [
            layer for layer, weights in layouts[f"resnet50_c4_{mode}"] if weights
        ]
        stored = [
            (layer, name, file[layer][name][()])
            for layer, weights in layouts[golden["layout"]]
            for name, _ in weights
        ]
    assert digest(stored) == golden["digest"]
