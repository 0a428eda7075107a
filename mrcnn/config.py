"""Hyper-parameters. Subclass `Config`, override what differs, give the object to `MaskRCNN`.

    class CellsConfig(Config):
        NAME = "cells"
        NUM_CLASSES = 1 + 1          # background + cell
        IMAGE_MIN_DIM = IMAGE_MAX_DIM = 512

Names and defaults are those of Matterport's Mask R-CNN, so an old subclass works unchanged.
Pixels are pixels of the resized picture that enters the network.
"""

import difflib
import inspect
import json
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

RESIZE_MODES = ("none", "square", "pad64", "crop")
BACKBONES = ("resnet18_half", "resnet18", "efficientnet_lite0", "resnet50", "resnet101")
SCHEDULES = ("constant", "cosine", "step")
Numbers = Sequence[float] | np.ndarray
PRECISIONS = {False: None, True: "mixed_float16", "bfloat16": "mixed_bfloat16"}  # Keras's policy


class ConfigError(ValueError):
    """A hyper-parameter has a value with which no network can be built."""


class _Computed:
    """An attribute that follows the others until somebody assigns it.

    Old scripts assign `BATCH_SIZE` or `IMAGE_SHAPE` themselves, and others change
    `IMAGES_PER_GPU` on a finished object and expect `BATCH_SIZE` to follow; both work.
    """

    def __init__(self, compute: Callable[["Config"], Any], doc: str) -> None:
        self._compute = compute
        self.__doc__ = doc

    def __get__(self, config: "Config | None", owner: type | None = None) -> Any:
        return self if config is None else self._compute(config)


def _image_shape(config: "Config") -> np.ndarray:
    side = config.IMAGE_MIN_DIM if config.IMAGE_RESIZE_MODE == "crop" else config.IMAGE_MAX_DIM
    return np.array([side, side, config.IMAGE_CHANNEL_COUNT])


