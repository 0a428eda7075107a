"""`mrcnn.utils` as Matterport's users know it: names, order of arguments, defaults."""

import inspect
import json
import subprocess
import sys

import numpy as np
import pytest
from golden_cases import GOLDEN

from mrcnn import utils

SURFACE = json.loads((GOLDEN / "signatures.json").read_text())["matterport_master"]
FUNCTIONS = SURFACE["mrcnn/utils.py"]["functions"]
DATASET = SURFACE["mrcnn/utils.py"]["classes"]["Dataset"]


def written_arguments(function):
    """The arguments as the file writes them: `name`, `name=default` or `**name`.

    Keyword-only ones are ours: no old call can reach or miss them.
    """
    stars = {inspect.Parameter.VAR_KEYWORD: "**", inspect.Parameter.VAR_POSITIONAL: "*"}
    return [
        stars.get(p.kind, "") + (p.name if p.default is p.empty else f"{p.name}={p.default!r}")
        for p in inspect.signature(function).parameters.values()
        if p.kind is not p.KEYWORD_ONLY
    ]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name):
    assert written_arguments(getattr(utils, name)) == FUNCTIONS[name]
    assert name in utils.__all__


@pytest.mark.parametrize("name", DATASET["methods"])
def test_dataset_method(name):
    member, expected = getattr(utils.Dataset, name), DATASET["methods"][name]
    assert isinstance(member, property) == ("property" in expected["decorators"])
    function = member.fget if isinstance(member, property) else member
    assert written_arguments(function) == expected["args"]


def test_dataset_attributes():
    dataset = utils.Dataset()
    dataset.prepare()
    assert set(DATASET["instance_attributes"]) == set(vars(dataset))


def test_constants():
    assert repr(utils.COCO_MODEL_URL) == SURFACE["mrcnn/utils.py"]["constants"]["COCO_MODEL_URL"]


def test_importing_it_does_not_load_tensorflow():
    code = (
        "import sys, mrcnn.utils; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_two_that_need_tensorflow():
    import tensorflow as tf

    box, gt_box = np.float32([[0, 0, 10, 10]]), np.float32([[0, 5, 10, 25]])
    graph = utils.box_refinement_graph(tf.constant(box), tf.constant(gt_box))
    # Both in float32: the last digits of one logarithm.
    np.testing.assert_allclose(graph, utils.box_refinement(box, gt_box), rtol=1e-6)

    batch = tf.reshape(tf.range(6.0), (3, 2))
    doubled = utils.batch_slice([batch], lambda row: 2 * row, 3)
    np.testing.assert_array_equal(doubled, 2 * batch.numpy())
