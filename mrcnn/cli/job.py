"""Look at a job over many pictures (mrcnn detect --job), or convert what it found.

mrcnn job show found                            # counts, rate, failures
mrcnn job convert found found.json --to coco    # images and annotations with scores and masks
mrcnn job convert found found.geojson --to geojson
mrcnn job convert found found.csv --to csv      # a row for each instance, with its measures
mrcnn job convert found corrected --to labelme  # to be corrected by hand

A job can be looked at and converted while it goes on.
"""

import argparse

from mrcnn.cli.arguments import add_force_argument
from mrcnn.jobs.convert import FORMATS, convert
from mrcnn.jobs.folder import read_job
from mrcnn.jobs.show import in_lines, look_at
from mrcnn.progress import Progress, plain_warnings
from mrcnn.words import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `mrcnn job`."""
    kinds = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    show = kinds.add_parser("show", help="tell counts, rate and failures", allow_abbrev=False)
    other = kinds.add_parser("convert", help="write what was found", allow_abbrev=False)
    for one in (show, other):
        one.add_argument("job", metavar="DIR", help="the folder of the job")
        one.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )
    other.add_argument(
        "out", metavar="OUT", help="a file, or a folder for it; for labelme and yolo a folder"
    )
    other.add_argument("--to", required=True, choices=FORMATS, help="the format to write")
    add_force_argument(other)


def run(args: argparse.Namespace) -> int:
    """Show or convert; returns 0.

    Raises UsageError where there is no job, FileExistsError where a file is in the way, OSError
    where it can't be written.
    """
    if args.what == "show":
        print("\n".join(in_lines(look_at(args.job))))
        return 0
    progress = Progress(int(read_job(args.job)["pictures"]))
    with plain_warnings(progress):
        try:
            path = convert(args.job, args.to, args.out, args.force, progress.advance)
        finally:
            progress.close()
    print(f"{printable(path)} ({args.to})")
    return 0
