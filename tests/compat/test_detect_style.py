"""Scripts that detect: notebooks, evaluators, web servers, subclasses."""

import threading

import numpy as np
import pytest
import skimage.io
import tensorflow as tf
from numpy import expand_dims, mean
from old_dataset import InferenceConfig, shapes

import mrcnn.model
import mrcnn.model as modellib
from mrcnn.model import MaskRCNN, load_image_gt, mold_image
from mrcnn.utils import compute_ap


def test_demo_notebook(weights_path, image, r, same, tmp_path):
    skimage.io.imsave(tmp_path / "shapes.png", image)

    class DemoConfig(InferenceConfig):
        GPU_COUNT = 1
        IMAGES_PER_GPU = 1

    config = DemoConfig()
    config.display()
    with tf.device("/gpu:0"):  # where there is none, TensorFlow takes the processor
        model = modellib.MaskRCNN(mode="inference", model_dir=str(tmp_path), config=config)
    model.load_weights(weights_path, by_name=True)
    results = model.detect([skimage.io.imread(tmp_path / "shapes.png")], verbose=1)
    same(results[0], r)
    assert set(results[0]) == {"rois", "class_ids", "scores", "masks"}


def test_positional_construction(weights_path, image, r, same, tmp_path):
    model = MaskRCNN("inference", InferenceConfig(), ".")
    model.load_weights(weights_path, True)
    same(model.detect([image], 0)[0], r)


def test_kangaroo_tutorial(network, dataset, image, r, same, monkeypatch):
    """It molds each picture before detect() molds it; the original subtracted the mean twice."""
    cfg, APs = InferenceConfig(), list()
    for image_id in dataset.image_ids:
        monkeypatch.setattr("mrcnn.detect.check._warned", {"limit"})  # it is told once a process
        image, _, gt_class_id, gt_bbox, gt_mask = load_image_gt(
            dataset, cfg, image_id, use_mini_mask=False
        )
        scaled_image = mold_image(image, cfg)
        sample = expand_dims(scaled_image, 0)
        with pytest.warns(UserWarning, match="picture 1 of 1 has had the mean pixel") as caught:
            yhat = network.detect(sample, verbose=0)
        assert caught[0].filename == __file__  # the line to mend
        r = yhat[0]
        AP, _, _, _ = compute_ap(
            gt_bbox, gt_class_id, gt_mask, r["rois"], r["class_ids"], r["scores"], r["masks"]
        )
        APs.append(AP)
        same(r, network.detect([image])[0])
    assert 0 <= mean(APs) <= 1


@pytest.mark.parametrize("scale", [lambda x: x / 127.5 - 1, lambda x: (x - 120.0) / 60])
def test_pictures_scaled_in_another_way_are_refused(network, image, scale):
    """What looks molded is taken back; what only lies below 0 is not."""
    with pytest.raises(ValueError, match="holds values from -"):
        network.detect([scale(image)])


def test_video_loop(network, image):
    """One frame after the other, of any size, in a batch of one."""
    frames = [image, image[:40], np.ascontiguousarray(image[:, ::-1])]
    counts = [len(network.detect([frame], verbose=0)[0]["rois"]) for frame in frames]
    assert all(counts)


# -- Servers ------------------------------------------------------------------------------------


def test_flask_server(weights_path, image, r, same, tmp_path):
    """A global model and graph, filled at start, used from the request's thread."""
    script = {}

    def load_model():
        script["graph"] = tf.compat.v1.get_default_graph()
        with script["graph"].as_default():
            model = modellib.MaskRCNN("inference", InferenceConfig(), str(tmp_path))
            model.load_weights(weights_path, by_name=True)
            model.keras_model._make_predict_function()
            model.keras_model.metrics_tensors = []
            script["model"] = model

    def predict():
        with script["graph"].as_default():
            script["answer"] = script["model"].detect([image], verbose=0)[0]

    load_model()
    request = threading.Thread(target=predict)
    request.start()
    request.join()
    same(script["answer"], r)


