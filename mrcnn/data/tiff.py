"""TIFF as science writes it: deep values, many channels, stacks; OME-TIFF, ImageJ's, GeoTIFF.

file = describe("cells.ome.tif")       # None where it is no TIFF that tifffile understands
file.channels, file.planes             # 5, 12
read("cells.ome.tif", plane=3)         # [height, width, channels] as stored

A plane is what one exposure shows: all axes but height, width and channels make the stack.
Samples of a pixel ("S": colours, or bands) and channels ("C": dyes) are both channels here.
"""

import contextlib
import logging
import math
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_ORIENTATION, _NODATA = 274, 42113
_UNNAMED = ("Q", "I")
_NAMES = {"Z": "depths", "T": "times", "P": "positions"} | dict.fromkeys(_UNNAMED, "pictures")
_CHANNELS = ("C", "S")
# What brings a stored picture upright, by EXIF's number.
_UPRIGHT = {
    2: lambda array: array[:, ::-1],
    3: lambda array: array[::-1, ::-1],
    4: lambda array: array[::-1],
    5: lambda array: np.swapaxes(array, 0, 1),
    6: lambda array: np.rot90(array, -1),
    7: lambda array: np.rot90(np.swapaxes(array, 0, 1), 2),
    8: lambda array: np.rot90(array, 1),
}


class TiffError(ValueError):
    """What a TIFF can't be read for, without its name."""


@dataclass(frozen=True)
class Tiff:
    """What is known of a file before its pixels are read.

    height, width: of the picture as stored. channels: those that `read` gives, without alpha.
    stack: (axis, length) of each axis that makes planes, the last one fastest.
    colour: its channels are red, green and blue. orientation: EXIF's number, 1 for upright.
    empty: the value that means "nothing is known here", None without one.
    """

    height: int
    width: int
    channels: int
    stack: tuple[tuple[str, int], ...]
    dtype: np.dtype
    colour: bool
    orientation: int
    empty: float | None
    plain: bool  # Pillow reads each plane: eight bits, no more than alpha beside grey or colour

    @property
    def planes(self) -> int:
        """How many there are."""
        return math.prod(length for _, length in self.stack)

    @property
    def separate(self) -> bool:
        """Whether each channel is something of its own, such as a dye."""
        return self.channels > 1 and not self.colour

    def told_stack(self) -> str:
        """ "12 planes (3 times of 4 depths)"."""
        parts = [f"{length} {_NAMES.get(axis, f'of axis {axis}')}" for axis, length in self.stack]
        return parts[0] if len(parts) == 1 else f"{self.planes} planes ({' of '.join(parts)})"


def is_tiff(path: str | os.PathLike) -> bool:
    """Whether a file begins as a TIFF does."""
    with open(path, "rb") as file:
        return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def describe(path: str | os.PathLike, channels: bool = False) -> Tiff | None:
    """What a TIFF holds; None where tifffile can't make sense of it.

    channels: pages without a name are channels, if nothing else is.
    """
    try:
        with opened(path) as file:
            return _described(_series(file), channels)
    except OSError:
        raise
    except Exception:  # tifffile raises nearly every kind on damaged tags
        return None


@contextlib.contextmanager
def opened(path: str | os.PathLike) -> Iterator[Any]:
    """The file as tifffile has it, which says on the log what nobody can use."""
    import tifffile

    logger = logging.getLogger("tifffile")
    before, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with tifffile.TiffFile(Path(path)) as file:
                yield file
    finally:
        logger.disabled = before


def _series(file: Any) -> Any:
    if not file.series:
        raise TiffError("it holds no picture")
    series = file.series[0]
    if not {"Y", "X"} <= set(series.axes):
        raise TiffError(f"it has the axes {series.axes}, which are no picture")
    return series


def _channel_axes(axes: str, unnamed: bool) -> str:
    found = "".join(axis for axis in axes if axis in _CHANNELS)
    others = [axis for axis in axes if axis not in "YX"]
    if not found and unnamed and len(others) == 1 and others[0] in _UNNAMED:
        return others[0]
    return found


