"""Before the network: are these pictures, and of the kind that it was made for?"""

import math
import warnings
from collections.abc import Sequence

import numpy as np

from mrcnn.config import Config
from mrcnn.data.images import molded_shape
from mrcnn.detect.instances import Instances, LimitWarning
from mrcnn.detect.memory import check_memory

_warned: set[str] = set()  # what this process has been told already


def check_arguments(mode: str, config: Config) -> None:
    """What `MaskRCNN` is made with. Raises ValueError, TypeError or ConfigError."""
    if mode not in ("training", "inference"):
        raise ValueError(f'mode is {mode!r}: it must be "training" or "inference".')
    if isinstance(config, type):
        raise TypeError(f"config is the class {config.__name__}: give an object of it.")
    config.validate(mode)


def check_pictures(images: Sequence[np.ndarray], config: Config) -> list[np.ndarray]:
    """All pictures in the form that the network was made for, before any of them is worked on.

    images: a list of [height, width, channels] arrays, of any sizes.
    Raises ValueError, naming the picture, or saying that a list is wanted; MemoryError where there
    is no room for the largest.
    """
    if isinstance(images, np.ndarray) and images.ndim in (2, 3):
        raise ValueError(
            f"the pictures are one array of shape {images.shape}: give a list of pictures, for one "
            "of them detect([picture])."
        )
    images = before_molding(images, config)
    _check_largest(images, config)
    checked = []  # no comprehension: a warning's stacklevel counts one as a call before 3.12
    for i, image in enumerate(images, start=1):
        which = f"picture {i} of {len(images)}"
        checked.append(check_picture(image, config, which))
        check_molded_shape(molded_shape(checked[-1].shape, config), config, which)
    return checked


def _check_largest(images: Sequence[np.ndarray], config: Config) -> None:
    """Refuse what memory can't hold before it is converted, which takes more of it."""
    arrays = {i: np.asarray(image) for i, image in enumerate(images)}
    pictures = {i: array for i, array in arrays.items() if array.ndim in (2, 3) and array.size}
    if not pictures:
        return
    sizes = {i: molded_shape(picture.shape, config) for i, picture in pictures.items()}
    largest = {
        max(sizes, key=lambda i: math.prod(sizes[i])),
        max(pictures, key=lambda i: pictures[i].nbytes),
    }
    for i in sorted(largest):
        batch = min(config.BATCH_SIZE, list(sizes.values()).count(sizes[i]))
        check_memory(pictures[i], batch, config, f"picture {i + 1} of {len(images)}")


def warn_once(what: str, text: str, stacklevel: int, category: type[Warning] = UserWarning) -> None:
    """Warn of a kind of thing, and never again in this process. stacklevel: as of warnings.warn."""
    # Who ignores them for a while, as validation does, doesn't speak for all who come after.
    ignored = ("ignore", None, category, None, 0) in warnings.filters
    if what not in _warned and not ignored:
        _warned.add(what)
        warnings.warn(text, category, stacklevel=stacklevel + 1)


def tell_limit(result: Instances, most: int, shape: Sequence[int], stacklevel: int) -> None:
    """Set `limited` of the result of a picture that has the most instances, and warn once.

    most: DETECTION_MAX_INSTANCES, which a picture or one of its tiles has reached.
    shape: (height, width, ..) of the picture. stacklevel: as of warnings.warn.
    """
    result.limited = True
    which = f"a picture of {shape[0]}x{shape[1]} has"
    if result.tiles:
        limited, count = result.tiles
        which = f"{limited} of the {count} tiles of {which.replace(' has', '')} have"
    warn_once(
        "limit",
        f"{which} {most} instances, which is all that "
        "DETECTION_MAX_INSTANCES lets through: there may be more. (Said once; the results of such "
        "pictures have `limited` set.)",
        stacklevel=stacklevel + 1,
        category=LimitWarning,
    )


def before_molding(images: Sequence[np.ndarray], config: Config) -> Sequence[np.ndarray]:
    """The pictures as they were before a script called `mold_image` on them itself.

    NOTE: a much copied tutorial hands detect() molded pictures. The original molded them a second
    time, and found less in them.
    """
    given, mean = [np.asarray(image) for image in images], np.atleast_1d(config.MEAN_PIXEL)
    molded = []
    for i, image in enumerate(given):
        fits = image.ndim == 3 and image.dtype.kind == "f" and mean.size in (1, image.shape[-1])
        if fits and image.size and was_molded(image, mean):
            given[i] = image + mean
            molded.append(i + 1)
    if not molded:
        return images
    warn_once(
        "molded",
        f"picture {molded[0]} of {len(given)} has had the mean pixel subtracted, by mold_image(): "
        "it was added back. Give detect() the picture itself, which it molds. (Said once.)",
        stacklevel=4,  # the line that called detect
    )
    return given


