"""The card that stands beside an exported file, as JSON: what is in the file and how to feed it.

    card = read_card("cells.onnx")    # cells.onnx.json; of a folder served/ it is in the folder
    card.class_names, card.config(), card.size

Files: .onnx, .tflite, .xml (with its .bin), and the folder of a SavedModel.
"""

import functools
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mrcnn.config import Config
from mrcnn.errors import UsageError
from mrcnn.weights.inspection import PARTS, WeightsInfo, inspect_weights
from mrcnn.words import counted, listed, printable

FORMATS = ("saved_model", "openvino", "onnx", "tflite")
_SUFFIXES = {".xml": "openvino", ".onnx": "onnx", ".tflite": "tflite"}
# What a file can be asked for when it runs; all else is built into it.
_FREE = ("DETECTION_MIN_CONFIDENCE", "DETECTION_CLASS_CONFIDENCE", "DETECTION_MAX_INSTANCES")
BUILT_IN = (
    *("IMAGE_RESIZE_MODE", "IMAGE_MIN_DIM", "IMAGE_MAX_DIM", "IMAGE_MIN_SCALE", "MEAN_PIXEL"),
    *("RPN_ANCHOR_SCALES", "RPN_ANCHOR_RATIOS", "RPN_ANCHOR_STRIDE", "RPN_NMS_THRESHOLD"),
    *("RPN_BBOX_STD_DEV", "BBOX_STD_DEV", "PRE_NMS_LIMIT", "POST_NMS_ROIS_INFERENCE"),
    *("DETECTION_NMS_THRESHOLD", "DETECTION_EVERY_CLASS", "NUM_CLASSES", "BACKBONE"),
)


def format_of(path: str | os.PathLike) -> str | None:
    """The format of an exported file, one of FORMATS, by its name; None for other files."""
    path = Path(path)
    if path.is_dir():
        return "saved_model" if (path / "saved_model.pb").exists() else None
    return _SUFFIXES.get(path.suffix.lower())


def card_path(path: str | os.PathLike) -> Path:
    """Where the card of an exported file lies."""
    path = Path(path)
    return path / "card.json" if path.is_dir() else path.with_name(f"{path.name}.json")


def files_of(path: str | os.PathLike) -> list[Path]:
    """The files that make up an exported one, without the card."""
    path = Path(path)
    if path.is_dir():
        inside = [path / "saved_model.pb", *sorted((path / "variables").glob("*"))]
        return [file for file in inside if file.is_file()]
    return [path, *([path.with_suffix(".bin")] if format_of(path) == "openvino" else [])]


def sha256(paths: list[Path]) -> str:
    """Of files one after the other."""
    about = [(path, path.stat()) for path in paths]
    return _sha256(tuple((path, told.st_size, told.st_mtime_ns) for path, told in about))


