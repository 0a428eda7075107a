"""Find instances in pictures and videos: an overlay for each, and all instances as COCO JSON.

mrcnn detect beach.jpg --weights coco
mrcnn detect holiday/ --weights cells.h5 --classes "cell,nucleus" --out found
mrcnn detect "scans/**/*.png" --weights w.h5 --config cells.py:CellsConfig --set IMAGE_MAX_DIM=512
mrcnn detect https://example.org/beach.jpg film.mp4 --weights coco    # fetched; drawn as a video
mrcnn detect road.mp4 --weights coco --count-line 0,240,640,240    # who passes it; docs/video.md
curl -s https://example.org/beach.jpg | mrcnn detect - --weights coco
mrcnn detect slide.tif --weights cells.h5 --tiles    # of any size: docs/large-pictures.md
mrcnn detect scans/ --weights cells.h5 --table --geojson    # measured; outlines for QuPath, QGIS
mrcnn detect holiday/ --weights cells.h5 --labels via    # to correct by hand: out/via.json
mrcnn detect scans/ --weights cells.h5 --job found    # thousands: goes on where it was ended
mrcnn detect holiday/ --weights synthetic     # no weights yet? only to see that all runs
"""

import argparse
import warnings
from collections.abc import Mapping
from pathlib import Path

from mrcnn.cli import detect_job, detect_video, synthetic
from mrcnn.cli.arguments import (
    add_config_arguments,
    add_engine_argument,
    add_force_argument,
    add_logs_argument,
    add_picture_arguments,
    fraction,
)
from mrcnn.cli.detector import load_detector, weights_and_names
from mrcnn.cli.more import add_more_arguments, more_of
from mrcnn.cli.tiles import add_tiles_arguments, tiles_of
from mrcnn.config import Config
from mrcnn.data.sources import Source, find_sources
from mrcnn.data.writers import WRITERS
from mrcnn.detect import files
from mrcnn.detect.configs import by_class
from mrcnn.detect.instances import LimitWarning
from mrcnn.detect.overlays import CAPTIONS, FORMATS, overlay_paths
from mrcnn.errors import UsageError
from mrcnn.progress import Progress, plain_warnings
from mrcnn.whole import check_free
from mrcnn.words import listed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `mrcnn detect`."""
    add = parser.add_argument
    add(
        "pictures",
        nargs="+",
        metavar="PICTURES",
        help="picture and video files, folders (their picture files, not those of folders in "
        'them), patterns in quotes ("a/*.png", "a/**/*.jpg"), http addresses, and - for a picture '
        "on standard input; the number of a camera, addresses of streams (rtsp://..). Video needs "
        "the extra [video]",
    )
    add(
        "--weights",
        metavar="W",
        help="an .h5 file; what mrcnn export wrote (.onnx, .xml, .tflite, a SavedModel's folder); "
        "nucleus (comes with the package); coco or balloon (fetched once and kept); last (the "
        "newest checkpoint under --logs), best (of that run); or synthetic: made-up weights that "
        "find nothing real",
    )
    add_engine_argument(parser)
    add_logs_argument(parser)
    add("--out", default="out", metavar="DIR", help="folder of the results (default: ./out)")
    add_config_arguments(
        parser, "the Config of the training; without it, it is made from what the weight file shows"
    )
    add(
        "--min-confidence",
        type=fraction,
        metavar="X",
        help="leave out instances with a score below X (0..1); default: those of the classes that "
        "mrcnn evaluate --save-thresholds left in the weights, or the Config's, mostly 0.7. "
        "A region counts only where a class is more probable than the background, so with one "
        "class nothing is found below 0.5 (--set DETECTION_EVERY_CLASS=True)",
    )
    add(
        "--classes",
        metavar="NAMES",
        help="names of the classes in order, without the background: a,b,c or a text file with "
        "one name a line",
    )
    add("--no-pictures", action="store_true", help="write the JSON files only, no overlays")
    add(
        "--format",
        choices=FORMATS,
        default="auto",
        help="of the overlays: jpg or png, of a video then a file for each frame; auto (default): "
        "JPEG for a JPEG, PNG for other pictures, a video for a video",
    )
    add(
        "--captions",
        choices=CAPTIONS,
        default="auto",
        help="in the overlays: all: class and score beside each instance; scores: small, in it, "
        "where there is room; none; auto (default): all, or scores for a crowd of one class",
    )
    add(
        "--labels",
        choices=list(WRITERS),
        help="also write what is found for a labelling tool, to be corrected by hand and trained "
        "on: DIR/via.json, DIR/coco.json, .., DIR/cvat.xml, or a file for each picture in "
        "DIR/labelme, DIR/yolo or DIR/geojson",
    )
    add_more_arguments(parser)
    add_picture_arguments(parser)
    add_tiles_arguments(parser)
    add_force_argument(parser)
    detect_video.add_arguments(parser)
    detect_job.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Check everything that can be checked, then detect picture by picture.

    Returns 0, 1 where pictures failed, 130 after Ctrl-C (the results so far are then written).
    Raises UsageError, PictureError, WeightsError, ConfigError or DownloadError where it can't
    begin, and OSError where results can't be written.
    """
    if args.job:
        return detect_job.run(args)
    progress = Progress(0)
    with plain_warnings(progress):
        # Said here of each picture and at the end; in Python there is nothing but warnings.
        warnings.simplefilter("ignore", LimitWarning)
        sources = find_sources(args.pictures, Path(args.out).expanduser() / "fetched")
        progress.expect(len(sources))
        job, path = plan(args, sources)
        for note in (job.note, idle_confidence(job.config)):
            if note:
                progress.say(f"NOTE: {note}")
        if least := by_class(job.config, job.class_names):
            progress.say(
                f"Least confidence by class, as the weights have it: {told_by_class(least)} "
                "(--min-confidence sets one for all)"
            )
        weights = path or synthetic.synthetic_weights()
        detect = load_detector(job.config, weights, job.out, progress.say, args.engine)
        try:
            return files.run(job, detect, progress)
        finally:
            progress.close()


