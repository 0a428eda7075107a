"""Write weights as a file for another runtime, proven to find the same things.

mrcnn export cells.h5 --to onnx                     # exported/cells.onnx and its card
mrcnn export nucleus --to openvino --check my_pictures/
mrcnn export cells.h5 --to openvino --size 512      # every picture scaled to fit 512x512
mrcnn export cells.h5 --to saved_model --out served
mrcnn export cells.h5 --to openvino --int8 cells/     # smaller, faster, and measured

The file is run on real pictures and compared with the network instance by instance; where it
finds other things it is not kept. mrcnn detect and evaluate take it as --weights.
"""

import argparse
import re
from pathlib import Path

from mrcnn.cli.arguments import add_config_arguments, add_logs_argument
from mrcnn.cli.configs import apply_setting, load_config
from mrcnn.cli.detector import load_model
from mrcnn.cli.weights import find_weights
from mrcnn.data.sources import find_sources
from mrcnn.detect.card import FORMATS, format_of
from mrcnn.detect.configs import check_fits, class_names, config_from_weights
from mrcnn.errors import UsageError
from mrcnn.weights.inspection import inspect_weights


def picture_size(text: str) -> int | tuple[int, int]:
    """An argparse type: SIDE or HxW, pixels."""
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text} is neither a side nor HEIGHTxWIDTH, such as 512")
    height, width = found.groups()
    return (int(height), int(width)) if width else int(height)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `mrcnn export`."""
    add = parser.add_argument
    add(
        "weights",
        metavar="WEIGHTS",
        help="an .h5 file; or nucleus, coco, balloon, last, best: as in mrcnn detect",
    )
    add("--to", required=True, choices=FORMATS, help="the runtime that the file is for")
    add(
        "--size",
        type=picture_size,
        metavar="SIDE|HxW",
        help="of the network's picture, where it shall always be the same: SIDE scales every "
        "picture to fit a square of it; HxW takes pictures that become that size by the Config "
        "(default: what the Config resizes to)",
    )
    add(
        "--check",
        nargs="+",
        metavar="PICTURES",
        help="files and folders to compare on, best pictures such as you will have (default: "
        "photographs that come with scikit-image)",
    )
    add(
        "--int8",
        metavar="DATA",
        help="with eight bits, for --to openvino: labelled pictures, whose part for training gives "
        "the ranges of values, and whose part for validation the AP before and after",
    )
    add("--out", default="exported", metavar="DIR", help="default: ./exported")
    add_logs_argument(parser)
    add_config_arguments(parser, "as in mrcnn detect")
    add("--classes", metavar="NAMES", help="names of the classes, as in mrcnn detect")


def run(args: argparse.Namespace) -> int:
    """Check everything that can be checked, then build, write, run and compare.

    Raises UsageError, WeightsError, ConfigError, DownloadError or PictureError where it can't
    begin, ProofFailed where the file finds other things, OSError where it can't be written.
    """
    if format_of(args.weights):
        raise UsageError(f"{args.weights} is exported already: give the weights it is made of.")
    path = find_weights(args.weights, args.logs)
    info = inspect_weights(path)
    config = load_config(args.config) if args.config else config_from_weights(info)
    for setting in args.settings:
        apply_setting(config, setting)
    check_fits(config, info)
    config.validate("inference")
    names = class_names(args.classes, config.NUM_CLASSES, args.weights, info.class_names)
    out = Path(args.out).expanduser()
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file: give the folder that the file goes to.")
    check = None
    if args.check:
        sources = find_sources(args.check, out / "fetched")
        check = [source.path for source in sources if not source.is_video]
    model = load_model(config, path, out, print)
    model.class_names = names
    from mrcnn.export.export import export

    export(model, args.to, out, args.size, check, path, int8=args.int8)
    return 0
