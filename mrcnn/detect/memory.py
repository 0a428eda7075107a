"""Does a picture fit into memory? Asked before the network, whose own no is a page, or a crash.

check_memory(picture, 1, config, "picture 1 of 1")    # MemoryError, naming the setting
"""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mrcnn.config import Config
from mrcnn.data.images import molded_shape
from mrcnn.devices import file_text, has_gpu

# Measured on a processor, in bytes a molded pixel, from 1024x1024 to 3072x3072: 420 to 480 for
# ResNet-50, -101 and -18, whose pyramid and proposals have 256 and 512 channels; 190 to 230 for
# half a ResNet-18 with 64 and 64. What counts are the maps at a quarter of the picture's size.
_BYTES, _BYTES_A_CHANNEL = 160, 0.34
_BFLOAT16 = 0.75
_TRIFLE = 256 << 20  # bytes that any machine on which TensorFlow runs has; asking takes time
TILES = "mrcnn detect --tiles, model.detect_tiled"  # what knows no limit
_REGIONS = 5  # times the crops of all regions: what the heads take for each picture of a batch


def check_memory(image: np.ndarray, batch: int, config: Config, which: str) -> None:
    """Refuse a picture for which there is no memory, as far as can be known before.

    image: [height, width] or [height, width, channels] as it was given. batch: pictures of that
    size that go through the network together. which: names it, e.g. "picture 1 of 3".
    Raises MemoryError with a sentence that names the setting.
    """
    shape = image.shape
    height, width = molded_shape(shape, config)
    needed = network_bytes((height, width), batch, config)
    own = molding_bytes(image, config)
    free = free_memory() if needed + own > _TRIFLE else None
    if free is None or needed + own <= free:
        return
    if own > free:
        raise MemoryError(
            f"{which} ({shape[0]}x{shape[1]}, {image.dtype}) would take {own / 2**30:.1f} GB of "
            f"memory before it enters the network, of which {free / 2**30:.1f} GB are free: scale "
            f"it down, or look at it in tiles ({TILES}); as uint8 it takes least."
        )
    if _on_gpu():
        return
    needed += own
    several = f", {batch} at a time," if batch > 1 else ""
    raise MemoryError(
        f"{which} ({shape[0]}x{shape[1]}) enters the network as {height}x{width}{several} and "
        f"would take about {needed / 2**30:.1f} GB of memory, of which {free / 2**30:.1f} GB are "
        f"free: {_what_helps(shape, batch, config, free)}."
    )


def out_of_memory(molded: Sequence[int], batch: int, config: Config) -> str:
    """The same sentence where the network has run out of memory. molded: (height, width)."""
    return (
        f"the network ran out of memory with {batch if batch > 1 else 'a'} "
        f"picture{'s' if batch > 1 else ''} of {molded[0]}x{molded[1]}: "
        f"{_what_helps(molded, batch, config, 0)}."
    )


def check_masks(count: int, shape: Sequence[int], instead: str = "") -> None:
    """Refuse masks [height, width, count] that memory can't hold. Raises MemoryError.

    instead: what to do, where it isn't to have fewer instances.
    """
    needed = count * shape[0] * shape[1]
    instead = instead or (
        "lower DETECTION_MAX_INSTANCES, raise DETECTION_MIN_CONFIDENCE, or look at the picture in "
        f"tiles ({TILES})"
    )
    free = free_memory() if needed > _TRIFLE else None
    if free is not None and needed > free:
        raise MemoryError(
            f"the masks of {count:,} instances in {shape[0]}x{shape[1]} pixels take "
            f"{needed / 2**30:.1f} GB of memory, of which {free / 2**30:.1f} GB are free: "
            f"{instead}."
        )


def network_bytes(molded: Sequence[int], batch: int, config: Config) -> int:
    """What the network takes for pictures of (height, width), beyond its weights; about."""
    channels = config.TOP_DOWN_PYRAMID_SIZE + config.RPN_CONV_CHANNELS
    a_pixel = _BYTES + _BYTES_A_CHANNEL * channels
    if config.MIXED_PRECISION:
        a_pixel *= _BFLOAT16
    crops = config.POST_NMS_ROIS_INFERENCE * config.POOL_SIZE**2 * config.TOP_DOWN_PYRAMID_SIZE * 4
    return int(batch * molded[0] * molded[1] * a_pixel + (batch - 1) * _REGIONS * crops)


def molding_bytes(image: np.ndarray, config: Config) -> int:
    """What a picture takes until it enters the network: in colour, and as float64 to be resized."""
    values = image.shape[0] * image.shape[1] * config.IMAGE_CHANNEL_COUNT
    grey = image.ndim == 2 or image.shape[2] != config.IMAGE_CHANNEL_COUNT
    counts = image.dtype in (np.uint8, np.bool_) or config.IMAGE_RESIZE_MODE == "none"
    return values * (image.dtype.itemsize * grey + (1 if counts else 8))


