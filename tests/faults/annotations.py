"""Damaged annotation sets of every format: a sentence, a note or a mask; never anything else.

    python -m tests.faults.annotations --cases 100000 --seed 1

Each case damages a small sound set in up to four places: values in its JSON or XML, bytes of any
file, numbers in the heads of its pictures and masks, and what kind of thing lies under a name. Then
it is read as the commands read it: parts, classes, labels, pictures and masks.
"""

import base64
import copy
import io
import json
import logging
import os
import random
import shutil
import struct
import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mrcnn.data import formats
from mrcnn.data.check import DatasetReport, check_dataset
from mrcnn.data.classes import count_labels, disagreement, used_classes
from mrcnn.data.formats import FORMATS, FormatError
from mrcnn.data.joining import each_part
from mrcnn.data.parts import open_part
from mrcnn.data.pictures import PictureError
from mrcnn.errors import UsageError
from tests.faults.fuzzing import Attack, main
from tests.faults.sound_sets import SETS

EXPLAINED = (FormatError, PictureError, UsageError)
VALUES: list[Any] = [
    *(None, True, False, float("nan"), float("inf"), 1e308, -1e308, 10**400, 2**63, -1, 0, 7, 0.5),
    *(
        1e7,
        13_000,
        178_956_970,
        "",
        "nan",
        "7",
        "--5",
        "\0",
        "../../..",
        "x" * 5000,
        "coco",
        "train",
    ),
    *(
        "half \ud800",
        "two\nlines",
        "\x1b[31m",
        "C:\\a.png",
        "file:///etc",
        "a.png",
        "https://x/a.png",
    ),
    *([], {}, [[]], [None], [1e9, 1e9], {"a": [{}]}, {"size": [40, 60], "counts": "0"}),
    *({"size": [99_999, 1700], "counts": "a" * 50}, [[0, 0, 1e7, 0, 1e7, 1e7, 0, 1e7]]),
]
XML_VALUES = ["", "nan", "1e400", "9" * 5000, "-5", "&lt;", "\ud7ff", "../../x.png", "<b/>", "&x;"]


