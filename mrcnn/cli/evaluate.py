"""Measure detections against labels: COCO's numbers, all of them as JSON, and a report to read.

mrcnn evaluate cells/ --weights cells.h5
mrcnn evaluate coco/ --weights coco --subset val2017 --limit 500
mrcnn evaluate cells/ --weights cells.h5 --save-thresholds    # into cells.h5; detect takes them
mrcnn evaluate cells/ --results out/results.json     # what `mrcnn detect` or others have found
"""

import argparse
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from mrcnn import __version__
from mrcnn.cli.arguments import (
    add_config_arguments,
    add_data_arguments,
    add_engine_argument,
    add_logs_argument,
    add_picture_arguments,
    fraction,
    number,
    reading,
)
from mrcnn.cli.configs import apply_setting, load_config
from mrcnn.cli.detector import load_detector
from mrcnn.cli.tiles import add_tiles_arguments, tiles_of
from mrcnn.cli.weights import find_weights
from mrcnn.config import Config
from mrcnn.data import formats
from mrcnn.data.coco_names import COCO_NAMES
from mrcnn.data.formats import FormatError
from mrcnn.data.formats.reading import PIECES
from mrcnn.data.parts import open_part
from mrcnn.data.scaling import Rule
from mrcnn.detect import card
from mrcnn.detect.configs import check_fits, class_names, config_from_weights, one_for_all
from mrcnn.detect.instances import LimitWarning
from mrcnn.detect.tiled import with_tiles
from mrcnn.errors import UsageError
from mrcnn.evaluate.coco import LEAST_SCORE, MAX_DETECTIONS, Collected
from mrcnn.evaluate.detections import Task, crowded, detected, from_results
from mrcnn.evaluate.matching import Matches, match
from mrcnn.evaluate.metrics import IOU, all_metrics
from mrcnn.evaluate.report import write_report, write_text
from mrcnn.evaluate.report_pictures import choose, example
from mrcnn.evaluate.report_text import as_text
from mrcnn.evaluate.thresholds import choose_thresholds
from mrcnn.progress import Progress, plain_warnings
from mrcnn.weights.download import BUNDLED, KNOWN_FILES
from mrcnn.weights.inspection import WeightsInfo
from mrcnn.weights.names import CLASS_CONFIDENCE
from mrcnn.weights.writing import update_description
from mrcnn.words import counted

