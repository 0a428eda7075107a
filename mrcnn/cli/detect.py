"""Find instances in pictures: an overlay for each picture, and all instances as COCO JSON.

mrcnn detect beach.jpg --weights coco
mrcnn detect holiday/ --weights cells.h5 --classes "cell,nucleus" --out found
mrcnn detect "scans/**/*.png" --weights w.h5 --config cells.py:CellsConfig --set IMAGE_MAX_DIM=512
mrcnn detect holiday/ --weights cells.h5 --labels via    # to correct by hand: out/via.json
mrcnn detect holiday/ --weights synthetic     # no weights yet? only to see that all runs
"""

import argparse
import contextlib
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn import __version__
from mrcnn.cli import synthetic
from mrcnn.cli.arguments import add_config_arguments, fraction
from mrcnn.cli.configs import apply_setting, check_fits, config_from_weights, load_config
from mrcnn.cli.convert import add_force_argument, place
from mrcnn.cli.errors import UsageError
from mrcnn.cli.terminal import Progress, counted, plain_warnings, quiet_tensorflow
from mrcnn.cli.weights import add_logs_argument, find_weights
from mrcnn.config import Config
from mrcnn.data.coco_names import COCO_NAMES
from mrcnn.data.formats.finding import FOUND_BY_US
from mrcnn.data.pictures import PictureError, find_pictures, read_picture, write_png
from mrcnn.data.unfinished import check_free
from mrcnn.data.writers import WRITERS, Labelled, Writer, file_name_from
from mrcnn.run.results import IMAGES, RESULTS, ResultsWriter, coco_results
from mrcnn.weights.inspection import inspect_weights

HELP = "find instances in pictures: overlays and COCO JSON"

SOME_FAILED, INTERRUPTED = 1, 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `mrcnn detect`."""
    add = parser.add_argument
    add(
        "pictures",
        nargs="+",
        metavar="PICTURES",
        help="picture files, folders (their picture files, not those of folders in them) and "
        'patterns in quotes ("a/*.png", "a/**/*.jpg")',
    )
    add(
        "--weights",
        required=True,
        metavar="W",
        help="an .h5 file; nucleus (comes with the package); coco or balloon (fetched once and "
        "kept); last (the newest checkpoint under --logs); or synthetic: made-up weights that find "
        "nothing real",
    )
    add_logs_argument(parser)
    add("--out", default="out", metavar="DIR", help="folder of the results (default: ./out)")
    add_config_arguments(
        parser, "the Config of the training; without it, it is made from what the weight file shows"
    )
    add(
        "--min-confidence",
        type=fraction,
        metavar="X",
        help="leave out instances with a score below X (0..1); default: the Config's, mostly 0.7",
    )
    add(
        "--classes",
        metavar="NAMES",
        help="names of the classes in order, without the background: a,b,c or a text file with "
        "one name a line",
    )
    add("--no-pictures", action="store_true", help="write the JSON files only, no overlays")
    add(
        "--labels",
        choices=list(WRITERS),
        help="also write what is found for a labelling tool, to be corrected by hand and trained "
        "on: DIR/via.json, DIR/coco.json, or a file for each picture in DIR/labelme",
    )
    add_force_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Check everything that can be checked, then detect picture by picture.

    Returns 0, 1 where pictures failed, 130 after Ctrl-C (the results so far are then written).
    Raises UsageError, PictureError, WeightsError, ConfigError or DownloadError where it can't
    begin, and OSError where results can't be written.
    """
    pictures = find_pictures(args.pictures)
    progress = Progress(len(pictures))
    with plain_warnings(progress):
        job = plan(args, pictures)
        if job.note:
            progress.say(f"NOTE: {job.note}")
        detect = load_detector(job)
        try:
            return work(job, detect, progress)
        finally:
            progress.close()


# -- Before: what is to be done -------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """All that a run needs, checked."""

    pictures: list[Path]
    overlays: list[Path] | None  # where each picture's overlay goes
    weights: Path | None  # None: synthetic ones, written when TensorFlow is there
    config: Config
    class_names: list[str]
    out: Path
    labels: str | None  # the format of the annotation file
    force: bool  # overwrite it
    note: str  # what the user must know of the results, or ""
    debug: bool


