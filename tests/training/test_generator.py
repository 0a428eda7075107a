"""Which pictures a batch holds, and that nothing but the seed decides it."""

import collections
import itertools
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from blobs import Blobs, config
from patience import PATIENCE

from mrcnn.data import augment
from mrcnn.data.generator import DataGenerator, data_generator


def ids(generator, index):
    """The pictures of batch `index`, from its image metas."""
    return generator[index][0][1][:, 0].astype(int).tolist()


def assert_same(batch, other):
    assert len(batch) == len(other)
    for part, other_part in zip(batch, other):
        assert len(part) == len(other_part)
        for array, other_array in zip(part, other_part):
            np.testing.assert_array_equal(array, other_array)


def test_shapes_in_the_originals_order():
    generator = DataGenerator(Blobs(), config(), seed=1)
    (images, metas, rpn_match, rpn_bbox, class_ids, boxes, masks), outputs = generator[0]
    anchors = len(generator.anchors)
    assert anchors == 3 * (16**2 + 8**2 + 4**2 + 2**2 + 1)
    assert images.shape == (2, 64, 64, 3) and images.dtype == np.float32 and images.min() < 0
    assert metas.shape == (2, 12 + 3)
    assert rpn_match.shape == (2, anchors, 1) and set(np.unique(rpn_match)) == {-1, 0, 1}
    assert rpn_bbox.shape == (2, 32, 4)
    assert class_ids.shape == (2, 5) and class_ids[:, :3].all() and not class_ids[:, 3:].any()
    assert boxes.shape == (2, 5, 4) and boxes[:, :3].any(axis=-1).all()
    assert masks.shape == (2, 16, 16, 5) and masks.dtype == bool and not masks[..., 3:].any()
    assert outputs == ()
    full = DataGenerator(Blobs(), config(USE_MINI_MASK=False), seed=1)[0][0]
    assert full[6].shape == (2, 64, 64, 5)


@pytest.mark.parametrize("count, batches", [(6, 3), (7, 4)])
def test_each_picture_once_a_pass_and_reshuffled(count, batches):
    generator = DataGenerator(Blobs(count), config(), seed=1)
    assert len(generator) == batches
    passes = []
    for _ in range(3):
        shown = [ids(generator, i) for i in range(batches)]
        assert [len(batch) for batch in shown] == [2] * (batches - 1) + [2 - count % 2]
        passes.append(list(itertools.chain(*shown)))
        assert sorted(passes[-1]) == list(range(count))
        generator.on_epoch_end()
    assert len({tuple(order) for order in passes}) == 3
    unshuffled = DataGenerator(Blobs(count), config(), shuffle=False, seed=1)
    assert ids(unshuffled, 0) + ids(unshuffled, 1) == [0, 1, 2, 3]


def test_steps_cross_passes():
    """5 pictures, 3 steps of 2 an epoch: 15 epochs show each picture exactly 18 times."""
    generator = DataGenerator(Blobs(5), config(), steps=3, seed=1)
    assert len(generator) == 3
    shown = []
    for _ in range(15):
        shown += itertools.chain(*(ids(generator, i) for i in range(3)))
        generator.on_epoch_end()
    assert all(sorted(shown[i : i + 5]) == [0, 1, 2, 3, 4] for i in range(0, 90, 5))


def augmenting(seed=3, **kwargs):
    made = augment.Compose([augment.flip_left_right(), augment.turn(), augment.noise()])
    return DataGenerator(Blobs(8), config(), augmentation=made, seed=seed, **kwargs)


def test_the_seed_alone_decides():
    straight = augmenting()
    in_order = [straight[i] for i in range(4)]
    for i, batch in enumerate(in_order):
        assert_same(batch, straight[i])  # asked for twice
    backwards = augmenting()
    for i in reversed(range(4)):
        assert_same(backwards[i], in_order[i])
    with ThreadPoolExecutor(4) as pool:
        for batch, expected in zip(pool.map(augmenting().__getitem__, range(4)), in_order):
            assert_same(batch, expected)
    other = augmenting(seed=4)[0]
    assert (other[0][0] != in_order[0][0][0]).any()


def test_a_generator_that_begins_at_an_epoch_goes_on_like_an_unbroken_one():
    straight = augmenting(steps=3)
    straight.on_epoch_end()
    straight.on_epoch_end()
    assert_same(straight[1], augmenting(steps=3, epoch=2)[1])
    assert (straight[1][0][0] != augmenting(steps=3, epoch=1)[1][0][0]).any()


def test_validation_shows_the_same_in_every_epoch():
    generator = augmenting(steps=2, same_every_epoch=True)
    before = generator[1]
    generator.on_epoch_end()
    assert_same(before, generator[1])


