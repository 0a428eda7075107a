"""Mini masks from masks cut to their boxes: the same as from full ones, which remain unmade."""

import functools
import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled_sets import CAT, DOG, SIZE, coco_content, make, mask_of, picture, write_json
from pycocotools import mask as coco_mask

from mrcnn.config import Config
from mrcnn.data import augment
from mrcnn.data import open as open_set
from mrcnn.data.dataset import Dataset, mask_crops
from mrcnn.data.formats import FORMATS, FormatError, labelled
from mrcnn.data.formats.rle import region_of
from mrcnn.data.inputs import load_image_gt
from mrcnn.data.joining import join
from mrcnn.data.parts import View, with_classes
from mrcnn.geometry.boxes import extract_bboxes
from mrcnn.geometry.crops import MaskCrops
from mrcnn.geometry.masks import minimize_mask


class Full(Dataset):
    """A picture of noise whose masks are given in full."""

    def __init__(self, masks, class_ids=None):
        super().__init__()
        self.add_class("toy", 1, "square")
        self.add_class("toy", 2, "disc")
        self.add_image("toy", "p7", "photos/p7.png")
        self.prepare()
        self.masks = masks
        self.class_ids = np.ones(masks.shape[-1], int) if class_ids is None else class_ids

    def load_image(self, image_id):
        shape = (*self.masks.shape[:2], 3)
        return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)

    def load_mask(self, image_id):
        return self.masks, self.class_ids


class Cut(Full):
    """The same, cut; the masks in full are out of reach."""

    load_mask = Dataset.load_mask

    def load_mask_crops(self, image_id):
        return MaskCrops.from_masks(self.masks), self.class_ids


def config_of(**settings):
    return type("SmallConfig", (Config,), {"NUM_CLASSES": 3, **settings})()


SMALL = config_of(IMAGE_MIN_DIM=64, IMAGE_MAX_DIM=128)


def masks_of(rng, height, width):
    masks = rng.random((height, width, rng.integers(0, 6))) < 0.7
    for i in range(masks.shape[-1]):
        y1, y2, x1, x2 = *np.sort(rng.integers(0, height, 2)), *np.sort(rng.integers(0, width, 2))
        outside = np.ones((height, width), bool)
        outside[y1:y2, x1:x2] = False
        masks[outside, i] = False
    return masks


def shifted(image, mask, rng):
    """Somebody's own augmentation, which works on an array."""
    assert type(mask) is np.ndarray
    columns = rng.integers(1, 20)
    return np.roll(image, columns, axis=1), np.roll(mask, columns, axis=1)


class Watched(augment.Compose):
    def __call__(self, image, mask, rng):
        return super().__call__(image, *shifted(image, mask, rng)[1:], rng)


@functools.wraps(augment.turn())  # carries its attributes
def wrapped(image, mask, rng):
    return augment.turn()(*shifted(image, mask, rng), rng)


