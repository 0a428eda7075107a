"""Masks follow their picture; what changes values alone leaves them in peace."""

import sys
import types

import numpy as np
import pytest
from blobs import Blobs, config

from mrcnn.data import augment
from mrcnn.data.inputs import load_image_gt

GEOMETRIC = {
    "left_right": augment.flip_left_right(1),
    "up_down": augment.flip_up_down(1),
    "turn": augment.turn(),
    "scale_and_shift": augment.scale_and_shift((0.6, 1.6), 0.3),
}
ON_VALUES = {
    "brightness": augment.brightness(0.5, 0.6),
    "stain": augment.stain(),
    "contrast": augment.contrast(0.5, 0.6),
    "gamma": augment.gamma(1.3, 1.4),
    "blur": augment.blur(3),
    "noise": augment.noise(20),
}


def picture_and_mask(height=40, width=40):
    """A picture that shows its own two masks: instance 0 in red, instance 1 in green."""
    mask = np.zeros((height, width, 2), bool)
    mask[4:17, 6:31, 0] = True
    mask[20:36, 3:9, 1] = True
    image = np.zeros((height, width, 3), np.uint8)
    image[..., :2] = 200 * mask
    return image, mask


@pytest.mark.parametrize("name", GEOMETRIC)
@pytest.mark.parametrize("seed", range(5))
def test_masks_follow_the_picture(name, seed):
    image, mask = picture_and_mask()
    moved_image, moved = augment.augment(image, mask, GEOMETRIC[name], np.random.default_rng(seed))
    assert moved_image.shape == image.shape and moved_image.dtype == np.uint8
    assert moved.shape == mask.shape and moved.dtype == bool
    # Half of the full value, where the picture is interpolated and a mask is not.
    apart = (moved_image[..., :2] >= 100) != moved
    if name == "scale_and_shift":  # then borders may differ by half a pixel
        assert apart.mean() < 0.02
    else:
        assert not apart.any()


@pytest.mark.parametrize("name", [*GEOMETRIC, "turn"])
def test_pictures_that_are_not_square_keep_their_shape(name):
    image, mask = picture_and_mask(height=40, width=56)
    for seed in range(8):
        moved_image, moved = augment.augment(
            image, mask, GEOMETRIC[name], np.random.default_rng(seed)
        )
        assert moved_image.shape == image.shape and moved.shape == mask.shape


def test_scale_and_shift_moves_by_what_it_says():
    image, mask = picture_and_mask()
    transform = augment.scale_and_shift((2, 2), 0)
    _, moved = augment.augment(image, mask, transform, np.random.default_rng(0))
    # Twice as large about the middle, 19.5: rows 4..16 go to -11.5 and beyond .. 12.5 + 0.5.
    rows = np.flatnonzero(moved[..., 0].any(axis=1))
    assert (rows[0], rows[-1]) == (0, 13)
    # What comes in from outside is black and without masks.
    image, mask = np.full((40, 40, 3), 255, np.uint8), np.ones((40, 40, 1), bool)
    transform = augment.scale_and_shift((0.5, 0.5), 0)
    shrunk_image, shrunk = augment.augment(image, mask, transform, np.random.default_rng(0))
    assert shrunk.sum() == 400 and not shrunk[:10].any() and not shrunk_image[:9].any()


