"""Augmentation: more pictures out of few, the masks moved along.

image:  [height, width, channels], 0..255, any number type
mask:   bool [height, width, num_instances]
rng:    numpy.random.Generator

A transform is a function (image, mask, rng) -> (image, mask) that keeps shapes and types:

    augmentation = Compose([flip_left_right(0.5), turn(), brightness(0.8, 1.2)])
    model.train(dataset_train, dataset_val, ..., augmentation=augmentation)

An imgaug augmenter and an albumentations Compose may stand in its place.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from skimage.filters import gaussian

from mrcnn.geometry.crops import MaskCrops

Transform = Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]
Masks = np.ndarray | MaskCrops

# imgaug's augmenters that move pixels and leave their values: safe for a mask.
MASK_AUGMENTERS = (
    "Sequential",
    "SomeOf",
    "OneOf",
    "Sometimes",
    "Fliplr",
    "Flipud",
    "CropAndPad",
    "Affine",
    "PiecewiseAffine",
)


class OwnTransform:
    """A transform of this file: it moves masks that are cut to their boxes as it moves full ones.

    A user's function gets full masks, always; so it is by this type that ours are known.
    """

    def __init__(self, function: Transform) -> None:
        self.function = function

    def __call__(
        self, image: np.ndarray, mask: Masks, rng: np.random.Generator
    ) -> tuple[np.ndarray, Masks]:
        return self.function(image, mask, rng)


class Compose:
    """Transforms one after the other."""

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = list(transforms)

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        for transform in self.transforms:
            image, mask = transform(image, mask, rng)
        return image, mask


class SomeOf:
    """So many of the transforms, chosen anew each time, in their order.

    counts: (least, most), both included.
    """

    def __init__(self, counts: tuple[int, int], transforms: Sequence[Transform]) -> None:
        self.counts, self.transforms = counts, list(transforms)

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        count = rng.integers(self.counts[0], min(self.counts[1], len(self.transforms)) + 1)
        chosen = rng.permutation(len(self.transforms))[:count]
        return Compose([self.transforms[i] for i in sorted(chosen)])(image, mask, rng)


def flip_left_right(probability: float = 0.5) -> Transform:
    """Mirror the picture."""
    return _sometimes(probability, lambda x: flip(x, 1))


def flip_up_down(probability: float = 0.5) -> Transform:
    """Turn the picture upside down; right for cells and roofs, not for people."""
    return _sometimes(probability, lambda x: flip(x, 0))


def turn() -> Transform:
    """Turn by 0, 90, 180 or 270 degrees; a picture that isn't square by 0 or 180."""

    @OwnTransform
    def transform(image, mask, rng):
        quarters = rng.integers(4)
        if image.shape[0] != image.shape[1]:
            quarters -= quarters % 2
        return np.rot90(image, quarters), _turned(mask, quarters)

    return transform


def scale_and_shift(scale: tuple[float, float] = (0.8, 1.25), shift: float = 0.1) -> Transform:
    """Zoom about the middle and move; what comes in from outside is black and without masks.

    scale: least and greatest zoom; below 1 the picture shrinks. shift: greatest move, as a share
    of the picture's side.
    """

    @OwnTransform
    def transform(image, mask, rng):
        zoom = np.exp(rng.uniform(np.log(scale[0]), np.log(scale[1])))
        positions = []
        for side in image.shape[:2]:
            middle = (side - 1) / 2
            move = rng.uniform(-shift, shift) * side
            positions.append((np.arange(side) - middle - move) / zoom + middle)
        return _sample(image, *positions), _sample_nearest(mask, *positions)

    return transform


def brightness(low: float = 0.8, high: float = 1.2) -> Transform:
    """Multiply all values."""
    return _on_values(lambda x, rng: x * rng.uniform(low, high))


def contrast(low: float = 0.8, high: float = 1.25) -> Transform:
    """Stretch the values about their mean."""
    return _on_values(lambda x, rng: x.mean() + (x - x.mean()) * rng.uniform(low, high))