class Config:
    """Every hyper-parameter of the network, of training and of detection."""

    # -- Run --------------------------------------------------------------------------------
    NAME: str | None = None  # names the log folder and the checkpoints: mask_rcnn_<name>_0001.h5
    GPU_COUNT = 1  # devices that share one batch
    IMAGES_PER_GPU = 2  # pictures a device sees at a time; 1024x1024 needs about 6 GB each
    STEPS_PER_EPOCH = 1000  # batches between two checkpoints
    VALIDATION_STEPS = 50  # batches of validation after each epoch

    # -- Backbone and pyramid ---------------------------------------------------------------
    BACKBONE: str | Callable = "resnet101"  # one of BACKBONES, or a function
    COMPUTE_BACKBONE_SHAPE: Callable | None = None  # f(image_shape) -> [[h, w]] of P2..P6
    BACKBONE_STRIDES: Numbers = [4, 8, 16, 32, 64]  # pixels between two cells of P2..P6
    FPN_CLASSIF_FC_LAYERS_SIZE = 1024  # units of the two dense layers of the box head
    TOP_DOWN_PYRAMID_SIZE = 256  # channels of every pyramid level
    RPN_CONV_CHANNELS = 512  # of the proposal network's shared convolution
    MASK_CONV_CHANNELS = 256  # of the mask head's convolutions

    NUM_CLASSES = 1  # background included: 1 + your own

    # -- Region proposals -------------------------------------------------------------------
    RPN_ANCHOR_SCALES: Numbers = (32, 64, 128, 256, 512)  # sides of squares on P2..P6, pixels
    RPN_ANCHOR_RATIOS: Numbers = [0.5, 1, 2]  # width / height of the anchors in a cell
    RPN_ANCHOR_STRIDE = 1  # 1: anchors in every cell; 2: in every other one
    RPN_NMS_THRESHOLD = 0.7  # IoU above which the weaker of two proposals goes
    RPN_TRAIN_ANCHORS_PER_IMAGE = 256  # anchors that carry RPN loss
    PRE_NMS_LIMIT = 6000  # best anchors that enter non-maximum suppression
    POST_NMS_ROIS_TRAINING = 2000  # proposals kept in training
    POST_NMS_ROIS_INFERENCE = 1000  # proposals kept in inference

    # -- Input ------------------------------------------------------------------------------
    USE_MINI_MASK = True  # train on masks cropped to their box: much less memory
    MINI_MASK_SHAPE: Numbers = (56, 56)  # [height, width] of such a mask
    IMAGE_RESIZE_MODE = "square"  # none | square | pad64 | crop
    IMAGE_MIN_DIM: int | None = 800  # the short side grows to this, as far as the long one allows
    IMAGE_MAX_DIM = 1024  # the long side is never longer; side of the padded square
    IMAGE_MIN_SCALE: float = 0  # scale up at least this much, whatever IMAGE_MIN_DIM says; 0: off
    IMAGE_CHANNEL_COUNT = 3  # 3: RGB; MEAN_PIXEL must have as many values
    MEAN_PIXEL: Numbers | float = np.array([123.7, 116.8, 103.9])  # subtracted from 0..255, RGB
    IMAGE_RANGE: str | Numbers = "auto"  # of a file, what becomes 0..255: auto | type | (low, high)
    IMAGE_CHANNELS: Numbers | None = None  # of a file, counted from 0; None: the first ones
    IMAGE_PLANE: int | None = None  # of a stack in a file, counted from 0; None: the first, told

    # -- Regions ----------------------------------------------------------------------------
    TRAIN_ROIS_PER_IMAGE = 200  # regions that train the heads; the paper takes 512
    ROI_POSITIVE_RATIO = 0.33  # wanted share of positives among them
    POOL_SIZE = 7  # ROIAlign grid of the box head
    MASK_POOL_SIZE = 14  # ROIAlign grid of the mask head
    MASK_SHAPE: Numbers = [28, 28]  # the mask head doubles its grid
    MAX_GT_INSTANCES = 100  # labelled instances used per picture; the rest are left out
    RPN_BBOX_STD_DEV: Numbers = np.array([0.1, 0.1, 0.2, 0.2])  # scale of (dy, dx, log dh, log dw)
    BBOX_STD_DEV: Numbers = np.array([0.1, 0.1, 0.2, 0.2])  # the same for the box head

    # -- Detection --------------------------------------------------------------------------
    DETECTION_MAX_INSTANCES = 100  # most instances returned for a picture
    DETECTION_MIN_CONFIDENCE = 0.7  # instances with a lower score are dropped; 0 keeps all
    DETECTION_CLASS_CONFIDENCE: list[float] | None = None  # one for each class id, in its place
    DETECTION_NMS_THRESHOLD = 0.3  # IoU above which the weaker of two of one class goes
    DETECTION_EVERY_CLASS = False  # True: a region counts for every class, not its likeliest alone

    # -- Optimiser --------------------------------------------------------------------------
    LEARNING_RATE = 0.001  # the paper's 0.02 makes TensorFlow's weights explode
    LEARNING_MOMENTUM = 0.9
    WEIGHT_DECAY = 0.0001  # L2, divided by each tensor's size; batch-norm scale and shift free
    LOSS_WEIGHTS = {
        "rpn_class_loss": 1.0,
        "rpn_bbox_loss": 1.0,
        "mrcnn_class_loss": 1.0,
        "mrcnn_bbox_loss": 1.0,
        "mrcnn_mask_loss": 1.0,
    }
    USE_RPN_ROIS = True  # False: train the heads on regions that the generator makes up
    TRAIN_BN: bool | None = False  # False: frozen (small batches); None: trained; True: always on
    GRADIENT_CLIP_NORM = 5.0  # bound on the global norm of all gradients

    # -- Training, beyond the original; the defaults change nothing -----------------------------
    SEED: int | None = None  # settles shuffling, augmentation and sampling; None: drawn anew
    TRAIN_ON_EMPTY_IMAGES = False  # True: pictures without instances count as background
    LEARNING_RATE_SCHEDULE = "constant"  # constant | cosine (to 0) | step (a tenth at 2/3, 8/9)
    WARMUP_STEPS = 0  # batches over which the learning rate grows from 0
    ACCUMULATE_GRADIENTS = 1  # batches added up before the weights move
    MIXED_PRECISION: bool | str = False  # convolutions in float16 (True, for GPUs) or in "bfloat16"
    KEEP_CHECKPOINTS = 0  # only the newest so many stay on disk; 0: all
    KEEP_BEST = False  # True: the best one is kept besides, as mask_rcnn_<name>_best.h5
    SAVE_BEST_ONLY = False  # True: keep only the checkpoint with the lowest validation loss
    EARLY_STOPPING_PATIENCE = 0  # stop after so many epochs without a lower one; 0: never
    VALIDATION_AP_EVERY = 0  # epochs between two measurements of COCO mask AP; 0: by the share
    VALIDATION_AP_SHARE = 0.0  # of the time, that measuring it may take in all; 0: never
    WORKERS: int | None = None  # processes that make batches; None: by cores; 0: threads alone

    # -- Computed ---------------------------------------------------------------------------
    BATCH_SIZE: Any = _Computed(
        lambda c: c.IMAGES_PER_GPU * c.GPU_COUNT, "Pictures in a batch over all devices."
    )
    IMAGE_SHAPE: Any = _Computed(_image_shape, "[height, width, channels] of the network's input.")
    IMAGE_META_SIZE: Any = _Computed(
        lambda c: 1 + 3 + 3 + 4 + 1 + c.NUM_CLASSES,
        "Length of an image meta row: id, original shape, shape, window, scale, active classes.",
    )

    def __init__(self) -> None:
        self._warn_of_misspellings()

    def display(self) -> None:
        """Print every hyper-parameter and its value."""
        print("\nConfigurations:")
        for name, value in self.to_dict().items():
            print(f"{name:30} {value}")
        print("\n")

    def to_dict(self) -> dict[str, Any]:
        """All values by name, in alphabetical order, computed and own ones included."""
        return {name: getattr(self, name) for name in _public_names(self)}

    def hyper_parameters(self) -> dict[str, Any]:
        """The values that JSON can hold of the attributes that `Config` itself has.

        They travel inside a checkpoint, so that it can be used without the program that made it.
        """
        values = {name: getattr(self, name) for name in hyper_parameter_names()}
        plain = {name: _plain(value) for name, value in values.items()}
        return {name: value for name, value in plain.items() if value is not _NOT_PLAIN}

    def validate(self, mode: str = "inference") -> None:
        """Refuse values with which no network can be built.

        mode: "inference" or "training"; what only training reads is checked only then.
        Raises ConfigError, one line for each mistake found.
        """
        mistakes = _kind_mistakes(self) or [
            *_input_mistakes(self),
            *_anchor_mistakes(self),
            *_number_mistakes(self),
        ]
        if mode == "training":
            mistakes += _training_mistakes(self)
        if mistakes:
            heading = f"{type(self).__name__} can't be built into a network:"
            raise ConfigError("\n  - ".join([heading, *mistakes]))
        if self.NUM_CLASSES == 1:
            warnings.warn(
                "NUM_CLASSES is 1, which is the background alone: set it to 1 + your classes.",
                stacklevel=3,
            )

    def _warn_of_misspellings(self) -> None:
        known = {name for name in vars(Config) if name.isupper()}
        for name in dir(self):
            if name in known or not name.isupper() or callable(getattr(self, name)):
                continue
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
            if close:
                warnings.warn(
                    f"{type(self).__name__}.{name} is not a hyper-parameter of Mask R-CNN: "
                    f"did you mean {close[0]}? (An attribute of your own may have any name.)",
                    stacklevel=3,
                )


