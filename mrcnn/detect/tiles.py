"""Where a large picture is cut: tiles of one size that overlap, row by row.

    cut = Tiling.of(config, (20_000, 30_000))       # Tiling(side=512, overlap=64)
    plan_tiles((20_000, 30_000), cut)               # [Tile(0, 0, 512, 512), ...]

side, overlap    pixels of the picture as it is
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from mrcnn.config import Config
from mrcnn.data.images import resize_scale
from mrcnn.errors import UsageError

NETWORK_SIDE = 1024  # pixels of a tile in the network, where its Config sets no size of its own
LEAST_SIDE = 64
TRAINED_ON_PIECES = "_trained_on_pieces"  # of a Config whose mode "crop" was turned into "pad64"
_MANY = 2  # times a tile's side: from there on a picture is large


class Tile(NamedTuple):
    """A part of a picture, in pixels; the lower right corner lies outside."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True)
class Tiling:
    """How large pictures are cut. side, overlap: in pixels.

    coarse: look at the whole picture too, scaled down, for what is larger than a tile.
    """

    side: int
    overlap: int
    coarse: bool = False

    def __post_init__(self) -> None:
        if self.side < LEAST_SIDE:
            raise UsageError(
                f"tiles of {self.side} pixels are too small to see anything in: take at least "
                f"{LEAST_SIDE}."
            )
        if not 0 < self.overlap <= self.side // 2:
            raise UsageError(
                f"tiles of {self.side} pixels can't overlap by {self.overlap}: from 1 pixel to "
                f"half a tile, {self.side // 2}, is possible. What is longer than the overlap is "
                "joined of its parts; best is what most objects are long."
            )

    @classmethod
    def of(
        cls,
        config: Config,
        shape: Sequence[int],
        side: int | None = None,
        overlap: int | None = None,
        coarse: bool = False,
    ) -> Self:
        """The tiling that suits a network, but for what is given.

        shape: (height, width, ..) of the picture. A tile enters the network as large as its Config
        says, or with NETWORK_SIDE pixels, at the scale that the picture itself would have there if
        it weren't scaled down. Tiles overlap by the largest anchor, and at most by a quarter.
        Raises UsageError for a side or an overlap that can't be.
        """
        if side is None:
            side = max(round(network_side(config) / network_scale(config, shape)), LEAST_SIDE)
        if overlap is None:
            largest = max(np.ravel(config.RPN_ANCHOR_SCALES)) / network_scale(config, (side, side))
            overlap = max(min(math.ceil(largest), side // 4), 1)
        return cls(side, overlap, coarse)

    def divides(self, shape: Sequence[int]) -> bool:
        """Whether a picture of (height, width, ..) is larger than a tile."""
        return max(shape[:2]) > self.side


def network_side(config: Config) -> int:
    """Pixels of a tile's side in the network."""
    if config.IMAGE_RESIZE_MODE == "square":
        return config.IMAGE_MAX_DIM
    return max(NETWORK_SIDE, config.IMAGE_MIN_DIM or 0)


def network_scale(config: Config, shape: Sequence[int]) -> float:
    """By how much a picture is enlarged for the network; 1 where it would be scaled down."""
    if config.IMAGE_RESIZE_MODE == "none":
        return 1.0
    square = config.IMAGE_RESIZE_MODE == "square"
    most = config.IMAGE_MAX_DIM if square else None
    scale = resize_scale(*shape[:2], config.IMAGE_MIN_DIM, most, config.IMAGE_MIN_SCALE)
    return max(scale, 1.0)


def trained_on_pieces(config: Config) -> bool:
    """Whether a network has seen pieces of pictures alone, at the pictures' own scale."""
    told = getattr(config, TRAINED_ON_PIECES, False) and config.IMAGE_RESIZE_MODE == "pad64"
    return config.IMAGE_RESIZE_MODE == "crop" or told


def is_large(config: Config, shape: Sequence[int]) -> bool:
    """Whether a picture is so much larger than what its network knows that tiles find more."""
    if config.IMAGE_RESIZE_MODE == "none":
        return False
    side = network_side(config) / network_scale(config, shape)
    return math.sqrt(shape[0] * shape[1]) > _MANY * side or max(shape[:2]) > 2 * _MANY * side


def plan_tiles(shape: Sequence[int], tiling: Tiling) -> list[Tile]:
    """The tiles of a picture, row by row from the upper left.

    shape: (height, width, ..). All are of one size, but for a picture that is smaller in one
    direction, and spread evenly: neighbours share at least `overlap` pixels.
    """
    rows, columns = (_spans(size, tiling.side, tiling.overlap) for size in shape[:2])
    return [
        Tile(top, left, bottom, right)
        for (top, bottom), (left, right) in itertools.product(rows, columns)
    ]


def _spans(size: int, side: int, overlap: int) -> list[tuple[int, int]]:
    if size <= side:
        return [(0, size)]
    count = math.ceil((size - overlap) / (side - overlap))
    starts = [round(i * (size - side) / (count - 1)) for i in range(count)]
    return [(start, start + side) for start in starts]
