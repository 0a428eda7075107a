"""cellpose's _seg.npy: its masks are read, and nothing in its pickle is executed."""

import pickle
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from labelled_sets import CAT, DOG, mask_of, picture

from mrcnn.data import open as open_set
from mrcnn.data.formats import FormatError
from mrcnn.data.formats.cellpose import read_masks

MASKS = (mask_of(CAT) * 1 + mask_of(DOG) * 2).astype(np.uint16)


def content(masks, **more):
    flows = [np.zeros((40, 60, 3), np.uint8), np.zeros((1, 40, 60), np.float32), []]
    before = {"img": np.ones((3, 40, 60), np.float32), "outlines": masks * 0, "ismanual": [True]}
    return {**before, "masks": masks, "filename": "a.png", "flows": flows, **more}


def written(path, masks, protocol=4, **more):
    """The file as np.save writes it, whose protocol was another in each version."""
    np.save(path, np.array(content(masks, **more), object), allow_pickle=True)
    head = path.read_bytes()[:128]
    array = np.load(path, allow_pickle=True)
    path.write_bytes(head + pickle.dumps(array, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("kind", ["<u2", "<i4", "|u1", ">u4", "<i8"])
def test_masks(protocol, kind, tmp_path):
    file = written(tmp_path / "a_seg.npy", MASKS.astype(kind), protocol)
    np.testing.assert_array_equal(read_masks(file), MASKS)
    written(file, np.asfortranarray(MASKS.astype(kind)), protocol)
    np.testing.assert_array_equal(read_masks(file), MASKS)


@pytest.mark.parametrize(
    "image, file", [("a.tif", "a_seg.npy"), ("images/a.png", "masks/a_seg.npy")]
)
def test_a_set(image, file, tmp_path):
    picture(tmp_path / image)
    (tmp_path / file).parent.mkdir(exist_ok=True)
    written(tmp_path / file, MASKS)
    dataset = open_set(tmp_path)
    assert dataset.format == "indexed"
    masks, _ = dataset.load_mask(0)
    np.testing.assert_array_equal(np.moveaxis(masks, -1, 0), [mask_of(CAT), mask_of(DOG)])
    written(tmp_path / file, MASKS[:30])
    with pytest.raises(FormatError, match="labels in .* were made for 30 high and 60 wide"):
        open_set(tmp_path).load_mask(0)


class Evil:
    def __reduce__(self):
        import os

        return os.mkdir, ("executed",)


def test_nothing_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    array = np.empty((), object)
    array[()] = {"img": Evil(), "masks": MASKS}
    np.save(tmp_path / "a_seg.npy", array, allow_pickle=True)
    np.testing.assert_array_equal(read_masks(tmp_path / "a_seg.npy"), MASKS)
    array[()] = {"masks": Evil()}
    np.save(tmp_path / "a_seg.npy", array, allow_pickle=True)
    with pytest.raises(
        FormatError, match=r"a_seg.npy can.t be read .it holds no masks.: in cellpose"
    ):
        read_masks(tmp_path / "a_seg.npy")
    assert not (tmp_path / "executed").exists()


HEAD = (
    b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (), }".ljust(127)
    + b"\n"
)


@pytest.mark.parametrize(
    "steps",
    [
        b"\x8e" + b"\xff" * 7 + b"\x7f",  # bytes, 2**63 of them
        b"B\xff\xff\xff\xff",
        b"(" * 2_000_000,
        b"N" + b"\x85" * 900_000 + b".",  # a tuple in a tuple in a tuple ..
        # A name that is twice as long each time.
        b"\x8c\x60" + b"x" * 96 + b"\x94" + b"".join(b"h%ch%c\x93\x94" % (i, i) for i in range(99)),
        # A key whose hash takes ages.
        b")\x94" + b"".join(b"h%ch%c\x86\x94" % (i, i) for i in range(99)) + b"}h\x60Ns.",
        b"I" + b"9" * 100_000 + b"\n",
        b"0", b"b", b"R", b"h\x05", b"u", b"t", b"\x93", b"N\x93", b".", b"",
    ],
)  # fmt: skip
def test_bombs_are_refused_in_bounded_time(steps, tmp_path):
    (tmp_path / "a_seg.npy").write_bytes(HEAD + b"\x80\x04" + steps)
    start = time.thread_time()
    with pytest.raises(FormatError, match=r"can't be read .*File, Save masks.*remove a_seg.npy"):
        read_masks(tmp_path / "a_seg.npy")
    assert time.thread_time() - start < 20


@pytest.mark.parametrize("masks", [MASKS[None], np.stack([MASKS] * 2), MASKS.astype(float)])
def test_stacks_and_floats(masks, tmp_path):
    file = written(tmp_path / "a_seg.npy", masks)
    if len(masks) == 1:
        np.testing.assert_array_equal(read_masks(file), MASKS)
        return
    with pytest.raises(FormatError, match="no plane but a stack|no whole numbers"):
        read_masks(file)


@given(
    cut=st.none() | st.integers(0, 10_000),
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=4)), max_size=3),
    protocol=st.sampled_from([2, 3, 4]),
)
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damaged_files(cut, changes, protocol, tmp_path):
    """A sentence, or numbers of the size that the file states."""
    whole = tmp_path / f"whole{protocol}_seg.npy"
    if not whole.exists():
        np.save(whole, np.array({"masks": MASKS[:20, :20]}, object), allow_pickle=True)
        array = np.load(whole, allow_pickle=True)
        whole.write_bytes(whole.read_bytes()[:128] + pickle.dumps(array, protocol=protocol))
    damaged = bytearray(whole.read_bytes())
    for place, put in changes:
        place %= len(damaged) if place % 2 else 400
        damaged[place : place + len(put)] = put
    (tmp_path / "a_seg.npy").write_bytes(damaged[:cut])
    try:
        found = read_masks(tmp_path / "a_seg.npy")
    except FormatError as error:
        assert str(error).endswith("remove a_seg.npy.") and len(str(error)) < 600
    else:
        assert found.ndim == 2 and found.dtype.kind in "biu"
