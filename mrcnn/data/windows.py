"""Pictures that are looked at part by part, so that a slide scan needs no more memory than a photo.

    with open_windows("slide.tif") as picture:
        picture.shape                              # (60_000, 80_000, 3)
        picture.read((0, 512, 1024, 1536))         # [1024, 1024, 3] uint8

TIFF, BigTIFF, OME-TIFF and GeoTIFF in tiles or strips are read window by window; others once,
and so is what a TIFF packs into a single strip.

window   (top, left, bottom, right) in pixels of the picture, the lower right corner outside
segment  what a TIFF packs together: a tile, or a strip of rows
"""

import contextlib
import io
import math
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from mrcnn.data import tiff
from mrcnn.data.pictures import PictureError
from mrcnn.data.scaling import Rule, Statistics, scaling
from mrcnn.data.seen import see
from mrcnn.words import printable

_WINDOWED = 1 << 24  # pixels of a TIFF from which on it is worth while
_KEPT = 256 << 20  # bytes of unpacked segments that are kept, since windows overlap
_AT_ONCE = 1 << 24  # pixels of a window that is only measured or shrunk
_ROWS = 64  # that are read at a time of a TIFF that is one block

Window = Sequence[int]


class Windows(Protocol):
    """A picture of which windows can be read."""

    shape: tuple[int, ...]  # (height, width) or (height, width, channels)

    def read(self, window: Window) -> np.ndarray:
        """[bottom - top, right - left] or [.., channels]."""


class ArrayWindows:
    """The windows of a picture that is in memory."""

    def __init__(self, picture: np.ndarray) -> None:
        self.picture, self.shape = picture, picture.shape

    def read(self, window: Window) -> np.ndarray:
        top, left, bottom, right = window
        return self.picture[top:bottom, left:right]


@contextlib.contextmanager
def open_windows(
    path: str | os.PathLike,
    rule: Rule | None = None,
    read: Callable[[Any], np.ndarray] | None = None,
    least: int | None = None,
) -> Iterator[Windows]:
    """A picture file as windows.

    rule: which channels and what range of brightness. read: what reads a file as a whole, others
    and TIFFs of fewer than `least` pixels; by default as the rule says. Raises PictureError, here
    or later.
    """
    rule, least = rule or Rule(), _WINDOWED if least is None else least
    with contextlib.ExitStack() as files:
        windows: Windows | None = None
        with contextlib.suppress(OSError):
            if tiff.is_tiff(path):
                windows = _opened(path, rule, least, files)
        yield windows or ArrayWindows(read(path) if read else see(path, rule).picture)


def _opened(
    path: str | os.PathLike, rule: Rule, least: int, files: contextlib.ExitStack
) -> "TiffWindows | None":
    """None: read it as a whole."""
    told = tiff.describe(path)
    if told is None or told.height * told.width < least or told.orientation != 1:
        return None
    try:
        windows = TiffWindows(files.enter_context(tiff.opened(path)), told, rule, path)
    except ValueError as error:
        raise PictureError(f"{printable(path)}: {error}.") from error
    return windows if windows.by_parts else None


