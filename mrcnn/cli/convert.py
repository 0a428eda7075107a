"""Write labelled pictures in another format. The pictures stay where they are.

mrcnn data convert cells/ --to via cells_via.json       # a project file of VIA 2
mrcnn data convert cells/ --to labelme corrected/       # LabelMe's file for each picture
mrcnn data convert cells/ --to coco out                 # out/coco.json, or out/train/coco.json ..
mrcnn data convert cells/ --to yolo out                 # out/data.yaml, out/train/images ..
mrcnn data convert cells/ --to labelstudio out          # tasks to import; or --to cvat
mrcnn data convert cells/ --to geojson out              # for QuPath; of GeoTIFFs, for QGIS
mrcnn data convert cells/ --with found/via.json --to coco both      # two sets as one

Annotation files that are there already are kept, unless --force is given.
"""

import argparse
from collections.abc import Collection
from pathlib import Path
from typing import Any

from mrcnn.cli.arguments import add_force_argument, add_parts_arguments, reading
from mrcnn.data.classes import used_classes
from mrcnn.data.dataset import Dataset
from mrcnn.data.joining import WHOLE, each_part, part_names
from mrcnn.data.writers import WRITERS, labelled, place
from mrcnn.errors import UsageError
from mrcnn.progress import Progress, plain_warnings
from mrcnn.whole import check_free
from mrcnn.words import counted, listed

HELP = "write labelled pictures in another format"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `mrcnn data convert`."""
    add_parts_arguments(parser)
    add = parser.add_argument
    add(
        "out",
        metavar="OUT",
        help="a .json file (.xml for cvat) or a folder for it; for labelme, yolo and geojson a "
        "folder; "
        "where DATA has parts (train, val), a folder that gets one for each",
    )
    add("--to", required=True, choices=list(WRITERS), help="the format to write")
    add_force_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Convert part by part; returns 0.

    Raises UsageError, FormatError or PictureError where DATA can't be read, FileExistsError where
    annotation files are in the way, OSError where they can't be written.
    """
    parts = part_names(args.data, args.format, args.subset)
    out = Path(args.out).expanduser()
    several = not args.subset and parts != [WHOLE]
    if several and out.suffix in (".json", ".xml"):
        raise UsageError(
            f"{args.data} has the parts {', '.join(parts)}: name one with --subset, or give a "
            f"folder instead of {out}."
        )
    places = {part: place(out / part if several else out, args.to) for part in parts}
    if not args.force:
        for path in places.values():
            check_free(path)
    datasets = dict(
        each_part(args.data, args.format, args.subset, added=args.added, **reading(args))
    )
    # All parts list the same classes: those that have an instance in any of them.
    used = used_classes(datasets.values(), crowds=True)
    for part, dataset in datasets.items():
        top = out if several and args.to == "yolo" else None
        convert(dataset, args.to, places[part], args.force, used, top)
    return 0


def convert(
    dataset: Dataset,
    to: str,
    path: Path,
    force: bool,
    used: Collection[str] | None,
    top: Path | None = None,
) -> None:
    """Write a prepared dataset and tell what was written and left out.

    used: the names of the classes that the file lists, None for all. top: the folder above the
    parts of a YOLO set, for which one file tells all.
    """
    names = [info["name"] for info in dataset.class_info]
    ids = [info["id"] for info in dataset.class_info]
    own_ids = to == "coco" and len(set(ids)) == len(ids) and {type(i) for i in ids} == {int}
    used_ids = [i for i, name in enumerate(names) if i and (used is None or name in used)]
    options: dict[str, Any] = {"category_ids": ids} if own_ids else {}
    if top:
        options["top"] = top
    progress = Progress(dataset.num_images)
    with plain_warnings(progress):
        try:
            with WRITERS[to](path, names, overwrite=force, used=used_ids, **options) as writer:
                for item in labelled(dataset, writer.folder):
                    writer.add(item)
                    progress.advance()
        finally:
            progress.close()
    told = listed((names[i] for i in used_ids), 5)
    print(
        f"{path}: {counted(dataset.num_images, 'picture')}, "
        f"{counted(writer.num_instances, 'instance')} of {told} ({to})"
    )
    for kind, notes in (("reading", dataset.notes), ("writing", writer.notes)):
        for note in notes:
            print(f"  - ({kind}) {note}")
