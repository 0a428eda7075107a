"""Files of labelled sets: reading them without surprises, and finding the pictures they name."""

import itertools
import json
import os
import unicodedata
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from PIL import Image

from mrcnn.data.formats import cellpose
from mrcnn.data.formats.notes import FormatError, shortened
from mrcnn.data.pictures import SUFFIXES, read_picture
from mrcnn.whole import no_file, regular_file

# A JPEG's values are not exact: of one only black and white are taken.
MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".gif", ".jpg", ".jpeg", cellpose.SUFFIX)
MOST_PIXELS = 2 * Image.MAX_IMAGE_PIXELS  # a larger picture is refused when it is read

_OF_SETS = (*SUFFIXES, ".json", ".geojson", ".xml", ".txt")  # names of what the readers open

_EXIF_KEYS = {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}

# -- Annotation files -----------------------------------------------------------------------


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises FormatError, with the reason and the place."""
    try:
        return json.loads(_read_bytes(path))
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise FormatError(
            f"{path} is no JSON, or cut short: {error.msg} at {where}. Export it again."
        ) from None
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{path} is not in UTF-8 (byte {error.start}): save it in that encoding."
        ) from None
    except RecursionError:
        raise FormatError(f"{path} nests lists too deep to be an annotation file.") from None
    except ValueError as error:  # a number of thousands of digits
        raise FormatError(f"{path} can't be read as JSON: {shortened(error)}.") from None
    except MemoryError:
        raise FormatError(
            f"{path} is too large for this computer's memory: cut it into several files."
        ) from None


def read_text(path: Path) -> str:
    """The content of a text file in UTF-8. Raises FormatError."""
    try:
        return _read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{path} is not in UTF-8 (byte {error.start}): save it in that encoding."
        ) from None


def read_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file. Raises FormatError, also for one that defines entities."""
    parser = ElementTree.XMLParser(target=_PlainXml())
    try:
        parser.feed(_read_bytes(path))
        return parser.close()
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        if isinstance(error, FormatError):
            raise FormatError(f"{path} {error}") from None
        raise FormatError(f"{path} is no XML, or cut short: {shortened(error)}.") from None


class _PlainXml(ElementTree.TreeBuilder):
    def doctype(self, name: str, public_id: str | None, system: str | None) -> None:
        # Entities can make a kilobyte grow to gigabytes, or name other files.
        raise FormatError("has a DOCTYPE, which no annotation needs: remove it.")


def _read_bytes(path: Path) -> bytes:
    try:
        if what := no_file(path):
            raise FormatError(_no_file(path, what))
        return path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path} can't be read: {error.strerror}.") from None


def _no_file(path: str | os.PathLike, what: str) -> str:
    """The sentence about a path that is no file. what: of `no_file`."""
    return f"{path}: there is no such file." if what == "nothing" else f"{path} is {what}, no file."


# -- Folders --------------------------------------------------------------------------------


class Folders:
    """Listings of folders, each read once: asking for every picture would take minutes.

    passed_over: {path: what it is} of what is called like a file of a labelled set and can't be
        opened as one, such as a pipe or a link to nothing.
    """

    def __init__(self) -> None:
        self._names: dict[str, frozenset[str]] = {}
        self._links: set[str] = set()  # paths; where they lead costs a look at each
        self.passed_over: dict[str, str] = {}

    def names(self, folder: str | os.PathLike) -> frozenset[str]:
        """Names of the files, folders and links in a folder; none where it can't be listed."""
        key = os.fspath(folder)
        if key not in self._names:
            try:
                with os.scandir(key or ".") as entries:
                    self._names[key] = frozenset(e.name for e in entries if self._usable(e))
            except (OSError, ValueError):
                self._names[key] = frozenset()
        return self._names[key]

    def _usable(self, entry: os.DirEntry) -> bool:
        if entry.is_symlink():
            self._links.add(entry.path)
            return True
        if entry.is_file() or entry.is_dir():
            return True
        return self._leads_to_file(entry.path)

    def _leads_to_file(self, path: str) -> bool:
        what = no_file(path)
        if what not in ("", "a folder") and path.lower().endswith(_OF_SETS):
            self.passed_over[path] = what
        return what in ("", "a folder")

    def has(self, path: str | os.PathLike) -> bool:
        """Whether there is such an entry."""
        folder, name = os.path.split(os.fspath(path))
        return name in self.names(folder)

    def with_suffix(self, folder: Path, suffixes: Sequence[str]) -> list[str]:
        """Names of the visible entries of a folder that end so and can be opened, sorted."""
        found = (
            name
            for name in self.names(folder)
            if name.lower().endswith(tuple(suffixes)) and name[0] != "."
        )
        paths = {name: os.path.join(folder, name) for name in found}
        return sorted(
            name
            for name, path in paths.items()
            if path not in self._links or self._leads_to_file(path)
        )


