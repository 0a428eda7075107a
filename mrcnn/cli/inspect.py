"""Say what a weight file holds and which Config fits it.

mrcnn inspect mask_rcnn_coco.h5
"""

import argparse

from mrcnn.weights.download import weights_path
from mrcnn.weights.inspection import inspect_weights

HELP = "say what a weight file holds, and which Config fits it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `mrcnn inspect`."""
    parser.add_argument(
        "weights",
        metavar="WEIGHTS",
        help="path of an .h5 file; nucleus, which comes with the package; or coco, balloon, "
        "imagenet: fetched once and kept",
    )


def run(args: argparse.Namespace) -> int:
    """Print what the file holds. Raises WeightsError and DownloadError."""
    print(inspect_weights(weights_path(args.weights)))
    return 0