METRICS, REPORT = "metrics.json", "report.html"
SOME_FAILED = 1
FOR_RESULTS = 0.5  # confidence at which the detections of a file are counted
_MATTERS = (
    *("BACKBONE", "IMAGE_RESIZE_MODE", "IMAGE_MIN_DIM", "IMAGE_MAX_DIM", "IMAGE_MIN_SCALE"),
    *("RPN_ANCHOR_SCALES", "RPN_NMS_THRESHOLD", "POST_NMS_ROIS_INFERENCE"),
    *("DETECTION_MAX_INSTANCES", "DETECTION_MIN_CONFIDENCE", "DETECTION_NMS_THRESHOLD"),
    *("DETECTION_CLASS_CONFIDENCE", "DETECTION_EVERY_CLASS"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `mrcnn evaluate`."""
    add_data_arguments(parser)
    parser.set_defaults(
        format=None, class_name=None, pieces=None
    )  # as in the training, if the weights say it
    add = parser.add_argument
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--weights",
        metavar="W",
        help="an .h5 file, or what mrcnn export wrote; or nucleus, coco, balloon, last, best: as "
        "in mrcnn detect",
    )
    source.add_argument(
        "--results",
        metavar="FILE",
        help="detections in COCO's results format: no network runs. The images.json that mrcnn "
        "detect wrote beside it says what its numbers mean; without one they are those of DATA",
    )
    add(
        "--subset",
        metavar="NAME",
        help="part of DATA, or all (default: val, or all where DATA has no parts)",
    )
    add_engine_argument(parser)
    add_tiles_arguments(parser)
    add_logs_argument(parser)
    add("--limit", type=number(int, 1), metavar="N", help="only the first N pictures")
    add("--out", default="evaluation", metavar="DIR", help="default: ./evaluation")
    add(
        "--max-detections",
        type=number(int, 1),
        metavar="N",
        help="of a picture that count (default: COCO's 100, or the Config's "
        "DETECTION_MAX_INSTANCES where that is more)",
    )
    add(
        "--min-score",
        type=fraction,
        default=LEAST_SCORE,
        metavar="S",
        help=f"leave out detections below S (default: {LEAST_SCORE})",
    )
    add(
        "--threshold",
        type=fraction,
        metavar="S",
        help="confidence at which instances are counted and drawn (default: the Config's "
        f"DETECTION_MIN_CONFIDENCE; {FOR_RESULTS} with --results)",
    )
    add(
        "--save-thresholds",
        action="store_true",
        help="choose for each class the confidence with the best F1 on these pictures, and keep "
        "them in the weight file: mrcnn detect then takes them. Few labels of a class are judged "
        "together with all the others",
    )
    add_picture_arguments(parser)
    add_config_arguments(parser, "as in mrcnn detect")
    add("--classes", metavar="NAMES", help="names of the weights' classes, as in mrcnn detect")


def run(args: argparse.Namespace) -> int:
    """Check everything that can be checked, detect, measure, write.

    Returns 0, or 1 where pictures could not be read and were left out.
    Raises UsageError, FormatError, PictureError, WeightsError, ConfigError or DownloadError where
    it can't begin, and OSError where results can't be written.
    """
    out = Path(args.out).expanduser()
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file: give the folder that the results go to.")
    if args.results and (args.config or args.settings or args.classes or args.save_thresholds):
        raise UsageError(
            "--config, --set, --classes and --save-thresholds belong to --weights, not to "
            "--results."
        )
    tiles = tiles_of(args)
    if args.results and tiles.asked is not None:
        raise UsageError(
            "--tiles, --overlap and --coarse belong to --weights: the detections in --results are "
            "there already."
        )
    plan = None if args.results else _with_weights(args)  # wrong settings show before data are read
    task = _task(args, plan.read_as if plan else {})
    task.dataset.rule = Rule.of(plan.config if plan else Config())
    with plain_warnings(task.progress):
        warnings.simplefilter("ignore", LimitWarning)  # a note says it of all pictures
        for note in task.notes:
            task.progress.say(f"NOTE: {note}")
        try:
            if plan:
                say = task.progress.say
                load = partial(load_detector, plan.config, plan.path, out, say, args.engine)
                collected = detected(
                    task,
                    lambda: with_tiles(load(), tiles, plan.config),
                    plan.names,
                    plan.named,
                )
            else:
                collected = from_results(task, Path(args.results).expanduser())
        finally:
            task.progress.close()
        return _report(args, task, plan, collected, out)


# -- Before ---------------------------------------------------------------------------------


@dataclass
class Plan:
    """The network that is to be run."""

    path: Path
    config: Config
    confidence: float  # the Config's own, which detect would use
    by_class: list[float] | None  # by class id of the weights, where detect would use these
    names: list[str]
    named: bool  # False: nobody knows what the weights call their classes
    read_as: dict[str, str]  # how the labels were read that they were trained on


def _task(args: argparse.Namespace, read_as: Mapping[str, str]) -> Task:
    path = Path(args.data).expanduser()
    format, how = _reading(args, path, read_as)
    class_name = how["class_name"]
    parts = [] if args.subset else formats.subsets(path, format)
    part = args.subset or ("val" if parts else "all")
    dataset = open_part(args.data, format, part, **how)
    image_ids = [int(i) for i in dataset.image_ids][: args.limit]
    if not image_ids:
        raise UsageError(f"{args.data} has no labelled pictures to measure with.")
    notes = list(dataset.notes)
    if format != (args.format or "auto"):
        notes.append(f"Read as {format}, as in the training; --format reads it otherwise.")
    if class_name != (args.class_name or "object") and class_name in dataset.class_names:
        notes.append(
            f"What the files don't name is {class_name}, as in the training; --class-name calls it "
            "otherwise."
        )
    if args.weights and part == "all" and not args.subset:
        notes.append(
            f"{args.data} has no parts: all of it is measured. For weights that mrcnn train made "
            "of it, --subset val takes the pictures that these have not seen."
        )
    return Task(
        args.data,
        dataset,
        part,
        image_ids,
        args.min_score,
        notes,
        progress=Progress(len(image_ids)),
        debug=args.debug,
        class_name=class_name,
    )


def _reading(
    args: argparse.Namespace, path: Path, read_as: Mapping[str, str]
) -> tuple[str, dict[str, Any]]:
    """(format, the rest) to read labels with: as asked for, else as in the training."""
    usual = {"class_name": "object", "class_attribute": None, "pieces": "auto"}
    asked = reading(args)
    how = {name: asked[name] or read_as.get(name, usual[name]) for name in usual}
    if how["pieces"] not in PIECES:
        how["pieces"] = "auto"
    format = args.format or read_as.get("format", "auto")
    if format != "auto" and not args.format:
        try:
            formats.subsets(path, format)
        except FormatError:  # other data than those of the training
            format = "auto"
    return format, how


def _read_as(info: WeightsInfo) -> dict[str, str]:
    """What a weight file says of how the labels were read: format, class name and the like."""
    told = info.description.get("data")
    told = told if isinstance(told, dict) else {}
    kept = {
        name: told[name]
        for name in ("format", "class_name", "class_attribute", "pieces")
        if isinstance(told.get(name), str)
    }
    if kept.get("format") not in formats.FORMATS:
        kept.pop("format", None)
    return kept


def _with_weights(args: argparse.Namespace) -> Plan:
    path = find_weights(args.weights, args.logs)
    if args.save_thresholds and args.weights in {**BUNDLED, **KNOWN_FILES}:
        raise UsageError(
            f"--save-thresholds writes into the weight file, and {path} belongs to the package: "
            "copy it, and give the copy with --weights."
        )
    if args.save_thresholds and card.format_of(path):
        raise UsageError(
            f"--save-thresholds writes into a weight file, and {path} is exported: choose them "
            "with the weights, and export these again."
        )
    info = card.inspect(path)
    config = load_config(args.config) if args.config else config_from_weights(info)
    one_for_all(config, [apply_setting(config, setting) for setting in args.settings])
    confidence = config.DETECTION_MIN_CONFIDENCE
    config.DETECTION_MIN_CONFIDENCE = args.min_score
    if args.max_detections:
        config.DETECTION_MAX_INSTANCES = args.max_detections
    config.GPU_COUNT = config.IMAGES_PER_GPU = 1
    check_fits(config, info)
    config.validate("inference")
    by_class, config.DETECTION_CLASS_CONFIDENCE = config.DETECTION_CLASS_CONFIDENCE, None
    names = class_names(args.classes, config.NUM_CLASSES, args.weights, info.class_names)
    named = _named(args, info, config)
    return Plan(path, config, confidence, by_class, names, named, _read_as(info))


def _named(args: argparse.Namespace, info: WeightsInfo, config: Config) -> bool:
    told = args.classes or info.class_names or args.weights == "balloon"
    return bool(told or len(COCO_NAMES) == config.NUM_CLASSES)


# -- Numbers --------------------------------------------------------------------------------


def _report(
    args: argparse.Namespace, task: Task, plan: Plan | None, collected: Collected, out: Path
) -> int:
    """Measure, write both files and print the table; returns the exit code."""
    most = args.max_detections or max(
        MAX_DETECTIONS, plan.config.DETECTION_MAX_INSTANCES if plan else 0
    )
    most = max(most, collected.most_in_tiles)  # --max-detections is then by tile
    task.tell(crowded(collected, most))
    threshold = args.threshold
    if threshold is None:
        threshold = plan.confidence if plan else FOR_RESULTS
    threshold = max(threshold, args.min_score)
    names = {i: task.name(i) for i in task.image_ids}
    matches = match(collected, IOU, most)
    saved = _save_thresholds(args, task, plan, matches) if args.save_thresholds and plan else ""
    least = None
    if plan and plan.by_class and args.threshold is None:
        least = dict.fromkeys(map(int, task.dataset.class_ids[1:]), threshold)
        least |= {ours: max(plan.by_class[i], args.min_score) for i, ours in task.classes.items()}
    metrics = all_metrics(collected, names, threshold, most, args.min_score, class_thresholds=least)
    chosen = [
        [
            example(task.dataset.load_image(row["id"]), row, collected, matches, least or threshold)
            for row in rows
        ]
        for rows in choose(metrics["per_picture"])
    ]
    about = _about(args, task, plan, metrics)
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / METRICS, json.dumps({"about": about, **metrics}, indent=1) + "\n")
    write_report(out / REPORT, metrics, about, *chosen)
    print(as_text(metrics) + saved)
    print(f"\nWritten to {out}: {METRICS}, {REPORT}")
    return SOME_FAILED if task.failed else 0


def _save_thresholds(args: argparse.Namespace, task: Task, plan: Plan, matches: Matches) -> str:
    """Choose the confidences by class and keep them in the weight file; says which, in lines.

    Raises UsageError where there are too few labels.
    """
    try:
        chosen = choose_thresholds(matches, list(task.classes.values()), args.min_score)
    except ValueError as error:
        raise UsageError(f"--save-thresholds: {error}") from error
    of_weights = [chosen[task.classes.get(i, 0)] for i in range(1, len(plan.names))]
    plan.by_class = [0.0, *(one.score for one in of_weights)]
    told = {
        "scores": plan.by_class,
        "data": str(Path(args.data).resolve()),
        "part": task.part,
        "pictures": len(task.image_ids) - task.failed,
    }
    update_description(plan.path, {CLASS_CONFIDENCE: told})
    lines = ["", "", f"Least confidence by class, kept in {plan.path} for mrcnn detect:"]
    for name, one in zip(plan.names[1:], of_weights):
        why = f"F1 {one.f1:.3f} of {counted(one.labels, 'label')}"
        if one is chosen[0] or one.f1 < 0:
            why = "no labels here: what suits all classes together"
        lines.append(f"  {name:15} {one.score:<6g} {why}")
    return "\n".join(lines)


def _about(
    args: argparse.Namespace, task: Task, plan: Plan | None, metrics: Mapping[str, Any]
) -> dict[str, Any]:
    source = plan.path if plan else Path(args.results)
    crowds = f" and {metrics['crowds']:,} crowds" if metrics["crowds"] else ""
    return {
        "title": f"{source.name} on {Path(args.data).resolve().name}",
        "facts": {
            "Weights" if plan else "Results": str(source.resolve()),
            "Data": str(Path(args.data).resolve()),
            "Part": task.part,
            "Pictures": f"{metrics['pictures']:,}, with {metrics['labels']:,} labels{crowds}",
            "Date": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %z"),
            "Version": f"mrcnn {__version__}",
        },
        "notes": task.notes,
        "config": _settings(plan, metrics, args.min_score),
    }


def _settings(plan: Plan | None, metrics: Mapping[str, Any], least: float) -> dict[str, Any]:
    counting = {
        "Detections of a picture and class that count": metrics["max_detections"],
        "Least confidence for AP": least,
        "Least confidence for counts": metrics["threshold"],
    }
    if plan is None:
        return counting
    told = {**plan.config.hyper_parameters(), "DETECTION_MIN_CONFIDENCE": plan.confidence}
    told["DETECTION_CLASS_CONFIDENCE"] = plan.by_class
    return counting | {name: told[name] for name in _MATTERS if name in told}