OURS = [
    augment.flip_left_right(0.5),
    augment.flip_up_down(0.5),
    augment.turn(),
    augment.scale_and_shift((0.5, 2), 0.3),
    augment.brightness(),
]
AUGMENTATIONS = [
    None,
    augment.Compose(OURS),
    augment.SomeOf((1, 3), [*OURS, augment.Compose(OURS[1:3])]),
    shifted,
    augment.Compose([augment.turn(), shifted]),
    Watched([augment.turn()]),
    wrapped,
]


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["none", "square", "pad64", "crop"]),
    st.sampled_from(AUGMENTATIONS),
    st.booleans(),
)
def test_mini_masks_are_those_of_full_masks(seed, mode, augmentation, old_flip):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(5, 90, 2)
    masks = masks_of(rng, height, width)
    config = config_of(
        IMAGE_RESIZE_MODE=mode,
        IMAGE_MIN_DIM=64,
        IMAGE_MAX_DIM=int(rng.choice([64, 128])),
        IMAGE_MIN_SCALE=float(rng.choice([0, 1.3])),
        MINI_MASK_SHAPE=(12, 20),
    )
    class_ids = rng.choice([1, 2, -2], masks.shape[-1])

    def load(dataset, mini):
        own = np.random.default_rng(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            found = load_image_gt(dataset, config, 0, old_flip, augmentation, mini, rng=own)
        return *found, own.random()  # the same numbers must have been drawn

    *same, bbox, full, drawn = load(Full(masks, class_ids), False)
    expected = (*same, bbox, minimize_mask(bbox, full, (12, 20)), drawn)
    for dataset in (Full(masks, class_ids), Cut(masks, class_ids)):
        for found, wanted in zip(load(dataset, True), expected):
            np.testing.assert_array_equal(found, wanted)
            assert np.asarray(found).dtype == np.asarray(wanted).dtype
    np.testing.assert_array_equal(load(Cut(masks, class_ids), False)[4], full)


# -- Sets that give crops -----------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_gives_crops(format, tmp_path):
    make(format, tmp_path)
    dataset = open_set(tmp_path)
    for image_id, region in enumerate((CAT, DOG)):
        crops, class_ids = dataset.load_mask_crops(image_id)
        rows, columns = region
        assert crops.boxes[0].tolist() == [rows.start, columns.start, rows.stop, columns.stop]
        assert all(piece.all() for piece in crops.pieces)
        masks, ids = dataset.load_mask(image_id)
        np.testing.assert_array_equal(masks[..., 0], mask_of(region))
        np.testing.assert_array_equal(masks, crops.full())
        np.testing.assert_array_equal(ids, class_ids)
        assert class_ids.dtype == np.int32


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_region_of_runs_is_what_pycocotools_decodes(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 30, 2).tolist()
    pixels = height * width
    ends = np.sort(rng.integers(0, pixels + 1, rng.integers(0, 12)))
    if rng.random() < 0.5:  # runs without a pixel among them
        ends = np.sort(np.append(ends, rng.choice(np.append(ends, [0, pixels]), 4)))
    runs = np.diff(ends, prepend=0, append=pixels)
    rle = coco_mask.frPyObjects({"size": [height, width], "counts": runs.tolist()}, height, width)
    (y1, x1, y2, x2), piece = region_of(runs, height)
    mask = np.zeros((height, width), bool)
    mask[y1:y2, x1:x2] = piece
    np.testing.assert_array_equal(mask, coco_mask.decode(rle))
    columns = extract_bboxes(mask[..., None])[0, 1::2]
    assert [x1, x2] == columns.tolist()  # rows may be more than needed


def many_polygons(folder, count, side):
    """A COCO file of so many octagons in a large picture."""
    picture(folder / "a.png", side, side)
    rng = np.random.default_rng(0)
    angle = np.arange(8) * np.pi / 4
    annotations = []
    for i in range(count):
        points = rng.uniform(0, side, 2) + 30 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        outline = [points.clip(0, side).ravel().tolist()]
        annotations.append({"id": i, "image_id": 1, "category_id": 1, "segmentation": outline})
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": side, "width": side}],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "nut"}],
    }
    write_json(folder / "instances.json", content)
    return open_set(folder)


