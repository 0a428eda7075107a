"""Which pictures GeoJSON files are about: those called like them, or those their features name."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mrcnn.data.formats.coco import set_name
from mrcnn.data.formats.files import (
    Folders,
    find_folder,
    is_picture,
    missing_pictures,
    natural_name,
)
from mrcnn.data.formats.notes import FormatError, Notes
from mrcnn.data.formats.pairing import PICTURE_FOLDERS, picture_names
from mrcnn.data.formats.reading import Part, Request

PLACES = ("labels", "geojson")  # of the files, beside where all annotation files may lie
_PEEKED = 20  # files of a folder
_WHOLE_NAMES = re.compile(rb'\s*\{[^\[\]{}]*"image"\s*:')
_NAMING = {
    *("image", "imagename", "imagepath", "imagefile", "imageid", "img", "picture", "photo"),
    *("filename", "file", "filepath", "sourceimage"),
}


def parts(folder: Path, files: Sequence[Path], folders: Folders) -> dict[str, Part]:
    """The parts of a folder: one where each file is of a picture, else one for each file."""
    peeked = files[:_PEEKED]
    of_pictures = any(_called_like(file, _near(file, None), folders) for file in peeked)
    of_pictures = of_pictures or all(map(_names_one, peeked))
    if len(files) == 1 or of_pictures:
        return {"": Part("geojson", folder, tuple(files))}
    return {set_name(file): Part("geojson", file, (file,)) for file in files}


class Pictures:
    """The pictures of a part's files."""

    def __init__(self, part: Part, request: Request) -> None:
        self._part, self._request = part, request
        self._stems: dict[Path, dict[str, str]] = {}
        self._found: dict[str, str] = {}  # paths by name, of the file that was asked about last
        self._named: list[str] = []
        self._missing: list[str] = []

    def of(
        self, file: Path, features: list[Any], whole: dict[str, Any], notes: Notes
    ) -> Iterator[tuple[str, list[Any]]]:
        """(a picture's name, its features) of a file."""
        self._found, self._named = {}, []
        grouped: dict[str | None, list[Any]] = {}
        for feature in features:
            given = feature.get("properties") if isinstance(feature, dict) else None
            name = self._name_in(given, file) if isinstance(given, dict) else None
            grouped.setdefault(name, []).append(feature)
        of_all = self._name_in(whole, file)
        if len(grouped) > 1 and None in grouped and of_all is None:
            unnamed = grouped.pop(None)
            notes.count("Regions dropped: they name no picture", file.name, len(unnamed))
        if None in grouped or not grouped:
            grouped[of_all] = grouped.pop(None, []) + grouped.pop(of_all, [])
        for name, found in grouped.items():
            if name is not None:
                self._named.append(name)
                yield name, found
                continue
            path = self._like(file)
            if path is None:
                self._missing.append(f"that of {file.name}")
            else:
                self._found[os.path.basename(path)] = path
                yield os.path.basename(path), found

    def paths(self, file: Path) -> dict[str, str]:
        """The path of each picture that `of` gave. Raises FormatError where one is missing."""
        bases = _near(file, self._request.images)
        named = find_folder(self._request.folders, self._named, bases, file) if self._named else {}
        return self._found | named

    def check_all_found(self, number: int) -> None:
        """Raise FormatError where files have no picture."""
        if self._missing:
            bases = [str(base) for base in _near(self._part.files[0], self._request.images)]
            total = number + len(self._missing)
            raise FormatError(missing_pictures(self._part.root, self._missing, total, bases))

    def _name_in(self, given: dict[str, Any], file: Path) -> str | None:
        """The picture that properties name, with or without its suffix."""
        for key, value in given.items():
            if key.lower().replace("_", "").replace(" ", "") not in _NAMING:
                continue
            name = natural_name(value)
            if name and is_picture(name):
                return name
            for base in _near(file, self._request.images) if name else ():
                if name in self._stems_in(base):
                    return self._stems_in(base)[name]
        return None

    def _like(self, file: Path) -> str | None:
        """The path of the picture that is called like a file, or that is alone beside it."""
        bases = _near(file, self._request.images)
        for base in bases:
            stems = self._stems_in(base)
            name = file.stem if file.stem in stems.values() else stems.get(file.stem)
            if name:
                return os.path.join(base, name)
        there = [
            os.path.join(base, name) for base in bases for name in self._stems_in(base).values()
        ]
        return there[0] if len(there) == 1 and len(self._part.files) == 1 else None

    def _stems_in(self, folder: Path) -> dict[str, str]:
        if folder not in self._stems:
            names = reversed(picture_names(folder, self._request.folders))
            self._stems[folder] = {os.path.splitext(name)[0]: name for name in names}
        return self._stems[folder]


def _names_one(file: Path) -> bool:
    """Whether a file says before its features which picture they are of, as those we write do."""
    try:
        with file.open("rb") as opened:
            head = opened.read(2000)
    except OSError:
        return False
    return bool(_WHOLE_NAMES.match(head))


def _called_like(file: Path, bases: Sequence[Path], folders: Folders) -> bool:
    names = (name for base in bases for name in picture_names(base, folders))
    return any(file.stem in (name, os.path.splitext(name)[0]) for name in names)


def _near(file: Path, images: Path | None) -> list[Path]:
    """The folders that the pictures of a file may lie in."""
    if images:
        return [images]
    return [
        folder / name
        for folder in (file.parent, file.parent.parent)
        for name in ("", *PICTURE_FOLDERS)
    ]
