"""detect() and what stands around it: any pictures, any number of them, mistakes named."""

import time
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from small_network import SmallConfig, blobs, reconfigured, small_config

from mrcnn.detect import check
from mrcnn.detect.instances import LimitWarning
from mrcnn.detect.mold import Molded
from mrcnn.detect.unmold import unmold_batch, unmold_detections
from mrcnn.model import MaskRCNN

SIZES = [(64, 64), (40, 90), (64, 64), (130, 70), (33, 34), (64, 64), (200, 50)]


def assert_same(ours, theirs):
    """Equal pixels; scores within 1e-4, for Eigen adds up a larger batch in another order."""
    np.testing.assert_array_equal(ours["rois"], theirs["rois"])
    np.testing.assert_array_equal(ours["class_ids"], theirs["class_ids"])
    np.testing.assert_allclose(ours["scores"], theirs["scores"], rtol=0, atol=1e-4)
    assert ours["masks"].shape == theirs["masks"].shape
    assert (ours["masks"] != theirs["masks"]).mean() < 1e-3


# -- Any number of pictures -----------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 2, 3])
@pytest.mark.parametrize("mode", ["square", "pad64"])
def test_many_pictures_give_what_each_gives_alone(small_model, batch_size, mode):
    pictures = [blobs(*size, seed) for seed, size in enumerate(SIZES)]
    alone = reconfigured(small_model, IMAGE_RESIZE_MODE=mode)
    model = reconfigured(small_model, IMAGE_RESIZE_MODE=mode, IMAGES_PER_GPU=batch_size)
    together = model.detect(pictures)
    assert len(together) == len(pictures) and all(len(result["rois"]) for result in together)
    for result, picture in zip(together, pictures):
        assert_same(result, alone.detect([picture])[0])


def test_no_pictures(small_model):
    assert small_model.detect([]) == []


def test_a_stack_of_pictures_counts_as_a_list(small_model):
    pictures = [blobs(64, 64, seed) for seed in range(2)]
    for ours, theirs in zip(small_model.detect(np.stack(pictures)), small_model.detect(pictures)):
        assert_same(ours, theirs)


@pytest.mark.parametrize("shape", [(64, 64, 3), (64, 64)])
def test_one_array_in_place_of_a_list(small_model, shape):
    """Its rows would pass for grey pictures."""
    with pytest.raises(ValueError, match=r"detect\(\[picture\]\)"):
        small_model.detect(np.zeros(shape, np.uint8))


def test_one_trace_serves_all_sizes(small_model):
    model = reconfigured(small_model, IMAGE_RESIZE_MODE="pad64", IMAGES_PER_GPU=3)
    model.detect([blobs(64, 64)])
    forward = model._forward.traced[1]
    traces = forward.experimental_get_tracing_count()
    model.detect([blobs(*size) for size in SIZES])
    model.detect([blobs(300, 64)])
    assert model._forward.traced[1] is forward and traces == 1
    assert forward.experimental_get_tracing_count() == 1


def test_threads_may_share_a_model(small_model):
    """As a web server's do."""
    pictures = [blobs(*size, seed) for seed, size in enumerate(SIZES)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda picture: small_model.detect([picture])[0], pictures))
    for result, picture in zip(results, pictures):
        assert_same(result, small_model.detect([picture])[0])


def test_verbose_says_what_goes_in(small_model, capsys):
    small_model.detect([blobs(64, 64)], verbose=1)
    printed = capsys.readouterr().out
    assert "Processing 1 images" in printed
    assert all(name in printed for name in ("molded_images", "image_metas", "anchors"))
    small_model.detect([blobs(64, 64)])
    assert capsys.readouterr().out == ""


# -- Any kind of picture --------------------------------------------------------------------