def _described(series: Any, unnamed: bool) -> Tiff:
    page, sizes = series.keyframe, dict(zip(series.axes, series.shape))
    axes = _channel_axes(series.axes, unnamed)
    channels = math.prod(sizes[axis] for axis in axes)
    colour = page.photometric.name in ("RGB", "YCBCR") and "C" not in axes
    if _has_alpha(page) and "S" in axes:
        channels -= channels // sizes["S"]
    stack = tuple((axis, sizes[axis]) for axis in series.axes if axis not in f"YX{axes}")
    tags = page.tags
    extra = len(page.extrasamples) if axes else 0
    simple = page.photometric.name not in ("RGB", "MINISBLACK", "MINISWHITE")
    simple |= channels - (0 if _has_alpha(page) else extra) in (1, 3) and extra < 2
    return Tiff(
        *(sizes["Y"], sizes["X"], channels, stack, np.dtype(series.dtype)),
        colour=colour,
        orientation=int(tags[_ORIENTATION].value) if _ORIENTATION in tags else 1,
        empty=_number(tags[_NODATA].value) if _NODATA in tags else None,
        plain=series.dtype in (np.uint8, bool) and simple and set(axes) <= {"S"},
    )


def _has_alpha(page: Any) -> bool:
    return any(int(extra) in (1, 2) for extra in page.extrasamples)


def _number(text: Any) -> float | None:
    try:
        number = float(text)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


# -- Pixels ---------------------------------------------------------------------------------


def read(path: str | os.PathLike, plane: int = 0, channels: bool = False) -> np.ndarray:
    """One plane of a file, upright: [height, width] or [height, width, channels], as stored.

    An alpha channel is left out, and of a file in which 0 is white the values are turned round.
    channels: as for `describe`. Raises TiffError: no such plane, or packed in a way that needs a
    package; and what tifffile raises on a damaged file.
    """
    with opened(path) as file:
        series = _series(file)
        told = _described(series, channels)
        if not 0 <= plane < told.planes:
            raise TiffError(
                f"there is no plane {plane}: it has {told.planes}, counted from 0"
                + (f", {told.told_stack()}" if len(told.stack) > 1 else "")
            )
        at = np.unravel_index(plane, [length for _, length in told.stack]) if told.stack else ()
        chosen = {axis: int(i) for (axis, _), i in zip(told.stack, at)}
        try:
            array, axes = _pixels(series, chosen)
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            raise TiffError(
                f"it is packed by {series.keyframe.compression.name}, for which the package "
                "imagecodecs is needed (pip install imagecodecs); or save it without compression"
            ) from None
        array = _arranged(array, axes, _channel_axes(series.axes, channels))
        page = series.keyframe
        if _has_alpha(page) and array.ndim == 3:
            samples = page.samplesperpixel
            alpha = samples - len(page.extrasamples)
            alpha += [int(extra) in (1, 2) for extra in page.extrasamples].index(True)
            array = np.delete(array, np.arange(alpha, array.shape[2], samples), axis=2)
        if page.photometric.name == "MINISWHITE" and array.dtype.kind == "u":
            array = np.array((1 << page.bitspersample) - 1, array.dtype) - array
        return np.ascontiguousarray(_UPRIGHT.get(told.orientation, lambda same: same)(array))


def _pixels(series: Any, chosen: dict[str, int]) -> tuple[np.ndarray, str]:
    """(array, its axes) of the chosen plane; only the pages that it is on are read."""
    page = series.keyframe
    lead = len(series.axes) - len(page.shape)
    axes, shape = series.axes[:lead], series.shape[:lead]
    if series.axes[lead:] != page.axes or math.prod(shape) != len(series.pages):
        whole = series.asarray()  # its pages don't lie one by one
        return _cut(whole, series.axes, chosen)
    numbers = np.arange(len(series.pages)).reshape(shape)
    numbers, axes = _cut(numbers, axes, chosen)
    pages = [series.pages[int(number)] for number in numbers.flat]
    missing = np.zeros(page.shape, page.dtype)  # OME-TIFF may lack some
    arrays = [missing if one is None else one.asarray() for one in pages]
    array = np.stack(arrays) if numbers.ndim else arrays[0]
    return _cut(array.reshape(*numbers.shape, *page.shape), axes + page.axes, chosen)


def _cut(array: np.ndarray, axes: str, chosen: dict[str, int]) -> tuple[np.ndarray, str]:
    index = tuple(chosen.get(axis, slice(None)) for axis in axes)
    return array[index], "".join(axis for axis in axes if axis not in chosen)


def _arranged(array: np.ndarray, axes: str, channel_axes: str) -> np.ndarray:
    order = [axes.index(axis) for axis in f"YX{channel_axes}"]
    array = array.transpose(order)
    return array.reshape(*array.shape[:2], -1) if channel_axes else array
