"""From a model to a file that is proven: write, run, compare, and only then give it its name."""

import contextlib
import copy
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn import __version__
from mrcnn.config import Config
from mrcnn.detect.card import FORMATS, card_path, files_of, sha256, write_card
from mrcnn.detect.exported import Exported
from mrcnn.devices import quiet_tensorflow
from mrcnn.errors import UsageError
from mrcnn.export import formats, proof
from mrcnn.export import int8 as eight_bits
from mrcnn.export.proof import ProofFailed
from mrcnn.words import counted, printable

_PACKAGES = {
    "saved_model": (),
    "openvino": ("openvino",),
    "onnx": ("onnx", "tf2onnx", "onnxruntime"),
    "tflite": ("ai-edge-litert",),
}


def export(
    model: Any,
    to: str,
    out: str | os.PathLike = "exported",
    size: int | tuple[int, int] | None = None,
    check: Sequence[str | os.PathLike] | None = None,
    weights: str | os.PathLike | None = None,
    say: Callable[[str], None] = print,
    int8: str | os.PathLike | None = None,
) -> Path:
    """Write a model for another runtime, run the file, and compare it with the model.

    model: a MaskRCNN in inference mode. to: one of FORMATS.
    out: the folder that the file, its card and what else belongs to it go to.
    size: None takes what the config resizes to; a side has every picture scaled to fit a square
        of it; (height, width) takes pictures that become that size alone.
    check: picture files to compare on; None takes photographs that come with scikit-image.
    weights: the file that they are from, for the card. say: prints the table.
    int8: labelled pictures, of which the part for training gives the ranges of eight bits and the
        part for validation the AP before and after. The file of float32 is proven first, and not
        kept.

    Returns the path of the file, or of the SavedModel's folder.
    Raises UsageError: what is missing, or can't be; ProofFailed, and leaves no file, where an
    instance is not the same. OSError where it can't be written.
    """
    if to not in FORMATS:
        raise UsageError(f"there is no format {to!r} to export to, only {', '.join(FORMATS)}.")
    formats.check_installed(to)
    labelled = eight_bits.labelled(int8, to, model.class_names) if int8 else None
    config, fixed = sized(model.config, size)
    _check(model, config)
    shown = proof.pictures([Path(path) for path in check] if check else None, config)
    out = Path(out).expanduser()
    name = str(config.NAME or "mask_rcnn")
    target = out / formats.file_name(name + "_int8" * bool(labelled), to)
    if target.is_dir() and not card_path(target).exists():
        raise UsageError(f"{target} is a folder of something else: choose another --out.")
    with _folder(out) as folder:
        path = folder / formats.file_name(name, to)
        say(f"Writing {printable(target)}")
        with quiet_tensorflow():
            formats.write(model, config, to, fixed, path)
        card = _card(model, config, to, fixed, weights)
        write_card(path, card)
        exported = Exported(path, config)
        rows = proof.prove(model, config, exported.find, shown, fixed)
        say(proof.as_text(rows))
        _judge(rows, target)
        if not any(row.instances for row in rows):
            say(
                "NOTE: nothing was found in these pictures, so they prove little: give some of "
                "yours with --check."
            )
        card["proof"] = proof.summed(rows)
        write_card(path, card)
        if labelled:
            path, card["int8"] = eight_bits.smaller(exported, labelled, fixed, folder, say)
            write_card(path, card)
        del exported
        _place(path, target)
    total = sum(file.stat().st_size for file in files_of(target))
    say(f"{printable(target)}: {total / 1e6:.1f} MB, and its card {card_path(target).name}")
    return target


