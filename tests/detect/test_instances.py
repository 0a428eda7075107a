"""`Instances`: Matterport's dict for old scripts, a typed result with methods for new ones."""

import collections
import contextlib
import copy
import dataclasses
import io
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.io
from hypothesis import given, settings
from hypothesis import strategies as st

from mrcnn.detect.instances import Instances
from mrcnn.detect.results import coco_results

KEYS = ["rois", "class_ids", "scores", "masks"]
NAMES = ["BG", "cell", "nucleus", "debris"]
ROOT = Path(__file__).parents[2]


def arrays_of(count: int = 4, height: int = 20, width: int = 30, seed: int = 0) -> dict:
    """What the network gives: scores fall, boxes hold some pixels each."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 8, (count, 2))
    return {
        "rois": np.hstack([corners, corners + rng.integers(1, 12, (count, 2))]).astype(np.int32),
        "class_ids": rng.integers(1, len(NAMES), count).astype(np.int32),
        "scores": np.sort(rng.random(count, np.float32))[::-1],
        "masks": rng.random((height, width, count)) > 0.5,
    }


@pytest.fixture
def plain():
    return {**arrays_of(), "class_ids": np.array([1, 2, 1, 3], np.int32)}


@pytest.fixture
def found(plain):
    return Instances(**plain, class_names=NAMES)


def assert_same(ours, theirs):
    """The same keys in the same order, arrays of the same type, shape and numbers."""
    assert list(ours) == list(theirs)
    for key in ours:
        assert ours[key].dtype == theirs[key].dtype
        np.testing.assert_array_equal(ours[key], theirs[key])


# -- A dict, as old scripts know it -----------------------------------------------------------


def test_it_is_the_dict_of_before(found, plain):
    assert isinstance(found, dict) and list(found) == KEYS
    assert all(found[key] is plain[key] for key in KEYS)
    assert set(found) == set(KEYS) and "rois" in found and "boxes" not in found
    assert list(found.keys()) == list(reversed(list(reversed(found)))) == KEYS
    assert [array.shape[-1] for array in found.values()] == [4, 4, 4, 4]
    assert len(found.items()) == 4 and found.get("nothing") is None
    assert found == plain and plain == found  # the arrays themselves, so nothing is compared
    with pytest.raises(KeyError):
        found["boxes"]


def untouched(result):
    return result


# Whatever takes a dict apart, and puts it together again.
WAYS = {
    "dict": dict,
    "unpacked": lambda r: {**r},
    "called": lambda r: (lambda rois, class_ids, scores, masks: dict(zip(KEYS, (
        rois, class_ids, scores, masks))))(**r),
    "comprehension": lambda r: {key: r[key] for key in r},
    "items": lambda r: dict(r.items()),
    "zip": lambda r: dict(zip(r, r.values())),
    "update": lambda r: collections.OrderedDict(r),
    "or": lambda r: {} | r,
    "or from the left": lambda r: r | {},
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "its own copy": lambda r: r.copy(),
    "pickle": lambda r: pickle.loads(pickle.dumps(r)),
    "oldest pickle": lambda r: pickle.loads(pickle.dumps(r, 2)),
    "slow pickle": lambda r: pickle._loads(pickle._dumps(r)),
    "constructor": Instances,
    "pairs": lambda r: Instances(list(r.items())),
    "in any order": lambda r: Instances(dict(reversed(r.items()))),
    "json": lambda r: from_lists(json.loads(json.dumps({k: v.tolist() for k, v in r.items()}))),
    "json by default": lambda r: from_lists(json.loads(json.dumps(r, default=np.ndarray.tolist))),
    "json with indent": lambda r: from_lists(
        json.loads(json.dumps(r, default=np.ndarray.tolist, indent=1))
    ),
    "asdict": lambda r: dataclasses.asdict(dataclasses.make_dataclass("Job", ["r"])(r))["r"],
    "npy": lambda r: through_file(lambda file: np.save(file, [r, r])).tolist()[1],
    "npz": lambda r: dict(through_file(lambda file: np.savez(file, **r))),
    "object array": lambda r: np.array([r, r])[0],
    "str.format": lambda r: {key: r[key] for key in "{} {} {} {}".format(*r).split()},
}  # fmt: skip


def from_lists(lists):
    """What a script does with its JSON."""
    types = {"rois": np.int32, "class_ids": np.int32, "scores": np.float32, "masks": bool}
    result = {key: np.array(value, types[key]) for key, value in lists.items()}
    return result | {"rois": result["rois"].reshape(-1, 4)}


def through_file(write):
    file = io.BytesIO()
    write(file)
    file.seek(0)
    return np.load(file, allow_pickle=True)


@pytest.mark.parametrize("count", [0, 1, 4])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_ways_through_which_results_go(way, count):
    """`len` is not the number of keys, and none of these may mind: not at 0 instances either."""
    plain = arrays_of(count)
    assert_same(way(Instances(**plain, class_names=NAMES)), plain)


def test_truth_is_that_of_a_dict():
    """`if r:`, and `if not dct` in json's and pandas's own code, were never about instances."""
    nothing = Instances(**arrays_of(0))
    assert nothing and len(nothing) == 0


def test_patterns(found):
    """A dict pattern asks for the length first; one of the class doesn't."""
    for result, fits in ((found, True), (found[:1], False)):
        match result:
            case {"rois": boxes, "masks": masks}:
                assert fits and boxes is found["rois"] and masks is found["masks"]
            case _:
                assert not fits
        match result:
            case Instances(boxes=boxes, masks=masks):
                assert len(boxes) == masks.shape[-1] == len(result)
            case _:
                pytest.fail("an Instances is no Instances")