@pytest.mark.parametrize(
    "convert",
    [
        lambda picture: picture.astype(np.float32),
        lambda picture: picture.astype(np.float64),
        lambda picture: picture.astype(np.int64),
        lambda picture: picture.astype(np.uint16),
        lambda picture: np.dstack([picture, np.full(picture.shape[:2], 9, np.uint8)]),  # RGBA
        lambda picture: picture.tolist(),
        lambda picture: np.asfortranarray(picture),
        lambda picture: picture[::-1][::-1],
    ],
    ids=["float32", "float64", "int64", "uint16", "RGBA", "list", "Fortran", "negative strides"],
)
def test_same_picture_in_another_form(small_model, convert):
    picture = blobs(64, 64)
    assert_same(small_model.detect([convert(picture)])[0], small_model.detect([picture])[0])


@pytest.mark.parametrize("channels", [None, 1, 2])
def test_grey(small_model, channels):
    """[h, w], [h, w, 1] and grey with alpha are what the same grey as RGB is."""
    grey = blobs(64, 64)[..., 0]
    picture = grey if channels is None else np.dstack([grey, 7 * grey])[..., :channels]
    expected = small_model.detect([np.dstack([grey] * 3)])[0]
    assert_same(small_model.detect([picture])[0], expected)


def test_bool_is_black_and_white(small_model):
    mask = blobs(64, 64)[..., 0] > 100
    expected = small_model.detect([mask.astype(np.uint8) * 255])[0]
    assert_same(small_model.detect([mask])[0], expected)


def test_floats_up_to_1_are_stretched_with_a_warning(small_model, monkeypatch):
    monkeypatch.setattr(check, "_warned", {"limit"})
    picture = blobs(64, 64)
    with pytest.warns(UserWarning, match="picture 2 of 2 holds values of 0..1") as caught:
        results = small_model.detect([picture, picture / 255])
    assert caught[0].filename == __file__  # the line that called detect
    assert_same(results[1], results[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small_model.detect([np.zeros((64, 64, 3), np.float32)])  # black is black in any range


@pytest.mark.parametrize(
    ("picture", "sentence"),
    [
        (blobs(64, 64).astype(np.uint16) * 257, r"\(uint16\) holds values from .* to \d{5} "),
        (blobs(64, 64) * np.float32(-1), "holds values from -"),
        (np.full((64, 64, 3), np.nan), "holds NaN"),
        (np.full((64, 64, 3), np.inf, np.float32), "holds NaN or infinite"),
        (np.zeros((0, 64, 3), np.uint8), r"is empty: its shape is \(0, 64, 3\)"),
        (np.zeros((64, 64, 0), np.uint8), "is empty"),
        (np.zeros((64, 64, 5), np.uint8), "has 5 channels and the network 3"),
        (np.zeros((3, 64, 64), np.uint8), "has 64 channels"),
        (np.zeros((1, 64, 64, 3), np.uint8), r"array of shape \(1, 64, 64, 3\)"),
        (np.array([["a"]]), "type <U1"),
        (np.zeros((4, 4, 3), complex), "type complex128"),
        (None, "type object"),
        ("cat.jpg", "type <U7"),
    ],
)
def test_refused_before_anything_runs(small_model, picture, sentence, monkeypatch):
    monkeypatch.setattr("mrcnn.model.molded_batches", None)
    with pytest.raises(ValueError, match=f"picture 2 of 2 .*{sentence}"):
        small_model.detect([blobs(64, 64), picture])


def test_mode_none_refuses_sides_that_can_t_be_halved(small_model):
    model = reconfigured(small_model, IMAGE_RESIZE_MODE="none")
    with pytest.raises(ValueError, match='picture 1 of 1 enters the network as 100x64.*"pad64"'):
        model.detect([blobs(100, 64)])


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (3, 200), (200, 3), (1, 500), (500, 1)])
@pytest.mark.parametrize("mode", ["square", "pad64"])
def test_tiny_and_elongated(small_model, size, mode):
    """Scaled down to a single row, the window has no height in normalised coordinates."""
    if mode == "pad64" and max(size) > 300:
        pytest.skip("64 times larger: 32,000 pixels wide")
    model = reconfigured(small_model, IMAGE_RESIZE_MODE=mode)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (result,) = model.detect([blobs(*size)])
    rois, count = result["rois"], len(result["rois"])
    assert result["masks"].shape == (*size, count)
    assert (rois >= 0).all() and (rois[:, 2:] <= size).all() and (rois[:, 2:] > rois[:, :2]).all()


