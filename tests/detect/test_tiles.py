"""Tiles without seams: with a detector that makes no mistakes, every object comes out once."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from small_network import small_config

from mrcnn.data.windows import ArrayWindows
from mrcnn.detect.instances import Instances, LimitWarning
from mrcnn.detect.joining import Joiner
from mrcnn.detect.parts import parts_of
from mrcnn.detect.tiled import DetectsTiles, detect_tiles
from mrcnn.detect.tiles import Tile, Tiling, plan_tiles
from mrcnn.errors import UsageError
from mrcnn.geometry.regions import ellipse_mask, polygon_mask


def seen(labels, tile, apart=True):
    """What a detector without mistakes finds in a tile: each thing that is visible there.

    labels: int [height, width], 0 is the background. apart: pieces that don't hang together in the
    tile are things of their own, as nobody could know better.
    """
    part = labels[tile.top : tile.bottom, tile.left : tile.right]
    masks = []
    for number in np.unique(part[part > 0]):
        pieces, count = ndimage.label(part == number, np.ones((3, 3)))
        masks += [pieces == i for i in range(1, count + 1)] if apart else [pieces > 0]
    boxes = [
        (ys.min(), xs.min(), ys.max() + 1, xs.max() + 1)
        for ys, xs in (np.nonzero(mask) for mask in masks)
    ]
    return {
        "rois": np.array(boxes, int).reshape(-1, 4),
        "class_ids": np.ones(len(masks), int),
        "scores": np.ones(len(masks)),
        "masks": np.stack(masks, axis=-1) if masks else np.zeros((*part.shape, 0), bool),
    }


def joined(labels, tiling, apart=True):
    joiner, objects, top = Joiner(labels.shape), [], 0
    for tile in plan_tiles(labels.shape, tiling):
        if tile.top != top:
            top = tile.top
            objects += joiner.finished(top)
        joiner.add(tile, parts_of(seen(labels, tile, apart), tile, labels.shape))
    return objects + joiner.finished()


def full(thing, shape):
    mask = np.zeros(shape, bool)
    y1, x1, y2, x2 = thing.box
    mask[y1:y2, x1:x2] = thing.mask
    return mask


@st.composite
def scenes(draw):
    """Discs, bars and arcs on a plane, which may touch but not cover each other."""
    height, width = draw(st.integers(70, 330)), draw(st.integers(70, 330))
    labels, count = np.zeros((height, width), np.int32), 0
    for _ in range(draw(st.integers(1, 14))):
        center = draw(st.integers(0, height)), draw(st.integers(0, width))
        kind = draw(st.sampled_from(["disc", "bar", "arc"]))
        angle = draw(st.floats(0, np.pi))
        if kind == "disc":
            radius = draw(st.integers(3, 60))
            mask = ellipse_mask(center, (radius, radius), labels.shape)
        elif kind == "bar":
            radii = draw(st.integers(40, 200)), draw(st.integers(3, 12))
            mask = ellipse_mask(center, radii, labels.shape, angle)
        else:
            mask = arc(center, draw(st.integers(20, 120)), draw(st.integers(5, 14)), angle)(labels)
        labels, count = placed(labels, mask, count)
    return labels


def arc(center, radius, width, angle):
    turns = np.linspace(angle, angle + 1.3 * np.pi, 60)[:, None]
    ring = np.concatenate([np.sin(turns), np.cos(turns)], axis=1)
    outline = np.concatenate([ring * radius, ring[::-1] * (radius - width)]) + center
    return lambda labels: polygon_mask(outline, labels.shape)


def placed(labels, mask, count):
    """Labels with one thing more, where there is room for it: the largest piece that is left."""
    pieces, number = ndimage.label(mask & (labels == 0), np.ones((3, 3)))
    if not number:
        return labels, count
    sizes = np.bincount(pieces.ravel())[1:]
    if sizes.max() < 12:
        return labels, count
    labels[pieces == 1 + sizes.argmax()] = count + 1
    return labels, count + 1


@given(scenes(), st.integers(64, 160), st.floats(0.1, 0.5), st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_object_comes_out_once_and_whole(labels, side, share, apart):
    tiling = Tiling(side, max(int(share * side), 4))
    objects = joined(labels, tiling, apart)
    shown = [full(thing, labels.shape) for thing in objects]
    truth = [labels == number for number in range(1, labels.max() + 1)]
    assert len(objects) == len(truth)
    for mask in truth:
        overlap = max((mask & other).sum() / (mask | other).sum() for other in shown)
        assert overlap >= 0.99


# -- Where tiles lie ------------------------------------------------------------------------


@given(st.integers(1, 900), st.integers(1, 900), st.integers(64, 300), st.floats(0.01, 0.5))
@settings(max_examples=200, deadline=None)
def test_tiles_cover_a_picture_and_overlap_enough(height, width, side, share):
    tiling = Tiling(side, max(int(share * side), 1))
    tiles = plan_tiles((height, width), tiling)
    covered = np.zeros((height, width), bool)
    for tile in tiles:
        assert (tile.bottom - tile.top, tile.right - tile.left) == (
            min(side, height),
            min(side, width),
        )
        covered[tile.top : tile.bottom, tile.left : tile.right] = True
    assert covered.all() and tiles == sorted(tiles)
    tops = sorted({tile.top for tile in tiles})
    assert all(top + side - below >= tiling.overlap for top, below in zip(tops, tops[1:]))


def test_a_tiling_follows_the_network():
    square = small_config(IMAGE_MAX_DIM=512, IMAGE_MIN_DIM=0)
    assert Tiling.of(square, (3000, 4000)) == Tiling(512, 128)
    doubled = small_config(IMAGE_RESIZE_MODE="pad64", IMAGE_MIN_DIM=0, IMAGE_MIN_SCALE=2)
    assert Tiling.of(doubled, (3000, 4000)) == Tiling(512, 64)
    assert Tiling.of(doubled, (3000, 4000), 300, 20, True) == Tiling(300, 20, True)
    assert not Tiling(300, 20).divides((300, 250)) and Tiling(300, 20).divides((10, 301))


@pytest.mark.parametrize("side, overlap", [(63, 8), (128, 0), (128, 65)])
def test_tiles_that_cannot_be_are_refused(side, overlap):
    with pytest.raises(UsageError, match="pixels"):
        Tiling(side, overlap)


# -- What a real detector does ----------------------------------------------------------------

LEFT, RIGHT = Tile(0, 0, 100, 100), Tile(0, 60, 100, 160)
SHAPE = (100, 160)


def found(tile, *boxes, score=0.9, class_id=1):
    """Full boxes in the frame of the picture, as a detector gives them in the tile's."""
    boxes = np.array(boxes, int).reshape(-1, 4) - [tile.top, tile.left, tile.top, tile.left]
    masks = np.zeros((tile.bottom - tile.top, tile.right - tile.left, len(boxes)), bool)
    for i, (y1, x1, y2, x2) in enumerate(boxes):
        masks[y1:y2, x1:x2, i] = True
    scores, ids = np.full(len(boxes), score), np.full(len(boxes), class_id)
    return parts_of(
        {"rois": boxes, "class_ids": ids, "scores": scores, "masks": masks}, tile, SHAPE
    )


