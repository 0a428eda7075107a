"""Which devices of this machine share a batch: GPU_COUNT of them, by `tf.distribute`.

Each has the whole network and a part of the batch's pictures, and after each step the same weights.
"""

import contextlib
import functools
import re
import warnings
from collections.abc import Iterator

import tensorflow as tf

from mrcnn.config import Config
from mrcnn.errors import UsageError


@contextlib.contextmanager
def spread(mode: str, config: Config) -> Iterator[None]:
    """What is built in this block trains on GPU_COUNT devices, where they are there.

    A strategy whose scope is open already stays the one. Inference runs on one device.
    """
    if mode != "training" or config.GPU_COUNT < 2 or tf.distribute.has_strategy():
        yield
        return
    names = [device.name for device in _devices()]
    if len(names) < config.GPU_COUNT:
        warnings.warn(
            f"GPU_COUNT is {config.GPU_COUNT}, and TensorFlow has {_counted(names)} here: all "
            f"{config.BATCH_SIZE} pictures of a batch go through {names[0][-5:]}, with the same "
            "results. Set GPU_COUNT = 1 for a smaller batch.",
            stacklevel=2,
        )
        yield
        return
    with _mirrored(*names[: config.GPU_COUNT]).scope():
        yield


@functools.cache  # one a process: a second one of the same devices has failed in TensorFlow
def _mirrored(*names: str) -> tf.distribute.MirroredStrategy:
    return tf.distribute.MirroredStrategy(list(names))


def _devices() -> list[tf.config.LogicalDevice]:
    """What a batch can be spread over: the GPUs, or without any the parts of the processor."""
    return tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")


def _counted(names: list[str]) -> str:
    kind = "GPU" if "GPU" in names[0] else "processor"
    return f"{len(names)} {kind}{'s' if len(names) > 1 else ''}"


def choose_devices(text: str) -> int:
    """Let TensorFlow see only the devices that --devices names; returns how many.

    text: all; 2: so many GPUs; gpu:0,2: these; cpu or cpu:2: the processor, as so many devices.
    It must come before TensorFlow computes anything. Raises UsageError where they aren't there.
    """
    match = re.fullmatch(r"(all)|(\d+)|gpu:(\d+(?:,\d+)*)|cpu(?::(\d+))?", text.lower())
    if not match or "0" in (match[2], match[4]):
        raise UsageError(
            f"--devices {text}: it is all, a number of GPUs such as 2, GPUs by their numbers such "
            "as gpu:0,1, or cpu, or cpu:2, which takes the processor as two devices."
        )
    gpus = tf.config.list_physical_devices("GPU")
    if match[1] and gpus:
        chosen = list(range(len(gpus)))
    elif match[2]:
        chosen = list(range(int(match[2])))
    elif match[3]:
        chosen = sorted({int(number) for number in match[3].split(",")})
    else:
        return _choose_processor(int(match[4] or 1))
    if chosen[-1] >= len(gpus):
        there = f"it sees {len(gpus)}" if gpus else "it sees none (mrcnn inspect --env says why)"
        raise UsageError(
            f"--devices {text} wants a GPU number {chosen[-1]}, counted from 0, of TensorFlow, and "
            f"{there}. --devices cpu:2 tries out two devices on the processor."
        )
    tf.config.set_visible_devices([gpus[i] for i in chosen], "GPU")
    return len(chosen)


def _choose_processor(count: int) -> int:
    (processor,) = tf.config.list_physical_devices("CPU")
    tf.config.set_visible_devices([], "GPU")
    parts = [tf.config.LogicalDeviceConfiguration()] * count
    tf.config.set_logical_device_configuration(processor, parts)
    return count
