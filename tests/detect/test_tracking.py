"""Who is who through time: objects keep their numbers when they cross, hide, and are missed."""

import numpy as np
import pytest
from moving import frames, idf1, switches

from mrcnn.detect.tracking import Tracker
from mrcnn.geometry.crops import MaskCrops


@pytest.fixture(scope="module")
def clip():
    """[(masks cut to their boxes, who)] of 150 frames with 20 objects."""
    return [(MaskCrops.from_masks(masks), who) for _, masks, who in frames()]


def follow(clip, missed=0.0):
    """(truth, told, tracker); missed: share of instances that the network doesn't find."""
    rng, tracker, truth, told = np.random.default_rng(2), Tracker(), [], []
    for masks, who in clip:
        there = rng.random(len(who)) >= missed
        numbers = np.zeros(len(who), int)
        numbers[there] = tracker(masks[:, :, there], np.ones(there.sum(), int))
        truth.append(who.tolist())
        told.append(numbers.tolist())
    return truth, told, tracker


def test_twenty_objects_that_hide_each_other(clip):
    truth, told, tracker = follow(clip)
    assert idf1(truth, told) >= 0.95
    assert switches(truth, told) <= 3
    assert 20 <= tracker.distinct()[1] <= 22


def test_a_network_that_misses_every_tenth(clip):
    truth, told, tracker = follow(clip, missed=0.1)
    assert idf1(truth, told) >= 0.85  # a tenth has no number at all
    assert tracker.distinct()[1] <= 26


def test_the_measures_see_what_is_wrong():
    truth = [[1, 2]] * 4
    assert idf1(truth, [[1, 2]] * 4) == 1 and switches(truth, [[1, 2]] * 4) == 0
    crossed = [[1, 2], [1, 2], [2, 1], [2, 1]]
    assert idf1(truth, crossed) == 0.5 and switches(truth, crossed) == 2


def square(y, x, side=10):
    masks = np.zeros((60, 200, 1), bool)
    masks[y : y + side, x : x + side] = True
    return masks


def test_what_comes_back_where_it_must_be_has_its_number():
    tracker = Tracker(patience=12)
    numbers = [tracker(square(20, 5 + 4 * i), [1]) for i in range(8)]
    for _ in range(9):
        assert tracker(np.zeros((60, 200, 0), bool), []) == []
    assert tracker(square(20, 5 + 4 * 17), [1]) == [1] and numbers == [[1]] * 8
    for _ in range(13):
        tracker(np.zeros((60, 200, 0), bool), [])
    assert tracker(square(20, 5 + 4 * 31), [1]) == [2]


def test_what_flickers_up_does_not_count():
    tracker = Tracker()
    for i in range(40):
        masks = [square(20, 5 + 4 * i)] + ([square(45, 100)] if i in (7, 8) else [])
        tracker(np.concatenate(masks, axis=2), [1] * len(masks))
    assert tracker.distinct() == {1: 1}


def test_a_class_that_the_network_takes_for_another_once():
    tracker = Tracker()
    numbers = [tracker(square(20, 5 + 4 * i), [2 if i == 4 else 1]) for i in range(8)]
    assert numbers == [[1]] * 8 and tracker.distinct() == {1: 1}


def test_empty_masks_and_empty_frames_are_nobody():
    tracker = Tracker()
    assert tracker(np.zeros((8, 8, 0), bool), []) == []
    assert tracker(np.zeros((8, 8, 2), bool), [1, 1]) == [0, 0]
    assert not tracker.distinct()


def test_memory_holds_only_those_of_a_short_while_ago():
    tracker = Tracker(patience=5)
    for i in range(300):
        tracker(square(20, (i % 2) * 150, 8 + (i * 7) % 30), [1])
    assert len(tracker._objects) < 40
