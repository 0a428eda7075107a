"""Find labels that are probably wrong, and the pictures that are worth labelling next.

mrcnn data review cells/ --weights cells.h5                 # review/review.html, and lists
mrcnn data review cells/ --weights last --unlabelled new/   # which of new/ to label first

The network looks at every picture. Where it is sure of something else than the labels say, that is
told, the surest first: an object without a label, a label without an object, another class, a
loose outline, several objects in one label or one in several. Nothing is changed. Weights that
have learned from these very labels repeat some of their mistakes: those of a training on other
pictures see more.
"""

import argparse
import warnings
from collections import Counter
from datetime import datetime
from functools import partial
from pathlib import Path

from mrcnn import __version__
from mrcnn.cli.arguments import (
    add_data_arguments,
    add_logs_argument,
    add_set_argument,
    number,
    reading,
)
from mrcnn.cli.configs import apply_setting
from mrcnn.cli.detector import load_detector
from mrcnn.cli.weights import find_weights
from mrcnn.data.coco_names import COCO_NAMES
from mrcnn.data.joining import WHOLE, each_part
from mrcnn.data.pictures import find_pictures
from mrcnn.data.scaling import Rule
from mrcnn.detect.configs import check_fits, class_names, config_from_weights
from mrcnn.detect.instances import LimitWarning
from mrcnn.errors import UsageError
from mrcnn.evaluate.detections import Task
from mrcnn.evaluate.review import LOOKING
from mrcnn.evaluate.review_page import write_review
from mrcnn.evaluate.reviewing import Review, beside, review
from mrcnn.progress import Progress, plain_warnings
from mrcnn.weights.inspection import inspect_weights
from mrcnn.words import counted

HELP = "find labels that are probably wrong, and pictures to label next"

SOME_FAILED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `mrcnn data review`."""
    add_data_arguments(parser)
    add = parser.add_argument
    add(
        "--weights",
        metavar="W",
        help="an .h5 file that knows the classes; or nucleus, coco, last, best: as in mrcnn detect",
    )
    add_logs_argument(parser)
    add("--subset", metavar="NAME", help="only this part of DATA (default: all)")
    add(
        "--unlabelled",
        nargs="+",
        default=[],
        metavar="PICTURES",
        help="files, folders or patterns of pictures that might be labelled next; those that lie "
        "beside the labelled ones are taken, too",
    )
    add("--out", default="review", metavar="DIR", help="folder of the results (default: ./review)")
    add(
        "--most",
        type=number(int, 0),
        default=100,
        metavar="N",
        help="cases and pictures that the page shows; the lists have all (default: 100)",
    )
    add_set_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Look through all pictures, write the lists and the page, and say what was found.

    Returns 0, or 1 where pictures could not be read. Raises UsageError, FormatError, PictureError,
    WeightsError or DownloadError where it can't begin, OSError where results can't be written.
    """
    out = Path(args.out).expanduser()
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file: give the folder that the results go to.")
    path = find_weights(args.weights, args.logs)
    info = inspect_weights(path)
    config = config_from_weights(info)
    config.DETECTION_CLASS_CONFIDENCE = None
    for name, value in LOOKING.items():
        setattr(config, name, value)
    for setting in args.settings:
        apply_setting(config, setting)
    check_fits(config, info)
    config.validate("inference")
    names = class_names(None, config.NUM_CLASSES, args.weights, info.class_names)
    named = bool(info.class_names or len(COCO_NAMES) == config.NUM_CLASSES)

    progress = Progress(0)
    with plain_warnings(progress):
        warnings.simplefilter("ignore", LimitWarning)
        parts = list(each_part(args.data, args.format, args.subset, **reading(args)))
        for _, dataset in parts:
            dataset.rule = Rule.of(config)
        pictures = find_pictures(args.unlabelled) if args.unlabelled else []
        pictures += [path for _, dataset in parts for path in beside(dataset)]
        tasks = [
            (
                "" if part == WHOLE or len(parts) == 1 else part,
                Task(
                    *(args.data, dataset, part, [int(i) for i in dataset.image_ids]),
                    notes=list(dataset.notes),
                    progress=progress,
                    debug=getattr(args, "debug", False),
                    class_name=args.class_name,
                ),
            )
            for part, dataset in parts
        ]
        if not any(task.image_ids for _, task in tasks):
            raise UsageError(f"{args.data} has no labelled pictures to review.")
        pictures = list(dict.fromkeys(pictures))
        progress.expect(sum(len(task.image_ids) for _, task in tasks) + len(pictures))
        load = partial(load_detector, config, path, out, progress.say)
        try:
            done = review(tasks, pictures, load, names, named, progress, args.most)
        finally:
            progress.close()
    _write(args, path, done, out)
    return SOME_FAILED if done.failed else 0


def _write(args: argparse.Namespace, weights: Path, done: Review, out: Path) -> None:
    """Write the files and say what was found."""
    about = {
        "title": f"Review of {Path(args.data).resolve().name}",
        "facts": {
            "Data": str(Path(args.data).resolve()),
            "Weights": str(weights.resolve()),
            "Labelled": f"{counted(done.labelled, 'picture')}, {counted(done.labels, 'label')}",
            "Unlabelled": counted(len(done.order), "picture"),
            "Date": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %z"),
            "Version": f"mrcnn {__version__}",
        },
        "notes": done.notes,
    }
    written = write_review(out, about, done.suspects, done.order, done.previews)
    kinds = Counter(row["kind"] for row in done.suspects)
    print(
        f"{counted(done.labelled, 'picture')} with {counted(done.labels, 'label')}: "
        f"{counted(len(done.suspects), 'place')} to look at"
    )
    for kind, count in kinds.most_common():
        print(f"  {kind:16} {count:,}")
    for row in done.suspects[:5]:
        print(f"  {row['confidence']:.0%}  {row['kind']} in {row['picture']}")
    if done.order:
        print(f"{counted(len(done.order), 'unlabelled picture')}; to label first:")
        print("\n".join(f"  {one.name}" for one in done.order[:5]))
    print(f"\nWritten to {out}: {', '.join(written)}")
