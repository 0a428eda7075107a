"""The Config that `mrcnn train` makes of the data and the weights, where nobody says otherwise.

Later ones count more: Config's defaults; the config inside the weights; what is chosen here;
--config; --set. What is chosen, and why:

1. The picture's side: that of the median picture, at most 1024 with a GPU and 512 without;
   doubled, if there is room, where a quarter of the instances has less than 16 pixels. Where
   pieces of pictures would leave clearly fewer instances that small, and cut fewer large ones than
   that, training sees pieces.
2. The anchors: those of the weights, unless others meet clearly more boxes of new classes.
3. Some 2,000 steps adapt trained weights, 1,000 without a GPU, and 6,000 train the rest from random
   ones, in 10 to 100 epochs. An epoch shows each picture once; of few pictures, as often as it
   takes for 100 epochs to be enough.
4. All layers train from the first step on. New heads could harm trained layers, for which
   Matterport's recipe froze these for a while; here the learning rate rises over a tenth of the
   steps instead, then falls to 0 along a cosine. One stage is simple, and resumes exactly.
5. The learning rate: 0.001 where batch norm stays frozen (Matterport's), 0.005 in a network for a
   processor; where it adapts 0.01, or 0.002 for classes that the weights know already; 0.02 from
   random weights (samples/nucleus).
6. The regions: for new classes a network for a processor sees four of the background, and not two,
   for each of an instance. What looks like an instance and is none is most of what it has to learn.
"""

import copy
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mrcnn.config import Config
from mrcnn.data.survey import Survey, suggest_scales

LARGEST_SIDE = {True: 1024, False: 512}  # pixels; with a GPU, without
PIECE_SIDE = {True: 512, False: 256}  # pixels, of pieces cut out of larger pictures
SMALL = 16  # pixels, the root of a box's area; a mask of fewer is mostly rim
CLEARLY = 0.1  # of the instances
MOST_SCALE = 4  # by which pictures are ever told to be enlarged
STEPS_TRAINED = {True: 2000, False: 1000}  # with a GPU, without
STEPS_NEW = 6000
LEAST_EPOCHS, MOST_EPOCHS = 10, 100
MOST_VALIDATION_STEPS = 50
CROWDED = 100  # instances in a picture; more lie so close that neighbours look like duplicates

_COMPACT = ("resnet18", "efficientnet_lite0")  # backbones that a processor can train

# From random weights: a network small enough for a processor.
COMPACT = {
    "BACKBONE": "resnet18_half",
    "TOP_DOWN_PYRAMID_SIZE": 64,
    "RPN_CONV_CHANNELS": 128,
    "FPN_CLASSIF_FC_LAYERS_SIZE": 256,
    "MASK_CONV_CHANNELS": 64,
    "POST_NMS_ROIS_TRAINING": 500,
    "TRAIN_ROIS_PER_IMAGE": 96,
    "TRAIN_BN": None,
}

# How long, how fast and on what device weights were trained says nothing about the next training.
_OF_THE_RUN = {
    *("NAME", "NUM_CLASSES", "GPU_COUNT", "IMAGES_PER_GPU", "STEPS_PER_EPOCH", "VALIDATION_STEPS"),
    *("LEARNING_RATE", "LEARNING_RATE_SCHEDULE", "WARMUP_STEPS", "ACCUMULATE_GRADIENTS", "SEED"),
    *("TRAIN_ON_EMPTY_IMAGES", "KEEP_CHECKPOINTS", "KEEP_BEST", "SAVE_BEST_ONLY"),
    *("EARLY_STOPPING_PATIENCE", "VALIDATION_AP_EVERY", "VALIDATION_AP_SHARE"),
    *("MIXED_PRECISION", "WORKERS"),
}


@dataclass(frozen=True)
class Circumstances:
    """What the choices depend on, besides the numbers of the data."""

    pictures: int  # to train on
    val_pictures: int
    gpu: bool
    whole_network: bool  # the weights fill heads and pyramid too, not the encoder alone
    same_classes: bool = False  # the weights' heads know just the classes of the data
    random_weights: bool = False


def of_weights(told: Mapping[str, Any]) -> dict[str, Any]:
    """What of a config inside a weight file a training for another task takes over."""
    return {name: value for name, value in told.items() if name not in _OF_THE_RUN}


