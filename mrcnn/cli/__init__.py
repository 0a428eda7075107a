"""The command `mrcnn`, from labelled pictures to weights, a report and detections.

    mrcnn train cells/
    mrcnn evaluate cells/ --subset val --weights last
    mrcnn detect holiday/ --weights coco --out found
    mrcnn inspect mask_rcnn_coco.h5

Nothing here imports TensorFlow before everything that can be checked without it is checked.
"""

from mrcnn.cli.commands import main

__all__ = ["main"]