def hyper_parameter_names() -> list[str]:
    """The attributes of `Config` that are set, not computed, in the order above."""
    return [
        name
        for name, value in vars(Config).items()
        if name.isupper() and not isinstance(value, _Computed)
    ]


_NOT_PLAIN = object()


def _plain(value: Any) -> Any:
    """A value as JSON takes it, or _NOT_PLAIN."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError):
        return _NOT_PLAIN


def function_of(config: Config, name: str) -> Callable | None:
    """The function that stands under `name`, or None where there is none.

    A plain function written into a class body turns into a method and would get the config as
    its first argument; it is handed back as it was written.
    """
    function = getattr(config, name)
    if not callable(function):
        return None
    if inspect.ismethod(function):
        first = next(iter(inspect.signature(function.__func__).parameters), None)
        if first not in ("self", "cls", "config"):
            return function.__func__
    return function


def _public_names(config: Config) -> list[str]:
    may_be_functions = ("BACKBONE", "COMPUTE_BACKBONE_SHAPE")
    return [
        name
        for name in dir(config)
        if not name.startswith("_")
        and (name in may_be_functions or not callable(getattr(config, name)))
    ]


def _input_mistakes(config: Config) -> list[str]:
    mistakes = []
    backbone = config.BACKBONE
    if not callable(backbone) and backbone not in BACKBONES:
        mistakes.append(
            f"BACKBONE is {backbone!r}: it must be one of {', '.join(BACKBONES)}, or a function "
            "(input_image, stage5, train_bn) -> [C1, C2, C3, C4, C5]."
        )
    if config.IMAGE_RESIZE_MODE not in RESIZE_MODES:
        mistakes.append(
            f"IMAGE_RESIZE_MODE is {config.IMAGE_RESIZE_MODE!r}: it must be one of "
            f"{', '.join(RESIZE_MODES)}."
        )
        return mistakes
    if config.MIXED_PRECISION not in tuple(PRECISIONS):
        mistakes.append(
            f"MIXED_PRECISION is {config.MIXED_PRECISION!r}: it must be False, True (float16) or "
            '"bfloat16".'
        )
    shape = np.asarray(config.IMAGE_SHAPE)
    source = "IMAGE_MIN_DIM" if config.IMAGE_RESIZE_MODE == "crop" else "IMAGE_MAX_DIM"
    for side in dict.fromkeys(shape[:2].tolist()):
        if side < 64 or side % 64:
            low, high = max(64, int(side) // 64 * 64), (int(side) // 64 + 1) * 64
            near = f"{low} or {high}" if low != high else f"{low}"
            mistakes.append(
                f"the network's picture would be {shape[0]}x{shape[1]} (from {source}): a side "
                f"must be divisible by 64, for it is halved six times. Near {side} are {near}."
            )
    mean = np.atleast_1d(config.MEAN_PIXEL)
    if mean.dtype.kind not in "iuf":
        mistakes.append(f"MEAN_PIXEL is {config.MEAN_PIXEL!r}: it must be numbers, one a channel.")
    elif mean.size not in (1, config.IMAGE_CHANNEL_COUNT):
        mistakes.append(
            f"MEAN_PIXEL has {mean.size} values and IMAGE_CHANNEL_COUNT is "
            f"{config.IMAGE_CHANNEL_COUNT}: give one value for each channel."
        )
    low_high = np.asarray(config.IMAGE_RANGE)
    pair = low_high.shape == (2,) and low_high.dtype.kind in "iuf" and low_high[0] < low_high[1]
    if not pair and config.IMAGE_RANGE not in ("auto", "type"):
        mistakes.append(f"IMAGE_RANGE is {config.IMAGE_RANGE!r}: it is auto, type, or (low, high).")
    for name in ("IMAGE_CHANNELS", "IMAGE_PLANE"):
        numbers = np.ravel([] if getattr(config, name) is None else getattr(config, name))
        if numbers.size and (numbers.dtype.kind not in "iu" or numbers.min() < 0):
            mistakes.append(f"{name} is {getattr(config, name)!r}: it counts from 0; or None.")
    return mistakes


def _anchor_mistakes(config: Config) -> list[str]:
    mistakes = []
    scales, strides = config.RPN_ANCHOR_SCALES, config.BACKBONE_STRIDES
    if np.ndim(scales) != 1 or np.ndim(strides) != 1 or len(scales) != len(strides):
        mistakes.append(
            f"RPN_ANCHOR_SCALES {tuple(np.ravel(scales).tolist())} and BACKBONE_STRIDES "
            f"{tuple(np.ravel(strides).tolist())} differ in length: each pyramid level needs "
            "one scale and one stride."
        )
    elif len(strides) != 5:
        mistakes.append(f"BACKBONE_STRIDES has {len(strides)} entries: the pyramid is P2..P6, 5.")
    for name, values in (("RPN_ANCHOR_SCALES", scales), ("BACKBONE_STRIDES", strides)):
        values = np.ravel(values)
        if values.dtype.kind not in "iuf" or (values <= 0).any():
            mistakes.append(f"{name} is {values.tolist()!r}: it must be positive numbers.")
    ratios = np.ravel(config.RPN_ANCHOR_RATIOS)
    numbers = ratios.size and ratios.dtype.kind in "iuf"
    if not numbers or np.ndim(config.RPN_ANCHOR_RATIOS) != 1 or (ratios <= 0).any():
        mistakes.append(
            f"RPN_ANCHOR_RATIOS is {config.RPN_ANCHOR_RATIOS!r}: it must be a list of positive "
            "numbers, at least one."
        )
    if not callable(config.BACKBONE) and list(strides) != [4, 8, 16, 32, 64]:
        mistakes.append(
            f"BACKBONE_STRIDES is {list(strides)}: those of a ResNet are [4, 8, 16, 32, 64]; "
            "others need a BACKBONE function that has them."
        )
    return mistakes


# Name, least value; what the graph is built from and must be a whole number.
_WHOLE_NUMBERS = {
    "GPU_COUNT": 1,
    "IMAGES_PER_GPU": 1,
    "NUM_CLASSES": 1,
    "IMAGE_CHANNEL_COUNT": 1,
    "IMAGE_MIN_DIM": 0,
    "IMAGE_MAX_DIM": 1,
    "FPN_CLASSIF_FC_LAYERS_SIZE": 1,
    "TOP_DOWN_PYRAMID_SIZE": 1,
    "RPN_CONV_CHANNELS": 1,
    "MASK_CONV_CHANNELS": 1,
    "RPN_ANCHOR_STRIDE": 1,
    "PRE_NMS_LIMIT": 1,
    "POST_NMS_ROIS_INFERENCE": 1,
    "POST_NMS_ROIS_TRAINING": 1,
    "POOL_SIZE": 1,
    "MASK_POOL_SIZE": 1,
    "DETECTION_MAX_INSTANCES": 1,
    "BATCH_SIZE": 1,
}
_FRACTIONS = (
    *("RPN_NMS_THRESHOLD", "DETECTION_NMS_THRESHOLD", "ROI_POSITIVE_RATIO"),
    "VALIDATION_AP_SHARE",
)


def _kind_mistakes(config: Config) -> list[str]:
    """Values that aren't numbers; the other checks calculate with them."""
    mistakes = []
    for name, least in _WHOLE_NUMBERS.items():
        if name == "BATCH_SIZE" and mistakes:
            break  # it is computed from others
        value = getattr(config, name)
        number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        optional = value is None and name == "IMAGE_MIN_DIM"
        if not optional and not (number and np.isfinite(value)):
            mistakes.append(f"{name} is {value!r}: it must be a whole number of at least {least}.")
    return mistakes