def natural_name(name: Any) -> str | None:
    """A picture's name as an annotation file has it, as a relative path; None if it is no name.

    Back-slashes come from Windows; of a link only its last part can be a file here.
    """
    if not isinstance(name, str) or not name.strip() or "\0" in name or len(name) > 4096:
        return None
    name = name.strip().replace("\\", "/")
    if "://" in name:
        name = name.split("?")[0].rsplit("/", 1)[-1]
    elif name[1:3] == ":/":
        name = name[3:]
    return os.path.normpath(name) if name else None


def find_folder(
    folders: Folders, file_names: Iterable[str], candidates: Iterable[Path], source: Path
) -> dict[str, str]:
    """The path of each picture that an annotation file names, {name: path}.

    candidates: folders to look in; the one that holds the most is taken. Names with folders in
        them are tried as they are, and then without, if that leaves no two alike.
    Raises FormatError where pictures are missing, with their number and the first one.
    """
    names = list(dict.fromkeys(file_names))
    plain = [os.path.basename(name) for name in names]
    ways = [names] if plain == names or len(set(plain)) < len(names) else [names, plain]
    bases = list(dict.fromkeys(os.path.normpath(base) for base in candidates))
    best: tuple[int, str, list[str]] = (-1, "", names)
    for way in ways:
        below: dict[str, set[str]] = {}
        for folder, name in map(os.path.split, way):
            below.setdefault(folder, set()).add(name)
        for base in bases:
            found = sum(
                len(wanted & folders.names(os.path.join(base, folder) if folder else base))
                for folder, wanted in below.items()
            )
            if found > best[0]:
                best = found, base, way
            if found == len(names):
                return {name: os.path.join(base, file) for name, file in zip(names, way)}
    found, base, way = best
    paths = {name: os.path.join(base, file) for name, file in zip(names, way)}
    if found < len(names):
        paths = _under_other_names(folders, names, ways, bases, paths)
    missing = [name for name, path in paths.items() if not folders.has(path)]
    if not missing:
        return paths
    odd = [
        f" ({path} is {folders.passed_over[path]}.)"
        for path in paths.values()
        if path in folders.passed_over
    ]
    raise FormatError(missing_pictures(source, missing, len(names), bases) + "".join(odd[:1]))


def _under_other_names(
    folders: Folders,
    names: list[str],
    ways: list[list[str]],
    bases: list[str],
    paths: dict[str, str],
) -> dict[str, str]:
    """paths, with files in the place of missing ones whose names are the same but for writing.

    Links have %20 for a blank, Macs compose letters otherwise, and Windows doesn't tell a.JPG from
    a.jpg. A file is taken where it is the only one so called.
    """
    best = paths
    for folder, way in itertools.product(bases, ways):
        alike: dict[str, dict[str, list[str]]] = {}
        tried = {}
        for name, file in zip(names, way):
            path = os.path.join(folder, file)
            below, last = os.path.split(path)
            if not folders.has(path):
                if below not in alike:
                    alike[below] = {}
                    for other in folders.names(below):
                        alike[below].setdefault(_as_read(other), []).append(other)
                same = alike[below].get(_as_read(last), [])
                path = os.path.join(below, same[0]) if len(same) == 1 else path
            tried[name] = path
        if _found(folders, tried) > _found(folders, best):
            best = tried
    return best


def _found(folders: Folders, paths: dict[str, str]) -> int:
    return sum(map(folders.has, paths.values()))


def _as_read(name: str) -> str:
    return unicodedata.normalize("NFC", unquote(name)).casefold()


def missing_pictures(source: Path, missing: list[str], total: int, looked_in: list[str]) -> str:
    """The sentence about pictures that are not there."""
    shown = ", ".join(looked_in[:6]) + (", .." if len(looked_in) > 6 else "")
    return (
        f"{source}: {len(missing)} of {total} pictures are missing, the first is "
        f"{shortened(missing[0])}. Looked in {shown}. Put them there, name their folder with "
        "images=, or remove them from the annotations."
    )


def is_picture(name: str) -> bool:
    """Whether a file's name is that of a picture."""
    return name.lower().endswith(SUFFIXES)


# -- Pictures and masks ---------------------------------------------------------------------


def stored_size(path: str | os.PathLike) -> tuple[int, int, int]:
    """(height, width, EXIF orientation) from a picture's first bytes; height and width as stored.

    Raises PictureError as `read_picture` does, and FormatError for a file of cellpose.
    """
    if os.fspath(path).lower().endswith(cellpose.SUFFIX):
        height, width = cellpose.read_masks(path).shape
        return height, width, 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(regular_file(path)) as picture:
                return size_in_header(picture)
    except Exception:  # Pillow raises nearly every kind on damaged bytes
        height, width = read_picture(path).shape[:2]  # knows how to say what is wrong
        return height, width, 1


