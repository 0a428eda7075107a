"""The parts of a data set as the files divide them, perhaps with other sets joined to it.

A set joined by --with brings new pictures, or other labels for pictures that are there: so labels
that were corrected by hand take the place of predicted ones. Pictures are the same if their file
is; classes are, if their name is.
"""

import os
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mrcnn.data import formats
from mrcnn.data.classes import used_classes
from mrcnn.data.dataset import Dataset
from mrcnn.data.formats import LabelledDataset
from mrcnn.data.formats.marks import MARK
from mrcnn.data.parts import existing, is_called, open_part, with_classes
from mrcnn.data.view import View
from mrcnn.errors import UsageError
from mrcnn.words import counted

WHOLE = "all"  # what a set without parts is called


def part_names(
    data: str | os.PathLike, format: str = "auto", subset: str | None = None
) -> list[str]:
    """The parts that are wanted, or "all" for a set without.

    subset: only this one. Raises UsageError where there are no such files, or FormatError for data
    that can't be read.
    """
    return [subset] if subset else _parts(data, format) or [WHOLE]


def each_part(
    data: str | os.PathLike,
    format: str = "auto",
    subset: str | None = None,
    class_name: str = "object",
    added: Sequence[str | os.PathLike] = (),
    **how: Any,
) -> Iterator[tuple[str, LabelledDataset | View]]:
    """The name of each wanted part, and its pictures, prepared.

    how: class_attribute and pieces, as `mrcnn.data.open` takes them.
    added: sets that are joined to it, of any format; later ones count more.
    Raises UsageError for a picture of these that could belong to several parts, and what
    `part_names` raises.
    """
    if subset and added:
        raise UsageError("--with joins whole sets: leave --subset out.")
    names = part_names(data, format, subset)
    parts = ((name, _open(data, format, name, class_name, **how)) for name in names)
    if not added:
        yield from parts
        return
    others = {
        os.fspath(path): {
            name: _open(path, "auto", name, class_name, **how)
            for name in _parts(path, "auto") or [WHOLE]
        }
        for path in added
    }
    yield from join(dict(parts), others).items()


def join(
    parts: Mapping[str, Dataset], added: Mapping[str, Mapping[str, Dataset]]
) -> dict[str, View]:
    """Sets as one, part by part.

    parts: the first set's, by name. added: {path of a set: its parts}; later ones count more.
    A picture keeps its part; a new one goes into that of its own part's name, or to training.
    Labels give way to other labels, and predictions to both, but no labels to predictions that
    nobody has changed. Classes that have no instance in any of the pictures are left out.
    """
    every = [*parts.values(), *(part for other in added.values() for part in other.values())]
    class_names = list(dict.fromkeys(name for part in every for name in part.class_names))
    parts = {name: with_classes(part, class_names) for name, part in parts.items()}
    rows: dict[str, dict[Hashable, tuple[Dataset, int]]] = {}
    for name, part in parts.items():
        rows[name] = {_key(part, i): (part, int(i)) for i in part.image_ids}
    notes: dict[str, list[str]] = {name: [] for name in parts}
    for path, others in added.items():
        new, replaced = dict.fromkeys(parts, 0), dict.fromkeys(parts, 0)
        kept, unlooked = dict.fromkeys(parts, 0), dict.fromkeys(parts, 0)
        for other_name, other in others.items():
            other = with_classes(other, class_names)
            for i in other.image_ids:
                key = _key(other, i)
                homes = [name for name in parts if key in rows[name]]
                for name in homes or [_home(other_name, list(parts), path)]:
                    guessed = _is_predicted((other, int(i)))
                    if homes and guessed and not _is_predicted(rows[name][key]):
                        kept[name] += 1
                        continue
                    (replaced if homes else new)[name] += 1
                    unlooked[name] += guessed
                    rows[name][key] = other, int(i)
        for name in parts:
            told = [f"{counted(new[name], 'picture')} added"] if new[name] else []
            if replaced[name]:
                told.append(f"its labels taken for {counted(replaced[name], 'picture')} had before")
            if told and unlooked[name]:
                told.append(f"{unlooked[name]} of them with predictions that nobody has changed")
            if kept[name]:
                told.append(
                    f"{counted(kept[name], 'picture')} had before keep their labels, since those "
                    "in it are predictions that nobody has changed (if they are right, convert it "
                    "by itself first, and join what that gives)"
                )
            if told:
                notes[name].append(f"{path}: {', '.join(told)}.")
    views = {
        name: View(list(rows[name].values()), part, class_names, notes=notes[name])
        for name, part in parts.items()
    }
    used = used_classes(views.values(), crowds=True)
    names = [name for name in class_names if not used or name in ("BG", *used)]
    return {name: with_classes(view, names) for name, view in views.items()}


def _parts(data: str | os.PathLike, format: str) -> list[str]:
    return formats.subsets(existing(data), format)


def _open(data: str | os.PathLike, format: str, name: str, class_name: str, **how: Any) -> Dataset:
    if name in _parts(data, format):
        # All of it, as the files have it; to train, a fifth might be kept for validation.
        return formats.open(Path(data).expanduser(), format, name, class_name=class_name, **how)
    return open_part(data, format, name, class_name, **how)


def _key(dataset: Dataset, image_id: int) -> Hashable:
    """What is equal for two rows that mean the same picture."""
    info = dataset.image_info[image_id]
    return os.path.realpath(info["path"]) if info["path"] else (str(dataset.root), info["id"])


def _is_predicted(row: tuple[Dataset, int]) -> bool:
    dataset, image_id = row
    return bool(dataset.image_info[image_id].get(MARK))


def _home(name: str, parts: Sequence[str], path: str) -> str:
    """The part that a new picture belongs to, which is in part `name` of the set at `path`."""
    if name in parts or len(parts) == 1:
        return name if name in parts else parts[0]
    wanted = "val" if is_called(name, "val") else "train"
    found = [part for part in parts if is_called(part, wanted)]
    if len(found) == 1 and (name == WHOLE or is_called(name, wanted)):
        return found[0]
    raise UsageError(
        f"{path} has new pictures{'' if name == WHOLE else f' in its part {name}'}, and which of "
        f"the parts {', '.join(parts)} are they for? Convert the parts one by one."
    )
