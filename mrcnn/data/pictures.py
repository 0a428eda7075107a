"""Picture files: finding them, reading them and writing PNG and JPEG.

find_pictures(["holiday", "more/**/*.jpg"])      # [Path, ...]
read_picture("holiday/beach.jpg")                # [height, width, 3] uint8, RGB
"""

import glob
import io
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from mrcnn.data import tiff
from mrcnn.data.scaling import BRIGHTEST, DARKEST, measured, scaling
from mrcnn.whole import no_file, whole
from mrcnn.words import listed, printable

# What a folder is searched for; a file that is named is tried whatever its suffix.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".dib", ".gif", ".webp"),
    *(".avif", ".jp2", ".tga", ".pbm", ".pgm", ".pnm", ".ppm"),
)

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts"),
    *(".mts", ".3gp", ".ogv"),
)

# The order of bytes in Pillow's raw modes: big, little, and that of this computer.
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
DEEP = "Pictures of more than 8 bits, their brightness scaled to 0..255"

_AT_ONCE = 1 << 22  # pixels that are converted at a time
_AS_THEY_ARE = ("L", "RGB", "F", "I")  # Pillow's modes: grey, colour, floats, whole numbers


class PictureError(ValueError):
    """A picture can't be found or read; the message names the file and the reason."""


class NoPicture(PictureError):
    """What is there is of no kind that can be read."""


# -- Finding --------------------------------------------------------------------------------