def plan(args: argparse.Namespace, pictures: list[Path]) -> Job:
    """Check the arguments against each other and against the files; imports no TensorFlow."""
    made_up = args.weights == synthetic.NAME
    if made_up:
        if args.config:
            raise UsageError("--weights synthetic has its own Config: leave --config out.")
        path, info, config = None, None, synthetic.SyntheticConfig()
    else:
        path = find_weights(args.weights, args.logs)
        info = inspect_weights(path)
        config = load_config(args.config) if args.config else config_from_weights(info)
    for setting in args.settings:
        apply_setting(config, setting)
    if args.min_confidence is not None:
        config.DETECTION_MIN_CONFIDENCE = args.min_confidence
    if info:
        check_fits(config, info)
    config.validate("inference")

    told = info.class_names if info else None
    names = class_names(args.classes, config.NUM_CLASSES, args.weights, told)
    out = Path(args.out).expanduser()
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file: give the folder that the results go to.")
    overlays = None if args.no_pictures else overlay_paths(pictures, out)
    if args.labels and not args.force:
        check_free(labels_path(out, args.labels))
    out.mkdir(parents=True, exist_ok=True)
    note = synthetic.NOTE if made_up else ""
    return Job(
        *(pictures, overlays, path, config, names, out),
        *(args.labels, args.force, note, args.debug),
    )


def labels_path(out: Path, labels: str) -> Path:
    """The annotation file, or LabelMe's folder, in the folder of the results."""
    return place(out / labels if labels == "labelme" else out, labels)


def class_names(
    classes: str | None, num_classes: int, weights: str = "", told: list[str] | None = None
) -> list[str]:
    """The names by class id, "BG" first: those the user gave, else what the weights are known for.

    told: the names that the weight file itself holds.

    classes: names separated by commas, or the path of a text file with one name a line; the
    background may be among them as the first. Raises UsageError if their number isn't num_classes.
    """
    if weights == synthetic.NAME:
        default = synthetic.CLASS_NAMES
    elif told:
        default = told
    elif weights == "balloon":
        default = ["BG", "balloon"]
    elif num_classes == len(COCO_NAMES):
        default = COCO_NAMES
    else:
        default = ["BG", *(f"class {i}" for i in range(1, num_classes))]
    if classes is None:
        return list(default)
    if Path(classes).is_file():
        text = Path(classes).read_text(encoding="utf-8-sig", errors="replace").splitlines()
    else:
        text = classes.split(",")
    names = [name.strip() for name in text if name.strip()]
    if len(names) != num_classes or names[0].lower() not in ("bg", "background"):
        names = ["BG", *names]
    if len(names) != num_classes:
        raise UsageError(
            f"--classes names {len(names) - 1} classes and the network has {num_classes - 1} "
            "(the background not counted)."
        )
    if weights == synthetic.NAME:  # whatever they are called, they are not that
        names = ["BG", *(f"synthetic {name}" for name in names[1:])]
    return names


def overlay_paths(pictures: Sequence[Path], out: Path) -> list[Path]:
    """A file in `out` for each picture: its stem and .png, numbered where that is taken.

    Raises UsageError where an overlay would lie over one of the pictures.
    """
    # Compared without case: some file systems make no difference.
    stems = Counter(path.stem.casefold() for path in pictures)
    taken: set[str] = set()
    overlays = []
    for path in pictures:
        name, number = path.stem, 2
        while name.casefold() in taken or (number > 2 and name.casefold() in stems):
            name, number = f"{path.stem}_{number}", number + 1
        taken.add(name.casefold())
        overlays.append(out / f"{name}.png")
    for path in pictures:
        if path.resolve().parent == out.resolve() and path.suffix.casefold() == ".png":
            raise UsageError(
                f"--out {out} holds {path.name}, one of the pictures: an overlay could overwrite "
                "it. Give another folder."
            )
    return overlays


# -- The detector ---------------------------------------------------------------------------

_MOST_LABELS = 25  # in a picture of one class; beyond, colours alone tell instances apart

# A picture [height, width, 3] or [height, width] -> the dict of MaskRCNN.detect.
Detector = Callable[[np.ndarray], Mapping[str, np.ndarray]]


def load_detector(job: Job) -> Detector:
    """Build the network and load its weights; TensorFlow is imported here."""
    with quiet_tensorflow():
        from mrcnn.model import MaskRCNN
    weights = job.weights or synthetic.synthetic_weights()
    model = MaskRCNN("inference", job.config, job.out)
    model.load_weights(weights, by_name=True)
    return lambda picture: model.detect([picture])[0]


# -- Picture by picture ---------------------------------------------------------------------


