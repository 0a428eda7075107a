"""The weight file of the small model, and the layouts of the original's files."""

import json
from pathlib import Path

import pytest
from small_model import small_layout

from mrcnn.weights.synthetic import write_synthetic

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="session")
def layouts() -> dict:
    """{model: [[layer, [[weight name, shape], ...]], ...]} of the original's five models."""
    return json.loads((GOLDEN / "manifests.json").read_text())


@pytest.fixture(scope="session")
def synthetic_golden() -> dict:
    return json.loads((GOLDEN / "synthetic.json").read_text())


@pytest.fixture
def small_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.h5"
    write_synthetic(path, small_layout(), seed=1)
    return path
