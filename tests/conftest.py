"""Fixtures that several folders share; building a network costs seconds, so each is built once."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is first imported
if "PYTEST_XDIST_WORKER" in os.environ:
    # There are as many workers as cores: threads beyond one each would only wait for each other.
    for name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")

import pytest
from small_network import SmallConfig, blobs, fill

# `pytest -m quick`: what the first minute of a change asks, with one forward pass.
QUICK = (
    *("tests/geometry/", "tests/data/", "tests/weights/", "tests/test_config.py"),
    *("tests/test_house.py", "tests/test_whole.py", "tests/test_surface.py", "tests/test_lint.py"),
    "tests/model/test_detect.py::test_many_pictures_give_what_each_gives_alone[square-1]",
)
NOT_QUICK = ("tests/data/test_formats_fuzz.py", "keras_applications", "holds_the_tensors")

# A worker takes a file at a time: what takes longest comes first, or one works alone at the end.
LONGEST = (
    *("tests/training/test_resume.py", "tests/training/test_train.py"),
    *("tests/training/test_workers.py", "tests/samples/test_notebooks.py"),
)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))  # else in the same order
    for item in items:
        slow = item.get_closest_marker("slow") or item.get_closest_marker("network")
        left_out = any(part in item.nodeid for part in NOT_QUICK)
        if item.nodeid.startswith(QUICK) and not slow and not left_out:
            item.add_marker("quick")


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
