"""YOLO segmentation: images, labels and data.yaml, as Ultralytics' trainer wants them."""

import contextlib
import os
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from mrcnn.data.writing import Instance, Labelled, Writer, has_one_outline, polygon_on_edges
from mrcnn.whole import WholeFile

_DIGITS = 7
_USUAL = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test",)}


class YoloWriter(Writer):
    """A folder with images/, labels/ and data.yaml.

    YOLO finds labels by the place of their picture. So images/ holds links to the pictures, which
    stay where they are, or copies where the file system knows no links; a picture that lies there
    already is left alone. An instance is one polygon: parts and holes are strung together by lines
    there and back, which enclose nothing. There are no scores.
    top: the folder that gets data.yaml, if this is a part of several below it.
    """

    suffix = ""
    without_crowds = "YOLO"

    def __init__(
        self,
        path: str | os.PathLike,
        class_names: Sequence[str],
        overwrite: bool = False,
        used: Collection[int] | None = None,
        top: str | os.PathLike | None = None,
    ) -> None:
        super().__init__(path, class_names, overwrite, used)
        self._top = self.path if top is None else Path(top)
        self._numbers = {class_id: number for number, class_id in enumerate(self._used)}
        self._taken: set[str] = set()
        for name in ("images", "labels"):
            (self.path / name).mkdir(parents=True, exist_ok=True)

    def add(self, item: Labelled) -> None:
        """Write the rows of a picture, and link it."""
        rows = [self._row(instance, item) for instance in self._instances(item)]
        if item.scores is not None and rows:
            self._notes.count(
                "Scores, which YOLO's labels have no place for, left out", item.file_name
            )
        name = self._link(item.file_name)
        WholeFile(self.path / "labels" / f"{name}.txt").close(rows)

    def _row(self, instance: Instance, item: Labelled) -> str:
        size = np.array([item.height, item.width])
        points = polygon_on_edges(
            instance, lambda p: np.array(_texts(p / size), float).reshape(-1, 2) * size
        )
        if not has_one_outline(instance):
            what = "Instances of several pieces or with holes, each strung together to one polygon"
            self._notes.count(what, item.file_name)
        numbers = _texts((points / size)[:, ::-1])
        return f"{self._numbers[instance.class_id]} {' '.join(numbers)}\n"

    def _link(self, file_name: str) -> str:
        """Put a link to a picture into images/; returns its name without the suffix."""
        source = Path(os.path.normpath(os.path.join(os.path.realpath(self.path), file_name)))
        plain = PurePosixPath(file_name)
        name, number = plain.stem, 2
        while name.casefold() in self._taken or self._is_other(f"{name}{plain.suffix}", source):
            name, number = f"{plain.stem}_{number}", number + 1
        self._taken.add(name.casefold())
        link = self.path / "images" / f"{name}{plain.suffix}"
        if not source.is_file():
            self._notes.count("Pictures that are not there, so that images has no link", file_name)
        elif not (link.exists() and link.samefile(source)):
            link.unlink(missing_ok=True)
            folder = os.path.realpath(link.parent)
            with contextlib.suppress(ValueError):  # Windows, another drive
                source = Path(os.path.relpath(source, folder))
            try:
                link.symlink_to(source)
            except (OSError, NotImplementedError):
                shutil.copy2(Path(folder) / source, link)
        return name

    def _is_other(self, name: str, source: Path) -> bool:
        """Whether images/ has a file of that name that is no link and not the picture."""
        path = self.path / "images" / name
        return (
            path.exists()
            and not path.is_symlink()
            and not (source.exists() and path.samefile(source))
        )

    def close(self, keep: bool) -> None:
        """Write data.yaml; the rows of each picture are finished when it is added."""
        if keep:
            WholeFile(self._top / "data.yaml").close([self._yaml()])

    def _yaml(self) -> str:
        parts = {}
        for folder in sorted(self._top.glob("*/images")):
            part = folder.parent.name
            key = next((key for key, names in _USUAL.items() if part.lower() in names), part)
            parts.setdefault(key, f"{part}/images")
        if self._top == self.path or not parts:
            parts = {"train": "images"}
        lines = [] if "val" in parts else ["# There is no part for validation: it uses train.\n"]
        parts.setdefault("val", parts.get("train", next(iter(parts.values()))))
        lines += [
            f"{key if key in _USUAL else _quoted(key)}: {_quoted(place)}\n"
            for key, place in parts.items()
        ]
        names = [self.class_names[class_id] for class_id in self._used]
        lines += [f"nc: {len(names)}\n", "names:\n"]
        lines += [f"  {number}: {_quoted(name)}\n" for number, name in enumerate(names)]
        return "".join(lines)


def _texts(numbers: np.ndarray) -> list[str]:
    return [f"{number:.{_DIGITS}f}".rstrip("0").rstrip(".") for number in numbers.flat]


def _quoted(text: str) -> str:
    """Text as YAML takes it for text, whatever is in it: a class may be called no."""
    return "'" + text.replace("'", "''") + "'"