def work(job: Job, detect: Detector, progress: Progress) -> int:
    """Detect in all pictures, write what is found, say how it went; returns the exit code."""
    info = {
        "description": FOUND_BY_US,
        "version": __version__,
        "date_created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "weights": str(job.weights.resolve()) if job.weights else synthetic.NAME,
        "config": type(job.config).__name__,
        "min_confidence": job.config.DETECTION_MIN_CONFIDENCE,
        "class_names": job.class_names,
    }
    if job.note:
        info["note"] = job.note
    seconds: list[float] = []
    instances, interrupted = 0, False
    with contextlib.ExitStack() as files:
        writer = files.enter_context(ResultsWriter(job.out, job.class_names, info))
        labels = files.enter_context(_labels_writer(job)) if job.labels else None
        try:
            for i in range(len(job.pictures)):
                entry = _one_picture(job, i, detect, writer, labels, progress)
                if entry:
                    seconds.append(entry["seconds"])
                    instances += entry["instances"]
                progress.advance()
        except KeyboardInterrupt:
            interrupted = True
    progress.close()
    _sum_up(job, seconds, instances, len(writer.failures), interrupted, progress)
    return INTERRUPTED if interrupted else SOME_FAILED if writer.failures else 0


def _labels_writer(job: Job) -> Writer:
    return WRITERS[job.labels](labels_path(job.out, job.labels), job.class_names, job.force)


def _one_picture(
    job: Job,
    index: int,
    detect: Detector,
    writer: ResultsWriter,
    labels: Writer | None,
    progress: Progress,
) -> dict[str, Any] | None:
    """Read, detect, draw and write one picture; its entry, or None where it failed."""
    path, overlay = job.pictures[index], job.overlays[index] if job.overlays else None
    try:
        picture = read_picture(path)
        began = time.perf_counter()
        result = detect(picture)
        seconds = time.perf_counter() - began
        drawn = _draw(picture, result, job.class_names) if overlay else None
        records = coco_results(index + 1, result)
    except Exception as error:  # one bad picture must not take the others with it
        if job.debug:
            traceback.print_exc()
        reason = _reason(error, path)
        progress.complain(f"failed: {reason}")
        writer.fail(path.name, reason)
        return None
    if overlay:
        write_png(overlay, drawn)
    height, width = picture.shape[:2]
    entry = {
        "id": index + 1,
        "file_name": path.name,
        "height": height,
        "width": width,
        "instances": len(records),
        "seconds": round(seconds, 3),
        "path": str(path.resolve()),
        "overlay": overlay.name if overlay else None,
    }
    writer.add(entry, records)
    if labels:
        folder = labels.path if job.labels == "labelme" else job.out
        ids, scores = result["class_ids"], result["scores"]
        name = file_name_from(folder, path)
        labels.add(Labelled(name, height, width, result["masks"], ids, scores))
    counts = Counter(job.class_names[class_id] for class_id in result["class_ids"])
    found = ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "nothing found"
    progress.say(
        f"[{index + 1}/{len(job.pictures)}] {path}  {width} x {height}  {found}  {seconds:.2f} s"
    )
    return entry


def _draw(picture: np.ndarray, result: Mapping[str, np.ndarray], names: list[str]) -> np.ndarray:
    from mrcnn.visualize import render_instances

    # A hundred labels that all say the same would hide what they name.
    crowd = len(result["rois"]) > _MOST_LABELS and len(set(result["class_ids"].tolist())) == 1
    return render_instances(
        picture,
        result["rois"],
        result["masks"],
        result["class_ids"],
        names,
        result["scores"],
        captions=[""] * len(result["rois"]) if crowd else None,
    )


def _reason(error: Exception, path: Path) -> str:
    text = str(error).strip()
    if isinstance(error, PictureError):
        return text
    if isinstance(error, ValueError) and text:
        # The network is shown one picture at a time and can't know its name.
        return f"{path}: {text.replace('picture 1 of 1', 'the picture')}"
    return f"{path}: {type(error).__name__} {text.splitlines()[0] if text else ''}".rstrip()


def _sum_up(
    job: Job,
    seconds: list[float],
    instances: int,
    failures: int,
    interrupted: bool,
    progress: Progress,
) -> None:
    if interrupted:
        done = len(seconds) + failures
        progress.complain(f"interrupted after {done} of {counted(len(job.pictures), 'picture')}")
    summary = f"{counted(len(seconds), 'picture')}, {counted(instances, 'instance')}"
    if len(seconds) == 1:
        summary += f", {seconds[0]:.2f} s"
    elif seconds:
        # The first one also waits for TensorFlow to prepare the graph.
        mean = sum(seconds[1:]) / len(seconds[1:])
        summary += f", {mean:.2f} s a picture (the first {seconds[0]:.2f} s)"
    progress.say(f"{summary}, {failures} failed")
    where = f"Results in {job.out}: {RESULTS}, {IMAGES}"
    progress.say(where if job.overlays is None else f"{where} and an overlay for each picture")
    if job.labels:
        progress.say(f"To correct by hand ({job.labels}): {labels_path(job.out, job.labels)}")
    if job.note:
        progress.say(f"NOTE: {job.note}")