def test_training_makes_no_full_masks(tmp_path):
    dataset = many_polygons(tmp_path, count=200, side=700)  # 98 MB in full
    tracemalloc.start()
    found = load_image_gt(dataset, SMALL, 0, use_mini_mask=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found[-1].shape == (56, 56, 200)
    assert peak < 20e6  # takes 5 MB


def test_what_covers_no_pixel_is_told_and_too_much_refused(tmp_path, monkeypatch):
    content = coco_content()
    tiny = {**content["annotations"][0], "segmentation": [[3.1, 3.1, 3.2, 3.1, 3.2, 3.2]]}
    content["annotations"].append({**tiny, "id": 9})
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    write_json(tmp_path / "instances.json", content)
    dataset = open_set(tmp_path)
    assert len(dataset.load_mask_crops(0)[0]) == 1
    assert any(note.startswith("Instances that cover no pixel") for note in dataset.notes)
    assert load_image_gt(dataset, SMALL, 0, use_mini_mask=True)[2].tolist() == [1]

    monkeypatch.setattr(labelled, "_MOST_BYTES", 500)
    assert dataset.load_mask_crops(0)[0].boxes.tolist() == [[5, 10, 15, 30]]  # 200 bytes
    with pytest.raises(FormatError, match=r"a\.png: its instances' masks take more than"):
        dataset.load_mask(0)
    monkeypatch.setattr(labelled, "_MOST_BYTES", 100)
    with pytest.raises(FormatError, match="cut the picture into pieces"):
        dataset.load_mask_crops(0)


# -- Who is asked -------------------------------------------------------------------------------


def upper_half(method):
    """A load_mask that takes away what lies below row 20."""

    def load_mask(self, image_id):
        masks, class_ids = method(self, image_id)
        masks = masks.copy()
        masks[20:] = False
        return masks, class_ids

    return load_mask


def mini_boxes(dataset, image_id=0):
    """The boxes that training with mini masks sees; the picture keeps its size."""
    config = config_of(IMAGE_RESIZE_MODE="none")
    return load_image_gt(dataset, config, image_id, use_mini_mask=True)[3].tolist()


def test_a_load_mask_of_ones_own_counts_more(tmp_path):
    make("coco", tmp_path)
    dataset = open_set(tmp_path)
    kind = type(dataset)
    whole, half = [[20, 30, 31, 51]] * 2, []
    assert mini_boxes(dataset, 1) == whole

    overridden = type("Mine", (kind,), {"load_mask": upper_half(kind.load_mask)})
    mixin = type("Half", (), {"load_mask": upper_half(kind.load_mask)})
    for mine in (overridden, type("Mine", (mixin, kind), {}), type("More", (overridden,), {})):
        dataset.__class__ = mine
        assert mask_crops(dataset, 1) is None and mini_boxes(dataset, 1) == half
    # Crops that are overridden in a later class than load_mask count more in their turn.
    nothing = {"load_mask_crops": lambda self, image_id: (MaskCrops(SIZE, [], []), [])}
    dataset.__class__ = type("Both", (overridden,), nothing)
    assert mini_boxes(dataset, 0) == []

    dataset.__class__ = kind
    dataset.load_mask = lambda image_id: (np.zeros((*SIZE, 0), bool), [])
    assert mini_boxes(dataset, 1) == []


def test_a_stand_in_with_a_load_mask_of_its_own_is_asked_for_it(tmp_path):
    make("coco", tmp_path)
    dataset = open_set(tmp_path)

    class StandIn:
        def __getattr__(self, name):
            return getattr(dataset, name)

        load_mask = upper_half(lambda self, image_id: dataset.load_mask(image_id))

    assert mini_boxes(StandIn(), 1) == [] and mini_boxes(StandIn(), 0) == [[5, 10, 15, 30]]


def test_views_and_joined_sets_hand_crops_on(tmp_path, monkeypatch):
    make("coco", tmp_path / "one")
    make("via", tmp_path / "two")
    one, two = (open_set(tmp_path / name) for name in ("one", "two"))
    view = with_classes(one, ["BG", "dog", "cat"])
    joined = join({"train": one}, {"two": {"all": two}})["train"]
    assert type(view) is View
    for dataset in (view, joined):
        for image_id in dataset.image_ids:
            masks, class_ids = dataset.load_mask(image_id)
            crops, ids = mask_crops(dataset, image_id)
            np.testing.assert_array_equal(crops.full(), masks)
            np.testing.assert_array_equal(ids, class_ids)
    assert view.load_mask_crops(1)[1].tolist() == [1, -1]  # a dog, and a crowd of dogs
    # And they hand on that a set has none to give.
    monkeypatch.setattr(one, "load_mask", lambda image_id: (mask_of(DOG)[..., None], [1]))
    assert mask_crops(view, 0) is None and mini_boxes(view) == [[20, 30, 31, 51]]
    assert mask_crops(joined, 0) is None and mask_crops(joined, 2) is not None


def test_crops_alone_make_a_dataset():
    masks = np.zeros((30, 40, 2), bool)
    masks[3:9, 5:20, 0] = masks[10:, 30:, 1] = True
    dataset = Cut(masks, [1, -2])
    found, class_ids = dataset.load_mask(0)
    np.testing.assert_array_equal(found, masks)
    assert class_ids.tolist() == [1, -2] and class_ids.dtype == np.int32


# -- What does not fit --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "found, message",
    [
        ((MaskCrops((64, 64), [(0, 0, 1, 1)] * 2, [np.ones((1, 1))] * 2), [1]), "2 masks and 1 cl"),
        ((MaskCrops((64, 32), [(0, 0, 1, 1)], [np.ones((1, 1))]), [1]), "64x32 and .* is 64x64"),
        ((MaskCrops((64, 64), [(0, 0, 1, 1)], [np.ones((1, 1))]), [3]), r"ids \[3\]; .* 1 to 2"),
        ((np.ones((64, 64, 1), bool), [1]), "returned a ndarray .* must be a MaskCrops"),
    ],
)
def test_what_does_not_fit_names_the_picture_and_the_method(found, message):
    dataset = Cut(np.zeros((64, 64, 0), bool))
    dataset.load_mask_crops = lambda image_id: found
    with pytest.raises(ValueError, match=r"Picture 0 \(toy.p7, photos/p7.png\): .*" + message):
        load_image_gt(dataset, SMALL, 0, use_mini_mask=True)


def test_a_set_that_is_not_prepared_is_told_so():
    dataset = Cut(np.zeros((64, 64, 0), bool))
    del dataset.num_classes
    with pytest.raises(ValueError, match="prepare"):
        load_image_gt(dataset, SMALL, 0, use_mini_mask=True)


def test_no_instance_needs_no_size():
    dataset = Cut(np.zeros((64, 64, 0), bool))
    dataset.load_mask_crops = lambda image_id: (MaskCrops((0, 0), [], []), [])
    *_, class_ids, bbox, mask = load_image_gt(dataset, SMALL, 0, use_mini_mask=True)
    assert class_ids.shape == (0,) and bbox.shape == (0, 4) and mask.shape == (56, 56, 0)