def size_in_header(picture: Image.Image) -> tuple[int, int, int]:
    """(height, width, EXIF orientation) of an open picture whose pixels are not read yet."""
    width, height = picture.size
    # Pillow decodes the whole of a PNG in search of EXIF that may stand at its end.
    rotatable = picture.format != "PNG" or not _EXIF_KEYS.isdisjoint(picture.info)
    return height, width, picture.getexif().get(0x0112, 1) if rotatable else 1


def read_plane(
    path: str | os.PathLike, size: tuple[int, int] | None = None
) -> tuple[np.ndarray, str]:
    """A mask file as one number for each pixel, [height, width], and what the numbers are.

    "index": entries of a palette; "value": grey values, 8 or 16 bits; "colour": colours as
    red * 65536 + green * 256 + blue.
    size: (height, width) of its picture; a mask of another size is refused before it is decoded.
    Raises FormatError naming the file.
    """
    try:
        if what := no_file(path):
            raise FormatError(_no_file(path, what))
        if os.fspath(path).lower().endswith(cellpose.SUFFIX):
            plane = cellpose.read_masks(path)
            if size and plane.shape != size:
                raise FormatError(_other_size(path, plane.shape, size))
            return plane, "value"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as picture:
                if size and picture.size != size[::-1]:
                    raise FormatError(_other_size(path, picture.size[::-1], size))
                if picture.mode == "P":
                    return _without_transparent(picture), "index"
                if picture.format in ("JPEG", "MPO"):
                    return _of_two_values(np.asarray(picture.convert("L")), path), "value"
                if picture.mode == "L":
                    return _without_grey_edges(np.asarray(picture)), "value"
                if picture.mode in ("1", "I") or picture.mode.startswith("I;16"):
                    return np.asarray(picture), "value"
                if picture.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
                    return _with_alpha(np.asarray(picture.convert("RGBA")))
                colours = np.asarray(picture.convert("RGB")).astype(np.int64)
    except FormatError:
        raise
    except Exception as error:
        raise FormatError(f"{path} can't be read as a mask: {shortened(error)}.") from None
    return _as_numbers(colours)


def _as_numbers(colours: np.ndarray) -> tuple[np.ndarray, str]:
    """colours: int64 [height, width, (red, green, blue)]."""
    red, green, blue = np.moveaxis(colours, -1, 0)
    if (red == green).all() and (green == blue).all():
        return _without_grey_edges(red), "value"
    return red << 16 | green << 8 | blue, "colour"


def _with_alpha(pixels: np.ndarray) -> tuple[np.ndarray, str]:
    """What is transparent is no instance; where colours say nothing, what is opaque is one."""
    opaque = pixels[..., 3] >= 128
    plane, kind = _as_numbers(np.where(opaque[..., None], pixels[..., :3], 0).astype(np.int64))
    hidden = not plane.any() or (opaque.any() and len(np.unique(plane[opaque])) == 1)
    return (_black_and_white(opaque), "value") if hidden and not opaque.all() else (plane, kind)


def _without_transparent(picture: Image.Image) -> np.ndarray:
    plane = np.asarray(picture)
    if "transparency" in picture.info:
        opaque = np.asarray(picture.convert("RGBA"))[..., 3] >= 128
        plane = np.where(opaque, plane, 0)
    return plane


def _without_grey_edges(plane: np.ndarray) -> np.ndarray:
    """A mask drawn with soft edges as black and white; one that numbers instances as it is."""
    if plane.max(initial=0) != 255:
        return plane
    counts = _counts(plane)
    soft = np.count_nonzero(counts[1:255]) > 2 and 2 * counts[255] > counts[1:].sum()
    return _black_and_white(plane > 127) if soft else plane


def _counts(plane: np.ndarray) -> np.ndarray:
    """How often each of 0..255 occurs, [256]; in strips, since NumPy copies them to int64."""
    strips = np.array_split(plane, max(1, plane.size >> 22))
    return sum(np.bincount(strip.reshape(-1), minlength=256) for strip in strips)


def _black_and_white(mask: np.ndarray) -> np.ndarray:
    return mask.astype(np.uint8) * np.uint8(255)


def _of_two_values(plane: np.ndarray, path: str | os.PathLike) -> np.ndarray:
    counts = _counts(plane)
    clear = counts[:64].sum() + counts[192:].sum()
    if clear < 0.9 * plane.size or (counts[8:].any() and not counts[192:].any()):
        raise FormatError(
            f"The mask {path} is a JPEG that is not black and white: its values are not exact, so "
            "that instances can't be told apart. Save masks as PNG."
        )
    return _black_and_white(plane > 127)


def _other_size(path: str | os.PathLike, found: tuple[int, int], size: tuple[int, int]) -> str:
    return (
        f"The mask {path} is {found[0]} high and {found[1]} wide, but its picture {size[0]} high "
        f"and {size[1]} wide: it belongs to another one, or was resized."
    )