def _number_mistakes(config: Config) -> list[str]:
    mistakes = []
    for name, least in _WHOLE_NUMBERS.items():
        value = getattr(config, name)
        if value is None and name == "IMAGE_MIN_DIM":
            continue
        if value != int(value) or value < least:
            mistakes.append(f"{name} is {value!r}: it must be a whole number of at least {least}.")
    for name in _FRACTIONS:
        value = getattr(config, name)
        if not isinstance(value, (int, float, np.number)) or not 0 <= value <= 1:
            mistakes.append(f"{name} is {value!r}: it must lie between 0 and 1.")
    for name in ("RPN_BBOX_STD_DEV", "BBOX_STD_DEV"):
        value = np.asarray(getattr(config, name))
        if value.shape != (4,) or value.dtype.kind not in "iuf" or (value <= 0).any():
            mistakes.append(f"{name} is {value!r}: it must be four positive numbers (y, x, h, w).")
    least = config.DETECTION_CLASS_CONFIDENCE
    if least is not None:
        least = np.asarray(least)
        numbers = least.shape == (config.NUM_CLASSES,) and least.dtype.kind in "iuf"
        if not numbers or not ((least >= 0) & (least <= 1)).all():
            mistakes.append(
                f"DETECTION_CLASS_CONFIDENCE is {config.DETECTION_CLASS_CONFIDENCE!r}: it must be "
                f"None, or {config.NUM_CLASSES} numbers from 0 to 1, one for each class id, the "
                "background's first."
            )
    expected = 12 + config.NUM_CLASSES
    if expected != config.IMAGE_META_SIZE:
        mistakes.append(
            f"IMAGE_META_SIZE is {config.IMAGE_META_SIZE} and NUM_CLASSES {config.NUM_CLASSES}: "
            f"it must be 12 + NUM_CLASSES = {expected}; don't set it, it follows by itself."
        )
    return mistakes


