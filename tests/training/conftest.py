"""Training without tracing: a traced step costs ten seconds before it runs, an eager one 0.3."""

import pytest


@pytest.fixture
def eager(monkeypatch):
    """Models compiled in this test run eagerly; the numbers are the same to rounding."""
    from mrcnn.run.keras_model import TrainingModel

    compile_graph = TrainingModel.compile

    def compile_eagerly(self, *args, **kwargs):
        compile_graph(self, *args, **kwargs)
        self.run_eagerly = True

    monkeypatch.setattr(TrainingModel, "compile", compile_eagerly)


@pytest.fixture
def deterministic():
    """Kernels that add up in one order. Without, a sum may end in another last bit, a proposal
    be drawn in another's place, and two runs part for good."""
    from tensorflow.python.framework import config

    config.enable_op_determinism()
    yield
    config.disable_op_determinism()