def complete(
    config: Config,
    fixed: Collection[str],
    survey: Survey,
    circumstances: Circumstances,
    epochs: int | None = None,
) -> int:
    """Set what is chosen by the data on a config, but for the names in `fixed`.

    survey: of the training pictures; it must hold at least one. Later choices follow from what
    the user fixed: steps from IMAGES_PER_GPU, anchors from IMAGE_MAX_DIM.
    Returns `epochs`, or how many suit the data where that is None.
    """

    def choose(**values: Any) -> None:
        for name, value in values.items():
            if name not in fixed:
                setattr(config, name, value)

    choose(NUM_CLASSES=len(survey.class_names), **_input(config, survey, circumstances.gpu))
    if not circumstances.same_classes:
        choose(RPN_ANCHOR_SCALES=suggest_scales(survey.network_boxes(config), config))

    # A piece without instances is true background; a whole picture may just not be labelled.
    choose(TRAIN_ON_EMPTY_IMAGES=config.IMAGE_RESIZE_MODE == "crop")

    most = int(survey.counts.max(initial=0))
    crowded = most > CROWDED
    choose(
        MAX_GT_INSTANCES=min(max(_round_up(most, 10), 20), 500),
        DETECTION_MAX_INSTANCES=max(_round_up(1.25 * most, 50), 100),
        POST_NMS_ROIS_INFERENCE=2000 if crowded else Config.POST_NMS_ROIS_INFERENCE,
        RPN_NMS_THRESHOLD=0.85 if crowded else Config.RPN_NMS_THRESHOLD,
        DETECTION_NMS_THRESHOLD=0.5 if crowded else Config.DETECTION_NMS_THRESHOLD,
    )

    if is_compact(config) and circumstances.whole_network and not circumstances.same_classes:
        choose(TRAIN_ROIS_PER_IMAGE=128, ROI_POSITIVE_RATIO=0.2)

    choose(IMAGES_PER_GPU=min(_batch(config, circumstances.gpu), circumstances.pictures))
    wanted = STEPS_TRAINED[circumstances.gpu] if circumstances.whole_network else STEPS_NEW
    steps = math.ceil(circumstances.pictures / config.BATCH_SIZE)
    if epochs is None:
        steps = max(steps, math.ceil(wanted / MOST_EPOCHS))
    val_steps = math.ceil(circumstances.val_pictures / config.BATCH_SIZE)
    choose(STEPS_PER_EPOCH=steps, VALIDATION_STEPS=min(val_steps, MOST_VALIDATION_STEPS))
    if epochs is None:
        epochs = math.ceil(wanted / config.STEPS_PER_EPOCH)
        epochs = min(max(epochs, LEAST_EPOCHS), MOST_EPOCHS)

    adapting = 0.002 if circumstances.same_classes else 0.01
    adapting = 0.02 if circumstances.random_weights else adapting
    frozen = 0.005 if is_compact(config) else 0.001
    choose(
        LEARNING_RATE=frozen if config.TRAIN_BN is False else adapting,
        LEARNING_RATE_SCHEDULE="cosine",
        WARMUP_STEPS=min(epochs * config.STEPS_PER_EPOCH // 10, 500),
        KEEP_CHECKPOINTS=3,  # the last is mostly the best one, for the rate has gone down to 0
        KEEP_BEST=True,
        VALIDATION_AP_SHARE=0.1,
    )
    return epochs


def _input(config: Config, survey: Survey, gpu: bool) -> dict[str, Any]:
    """How pictures enter the network: whole, or in pieces where instances would get too small."""
    sides = np.sqrt(survey.box_sizes.prod(axis=1))  # [instances] pixels of the picture
    zoom = 2 if len(sides) and np.percentile(sides, 25) < SMALL else 1
    longest = float(np.median(survey.sizes.max(axis=1)))
    whole = _square("square", min(_round_up(longest * zoom, 64), LARGEST_SIDE[gpu]))
    pieces = _square("crop", PIECE_SIDE[gpu]) | {"IMAGE_MIN_SCALE": zoom if zoom > 1 else 0}
    if not len(sides):
        return whole
    lost, still_lost = (_share_small(config, survey, values) for values in (whole, pieces))
    cut = float((zoom * sides > PIECE_SIDE[gpu] / 2).mean())  # that few pieces hold whole
    return pieces if lost > still_lost + cut + CLEARLY else whole


def larger_input(config: Config, survey: Survey, gpu: bool) -> list[str]:
    """Settings under which at most a quarter of the instances is small; [] where that is so.

    As NAME=VALUE. No picture is scaled to more than `MOST_SCALE`: what is smaller then needs
    other pictures.
    """
    small = network_sides(config, survey)
    if not len(small) or np.percentile(small, 25) >= SMALL:
        return []
    sides = np.sqrt(survey.box_sizes.prod(axis=1))
    scale = min(math.ceil(2 * SMALL / max(np.percentile(sides, 25), 1)) / 2, MOST_SCALE)
    side = config.IMAGE_MIN_DIM if config.IMAGE_RESIZE_MODE == "crop" else PIECE_SIDE[gpu]
    wanted = _square("crop", side) | {"IMAGE_MIN_SCALE": scale}
    others = {n: value for n, value in wanted.items() if getattr(config, n) != value}
    return [
        f"{name}={value:g}" if name != "IMAGE_RESIZE_MODE" else f"{name}={value}"
        for name, value in others.items()
    ]


def network_sides(config: Config, survey: Survey) -> np.ndarray:
    """The root of each box's area [instances], in pixels of the network's picture."""
    boxes = survey.network_boxes(config)
    return np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))


def _square(mode: str, side: int) -> dict[str, Any]:
    values = {"IMAGE_MIN_DIM": side, "IMAGE_MAX_DIM": side}
    return {"IMAGE_RESIZE_MODE": mode, "IMAGE_MIN_SCALE": 0, **values}


def _share_small(config: Config, survey: Survey, values: Mapping[str, Any]) -> float:
    """The share of instances that are small in the network's pictures under these values."""
    config = copy.copy(config)
    vars(config).update(values)
    return float((network_sides(config, survey) < SMALL).mean())


def is_compact(config: Config) -> bool:
    """Whether the network is small enough to train on a processor."""
    return str(config.BACKBONE).startswith(_COMPACT)


def _batch(config: Config, gpu: bool) -> int:
    """Pictures at a time: as many as a GPU of 12 GB takes, or a processor in a second or two."""
    compact = is_compact(config)
    if not gpu:
        return 4 if compact else 1
    side = int(np.max(config.IMAGE_SHAPE[:2]))
    return int(np.clip(2 * (1024 / side) ** 2, 1, 16 if compact else 8))


def _round_up(value: float, step: int) -> int:
    return math.ceil(value / step) * step
