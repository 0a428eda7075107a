"""Where YOLO's pictures, labels and names of classes lie: data.yaml, lists, and folders alone."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mrcnn.data.formats.classes import LISTS
from mrcnn.data.formats.files import Folders, is_picture, natural_name, read_text
from mrcnn.data.formats.notes import Dropped, FormatError, shortened
from mrcnn.data.formats.pairing import PICTURE_FOLDERS
from mrcnn.data.formats.plain_yaml import Value, read_yaml
from mrcnn.data.formats.reading import Part, Request

PARTS = ("train", "val", "valid", "test")
_YAML = (".yaml", ".yml")
_NAMES = ("obj.names", "predefined_classes.txt", *LISTS)  # of files with one class a line
_CLASS = re.compile(r"([0-9]{1,6})(?:\.0*)?")  # some programs write 0.0
_DEEPEST = 6  # folders below one of pictures
_PEEKED = 50  # files of labels; nearly always the first one tells


# -- Classes ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Names:
    """What the numbers of classes mean. keypoints: how many numbers of them follow a box."""

    listed: dict[int, str] = field(default_factory=dict)
    keypoints: int = 0

    def name(self, token: str) -> str:
        """The class that a row begins with. Raises Dropped."""
        whole = _CLASS.fullmatch(token)
        if whole is None:
            raise Dropped("begin with no number of a class")
        number = int(whole[1])
        if self.listed and number not in self.listed:
            raise Dropped("have a class number that the list of names does not have")
        return self.listed.get(number, f"class {number}")

    def in_order(self, occurring: Iterable[str]) -> list[str]:
        """The classes by number; without a list those that occur."""
        if self.listed:
            return [self.listed[number] for number in sorted(self.listed)]
        return sorted(occurring, key=lambda name: (len(name), name))

    def with_all(self, request: Request) -> Request:
        """The request with the names that are listed: their numbers mean something."""
        return replace(request, labels=request.labels | set(self.listed.values()))


def class_names(part: Part, folders: Folders) -> Names:
    """The names of a part's classes, of data.yaml or a list near it. Raises FormatError."""
    for file in part.files:
        if file.suffix in _YAML:
            return _names_in(read_yaml(file))
    above = [part.root, part.root / "labels", *part.root.parents[:2]]
    for place in above:
        if (found := find_yaml(place, folders)) and (names := _names_in(found[1])).listed:
            return names
        lists = [name for name in _NAMES if folders.has(place / name)]
        lists += folders.with_suffix(place, (".names",))
        for name in lists:
            lines = [line.strip() for line in read_text(place / name).splitlines()]
            if any(lines):
                return Names({i: line for i, line in enumerate(lines) if line})
    return Names()


def _names_in(content: dict[str, Value]) -> Names:
    given = content.get("names", [])
    listed: dict[int, str] = {}
    if isinstance(given, dict):
        listed = {int(key): name for key, name in given.items() if re.fullmatch(r"\d{1,6}", key)}
    elif isinstance(given, list):
        listed = dict(enumerate(given))
    shape = content.get("kpt_shape")
    sides = [int(side) for side in shape if re.fullmatch(r"\d{1,3}", side)] if shape else []
    keypoints = sides[0] * sides[1] if isinstance(shape, list) and len(sides) == 2 else 0
    return Names({number: name for number, name in listed.items() if name.strip()}, keypoints)


# -- Parts --------------------------------------------------------------------------------------


def find_yaml(folder: Path, folders: Folders) -> tuple[Path, dict[str, Value]] | None:
    """The file that describes a set in a folder, and what it says; None if there is none."""
    names = folders.with_suffix(folder, _YAML)
    for name in sorted(names, key=lambda name: (name[:-5] not in ("data", "dataset"), name)):
        content = read_yaml(folder / name)
        if _describes(content):
            return folder / name, content
    return None


def _describes(content: dict[str, Value]) -> bool:
    return bool({"names", "nc"} & content.keys() and {"train", "val", "test"} & content.keys())