class Annotations(Attack):
    """The attack on the readers."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        os.environ["HOME"] = str(place)
        warnings.simplefilter("ignore")
        logging.disable()
        self.sets = {name: _contents(make_set, place / name) for name, make_set in SETS.items()}
        self.here = place / "set"

    def case(self, rng: random.Random) -> str:
        files = dict(self.sets[rng.choice(list(self.sets))])
        for _ in range(rng.randint(1, 4)):
            _damage(files, rng)
        shutil.rmtree(self.here, ignore_errors=True)
        for name, content in files.items():
            path = self.here / name
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                _put(path, content)
            except OSError:
                continue  # a name that no file can have
        return read(self.here, rng)


def read(place: Path, rng: random.Random) -> str:
    """Read a set as the commands do; what came of it."""
    format = rng.choice(["auto", "auto", "auto", *FORMATS])
    how = {"pieces": rng.choice(["auto", "auto", "whole", "split"])}
    class_name = rng.choice(["object", "thing", "half \ud800"])
    came = ["refused"]
    try:
        parts = formats.subsets(place, format)
        if rng.random() < 0.4:  # as training and evaluating do
            subset = rng.choice([*parts, "train", "val", "all"])
            came.append(_read_all(open_part(place, format, subset, class_name, **how), rng))
            return came[-1]
        labels = {}  # as `mrcnn data` does
        for name, dataset in each_part(place, format, None, class_name, **how):
            came.append(_read_all(dataset, rng))
            labels[name] = count_labels(dataset)
        for one in labels.values():
            mistake = disagreement(one, labels[next(iter(labels))], class_name)
            assert mistake is None or mistake.encode()
    except EXPLAINED as error:
        _check_sentence(error)
    return came[-1]


def _read_all(dataset: Any, rng: random.Random) -> str:
    came = "read"
    for name in dataset.class_names:
        assert name.isprintable() or name.encode(), name
    used_classes([dataset])
    for image_id in dataset.image_ids:
        listed = dataset.listed_class_ids(int(image_id))
        assert listed is None or (np.abs(listed) < dataset.num_classes).all()
        try:
            image = dataset.load_image(int(image_id))
            masks, class_ids = dataset.load_mask(int(image_id))
        except (FormatError, PictureError) as error:
            _check_sentence(error)
            came = "read in part"
            continue
        assert image.ndim == 3 and masks.shape == (*image.shape[:2], len(class_ids))
        assert masks.dtype == bool and masks.any(axis=(0, 1)).all()
        assert all(0 < abs(class_id) < dataset.num_classes for class_id in class_ids.tolist())
        assert listed is None or set(class_ids.tolist()) <= set(listed.tolist())
    report = check_dataset(dataset) if rng.random() < 0.2 else DatasetReport()
    for note in [*dataset.notes, *report.mistakes, *report.notices]:
        note.encode()
        assert "\n" not in note and "\x1b" not in note, note
    return f"{came}, with notes" if dataset.notes else came


def _check_sentence(error: Exception) -> None:
    text = str(error)
    assert 10 < len(text) < 4000 and text.rstrip()[-1] in ".?)", text[:300]


# -- Sound sets -----------------------------------------------------------------------------


def _contents(make_set: Callable[[Path], Any], folder: Path) -> dict[str, Any]:
    folder.mkdir()
    make_set(folder)
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return files


# -- Damage ---------------------------------------------------------------------------------


def _damage(files: dict[str, Any], rng: random.Random) -> None:
    """Damage one file: bytes, or a function that puts something else at its place."""
    name = rng.choice(list(files))
    content = files[name]
    if not isinstance(content, bytes):
        return
    ways: list[Callable[[bytes, random.Random], Any]] = [damaged_bytes]
    if name.endswith((".json", ".geojson")):
        ways += [_damaged_json] * 12
    elif name.endswith(".xml"):
        ways += [_damaged_xml] * 4
    elif name.endswith((".txt", ".yaml")):
        ways += [_damaged_text] * 6
    elif name.endswith(".png"):
        ways += [other_head] * 2
    draw = rng.random()
    if draw < 0.04:
        files[name] = rng.choice(OTHER_THINGS)
    elif draw < 0.0405 and name.endswith(".png"):
        files[name] = ENORMOUS
    elif draw < 0.06:
        files[rng.choice(["x.json", f"{name}.json", "half\udcff.png", "annotations"])] = content
    elif draw < 0.08:
        files[_renamed(name, rng)] = files.pop(name)
    else:
        files[name] = rng.choice(ways)(content, rng)


def _renamed(name: str, rng: random.Random) -> str:
    folder, base = os.path.split(name)
    stem, suffix = os.path.splitext(base)
    endings = [suffix, suffix.upper(), ".json", ".tif", ".txt", ""]
    other = rng.choice([stem, f".{stem}", f"{stem} 細", "x" * 230, f"{stem}\udcfe"])
    return os.path.join(folder, f"{other}{rng.choice(endings)}")


def damaged_bytes(content: bytes, rng: random.Random) -> bytes:
    """Bytes flipped, cut, put in or taken out."""
    damaged = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 3, 20])):
        at = rng.randrange(len(damaged) + 1)
        way = rng.randrange(5)
        if way == 0:
            del damaged[at:]
        elif way == 1:
            del damaged[at : at + rng.choice([1, 2, 8, 100])]
        elif way == 2:
            inside = [rng.randbytes(rng.randint(1, 8)), b"\0" * 64, b"9" * 5000, b"[" * 5000]
            damaged[at:at] = rng.choice(inside)
        elif damaged and at < len(damaged):
            damaged[at] = rng.randrange(256) if way == 3 else damaged[at] ^ (1 << rng.randrange(8))
    return bytes(damaged)


def _damaged_json(content: bytes, rng: random.Random) -> bytes:
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        return damaged_bytes(content, rng)
    places: list[tuple[Any, Any]] = []
    waiting = [tree] if isinstance(tree, dict | list) else []
    while waiting:
        node = waiting.pop()
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            places.append((node, key))
            if isinstance(value, dict | list):
                waiting.append(value)
    if not places:
        return damaged_bytes(content, rng)
    if rng.random() < 0.05 and (drawn := [n for n, key in places if key == "mask"]):
        side = rng.choice([SIDE, SIDE, 60])
        rng.choice(drawn).update(mask=ENORMOUS_TEXT, points=[[0, 0], [side - 1, side - 1]])
    node, key = rng.choice(places)
    way = rng.randrange(6)
    value = node[key]
    if way == 0:
        del node[key]
    elif way == 1 and isinstance(node, list):
        node.extend(copy.deepcopy(value) for _ in range(rng.choice([1, 1, 30])))
    elif way == 2:
        other, there = rng.choice(places)
        node[key] = copy.deepcopy(other[there])
    elif way == 3 and isinstance(value, int | float) and not isinstance(value, bool):
        node[key] = value * rng.choice([-1, 0.1, 10, 1000, 1e6])
    elif way == 4 and isinstance(value, str) and len(value) > 40:
        node[key] = damaged_bytes(value.encode(), rng).decode("latin-1")
    else:
        node[key] = copy.deepcopy(rng.choice(VALUES))
    try:
        return json.dumps(tree).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):  # it holds itself
        return damaged_bytes(content, rng)


def _damaged_xml(content: bytes, rng: random.Random) -> bytes:
    text = content.decode("latin-1")
    pieces = text.replace("<", "\0<").split("\0")
    at = rng.randrange(len(pieces))
    way = rng.randrange(4)
    if way == 0:
        del pieces[at]
    elif way == 1:
        pieces.insert(at, rng.choice(pieces))
    elif way == 2:
        pieces[at] = pieces[at].partition(">")[0] + ">" + rng.choice(XML_VALUES)
    else:
        pieces[at] = pieces[at] * rng.choice([2, 500])
    return "".join(pieces).encode("utf-8", "replace")


def _damaged_text(content: bytes, rng: random.Random) -> bytes:
    words = content.decode("latin-1").replace("\n", " \n ").split(" ")
    at = rng.randrange(len(words))
    way = rng.randrange(4)
    if way == 0:
        del words[at]
    elif way == 1:
        words[at] = rng.choice(words)
    elif way == 2:
        words[at] = words[at] * rng.choice([2, 500])
    else:
        words[at] = rng.choice([*XML_VALUES, "[", "{", "- ", "names:", "'", "/", "1e9", "#"])
    return " ".join(words).encode("utf-8", "replace")


def other_head(content: bytes, rng: random.Random) -> bytes:
    """A PNG that says it has another size, depth or kind, its checksum right again."""
    if content[12:16] != b"IHDR" or len(content) < 33:
        return damaged_bytes(content, rng)
    width, height, depth, colour, *rest = struct.unpack(">IIBBBBB", content[16:29])
    sides = [1, 39, 61, 4000, 13_000, 13_377, 60_000, 2**31 - 1]
    width = rng.choice([width, *sides])
    height = rng.choice([height, *sides])
    depth, colour = rng.choice([(depth, colour), (1, 0), (16, 0), (8, 3), (8, 6), (16, 2), (4, 3)])
    head = struct.pack(">4sIIBBBBB", b"IHDR", width, height, depth, colour, *rest)
    return content[:12] + head + struct.pack(">I", zlib.crc32(head)) + content[33:]


def _enormous() -> bytes:
    """A PNG of 169 million black pixels in 20 KB."""
    stream = io.BytesIO()
    Image.new("1", (SIDE, SIDE), 1).save(stream, "PNG")
    return stream.getvalue()


SIDE = 13_000
ENORMOUS = _enormous()
ENORMOUS_TEXT = base64.b64encode(ENORMOUS).decode()


def _put(path: Path, content: Any) -> None:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content(path)


OTHER_THINGS: list[Callable[[Path], Any]] = [
    os.mkfifo,
    lambda path: path.symlink_to("nowhere"),
    lambda path: path.symlink_to(path.name),
    lambda path: path.symlink_to("/dev/zero"),
    lambda path: path.symlink_to(path.parent),
    lambda path: path.mkdir(),
    lambda path: path.write_bytes(b""),
]


if __name__ == "__main__":
    sys.exit(main(Annotations, __doc__))
