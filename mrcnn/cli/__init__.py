"""The command `mrcnn`: `detect` finds instances in pictures, `inspect` looks into a weight file.

    mrcnn detect holiday/ --weights coco --out found
    mrcnn inspect mask_rcnn_coco.h5

Nothing here imports TensorFlow before everything that can be checked without it is checked.
"""

from mrcnn.cli.commands import main

__all__ = ["main"]
