"""The shim under the original's name."""

import keras
import pytest

from mrcnn.parallel_model import ParallelModel


def test_it_gives_the_model_back():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    assert ParallelModel(model, 1) is model
    with pytest.warns(UserWarning, match="MirroredStrategy"):
        assert ParallelModel(keras_model=model, gpu_count=2) is model
