"""--tiles, --overlap and --coarse, of the commands that look at pictures."""

import argparse

from mrcnn.detect.tiled import Tiles
from mrcnn.detect.tiles import Tiling
from mrcnn.errors import UsageError

_AUTO = "auto"


def add_tiles_arguments(parser: argparse.ArgumentParser) -> None:
    """The three as `args.tiles`, `args.overlap` and `args.coarse`; see `tiles_of`."""
    parser.add_argument(
        "--tiles",
        nargs="?",
        const=_AUTO,
        type=_side,
        metavar="SIDE",
        help="look at pictures that are larger than SIDE pixels in tiles of that size, and join "
        "what the seams cut; without SIDE, the size that suits the weights; 0: never. Default: for "
        "weights that were trained on pieces of pictures, the size that suits them; else 0",
    )
    parser.add_argument(
        "--overlap",
        type=_pixels,
        metavar="PIXELS",
        help="of the tiles; best is what most objects are long (default: the largest anchor of "
        "the weights, at most a quarter of a tile)",
    )
    parser.add_argument(
        "--coarse",
        action="store_true",
        help="with tiles, look at the whole picture too, scaled down, for what is longer than a "
        "tile",
    )


def tiles_of(args: argparse.Namespace) -> Tiles:
    """What is asked for. Raises UsageError where that can't be."""
    asked = None if args.tiles is None else args.tiles != 0
    if asked is False and (args.overlap or args.coarse):
        raise UsageError("--tiles 0 has no tiles for --overlap and --coarse: leave one out.")
    # Who speaks of their overlap wants tiles.
    asked = asked or (True if args.overlap or args.coarse else asked)
    side = args.tiles if args.tiles and args.tiles != _AUTO else None
    if side:
        Tiling(side, args.overlap or 1)  # what can't be shows before the network is built
    return Tiles(asked, side, args.overlap, args.coarse)


def _side(text: str) -> str | int:
    if text == _AUTO:
        return text
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(
            f"{text!r} is no side of a tile in pixels. Where a picture follows, put --tiles behind "
            "the pictures"
        )
    return int(text)


def _pixels(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of pixels, from 1 on")
    return int(text)
