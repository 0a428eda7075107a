"""Files that are not what they should be: each gets one plain sentence, and harms nothing."""

import os
import pickle
import time
import zipfile

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from small_model import small_layout

from mrcnn.weights.errors import WeightsError, WeightsNotFoundError
from mrcnn.weights.files import open_weights
from mrcnn.weights.inspection import inspect_weights
from mrcnn.weights.recognise import HDF5_SIGNATURE
from mrcnn.weights.synthetic import write_synthetic
from mrcnn.weights.writing import write_weights

TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "it is empty"),
        (b"\n<!DOCTYPE html><html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"PK\x03\x04 and then nothing", "damaged zip archive"),
        (TORCH, "PyTorch"),
        (pickle.dumps({"a": 1}), "Python pickle, which is never opened"),
        (b"model_checkpoint_path: 'x'", "TensorFlow checkpoint"),
        (b"\x1c\0\0\0TFL3", "TensorFlow Lite"),
        (b"\x1f\x8b\x08", "gzip-compressed"),
        (b'\x40\0\0\0\0\0\0\0{"a":', "safetensors"),
        (b"weights", "it begins with b'weights'"),
        (HDF5_SIGNATURE, "damaged HDF5 file"),
    ],
)
def test_what_it_is_instead(tmp_path, content, sentence):
    path = tmp_path / "weights.h5"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=sentence):
        inspect_weights(path)


@pytest.mark.parametrize(
    ("member", "sentence"),
    [
        ("model.weights.h5", "it is a .keras archive"),
        ("archive/data.pkl", "it is a PyTorch file"),
        ("mask_rcnn_coco.h5", "load mask_rcnn_coco.h5"),
        ("readme.txt", "No .h5 file is inside"),
    ],
)
def test_archives(tmp_path, member, sentence):
    path = tmp_path / "weights.h5"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, b"x")
    with pytest.raises(WeightsError, match=sentence):
        inspect_weights(path)


def test_nothing_there_or_a_folder(tmp_path):
    with pytest.raises(WeightsNotFoundError, match="holds no x.h5"):
        inspect_weights(tmp_path / "x.h5")
    with pytest.raises(FileNotFoundError, match="not even its folder"):
        inspect_weights(tmp_path / "nowhere" / "x.h5")
    with pytest.raises(WeightsNotFoundError, match=r"find_last\(\)\), without \[1\]"):
        inspect_weights("h")
    (tmp_path / "ckpt.index").touch()
    with pytest.raises(WeightsNotFoundError, match="TensorFlow checkpoint"):
        inspect_weights(tmp_path / "ckpt")
    with pytest.raises(WeightsError, match="is a folder"):
        inspect_weights(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(WeightsError, match="a pipe or a device"):
        inspect_weights(tmp_path / "pipe")
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(WeightsError, match="SavedModel"):
        inspect_weights(tmp_path)


def test_truncated_download(small_file):
    content = small_file.read_bytes()
    small_file.write_bytes(content[: len(content) // 2])
    with pytest.raises(WeightsError, match="broke off at"):
        inspect_weights(small_file)


def test_hdf5_of_something_else(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = np.zeros((2, 2))
    with pytest.raises(WeightsError, match="not one of Keras weights.*images"):
        inspect_weights(tmp_path / "x.h5")


def test_keras_3_file_without_names(tmp_path):
    with h5py.File(tmp_path / "x.weights.h5", "w") as file:
        file["layers/conv2d/vars/0"] = np.zeros((1, 1, 3, 3), np.float32)
    with pytest.raises(WeightsError, match="leaves out the layers' names"):
        inspect_weights(tmp_path / "x.weights.h5")
    with h5py.File(tmp_path / "x.weights.h5", "r+") as file:
        file["layers/conv2d/vars"].attrs["name"] = "conv1"
    assert inspect_weights(tmp_path / "x.weights.h5").layers == 1


# -- Hostile files --------------------------------------------------------------------------


def replace_kernel(path, build) -> None:
    """Put something else in the place of conv1's kernel."""
    with h5py.File(path, "r+") as file:
        del file["conv1/conv1/kernel:0"]
        build(file, "conv1/conv1/kernel:0")


def external_storage(file, name):
    file.create_dataset(name, (16,), "u1", external=[("/etc/hostname", 0, 16)])


def virtual(file, name):
    layout = h5py.VirtualLayout((2,), "f4")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (2,))
    file.create_virtual_dataset(name, layout)


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda f, n: f.__setitem__(n, h5py.ExternalLink("/etc/hostname", "/x")), "is a link"),
        (lambda f, n: f.__setitem__(n, h5py.SoftLink("/conv1/conv1/bias:0")), "is a link"),
        (external_storage, "in another file"),
        (virtual, "in another file"),
        (lambda f, n: f.create_dataset(n, data=np.zeros(9), compression="gzip"), "h5repack"),
        (lambda f, n: f.create_dataset(n, data=["text"]), "and not numbers"),
        (lambda f, n: f.create_dataset(n, data=np.zeros(2, "V16")), "and not numbers"),
        (lambda f, n: f.create_dataset(n, dtype="f4", shape=None), "has no shape"),
        (lambda f, n: f.create_group(n), "is a group, not a tensor"),
        (lambda f, n: None, "doesn't hold it"),
    ],
)
def test_refused(small_file, build, sentence):
    replace_kernel(small_file, build)
    with pytest.raises(WeightsError, match=sentence):
        inspect_weights(small_file)