@pytest.mark.parametrize("name", ON_VALUES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_values_change_and_masks_do_not(name, dtype):
    image, mask = picture_and_mask()
    image = (image + 30).astype(dtype)
    changed, same = augment.augment(image, mask, ON_VALUES[name], np.random.default_rng(1))
    assert changed.dtype == dtype and changed.shape == image.shape
    assert changed.min() >= 0 and changed.max() <= 255
    assert (changed != image).any()
    np.testing.assert_array_equal(same, mask)


def test_the_generator_settles_everything():
    image, mask = picture_and_mask()
    everything = augment.Compose(
        [*GEOMETRIC.values(), augment.SomeOf((1, 3), list(ON_VALUES.values()))]
    )
    first, again, other = (
        augment.augment(image, mask, everything, np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != other[0]).any()


def test_some_of_takes_so_many_in_their_order():
    def mark(number):
        return lambda image, mask, rng: (np.append(image, number), mask)

    some = augment.SomeOf((1, 3), [mark(i) for i in range(4)])
    rng = np.random.default_rng(0)
    taken = [some(np.array([]), None, rng)[0].tolist() for _ in range(60)]
    assert {len(numbers) for numbers in taken} == {1, 2, 3}
    assert all(numbers == sorted(set(numbers)) for numbers in taken)
    assert {number for numbers in taken for number in numbers} == {0, 1, 2, 3}


def test_what_is_refused():
    image, mask = picture_and_mask()
    rng = np.random.default_rng(0)
    with pytest.raises(TypeError, match="is a list: it must be a function"):
        augment.augment(image, mask, [augment.turn()], rng)
    with pytest.raises(ValueError, match=r"from \(40, 40, 3\) to \(20, 40, 3\)"):
        augment.augment(image, mask, lambda image, mask, rng: (image[:20], mask), rng)


# -- Stand-ins for imgaug and albumentations, by their interfaces ------------------------------


class Fliplr:
    """imgaug's way: `to_deterministic`, `augment_image`, and hooks that masks are asked about."""

    def to_deterministic(self):
        return self

    def change(self, image):
        return image[:, ::-1]

    def augment_image(self, image, hooks=None):
        if hooks is None or hooks.is_activated(image, self, [], True):
            return self.change(hooks.preprocess(image, self, []) if hooks else image)
        return image


class Multiply(Fliplr):
    def change(self, image):
        return (image * 0.5).astype(image.dtype)


@pytest.mark.parametrize("augmenter", [Fliplr(), Multiply()], ids=lambda a: type(a).__name__)
def test_an_imgaug_augmenter_touches_masks_by_its_name(augmenter):
    image, mask = picture_and_mask()
    changed, moved = augment.augment(image, mask, augmenter, np.random.default_rng(0))
    np.testing.assert_array_equal(changed, augmenter.change(image))
    expected = mask[:, ::-1] if type(augmenter) is Fliplr else mask
    np.testing.assert_array_equal(moved, expected)
    # A picture without instances has no mask to augment.
    _, nothing = augment.augment(image, mask[..., :0], augmenter, np.random.default_rng(0))
    assert nothing.shape == (40, 40, 0)


def test_an_albumentations_compose(monkeypatch):
    class ShiftDown:
        def set_random_seed(self, seed):
            self.rng = np.random.default_rng(seed)

        def __call__(self, image, masks):
            rows = self.rng.integers(1, 20)
            return {
                "image": np.roll(image, rows, axis=0),
                "masks": [np.roll(mask, rows, axis=0) for mask in masks],
            }

    monkeypatch.setitem(sys.modules, "albumentations", types.ModuleType("albumentations"))
    ShiftDown.__module__ = "albumentations.core.composition"
    image, mask = picture_and_mask()
    changed, moved = augment.augment(image, mask, ShiftDown(), np.random.default_rng(5))
    again, _ = augment.augment(image, mask, ShiftDown(), np.random.default_rng(5))
    assert (changed != image).any() and moved.dtype == bool
    np.testing.assert_array_equal(changed[..., :2] > 0, moved)
    np.testing.assert_array_equal(changed, again)
    _, nothing = augment.augment(image, mask[..., :0], ShiftDown(), np.random.default_rng(5))
    assert nothing.shape == (40, 40, 0)


def test_instances_that_leave_the_picture_are_dropped():
    def to_the_right(image, mask, rng):
        moved = np.zeros_like(mask)
        moved[:, 30:] = mask[:, :-30]
        return image, moved

    before, classes = Blobs().load_mask(1)
    stays = before[:, :-30].any(axis=(0, 1))
    assert 0 < stays.sum() < 3
    *_, class_ids, boxes, masks = load_image_gt(Blobs(), config(), 1, augmentation=to_the_right)
    np.testing.assert_array_equal(class_ids, classes[stays])
    assert len(boxes) == masks.shape[-1] == stays.sum() and (boxes[:, 1] >= 30).all()
