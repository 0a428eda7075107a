"""Say what a weight file holds and which Config fits it; or what this machine is.

mrcnn inspect mask_rcnn_coco.h5
mrcnn inspect exported/cells.onnx
mrcnn inspect --env            # versions, processor, GPU: what a report of a fault should have
"""

import argparse

from mrcnn.cli.weights import check_name
from mrcnn.detect.card import format_of, read_card
from mrcnn.environment import describe
from mrcnn.errors import UsageError
from mrcnn.weights.download import weights_path
from mrcnn.weights.inspection import inspect_weights


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `mrcnn inspect`."""
    parser.add_argument(
        "weights",
        nargs="?",
        metavar="WEIGHTS",
        help="path of an .h5 file, or of what mrcnn export wrote; nucleus, which comes with the "
        "package; or coco, balloon, imagenet: fetched once and kept",
    )
    parser.add_argument(
        "--env",
        action="store_true",
        help="versions, processor, memory, the devices that TensorFlow sees, and a GPU that it "
        "doesn't see, with what to do",
    )


def run(args: argparse.Namespace) -> int:
    """Print what the file holds, or what the machine is.

    Raises UsageError where neither is asked for, or an exported file's card doesn't fit;
    WeightsError and DownloadError.
    """
    if not args.weights and not args.env:
        raise UsageError("give a weight file to look into, or --env for this machine.")
    if args.weights:
        check_name(args.weights, ("start", "nucleus", "coco", "balloon", "imagenet"))
        path = weights_path(args.weights)
        print(read_card(path) if format_of(path) else inspect_weights(path), flush=True)
    if args.weights and args.env:
        print()
    if args.env:
        print(describe())
    return 0