def test_numpys_seed_settles_the_default():
    np.random.seed(5)
    first = DataGenerator(Blobs(), config())[0]
    np.random.seed(5)
    assert_same(first, DataGenerator(Blobs(), config())[0])


def test_pictures_without_instances_are_left_out_and_that_is_said_once(caplog):
    with caplog.at_level(logging.WARNING):
        generator = DataGenerator(Blobs(6, empty=(1, 2, 4)), config(), seed=1)
        shown = [ids(generator, i) for _ in range(2) for i in range(3)]
    assert set(itertools.chain(*shown)) == {0, 3, 5}
    assert all(1 <= len(batch) <= 2 for batch in shown)  # never an empty batch
    assert len(caplog.records) == 1 and "TRAIN_ON_EMPTY_IMAGES" in caplog.text
    kept = DataGenerator(Blobs(6, empty=(1, 2, 4)), config(TRAIN_ON_EMPTY_IMAGES=True), seed=1)
    assert sorted(itertools.chain(*(ids(kept, i) for i in range(3)))) == list(range(6))
    nothing = DataGenerator(Blobs(2, empty=(0, 1)), config(), seed=1)
    with pytest.raises(ValueError, match="No picture of the dataset has an instance"):
        nothing[0]
    with pytest.raises(ValueError, match="no pictures. Was prepare"):
        DataGenerator(Blobs(0), config())


def test_a_picture_without_instances_has_only_background_anchors():
    settings = config(TRAIN_ON_EMPTY_IMAGES=True, IMAGES_PER_GPU=1)
    (_, _, rpn_match, rpn_bbox, class_ids, boxes, masks), _ = DataGenerator(
        Blobs(1, empty=(0,)), settings, seed=1
    )[0]
    assert (rpn_match == -1).sum() == 32 and not (rpn_match == 1).any()
    assert not rpn_bbox.any() and not class_ids.any() and not boxes.any() and not masks.any()


def test_more_instances_than_there_are_places():
    settings = config(MAX_GT_INSTANCES=2, USE_MINI_MASK=False, IMAGES_PER_GPU=1)
    dataset = Blobs(1, blobs=4)
    chosen = collections.Counter()
    for seed in range(12):
        inputs, _ = DataGenerator(dataset, settings, shuffle=False, seed=seed)[0]
        class_ids, boxes, masks = (x[0] for x in inputs[4:])
        assert class_ids.shape == (2,) and class_ids.all()
        for box, mask in zip(boxes, masks.transpose(2, 0, 1)):
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            assert box.tolist() == [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]
            chosen[tuple(box)] += 1
    assert len(chosen) == 4  # all four had their turn


def test_sources_that_are_not_augmented():
    turned = lambda image, mask, rng: (image[::-1], mask[::-1])  # noqa: E731
    plain, spared, augmented = (
        DataGenerator(Blobs(), config(), augmentation=a, no_augmentation_sources=s, seed=1)[0][0][0]
        for a, s in ((None, None), (turned, ["blobs"]), (turned, ["other"]))
    )
    np.testing.assert_array_equal(spared, plain)
    np.testing.assert_array_equal(augmented, plain[:, ::-1])


def test_made_up_regions_and_targets():
    rois_only, _ = DataGenerator(Blobs(), config(), random_rois=30, seed=1)[0]
    assert len(rois_only) == 8 and rois_only[7].shape == (2, 30, 4)
    make = dict(random_rois=30, detection_targets=True, seed=1)
    inputs, (class_ids, deltas, masks) = DataGenerator(Blobs(), config(), **make)[0]
    np.testing.assert_array_equal(inputs[7], rois_only[7])
    assert inputs[8].shape == (2, 12, 4)  # the regions that were chosen
    assert class_ids.shape == (2, 12, 1) and class_ids.any()
    assert deltas.shape == (2, 12, 3, 4)
    assert masks.shape == (2, 12, 28, 28, 3)
    assert_same(DataGenerator(Blobs(), config(), **make)[0], (inputs, (class_ids, deltas, masks)))
    without, _ = DataGenerator(Blobs(), config(), seed=1)[0]
    assert_same((without, ()), (inputs[:7], ()))  # they take nothing from the others' numbers


def test_old_spelling():
    flipped = lambda image, mask, rng: (image[:, ::-1], mask[:, ::-1])  # noqa: E731
    np.random.seed(2)
    old = data_generator(Blobs(), config(), False, False, flipped, 9, 3, True, ["other"])
    inputs, outputs = next(old)
    assert isinstance(inputs, list) and isinstance(outputs, list)
    assert inputs[1][:, 0].tolist() == [0, 1, 2]
    assert len(inputs) == 9 and inputs[7].shape == (3, 9, 4) and len(outputs) == 3
    np.random.seed(2)
    plain = next(data_generator(Blobs(), config(), False, batch_size=3))[0]
    np.testing.assert_array_equal(inputs[0], plain[0][:, :, ::-1])
    assert [next(old)[0][1][:, 0].tolist() for _ in range(2)] == [[3, 4, 5], [0, 1, 2]]