def _what_helps(shape: Sequence[int], batch: int, config: Config, free: int) -> str:
    if batch > 1 and network_bytes(molded_shape(shape, config), 1, config) <= (free or sys.maxsize):
        return f"set IMAGES_PER_GPU to 1 (now {config.IMAGES_PER_GPU})"
    if config.IMAGE_RESIZE_MODE == "square":
        return f"lower IMAGE_MAX_DIM (now {config.IMAGE_MAX_DIM})"
    if config.IMAGE_RESIZE_MODE == "crop":
        return f"lower IMAGE_MIN_DIM (now {config.IMAGE_MIN_DIM})"
    square = (
        'IMAGE_RESIZE_MODE = "square" scales it down to IMAGE_MAX_DIM '
        f"({config.IMAGE_MAX_DIM}); or look at it in tiles ({TILES})"
    )
    if config.IMAGE_RESIZE_MODE == "pad64":
        smallest = molded_shape(shape, _unscaled(config))
        fits = network_bytes(smallest, 1, config) <= (free or sys.maxsize)
        if smallest != tuple(molded_shape(shape, config)) and fits:
            by_scale = (config.IMAGE_MIN_SCALE or 0) > 1
            name = "IMAGE_MIN_SCALE" if by_scale else "IMAGE_MIN_DIM"
            return f"lower {name} (now {getattr(config, name):g})"
    return square


def _unscaled(config: Config) -> Config:
    """The same config without the two settings that enlarge pictures."""
    other = object.__new__(type(config))
    vars(other).update(vars(config), IMAGE_MIN_SCALE=0, IMAGE_MIN_DIM=0)
    return other


def _on_gpu() -> bool:
    # Its memory is another; a network that is there has TensorFlow loaded.
    return "tensorflow" in sys.modules and has_gpu()


# -- What there is --------------------------------------------------------------------------


def free_memory(root: Path = Path("/")) -> int | None:
    """Bytes that this process can still have, swap included; None where nobody tells.

    On systems that tell no more, all that the machine has. root: where the file system begins.
    """
    told = file_text(root / "proc/meminfo")
    kilobytes = {
        name: int(number) for name, number in re.findall(r"^(\w+):\s+(\d+) kB", told, re.M)
    }
    if "MemAvailable" not in kilobytes:
        return _whole_memory()
    free = 1024 * (kilobytes["MemAvailable"] + kilobytes.get("SwapFree", 0))
    return min([free, *_groups(root), *_own_limit(root)])


def _own_limit(root: Path) -> list[int]:
    """What `ulimit -v` leaves; where it is reached, TensorFlow crashes."""
    import resource

    most, used = resource.getrlimit(resource.RLIMIT_AS)[0], file_text(root / "proc/self/statm")
    if most == resource.RLIM_INFINITY or not used:
        return []
    return [max(most - int(used.split()[0]) * resource.getpagesize(), 0)]


# Control groups of both versions: what /proc/self/cgroup begins the line with, where they lie, and
# the files of the limit, of what is used, and of what of that is only kept while nobody wants it.
_GROUPS = (
    ("0::", "", "memory.max", "memory.current", "inactive_file"),
    (
        r"\d+:memory:",
        "memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
)


def _groups(root: Path) -> list[int]:
    """What the limits of this process's control groups leave: a container's, a service's."""
    told, left = file_text(root / "proc/self/cgroup"), []
    for begins, place, most_file, used_file, cached_name in _GROUPS:
        here = re.search(rf"^{begins}/(.*)$", told, re.MULTILINE)
        top = root / "sys/fs/cgroup" / place
        folder = top / here[1] if here else top
        for group in (folder, *folder.parents):
            if not group.is_relative_to(top):
                break
            most = file_text(group / most_file).strip()
            used = file_text(group / used_file).strip()
            if most.isdigit() and used.isdigit():
                stat = file_text(group / "memory.stat")
                cached = re.search(rf"^{cached_name} (\d+)$", stat, re.MULTILINE)
                left.append(max(int(most) - int(used) + int(cached[1] if cached else 0), 0))
    return left


def _whole_memory() -> int | None:
    if sys.platform == "win32":
        import ctypes

        status = (ctypes.c_uint64 * 8)(64)  # MEMORYSTATUSEX: two halves first, then sizes
        if ctypes.windll.kernel32.GlobalMemoryStatusEx(status):
            return int(status[2])  # ullAvailPhys
        return None
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None
