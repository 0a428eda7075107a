"""Devices that share a batch train as one device does with the whole of it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from blobs import Blobs, config
from patience import kill_when_it_hangs

from mrcnn.data.generator import DataGenerator
from mrcnn.errors import UsageError
from mrcnn.train.distribution import choose_devices, spread

PROGRAM = Path(__file__).parent / "spread_program.py"


def begin(folder, **told):
    folder.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, PROGRAM, json.dumps({"folder": str(folder), **told})],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    kill_when_it_hangs(process)
    return process


def outcome(processes, codes=None):
    """What each printed. codes: how each ends, 0 where not told."""
    printed = [process.communicate()[0] for process in processes]
    ended = [process.returncode for process in processes]
    assert ended == (codes or [0] * len(processes)), "\n".join(text[-3000:] for text in printed)
    return printed


def assert_same(one, other):
    """Losses of each step to 1e-4, weights to 1e-5 of the largest: sums end in other last bits."""
    np.testing.assert_allclose(one["losses"], other["losses"], rtol=1e-4)
    np.testing.assert_allclose(one["val"], other["val"], rtol=1e-4)
    for name in (name for name in one.files if name.startswith("w")):
        largest = max(abs(one[name]).max(initial=0), 1)
        np.testing.assert_allclose(one[name], other[name], atol=1e-5 * largest, rtol=0)


@pytest.mark.slow
def test_two_devices_train_as_one(tmp_path):
    outcome([begin(tmp_path, devices=2, alone=True, VALIDATION_STEPS=2)])
    one, two = np.load(tmp_path / "alone.npz"), np.load(tmp_path / "out.npz")
    assert str(two["kind"]) == "MirroredStrategy"  # by GPU_COUNT alone
    assert_same(one, two)


@pytest.mark.slow
def test_a_device_that_diverges_names_its_own_pictures(tmp_path):
    (printed,) = outcome([begin(tmp_path, devices=2, poison=True)], [1])
    assert "TrainingDiverged: The loss is not a number at batch 1" in printed
    names = printed.partition("whose pictures were: ")[2].partition(". ")[0]
    assert len(names.split("; ")) == 2 and "blob3" in names, printed


# -- In this process ----------------------------------------------------------------------------


def test_without_the_devices_a_sentence(tmp_path):
    told = pytest.warns(UserWarning, match="GPU_COUNT is 2, and TensorFlow has 1 processor here")
    with told, spread("training", config(GPU_COUNT=2)):
        assert not tf.distribute.has_strategy()
    with spread("inference", config(GPU_COUNT=2)):
        assert not tf.distribute.has_strategy()


@pytest.mark.parametrize("wish", ["gpu:7", "0", "-1", "gpu", "cpu:0", "two", "gpu:0,", "tpu:1"])
def test_devices_that_are_not_there(wish):
    with pytest.raises(UsageError, match=f"--devices {wish}"):
        choose_devices(wish)


def test_what_fills_a_batch_up_counts_for_nothing():
    settings = config(IMAGES_PER_GPU=3)
    images, metas, match, bbox, ids, boxes, masks = DataGenerator(
        Blobs(empty=range(3)), settings, steps=2, seed=3, multiple=4
    ).batch(0, 0)[0]
    assert len(images) % 4 == 0
    filled = metas[:, 0] == -1
    assert 0 < filled.sum() < len(images)
    assert (ids[~filled] > 0).any(axis=1).all()
    nothing = (metas[filled, 12:], match[filled], bbox[filled], ids[filled], masks[filled])
    assert not any(array.any() for array in nothing)
    assert (metas[filled, 1:12] == metas[0, 1:12]).all()  # its size divides boxes