def yaml_parts(file: Path, content: dict[str, Value], folders: Folders) -> dict[str, Part]:
    """The parts that a data.yaml names, {name: part}; none of which nothing is there."""
    found: dict[str, Part] = {}
    for name in ("train", "val", "test"):
        entries = content.get(name, "")
        entries = [entries] if isinstance(entries, str) else list(entries)
        there = [_resolved(entry, file, content) for entry in entries]
        sources = tuple(path for path in there if path is not None)
        if sources:
            found[name] = Part("yolo", file.parent, (file, *sources))
    # Sets without a part for validation name their only one twice.
    different = {part.files: part for part in found.values()}
    if len(found) > 1 and len(different) == 1:
        return {"": next(iter(different.values()))}
    return {name: part for name, part in found.items() if part in different.values()}


def _resolved(entry: str, file: Path, content: dict[str, Value]) -> Path | None:
    """The folder or list that an entry of data.yaml means, which may be of another computer."""
    name, root = natural_name(entry), content.get("path", "")
    if name is None:
        return None
    root = natural_name(root) if isinstance(root, str) else None
    bases = [file.parent / root] if root else []
    steps = [step for step in name.split("/") if step not in ("", "..")]
    least = 1 if steps and steps[-1].split(".")[0] in PARTS or len(steps) == 1 else 2
    ends = ["/".join(steps[i:]) for i in range(len(steps) - least + 1)]
    for base in [*bases, file.parent]:
        for tried in (name, *ends):
            path = Path(os.path.normpath(base / tried))
            try:
                if path.is_dir() or (path.suffix == ".txt" and path.is_file()):
                    return path
            except OSError:  # a name that no file can have
                continue
    return None


def find(folder: Path, folders: Folders) -> dict[str, Part]:
    """The parts of a folder by name; one set alone stands under ""; none if it isn't YOLO's."""
    described = find_yaml(folder, folders)
    if described and (parts := yaml_parts(*described, folders)):
        return parts
    found = _listed(folder, folders) or _side_by_side(folder, folders)
    if not found and _has_rows(folder, folders, beside_pictures=True):
        found = {"": Part("yolo", folder, (folder,))}
    if described and found:
        return {
            name: replace(part, files=(described[0], *part.files)) for name, part in found.items()
        }
    return found


def file_parts(file: Path, folders: Folders) -> dict[str, Part]:
    """The parts of a data.yaml, or of a list of pictures. Raises FormatError."""
    if file.suffix == ".txt":
        return {"": Part("yolo", file.parent, (file,))}
    content = read_yaml(file)
    if not _describes(content):
        raise FormatError(
            f"{file} describes no data set as YOLO's data.yaml does: it must have train and names."
        )
    parts = yaml_parts(file, content, folders)
    if not parts:
        found = _listed(file.parent, folders) or _side_by_side(file.parent, folders)
        parts = {name: replace(part, files=(file, *part.files)) for name, part in found.items()}
    if not parts:
        shown = " and ".join(
            f"{name}: {shortened(content[name])}" for name in ("train", "val") if name in content
        )
        raise FormatError(
            f"{file} names pictures that are not there ({shown}). Correct the paths, which count "
            "from the file's own folder."
        )
    return parts


def _listed(folder: Path, folders: Folders) -> dict[str, Part]:
    """Parts by train.txt, val.txt ..: files with the path of a picture on each line."""
    parts = {}
    for name in PARTS:
        if folders.has(folder / f"{name}.txt"):
            lines = read_text(folder / f"{name}.txt").split("\n", 1)
            if is_picture(lines[0].strip()):
                parts[name] = Part("yolo", folder, (folder / f"{name}.txt",))
    return parts


def _side_by_side(folder: Path, folders: Folders) -> dict[str, Part]:
    """A folder labels beside one of pictures; both may have train, val .. in them."""
    there = folders.names(folder)
    name = next((name for name in PICTURE_FOLDERS if name in there), None)
    if name is None or "labels" not in there:
        return {}
    if _has_rows(folder / "labels", folders):
        return {"": Part("yolo", folder, (folder / name,))}
    return {
        part: Part("yolo", folder, (folder / name / part,))
        for part in sorted(folders.names(folder / "labels"))
        if _has_rows(folder / "labels" / part, folders)
    }


def _has_rows(folder: Path, folders: Folders, beside_pictures: bool = False) -> bool:
    names = [name for name in folders.with_suffix(folder, (".txt",)) if name not in _NAMES]
    if beside_pictures:
        stems = {os.path.splitext(name)[0] for name in folders.names(folder) if is_picture(name)}
        names = [name for name in names if name[:-4] in stems]
    return any(looks_like_rows(folder / name) for name in names[:_PEEKED])


