"""Look at labelled pictures before training: their numbers, their mistakes, and a page of them.

mrcnn data check cells/                      # counts, sizes, boxes against anchors, mistakes
mrcnn data check cells/ --config cells.py:CellsConfig
mrcnn data show cells/ --out sheet.png       # pictures with their masks and class names drawn
mrcnn data convert cells/ --to via out       # the same labels for another tool
mrcnn data review cells/ --weights cells.h5  # labels that are probably wrong, as a page

convert keeps annotation files that are there already, unless --force is given. Each of the three
takes several sets as one: DATA --with MORE.
"""

import argparse
import copy
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from mrcnn.cli import convert, data_review
from mrcnn.cli.arguments import (
    add_config_arguments,
    add_parts_arguments,
    add_picture_arguments,
    number,
    reading,
)
from mrcnn.cli.configs import apply_setting, load_config
from mrcnn.config import Config, explicit_names
from mrcnn.data.classes import count_labels, disagreement
from mrcnn.data.dataset import Dataset
from mrcnn.data.inputs import load_mask
from mrcnn.data.joining import WHOLE, each_part
from mrcnn.data.parts import is_called, kept_for_validation
from mrcnn.data.pictures import write_png
from mrcnn.data.scaling import Rule
from mrcnn.data.survey import Survey, badly_met, suggest_scales, take_survey
from mrcnn.drawing.sheet import Tile, contact_sheet
from mrcnn.errors import UsageError
from mrcnn.progress import Progress, plain_warnings
from mrcnn.words import counted, listed

MISTAKES_FOUND = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `mrcnn data`: those of each of the things it does."""
    kinds = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    check = kinds.add_parser("check", help="tell numbers and mistakes", allow_abbrev=False)
    show = kinds.add_parser("show", help="draw pictures on a page", allow_abbrev=False)
    for one in (check, show):
        add_parts_arguments(one)
        add_picture_arguments(one)
    show.set_defaults(settings=[])
    for what, module in (("convert", convert), ("review", data_review)):
        module.add_arguments(
            kinds.add_parser(
                what,
                help=module.HELP,
                description=module.__doc__,
                formatter_class=argparse.RawDescriptionHelpFormatter,
                allow_abbrev=False,
            )
        )
    for one in kinds.choices.values():
        # What `mrcnn data` itself understands, behind WHAT too.
        one.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )
    add_config_arguments(
        check, "the Config that boxes and counts are compared with (default: the package's)"
    )
    show.add_argument("--out", default="sheet.png", metavar="FILE", help="default: ./sheet.png")
    show.add_argument(
        "--count",
        type=number(int, 1, 100),
        default=12,
        metavar="N",
        help="pictures to draw (default: 12)",
    )
    show.add_argument(
        "--seed", type=int, default=0, metavar="N", help="another number, other pictures"
    )


def run(args: argparse.Namespace) -> int:
    """Check, show, convert or review. Returns 0, or 1 where mistakes were found.

    Raises UsageError, FormatError or ConfigError where it can't begin, OSError where the sheet
    can't be written.
    """
    if args.what == "check":
        return check(args)
    if args.what == "convert":
        return convert.run(args)
    if args.what == "review":
        return data_review.run(args)
    show(args)
    return 0


def _parts(args: argparse.Namespace, config: Config | None = None) -> Iterator[tuple[str, Dataset]]:
    """config: says how files are looked at; without it, --range and the like alone."""
    if config is None:
        config = Config()
        for setting in args.settings:
            apply_setting(config, setting)
    rule = Rule.of(config)
    parts = each_part(args.data, args.format, args.subset, added=args.added, **reading(args))
    for part, dataset in parts:
        dataset.rule = rule
        yield part, dataset


# -- check ----------------------------------------------------------------------------------


def check(args: argparse.Namespace) -> int:
    """Print what each part is like and what is wrong with it."""
    config = load_config(args.config) if args.config else Config()
    for setting in args.settings:
        apply_setting(config, setting)
    given = bool(args.config or args.settings)
    count_classes = "NUM_CLASSES" not in explicit_names(config)
    found = 0
    labels: dict[str, Counter[str]] = {}  # of each part
    for part, dataset in _parts(args, config):
        labels[part] = count_labels(dataset)
        name = args.data if part == WHOLE else f"{args.data}, {part}"
        print(f"{name}: {counted(dataset.num_images, 'picture')} ({dataset.format})")
        if count_classes:
            config.NUM_CLASSES = dataset.num_classes
        read = list(dataset.notes)
        for note in read:
            print(f"  - (reading) {note}")
        progress = Progress(dataset.num_images)
        with plain_warnings(progress):
            survey = take_survey(dataset, config if given else None, seen=progress.advance)
        progress.close()
        for note in dataset.notes:  # what showed in the pictures
            if note not in read:
                print(f"  - (reading) {note}")
        print("\n".join(f"  {line}" for line in describe(survey, config, given)))
        print(f"  {survey.report}".replace("\n", "\n  "))
        found += len(survey.report.mistakes)
    for mistake in _disagreements(labels, args.class_name):
        print(f"  - {mistake}")
        found += 1
    return MISTAKES_FOUND if found else 0


def _disagreements(labels: Mapping[str, Counter[str]], class_name: str) -> Iterator[str]:
    """What parts for training and for validation don't agree about."""
    train, val = (
        [counts for part, counts in labels.items() if is_called(part, which)]
        for which in ("train", "val")
    )
    for one in train:
        for other in val:
            if mistake := disagreement(one, other, class_name):
                yield mistake


