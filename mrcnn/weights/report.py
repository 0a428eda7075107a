"""What a load did, and why it could not: the sentences a person reads."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mrcnn.weights.inspection import Shapes, anchors_per_location, config_attributes
from mrcnn.weights.names import CLASS_DEPENDENT, part_of

_LISTED = 8  # names written out in a message before "and N more"

# Classifiers of ImageNet files: nobody misses them.
_IMAGENET_TOP = {"predictions", "fc1000", "probs"}


@dataclass
class LoadReport:
    """What a load did; `str()` sums it up. Names are "layer/weight", in the model's order."""

    path: Path
    format: str
    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # in the model only: "name (shape)"
    unused: list[str] = field(default_factory=list)  # in the file only
    excluded: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)  # "name: file (shape), model (shape)"
    class_names: list[str] | None = None  # by class id, where the file tells them and they fit

    def __str__(self) -> str:
        lines = [f"{self.path.name}: {len(self.loaded)} tensors loaded ({self.format})."]
        for names, what in (
            (self.excluded, "excluded as asked"),
            (self.missing, "not in the file, left as they were"),
            (self.unused, "in the file have no place in the model"),
            (self.mismatched, "differ in shape"),
        ):
            if names:
                lines.append(f"  {len(names)} {what}: {layers_of(names)}.")
        return "\n".join(lines)


def explain_mismatch(path: Path, mismatched: list[str], file: Shapes, model: Shapes) -> str:
    """Which shapes differ, which hyper-parameter makes them differ, and what to write.

    mismatched: as in LoadReport; file, model: {(layer, weight): shape} of all their tensors.
    """
    lines = [f"{path} doesn't fit the model; nothing was loaded."]
    lines += [f"  {text}" for text in mismatched[:_LISTED]]
    if len(mismatched) > _LISTED:
        lines.append(f"  and {len(mismatched) - _LISTED} more")
    file_has, model_has = config_attributes(file), config_attributes(model)
    for name in file_has:
        if name in model_has and file_has[name] != model_has[name]:
            lines.append(f"{name}: file {file_has[name]}, model {model_has[name]}.")
    ratios = anchors_per_location(file), anchors_per_location(model)
    if None not in ratios and ratios[0] != ratios[1]:
        lines.append(f"RPN_ANCHOR_RATIOS: file {ratios[0]} values, model {ratios[1]}.")

    layers = {text.split("/")[0] for text in mismatched}
    if layers <= set(CLASS_DEPENDENT):
        what, leave = "your own classes", CLASS_DEPENDENT
    elif layers == {"conv1"}:
        what, leave = "your own channels", ("conv1",)
    elif layers <= {"conv1", *CLASS_DEPENDENT}:
        what, leave = "your own channels and classes", ("conv1", *CLASS_DEPENDENT)
    else:
        lines.append("Give your Config the file's values, or exclude these layers.")
        return "\n".join(lines)
    names = ", ".join(f'"{name}"' for name in leave)
    lines.append(f"To start from this file with {what}, leave these layers out:")
    lines.append(f"    exclude=[{names}]")
    return "\n".join(lines)


def describe_gaps(
    report: LoadReport, wanted: Iterable[tuple[str, str]], filled: Iterable[tuple[str, str]]
) -> list[str]:
    """What is suspicious in a load that went through, one sentence for each finding.

    wanted, filled: (layer, weight) of the model's tensors that should and that did get values.
    Heads that are missing altogether are as they should be in ImageNet weights: no finding.
    """
    name, wanted, filled = report.path.name, list(wanted), set(filled)
    encoder = [key for key in wanted if part_of(key[0]) == "encoder"]
    gaps = [key for key in encoder if key not in filled]
    findings = []
    if gaps:
        why = (
            "they keep the values they had, which are random in a new model: "
            f"{layers_of(map(join, gaps))}. Is BACKBONE the file's?"
        )
        if all(weight == "bias" for _, weight in gaps):
            why = (
                "its convolutions have no biases, and the model's keep the values they had, which "
                "are zero in a new model."
            )
        findings.append(f"{name} lacks {len(gaps)} of the encoder's {len(encoder)} tensors; {why}")

    unused = [text for text in report.unused if text.split("/")[0] not in _IMAGENET_TOP]
    surplus = [text for text in unused if part_of(text) == "encoder"]
    if surplus:
        findings.append(
            f"{name} holds {len(surplus)} encoder tensors for which the model has no place: "
            f"{layers_of(surplus)}. The encoder won't compute what the file's did. Is BACKBONE "
            "the file's?"
        )

    rest = [key for key in wanted if part_of(key[0]) != "encoder"]
    gaps = [key for key in rest if key not in filled]
    if 0 < len(gaps) < len(rest):
        findings.append(
            f"{name} fills the pyramid, the RPN and the heads only in part; these keep the values "
            f"they had, which are random in a new model: {layers_of(map(join, gaps))}."
        )
    return findings


def join(key: tuple[str, str]) -> str:
    """("conv1", "kernel") as it stands in reports: "conv1/kernel"."""
    return "/".join(key)


def layers_of(names: Iterable[str]) -> str:
    """The layers of names like "conv1/kernel", each once, as a short list."""
    return shorten(list(dict.fromkeys(name.split("/")[0] for name in names)))


def shorten(names: list[str]) -> str:
    """The first few names and how many more there are."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return (", ".join(names[:_LISTED]) or "nothing") + more
