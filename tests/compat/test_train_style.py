"""Scripts that train: weights in and out, stages, callbacks, generators."""

import os
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from old_dataset import InferenceConfig, ShapesConfig

from mrcnn import model as modellib
from mrcnn import utils
from mrcnn.model import MaskRCNN
from mrcnn.weights import download
from mrcnn.weights.errors import WeightsError, WeightsWarning

COCO_EXCLUDED = ["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask"]


def kernel(model, name):
    return model.keras_model.get_layer(name).get_weights()[0]


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    """A training model, to load into; tests that train make their own."""
    return MaskRCNN("training", ShapesConfig(), str(tmp_path_factory.mktemp("logs")))


# -- Training -----------------------------------------------------------------------------------


def test_train_shapes_notebook(dataset, image, weights_path, tmp_path, eager):
    """Heads, then everything; saved by hand, found again, and put into an inference model."""
    config, model_dir = ShapesConfig(), os.path.join(tmp_path, "logs")
    model = modellib.MaskRCNN(mode="training", config=config, model_dir=model_dir)
    model.load_weights(weights_path, by_name=True, exclude=COCO_EXCLUDED)
    frozen, head = kernel(model, "conv1"), kernel(model, "fpn_p2")
    model.train(dataset, dataset, learning_rate=config.LEARNING_RATE, epochs=1, layers="heads")
    np.testing.assert_array_equal(kernel(model, "conv1"), frozen)
    assert (kernel(model, "fpn_p2") != head).any()
    model.train(
        dataset, dataset, learning_rate=config.LEARNING_RATE / 10, epochs=2, layers="all"
    )  # fmt: skip
    assert (kernel(model, "conv1") != frozen).any()
    model_path = os.path.join(model_dir, "mask_rcnn_shapes.h5")
    model.keras_model.save_weights(model_path)

    model = modellib.MaskRCNN(mode="inference", config=InferenceConfig(), model_dir=model_dir)
    assert os.path.basename(model.find_last()) == "mask_rcnn_shapes_0002.h5"
    model.load_weights(model_path, by_name=True)
    by_hand = kernel(model, "mrcnn_mask")
    model_path = model.find_last()
    print("Loading weights from ", model_path)
    model.load_weights(model_path, by_name=True)
    np.testing.assert_array_equal(kernel(model, "mrcnn_mask"), by_hand)
    assert set(model.detect([image], verbose=0)[0]) == {"rois", "class_ids", "scores", "masks"}


class Fliplr:
    """What imgaug's augmenters are to the package; imgaug itself doesn't import on NumPy 2."""

    def to_deterministic(self):
        return self

    def augment_image(self, image, hooks=None):
        return (
            image[:, ::-1] if hooks is None or hooks.is_activated(image, self, [], True) else image
        )


@pytest.mark.parametrize("layers", ["4+", r"(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)"])
def test_train_with_keywords(dataset, layers, tmp_path, eager):
    """All arguments by name, tf.keras callbacks among them; one of the script's own."""

    class Losses(tf.keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.seen = []

        def on_epoch_end(self, epoch, logs=None):
            self.seen.append((epoch, logs["val_loss"], logs["mrcnn_mask_loss"]))

    losses, config = Losses(), ShapesConfig()
    model = modellib.MaskRCNN(mode="training", config=config, model_dir=str(tmp_path))
    model.train(
        train_dataset=dataset,
        val_dataset=dataset,
        learning_rate=config.LEARNING_RATE,
        epochs=1,
        layers=layers,
        augmentation=Fliplr(),
        custom_callbacks=[losses, keras.callbacks.EarlyStopping("val_loss", patience=3)],
        no_augmentation_sources=["other"],
    )
    assert [epoch for epoch, *_ in losses.seen] == [0] and np.isfinite(losses.seen).all()
    assert model.keras_model.history.history["loss"] and model.epoch == 1
    assert os.listdir(model.log_dir) and model.checkpoint_path.startswith(model.log_dir)


def test_train_all_positional(dataset, tmp_path, eager):
    model = MaskRCNN("training", ShapesConfig(), str(tmp_path))
    model.train(dataset, dataset, 0.001, 1, "heads", Fliplr(), [])
    assert model.find_last().endswith("0001.h5")


def test_train_inside_a_graph_says_what_to_delete(training, dataset):
    with tf.Graph().as_default(), pytest.raises(RuntimeError, match=r"take it out of the .with gr"):
        training.train(dataset, dataset, 0.001, 1, "heads")


# -- Weights ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "load",
    [
        lambda m, path: m.load_weights(path, by_name=True),
        lambda m, path: m.load_weights(path, True),
        lambda m, path: m.load_weights(filepath=path, by_name=True),
        lambda m, path: m.load_weights(path, by_name=True, exclude=COCO_EXCLUDED),
        lambda m, path: m.load_weights(filepath=path, by_name=True, exclude=COCO_EXCLUDED),
        lambda m, path: m.keras_model.load_weights(path, by_name=True),
        lambda m, path: m.keras_model.load_weights(path, True),
    ],
)
def test_load_weights(training, network, weights_path, load):
    layer = training.keras_model.get_layer("fpn_p2")
    layer.set_weights([0 * array for array in layer.get_weights()])
    load(training, weights_path)
    np.testing.assert_array_equal(kernel(training, "fpn_p2"), kernel(network, "fpn_p2"))