# -- Pictures and their labels ------------------------------------------------------------------


def pictures(part: Part, folders: Folders, images: Path | None) -> Iterator[str]:
    """The paths of a part's pictures. images: the folder of all of them, if it was named."""
    for source in [images] if images else _sources(part):
        if source.suffix == ".txt":
            yield from filter(None, (path for _, path in _lines_of(source, folders)))
        else:
            for name in sorted(_below(source, folders)):
                if is_picture(name):
                    yield os.path.join(source, name)


def missing(part: Part, folders: Folders, files: Mapping[str, Path | None]) -> list[str]:
    """Names of pictures that have labels, or stand in a list, and are nowhere.

    files: the file of labels, or None, of each picture's path.
    """
    lists = [source for source in _sources(part) if source.suffix == ".txt"]
    absent = [line for one in lists for line, path in _lines_of(one, folders) if path is None]
    if lists:  # their pictures are some of the folder's
        return absent
    used = {file for file in files.values() if file}
    for place in sorted({file.parent for file in used} - {Path(path).parent for path in files}):
        names = [name for name in folders.with_suffix(place, (".txt",)) if name not in _NAMES]
        absent += [f"{n[:-4]}.jpg (or .png ..)" for n in names if place / n not in used]
    return absent


def label_file(path: str, part: Part, request: Request) -> Path | None:
    """The file of a picture's labels, or None."""
    stem = Path(path).stem
    swapped = _labels_beside(Path(path).parent)
    places = [swapped / stem, Path(path).parent / stem]
    if request.images:
        inside = Path(os.path.relpath(path, request.images)).with_suffix("")
        places += [_labels_beside(source) / inside for source in _sources(part)]
    for place in places:
        file = place.with_name(f"{place.name}.txt")
        if request.folders.has(file) and file.name not in _NAMES:
            return file
    return None


def _sources(part: Part) -> list[Path]:
    return [file for file in part.files if file.suffix not in _YAML]


def _labels_beside(folder: Path) -> Path:
    """The folder of labels that goes with one of pictures: the last "images" becomes "labels"."""
    steps = list(folder.parts)
    for at in reversed(range(len(steps))):
        if steps[at] in PICTURE_FOLDERS:
            return Path(*steps[:at], "labels", *steps[at + 1 :])
    return folder / "labels"


def _below(folder: Path, folders: Folders, depth: int = 0) -> Iterator[str]:
    """The files in a folder and in those below it, relative to it, but hidden ones."""
    for name in folders.names(folder):
        if name[0] == ".":
            continue
        if depth < _DEEPEST and os.path.isdir(folder / name):
            yield from (f"{name}/{inner}" for inner in _below(folder / name, folders, depth + 1))
        else:
            yield name


def _lines_of(file: Path, folders: Folders) -> Iterator[tuple[str, str | None]]:
    """(line, path of the picture or None) of a list; lists may be of another computer."""
    for line in read_text(file).splitlines():
        name = natural_name(line)
        if name is None or not is_picture(name):
            continue
        steps = [step for step in name.split("/") if step not in ("", "..")]
        ends = [name, *("/".join(steps[i:]) for i in range(len(steps)))]
        tried = (os.path.normpath(os.path.join(file.parent, end)) for end in ends)
        yield name, next((path for path in tried if folders.has(path)), None)


def rows_of(file: Path) -> Iterator[list[str]]:
    """The words of each row that isn't empty. Raises FormatError."""
    for line in read_text(file).splitlines():
        if words := line.replace(",", " ").split():
            yield words


def looks_like_rows(file: Path) -> bool:
    """Whether a text file holds rows of labels, by its first one."""
    try:
        words = next(rows_of(file), [])
        return len(words) > 4 and bool(_CLASS.fullmatch(words[0])) and all(map(_is_number, words))
    except FormatError:
        return False


def _is_number(word: str) -> bool:
    try:
        return bool(float(word)) or True
    except ValueError:
        return False


def check_pictures(part: Part, number: int) -> None:
    """Raise FormatError where a part has no picture."""
    if not number:
        shown = ", ".join(str(source) for source in _sources(part)[:3])
        raise FormatError(f"{part.root} holds no picture for YOLO's labels. Looked in {shown}.")
