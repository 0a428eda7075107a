"""A network that is built in a second and runs in milliseconds: config, weights, pictures."""

import numpy as np

from mrcnn.config import Config


class SmallConfig(Config):
    """Every station of the real graph, narrow; random weights pass for detections."""

    NAME = "small"
    BACKBONE = "resnet18_half"
    NUM_CLASSES = 3
    IMAGES_PER_GPU = 1
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    TOP_DOWN_PYRAMID_SIZE = 16
    RPN_CONV_CHANNELS = 16
    MASK_CONV_CHANNELS = 8
    FPN_CLASSIF_FC_LAYERS_SIZE = 16
    POST_NMS_ROIS_INFERENCE = 40
    POST_NMS_ROIS_TRAINING = 40
    TRAIN_ROIS_PER_IMAGE = 16
    DETECTION_MAX_INSTANCES = 20
    DETECTION_MIN_CONFIDENCE = 0.0  # an untrained network is sure of nothing


def small_config(**settings) -> Config:
    """An object of SmallConfig with other settings, set as a subclass would set them."""
    return type("OtherConfig", (SmallConfig,), settings)()


# With these the small network finds both classes in every picture of `blobs`.
SEED = 5
OVERRIDES = {
    "bn*_branch2b/gamma:0": {"low": 0.15, "high": 0.35},  # where a basic block ends
    "fpn_p?/kernel:0": {"gain": 0.3},
    "mrcnn_class_logits/kernel:0": {"gain": 1.0},
    "mrcnn_bbox_fc/kernel:0": {"gain": 0.2},
}


def fill(keras_model, seed: int = SEED) -> None:
    """Give every tensor of a model plausible values that depend on its name and the seed alone."""
    from mrcnn.weights.synthetic import synthetic_arrays

    for layer in keras_model.layers:
        for part in getattr(layer, "layers", [layer]):
            shapes = [(f"{part.name}/{w.name}:0", w.shape) for w in part.weights]
            arrays = synthetic_arrays([(layer.name, shapes)], seed, OVERRIDES)
            for weight, (_, _, values) in zip(part.weights, arrays):
                weight.assign(values)


def blobs(height: int, width: int, seed: int = 0, channels: int = 3) -> np.ndarray:
    """A uint8 picture of six coloured rectangles."""
    rng = np.random.default_rng(seed)
    picture = np.full((height, width, channels), rng.integers(0, 256, channels), np.uint8)
    for _ in range(6):
        y, x = rng.integers(0, height), rng.integers(0, width)
        picture[y : y + height // 3 + 1, x : x + width // 3 + 1] = rng.integers(0, 256, channels)
    return picture


def reconfigured(model, **settings):
    """The same network and its trace under other settings that don't change the graph."""
    other = type(model).__new__(type(model))
    forward = type(model._forward)()
    forward.traced = model._forward.traced
    vars(other).update(vars(model), config=small_config(**settings), _forward=forward)
    return other
