"""--table, --geojson, --label-image and --imagej-rois of `mrcnn detect`."""

import argparse

from mrcnn.data.places import parse_pixel
from mrcnn.detect.more import More
from mrcnn.detect.rois import check_installed
from mrcnn.errors import UsageError

_NAMES = ("table", "geojson", "label_image", "imagej_rois")


def add_more_arguments(parser: argparse.ArgumentParser) -> None:
    """The four, and --pixel-size; see `more_of`."""
    add = parser.add_argument_group("measurements and outlines (docs/measurements.md)").add_argument
    add(
        "--table",
        action="store_true",
        help="write DIR/measurements.csv, a row an object: area, perimeter, axes, intensity ..",
    )
    add(
        "--pixel-size",
        type=_pixel,
        metavar="SIZE",
        help="of the pictures, such as 0.25um or 0.3m, for measurements in that unit too (default: "
        "what TIFF, OME-TIFF and GeoTIFF say of it)",
    )
    add(
        "--geojson",
        action="store_true",
        help="write the outlines of each picture, DIR/geojson/NAME.geojson: for QuPath, and of a "
        "GeoTIFF in the coordinates of its map, for QGIS",
    )
    add(
        "--label-image",
        action="store_true",
        help="write the object's number at each pixel, DIR/label_images/NAME.tif, 32 bits",
    )
    add(
        "--imagej-rois",
        action="store_true",
        help="write the outlines of each picture for ImageJ, DIR/rois/NAME.zip. Needs the extra "
        "[imagej]",
    )


def _pixel(text: str) -> object:
    try:
        return parse_pixel(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def more_of(args: argparse.Namespace) -> More:
    """What is asked for. Raises UsageError where it contradicts itself, or a package is missing."""
    if args.pixel_size and not args.table:
        raise UsageError("--pixel-size is for measurements: add --table.")
    if args.geojson and args.labels == "geojson":
        raise UsageError(
            "--geojson and --labels geojson write the same files: leave one out. --labels makes "
            "annotations of them, to correct by hand."
        )
    if args.imagej_rois:
        check_installed()
    return More(args.table, args.geojson, args.label_image, args.imagej_rois, args.pixel_size)


def refuse_more(args: argparse.Namespace) -> None:
    """Raise UsageError where any of them is asked of a job, whose table has measurements itself."""
    for name in (*_NAMES, "pixel_size"):
        if getattr(args, name):
            raise UsageError(
                f"--{name.replace('_', '-')} and --job can't be had at once: mrcnn job convert DIR "
                "OUT --to csv or geojson makes them of the job's table."
            )