def describe(survey: Survey, config: Config, given: bool) -> list[str]:
    """The numbers of a survey as lines. given: the user gave the config to compare with."""
    if not len(survey.sizes):
        return []
    by_area = survey.sizes[np.argsort(survey.sizes.prod(axis=1), kind="stable")]
    least, median, most = (f"{w}x{h}" for h, w in by_area[[0, len(by_area) // 2, -1]])
    counts = survey.counts
    lines = [
        f"picture sizes     {least} to {most}, median {median} (width x height)",
        f"instances         {counts.sum():,}; a picture has {counts.min()} to {counts.max()}, "
        f"median {np.median(counts):g}; MAX_GT_INSTANCES is {config.MAX_GT_INSTANCES}",
    ]
    if survey.crowds:
        lines.append(f"crowds            {survey.crowds:,}")
    per_class = survey.per_class()
    for name, (instances, pictures) in per_class.items():
        if instances:
            lines.append(f"  {name:15} {instances:,} in {counted(pictures, 'picture')}")
    absent = [name for name, (instances, _) in per_class.items() if not instances]
    if absent:
        lines.append(f"  no instance     {listed(absent)}")
    if not len(survey.boxes):
        return lines
    boxes = survey.network_boxes(config)
    network_sizes = boxes[:, 2:] - boxes[:, :2]
    for what, sizes in (("box sizes", survey.box_sizes), ("in the network", network_sizes)):
        small, median, large = np.percentile(np.sqrt(sizes.prod(axis=1)), [5, 50, 95])
        lines.append(
            f"{what:17} {median:.0f} pixels (root of the area, median); 5 % are below {small:.0f}, "
            f"5 % above {large:.0f}"
        )
    scales, better = tuple(config.RPN_ANCHOR_SCALES), suggest_scales(boxes, config)
    lines.append(
        f"anchors           {badly_met(boxes, config):.0%} of the boxes meet none of "
        f"RPN_ANCHOR_SCALES = {scales} with an IoU of 0.5"
    )
    if better != scales:
        config = copy.copy(config)
        config.RPN_ANCHOR_SCALES = better
        lines.append(f"                  {better} would leave {badly_met(boxes, config):.0%}")
    if not given:
        lines.append("(compared with the package's own Config; mrcnn train chooses by the data)")
    return lines


# -- show -----------------------------------------------------------------------------------


def show(args: argparse.Namespace) -> None:
    """Draw some pictures of all parts on one sheet."""
    out = Path(args.out).expanduser()
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder: give the name of a PNG file.")
    if out.suffix.lower() != ".png":
        raise UsageError(f"--out {out}: the sheet is a PNG picture; let its name end in .png.")
    pictures = _pictures(args)
    rng = np.random.default_rng(args.seed)
    chosen = sorted(rng.choice(len(pictures), min(args.count, len(pictures)), replace=False))
    drawn = [pictures[i] for i in chosen]
    progress = Progress(len(drawn))
    with plain_warnings(progress):
        # Parts may differ in their classes, so each tile brings its own names.
        sheet = contact_sheet(_tiles(drawn, progress), len(drawn))
    progress.close()
    out.parent.mkdir(parents=True, exist_ok=True)
    write_png(out, sheet)
    parts = Counter(part for part, _, _ in drawn)
    of_parts = ", ".join(f"{count} of {part}" for part, count in parts.items())
    print(
        f"{len(drawn)} of {counted(len(pictures), 'picture')} drawn ({of_parts}): {out} "
        "(--seed draws others)"
    )


def _pictures(args: argparse.Namespace) -> list[tuple[str, Dataset, int]]:
    """(part, dataset, image id) of all pictures, part by part, as training takes them apart."""
    found = [(part, dataset, int(i)) for part, dataset in _parts(args) for i in dataset.image_ids]
    names = {part for part, _, _ in found}
    if args.subset or args.added or any(is_called(name, "val") for name in names):
        return found
    for part, dataset in {part: dataset for part, dataset, _ in found}.items():
        if dataset.num_images > 1 and (part == WHOLE or is_called(part, "train")):
            kept = kept_for_validation(dataset)
            found = [
                (("val" if i in kept else "train") if whole == part else whole, d, i)
                for whole, d, i in found
            ]
    return sorted(found, key=lambda picture: picture[0])


def _tiles(pictures: list[tuple[str, Dataset, int]], progress: Progress) -> Iterator[Tile]:
    for part, dataset, image_id in pictures:
        image = dataset.load_image(image_id)
        masks, class_ids = load_mask(dataset, image_id, image.shape)
        names = dataset.class_names
        counts = Counter(names[class_id] for class_id in np.abs(class_ids))
        told = ", ".join(f"{name} {count}" for name, count in counts.most_common()) or "nothing"
        name = Path(dataset.image_info[image_id]["path"] or str(image_id)).name
        if len(name) > 30:  # the ends tell such names apart
            name = f"{name[:10]}..{name[-18:]}"
        yield Tile(image, masks, class_ids, names, f"{part}, {name}: {told}")
        progress.advance()
