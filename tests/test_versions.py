"""The script that runs these tests on other versions reads them from requirements.txt."""

import re
from pathlib import Path

import pytest
from versions import floors

REQUIREMENTS = (Path(__file__).parents[1] / "requirements.txt").read_text("utf-8")


def test_every_requirement_has_a_lowest_version():
    names = re.findall(r"^[\w-]+", REQUIREMENTS, re.MULTILINE)
    assert [line.partition("==")[0] for line in floors(REQUIREMENTS)] == names
    assert floors("# why\nnumpy>=2.0,<3  # so\n\nh5py>=3.11") == ["numpy==2.0", "h5py==3.11"]


def test_a_requirement_without_one_is_named():
    with pytest.raises(ValueError, match="'h5py<4'"):
        floors("numpy>=2.0\nh5py<4")
