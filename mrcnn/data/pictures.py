"""Picture files: finding them, reading them and writing PNG.

find_pictures(["holiday", "more/**/*.jpg"])      # [Path, ...]
read_picture("holiday/beach.jpg")                # [height, width, 3] uint8, RGB
"""

import glob
import os
import re
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from mrcnn.whole import whole

# What a folder is searched for; a file that is named is tried whatever its suffix.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".dib", ".gif", ".webp"),
    *(".avif", ".jp2", ".tga", ".pbm", ".pgm", ".pnm", ".ppm"),
)

_AS_THEY_ARE = ("L", "RGB", "F", "I")  # Pillow's modes: grey, colour, floats, whole numbers


class PictureError(ValueError):
    """A picture can't be found or read; the message names the file and the reason."""


# -- Finding --------------------------------------------------------------------------------


def find_pictures(sources: Iterable[str | os.PathLike]) -> list[Path]:
    """The files that are meant by names of files, folders and patterns, each once, in order.

    A file is taken as it is. A folder gives its picture files, by suffix and in natural order
    (2.jpg before 10.jpg), not those of folders in it. A pattern (`*`, `?`, `[..]`, and `**` for
    folders at any depth) gives all matching files if its last part ends in a suffix, else the
    picture files among them.
    Raises PictureError where a source gives nothing.
    """
    found: dict[str, Path] = {}
    for source in sources:
        for path in _find(os.path.expanduser(os.fspath(source))):
            found.setdefault(os.path.realpath(path), path)
    return list(found.values())


def _find(source: str) -> list[Path]:
    path = Path(source)
    try:
        # A name is tried before the pattern: img[1].jpg is an ordinary file name.
        if path.is_dir():
            return _in_folder(path)
        if path.exists():
            return [path]
    except OSError as error:
        raise PictureError(f"can't look into {source}: {error.strerror}.") from error
    if glob.has_magic(source):
        return _matching(source)
    raise PictureError(f"there is no file or folder {source}.")


def _in_folder(folder: Path) -> list[Path]:
    files = [path for path in folder.iterdir() if not path.name.startswith(".")]
    pictures = [path for path in files if _is_picture(path)]
    if not pictures:
        there = f"none of its {len(files)} entries is" if files else "it is empty, without"
        raise PictureError(
            f"no picture in the folder {folder}: {there} a file with one of the suffixes "
            f"{', '.join(SUFFIXES)}. Folders in it are not searched: '{folder}/**' does."
        )
    return sorted(pictures, key=_natural)


def _matching(pattern: str) -> list[Path]:
    paths = [Path(path) for path in glob.glob(pattern, recursive=True)]
    suffix = os.path.splitext(pattern)[1]
    if suffix and not glob.has_magic(suffix):
        pictures = [path for path in paths if path.is_file()]
    else:
        pictures = [path for path in paths if _is_picture(path)]
    if not pictures:
        raise PictureError(f"no picture matches {pattern} (searched from {os.getcwd()}).")
    return sorted(pictures, key=_natural)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _natural(path: Path) -> list:
    # Split at numbers: text and numbers then always stand at the same places of two keys.
    parts = re.split(r"(\d+)", str(path).casefold())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)]


# -- Reading --------------------------------------------------------------------------------


def read_picture(path: str | os.PathLike) -> np.ndarray:
    """Read a picture file as an array, upright.

    Returns [height, width, 3] RGB or [height, width] grey, of the file's own type: uint8, uint16,
    int32 or float32. The orientation that a camera wrote into the file (EXIF) is applied; palette,
    CMYK and the like become RGB, black and white becomes grey, an alpha channel is dropped.
    Of a file of several pictures the first is read, with a warning.
    Raises PictureError: no such file, no picture, damaged, too large, or a kind that Pillow would
    read only by losing bits.
    """
    path = Path(path)
    try:
        with warnings.catch_warnings():
            # A large picture is no attack; Pillow still refuses twice its limit.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                return _to_array(path, picture)
    except PictureError:
        raise
    except FileNotFoundError:
        raise PictureError(f"{path}: there is no such file.") from None
    except IsADirectoryError:
        raise PictureError(f"{path} is a folder, not a picture.") from None
    except PermissionError:
        raise PictureError(f"{path}: no permission to read it.") from None
    except Image.UnidentifiedImageError:
        raise PictureError(f"{path} {_what_it_is(path)}.") from None
    except Image.DecompressionBombError:
        raise PictureError(
            f"{path} has more than {2 * Image.MAX_IMAGE_PIXELS:,} pixels: cut it into pieces, or "
            "scale it down."
        ) from None
    except MemoryError:
        raise PictureError(f"{path} is too large for this computer's memory.") from None
    except Exception as error:  # Pillow raises nearly every kind on damaged bytes
        raise PictureError(f"{path} is damaged or cut short ({error}).") from error


def _to_array(path: Path, picture: Image.Image) -> np.ndarray:
    frames = getattr(picture, "n_frames", 1)
    if frames > 1:
        warnings.warn(f"{path} holds {frames} pictures: only the first is read.", stacklevel=3)
    # Pillow silently keeps the upper byte of 16-bit colour.
    if picture.mode in ("RGB", "RGBA", "LA") and _bits(picture) > 8:
        raise PictureError(
            f"{path} has {_bits(picture)} bits for each colour: convert it to 8 bits first, with "
            "the range of brightness that you need."
        )
    ImageOps.exif_transpose(picture, in_place=True)  # else it copies every picture
    if picture.mode not in _AS_THEY_ARE and not picture.mode.startswith("I;16"):
        grey = picture.mode in ("1", "LA", "La")
        picture = picture.convert("L" if grey else "RGB")
    array = np.asarray(picture)
    return array.astype(np.uint16) if picture.mode.startswith("I;16") else array


def _bits(picture: Image.Image) -> int:
    raw_modes = re.findall(r";(16|32|64)", str([tile[3] for tile in picture.tile]))
    return max(map(int, raw_modes), default=8)


def _what_it_is(path: Path) -> str:
    if not path.stat().st_size:
        return "is empty: 0 bytes"
    if path.suffix.lower() in (".tif", ".tiff"):
        return (
            "is no TIFF that Pillow can read (it may have 16-bit colours or more than 4 channels): "
            "convert it to 8-bit RGB first"
        )
    return "is no picture, or of a kind that Pillow can't read"


# -- Writing --------------------------------------------------------------------------------


def write_png(path: str | os.PathLike, picture: np.ndarray) -> None:
    """Write [height, width, 3] or [height, width] uint8 as a PNG file, all of it or nothing.

    Raises OSError where the file can't be written.
    """
    with whole(path) as unfinished:
        Image.fromarray(picture).save(unfinished, format="PNG")