# -- Before: what is to be done -------------------------------------------------------------


def plan(args: argparse.Namespace, sources: list[Source]) -> tuple[files.Job, Path | None]:
    """Check the arguments against each other and against the files; imports no TensorFlow.

    Returns the job and the weight file, None for synthetic weights, which TensorFlow makes.
    """
    path, config, names = weights_and_names(args)
    out = Path(args.out).expanduser()
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file: give the folder that the results go to.")
    overlays = None if args.no_pictures else overlay_paths(sources, out, args.format)
    detect_video.check_videos(sources, args)
    more = more_of(args)
    if args.labels and not args.force:
        check_free(files.labels_path(out, args.labels))
    out.mkdir(parents=True, exist_ok=True)
    note = "" if path else synthetic.NOTE
    source = str(path.resolve()) if path else synthetic.NAME
    job = files.Job(
        *(sources, overlays, source, config, names, out),
        *(
            args.labels,
            args.format,
            args.captions,
            args.force,
            note,
            args.debug,
            tiles_of(args),
            more,
        ),
        counting=detect_video.counting_of(args),
        frames=args.frames,
    )
    return job, path


def idle_confidence(config: Config) -> str:
    """A sentence where the threshold is lower than any score can be, else ""."""
    if config.DETECTION_CLASS_CONFIDENCE is not None:
        return ""
    least = 1 / config.NUM_CLASSES  # the most probable of so many can't have less
    if config.DETECTION_EVERY_CLASS or not 0 < config.DETECTION_MIN_CONFIDENCE < least:
        return ""
    return (
        f"a least confidence of {config.DETECTION_MIN_CONFIDENCE:g} finds no more than {least:.2g} "
        f"would: among {config.NUM_CLASSES} classes, background included, the most probable has at "
        "least that, and it alone counts. --set DETECTION_EVERY_CLASS=True counts the others too."
    )


def told_by_class(least: Mapping[str, float]) -> str:
    """ "cell 0.62, nucleus 0.4"."""
    return listed(f"{name} {score:g}" for name, score in least.items())
