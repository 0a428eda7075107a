"""Fixtures that several folders share; building a network costs seconds, so each is built once."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is first imported

import pytest
from small_network import SmallConfig, blobs, fill


@pytest.fixture(scope="session")
def small_model(tmp_path_factory):
    """An inference model of 64x64 pixels that finds things in `blobs`; leave it as it is."""
    from mrcnn.model import MaskRCNN

    model = MaskRCNN("inference", SmallConfig(), str(tmp_path_factory.mktemp("logs")))
    fill(model.keras_model)
    model.detect([blobs(64, 64)])  # traces it, for itself and for its `reconfigured` copies
    return model


@pytest.fixture
def eager(monkeypatch):
    """Training without tracing, which costs ten seconds before the first step.

    Models compiled in this test run eagerly; the numbers are the same to rounding.
    """
    from mrcnn.train.keras_model import TrainingModel

    compile_graph = TrainingModel.compile

    def compile_eagerly(self, *args, **kwargs):
        compile_graph(self, *args, **kwargs)
        self.run_eagerly = True

    monkeypatch.setattr(TrainingModel, "compile", compile_eagerly)