@functools.lru_cache(maxsize=8)  # a card is read for its config, and again when the file is opened
def _sha256(files: tuple[tuple[Path, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, *_ in files:
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest()


@dataclass(frozen=True)
class Card:
    """What a card says. `told` is all of it, as in the JSON."""

    path: Path  # of the exported file
    told: Mapping[str, Any]

    @property
    def format(self) -> str:
        return str(self.told["format"])

    @property
    def class_names(self) -> list[str]:
        """By class id, background first."""
        return [str(name) for name in self.told["class_names"]]

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of the network's picture; None where it follows from the picture."""
        return tuple(self.told["size"]) if self.told["size"] else None

    @property
    def resizes(self) -> bool:
        """Whether the file takes a picture of any size; else it wants it resized and padded."""
        return self.told["resizing"] == "inside"

    def config(self) -> Config:
        """The Config that the file was exported with."""
        return type("CardConfig", (Config,), dict(self.told["config"]))()

    def __str__(self) -> str:
        told, names = self.told, self.class_names[1:]
        proof, weights, small = told.get("proof"), told.get("weights"), told.get("int8")
        picture = "x".join(map(str, self.size)) if self.size else "of any size"
        resized = "resized inside" if self.resizes else "resized and padded before"
        lines = [
            f"{printable(self.path)}: exported, {self.format}",
            f"  made          {told.get('date')}"
            + (f", from {printable(weights['name'])}" if weights else ""),
            f"  classes       {listed(names)}",
            f"  picture       {picture}, {resized}",
            f"  instances     {told['config'].get('DETECTION_MAX_INSTANCES')} at most",
            f"  parameters    {told.get('parameters', 0):,}",
            f"  file          {told['file'].get('bytes', 0) / 1e6:.1f} MB",
        ]
        if proof:
            lines.append(
                f"  proof         {proof['matched']:,} of {proof['instances']:,} instances in "
                f"{counted(proof['pictures'], 'picture')} are those of the network: boxes to "
                f"{proof['worst_box_px']:.1g} pixels, scores to {proof['worst_score']:.1g}, masks "
                f"to an IoU of {proof['least_mask_iou']:.4g}"
            )
        if small:
            lines.append(
                f"  eight bits    mask AP {small['after']['AP']:.3f}, and in float32 "
                f"{small['before']['AP']:.3f}"
            )
        return "\n".join(lines)

    def check_settings(self, config: Config) -> None:
        """Refuse a Config that asks for what isn't in the file. Raises UsageError."""
        mine, theirs = self.config().hyper_parameters(), config.hyper_parameters()
        other = [name for name in BUILT_IN if mine.get(name) != theirs.get(name)]
        if other:
            name = other[0]
            raise UsageError(
                f"{self.path} was exported with {name} = {mine.get(name)}, and "
                f"{theirs.get(name)} is asked for: that is built into the file, so export the "
                f"weights anew. What can be set when it runs is {', '.join(_FREE)}."
            )
        most = mine["DETECTION_MAX_INSTANCES"]
        if most < config.DETECTION_MAX_INSTANCES:
            raise UsageError(
                f"{self.path} gives {most} instances of a picture at most "
                f"(DETECTION_MAX_INSTANCES), and {config.DETECTION_MAX_INSTANCES} are asked for: "
                "export the weights anew with more."
            )


def read_card(path: str | os.PathLike) -> Card:
    """The card of an exported file, checked against the file.

    Raises UsageError: no such file, no card, another file's card.
    """
    path = Path(path)
    if not path.exists():
        raise UsageError(f"there is no exported file {printable(path)}.")
    kind, beside = format_of(path), card_path(path)
    if kind is None:
        raise UsageError(
            f"{printable(path)} is no exported network: those are .onnx, .tflite and .xml files, "
            "and the folder of a SavedModel."
        )
    try:
        told = json.loads(beside.read_text(encoding="utf-8"))
        missing = {"format", "class_names", "config", "size", "resizing", "file"} - told.keys()
    except FileNotFoundError:
        raise UsageError(
            f"{printable(path)} has no card: {beside.name} must lie beside it, as mrcnn export "
            "writes it."
            if not path.is_dir()
            else f"{printable(path)} has no card.json in it, as mrcnn export writes it."
        ) from None
    except (ValueError, AttributeError) as error:
        raise UsageError(f"{printable(beside)} is no card of mrcnn export: {error}.") from None
    if missing:
        raise UsageError(f"{printable(beside)} is no card of mrcnn export: it has no 'file'.")
    absent = [file for file in files_of(path) if not file.is_file()]
    if absent:
        raise UsageError(f"{printable(path)} needs {absent[0].name} beside it, which isn't there.")
    if told["format"] != kind or told["file"]["sha256"] != sha256(files_of(path)):
        raise UsageError(
            f"{printable(beside)} is the card of another file, or {path.name} is damaged: copy "
            "both from where they were exported, or export again."
        )
    return Card(path, told)


def write_card(path: Path, told: Mapping[str, Any]) -> None:
    """Put a card beside an exported file. told: all but what says which file it is."""
    files = files_of(path)
    file = {"sha256": sha256(files), "bytes": sum(one.stat().st_size for one in files)}
    text = json.dumps({**told, "file": file}, indent=1)
    card_path(path).write_text(text + "\n", encoding="utf-8")


def inspect(path: str | os.PathLike) -> WeightsInfo:
    """`inspect_weights` for weight files and exported files: of these the card says it."""
    if format_of(path) is None:
        return inspect_weights(path)
    card = read_card(path)
    told = dict(card.told["config"])
    return WeightsInfo(
        path=card.path,
        format=f"exported: {card.format}",
        layers=0,
        tensors=0,
        parameters=int(card.told.get("parameters", 0)),
        backbone=str(told.get("BACKBONE", "a function")),  # it is in the file, whatever it is
        anchors_per_location=None,
        parts=list(PARTS),
        attributes={"NUM_CLASSES": int(told["NUM_CLASSES"])},
        description={"config": told, "class_names": card.class_names},
    )