def test_a_huge_declared_shape_is_listed_but_not_read(small_file):
    """10^12 values that take no room: reading them would need 4 TB."""

    def huge(file, name):
        file.create_dataset(name, (10**6, 10**6), "f4")

    replace_kernel(small_file, huge)
    assert inspect_weights(small_file).parameters > 10**12


def test_group_within_itself(tmp_path):
    with h5py.File(tmp_path / "x.weights.h5", "w") as file:
        group = file.create_group("layers/a")
        group["again"] = file["layers"]
    with pytest.raises(WeightsError, match="under two names"):
        inspect_weights(tmp_path / "x.weights.h5")


def test_integers_and_two_tensors_of_one_name(small_file):
    replace_kernel(small_file, lambda f, n: f.create_dataset(n, data=np.zeros(2, "i4")))
    with (
        open_weights(small_file) as file,
        pytest.raises(WeightsError, match="holds integers"),
    ):
        file.tensors[("conv1", "kernel")].read()
    with h5py.File(small_file, "r+") as file:
        file.attrs["layer_names"] = [*file.attrs["layer_names"], b"conv1"]
    with pytest.raises(WeightsError, match="two tensors for conv1/kernel"):
        inspect_weights(small_file)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> tuple:
    path = tmp_path_factory.mktemp("fuzz") / "tiny.h5"
    write_synthetic(path, small_layout()[:2], seed=1)
    return path, path.read_bytes()


@settings(
    max_examples=150,
    derandomize=True,  # the same damage in every run
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    flips=st.lists(st.tuples(st.integers(8, 1 << 20), st.integers(1, 255)), max_size=8),
    keep=st.floats(0, 1),
)
@example(flips=[], keep=1.0)
def test_damaged_bytes_give_a_sentence_or_a_result(tiny, flips, keep):
    path, content = tiny
    damaged = bytearray(content if keep > 0.5 else content[: int(len(content) * 2 * keep)])
    for position, mask in flips:
        if position < len(damaged):
            damaged[position] ^= mask
        elif damaged:  # most positions fall beyond: fold them back
            damaged[8 + position % max(1, len(damaged) - 8) if len(damaged) > 8 else 0] ^= mask
    path.write_bytes(damaged)
    started = time.thread_time()
    try:
        with open_weights(path) as file:
            small = [t for t in file.tensors.values() if np.prod(t.shape, dtype=float) < 1e6]
            arrays = [tensor.read() for tensor in small]
    except WeightsError as error:
        assert str(path) in str(error)
    else:
        assert all(array.dtype == np.float32 for array in arrays)
    if bytes(damaged) == content:
        assert len(arrays) == 6
    assert time.thread_time() - started < 5


def test_class_names_of_a_file_are_printable(tmp_path):
    path = tmp_path / "odd.h5"
    heads = [("mrcnn_class_logits", [("mrcnn_class_logits/bias:0", np.zeros(3, np.float32))])]
    write_weights(path, heads, {"class_names": ["BG", "half \ud800", "two\nlines"]})
    info = inspect_weights(path)
    assert info.class_names == ["BG", "half \\ud800", "two\\nlines"]
    str(info).encode()


@pytest.mark.parametrize("name", ["9" * 5000, "[" * 3000, "\x1b[31m\x07"])
def test_names_that_nobody_could_read_are_cut_in_messages(name, tmp_path):
    path = tmp_path / "odd.h5"
    write_weights(path, [("conv1", [("conv1/bias:0", np.zeros(3, np.float32))])])
    with h5py.File(path, "r+") as file:
        file.attrs["layer_names"] = np.array([name.encode()])
    with pytest.raises(WeightsError) as refused:
        inspect_weights(path)
    text = str(refused.value)
    assert len(text) < 1000 and "\x1b" not in text and str(path) in text
