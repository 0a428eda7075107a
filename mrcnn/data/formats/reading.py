"""What every reader is given, and the step that all share: from labels by name to a Dataset."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mrcnn.data.formats.files import Folders
from mrcnn.data.formats.labelled import DrawnDataset, LabelledDataset
from mrcnn.data.formats.marks import MARK, UNCHANGED
from mrcnn.data.formats.names import is_background, numbered
from mrcnn.data.formats.notes import FormatError, Notes, shortened
from mrcnn.data.formats.shapes import Instance
from mrcnn.words import printable

PIECES = ("auto", "whole", "split")
HOLES = (
    "Regions labelled as background, which is no class (a hole where an object lies round it, "
    "else nothing)"
)
FILLED_BOXES = (
    "Boxes without outlines, whose masks are the boxes, filled (a network learns boxes from them, "
    "and no outlines)"
)
DOUBLED = "Instances that are there twice, taken once"


@dataclass(frozen=True)
class Part:
    """One labelled set: the whole of what the user named, or a part of it.

    root: the folder or file that stands for it in messages.
    files: its annotation files, in order; none for folders of masks.
    members: names, without suffix, of the pictures that belong to it; None: all.
    """

    format: str
    root: Path
    files: tuple[Path, ...] = ()
    members: frozenset[str] | None = None


@dataclass(frozen=True)
class Request:
    """What the user asked for beside the path, and what is known of the other parts.

    labels: class names that other parts have. parts: all of them, the one to read included.
    """

    images: Path | None = None
    class_ids: Sequence[Any] | None = None
    class_map: Mapping[Any, str | None] | None = None
    class_name: str = "object"
    class_attribute: str | None = None
    pieces: str = "auto"
    parts: tuple[Part, ...] = ()
    labels: frozenset[str] = frozenset()
    folders: Folders = field(default_factory=Folders)

    def renamed(self, label: str, other: Any = None) -> str | None:
        """A class under its name in class_map, looked up by name and then by `other`, its id."""
        class_map = self.class_map or {}
        return class_map.get(label, class_map.get(other, label) if other is not None else label)

    def is_background(self, label: str, other: Any = None) -> bool:
        """Whether a label means no class, unless class_map makes it one."""
        name = self.renamed(label, other)
        return name is not None and is_background(name)


@dataclass
class Row:
    """A picture as a reader found it; path is None if `embedded` names the file that holds it."""

    id: str
    path: str | None
    height: int | None
    width: int | None
    instances: list[Instance]
    embedded: str | None = None
    predicted: bool = False  # by `mrcnn detect`, and nobody has changed it


def number_classes(
    labels: Iterable[str], request: Request, notes: Notes, listed: Sequence[str] = ()
) -> tuple[list[str], dict[str, int]]:
    """(class names of 1, 2, ..; {label: class id}) of the labels that are kept.

    The order is that of class_ids (names, here), of `listed`, where the files list them, or of the
    alphabet, so that it doesn't hang on which picture comes first. Raises FormatError where
    class_ids names none that there is.
    """
    found = set(labels)
    unknown = [shortened(label) for label in request.class_map or {} if label not in found]
    if unknown:
        notes.say(f"class_map names labels that do not occur: {', '.join(unknown[:10])}.")
    renamed = {label: request.renamed(label) for label in found}
    names = {label: name and printable(name) for label, name in renamed.items()}
    kept = {name for name in names.values() if name is not None and not is_background(name)}
    order = sorted(kept, key=lambda name: (name.casefold(), name))
    ranks = {names.get(label): -rank for rank, label in enumerate(reversed(listed), 1)}
    order.sort(key=lambda name: ranks.get(name, 0))
    if request.class_ids:
        strange = [shortened(wanted) for wanted in request.class_ids if wanted not in kept]
        if len(strange) == len(request.class_ids):
            raise FormatError(
                f"class_ids are {', '.join(strange)}: in this format they are names, and there "
                f"are {', '.join(order) or 'none'}."
            )
        if strange:
            notes.say(f"class_ids names classes that do not occur: {', '.join(strange)}.")
        order = list(dict.fromkeys(request.class_ids))  # one that doesn't occur keeps its number
    if found and not order:
        raise FormatError(f"No class is left of {', '.join(sorted(map(shortened, found)))}.")
    numbers = {name: number for number, name in enumerate(order, 1)}
    return order, {label: numbers[name] for label, name in names.items() if name in numbers}


def add_drawn(
    dataset: DrawnDataset,
    rows: Sequence[Row],
    request: Request,
    notes: Notes,
    listed: Sequence[str] = (),
) -> LabelledDataset:
    """Fill a dataset with rows whose labels are names, and prepare it.

    listed: names in the order of the files' own list, whether they occur or not.
    """
    if not rows:
        said = " ".join(notes.sentences()[:3])
        raise FormatError(f"{dataset.root} holds no labelled picture. {said}".strip())
    labels = {instance.label for row in rows for instance in row.instances}
    order, numbers = number_classes(labels | request.labels, request, notes, listed)
    for number, name in enumerate(order, 1):
        dataset.add_class(dataset.format, number, name)
    for row in rows:
        drawn = _each_once(row, notes)
        kept = [Instance(numbers[label], shapes) for label, shapes in drawn if label in numbers]
        holes = [shapes for label, shapes in drawn if request.is_background(label)]
        if holes:
            notes.count(HOLES, row.id, len(holes))
        if request.class_ids and not kept:
            continue
        dataset.add_image(
            dataset.format,
            image_id=row.id,
            path=row.path,
            height=row.height,
            width=row.width,
            annotations=kept,
            **({"holes": holes} if holes else {}),
            **({"embedded": row.embedded} if row.embedded else {}),
            **({MARK: True} if row.predicted else {}),
        )
    return finished(dataset, notes)


def _each_once(row: Row, notes: Notes) -> list[Instance]:
    """The instances of a picture without those that are there a second time, which are counted."""
    seen: dict[tuple, Instance] = {}
    for instance in row.instances:
        outlines = tuple((s[0], s[1].tobytes(), s[2]) for s in instance.shapes)
        seen.setdefault((instance.label, outlines), instance)
    if len(seen) < len(row.instances):
        notes.count(DOUBLED, row.id, len(row.instances) - len(seen))
    return list(seen.values())


def finished(dataset: LabelledDataset, notes: Notes) -> LabelledDataset:
    """Prepare a dataset, and note what is odd about it as a whole.

    Ids or files that several pictures share, names of classes that count, and mere predictions.
    """
    seen: set[Any] = set()
    files: set[str] = set()
    for info in dataset.image_info:
        if info.get(MARK):
            notes.count(UNCHANGED, info["path"] or info["id"])
        if info["id"] in seen:
            notes.count("Pictures listed more than once", info["id"])
        elif info["path"] in files:
            notes.count("Pictures whose file is listed under several ids", info["path"])
        seen.add(info["id"])
        files |= {info["path"]} if info["path"] else set()
    if sentence := numbered(info["name"] for info in dataset.class_info[1:]):
        notes.say(sentence)
    dataset.prepare()
    return dataset
