"""Training that comes out the same to the last bit."""

import pytest


@pytest.fixture
def deterministic():
    """Kernels that add up in one order. Without, a sum may end in another last bit, a proposal
    be drawn in another's place, and two runs part for good."""
    from tensorflow.python.framework import config

    config.enable_op_determinism()
    yield
    config.disable_op_determinism()