def test_assignment(found):
    found["masks"] = ~found["masks"]
    found["scores"] = [0.9, 0.8, 0.7, 0.6]  # a list, as scripts are
    assert found.masks is found["masks"]
    assert found.scores.tolist() == [0.9, 0.8, 0.7, 0.6]
    found.update(rois=found["rois"] + 1)
    assert found.boxes is found["rois"]
    found["file_name"] = "a.png"
    assert list(found) == [*KEYS, "file_name"] and found.copy()["file_name"] == "a.png"
    assert list(found[:2]) == KEYS


def test_a_key_taken_out(found):
    """Before a result is sent, the masks are what scripts drop."""
    masks = found.pop("masks")
    assert masks.shape == (20, 30, 4) and len(found) == 4
    assert len(found.above(found.scores[1])) == 2 and list(found[0]) == KEYS[:3]
    assert not hasattr(found, "masks")
    with pytest.raises(ValueError, match="holds no masks, which were taken out"):
        found.to_coco()
    assert found.plot(np.zeros((20, 30, 3), np.uint8)).shape == (440, 660, 3)
    del found["rois"], found["class_ids"], found["scores"]
    assert len(found) == 0 and repr(found) == "Instances({})"


def test_idioms_of_scripts(found, plain):
    r = found
    assert r["class_ids"].size == r["rois"].shape[0] == len(r["scores"]) == 4
    union = np.sum(r["masks"], -1, keepdims=True) >= 1
    assert union.shape == (20, 30, 1)
    for i in range(r["rois"].shape[0]):
        y1, x1, y2, x2 = r["rois"][i]
        assert NAMES[r["class_ids"][i]] in NAMES and r["masks"][:, :, i].dtype == bool
        assert (y2 > y1) and (x2 > x1) and r["scores"][i] <= 1
    order = np.argsort(r["scores"])
    r["masks"] = r["masks"][:, :, order]
    assert r["masks"].astype(np.uint8).max() == 1
    final = {"image": 1}
    final.update(r)
    assert list(final) == ["image", *KEYS]
    rois, class_ids, scores, masks = (r[key] for key in KEYS)
    assert rois is plain["rois"] and masks.shape == (20, 30, 4)
    assert "{scores}".format(**r) == str(scores)
    with pytest.raises(ValueError, match="ambiguous"):  # as with dicts of arrays ever
        assert r == copy.deepcopy(r)


def test_drawing_as_ever(found):
    import matplotlib

    matplotlib.use("Agg")
    from mrcnn import visualize

    image, r = np.full((20, 30, 3), 128, np.uint8), found
    old = visualize.display_instances(
        image, r["rois"], r["masks"], r["class_ids"], NAMES, r["scores"]
    )
    new = visualize.display_instances(image, **r, class_names=NAMES)
    without = visualize.display_instances(image, **r, class_names=None)
    assert visualize.display_instances(image, **r).axes
    texts = [[text.get_text() for text in figure.axes[0].texts] for figure in (old, new, without)]
    assert texts[0] == texts[1] and texts[2][0].startswith("class ")
    with pytest.raises(TypeError, match="boxes"):
        visualize.display_instances(image, masks=r["masks"])