@pytest.fixture
def backbone_only(network, tmp_path):
    """A file with a part of the network."""
    path = str(tmp_path / "part.h5")
    keras_model = network.keras_model
    part = keras.Model(keras_model.inputs[0], keras_model.get_layer("fpn_p2").output)
    type(keras_model).save_weights(part, path)
    return path


def test_by_name_may_be_positional(training, backbone_only):
    """As in Keras 2, whose second argument it was."""
    load = training.keras_model.load_weights
    for options in ({"by_name": True}, {"skip_mismatch": True}):
        with pytest.warns(WeightsWarning, match="only in part"):
            assert load(backbone_only, **options).missing
    with pytest.warns(WeightsWarning, match="only in part"):
        assert load(backbone_only, True).missing and training.load_weights(backbone_only, True)
    for load in (training.load_weights, training.keras_model.load_weights):
        with pytest.raises(WeightsError):
            load(backbone_only)


def test_skip_mismatch(weights_path, tmp_path):
    """Keras 2's way to other classes; everybody else excludes the four layers."""

    class OtherConfig(ShapesConfig):
        NUM_CLASSES = 1 + 1

    model = MaskRCNN("training", OtherConfig(), str(tmp_path)).keras_model
    with pytest.raises(WeightsError, match="NUM_CLASSES: file 4, model 2"):
        model.load_weights(weights_path, by_name=True)
    with pytest.warns(WeightsWarning, match="mrcnn_bbox_fc, mrcnn_class_logits, mrcnn_mask"):
        report = model.load_weights(weights_path, by_name=True, skip_mismatch=True)
    assert {name.split("/")[0] for name in report.excluded} == set(COCO_EXCLUDED) - {"mrcnn_bbox"}
    assert "fpn_p2/kernel" in report.loaded


@pytest.mark.parametrize("options", [{}, {"overwrite": True}, {"save_format": "h5"}])
def test_keras_model_save_weights(network, training, options, tmp_path):
    """Matterport's layout: layer groups in the root, which its own reader takes by name."""
    h5py = pytest.importorskip("h5py")
    path = str(tmp_path / "shapes.h5")
    network.keras_model.save_weights(path, **options)
    with h5py.File(path) as file:
        names = [name.decode() for name in file.attrs["layer_names"]]
        assert {"conv1", "rpn_model", "mrcnn_mask"} <= set(names)
        assert file["conv1"].attrs["weight_names"][0] == b"conv1/kernel:0"
        np.testing.assert_array_equal(file["conv1/conv1/kernel:0"], kernel(network, "conv1"))
    assert not training.load_weights(path, by_name=True).missing


def test_weights_chosen_by_a_command_line(training, monkeypatch, tmp_path):
    """The ladder of samples: coco, last, imagenet, or a path."""
    fetched = []
    monkeypatch.setattr(download, "fetch", lambda *args, **kwargs: fetched.append(args) or args[1])
    monkeypatch.setattr(download, "weights_path", lambda *args, **kwargs: "/cache/resnet.h5")
    weights_path = os.path.join(tmp_path, "mask_rcnn_coco.h5")
    if not os.path.exists(weights_path):
        utils.download_trained_weights(weights_path)
    assert weights_path in fetched[0]
    assert training.get_imagenet_weights() == "/cache/resnet.h5"
    with pytest.raises(FileNotFoundError, match="Could not find weight files"):
        training.find_last()


def test_find_last_was_a_pair(training):
    """15 repositories load find_last()[1], right until version 2.0; now that is a letter."""
    run = os.path.join(training.model_dir, "shapes20180101T0000")
    os.makedirs(run)
    open(os.path.join(run, "mask_rcnn_shapes_0001.h5"), "w").close()
    with pytest.raises(FileNotFoundError, match=r"write load_weights\(model.find_last\(\)\)"):
        training.load_weights(training.find_last()[1], by_name=True)


