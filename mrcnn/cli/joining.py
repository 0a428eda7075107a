"""The parts of a data set as the files divide them, perhaps with other sets joined to it.

A set joined by --with brings new pictures, or other labels for pictures that are there: so labels
that were corrected by hand take the place of predicted ones. Pictures are the same if their file
is; classes are, if their name is.
"""

import argparse
import os
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from mrcnn.cli.data_sets import add_data_arguments, is_called, open_part, with_classes
from mrcnn.cli.errors import UsageError
from mrcnn.cli.terminal import counted
from mrcnn.data import formats
from mrcnn.data.dataset import Dataset, mask_crops
from mrcnn.geometry.crops import MaskCrops

WHOLE = "all"  # what a set without parts is called


def add_parts_arguments(parser: argparse.ArgumentParser) -> None:
    """DATA, --subset and --with, for commands that take all parts one by one."""
    add_data_arguments(parser)
    add = parser.add_argument
    add("--subset", metavar="NAME", help="only this part of DATA (default: all, one by one)")
    add(
        "--with",
        action="append",
        default=[],
        dest="added",
        metavar="DATA",
        help="join this set, of any format; of a picture that both have, its labels are taken, not "
        "those of DATA. Classes of one name are one. May be repeated; a later one counts more",
    )


def part_names(args: argparse.Namespace) -> list[str]:
    """The parts that are wanted, or "all" for a set without.

    Raises UsageError where there are no such files, or FormatError for data that can't be read.
    """
    if args.subset and args.added:
        raise UsageError("--with joins whole sets: leave --subset out.")
    return [args.subset] if args.subset else _parts(args.data, args.format) or [WHOLE]


def each_part(args: argparse.Namespace) -> Iterator[tuple[str, Dataset]]:
    """The name of each wanted part, and its pictures, prepared.

    Raises UsageError for a picture of --with that could belong to several parts, and what
    `part_names` raises.
    """
    names = part_names(args)
    parts = ((name, _open(args.data, args.format, name, args.class_name)) for name in names)
    if not args.added:
        yield from parts
        return
    added = {
        path: {
            name: _open(path, "auto", name, args.class_name)
            for name in _parts(path, "auto") or [WHOLE]
        }
        for path in args.added
    }
    yield from join(dict(parts), added).items()


def join(
    parts: Mapping[str, Dataset], added: Mapping[str, Mapping[str, Dataset]]
) -> dict[str, "Joined"]:
    """Sets as one, part by part.

    parts: the first set's, by name. added: {path of a set: its parts}; later ones count more.
    A picture keeps its part; a new one goes into that of its own part's name, or to training.
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
        for other_name, other in others.items():
            other = with_classes(other, class_names)
            for i in other.image_ids:
                key = _key(other, i)
                homes = [name for name in parts if key in rows[name]]
                counts = replaced if homes else new
                for name in homes or [_home(other_name, list(parts), path)]:
                    counts[name] += 1
                    rows[name][key] = other, int(i)
        for name in parts:
            told = [f"{counted(new[name], 'picture')} added"] if new[name] else []
            if replaced[name]:
                told.append(f"its labels taken for {counted(replaced[name], 'picture')} had before")
            if told:
                notes[name].append(f"{path}: {', '.join(told)}.")
    return {
        name: Joined(list(rows[name].values()), part, notes[name]) for name, part in parts.items()
    }


class Joined(Dataset):
    """Pictures of several data sets whose classes have the same numbers."""

    def __init__(
        self, rows: Sequence[tuple[Dataset, int]], first: Dataset, notes: Sequence[str]
    ) -> None:
        """rows: (data set, image id) of each picture; first: the set that others were joined to."""
        super().__init__()
        self._rows, self._joining_notes = rows, list(notes)
        self._sets = list({id(dataset): dataset for dataset, _ in rows}.values())
        self.format = " and ".join(dict.fromkeys(dataset.format for dataset in self._sets))
        self.root = first.root
        self.class_info = [dict(info) for info in first.class_info]
        source = self.class_info[-1]["source"]  # classes are looked up by it
        self.image_info = [dict(dataset.image_info[i], source=source) for dataset, i in rows]
        self.prepare()

    @property
    def notes(self) -> list[str]:
        """What was dropped, cut or assumed on reading each set, and how they were joined."""
        told = [note for dataset in self._sets for note in dataset.notes]
        return [*dict.fromkeys(told), *self._joining_notes]

    def load_image(self, image_id: int) -> np.ndarray:
        """As its own set gives it."""
        dataset, own_id = self._rows[image_id]
        return dataset.load_image(own_id)

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """bool [height, width, instances], int32 [instances] in the numbers that all share."""
        dataset, own_id = self._rows[image_id]
        return dataset.load_mask(own_id)

    def load_mask_crops(self, image_id: int) -> tuple[MaskCrops, np.ndarray] | None:
        """The same, each mask cut to its box."""
        return mask_crops(*self._rows[image_id])

    def image_reference(self, image_id: int) -> str:
        """As its own set gives it."""
        dataset, own_id = self._rows[image_id]
        return dataset.image_reference(own_id)


def _parts(data: str, format: str) -> list[str]:
    path = Path(data).expanduser()
    if not path.exists():
        raise UsageError(f"there is no file or folder {path}.")
    return formats.subsets(path, format)


def _open(data: str, format: str, name: str, class_name: str) -> Dataset:
    if name in _parts(data, format):
        # All of it, as the files have it; to train, a fifth might be kept for validation.
        return formats.open(Path(data).expanduser(), format, name, class_name=class_name)
    return open_part(data, format, name, class_name)


def _key(dataset: Dataset, image_id: int) -> Hashable:
    """What is equal for two rows that mean the same picture."""
    info = dataset.image_info[image_id]
    return os.path.realpath(info["path"]) if info["path"] else (str(dataset.root), info["id"])


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