class TiffWindows:
    """One plane of a TIFF, window by window, in the channels and the brightness of a rule.

    The brightness is that of the whole picture, for which one with more than 8 bits is read through
    once when the first window is asked for.
    """

    def __init__(self, file: Any, told: tiff.Tiff, rule: Rule, path: str | os.PathLike) -> None:
        self._file, self._told, self._rule, self._path = file, told, rule, path
        series = file.series[0]
        self._pages = _pages_of(series, told, rule)
        self._segments: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
        self._kept = 0
        self._look: Callable[[np.ndarray], np.ndarray] | None = None
        number = told.channels
        channels = len(rule.chosen(number))
        flat = number == 1 or channels == 1
        self.shape = (told.height, told.width, *(() if flat else (rule.count,)))

    @property
    def by_parts(self) -> bool:
        """Whether parts of it can be read; one that is packed as a whole is read as a whole."""
        return bool(self._pages) and all(
            page.axes in ("YX", "YXS", "SYX")
            and page.imagedepth == 1
            and (_segments_of(page)[0] < page.imagelength or page.is_tiled)
            for page in self._pages
        )

    def read(self, window: Window) -> np.ndarray:
        picked = self._picked(window)
        if self._told.dtype == np.uint8 and self._rule.range in ("auto", "type"):
            return picked
        if self._look is None:
            self._look = self._measured()
        return self._look(picked)

    def _measured(self) -> Callable[[np.ndarray], np.ndarray]:
        """How the values of the whole picture become 0..255."""
        told = self._told
        statistics = Statistics(self.shape, told.dtype, told.separate, told.empty)
        for window in bands(self.shape, _segments_of(self._pages[0])[0]):
            statistics.add(self._picked(window), window[0], window[1])
        try:
            return scaling(statistics, self._rule.range)
        except ValueError as error:
            raise PictureError(f"{printable(self._path)}: {error}.") from error

    def _picked(self, window: Window) -> np.ndarray:
        """The channels that are wanted, as they are in the file."""
        return self._rule.pick(self.values(window))

    def values(self, window: Window) -> np.ndarray:
        """All channels, as they are in the file: to measure in."""
        pages = [self._of_page(number, window) for number in range(len(self._pages))]
        stored = pages[0] if len(pages) == 1 else np.concatenate(pages, axis=2)
        return stored[..., 0] if stored.shape[2] == 1 else stored

    def _of_page(self, number: int, window: Window) -> np.ndarray:
        page = self._pages[number]
        top, left, bottom, right = window
        planes = page.samplesperpixel if page.planarconfig == 2 else 1
        high, wide = _segments_of(page)
        rows, columns = math.ceil(page.imagelength / high), math.ceil(page.imagewidth / wide)
        samples = page.samplesperpixel
        shown = np.zeros((bottom - top, right - left, samples), page.dtype)
        for plane in range(planes):
            into = shown[..., plane : plane + 1] if planes > 1 else shown
            for row in range(top // high, math.ceil(bottom / high)):
                for column in range(left // wide, math.ceil(right / wide)):
                    y, x = row * high, column * wide
                    segment = self._segment(number, (plane * rows + row) * columns + column, y, x)
                    y1, x1 = max(top, y), max(left, x)
                    y2 = min(bottom, y + segment.shape[0])
                    x2 = min(right, x + segment.shape[1])
                    if y2 > y1 and x2 > x1:
                        part = segment[y1 - y : y2 - y, x1 - x : x2 - x]
                        into[y1 - top : y2 - top, x1 - left : x2 - left] = part
        alpha = [int(extra) in (1, 2) for extra in page.extrasamples]
        if any(alpha):
            shown = np.delete(shown, samples - len(alpha) + alpha.index(True), axis=2)
        if page.photometric.name == "MINISWHITE" and page.dtype.kind == "u":
            shown = np.array((1 << page.bitspersample) - 1, page.dtype) - shown
        return shown

    def _segment(self, number: int, index: int, y: int, x: int) -> np.ndarray:
        """[height, width, samples], unpacked; the last ones that were wanted are kept."""
        key = number, index
        if key in self._segments:
            self._segments.move_to_end(key)
            return self._segments[key]
        try:
            segment = _unpacked(self._pages[number], index)
        except MemoryError:
            raise
        except Exception as error:  # tifffile and Pillow raise nearly every kind on damaged bytes
            raise PictureError(
                f"{printable(self._path)} is damaged or cut short: the part of it at row {y}, "
                f"column {x} can't be read ({printable(error)})."
            ) from error
        self._segments[key] = segment
        self._kept += segment.nbytes
        while self._kept > _KEPT and len(self._segments) > 1:
            _, oldest = self._segments.popitem(last=False)
            self._kept -= oldest.nbytes
        return segment


def bands(shape: Sequence[int], rows: int = 1) -> Iterator[tuple[int, int, int, int]]:
    """Windows of all columns that cover a picture once, each of a multiple of so many rows."""
    height, width = shape[:2]
    step = max(rows, _AT_ONCE // max(width, 1) // rows * rows)
    for top in range(0, height, step):
        yield top, 0, min(top + step, height), width


def shrunk(picture: Windows, most: int) -> tuple[np.ndarray, int]:
    """The whole picture scaled down by a whole number, so that no side has more than `most` pixels.

    Returns uint8 or float [height / factor, width / factor(, channels)], rounded up, each pixel the
    mean of a square, and the factor.
    """
    height, width = picture.shape[:2]
    factor = math.ceil(max(height, width) / most)
    if factor == 1:
        return picture.read((0, 0, height, width)), 1
    parts = []
    starts = np.arange(0, width, factor)
    for top, _, bottom, _ in bands((height, width), factor):
        band = picture.read((top, 0, bottom, width))
        rows = np.arange(0, bottom - top, factor)
        sums = np.add.reduceat(np.add.reduceat(band, rows, 0, np.float32), starts, 1)
        counts = np.outer(np.diff([*rows, bottom - top]), np.diff([*starts, width]))
        means = sums / counts.reshape(*counts.shape, *[1] * (band.ndim - 2))
        parts.append(np.rint(means).astype(band.dtype) if band.dtype.kind in "ui" else means)
    return np.concatenate(parts), factor


# -- Segments of a TIFF ---------------------------------------------------------------------


def _pages_of(series: Any, told: tiff.Tiff, rule: Rule) -> list[Any]:
    """The pages of the wanted plane, one for each channel that has its own; [] where unclear."""
    page = series.keyframe
    lead = len(series.axes) - len(page.shape)
    axes, shape = series.axes[:lead], series.shape[:lead]
    if series.axes[lead:] != page.axes or math.prod(shape) != len(series.pages):
        return []
    plane = rule.plane or 0
    if plane >= told.planes:
        raise ValueError(f"there is no plane {plane}: it has {told.planes}, counted from 0")
    at = np.unravel_index(plane, [length for _, length in told.stack]) if told.stack else ()
    chosen = {axis: int(i) for (axis, _), i in zip(told.stack, at)}
    numbers = np.arange(len(series.pages)).reshape(shape)
    numbers = numbers[tuple(chosen.get(axis, slice(None)) for axis in axes)]
    pages = [series.pages[int(number)] for number in numbers.flat]
    if any(one is None for one in pages):
        return []
    return [getattr(one, "aspage", lambda one=one: one)() for one in pages]


def _segments_of(page: Any) -> tuple[int, int]:
    """(height, width) of its segments."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    if _is_one_block(page):
        return min(_ROWS, page.imagelength), page.imagewidth
    return min(page.rowsperstrip, page.imagelength), page.imagewidth


def _is_one_block(page: Any) -> bool:
    """Whether it is one strip that isn't packed, of which any rows can be read."""
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    plain = page.compression == 1 and page.predictor == 1 and page.fillorder == 1
    return len(page.dataoffsets) == planes and plain and page.bitspersample in (8, 16, 32, 64)


def _rows_of_block(page: Any, index: int) -> np.ndarray:
    samples = page.samplesperpixel if page.planarconfig == 1 else 1
    segments = math.ceil(page.imagelength / _ROWS)
    plane, row = index // segments, index % segments * _ROWS
    rows = min(_ROWS, page.imagelength - row)
    a_row = page.imagewidth * samples * page.dtype.itemsize
    data = _bytes(page, page.dataoffsets[plane] + row * a_row, rows * a_row)
    array = np.frombuffer(data, page.dtype.newbyteorder(page.parent.byteorder))
    return array.astype(page.dtype, copy=False).reshape(rows, page.imagewidth, samples)


def _bytes(page: Any, offset: int, size: int) -> bytes:
    file = page.parent.filehandle
    file.seek(offset)
    data = file.read(size)
    if len(data) < size:
        raise EOFError("the file ends before it")
    return data


def _unpacked(page: Any, index: int) -> np.ndarray:
    """One segment, [height, width, samples]."""
    if not page.is_tiled and _is_one_block(page):
        return _rows_of_block(page, index)
    offset, size = page.dataoffsets[index], page.databytecounts[index]
    data = _bytes(page, offset, size) if size else None
    tables = page.jpegtables
    try:
        decoded = page.decode(data, index, **({"jpegtables": tables} if tables else {}))
    except (ValueError, KeyError, ImportError) as error:
        if "imagecodecs" not in str(error):
            raise
        if data is None:
            raise EOFError("it is empty") from None
        return _by_pillow(page, data, index)
    segment, _, shape = decoded
    if segment is None:
        return np.full(shape[1:], page.nodata, page.dtype)
    return segment.reshape(segment.shape[-3:])


def _by_pillow(page: Any, data: bytes, index: int) -> np.ndarray:
    """A segment in a packing that tifffile alone doesn't know, as a TIFF of its own."""
    from PIL import Image

    samples = page.samplesperpixel if page.planarconfig == 1 else 1
    high, wide = _segments_of(page)
    if not page.is_tiled:
        high = min(high, page.imagelength - index % math.ceil(page.imagelength / high) * high)
    with Image.open(io.BytesIO(_small_tiff(page, data, (high, wide, samples)))) as picture:
        if picture.mode == "YCbCr":
            picture = picture.convert("RGB")
        array = np.asarray(picture)
    array = array.reshape(high, wide, -1)
    if array.dtype.itemsize != page.dtype.itemsize or array.shape[2] != samples:
        name = page.compression.name
        raise ValueError(
            f"packed by {name}, for which the package imagecodecs is needed: pip install "
            "imagecodecs"
        )
    return array.view(page.dtype) if array.dtype != page.dtype else array


def _small_tiff(page: Any, data: bytes, shape: Sequence[int]) -> bytes:
    """A TIFF of one strip around the bytes of a segment."""
    high, wide, samples = shape
    order = page.parent.byteorder
    short, long = 3, 4
    entries: list[tuple[int, int, list[int] | bytes]] = [
        (256, long, [wide]),
        (257, long, [high]),
        (258, short, [page.bitspersample] * samples),
        (259, short, [int(page.compression)]),
        (262, short, [int(page.photometric)]),
        (273, long, [0]),
        (277, short, [samples]),
        (278, long, [high]),
        (279, long, [len(data)]),
        (284, short, [1]),
        (317, short, [int(page.predictor)]),
    ]
    if page.is_subsampled:
        entries.append((530, short, list(page.subsampling)))
    if page.extrasamples and page.planarconfig == 1:
        entries.append((338, short, [int(extra) for extra in page.extrasamples]))
    if page.jpegtables:
        entries.append((347, 7, bytes(page.jpegtables)))
    entries.sort(key=lambda entry: entry[0])
    head = 8 + 2 + 12 * len(entries) + 4
    beyond, directory = b"", b""
    sign = {"<": "little", ">": "big"}[order]
    sizes = {short: 2, long: 4, 7: 1}

    def packed(kind: int, values: list[int] | bytes) -> bytes:
        if isinstance(values, bytes):
            return values
        return b"".join(value.to_bytes(sizes[kind], sign) for value in values)

    total = sum(
        size + size % 2 for _, kind, values in entries if (size := len(values) * sizes[kind]) > 4
    )
    for tag, kind, values in entries:
        content = packed(kind, [head + total] if tag == 273 else values)
        directory += tag.to_bytes(2, sign) + kind.to_bytes(2, sign)
        directory += len(values).to_bytes(4, sign)
        if len(content) <= 4:
            directory += content.ljust(4, b"\0")
        else:
            directory += (head + len(beyond)).to_bytes(4, sign)
            beyond += content + b"\0" * (len(content) % 2)
    begin = (b"II" if order == "<" else b"MM") + (42).to_bytes(2, sign) + (8).to_bytes(4, sign)
    count = len(entries).to_bytes(2, sign)
    return begin + count + directory + bytes(4) + beyond + data
