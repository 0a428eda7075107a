"""`--weights synthetic`: a small network with made-up weights, to try everything without a file."""

import hashlib
import json
import os
from pathlib import Path

from mrcnn.config import Config
from mrcnn.devices import quiet_tensorflow
from mrcnn.errors import UsageError
from mrcnn.weights.files import open_weights
from mrcnn.weights.synthetic import write_synthetic

NAME = "synthetic"
CLASS_NAMES = ["BG", "synthetic A", "synthetic B", "synthetic C"]
NOTE = (
    "The weights are synthetic, made from random numbers and never trained: the instances mean "
    "nothing and only show that everything runs."
)

_SEED = 101
# Random weights find either nothing or a carpet of boxes. These gains and biases bring the scores
# into the range where a handful of instances passes the threshold.
_OVERRIDES = {
    "fpn_p?/kernel:0": {"gain": 0.26},
    "rpn_class_raw/kernel:0": {"gain": 0.77},
    "rpn_class_raw/bias:0": {"values": [0.0, 2.2, 0.0, 2.8, 0.0, -2.6]},
    "rpn_bbox_pred/kernel:0": {"gain": 0.53},
    "mrcnn_class_logits/kernel:0": {"gain": 1.67},
    "mrcnn_class_logits/bias:0": {"values": [0.25, -0.58, -9.0, -0.07]},
    "mrcnn_bbox_fc/kernel:0": {"gain": 0.22},
    "mrcnn_mask/kernel:0": {"gain": 0.99},
    "mrcnn_mask/bias:0": {"values": [1.0, 1.3, 1.0, -2.5]},
}


class SyntheticConfig(Config):
    """A network small enough to be quick on any computer."""

    NAME = NAME
    BACKBONE = "resnet50"
    NUM_CLASSES = len(CLASS_NAMES)
    IMAGES_PER_GPU = 1
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 256
    RPN_ANCHOR_SCALES = (48, 80, 128, 192, 256)
    POST_NMS_ROIS_INFERENCE = 100
    DETECTION_MAX_INSTANCES = 8
    DETECTION_MIN_CONFIDENCE = 0.6


def synthetic_weights() -> Path:
    """Path of the weight file for SyntheticConfig, written on first use; loads TensorFlow then.

    It is kept in the folder MRCNN_HOME, or ~/.mrcnn, under a name that follows its contents.
    Raises UsageError where that folder can't be written to.
    """
    recipe = json.dumps([_SEED, _OVERRIDES, SyntheticConfig().to_dict()], default=str)
    key = hashlib.sha256(recipe.encode()).hexdigest()[:8]
    home = Path(os.environ.get("MRCNN_HOME") or Path.home() / ".mrcnn")
    path = home / f"mask_rcnn_synthetic_{key}.h5"
    if path.exists():
        return path
    try:
        home.mkdir(parents=True, exist_ok=True)
        _write(path)
    except OSError as error:
        raise UsageError(
            f"can't write the synthetic weights (about 180 MB) to {home}: {error.strerror}. Set "
            "the variable MRCNN_HOME to a folder with room for them."
        ) from error
    return path


def _write(path: Path) -> None:
    with quiet_tensorflow():
        from mrcnn.model import MaskRCNN

    # The model knows the names and shapes best; it tells them through a file of its own.
    untrained = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        MaskRCNN("inference", SyntheticConfig(), path.parent).save_weights(untrained)
        with open_weights(untrained) as file:
            layers: dict[str, list] = {}
            for (layer, weight), tensor in file.tensors.items():
                layers.setdefault(layer, []).append((f"{layer}/{weight}:0", tensor.shape))
    finally:
        untrained.unlink(missing_ok=True)
    write_synthetic(path, layers.items(), _SEED, _OVERRIDES)
