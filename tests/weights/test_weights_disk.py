"""Weights on a disk that is full: one sentence, nothing left, and the file before stays."""

import errno
import os

import h5py
import numpy as np
import pytest

from mrcnn.weights import writing
from mrcnn.weights.files import open_weights
from mrcnn.weights.writing import write_weights

LAYERS = [
    (f"conv{i}", [(f"conv{i}/kernel:0", np.full((3, 3, 8, 16), i, np.float32))]) for i in range(20)
]


@pytest.fixture
def disk(monkeypatch):
    """A function that sets how many bytes a weight file may take, and which error comes then."""

    class Small(writing._Disk):
        def write(self, data):
            length = memoryview(data).nbytes
            if self.room is not None and self._at + length > self.room and not self._error:
                self._error = OSError(self.number, os.strerror(self.number))
            return super().write(data)

    def limit(room, number=errno.ENOSPC):
        monkeypatch.setattr(Small, "room", room, raising=False)
        monkeypatch.setattr(Small, "number", number, raising=False)
        monkeypatch.setattr(writing, "_Disk", Small)

    return limit


def test_the_bytes_are_those_that_hdf5_writes_by_itself(tmp_path):
    write_weights(tmp_path / "ours.h5", LAYERS, {"class_names": ["BG", "cell"]})
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        writing._write_file(file, LAYERS, {"class_names": ["BG", "cell"]}, np.float32)
    assert (tmp_path / "ours.h5").read_bytes() == (tmp_path / "plain.h5").read_bytes()


def test_full_at_every_stage(tmp_path, disk):
    path = tmp_path / "a.h5"
    write_weights(path, LAYERS)
    before, size = path.read_bytes(), path.stat().st_size
    for room in [0, 1, 100, 2000, size // 2, size - 1]:
        disk(room)
        with pytest.raises(OSError) as caught:
            write_weights(path, LAYERS)
        told = caught.value
        assert told.errno == errno.ENOSPC and told.filename == str(path)
        assert f"the disk is full: {size / 1e3:,.1f} kB are needed" in told.strerror
        assert path.read_bytes() == before and os.listdir(tmp_path) == ["a.h5"]
        assert h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE) == 0
    disk(None)
    write_weights(path, LAYERS)
    with open_weights(path) as file:
        assert len(file.tensors) == len(LAYERS)


def test_what_is_missing(tmp_path, disk, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("mrcnn.whole.shutil.disk_usage", lambda folder: usage)
    disk(3000)
    with pytest.raises(OSError, match=r"1\.0 kB are free, so [\d.]+ kB are missing"):
        write_weights(tmp_path / "a.h5", LAYERS)


def test_a_quota(tmp_path, disk):
    disk(3000, errno.EDQUOT)
    with pytest.raises(OSError, match="your quota on this disk is used up: .* kB are needed"):
        write_weights(tmp_path / "a.h5", LAYERS)


def test_a_bare_error_of_the_caller_stays_what_it_is(tmp_path):
    def broken():
        yield LAYERS[0]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_weights(tmp_path / "a.h5", broken())
    assert os.listdir(tmp_path) == []
