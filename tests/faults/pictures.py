"""Damaged and odd pictures, through all that `mrcnn detect` does with one: a result or a sentence.

    python -m tests.faults.pictures --cases 10000 --seed 1
    python -m tests.faults.pictures --cases 500 --network    # a real, small one; else a stand-in

Each case makes one to three files: a sound picture of some format and kind, mostly damaged: bytes,
numbers in its head, cut short, spliced with another; or something else under a picture's name.
Then a whole run goes over them: finding, reading, checking, molding, overlays, JSON and labels.
Promised is: the run ends with 0 or 1, each file has a result or a reason of one line that names it,
both JSON files are whole and agree, and an overlay is there where it was promised.
"""

import contextlib
import io
import json
import os
import random
import shutil
import struct
import sys
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, features

from mrcnn.data.pictures import PictureError
from mrcnn.data.sources import find_sources
from mrcnn.detect import files, memory
from mrcnn.detect.check import check_pictures
from mrcnn.detect.instances import Instances
from mrcnn.detect.mold import mold_inputs
from mrcnn.detect.overlays import CAPTIONS, FORMATS, overlay_paths
from mrcnn.progress import Progress
from tests.faults.annotations import ENORMOUS, OTHER_THINGS, damaged_bytes, other_head
from tests.faults.fuzzing import Attack, main
from tests.small_network import small_config

FREE = 1 << 30  # bytes that the machine is said to have: what wants more is to be refused
NAMES = ["BG", "cell", "half \ud800"]
SUFFIXES = ["", "", "", ".png", ".jpg", ".tif", ".gif", ".txt"]
LABELS = [None, None, "via", "coco", "labelme"]