def gamma(low: float = 0.7, high: float = 1.4) -> Transform:
    """Raise the values, taken as 0..1, to a power: below 1 lightens the shadows."""
    return _on_values(lambda x, rng: 255 * (np.clip(x, 0, 255) / 255) ** rng.uniform(low, high))


def blur(most: float = 1.5) -> Transform:
    """Gaussian blur with a standard deviation of up to so many pixels."""
    return _on_values(lambda x, rng: gaussian(x, rng.uniform(0, most), channel_axis=-1))


def noise(most: float = 8.0) -> Transform:
    """Gaussian noise with a standard deviation of up to so many steps of 0..255."""
    return _on_values(lambda x, rng: x + rng.normal(0, rng.uniform(0, most), x.shape))


def stain(most: float = 0.4) -> Transform:
    """Dye a section differently: each channel's optical density grows or shrinks by itself.

    most: the greatest change, as a share. Light that passes a dye falls off exponentially with its
    amount (Beer-Lambert), so the change is linear in the logarithm.
    """

    def change(x, rng):
        channels = x.shape[-1]
        gain = rng.uniform(1 - most, 1 + most, channels)
        shift = rng.uniform(-most / 4, most / 4, channels)
        density = -np.log((x + 1) / 256)
        return 256 * np.exp(-(density * gain + shift)) - 1

    return _on_values(change)


def augment(
    image: np.ndarray, mask: Masks, augmentation: Any, rng: np.random.Generator
) -> tuple[np.ndarray, Masks]:
    """Apply an augmentation of any of the three kinds: ours, imgaug's, albumentations'.

    mask: in full, or cut to boxes, and so it comes back. Only transforms of this file take masks
        that are cut; for any other they are made in full meanwhile.
    Geometric operations reach the masks, others the picture alone. With imgaug that is decided by
    the augmenter's name (MASK_AUGMENTERS).
    Raises ValueError where picture or masks come back in another size, TypeError for an
    augmentation of an unknown kind.
    """
    if isinstance(mask, MaskCrops) and not knows_crops(augmentation):
        augmented, moved = augment(image, mask.full(), augmentation, rng)
        return augmented, MaskCrops.from_masks(moved)
    if hasattr(augmentation, "to_deterministic"):
        augmented, moved = _imgaug(image, mask, augmentation)
    elif type(augmentation).__module__.partition(".")[0].startswith("albumentations"):
        augmented, moved = _albumentations(image, mask, augmentation, rng)
    elif callable(augmentation):
        augmented, moved = augmentation(image, mask, rng)
    else:
        raise TypeError(
            f"augmentation is a {type(augmentation).__name__}: it must be a function "
            "(image, mask, rng) -> (image, mask), an imgaug augmenter, or an albumentations "
            "Compose."
        )
    if augmented.shape != image.shape or moved.shape != mask.shape:
        raise ValueError(
            f"augmentation changed the picture from {image.shape} to {augmented.shape} and its "
            f"masks from {mask.shape} to {moved.shape}: it must keep the size (in imgaug, "
            "keep_size=True)."
        )
    augmented = np.ascontiguousarray(augmented)
    if isinstance(moved, MaskCrops):
        return augmented, moved
    return augmented, np.ascontiguousarray(moved).astype(bool)


def knows_crops(augmentation: Any) -> bool:
    """Whether an augmentation takes masks that are cut to their boxes: ours do."""
    if type(augmentation) in (Compose, SomeOf):  # a subclass may look at masks itself
        return all(map(knows_crops, augmentation.transforms))
    return type(augmentation) is OwnTransform


def flip(x: Masks, axis: int) -> Masks:
    """A picture or masks turned upside down (axis 0) or mirrored (axis 1)."""
    return x.flip(axis) if isinstance(x, MaskCrops) else np.flip(x, axis)