def was_molded(image: np.ndarray, mean: np.ndarray) -> bool:
    """Whether a picture of floats lies where `mold_image` puts one of 0..255.

    image: [height, width, channels], not empty. mean: one value, or one for each channel.
    """
    part = image[:: max(len(image) // 32, 1)] + mean  # most pictures show it there already
    whole = _is_whole(part) and not _is_whole(part - mean)
    # Pictures scaled to -1..1 or standardised don't reach so low; they are refused later.
    low = float(image.min()) < -5
    if not (low or whole) or not _within_bytes(part):
        return False
    pixels = image + mean
    return _within_bytes(pixels) and (low or _is_whole(pixels))


def _within_bytes(pixels: np.ndarray) -> bool:
    return bool(pixels.min() >= -0.5 and pixels.max() <= 255.5)


def _is_whole(pixels: np.ndarray) -> bool:
    with np.errstate(invalid="ignore"):  # of infinite values, which are refused later
        return bool(np.abs(pixels - np.rint(pixels)).max() < 1e-3)


def check_picture(image: np.ndarray, config: Config, which: str) -> np.ndarray:
    """Give a picture the form that the network was made for, or say why that can't be done.

    image: [height, width] or [height, width, channels], any number type.
    which: names the picture in messages, e.g. "picture 3".
    Returns [height, width, IMAGE_CHANNEL_COUNT]. Grey becomes RGB, an alpha channel is dropped,
    a bool picture and a float one of 0..1 are stretched to 0..255.
    Raises ValueError: no picture, another channel count, not finite, or beyond 0..255.
    """
    image = np.asarray(image)
    channels = config.IMAGE_CHANNEL_COUNT
    if image.ndim not in (2, 3) or image.dtype.kind not in "buif":
        raise ValueError(
            f"{which} is an array of shape {image.shape} and type {image.dtype}: a picture is "
            f"numbers of shape [height, width, {channels}]. (detect takes a list of pictures: "
            "detect([picture]).)"
        )
    if image.ndim == 2:
        image = image[..., None]
    if 0 in image.shape:
        raise ValueError(f"{which} is empty: its shape is {image.shape}.")
    if image.shape[-1] == 1 and channels == 3:
        image = np.concatenate([image] * 3, axis=-1)  # a tenth of the time of np.repeat
    elif image.shape[-1] == 4 and channels == 3:
        image = image[..., :3]
    elif image.shape[-1] == 2 and channels in (1, 3):  # grey with alpha
        image = np.concatenate([image[..., :1]] * channels, axis=-1)
    if image.shape[-1] != channels:
        raise ValueError(
            f"{which} has {image.shape[-1]} channels and the network {channels} "
            "(IMAGE_CHANNEL_COUNT): convert the picture, or build the network for it."
        )
    return _check_values(image, config, which)


def _check_values(image: np.ndarray, config: Config, which: str) -> np.ndarray:
    if image.dtype == np.uint8:
        return image
    if image.dtype.kind == "b":
        return image.astype(np.uint8) * 255
    low, high = float(image.min()), float(image.max())
    if not np.isfinite([low, high]).all():
        raise ValueError(f"{which} holds NaN or infinite values: replace them first.")
    # Who set MEAN_PIXEL to another range trained on pictures of that range.
    mean = float(np.max(config.MEAN_PIXEL))
    if image.dtype.kind == "f" and low >= 0 and high <= 1 and high > 0 and 1 < mean <= 255:
        warn_once(
            "0..1",
            f"{which} holds values of 0..1: taken times 255, the range that the network knows. "
            "(Said once.)",
            stacklevel=5,  # the line that called detect
        )
        return image * 255
    if 0 < mean <= 255 and (low < -0.5 or high > 255.5):
        raise ValueError(
            f"{which} ({image.dtype}) holds values from {low:g} to {high:g} and the network "
            "knows 0..255: convert it first, for example with skimage.exposure."
            'rescale_intensity(picture, out_range="uint8").'
        )
    return image


def check_molded_shape(shape: Sequence[int], config: Config, which: str) -> None:
    """Refuse a molded picture whose sides the backbone can't halve six times."""
    if shape[0] % 64 or shape[1] % 64:
        raise ValueError(
            f"{which} enters the network as {shape[0]}x{shape[1]}: with IMAGE_RESIZE_MODE = "
            f"{config.IMAGE_RESIZE_MODE!r} nothing brings its sides to multiples of 64. Use "
            '"square" or "pad64", or crop the picture.'
        )
