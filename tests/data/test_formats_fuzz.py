"""Damaged annotation files: a sentence, a note or the right mask; never a traceback or a hang.

Every example breaks a valid file in a few places. What comes out must be a FormatError, or a set
in which each instance of the file is there or told, and each mask what the file's numbers draw:
one that is gone or changed without a word would teach a network something wrong.
"""

import copy
import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
import skimage.draw
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from labelled_sets import (
    CAT,
    DOG,
    HEIGHT,
    SIZE,
    WIDTH,
    coco_content,
    labelme_content,
    labelstudio_content,
    make,
    mask_of,
    via_content,
)
from pycocotools import mask as coco_mask

from mrcnn.data import open as open_set
from mrcnn.data.formats import FORMATS, FormatError
from mrcnn.data.pictures import PictureError

SECONDS = 20  # of this thread's own time for one file; nearly all take milliseconds
CONTENTS = {
    "coco": coco_content(),
    "via": via_content(),
    "labelme": labelme_content("b.png", DOG, "dog"),
    "labelstudio": labelstudio_content(),
}
TEXTS = ("cvat", "yolo")  # formats of numbers in text
GEOMETRY = {"segmentation", "all_points_x", "all_points_y", "points", "shape_type", "group_id"}
RIGHT = [mask_of(CAT), mask_of(DOG)]

bad_values = st.sampled_from(
    [None, True, False, float("nan"), float("inf"), 1e308, -1e308, 10**400, 2**63, -1, 0, 7, 0.5]
    + ["", "nan", "7", "\0", "../../..", "x" * 5000, "coco", [], {}, [[]], [None], {"a": [{}]}]
)
broken = st.recursive(
    bad_values, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner)
)
steps = st.tuples(st.integers(0, 10_000), st.sampled_from(["replace", "delete", "double"]), broken)
fuzzed = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def places(content, found):
    """(container, key) of everything in a JSON structure."""
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        found.append((content, key))
        if isinstance(value, dict | list):
            places(value, found)
    return found


def damaged(content, changes):
    content = copy.deepcopy(content)
    for number, how, value in changes:
        there = places(content, [])
        if not there:
            break
        container, key = there[number % len(there)]
        if how == "delete":
            del container[key]
        elif how == "double" and isinstance(container, list):
            container.append(copy.deepcopy(container[key]))
        else:
            container[key] = copy.deepcopy(value)
    return content


def geometry(content):
    """What of a file's content says where regions lie, as text."""
    return {
        json.dumps([key, container[key]])
        for container, key in places(content, [])
        if key in GEOMETRY or (key == "name" and "all_points_x" in container)
    }


def num_regions(format, content):
    """How many regions a file lists, whether they can be used or not."""
    if format == "via":
        entries = content.get("_via_img_metadata", content).values()
        lists = [entry["regions"] for entry in entries if isinstance(entry, dict)]
    elif format == "labelstudio":
        lists = [done["result"] for task in content for done in task.get("annotations", [])]
    else:
        lists = [content[{"coco": "annotations", "labelme": "shapes"}[format]]]
    return sum(map(len, lists))


def read(path, format):
    """(masks, notes) of a set, or None if it was refused with a sentence; in bounded time."""
    start = time.thread_time()
    masks = []
    try:
        dataset = open_set(path, format)
        for image_id in dataset.image_ids:
            found, class_ids = dataset.load_mask(image_id)
            assert found.shape == (*SIZE, len(class_ids)) and found.dtype == bool
            assert all(0 < abs(class_id) < dataset.num_classes for class_id in class_ids)
            masks += list(np.moveaxis(found, -1, 0))
    except (FormatError, PictureError) as error:
        assert re.fullmatch(r"[^\n]{10,2000}[.?)]", str(error)), str(error)
        return None
    finally:
        assert time.thread_time() - start < SECONDS
    assert all(re.fullmatch(r"[^\n]{10,1000}\.", note) for note in dataset.notes), dataset.notes
    return masks, dataset.notes


def is_told(notes):
    return any(re.search(r": \d+, the first in ", note) for note in notes)


@pytest.mark.parametrize("format", CONTENTS)
@given(changes=st.lists(steps, min_size=1, max_size=3))
@fuzzed
def test_broken_json(format, changes, tmp_path):
    file = tmp_path / "b.json"
    if not file.exists():
        make(format, tmp_path)
        for other in tmp_path.glob("*.json"):
            other.unlink()
    content = damaged(CONTENTS[format], changes)
    file.write_text(json.dumps(content))
    read(tmp_path, "auto")
    result = read(file, format)
    if result is None:
        return
    masks, notes = result
    if not is_told(notes):
        assert len(masks) == num_regions(format, content), "instances are gone without a word"
    if geometry(content) <= geometry(CONTENTS[format]):
        for mask in masks:
            assert any((mask == right).all() for right in RIGHT), "a mask that nobody drew"


words = st.sampled_from(
    [
        "",
        "nan",
        "inf",
        "1e308",
        "-1",
        "7",
        "0",
        "0.5",
        "9" * 5000,
        "x" * 5000,
        "\0",
        "é",
        "../..",
        "0,",
    ]
    + [
        "image",
        "polygon",
        "mask",
        "a.png",
        "--",
        "0 0.1 0.1 0.4 0.1 0.4",
        "<b/>",
        "&amp;",
        "&x;",
        '"',
    ]
)
word_steps = st.tuples(st.integers(0, 10_000), st.sampled_from(["replace", "double"]), words)