def _training_mistakes(config: Config) -> list[str]:
    mistakes = []
    side = 2 * config.MASK_POOL_SIZE
    if tuple(config.MASK_SHAPE) != (side, side):
        mistakes.append(
            f"MASK_SHAPE is {list(config.MASK_SHAPE)} and MASK_POOL_SIZE {config.MASK_POOL_SIZE}: "
            f"the mask head doubles its grid, so MASK_SHAPE must be [{side}, {side}]."
        )
    if config.LEARNING_RATE_SCHEDULE not in SCHEDULES:
        mistakes.append(
            f"LEARNING_RATE_SCHEDULE is {config.LEARNING_RATE_SCHEDULE!r}: it must be one of "
            f"{', '.join(SCHEDULES)}."
        )
    workers = config.WORKERS
    count = isinstance(workers, (int, np.integer)) and not isinstance(workers, bool)
    if workers is not None and not (count and workers >= 0):
        mistakes.append(
            f"WORKERS is {workers!r}: it must be a count of processes, 0 for threads alone, or "
            "None to choose by the processor's cores."
        )
    unknown = set(config.LOSS_WEIGHTS) - set(Config.LOSS_WEIGHTS)
    if unknown:
        mistakes.append(
            f"LOSS_WEIGHTS names {', '.join(sorted(map(repr, unknown)))}: the losses are "
            f"{', '.join(Config.LOSS_WEIGHTS)}."
        )
    return mistakes


def explicit_names(config: Config) -> set[str]:
    """The names that a user's Config sets itself, in its class or on the object."""
    classes = type(config).__mro__[: type(config).__mro__.index(Config)]
    return {name for owner in (*classes, config) for name in vars(owner) if name.isupper()}
