"""Weights that a disk can't hold: one sentence, nothing left, and the file before stays."""

import os

import h5py
import numpy as np
import pytest

from mrcnn.weights import writing
from mrcnn.weights.files import open_weights
from mrcnn.weights.writing import write_weights

resource = pytest.importorskip("resource")

LAYERS = [
    (f"conv{i}", [(f"conv{i}/kernel:0", np.full((3, 3, 8, 16), i, np.float32))]) for i in range(20)
]


@pytest.fixture
def room():
    """A function that sets how large a file of this process may become."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_bytes_are_those_that_hdf5_writes_by_itself(tmp_path):
    write_weights(tmp_path / "ours.h5", LAYERS, {"class_names": ["BG", "cell"]})
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        writing._write_file(file, LAYERS, {"class_names": ["BG", "cell"]}, np.float32)
    assert (tmp_path / "ours.h5").read_bytes() == (tmp_path / "plain.h5").read_bytes()


def test_no_room_at_every_stage(tmp_path, room):
    path = tmp_path / "a.h5"
    write_weights(path, LAYERS)
    before, size = path.read_bytes(), path.stat().st_size
    for most in [0, 1, 100, 2000, size // 2, size - 1]:
        room(most)
        with pytest.raises(OSError) as caught:
            write_weights(path, LAYERS)
        room(resource.RLIM_INFINITY)
        told = caught.value
        assert told.filename == str(path)
        assert told.strerror == f"no file may be so large here: {size / 1e3:,.1f} kB are needed"
        assert path.read_bytes() == before and os.listdir(tmp_path) == ["a.h5"]
        assert h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE) == 0
    write_weights(path, LAYERS)
    with open_weights(path) as file:
        assert len(file.tensors) == len(LAYERS)


def test_ctrl_c_while_hdf5_writes_is_ctrl_c(tmp_path):
    """Its own code calls nothing of ours, where an interruption would become another error."""

    def pressed():
        yield LAYERS[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_weights(tmp_path / "a.h5", pressed())
    assert os.listdir(tmp_path) == []