# -- Generators ---------------------------------------------------------------------------------


@pytest.mark.parametrize("use_mini_mask", [True, False])
def test_load_image_gt(dataset, use_mini_mask):
    side = 56 if use_mini_mask else 64
    for got in (
        modellib.load_image_gt(dataset, ShapesConfig(), 0, use_mini_mask=use_mini_mask),
        modellib.load_image_gt(
            dataset, ShapesConfig(), 0, augment=False, use_mini_mask=use_mini_mask
        ),
        modellib.load_image_gt(dataset, ShapesConfig(), 0, False, Fliplr(), use_mini_mask),
    ):
        image, image_meta, class_ids, bbox, mask = got
        assert image.shape == (64, 64, 3) and bbox.shape == (2, 4) and len(class_ids) == 2
        assert mask.shape == (side, side, 2)
    with pytest.warns(DeprecationWarning, match="use augmentation"):
        modellib.load_image_gt(dataset, ShapesConfig(), 0, augment=True, use_mini_mask=True)
    assert modellib.load_image_gt(dataset, ShapesConfig(), 0)[4].shape == (64, 64, 2)


def test_inspect_data_notebook(dataset):
    """Anchors, targets and regions of a batch, drawn there."""
    config, batch_size = ShapesConfig(), 2
    backbone_shapes = modellib.compute_backbone_shapes(config, config.IMAGE_SHAPE)
    anchors = utils.generate_pyramid_anchors(
        config.RPN_ANCHOR_SCALES,
        config.RPN_ANCHOR_RATIOS,
        backbone_shapes,
        config.BACKBONE_STRIDES,
        config.RPN_ANCHOR_STRIDE,
    )
    assert len(anchors) == 1023 and len(backbone_shapes) == 5

    g = modellib.data_generator(
        dataset,
        config,
        shuffle=True,
        random_rois=200,
        batch_size=batch_size,
        detection_targets=True,
    )
    [
        [normalized_images, image_meta, rpn_match, rpn_bbox, gt_class_ids, gt_boxes, gt_masks,
         rpn_rois, rois],
        [mrcnn_class_ids, mrcnn_bbox, mrcnn_mask],
    ] = next(g)  # fmt: skip
    modellib.log("rois", rois)
    image_id = modellib.parse_image_meta(image_meta)["image_id"][0]
    print("image_id: ", image_id, dataset.image_reference(image_id))
    positive = rpn_match[0, :, 0] == 1
    refined = utils.apply_box_deltas(
        anchors[positive], rpn_bbox[0, : positive.sum()] * config.RPN_BBOX_STD_DEV
    )
    b = 0
    sample_image = modellib.unmold_image(normalized_images[b], config).astype(int)
    # The mean subtracted in float32, added, and cut down to whole numbers: one step may be lost.
    assert abs(sample_image - dataset.load_image(int(image_id))).max() <= 1
    mrcnn_class_ids = mrcnn_class_ids[:, :, 0]
    specific = mrcnn_bbox[b, np.arange(mrcnn_bbox.shape[1]), mrcnn_class_ids[b], :]
    refined_rois = utils.apply_box_deltas(
        rois[b].astype(np.float32), specific[:, :4] * config.BBOX_STD_DEV
    )
    # Refined, every positive anchor and region is the box of an instance, to float32 rounding.
    boxes = gt_boxes[b][:2]
    for moved in (refined, refined_rois[mrcnn_class_ids[b] > 0]):
        assert abs(moved[:, None] - boxes[None]).max(axis=-1).min(axis=1).max() < 1e-3
    assert rpn_rois.shape == (2, 200, 4) and mrcnn_mask.shape[0] == 2


def test_generators_in_both_spellings(dataset):
    first = next(modellib.data_generator(dataset, ShapesConfig(), False, False, None, 0, 2, False))
    generator = modellib.DataGenerator(dataset, ShapesConfig(), shuffle=False)
    assert len(generator) == 2 and len(first[0]) == len(generator[0][0]) == 7
    np.testing.assert_array_equal(first[0][0], generator[0][0][0])


@pytest.mark.parametrize("letter", ["/", ".", "x"])
def test_any_letter_of_a_path_gets_the_sentence(letter):
    from mrcnn.weights.errors import WeightsError
    from mrcnn.weights.recognise import check_is_hdf5

    with pytest.raises(WeightsError, match=r"without \[1\]"):
        check_is_hdf5(Path(letter))