def join(left, right, limited=False):
    joiner = Joiner(SHAPE)
    joiner.add(LEFT, left)
    joiner.add(RIGHT, right, limited)
    return sorted(thing.box for thing in joiner.finished())


def test_a_whole_mask_wins_over_a_cut_one():
    # The left tile sees a part, and that badly.
    left, right = found(LEFT, (12, 72, 40, 100), score=0.99), found(RIGHT, (10, 70, 42, 120))
    assert join(left, right) == [(10, 70, 42, 120)]


def test_two_looks_at_one_thing_count_once():
    left, right = found(LEFT, (10, 66, 40, 94)), found(RIGHT, (11, 65, 41, 95), score=0.8)
    assert len(join(left, right)) == 1


def test_a_scrap_that_the_other_tile_does_not_find_is_left_out_unless_that_was_full():
    scrap = (10, 80, 40, 100)
    assert join(found(LEFT, scrap), []) == []
    assert join(found(LEFT, scrap), [], limited=True) == [scrap]
    assert join(found(LEFT, (10, 70, 40, 95)), []) == [(10, 70, 40, 95)]  # no scrap: it is whole


def test_neighbours_that_a_seam_cuts_stay_two_though_the_next_tile_takes_them_for_one():
    left = found(LEFT, (10, 30, 40, 100), (40, 30, 64, 100))
    right = found(RIGHT, (10, 60, 64, 130))
    boxes = join(left, right)
    assert len(boxes) == 2 and (40, 30, 64, 100) in boxes


def test_a_sliver_at_the_border_of_a_tile_glues_no_neighbours():
    # Both reach a little into the other tile, where their masks agree by chance.
    left, right = found(LEFT, (10, 20, 40, 64)), found(RIGHT, (10, 61, 40, 110))
    assert len(join(left, right)) == 2


def test_parts_of_different_classes_are_not_joined():
    left = found(LEFT, (10, 30, 40, 100))
    right = found(RIGHT, (10, 60, 40, 130), class_id=2)
    assert len(join(left, right)) == 2


def test_what_is_longer_than_a_tile_is_found_by_the_coarse_look():
    labels = np.zeros((300, 300), np.int32)
    labels[20:280, 20:280] = 1
    labels[285:295, 100:110] = 2

    def detect(picture):  # sees what ends somewhere in the picture, as networks do
        result = seen(picture, Tile(0, 0, *picture.shape))
        y1, x1, y2, x2 = result["rois"].T
        height, width = picture.shape
        ends = (y1 > 0) & (x1 > 0) & (y2 < height) & (x2 < width)
        return {k: v[..., ends] if k == "masks" else v[ends] for k, v in result.items()}

    for coarse, count in ((False, 1), (True, 2)):
        result = detect_tiles(ArrayWindows(labels), detect, Tiling(100, 30, coarse))
        assert len(result) == count
    assert np.abs(result.boxes - [20, 20, 280, 280]).max(axis=1).min() <= 3


def test_detect_tiled_gives_instances_and_tells_of_limits(tmp_path, monkeypatch):
    monkeypatch.setattr("mrcnn.detect.check._warned", set())
    labels = np.zeros((200, 300), np.int32)
    labels[10:40, 80:120], labels[60:190, 150:160] = 1, 2

    class Network(DetectsTiles):
        config = small_config(DETECTION_MAX_INSTANCES=2)
        class_names = ["BG", "rod", "plate"]

        def detect(self, pictures):
            result = Instances(seen(pictures[0], Tile(0, 0, *pictures[0].shape)))
            result.limited = len(result) == 2
            return [result]

    with pytest.warns(LimitWarning, match="1 of the 6 tiles of a picture of 200x300 have 2"):
        result = Network().detect_tiled(labels, side=128, overlap=40)
    assert result.limited and result.tiles == (1, 6) and result.counts() == {"rod": 2}
    assert [piece.sum() for piece in result.crops.pieces] == [1200, 1300]
    assert (result.masks.sum(axis=2) == (labels > 0)).all()
    assert result.of_class("rod")[0].crops.shape == (200, 300, 1)
    result.save(tmp_path / "found.json")
    assert (Instances.load(tmp_path / "found.json").masks == result.masks).all()