def test_the_constructor_says_what_is_missing(plain):
    with pytest.raises(TypeError, match="there is no scores, masks"):
        Instances(rois=[], class_ids=[])
    with pytest.raises(TypeError, match="and no class_name"):
        Instances(**plain, class_name=NAMES)
    assert len(Instances(rois=[], class_ids=[], scores=[], masks=plain["masks"][..., :0])) == 0


def test_arrays_that_do_not_belong_together(found):
    found["scores"] = found["scores"][:2]
    for use in (lambda: found[0], found.to_coco, lambda: found.save("x.json")):
        with pytest.raises(ValueError, match="4 rois, 4 class_ids, 2 scores, 4 masks"):
            use()
    found["scores"] = None
    with pytest.raises(ValueError, match=r"scores of this result has shape \[\]: it must be \[n\]"):
        found.above(0.5)
    assert "None" in repr(found)


def test_importing_it_loads_nothing_heavy():
    """A process that only unpickles results mustn't wait for TensorFlow."""
    code = (
        "import sys, mrcnn.detect.instances;"
        "print({'tensorflow', 'keras', 'matplotlib', 'pycocotools'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.stdout == "set()\n", result.stderr


# -- Choosing ---------------------------------------------------------------------------------


def test_attributes(found, plain):
    assert found.boxes is plain["rois"] and found.class_ids is plain["class_ids"]
    assert found.scores is plain["scores"] and found.masks is plain["masks"]
    assert len(found) == 4 and found.class_names == NAMES


selections = st.one_of(
    st.slices(5),
    st.integers(-5, 4),
    st.lists(st.integers(-5, 4), max_size=7),
    st.lists(st.integers(-5, 4), max_size=7).map(lambda chosen: np.array(chosen, np.int64)),
    st.lists(st.booleans(), min_size=5, max_size=5),
    st.lists(st.booleans(), min_size=5, max_size=5).map(np.array),
    st.lists(st.booleans(), min_size=5, max_size=5).map(np.nonzero),
)


@given(selections)
def test_selecting_is_numpys_indexing_of_each_array(selection):
    plain = arrays_of(5)
    index = [selection] if isinstance(selection, int) else selection
    index = np.array(index, np.intp) if isinstance(index, list) and not index else index
    (index,) = index if isinstance(index, tuple) else (index,)
    expected = {key: plain[key][index] for key in KEYS[:3]}
    expected["masks"] = np.moveaxis(np.moveaxis(plain["masks"], -1, 0)[index], 0, -1)
    chosen = Instances(**plain, class_names=NAMES)[selection]
    assert_same(chosen, expected)
    assert type(chosen) is Instances and chosen.class_names == NAMES
    assert chosen.boxes.shape[1:] == (4,) and chosen.masks.shape == (20, 30, len(chosen))


def test_numbers_of_numpy_select_one(found):
    for number in (np.int32(2), np.argmax(found.scores == found.scores[2]), np.array(2)):
        assert found[number].scores.tolist() == [found.scores[2]]


@pytest.mark.parametrize(
    ("selection", "error"),
    [
        (4, "There is no instance 4: the result holds 4"),
        (-5, "There is no instance -5"),
        ([0, 9], "out of bounds"),
        ([True, False], "2 entries for 4 instances"),
        ((1, 2), "selects no instances: give a number"),
        (True, "selects no instances"),
        (None, "selects no instances"),
        (0.5, "selects no instances"),
        ([0.5], "selects no instances"),
        (np.ones((2, 2), int), "selects no instances"),
    ],
)
def test_what_selects_nothing(found, selection, error):
    with pytest.raises((IndexError, TypeError), match=error):
        found[selection]


@given(st.integers(0, 9), st.floats(0, 1, width=32))
def test_above_and_counts_agree(count, score):
    found = Instances(**arrays_of(count, seed=count), class_names=NAMES)
    chosen = found.above(score)
    assert len(chosen) == (found["scores"] >= np.float32(score)).sum()
    assert sum(chosen.counts().values()) == len(chosen)
    for name, number in chosen.counts().items():
        of_class = chosen.of_class(name)
        assert len(of_class) == number == len(chosen.of_class(NAMES.index(name)))
        assert set(of_class.class_ids) == {NAMES.index(name)}
    assert_same(found.above(0), found)


def test_counts_in_the_order_of_the_class_ids(found):
    assert list(found.counts().items()) == [("cell", 2), ("nucleus", 1), ("debris", 1)]
    assert found.counts()["BG"] == 0 and found[:0].counts() == {}
    assert json.dumps(found.counts()) == '{"cell": 2, "nucleus": 1, "debris": 1}'
    found.class_names = ["BG", "cell", "cell"]  # two ids of one name, one without
    assert found.counts() == {"cell": 3, "class 3": 1} and len(found.of_class("cell")) == 3
    found.class_names = None
    assert found.counts() == {"class 1": 2, "class 2": 1, "class 3": 1}


def test_an_unknown_class(found):
    with pytest.raises(ValueError) as caught:
        found.of_class("nucleos")
    assert str(caught.value) == (
        "There is no class 'nucleos': did you mean 'nucleus'? "
        "The classes are cell (1), nucleus (2), debris (3)."
    )
    for other in ("giraffe", 4, -1):
        with pytest.raises(ValueError, match=r"There is no class '?\S+\. The classes are cell"):
            found.of_class(other)
    found.class_names = None
    assert len(found.of_class(1)) == 2 and len(found.of_class(np.int32(7))) == 0
    with pytest.raises(ValueError, match="doesn't know the names of its classes"):
        found.of_class("cell")


@pytest.mark.parametrize("names", [NAMES, tuple(NAMES), np.array(NAMES), None])
def test_class_names_go_along(plain, names):
    found = Instances(**plain, class_names=names)
    names = None if names is None else NAMES
    everywhere = [found, found[1:], found.above(0.5), copy.copy(found), copy.deepcopy(found)]
    everywhere += [found.copy(), pickle.loads(pickle.dumps(found)), Instances(found)]
    assert [each.class_names for each in everywhere] == [names] * 8
    assert Instances(found, class_names=["BG"]).class_names == ["BG"]


def test_a_subclass_stays_one(plain):
    class Mine(Instances):
        pass

    mine = Mine(**plain)
    mine.pixel_size = 0.3
    assert type(mine[1:]) is Mine and mine.above(0).pixel_size == 0.3


# -- For other programs -----------------------------------------------------------------------


def test_coco_rows_are_those_of_results_files(found, plain):
    assert found.to_coco(image_id=7) == coco_results(7, plain)
    assert [row["image_id"] for row in found.to_coco()] == [1] * 4


def test_supervision(found):
    supervision = pytest.importorskip("supervision")
    detections = found.to_supervision()
    assert isinstance(detections, supervision.Detections) and len(detections) == 4
    np.testing.assert_array_equal(detections.xyxy, found.boxes[:, [1, 0, 3, 2]])
    np.testing.assert_array_equal(detections.mask[1], found.masks[..., 1])
    np.testing.assert_array_equal(detections.confidence, found.scores)
    np.testing.assert_array_equal(detections.class_id, found.class_ids)
    assert detections.data["class_name"].tolist() == ["cell", "nucleus", "cell", "debris"]
    assert len(found[:0].to_supervision()) == 0
    assert Instances(dict(found)).to_supervision().data == {}


def test_without_supervision(found, monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ImportError, match=r"needs the package supervision .*: pip install superv"):
        found.to_supervision()


def test_plot(found):
    picture = np.full((700, 500, 3), 128, np.uint8)
    masks = np.zeros((700, 500, 4), bool)
    masks[200:400, 100:200, 0] = True
    found["masks"], found["rois"] = masks, np.array([[200, 100, 400, 200]] + [[0] * 4] * 3)
    drawn = found.plot(picture, colors=[(1, 0, 0)] * 4, captions=[""] * 4)
    assert drawn.shape == (700, 500, 3) and drawn.dtype == np.uint8
    assert tuple(drawn[300, 150]) == (185, 70, 70) and tuple(drawn[300, 300]) == (128, 128, 128)
    assert (picture == 128).all()
    labelled = found.plot(picture, colors=[(1, 0, 0)] * 4)
    found.class_names = None  # the label is another one then
    assert (labelled != drawn).any() and (labelled != found.plot(picture, ["red"] * 4)).any()
    with pytest.raises(ValueError, match=r"masks must be \[20, 30, instances\]"):
        found.plot(picture[:20, :30])


# -- On disk ----------------------------------------------------------------------------------


@st.composite
def results(draw):
    count, size = draw(st.integers(0, 5)), st.integers(1, 40)
    plain = arrays_of(count, draw(size), draw(size), seed=draw(st.integers(0, 99)))
    plain["scores"] = np.array(
        draw(st.lists(st.floats(0, 1, width=32), min_size=count, max_size=count)), np.float32
    )
    text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9)
    return Instances(**plain, class_names=draw(st.none() | st.lists(text, max_size=5)))