def test_nothing_found(small_model):
    layer = small_model.keras_model.get_layer("mrcnn_class_logits")
    kernel, bias = layer.get_weights()
    try:
        layer.set_weights([0 * kernel, bias + [9.0, 0, 0]])
        (result,) = small_model.detect([blobs(50, 70)])
    finally:
        layer.set_weights([kernel, bias])
    shapes = {name: (array.shape, array.dtype) for name, array in result.items()}
    assert shapes == {
        "rois": ((0, 4), np.int32),
        "class_ids": ((0,), np.int32),
        "scores": ((0,), np.float32),
        "masks": ((50, 70, 0), bool),
    }


# -- Unmolding ------------------------------------------------------------------------------


def detections_of(count, seed=0):
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.uniform(0, 1, (count, 2, 2)), axis=1).reshape(count, 4)
    return np.concatenate([corners, np.ones((count, 1)), np.full((count, 1), 0.9)], axis=1)


def test_boxes_without_pixels_are_left_out():
    detections = detections_of(4).astype(np.float32)
    detections[1, 2] = detections[1, 0] - 1 / 63  # the far corner lies outside the box
    boxes, class_ids, scores, masks = unmold_detections(
        detections, np.ones((4, 28, 28, 2), np.float32), (64, 64, 3), (64, 64, 3), (0, 0, 64, 64)
    )
    assert len(boxes) == len(class_ids) == len(scores) == masks.shape[-1] == 3
    for box, mask in zip(boxes, np.moveaxis(masks, -1, 0)):
        y1, x1, y2, x2 = box
        assert mask.sum() == mask[y1:y2, x1:x2].sum() == (y2 - y1) * (x2 - x1)


def test_a_hundred_masks_of_a_large_picture():
    """600 MB of masks as bool; a float array of the picture for each would be 2.4 GB or more."""
    soft = np.random.default_rng(0).uniform(0, 1, (100, 28, 28, 2)).astype(np.float32)
    tracemalloc.start()
    started = time.thread_time()
    masks = unmold_detections(
        detections_of(100), soft, (2000, 3000, 3), (1024, 1024, 3), (171, 0, 853, 1024)
    )[-1]
    seconds = time.thread_time() - started
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert masks.shape[:2] == (2000, 3000) and masks.dtype == bool
    assert peak < masks.nbytes + 4 * 2000 * 3000 * 4  # a few pictures of floats at most
    assert seconds < 3  # of this thread's own time, so that a busy machine doesn't count


@pytest.mark.slow
def test_memory_stays_flat(small_model):
    """200 calls of 128 pixels after a warm-up; 30 MB is what allocators may wander."""
    model = reconfigured(small_model, IMAGE_MIN_DIM=128, IMAGE_MAX_DIM=128)

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096 / 2**20

    for i in range(30):
        model.detect([blobs(100 + i, 128)])
    before = resident()
    for i in range(200):
        model.detect([blobs(64 + i % 100, 128)])
    assert resident() - before < 30


def _found(count, most, seed=0):
    """A batch of one picture in which `count` of at most `most` instances are found."""
    detections = np.zeros((1, most, 6), np.float32)
    detections[0, :count] = detections_of(count, seed)
    shape = (64, 96, 3)
    batch = Molded([shape], np.zeros((1, *shape)), np.zeros((1, 14)), np.array([[0, 0, 64, 96]]))
    return batch, detections, np.ones((1, most, 28, 28, 2), np.float32), ["BG", "a"]