def test_session_of_tensorflow_1_around_everything(network, weights_path, image, r, same, tmp_path):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session, session.as_default():
        model = modellib.MaskRCNN("inference", InferenceConfig(), str(tmp_path))
        model.load_weights(weights_path, by_name=True)
        same(model.detect([image])[0], r)
        model.keras_model.save_weights(str(tmp_path / "again.h5"))
    conv1 = model.keras_model.get_layer("conv1")
    expected = network.keras_model.get_layer("conv1").get_weights()[0]
    np.testing.assert_array_equal(conv1.get_weights()[0], expected)
    model.load_weights(str(tmp_path / "again.h5"))


@pytest.mark.parametrize("in_graph", [False, True])
def test_keras_model_predict(network, image, in_graph):
    """Servers that mold by themselves; seven outputs in the original's order."""
    molded_images, image_metas, windows = network.mold_inputs([image])
    anchors = network.get_anchors(molded_images[0].shape)
    anchors = np.broadcast_to(anchors, (1,) + anchors.shape)
    inputs = [molded_images, image_metas, anchors]
    if in_graph:
        with tf.compat.v1.get_default_graph().as_default():
            outputs = network.keras_model.predict(inputs, verbose=0)
    else:
        outputs = network.keras_model.predict(inputs)
    detections, _, _, mrcnn_mask, _, _, _ = outputs
    rois, class_ids, scores, masks = network.unmold_detections(
        detections[0], mrcnn_mask[0], image.shape, molded_images[0].shape, windows[0]
    )
    found = {"rois": rois, "class_ids": class_ids, "scores": scores}
    expected = network.detect([image])[0]
    for name, array in found.items():
        np.testing.assert_allclose(array, expected[name], rtol=0, atol=1e-4)  # float32 sums
    assert [output.shape[1:] for output in outputs] == [
        (10, 6), (40, 4), (40, 4, 4), (10, 28, 28, 4), (40, 4), (1023, 2), (1023, 4),
    ]  # fmt: skip


def test_things_servers_read(network, capsys):
    keras_model = network.keras_model
    assert keras_model._make_predict_function() is None
    assert [tensor.shape[-1] for tensor in keras_model.inputs] == [3, 16, 4]
    assert len(keras_model.outputs) == len(keras_model.output_names) == 7
    keras_model.summary()
    assert "mrcnn_detection" in capsys.readouterr().out


# -- Subclasses ---------------------------------------------------------------------------------


def test_subclass_with_its_own_detect(weights_path, image, r, tmp_path):
    """A copy of the original's detect(), changed a little, over the original's helpers."""

    class Sorted(mrcnn.model.MaskRCNN):
        def detect(self, images, verbose=0):
            assert self.mode == "inference"
            assert len(images) == self.config.BATCH_SIZE
            molded_images, image_metas, windows = self.mold_inputs(images)
            image_shape = molded_images[0].shape
            anchors = self.get_anchors(image_shape)
            anchors = np.broadcast_to(anchors, (self.config.BATCH_SIZE,) + anchors.shape)
            detections, _, _, mrcnn_mask, _, _, _ = self.keras_model.predict(
                [molded_images, image_metas, anchors], verbose=0
            )
            results = []
            for i, image in enumerate(images):
                final_rois, final_class_ids, final_scores, final_masks = self.unmold_detections(
                    detections[i], mrcnn_mask[i], image.shape, molded_images[i].shape, windows[i]
                )
                results.append(
                    {
                        "rois": final_rois,
                        "class_ids": final_class_ids,
                        "scores": final_scores,
                        "masks": final_masks,
                    }
                )
            return results

        def unmold_detections(
            self, detections, mrcnn_mask, original_image_shape, image_shape, window
        ):
            found = super().unmold_detections(
                detections, mrcnn_mask, original_image_shape, image_shape, window
            )
            order = np.argsort(found[0][:, 1])
            return found[0][order], found[1][order], found[2][order], found[3][..., order]

    model = Sorted(mode="inference", config=InferenceConfig(), model_dir=str(tmp_path))
    model.load_weights(weights_path, by_name=True)
    (found,) = model.detect([image])
    assert (np.diff(found["rois"][:, 1]) >= 0).all()
    np.testing.assert_array_equal(np.sort(found["rois"], axis=0), np.sort(r["rois"], axis=0))


# -- Looking inside -----------------------------------------------------------------------------


