"""Run lengths made of cut masks are those of the masks in full, and lead back to them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco

from mrcnn.geometry.crops import MaskCrops
from mrcnn.geometry.rle import decode_crops, encode

masks = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(0, 3)).flatmap(
    lambda shape: arrays(bool, shape)
)


@given(masks)
@settings(max_examples=200, deadline=None)
def test_crops_have_the_run_lengths_of_the_full_masks(masks):
    crops = MaskCrops.from_masks(masks)
    assert encode(crops) == encode(masks)
    assert (decode_crops(encode(crops), masks.shape).full() == masks).all()


@given(masks.filter(lambda masks: masks.shape[2]), st.data())
@settings(max_examples=100, deadline=None)
def test_crops_are_indexed_as_the_array(masks, data):
    crops = MaskCrops.from_masks(masks)
    i = data.draw(st.integers(0, masks.shape[2] - 1))
    y1, y2, x1, x2 = (data.draw(st.integers(0, 9)) for _ in range(4))
    for key in ((..., i), (slice(y1, y2), slice(x1, x2), i), (..., slice(1)), (0, slice(None), i)):
        assert (np.asarray(crops[key]) == masks[key]).all()
        assert np.asarray(crops[key]).shape == masks[key].shape


def test_a_run_longer_than_32_bits_is_written_in_parts():
    crops = MaskCrops(
        (70_000, 70_000), [(69_990, 69_998, 70_000, 70_000)], [np.ones((10, 2), bool)]
    )
    (rle,) = encode(crops)
    assert decode_crops([rle], crops.shape).boxes.tolist() == crops.boxes.tolist()
    assert coco.area(rle) == 20


def test_run_lengths_that_do_not_add_up_are_refused():
    with pytest.raises(ValueError, match="don't add up to 3x3"):
        decode_crops([{"size": [3, 3], "counts": b"0"}], (3, 3))