def _turned(mask: Masks, quarters: int) -> Masks:
    return mask.rot90(quarters) if isinstance(mask, MaskCrops) else np.rot90(mask, quarters)


def _sometimes(probability: float, change: Callable[[Masks], Masks]) -> Transform:
    @OwnTransform
    def transform(image, mask, rng):
        if rng.random() < probability:
            return change(image), change(mask)
        return image, mask

    return transform


def _on_values(change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Transform:
    @OwnTransform
    def transform(image, mask, rng):
        changed = change(image.astype(np.float32), rng)
        return np.clip(changed, 0, 255).astype(image.dtype), mask

    return transform


def _sample(image: np.ndarray, ys: np.ndarray, xs: np.ndarray) -> np.ndarray:
    """Bilinear values [len(ys), len(xs), channels] at rows ys and columns xs, 0 outside."""
    rows, columns = _weights(ys, image.shape[0]), _weights(xs, image.shape[1])
    moved = np.einsum("iy,yxc->ixc", rows, image.astype(np.float32), optimize=True)
    moved = np.einsum("jx,ixc->ijc", columns, moved, optimize=True)
    return moved.astype(image.dtype)


def _weights(positions: np.ndarray, size: int) -> np.ndarray:
    """[len(positions), size]: how much of each source row makes up each new one."""
    distance = np.abs(positions[:, None] - np.arange(size)[None])
    return np.maximum(1 - distance, 0).astype(np.float32)


def _sample_nearest(mask: Masks, ys: np.ndarray, xs: np.ndarray) -> Masks:
    rows, columns = np.rint(ys).astype(int), np.rint(xs).astype(int)
    if isinstance(mask, MaskCrops):
        return mask.take(rows, columns)
    moved = mask[rows.clip(0, len(mask) - 1)][:, columns.clip(0, mask.shape[1] - 1)]
    moved[(rows < 0) | (rows >= mask.shape[0])] = False
    moved[:, (columns < 0) | (columns >= mask.shape[1])] = False
    return moved


class _MaskHooks:
    """imgaug's hooks, which ask for every augmenter in a tree whether to run it, for masks."""

    def is_activated(self, images: Any, augmenter: Any, parents: Any, default: bool) -> bool:
        return type(augmenter).__name__ in MASK_AUGMENTERS

    def is_propagating(self, images: Any, augmenter: Any, parents: Any, default: bool) -> bool:
        return default

    def preprocess(self, images: Any, augmenter: Any, parents: Any) -> Any:
        return images

    def postprocess(self, images: Any, augmenter: Any, parents: Any) -> Any:
        return images


def _imgaug(image, mask, augmentation) -> tuple[np.ndarray, np.ndarray]:
    fixed = augmentation.to_deterministic()  # both calls below draw the same random numbers
    augmented = fixed.augment_image(image)
    if mask.shape[-1]:
        mask = fixed.augment_image(mask.astype(np.uint8), hooks=_MaskHooks()).astype(bool)
    return augmented, mask


def _albumentations(image, mask, augmentation, rng) -> tuple[np.ndarray, np.ndarray]:
    # Version 2 draws from a generator of its own, version 1 from Python's.
    seed = int(rng.integers(2**31))
    if hasattr(augmentation, "set_random_seed"):
        augmentation.set_random_seed(seed)
    else:
        random.seed(seed)
    masks = [mask[:, :, i].astype(np.uint8) for i in range(mask.shape[-1])]
    result = augmentation(image=image, masks=masks)
    moved = [np.asarray(m, bool) for m in result["masks"]]
    return result["image"], np.stack(moved, axis=-1) if moved else mask


# What `mrcnn train --augment` names.
RECIPES = {
    "none": None,
    "flip": flip_left_right(0.5),
    "standard": Compose(
        [
            flip_left_right(0.5),
            scale_and_shift((0.8, 1.25), 0.1),
            SomeOf((0, 2), [brightness(), contrast(), gamma(0.8, 1.25)]),
        ]
    ),
}
