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