class Pictures(Attack):
    """The attack on detect."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        os.environ["HOME"] = str(place)
        warnings.simplefilter("ignore")
        memory.free_memory = lambda: FREE
        self.sound = sound_pictures()
        self.detect: files.Detector = stand_in

    def case(self, rng: random.Random) -> str:
        shutil.rmtree(self.place, ignore_errors=True)
        folder, out = self.place / "given", self.place / "out"
        folder.mkdir(parents=True)
        for _ in range(rng.choice([1, 1, 2, 3])):
            self._put(folder, rng)
        sources = rng.choice([lambda: [str(folder)], lambda: sorted(folder.iterdir())])()
        try:
            job = _job(sources, out, rng)
        except PictureError as error:
            check_sentence(str(error))
            return "refused"
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = files.run(job, self.detect, Progress(len(job.sources)))
        said.getvalue().encode()  # a terminal can show it
        return check_run(job, code, said.getvalue())

    def _put(self, folder: Path, rng: random.Random) -> None:
        name = rng.choice(list(self.sound))
        path = folder / _name(name, rng)
        content = self.sound[name]
        draw = rng.random()
        with contextlib.suppress(OSError):  # names that no file can have
            if draw < 0.04:
                rng.choice(OTHER_THINGS)(path)
                return
            if draw < 0.041:
                content = ENORMOUS
            elif draw < 0.15:
                content = rng.choice(OTHER_FILES)
            elif draw < 0.9:
                content = _damaged(content, rng, self.sound)
            path.write_bytes(content)


def _job(given: list, out: Path, rng: random.Random) -> files.Job:
    sources = find_sources(given, out / "fetched")
    format = rng.choice(FORMATS)
    overlays = overlay_paths(sources, out, format) if rng.random() < 0.7 else None
    config = small_config(IMAGE_RESIZE_MODE=rng.choice(["square", "square", "pad64", "none"]))
    settings = (rng.choice(LABELS), format, rng.choice(CAPTIONS), True, "", False)
    return files.Job(sources, overlays, "w.h5", config, NAMES, out, *settings)


def stand_in(picture: np.ndarray) -> Mapping[str, np.ndarray]:
    """What a network would find; the picture goes as far as its door."""
    config = small_config()
    (checked,) = check_pictures([picture], config)
    molded, _, _ = mold_inputs([checked], config)
    assert np.isfinite(molded).all() and np.abs(molded).max() < 256
    height, width = checked.shape[:2]
    rng = np.random.default_rng(height * width)
    count = int(rng.integers(0, 40)) if height * width < 1 << 20 else 1
    corners = np.sort(rng.integers(0, [height + 1, width + 1], (count, 2, 2)), axis=1)
    boxes = corners.reshape(count, 4).astype(np.int32)
    masks = np.zeros((height, width, count), bool)
    for i, (y1, x1, y2, x2) in enumerate(boxes):
        masks[y1:y2, x1:x2, i] = True
    ids, scores = rng.integers(1, 3, count), np.sort(rng.random(count, np.float32))[::-1]
    return Instances(rois=boxes, class_ids=ids.astype(np.int32), scores=scores, masks=masks)


def network() -> files.Detector:
    """The small network that the other tests use."""
    from mrcnn.model import MaskRCNN
    from tests.small_network import SmallConfig, fill

    model = MaskRCNN("inference", SmallConfig(), "logs")
    fill(model.keras_model)
    return lambda picture: model.detect([picture])[0]


# -- What was promised ----------------------------------------------------------------------


def check_run(job: files.Job, code: int, said: str) -> str:
    """Look at what a run has left; what came of it, in a word."""
    assert "Traceback" not in said and "\x1b" not in said, said[-2000:]
    images = json.loads((job.out / "images.json").read_text())
    results = json.loads((job.out / "results.json").read_text())
    assert sorted(path.suffix for path in job.out.glob("*.jsonl")) == []
    found, failures = images["images"], images["failures"]
    assert len(found) + len(failures) == len(job.sources)
    lines = [line for line in said.splitlines() if line.startswith(("failed: ", "no "))]
    assert code == (1 if lines else 0)
    for failure in failures:
        check_sentence(failure["reason"])
    counts = {image["id"]: image["instances"] for image in found}
    for row in results:
        counts[row["image_id"]] -= 1
    assert not any(counts.values())
    for image in found:
        if image["overlay"]:
            with Image.open(job.out / image["overlay"]) as overlay:
                assert min(overlay.size) >= 1
    lost = sum(line.startswith("no overlay: ") for line in lines)
    drawn = sum(image["overlay"] is not None for image in found)
    assert drawn == (len(found) - lost if job.overlays else 0)
    if job.labels in ("via", "coco"):
        json.loads(files.labels_path(job.out, job.labels).read_text())
    return "found" if not failures else "refused" if not found else "found in part"


def check_sentence(text: str) -> None:
    """One line for a person, without the name of an error that nobody thought of."""
    assert "\n" not in text and 10 < len(text) < 3000, text[:300]
    unexplained = [f": {kind} " in f"{text} " for kind in ("TypeError", "KeyError", "IndexError")]
    assert not any(unexplained) and "unexpected" not in text, text[:300]


# -- Pictures -------------------------------------------------------------------------------


def sound_pictures() -> dict[str, bytes]:
    """{name: content} of formats and kinds of pixels."""
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)).resize((70, 50))
    exif = Image.Exif()
    exif[0x0112] = 6
    written: dict[str, bytes] = {}

    def add(name: str, picture: Image.Image, **settings: Any) -> None:
        stream = io.BytesIO()
        picture.save(stream, **settings)
        written[name] = stream.getvalue()

    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        add(f"{mode}.png", small.convert(mode), format="PNG")
        add(f"{mode}.tif", small.convert(mode), format="TIFF")
    for mode in ("L", "RGB", "CMYK"):
        add(f"{mode}.jpg", small.convert(mode), format="JPEG", exif=exif)
    add("progressive.jpg", small, format="JPEG", progressive=True)
    add("turned.png", small, format="PNG", exif=exif)
    add("F.tif", small.convert("F"), format="TIFF")
    add("I.tif", small.convert("I"), format="TIFF")
    deep = Image.fromarray(np.asarray(small.convert("L")).astype(np.uint16))
    add("deep.png", deep, format="PNG")
    add("deep.tif", deep, format="TIFF")
    for packing in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        add(f"{packing}.tif", small, format="TIFF", compression=packing)
    frames = [small.rotate(angle) for angle in (0, 90, 180)]
    for format, suffix in (("GIF", "gif"), ("TIFF", "tiff"), ("WEBP", "webp")):
        add(f"several.{suffix}", small, format=format, save_all=True, append_images=frames)
    others = {"bmp": "BMP", "ppm": "PPM", "tga": "TGA", "dib": "DIB", "pcx": "PCX", "sgi": "SGI"}
    others |= {"jp2": "JPEG2000"} if features.check("jpg_2000") else {}
    others |= {"avif": "AVIF"} if features.check("avif") else {}
    for suffix, format in others.items():
        add(f"x.{suffix}", small, format=format)
    add("x.pgm", small.convert("L"), format="PPM")
    add("x.pbm", small.convert("1"), format="PPM")
    add("line.png", small.resize((3000, 1)), format="PNG")
    add("column.jpg", small.resize((1, 3000)), format="JPEG")
    add("one.png", small.resize((1, 1)), format="PNG")
    written["colours16.png"] = _png_of_16_bits()
    return written


def _png_of_16_bits() -> bytes:
    head = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" + np.arange(6, dtype=">u2").tobytes())
    chunks = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", head), (b"IDAT", rows), (b"IEND", b""))
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


OTHER_FILES = [
    b"", b"\0" * 300, b"%PDF-1.7\n", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"PK\3\4",
    b"\0\0\0\x18ftypheic" + b"\0" * 99, b"\0\0\0\x18ftypisom" + b"\0" * 99, b"\x89HDF\r\n\x1a\n",
    b"\x93NUMPY", b"P3\n9999999 9999999\n255\n", b"P6\n3 3\n255\n", b"BM" + b"\xff" * 99,
    b"GIF89a" + b"\xff" * 99, b"II*\0" + b"\xff" * 99, b"MM\0*" + b"\0" * 99, b"\xff\xd8\xff\xd9",
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%stdin) run\n", b"8BPS\0\1" + b"\0" * 99,
]  # fmt: skip


# -- Damage ---------------------------------------------------------------------------------


def _name(name: str, rng: random.Random) -> str:
    stem, suffix = os.path.splitext(name)
    others = [
        "x" * 245,
        "細胞",
        "half\udcff",
        "two\nlines",
        "\x1b[31m",
        ".hidden",
        "a b",
        "-o",
        "%s{}",
    ]
    stem = rng.choice(others) if rng.random() < 0.2 else f"{stem}{rng.randrange(9)}"
    return stem + (rng.choice(SUFFIXES) or suffix)


def _damaged(content: bytes, rng: random.Random, sound: Mapping[str, bytes]) -> bytes:
    way = rng.randrange(6)
    if way == 0:
        return content[: rng.randrange(len(content))]
    if way == 1:  # the head of one, the rest of another
        other = rng.choice(list(sound.values()))
        at = rng.randrange(min(len(content), len(other), 200))
        return content[:at] + other[at:]
    if way == 2 and content[12:16] == b"IHDR":
        return other_head(content, rng)
    if way in (2, 3):  # numbers, which often stand in the head
        damaged = bytearray(content)
        for _ in range(rng.choice([1, 1, 2, 4])):
            at = rng.randrange(min(len(content), rng.choice([64, 400, len(content)])))
            number = rng.choice([0, 1, 2, 7, 255, 4000, 65535, 13_000, 2**31 - 1, 2**32 - 1])
            kind = rng.choice(["<H", ">H", "<I", ">I"])
            number &= 0xFFFF if kind.endswith("H") else 0xFFFFFFFF
            damaged[at : at + struct.calcsize(kind)] = struct.pack(kind, number)
        return bytes(damaged)
    return damaged_bytes(content, rng)


class ThroughTheNetwork(Pictures):
    """The same, with a network behind it."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.detect = network()


if __name__ == "__main__":
    through = "--network" in sys.argv
    if through:
        sys.argv.remove("--network")
    sys.exit(main(ThroughTheNetwork if through else Pictures, __doc__))