@pytest.mark.parametrize("format", TEXTS)
@given(changes=st.lists(word_steps, min_size=1, max_size=3))
@fuzzed
def test_broken_words(format, changes, tmp_path):
    """Words and numbers of a text file put in the place of others, or there twice."""
    note = tmp_path / "last"
    if not note.exists():
        note.write_text(str(make(format, tmp_path / "set")))
        note.with_name("text").write_text(Path(note.read_text()).read_text())
    pieces = re.split(r"([\w.-]+)", note.with_name("text").read_text())
    for number, how, word in changes:
        at = 2 * (number % (len(pieces) // 2)) + 1
        pieces[at] = f"{pieces[at]} {pieces[at]}" if how == "double" else word
    text = "".join(pieces)
    Path(note.read_text()).write_text(text)
    result = read(tmp_path / "set", format)
    read(tmp_path / "set", "auto")
    if result and not is_told(result[1]):
        rows = re.findall("<polygon" if format == "cvat" else r"(?m)\S.*$", text)
        assert len(result[0]) == len(rows) + (format == "yolo"), "instances are gone without a word"


@pytest.mark.parametrize("format", FORMATS)
@given(
    cut=st.integers(0, 10_000),
    at=st.integers(0, 10_000),
    content=st.binary(max_size=8) | st.sampled_from([b"9" * 5000, b"[" * 50_000, b"<a>" * 9999]),
)
@settings(fuzzed, max_examples=60)
def test_broken_bytes(format, cut, at, content, tmp_path):
    """Any file of any format, with bytes put in and its end cut off."""
    file = tmp_path / "last"
    if not file.exists():
        file.write_text(str(make(format, tmp_path)))
        file.with_name("bytes").write_bytes(Path(file.read_text()).read_bytes())
    valid = file.with_name("bytes").read_bytes()
    at, cut = at % (len(valid) + 1), len(valid) - cut % (len(valid) // 2)
    Path(file.read_text()).write_bytes((valid[:at] + content + valid[at:])[:cut])
    read(tmp_path, format)
    read(tmp_path, "auto")


numbers = st.integers(-200, 300) | st.floats(-200, 300) | st.floats() | st.just(1e300)
good_numbers = st.integers(-20, 80) | st.floats(-20, 80)
point_lists = st.lists(st.tuples(good_numbers, good_numbers), max_size=9)
point_lists |= st.lists(st.tuples(numbers, numbers), max_size=5)


def write_polygon(format, folder, points):
    """A set whose first region is this polygon of (x, y); the path to read."""
    if format in TEXTS:
        return write_polygon_as_text(format, folder, points)
    make(format, folder)
    content = copy.deepcopy(CONTENTS[format])
    xs, ys = [x for x, _ in points], [y for _, y in points]
    if format == "coco":
        content["annotations"] = content["annotations"][:1]
        content["annotations"][0]["segmentation"] = [[side for point in points for side in point]]
    elif format == "via":
        del content["b.png1"]
        shape = content["a.png1"]["regions"][0]["shape_attributes"]
        shape["all_points_x"], shape["all_points_y"] = xs, ys
    elif format == "labelstudio":
        content[0]["annotations"][0]["result"][0]["value"]["points"] = [list(p) for p in points]
    else:
        content["shapes"][0]["points"] = [list(point) for point in points]
    for other in folder.glob("*.json"):
        other.unlink()
    (folder / "b.json").write_text(json.dumps(content))
    return folder / "b.json"


def write_polygon_as_text(format, folder, points):
    file = make(format, folder)
    if format == "cvat":
        text = ";".join(f"{x!r},{y!r}" for x, y in points)
        file.write_text(re.sub('points="[^"]*"', f'points="{text}"', file.read_text(), count=1))
        return file
    row = "0 " + " ".join(f"{x!r} {y!r}" for x, y in points)
    file.with_name("a.txt").write_text(row if len(points) != 2 else "0 1")  # two are a box
    return folder


def on_the_picture(format, points):
    """(x, y) of corners in pixels as a format's numbers mean them."""
    x, y = np.array(points, float).T
    if format == "labelstudio":
        return x / 100 * WIDTH - 0.5, y / 100 * HEIGHT - 0.5
    if format == "yolo":
        return x * WIDTH - 0.5, y * HEIGHT - 0.5
    return (x - 0.5, y - 0.5) if format == "cvat" else (x, y)


@pytest.mark.parametrize("format", [*CONTENTS, *TEXTS])
@given(points=point_lists)
@fuzzed
def test_any_polygon_is_drawn_or_told(format, points, tmp_path):
    if format == "yolo":
        points = [(x / 50, y / 50) for x, y in points]
    result = read(write_polygon(format, tmp_path, points), format)
    assert result is not None
    masks, notes = result
    others = {"cvat": 1, "yolo": 1, "labelstudio": 1}.get(format, 0)
    if len(masks) == others:
        assert is_told(notes)
        return
    x, y = on_the_picture(format, points)
    if format == "coco":
        flat = np.stack([x, y], axis=1).reshape(1, -1).tolist()
        expected = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(flat, *SIZE)))
    else:
        expected = np.zeros(SIZE, bool)
        expected[skimage.draw.polygon(y, x, SIZE)] = True
    np.testing.assert_array_equal(masks[0], expected)


@pytest.mark.parametrize("format, count", [("via", 10**6), ("coco", 10**5), ("labelme", 10**5)])
def test_a_million_points(format, count, tmp_path):
    """A circle traced in fine steps is drawn; a scribble all over the picture is told."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    circle = 20 + 10 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    masks, _ = read(write_polygon(format, tmp_path, circle.tolist()), format)
    assert masks[0].sum() == pytest.approx(np.pi * 10**2, rel=0.03)  # of whole pixels
    scribble = np.random.default_rng(0).uniform(0, 40, (count, 2))
    masks, notes = read(write_polygon(format, tmp_path, scribble.tolist()), format)
    assert not masks and any("outline of more than 2 million pixels" in note for note in notes)
