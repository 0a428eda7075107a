"""`mrcnn.model`, `mrcnn.config`, `mrcnn.visualize` as Matterport's users know them.

Names, order of arguments and defaults are the original's; ours may have more arguments behind
them, if each has a default.
"""

import importlib
import inspect
import json

import numpy as np
import pytest
from golden_network import GOLDEN
from test_utils_surface import written_arguments

SURFACE = json.loads((GOLDEN / "signatures.json").read_text())["matterport_master"]
MODEL = SURFACE["mrcnn/model.py"]
CONFIG = SURFACE["mrcnn/config.py"]["classes"]["Config"]

FUNCTIONS = [
    (module, name)
    for module in ("model", "visualize")
    for name in SURFACE[f"mrcnn/{module}.py"]["functions"]
]
METHODS = [
    (owner, name)
    for owner, facts in MODEL["classes"].items()
    for name in facts["methods"]
    if name != "compute_mask"  # Keras 3's Layer has it; the original's said "no mask" too
]
LAYERS = ("BatchNorm", "ProposalLayer", "PyramidROIAlign", "DetectionTargetLayer", "DetectionLayer")


def assert_compatible(function, expected):
    """Every call that the original took is taken, and means the same."""
    theirs = [argument for argument in expected if not argument.startswith("*")]
    ours = written_arguments(function)
    for mine, other in zip(ours, theirs):
        assert mine == other or mine.startswith(f"{other}="), (ours, expected)
    assert len(ours) >= len(theirs)
    assert all("=" in extra or extra.startswith("*") for extra in ours[len(theirs) :]), ours
    assert any(x.startswith("**") for x in ours) or not any(x.startswith("**") for x in expected)


@pytest.mark.parametrize(("module", "name"), FUNCTIONS)
def test_function(module, name):
    module = importlib.import_module(f"mrcnn.{module}")
    assert_compatible(getattr(module, name), SURFACE_OF[module.__name__][name])


SURFACE_OF = {
    f"mrcnn.{module}": SURFACE[f"mrcnn/{module}.py"]["functions"]
    for module in ("model", "visualize")
}


@pytest.mark.parametrize(("owner", "name"), METHODS)
def test_method(owner, name):
    from mrcnn import model

    expected = MODEL["classes"][owner]["methods"][name]["args"]
    assert_compatible(getattr(getattr(model, owner), name), expected)


def test_attributes_of_a_model(small_model):
    expected = set(MODEL["classes"]["MaskRCNN"]["instance_attributes"])
    assert expected <= set(vars(small_model))


@pytest.mark.parametrize("name", CONFIG["attributes"])
def test_default_of_a_hyper_parameter(name):
    from mrcnn.config import Config

    expected = eval(CONFIG["attributes"][name], {"np": np})
    ours = getattr(Config(), name)
    assert type(ours) is type(expected)
    np.testing.assert_equal(ours, expected)


def test_computed_hyper_parameters_and_methods():
    from mrcnn.config import Config

    assert set(CONFIG["instance_attributes"]) <= set(Config().to_dict())
    for name in CONFIG["methods"]:
        assert_compatible(getattr(Config, name), CONFIG["methods"][name]["args"])


def test_extras_of_the_tf2_fork():
    """akTwelve's fork: a generator class, a config as a dict, layers that can be serialised."""
    from mrcnn import model
    from mrcnn.config import Config

    assert len(inspect.signature(model.DataGenerator).parameters) >= 2
    assert Config().to_dict()["NUM_CLASSES"] == 1
    for name in LAYERS:
        assert "get_config" in vars(getattr(model, name))
