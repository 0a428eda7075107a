"""Overlays of crowds and of large pictures: labels in their boxes, and no picture too dear."""

import tracemalloc

import numpy as np
import pytest

from mrcnn.drawing.instances import check_instances, paint, render_instances
from mrcnn.drawing.labels import draw_labels_inside
from mrcnn.drawing.pixels import lay_over


@pytest.fixture
def axes():
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), dpi=128)  # 640 pixels
    FigureCanvasAgg(figure)
    ax = figure.add_axes([0, 0, 1, 1])
    ax.set_xlim(-0.5, 639.5)
    ax.set_ylim(639.5, -0.5)
    return ax


def _extents(labels, ax):
    """[labels, (y1, x1, y2, x2)] in pixels of the picture."""
    found = [label.get_window_extent() for label in labels]
    return np.array([[640 - e.y1, e.x0, 640 - e.y0, e.x1] for e in found])


def test_scores_stand_in_their_boxes_and_not_on_each_other(axes):
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 560, (80, 2))
    boxes = np.hstack([corners, corners + rng.uniform(20, 80, (80, 2))])
    texts = [f"0.{i:02}" for i in range(80)]
    labels = draw_labels_inside(axes, boxes, texts)
    assert len(labels) > 40
    extents = _extents(labels, axes)
    for label, extent in zip(labels, extents):
        box = boxes[texts.index(label.get_text())]
        assert (extent[:2] >= box[:2] - 3).all() and (extent[2:] <= box[2:] + 3).all()
        assert 4.5 <= label.get_fontsize() <= 6
    near = np.maximum(extents[:, None, :2], extents[None, :, :2]) + 2  # a text's box has some air
    far = np.minimum(extents[:, None, 2:], extents[None, :, 2:]) - 2
    assert ((far > near).all(axis=2).sum(axis=1) == 1).all()


def test_what_could_not_be_read_is_left_out(axes):
    boxes = [[0, 0, 5, 60], [100, 100, 160, 110], [200, 200, 230, 260], [0, 0, 0, 0]]
    (label,) = draw_labels_inside(axes, np.array(boxes), ["0.11", "0.22", "0.33", "0.44"])
    assert label.get_text() == "0.33"
    assert draw_labels_inside(axes, np.zeros((0, 4)), []) == []


def test_an_outer_box_has_its_score_beside_the_inner_one(axes):
    boxes = np.array([[100, 100, 200, 200], [120, 120, 180, 180]])
    inner, outer = draw_labels_inside(axes, boxes, ["0.80", "0.90"])
    assert (inner.get_text(), outer.get_text()) == ("0.90", "0.80")
    y1, x1, y2, x2 = _extents([outer], axes)[0]
    assert y2 < 123 or y1 > 177 or x2 < 123 or x1 > 177


def test_marks_lie_over_the_enlarged_picture():
    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    marks = np.zeros((4, 4, 4), np.uint8)
    marks[0, 1] = 200, 100, 0, 255
    marks[3, 3] = 100, 100, 100, 51  # a fifth
    laid = lay_over(picture, marks, 2)
    expected = picture.repeat(2, axis=0).repeat(2, axis=1)
    expected[0, 1] = 200, 100, 0
    expected[3, 3] = np.rint(expected[3, 3] * 0.8 + 20)
    np.testing.assert_array_equal(laid, expected)


def test_a_large_picture_costs_some_bytes_a_pixel_and_not_130():
    picture = np.zeros((2000, 2000, 3), np.uint8)
    instances = check_instances(
        picture, [[9, 9, 99, 99]], None, [1], ["BG", "a"], [0.9], None, None
    )
    tracemalloc.start()
    painted = paint(instances)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert painted.shape == picture.shape and painted.any()
    assert peak < 20 * 2000 * 2000


def test_a_large_mask_is_tinted_in_strips_and_outlined_coarsely(monkeypatch):
    picture = np.random.default_rng(0).integers(0, 256, (300, 200, 3), dtype=np.uint8)
    mask = np.zeros((300, 200, 1), bool)
    mask[20:280, 30:190] = True
    arguments = picture, [[20, 30, 280, 190]], mask, [1], ["BG", "a"]
    fine = render_instances(*arguments, captions=[""])
    monkeypatch.setattr("mrcnn.drawing.pixels._STRIP", 7)
    np.testing.assert_array_equal(render_instances(*arguments, captions=[""]), fine)
    monkeypatch.setattr("mrcnn.drawing.labels._LONGEST_OUTLINED", 130)  # every other pixel
    coarse = render_instances(*arguments, captions=[""])
    assert 0 < (coarse != fine).any(axis=2).mean() < 0.03


def test_what_is_too_long_to_draw_on_is_told():
    with pytest.raises(ValueError, match="1x65536 pixels: nothing can be drawn"):
        render_instances(np.zeros((1, 65536), np.uint8), [], None, [], ["BG"])


def test_names_that_are_no_text_are_drawn_as_escapes():
    image = np.zeros((64, 64, 3), np.uint8)
    drawn = render_instances(image, [[9, 9, 50, 50]], None, [1], ["BG", "\udcff\n"])
    assert drawn.any()