def test_inspect_model_notebook(network, dataset, capsys):
    model, config = network, network.config
    image, image_meta, gt_class_id, gt_bbox, gt_mask = modellib.load_image_gt(
        dataset, config, 2, use_mini_mask=False
    )
    info = dataset.image_info[2]
    print(f"image ID: {info['source']}.{info['id']} ({2}) {dataset.image_reference(2)}")
    modellib.log("gt_class_id", gt_class_id)

    pillar = model.keras_model.get_layer("ROI").output
    rpn = model.run_graph([image], [
        ("rpn_class", model.keras_model.get_layer("rpn_class").output),
        ("pre_nms_anchors", model.ancestor(pillar, "ROI/pre_nms_anchors:0")),
        ("refined_anchors", model.ancestor(pillar, "ROI/refined_anchors:0")),
        ("refined_anchors_clipped", model.ancestor(pillar, "ROI/refined_anchors_clipped:0")),
        ("proposals", model.keras_model.get_layer("ROI").output),
    ])  # fmt: skip
    sorted_anchor_ids = np.argsort(rpn["rpn_class"][:, :, 1].flatten())[::-1]
    h, w = config.IMAGE_SHAPE[:2]
    proposals = rpn["proposals"][0, :10] * np.array([h, w, h, w])
    assert len(sorted_anchor_ids) == 1023 and proposals.shape == (10, 4)

    mrcnn = model.run_graph([image], [
        ("proposals", model.keras_model.get_layer("ROI").output),
        ("probs", model.keras_model.get_layer("mrcnn_class").output),
        ("deltas", model.keras_model.get_layer("mrcnn_bbox").output),
        ("masks", model.keras_model.get_layer("mrcnn_mask").output),
        ("detections", model.keras_model.get_layer("mrcnn_detection").output),
    ])  # fmt: skip
    det_class_ids = mrcnn["detections"][0, :, 4].astype(np.int32)
    det_count = np.append(np.where(det_class_ids == 0)[0], len(det_class_ids))[0]
    roi_class_ids = np.argmax(mrcnn["probs"][0], axis=1)
    specific = mrcnn["deltas"][0, np.arange(len(roi_class_ids)), roi_class_ids]
    assert specific.shape == (40, 4)
    det_mask_specific = np.array(
        [mrcnn["masks"][0, i, :, :, c] for i, c in enumerate(det_class_ids[:det_count])]
    )
    assert det_mask_specific.shape == (det_count, 28, 28)
    assert "detections" in capsys.readouterr().out


def test_inspect_weights_notebook(network, capsys):
    layers = [layer for layer in network.get_trainable_layers() if type(layer).__name__ == "Conv2D"]
    weights = layers[0].get_weights()
    for i, weight in enumerate(weights):
        print(layers[0].weights[i].name, weight.shape)
    wrapper = network.keras_model.get_layer("mrcnn_mask_conv1")
    assert network.find_trainable_layer(wrapper) in network.get_trainable_layers()


def test_detect_molded(network, image, r):
    molded_images, image_metas, _ = network.mold_inputs([image])
    found = network.detect_molded(molded_images, image_metas, verbose=0)[0]
    np.testing.assert_array_equal(found["rois"], r["rois"])


def test_network_evaluated_over_a_dataset(network):
    """The loop of train_shapes: AP at 0.5 over some pictures."""
    dataset_val, inference_config, APs = shapes(3), network.config, []
    for image_id in np.random.choice(dataset_val.image_ids, 2):
        image, image_meta, gt_class_id, gt_bbox, gt_mask = modellib.load_image_gt(
            dataset_val, inference_config, image_id, use_mini_mask=False
        )
        molded_images = np.expand_dims(modellib.mold_image(image, inference_config), 0)
        results = network.detect([image], verbose=0)
        r = results[0]
        AP, precisions, recalls, overlaps = compute_ap(
            gt_bbox, gt_class_id, gt_mask, r["rois"], r["class_ids"], r["scores"], r["masks"]
        )
        APs.append(AP)
        assert molded_images.shape == (1, 64, 64, 3)
        assert overlaps.shape == (len(r["rois"]), len(gt_bbox))
    assert 0 <= np.mean(APs) <= 1