def find_pictures(sources: Iterable[str | os.PathLike]) -> list[Path]:
    """The files that are meant by names of files, folders and patterns, each once, in order.

    A file is taken as it is. A folder gives its picture files, by suffix and in natural order
    (2.jpg before 10.jpg), not those of folders in it. A pattern (`*`, `?`, `[..]`, and `**` for
    folders at any depth) gives all matching files if its last part ends in a suffix, else the
    picture files among them. What has a picture's name and is no file, such as a pipe or a link to
    nothing, is passed over with a warning.
    Raises PictureError where a source gives nothing, or is a pipe or a device.
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
        what = no_file(path)
    except OSError as error:
        raise PictureError(f"can't look into {printable(source)}: {error.strerror}.") from error
    if what == "a folder":
        return _in_folder(path)
    if not what:
        return [path]
    if what == "nothing" and glob.has_magic(source):
        return _matching(source)
    raise PictureError(_why_not(source, what))


def _why_not(source: str, what: str) -> str:
    if what == "nothing":
        return f"there is no file or folder {printable(source)}."
    return (
        f"{printable(source)} is {what}, not a file. (Pictures that another program writes come in "
        "by the name - : program | mrcnn detect - ; a camera can't be read: record to a file.)"
    )


def _in_folder(folder: Path) -> list[Path]:
    try:
        files = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise PictureError(f"can't look into {printable(folder)}: {error.strerror}.") from error
    pictures = _pictures(files, folder)
    if not pictures:
        videos = [path.name for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
        there = f"none of its {len(files)} entries is" if files else "it is empty, without"
        shown = printable(folder)
        hint = f"Folders in it are not searched: '{shown}/**' does."
        if videos:
            hint = f"For video, give the file itself: {printable(folder / videos[0])}."
        raise PictureError(
            f"no picture in the folder {shown}: {there} a file with one of the suffixes "
            f"{', '.join(SUFFIXES)}. {hint}"
        )
    return sorted(pictures, key=_natural)


def _matching(pattern: str) -> list[Path]:
    paths = [Path(path) for path in glob.glob(pattern, recursive=True)]
    suffix = os.path.splitext(pattern)[1]
    if suffix and not glob.has_magic(suffix):
        paths = [path for path in paths if not path.is_dir()]
        pictures = _pictures(paths, pattern, (suffix.lower(),))
    else:
        pictures = _pictures(paths, pattern)
    if not pictures:
        raise PictureError(
            f"no picture matches {printable(pattern)} (searched from {printable(os.getcwd())})."
        )
    return sorted(pictures, key=_natural)


def _pictures(
    paths: Iterable[Path], source: str | Path, suffixes: tuple[str, ...] = SUFFIXES
) -> list[Path]:
    """The files among paths of such a name; the others of such a name are told."""
    named = [path for path in paths if path.suffix.lower() in suffixes]
    kinds = {path: no_file(path) for path in named}
    passed = [f"{printable(path.name)} ({what})" for path, what in kinds.items() if what]
    if passed:
        warnings.warn(
            f"passed over in {printable(source)}, for they are no files: {listed(sorted(passed))}.",
            stacklevel=5,  # the line that called find_pictures
        )
    return [path for path, what in kinds.items() if not what]


def _natural(path: Path) -> list:
    # Split at numbers: text and numbers then always stand at the same places of two keys.
    parts = re.split(r"(\d+)", str(path).casefold())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)]


# -- Reading --------------------------------------------------------------------------------


def read_picture(
    path: str | os.PathLike,
    deep: bool = False,
    plane: int | None = None,
    pages_are_channels: bool = False,
) -> np.ndarray:
    """Read a picture file as an array, upright.

    deep: the file's own values and channels. Without it, `eight_bits` brings what has more than 8
        bits to 0..255, with a warning, and of more than three channels the first three are left;
        `mrcnn.data.seen.see` does so by a Config.
    plane: of a file of several pictures, counted from 0; None: the first, with a warning. One of a
        single picture has that in all planes.
    pages_are_channels: where a TIFF doesn't say what they are.
    Returns [height, width, 3] RGB or [height, width] grey, and of a TIFF, if deep, [height, width,
    channels]. The orientation that a camera wrote into the file (EXIF) is applied; palette, CMYK
    and the like become RGB, black and white becomes grey, an alpha channel is dropped.
    Raises PictureError: no such file, no picture, damaged, too large, no such plane, or a kind that
    can be read only by losing bits.
    """
    path, shown = Path(path), printable(path)
    try:
        what = no_file(path)
        if what:
            there = "there is no such file" if what == "nothing" else f"it is {what}, not a file"
            raise PictureError(f"{shown}: {there}.")
        array = _of_tiff(path, shown, plane, pages_are_channels) if tiff.is_tiff(path) else None
        if array is None:
            array = _decoded(path, shown, path.suffix, plane=plane)
        return array if deep else _told(shown, array)
    except PermissionError:
        raise PictureError(f"{shown}: no permission to read it.") from None


def decode_picture(data: bytes, shown: str = "the picture", most: int | None = None) -> np.ndarray:
    """The same for the bytes of a picture file that came from somebody else.

    shown: names it in messages. most: pixels that it may have; its head tells how many it has, so
        that nothing is unpacked of one with more.
    Only the kinds in SUFFIXES are tried: Pillow would hand others to programs such as Ghostscript.
    Raises NoPicture where it is none of them, and PictureError as `read_picture` does.
    """
    return _told(shown, _decoded(io.BytesIO(data), shown, "", _kinds(), most))


def _kinds() -> list[str]:
    """Pillow's names of the kinds that have one of SUFFIXES."""
    extensions = Image.registered_extensions()  # loads all of them
    return sorted({extensions[suffix] for suffix in SUFFIXES if suffix in extensions})


def _decoded(
    file: Path | io.BytesIO,
    shown: str,
    suffix: str,
    kinds: list[str] | None = None,
    most: int | None = None,
    plane: int | None = None,
) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            # A large picture is no attack; Pillow still refuses twice its limit.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            # Of damaged tags it says what nobody can use, and reads the picture all the same.
            warnings.filterwarnings("ignore", module=r"PIL\b")
            with Image.open(file, formats=kinds) as picture:
                width, height = picture.size
                if most is not None and width * height > most:
                    raise PictureError(
                        f"{shown} has {width} x {height} pixels, and {most:,} is the most that is "
                        "taken: scale it down, or cut it into pieces."
                    )
                return _to_array(shown, picture, lambda: Image.open(file, formats=kinds), plane)
    except PictureError:
        raise
    except PermissionError:
        raise
    except Image.UnidentifiedImageError:
        raise NoPicture(f"{shown} {_what_it_is(_head(file), suffix)}.") from None
    except Image.DecompressionBombError:
        raise PictureError(
            f"{shown} has more than {2 * Image.MAX_IMAGE_PIXELS:,} pixels: cut it into pieces, or "
            "scale it down."
        ) from None
    except MemoryError:
        raise PictureError(f"{shown} is too large for this computer's memory.") from None
    except Exception as error:  # Pillow raises nearly every kind on damaged bytes
        raise PictureError(f"{shown} is damaged or cut short ({printable(error)}).") from error