def test_a_limit_that_is_reached_is_told_once_with_the_setting(monkeypatch):
    monkeypatch.setattr(check, "_warned", set())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for count in (7, 8, 8):
            (found,) = unmold_batch(*_found(count, 8), unmold_detections)
            assert found.limited is (count == 8)
    (said,) = [str(warning.message) for warning in caught]
    assert said.startswith("a picture of 64x96 has 8 instances") and "DETECTION_MAX_INST" in said
    assert found[:2].limited  # it goes along


def test_who_ignores_the_limit_for_a_while_does_not_use_up_its_warning(monkeypatch):
    monkeypatch.setattr(check, "_warned", set())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LimitWarning)
        unmold_batch(*_found(8, 8), unmold_detections)
    with pytest.warns(LimitWarning):
        unmold_batch(*_found(8, 8), unmold_detections)


def test_a_limit_counts_what_the_network_gave_and_not_what_is_left_of_it(monkeypatch):
    """An instance without a pixel was one of those that the limit lets through."""
    monkeypatch.setattr(check, "_warned", set())
    batch, detections, *rest = _found(8, 8)
    detections[0, 3, 2] = detections[0, 3, 0] - 1 / 63
    with pytest.warns(UserWarning, match="DETECTION_MAX_INSTANCES"):
        (found,) = unmold_batch(batch, detections, *rest, unmold_detections)
    assert len(found) == 7 and found.limited


def test_tensorflow_out_of_memory_is_one_sentence(small_model, monkeypatch):
    import tensorflow as tf

    model = reconfigured(small_model)
    graph = "OOM when allocating tensor with shape[1,256,9,9]\n\t [[{{node a}}]]\n" * 99

    for kind in (tf.errors.ResourceExhaustedError, tf.errors.InternalError):

        def run(*_, kind=kind):
            raise kind(None, None, f"Graph execution error:\n{graph}")

        monkeypatch.setattr(type(model._forward), "_run", staticmethod(run))
        with pytest.raises(MemoryError, match="picture of 64x64: lower IMAGE_MAX_DIM") as caught:
            model.detect([blobs(64, 64)])
        assert "\n" not in str(caught.value) and caught.value.__suppress_context__


# -- Molded pictures, subclasses, looking inside --------------------------------------------


def test_detect_molded(small_model):
    """Without padding, molded pixels are the picture's own."""
    picture = blobs(64, 64)
    molded, metas, _ = small_model.mold_inputs([picture])
    expected = small_model.detect([picture])[0]
    assert_same(small_model.detect_molded(molded, metas)[0], expected)


def test_subclass_may_mold_and_unmold_its_own_way(small_model):
    """12 repositories override these two."""

    class Own(MaskRCNN):
        def mold_inputs(self, images):
            self.molded = len(images)
            return super().mold_inputs(images)

        def unmold_detections(self, *args):
            boxes, class_ids, scores, masks = super().unmold_detections(*args)
            return boxes[:1], class_ids[:1], scores[:1], masks[..., :1]

    model = Own.__new__(Own)
    vars(model).update(vars(small_model))
    (result,) = model.detect([blobs(64, 64)])
    assert model.molded == 1 and result["masks"].shape == (64, 64, 1)