@pytest.mark.parametrize("suffix", [".json", ".npz", ".NPZ"])
@settings(deadline=None, max_examples=50)
@given(found=results())
def test_save_and_load(tmp_path_factory, suffix, found):
    path = tmp_path_factory.getbasetemp() / "results" / f"found{suffix}"
    found.save(path)
    again = Instances.load(str(path))
    assert_same(again, found)
    assert again.class_names == found.class_names
    assert [each.name for each in path.parent.iterdir() if each.suffix == suffix] == [path.name]
    assert_same(pickle.loads(pickle.dumps(found)), found)


@pytest.mark.parametrize("names", [NAMES, None])
def test_pycocotools_reads_what_was_saved(tmp_path, plain, names):
    from pycocotools.coco import COCO

    found = Instances(**plain, class_names=names)
    found.save(tmp_path / "found.json")
    with contextlib.redirect_stdout(io.StringIO()):
        labels = COCO(tmp_path / "found.json")
    rows = labels.loadAnns(labels.getAnnIds(imgIds=1))
    assert [row["score"] for row in rows] == found.scores.tolist()
    masks = np.stack([labels.annToMask(row) for row in rows], axis=-1)
    np.testing.assert_array_equal(masks, found.masks)
    assert [row["area"] for row in rows] == found.masks.sum(axis=(0, 1)).tolist()
    categories = {row["id"]: row["name"] for row in labels.loadCats(labels.getCatIds())}
    assert categories == {i: NAMES[i] if names else f"class {i}" for i in (1, 2, 3)}


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_a_save_that_breaks_off_leaves_the_older_file(tmp_path, found, monkeypatch, suffix):
    path = tmp_path / f"found{suffix}"
    found.save(path)

    def break_off(*paths):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", break_off)
    with pytest.raises(OSError, match="disk full"):
        found[:1].save(path)
    monkeypatch.undo()
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert_same(Instances.load(path), found)


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_damaged_and_other_files(tmp_path, found, suffix):
    path = tmp_path / f"found{suffix}"
    with pytest.raises(FileNotFoundError):
        Instances.load(path)
    found.save(path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"[]", b"{}", whole.replace(b"scores", b"sc0res")
                    .replace(b'"score"', b'"sc0re"')):  # fmt: skip
        path.write_bytes(content)
        with pytest.raises(
            ValueError, match=r"found\S+ is damaged, or wasn't written by Instances"
        ):
            Instances.load(path)