def test_pictures_of_different_sizes_cannot_share_a_batch():
    class TwoSizes(Blobs):
        def load_image(self, image_id):
            return np.zeros((64 * (1 + image_id), 64, 3), np.uint8)

        def load_mask(self, image_id):
            mask, class_ids = super().load_mask(image_id)
            return np.pad(mask, ((0, 64 * image_id), (0, 0), (0, 0))), class_ids

    generator = DataGenerator(TwoSizes(2), config(IMAGE_RESIZE_MODE="pad64"), shuffle=False, seed=1)
    with pytest.raises(ValueError, match=r"\(64, 64, 3\), \(128, 64, 3\).*IMAGES_PER_GPU = 1"):
        generator[0]
    alone = config(IMAGE_RESIZE_MODE="pad64", IMAGES_PER_GPU=1)
    generator = DataGenerator(TwoSizes(2), alone, shuffle=False, seed=1)
    assert [generator[i][0][0].shape[1] for i in range(2)] == [64, 128]


@pytest.mark.parametrize("workers", [1, 3])
def test_the_stream_is_in_order_whatever_the_threads(workers):
    """What train() reads: batch after batch and epoch after epoch, from the generator's on."""
    from mrcnn.train.feed import stream

    class Slow(Blobs):
        def load_image(self, image_id):
            time.sleep(0.05 * (image_id % 3))  # later pictures are ready earlier
            return super().load_image(image_id)

    generator = DataGenerator(Slow(), config(), steps=2, epoch=3, seed=1)
    streamed = list(stream(generator, workers).take(5).as_numpy_iterator())
    for k, (inputs,) in enumerate(streamed):
        assert_same((inputs, ()), generator.batch(3 + k // 2, k % 2, molded=False))
    assert generator.epoch == 3

    validation = DataGenerator(Blobs(), config(), steps=2, seed=1, same_every_epoch=True)
    streamed = list(stream(validation, workers).take(4).as_numpy_iterator())
    assert_same((streamed[3][0], ()), (streamed[1][0], ()))


def test_the_stream_takes_pictures_of_any_size():
    from mrcnn.train.feed import stream

    class Growing(Blobs):
        def load_image(self, image_id):
            return np.zeros((64, 64 * (1 + image_id // 2), 3), np.uint8)

        def load_mask(self, image_id):
            mask, class_ids = super().load_mask(image_id)
            return np.pad(mask, ((0, 0), (0, 64 * (image_id // 2)), (0, 0))), class_ids

    settings = config(IMAGE_RESIZE_MODE="pad64", IMAGES_PER_GPU=1)
    batches = stream(DataGenerator(Growing(), settings, shuffle=False, seed=1), 1)
    assert [x.shape for x in batches.element_spec[0]][::2] == [
        (None, None, None, None),  # floats among bytes would have four times the channels
        (None, None, 1),
        (None, 5),
        (None, 16, 16, 5),
    ]
    widths = [inputs[0].shape[2] for (inputs,) in batches.take(6).as_numpy_iterator()]
    assert widths == [64, 64, 128, 128, 192, 192]


def running_threads():
    """Python's own threads; those of TensorFlow that once ran a Python function never end."""
    return {t for t in threading.enumerate() if not isinstance(t, threading._DummyThread)}


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_names_the_picture_and_ends_fit(workers, tmp_path):
    """Batch 0 is looked at first; this error comes later, from a thread amid others' work."""
    from mrcnn.model import MaskRCNN
    from mrcnn.train.feed import stream

    class Broken(Blobs):
        def load_mask(self, image_id):
            if image_id == 9:
                raise KeyError("all_points_y")
            return super().load_mask(image_id)

    model = MaskRCNN("training", config(), str(tmp_path))
    model.compile(0.01, 0.9)
    model.keras_model.run_eagerly = True
    generator = DataGenerator(Broken(40), config(), shuffle=False, seed=1)
    threads = running_threads()
    with pytest.raises(Exception, match="all_points_y") as caught:
        model.keras_model.fit(stream(generator, workers), steps_per_epoch=20, verbose=0)
    told = str(caught.value) + "".join(getattr(caught.value, "__notes__", []))
    assert "While loading Picture 9 (blobs.blob9)" in told
    del caught
    deadline = time.monotonic() + PATIENCE
    while (left := running_threads() - threads) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left