def sized(
    config: Config, size: int | tuple[int, int] | None
) -> tuple[Config, tuple[int, int] | None]:
    """(the config for a picture size, that size where it is always the same).

    Raises UsageError for sides that the network can't halve six times.
    """
    config = copy.copy(config)
    config.GPU_COUNT = config.IMAGES_PER_GPU = config.BATCH_SIZE = 1
    if config.IMAGE_RESIZE_MODE == "crop":
        config.IMAGE_RESIZE_MODE = "pad64"
    sides = (size, size) if isinstance(size, int) else size
    if sides and any(side < 64 or side % 64 for side in sides):
        raise UsageError(
            f"--size {'x'.join(map(str, dict.fromkeys(sides)))}: a side must be divisible by 64, "
            "for it is halved six times."
        )
    if isinstance(size, int):
        config.IMAGE_RESIZE_MODE, config.IMAGE_MAX_DIM = "square", size
        config.IMAGE_MIN_DIM = min(config.IMAGE_MIN_DIM or 0, size)
    elif size and config.IMAGE_RESIZE_MODE == "square" and size != (config.IMAGE_MAX_DIM,) * 2:
        raise UsageError(
            f"--size {size[0]}x{size[1]}: IMAGE_RESIZE_MODE is square, so pictures become "
            f"{config.IMAGE_MAX_DIM}x{config.IMAGE_MAX_DIM}. Give one side (--size {max(size)}), "
            "or --set IMAGE_RESIZE_MODE=pad64."
        )
    if config.IMAGE_RESIZE_MODE == "square":
        size = (int(config.IMAGE_MAX_DIM),) * 2
    return config, (int(size[0]), int(size[1])) if size else None


def _check(model: Any, config: Config) -> None:
    if model.mode != "inference":
        raise UsageError(
            'export needs MaskRCNN(mode="inference", ...): build one, and load the same weights.'
        )
    if config.MIXED_PRECISION:
        raise UsageError(
            "export needs a network in float32: build it with MIXED_PRECISION = False, and load "
            "the same weights."
        )
    mean = np.ravel(config.MEAN_PIXEL)
    if mean.min() < 0 or mean.max() > 255:
        raise UsageError(
            f"MEAN_PIXEL is {mean.tolist()}, so the network's pictures are not of 0..255; an "
            "exported file takes bytes."
        )


@contextlib.contextmanager
def _folder(out: Path) -> Iterator[Path]:
    """A folder in `out` to write to, which is gone at the end."""
    out.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".export-", dir=out))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _place(path: Path, target: Path) -> None:
    """Give the finished file, or folder, its name, and those beside it theirs."""
    if path.is_dir():
        if target.exists():
            shutil.rmtree(target)
        os.replace(path, target)
        return
    for file in [*files_of(path), card_path(path)]:
        os.replace(file, target.parent / file.name)


def _judge(rows: Sequence[proof.Compared], target: Path) -> None:
    if not rows:
        raise UsageError(
            f"{target} can't be proven: none of the pictures can be made the size that it takes. "
            "Give some with --check."
        )
    bad = [row for row in rows if not row.holds]
    if bad:
        raise ProofFailed(
            f"{target} finds other things than the Keras model in {counted(len(bad), 'picture')} "
            f"of {len(rows)} (the first is {bad[0].picture}), so it was not kept. Allowed are "
            f"{proof.BOX} pixels, {proof.SCORE} of a score and a mask IoU of {proof.MASK}."
        )


def _card(
    model: Any,
    config: Config,
    to: str,
    size: tuple[int, int] | None,
    weights: str | os.PathLike | None,
) -> dict[str, Any]:
    names = model.class_names or ["BG", *(f"class {i}" for i in range(1, config.NUM_CLASSES))]
    packages = ("tensorflow", "keras", *_PACKAGES[to])
    versions = {"mrcnn": __version__}
    for package in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    source = None
    if weights:
        source = {"name": Path(weights).name, "sha256": sha256([Path(weights)])}
    return {
        "format": to,
        "class_names": names,
        "min_confidence": float(config.DETECTION_MIN_CONFIDENCE or 0),
        "size": size,
        "resizing": formats.RESIZING[to],
        **formats.described(to, config, size),
        "config": config.hyper_parameters(),
        "parameters": int(model.keras_model.count_params()),
        "weights": source,
        "versions": versions,
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