def test_masks_of_another_size_are_refused(tmp_path, found):
    path = tmp_path / "found.json"
    found.save(path)
    path.write_text(path.read_text().replace('"width": 30', '"width": 31'))
    with pytest.raises(ValueError, match="a mask is not of the picture's size, 20x31"):
        Instances.load(path)


def test_other_suffixes(tmp_path, found):
    for use in (found.save, Instances.load):
        with pytest.raises(
            ValueError, match=r"found.png: .*\.json or \.npz.* result.plot\(picture"
        ):
            use(tmp_path / "found.png")
    assert not list(tmp_path.iterdir())


# -- For the eye ------------------------------------------------------------------------------


def test_repr(found):
    found["scores"] = np.array([0.99, 0.9, 0.8, 0.706], np.float32)
    expected = "Instances: 4 of 20x30: 2 cell, 1 nucleus, 1 debris; scores 0.71 to 0.99"
    assert repr(found) == str(found) == f"{found}" == expected
    assert repr(found[0]) == "Instances: 1 of 20x30: 1 cell; score 0.99"
    assert repr(found[:0]) == "Instances: none of 20x30"


def test_the_page_prints_what_it_says(tmp_path, monkeypatch, capsys):
    """docs/instances.md shows after `#` what its lines print."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "instances.md").read_text("utf-8")
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        exec(block, names)
        said = re.findall(r"^(?:print\(.*\)  )?# (.*)$", block, re.MULTILINE)
        assert capsys.readouterr().out.splitlines() == said
    assert skimage.io.imread("found.png").shape == (640, 640, 3)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without such pipes")
@pytest.mark.parametrize("name", ["pipe.json", "pipe.npz"])
def test_a_pipe_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(OSError, match="It is a pipe, not a file"):
        Instances.load(tmp_path / name)