def _head(file: Path | io.BytesIO) -> bytes:
    if isinstance(file, io.BytesIO):
        return file.getvalue()[:200]
    with file.open("rb") as opened:
        return opened.read(200)


def _of_tiff(path: Path, shown: str, plane: int | None, channels: bool) -> np.ndarray | None:
    """What a TIFF holds that Pillow can't read; None where it can, or might."""
    file = tiff.describe(path, channels)
    if file is None or file.plain:
        return None
    try:
        array = tiff.read(path, (plane or 0) if file.planes > 1 else 0, channels)
    except tiff.TiffError as error:
        if "packed" in str(error) and (file.channels == 1 or file.colour):
            return None
        raise PictureError(f"{shown}: {error}.") from None
    except MemoryError:
        raise PictureError(f"{shown} is too large for this computer's memory.") from None
    except Exception as error:  # tifffile raises nearly every kind on damaged bytes
        raise PictureError(f"{shown} is damaged or cut short ({printable(error)}).") from error
    if plane is None and file.planes > 1:
        _tell_stack(shown, file.told_stack())
    return array


def _tell_stack(shown: str, what: str) -> None:
    warnings.warn(
        f"{shown} holds {what}: only the first is read (--plane N takes another, from 0).",
        stacklevel=4,
    )


def _to_array(
    shown: str, picture: Image.Image, again: Callable[[], Image.Image], plane: int | None = None
) -> np.ndarray:
    """again: opens the same file once more."""
    frames = getattr(picture, "n_frames", 1)
    if plane is None and frames > 1:
        _tell_stack(shown, f"{frames} pictures")
    if plane and frames > 1:
        if plane >= frames:
            raise PictureError(
                f"{shown}: there is no plane {plane}: it has {frames}, counted from 0."
            )
        picture.seek(plane)
    # Pillow silently keeps the upper byte of 16-bit colour.
    if picture.mode in ("RGB", "RGBA", "LA") and _bits(picture) > 8:
        if picture.mode != "LA" and _bits(picture) == 16:
            return _both_bytes(picture, again)
        raise PictureError(
            f"{shown} has {_bits(picture)} bits for each colour: convert it to 8 bits first, with "
            "the range of brightness that you need."
        )
    ImageOps.exif_transpose(picture, in_place=True)  # else it copies every picture
    mode = picture.mode
    if mode not in _AS_THEY_ARE and not mode.startswith("I;16"):
        mode = "L" if mode in ("1", "LA", "La") else "RGB"
    width, height = picture.size
    rows = max(1, _AT_ONCE // max(width, 1))
    if height <= rows:
        return _pixels(picture, mode)
    # Whole, a large picture would be there four times over while Pillow hands it out.
    first = _pixels(picture.crop((0, 0, width, rows)), mode)
    array = np.empty((height, *first.shape[1:]), first.dtype)
    array[:rows] = first
    for top in range(rows, height, rows):
        strip = picture.crop((0, top, width, min(top + rows, height)))
        array[top : top + rows] = _pixels(strip, mode)
    return array


def _pixels(picture: Image.Image, mode: str) -> np.ndarray:
    array = np.asarray(picture if picture.mode == mode else picture.convert(mode))
    return array.astype(np.uint16) if mode.startswith("I;16") else array


def _both_bytes(picture: Image.Image, again: Callable[[], Image.Image]) -> np.ndarray:
    """16-bit colour, uint16 [height, width, 3].

    Pillow hands out the upper byte of each value; and the lower one, if it takes the bytes to stand
    in the other order.
    """
    upper = _halves(picture)
    with again() as twin:
        # Pillow 11 has named tuples here, which it reads by name.
        twin.tile = [
            tile._replace(args=_in_other_order(tile[3]))
            if hasattr(tile, "_replace")
            else (*tile[:3], _in_other_order(tile[3]))
            for tile in twin.tile
        ]
        return upper.astype(np.uint16) << 8 | _halves(twin)


def _halves(picture: Image.Image) -> np.ndarray:
    ImageOps.exif_transpose(picture, in_place=True)
    return np.asarray(picture)[..., :3]


def _in_other_order(args: Any) -> Any:
    if isinstance(args, str):
        return re.sub(";16([BLN])", lambda found: f";16{_OTHER_ORDER[found[1]]}", args)
    return (_in_other_order(args[0]), *args[1:])


def _bits(picture: Image.Image) -> int:
    raw_modes = re.findall(r";(16|32|64)", str([tile[3] for tile in picture.tile]))
    return max(map(int, raw_modes), default=8)


# -- More than 8 bits -----------------------------------------------------------------------


def eight_bits(array: np.ndarray) -> np.ndarray:
    """A picture's values as 0..255, uint8; the array itself where they are so already.

    Whole numbers beyond 0..255, as microscopes and cameras write them, and such floats: the range
    from the 0.1st to the 99.9th percentile of the whole picture, all channels alike. Floats of
    0..1: times 255. What is not finite becomes 0.
    """
    if not array.size:
        return array
    try:
        return scaling(measured(array))(array)
    except ValueError:
        return np.zeros(array.shape, np.uint8)


def _told(shown: str, array: np.ndarray) -> np.ndarray:
    array = array[..., :3] if array.ndim == 3 else array
    scaled = eight_bits(array)
    if scaled is not array and DEEP not in _warned:
        _warned.add(DEEP)
        warnings.warn(
            f"{DEEP}, {shown} the first (percentiles {DARKEST} and {BRIGHTEST} of each; said "
            "once).",
            stacklevel=3,  # the line that called read_picture
        )
    return scaled


_warned: set[str] = set()

# What begins like this is none, and what helps.
_OTHERS = (
    (b"%PDF", "a PDF: make pictures of its pages first (pdftoppm -r 150 -png)"),
    (b"....ftyp(heic|heix|hevc|mif1|msf1)", "HEIC, as phones write it: convert it to JPEG first"),
    (b"....ftyp", "a video: its name must end in .mp4, .mov or the like"),
    (b"RIFF....AVI ", "a video: its name must end in .avi"),
    (b"\x1aE\xdf\xa3", "a video: its name must end in .mkv or .webm"),
    (b".{128}DICM", "DICOM: convert it to PNG or TIFF first, with the range that you need"),
    (b"\x89HDF", "an HDF5 file: write its pictures as PNG or TIFF first"),
    (b"\x93NUMPY", "an array of numpy: give it to detect() in Python, or write it as PNG first"),
    (b"PK\x03\x04|\x1f\x8b|Rar!|7z\xbc\xaf", "an archive: unpack it first"),
    (rb"\s*<(!doctype html|html|head)", "a web page: get the picture that it shows"),
    (rb"\s*<(\?xml|svg)", "an SVG or other XML: write it as PNG first"),
)


def _what_it_is(head: bytes, suffix: str) -> str:
    if not head:
        return "is empty: 0 bytes"
    for begins, what in _OTHERS:
        if re.match(begins, head, re.DOTALL | re.IGNORECASE):
            return f"is {what}"
    if suffix.lower() in (".tif", ".tiff"):
        return (
            "is no TIFF that can be read (its compression may be a rare one): save it without "
            "compression"
        )
    return "is no picture, or of a kind that Pillow can't read: convert it to PNG, JPEG or TIFF"


# -- Writing --------------------------------------------------------------------------------


def write_png(path: str | os.PathLike, picture: np.ndarray) -> None:
    """Write [height, width, 3] or [height, width] uint8 as a PNG file, all of it or nothing.

    Raises OSError where the file can't be written.
    """
    with whole(path) as unfinished:
        Image.fromarray(picture).save(unfinished, format="PNG")


def write_jpeg(path: str | os.PathLike, picture: np.ndarray) -> None:
    """The same as a JPEG file, of a quality at which thin lines stay sharp."""
    with whole(path) as unfinished:
        Image.fromarray(picture).save(unfinished, format="JPEG", quality=92, subsampling=0)