def test_run_graph_goes_as_far_as_one_asks(small_model, capsys):
    model, pictures = small_model, [blobs(64, 64), blobs(64, 64, 1)]
    layer = model.keras_model.get_layer
    taps = [
        ("P2", layer("fpn_p2").output),
        ("anchors", model.ancestor(layer("ROI").output, "ROI/pre_nms_anchors:0")),
        ("refined", model.ancestor(layer("ROI").output, "ROI/refined_anchors:0")),
        ("clipped", model.ancestor(layer("ROI").output, "ROI/refined_anchors_clipped:0")),
        ("rois", layer("ROI").output),
        ("res4a", model.ancestor(layer("fpn_p2").output, "res4a_out")),
    ]
    found = model.run_graph(pictures, taps)
    assert list(found) == [name for name, _ in taps]
    assert found["P2"].shape == (2, 16, 16, 16)
    assert found["anchors"].shape == found["refined"].shape == (2, 1023, 4)
    assert found["clipped"].min() == 0 and found["clipped"].max() == 1
    np.testing.assert_array_equal(found["clipped"], found["refined"].clip(0, 1))
    assert found["res4a"].shape == (2, 4, 4, 128)
    assert "P2" in capsys.readouterr().out

    (lone,) = model.run_graph(pictures, taps[:1]).values()  # Keras gives no list for one
    np.testing.assert_allclose(lone, found["P2"], rtol=0, atol=1e-5)
    molded, metas, _ = model.mold_inputs(pictures)
    again = model.run_graph(molded, taps[:2], image_metas=metas)["P2"]
    np.testing.assert_allclose(again, found["P2"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["no_such_layer", "ROI/no_such_step", "res4a_out/refined_anchors"])
def test_ancestor_that_isn_t_there(small_model, name):
    with pytest.raises(ValueError, match=name.split("/")[-1]):
        small_model.ancestor(small_model.keras_model.output[0], name)


def test_trainable_layers(small_model):
    layers = small_model.get_trainable_layers()
    assert all(layer.weights for layer in layers)
    wrapper = small_model.keras_model.get_layer("mrcnn_class_conv1")
    inner = small_model.find_trainable_layer(wrapper)
    assert inner is wrapper.layer and inner in layers
    conv1 = small_model.keras_model.get_layer("conv1")
    assert small_model.find_trainable_layer(conv1) is conv1


def test_anchors_are_kept_and_shown_in_pixels(small_model):
    model = reconfigured(small_model)
    anchors = model.get_anchors((64, 128, 3))
    assert model.get_anchors((64, 128, 3)) is anchors
    assert anchors.shape == model.anchors.shape == (3 * 682, 4)
    pixels = model.anchors
    np.testing.assert_allclose(anchors[:, 2], (pixels[:, 2] - 1) / 63, rtol=1e-6, atol=1e-7)


def test_the_anchors_of_sixty_sizes_take_no_more_than_those_of_a_few(small_model):
    """They held 349 MB, and went on growing."""
    model = reconfigured(small_model, IMAGE_RESIZE_MODE="pad64")
    forward = model._forward
    tracemalloc.start()
    for i in range(60):
        height, width = 640 + 64 * (i % 10), 640 + 64 * (i // 10)
        forward.anchors((height, width, 3), model.config)
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(forward.anchor_cache) <= forward.SIZES and kept < forward.BYTES
    for side in (2048, 1984):  # two that don't go together
        forward.anchors((side, side, 3), model.config)
    assert list(forward.anchor_cache) == [(2048, 2048, 3), (1984, 1984, 3)][-1:]


# -- Mistakes of whoever builds a model -----------------------------------------------------


def test_wrong_mode_or_config(tmp_path):
    with pytest.raises(ValueError, match="mode is 'predict'.*training.*inference"):
        MaskRCNN("predict", SmallConfig(), str(tmp_path))
    with pytest.raises(TypeError, match="config is the class SmallConfig: give an object"):
        MaskRCNN("inference", SmallConfig, str(tmp_path))


def test_what_needs_the_other_mode(small_model, tmp_path):
    with pytest.raises(RuntimeError, match=r'train\(\) needs MaskRCNN\(mode="training"'):
        small_model.train(None, None, 0.001, 1, "heads")
    with pytest.raises(RuntimeError, match=r"compile\(\) needs"):
        small_model.compile(0.001, 0.9)
    training = MaskRCNN("training", small_config(), str(tmp_path))
    with pytest.raises(RuntimeError, match=r'detect\(\) needs MaskRCNN\(mode="inference"'):
        training.detect([blobs(64, 64)])
    with pytest.raises(RuntimeError, match=r"detect_molded\(\) needs"):
        training.detect_molded(np.zeros((1, 64, 64, 3)), np.zeros((1, 15)))
