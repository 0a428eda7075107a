"""Tiles without seams: with a detector that makes no mistakes, every object comes out once."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mrcnn.detect.joining import Joiner
from mrcnn.detect.parts import parts_of
from mrcnn.detect.tiles import Tiling, plan_tiles
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
