"""A picture file as its own values, and as the network sees them by a Config.

look = see("cells.ome.tif", Rule.of(config))
look.picture       # uint8, [height, width] grey or [height, width, IMAGE_CHANNEL_COUNT]
look.values        # as stored, [height, width] or [height, width, channels]: to measure in
look.told          # {kind: sentence} of what was done, for a person
"""

import os
from dataclasses import dataclass, field

import numpy as np

from mrcnn.data import tiff
from mrcnn.data.pictures import PictureError, read_picture
from mrcnn.data.scaling import Rule, measured, scaling
from mrcnn.words import printable

# The kinds of what is told.
BRIGHTNESS = "brightness scaled to 0..255"
CHANNELS = "not all channels taken"
PLANE = "one plane of a stack taken"
FLAT = "nothing to be seen"
_OPTIONS = {
    BRIGHTNESS: "; --range sets it (said once)",
    CHANNELS: "; --channels takes others (said once)",
    PLANE: "; --plane takes another (said once)",
}


@dataclass(frozen=True)
class Seen:
    """See the top of this file."""

    picture: np.ndarray
    values: np.ndarray
    told: dict[str, str] = field(default_factory=dict)


def see(path: str | os.PathLike, rule: Rule) -> Seen:
    """Read a picture file and bring it into the form that a network takes.

    Raises PictureError as `read_picture` does, and where it hasn't the channels or plane that the
    rule asks for, or holds no number.
    """
    told: dict[str, str] = {}
    pages_are_channels = rule.channels is not None
    file = _science(path, pages_are_channels)
    plane = rule.plane
    if file is not None and file.planes > 1:
        which = "the first" if plane is None else f"number {plane}"
        told[PLANE] = f"it holds {file.told_stack()}, of which {which} is taken"
        plane = plane or 0
    values = read_picture(path, deep=True, plane=plane, pages_are_channels=pages_are_channels)
    separate, empty = (file.separate, file.empty) if file else (False, None)
    return seen(values, rule, printable(path), separate, empty, told)


def _science(path: str | os.PathLike, pages_are_channels: bool) -> tiff.Tiff | None:
    try:
        return tiff.describe(path, pages_are_channels) if tiff.is_tiff(path) else None
    except OSError:
        return None  # read_picture says it


def seen(
    values: np.ndarray,
    rule: Rule,
    shown: str,
    separate: bool = False,
    empty: float | None = None,
    told: dict[str, str] | None = None,
) -> Seen:
    """The same for values that were read. shown: names the picture in messages.

    separate, empty: as of `Statistics`. Raises PictureError.
    """
    told = dict(told or {})
    number = 1 if values.ndim == 2 else values.shape[2]
    try:
        if some := rule.told(number):
            told[CHANNELS] = some
        picked = rule.pick(values)
        look = scaling(measured(picked, separate, empty), rule.range)
    except ValueError as error:
        raise PictureError(f"{shown}: {error}.") from None
    if look.told:
        told[FLAT if look.constant else BRIGHTNESS] = look.told
    return Seen(look(picked), values, told)


class Telling:
    """Says of each kind of thing once what was done with the first picture."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def __call__(self, look: Seen, shown: str) -> list[str]:
        """Sentences about a picture, of what hasn't been said yet of any."""
        new = [kind for kind in look.told if kind not in self._said]
        self._said.update(new)
        return [f"{shown}: {look.told[kind]}{_OPTIONS.get(kind, '')}." for kind in new]
