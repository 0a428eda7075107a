"""`mrcnn detect` with videos: what is counted in them, and whether they can be read here."""

import argparse
from collections.abc import Callable, Sequence

from mrcnn.cli.arguments import number
from mrcnn.data.sources import Source
from mrcnn.data.video import VideoError, check_installed
from mrcnn.detect.films import Counting
from mrcnn.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--count-line, --count-area and --frames."""
    add = parser.add_argument_group("videos, cameras and streams (docs/video.md)").add_argument
    add(
        "--count-line",
        type=_points(2, 2),
        metavar="X1,Y1,X2,Y2",
        help="count the objects that pass this line, in pixels of the video, in each direction",
    )
    add(
        "--count-area",
        type=_points(2, 100),
        metavar="X1,Y1,X2,Y2[,X3,Y3..]",
        help="count the objects that are ever inside, and how many are at once: a box by two of "
        "its corners, or a polygon",
    )
    add(
        "--frames",
        type=number(int, 1),
        metavar="N",
        help="stop after so many frames of each video; a camera goes on until Ctrl-C without it",
    )


def counting_of(args: argparse.Namespace) -> Counting:
    """What is to be counted."""
    return Counting(args.count_line, args.count_area)


def check_videos(sources: Sequence[Source], args: argparse.Namespace) -> None:
    """Refuse videos where what they need is missing, before the network is built.

    Raises UsageError.
    """
    videos = [source for source in sources if source.is_video]
    if not videos:
        for name in ("count_line", "count_area", "frames"):
            if getattr(args, name):
                option = name.replace("_", "-")
                raise UsageError(f"--{option} is of videos, and none is given.")
        return
    if args.labels:
        raise UsageError(
            f"--labels {args.labels} needs pictures, and {videos[0]} is a video: make pictures of "
            "its frames first (ffmpeg -i VIDEO frames/%06d.png)."
        )
    try:
        check_installed()
    except VideoError as error:
        raise UsageError(f"{videos[0]}: {error}") from error


def _points(least: int, most: int) -> Callable[[str], tuple[float, ...]]:
    """An argparse type: x, y of some points."""

    def parse(text: str) -> tuple[float, ...]:
        try:
            values = tuple(float(word) for word in text.split(","))
        except ValueError:
            values = ()
        if len(values) % 2 or not 2 * least <= len(values) <= 2 * most:
            raise argparse.ArgumentTypeError(
                f"{text} is no list of numbers x1,y1,x2,y2{'' if most == least else ',..'}"
            )
        return values

    return parse
