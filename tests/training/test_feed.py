"""Pictures that go to the network as bytes: molded there to the same last bit."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from blobs import Blobs, config

from mrcnn.data.generator import DataGenerator
from mrcnn.data.images import molded_batch
from mrcnn.model import MaskRCNN
from mrcnn.train.feed import stream
from mrcnn.train.keras_model import TrainingModel


def training_model(mean, channels):
    """What molds, without a network behind it."""
    image = keras.Input([None, None, channels])
    model = TrainingModel([image], [keras.layers.Identity()(image)])
    model.prepare({}, 0.0, mean)
    return model


MEANS = [
    np.array([123.7, 116.8, 103.9]),
    np.array([123.7, 116.8, 103.9], np.float32),
    np.array([127, 1, 255], np.uint8),  # below it, bytes would begin anew at 255
    np.random.default_rng(0).uniform(0, 255, 4),
    [43.53],
    51.3,
    0,
]


@pytest.mark.parametrize("mean", MEANS, ids=str)
def test_all_bytes_are_molded_as_in_numpy(mean):
    channels = max(np.size(mean), 2)
    settings = config(MEAN_PIXEL=mean, IMAGE_CHANNEL_COUNT=channels)
    image = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(channels, axis=3)
    expected = molded_batch(image, settings)
    np.testing.assert_array_equal(expected, (image - np.float64(mean)).astype(np.float32))
    model = training_model(mean, channels)
    np.testing.assert_array_equal(model.molded(tf.constant(image)), expected)
    np.testing.assert_array_equal(model.molded(tf.constant(expected)), expected)

    # The same graph takes floats that are molded already, as their bytes.
    graph = tf.function(model.molded, [tf.TensorSpec([None, None, None, None], tf.uint8)])
    np.testing.assert_array_equal(graph(image), expected)
    np.testing.assert_array_equal(graph(expected.view(np.uint8)), expected)
    shape = graph.get_concrete_function().structured_outputs.shape
    assert shape.as_list() == [None, None, None, channels]


class Kinds(Blobs):
    """Pictures of a dtype each, by turns."""

    def __init__(self, kinds, channels=3, **kwargs):
        self.kinds, self.channels = kinds, channels
        super().__init__(**kwargs)

    def load_image(self, image_id):
        kind = self.kinds[image_id % len(self.kinds)]
        image = super().load_image(image_id)[:, :, [0, 1, 2, 1][: self.channels]]
        return image.astype(kind) + np.asarray(0.3).astype(kind)


@pytest.mark.parametrize("kinds, streamed", [
    ([np.uint8], np.uint8),
    ([np.float64], np.float32),
    ([np.uint16], np.float32),
    ([np.uint8, np.uint8, np.float32, np.float32, np.uint8, np.float64], np.uint8),
    ([np.float32, np.float32, np.uint8], np.float32),
], ids=["bytes", "floats", "words", "bytes, then both", "floats, then bytes"])  # fmt: skip
@pytest.mark.parametrize("channels, mean", [(3, [123.7, 116.8, 103.9]), (1, [43.5]), (4, 51.3)])
def test_a_stream_brings_what_the_generator_does(kinds, streamed, channels, mean):
    settings = config(IMAGE_CHANNEL_COUNT=channels, MEAN_PIXEL=np.array(mean))
    generator = DataGenerator(Kinds(kinds, channels), settings, shuffle=False, steps=3, seed=1)
    model = training_model(mean, channels)
    for k, (inputs,) in enumerate(stream(generator, 1).take(4)):
        assert inputs[0].dtype == streamed
        expected = generator[k % 3][0] if k < 3 else generator.batch(1, 0)[0]
        np.testing.assert_array_equal(model.molded(inputs[0]), expected[0])
        for array, other in zip(inputs[1:], expected[1:], strict=True):
            np.testing.assert_array_equal(array, other)


def test_the_losses_are_the_same_either_way(tmp_path, deterministic):
    """In the traced graph, as users train: bytes, floats among them, and a script's own arrays."""
    model = MaskRCNN("training", config(), str(tmp_path))
    model.compile(0.01, 0.9)
    keras_model = model.keras_model
    generator = DataGenerator(
        Kinds([np.uint8, np.uint8, np.float32, np.float32]), config(), shuffle=False, seed=1
    )

    def losses(inputs):
        keras_model.get_layer("proposal_targets").seed_generator.state.assign([1, 0])
        return keras_model.test_on_batch(inputs, return_dict=True)

    batches = [inputs for (inputs,) in stream(generator, 1).take(2).as_numpy_iterator()]
    assert [inputs[0].shape[3] for inputs in batches] == [3, 12]
    for k, inputs in enumerate(batches):
        assert losses(inputs) == losses(generator[k][0])
    assert losses(batches[0]) != losses(batches[1])
