"""Pictures and plots: the original's surface, pixels, labels, files, and nothing left behind."""

import inspect
import json
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from skimage.io import imread

from mrcnn import visualize
from mrcnn.drawing import figures, plots
from mrcnn.drawing.labels import place_labels
from mrcnn.drawing.pixels import as_picture, cut_masks

NAMES = ["BG", "cat", "dog"]
GOLDEN = Path(__file__).parent / "golden"
SIGNATURES = json.loads((GOLDEN / "signatures.json").read_text())
ORIGINAL = SIGNATURES["matterport_master"]["mrcnn/visualize.py"]["functions"]


@pytest.fixture(autouse=True)
def no_open_figures():
    plt.close("all")
    yield
    plt.close("all")


def scene(count=3, height=120, width=160):
    """image, boxes, masks, class_ids, class_names: grey, with squares of 12 pixels in a row."""
    image = np.full((height, width, 3), 128, np.uint8)
    masks = np.zeros((height, width, count), bool)
    boxes = np.zeros((count, 4), int)
    for i in range(count):
        boxes[i] = 40, 10 + 24 * i, 52, 22 + 24 * i
        masks[40:52, 10 + 24 * i : 22 + 24 * i, i] = True
    return image, boxes, masks, np.arange(count) % 2 + 1, NAMES


def labels_of(figure):
    """The labels of a figure: {text: (y1, x1, y2, x2)} in pixels of the picture."""
    figure.canvas.draw()
    ax = figure.axes[0]
    found = {}
    for text in ax.texts:
        page = text.get_bbox_patch().get_window_extent().transformed(ax.transData.inverted())
        found[text.get_text()] = (*sorted([page.y0, page.y1]), *sorted([page.x0, page.x1]))
    return {text: np.array(box)[[0, 2, 1, 3]] for text, box in found.items()}


def overlap(a, b):
    """Area in which two boxes (y1, x1, y2, x2) meet."""
    return np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))


# -- The surface ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(ORIGINAL))
def test_arguments_are_those_of_the_original(name):
    parameters = inspect.signature(getattr(visualize, name)).parameters.values()
    ours = [str(p.replace(annotation=inspect.Parameter.empty)) for p in parameters]
    original = ORIGINAL[name]
    assert ours[: len(original)] == original
    assert set(ours[len(original) :]) <= {"ax=None", "save_path=None"}


def test_import_is_light():
    code = "import sys, mrcnn.visualize; print([m for m in sys.modules if m in " \
           "('tensorflow', 'keras', 'matplotlib', 'IPython')])"  # fmt: skip
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert output.stdout.strip() == "[]", output.stderr


# -- Pixels -----------------------------------------------------------------------------------


def test_colors_are_the_same_each_time_and_differ():
    for bright in (True, False):
        colors = np.array(visualize.random_colors(200, bright))
        assert np.array_equal(colors[:7], visualize.random_colors(7, bright))
        assert colors.min() >= 0 and colors.max() <= 1
        gaps = np.linalg.norm(colors[:, None] - colors[None], axis=2)
        assert gaps[~np.eye(200, dtype=bool)].min() > 0.005  # a step of an 8-bit channel
        assert np.diagonal(gaps, 1).min() > 0.4  # neighbours, of sqrt(3) at most
    assert isinstance(visualize.random_colors(1)[0], tuple)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_apply_mask(dtype):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (20, 30, 3)).astype(dtype)
    mask = np.zeros((20, 30), int)
    mask[5:9, 7:20] = rng.integers(0, 2, (4, 13))
    color, alpha = (0.2, 1.0, 0.5), 0.3
    blended = image * (1 - alpha) + alpha * np.array(color) * 255
    expected = np.where(mask[..., None] == 1, blended, image).astype(dtype)
    result = visualize.apply_mask(image, mask, color, alpha)
    assert result is image
    # An ulp of float32 at 255, for floats are blended in another order; whole numbers are equal.
    np.testing.assert_allclose(result, expected, atol=0 if dtype is np.uint8 else 2e-5)
    untouched = image.copy()
    assert np.array_equal(visualize.apply_mask(image, np.zeros((20, 30)), color), untouched)


def test_draw_box_paints_two_pixels():
    image = visualize.draw_box(np.zeros((20, 20, 3), np.uint8), [4, 5, 10, 12], (255, 0, 0))
    expected = np.zeros((20, 20), bool)
    expected[4:12, 5:14] = True
    expected[6:10, 7:12] = False
    expected[10:12, 12:14] = False  # the corner that neither of the far edges reaches
    assert np.array_equal(image[..., 0] == 255, expected)
    assert not image[..., 1:].any()


def test_any_image_becomes_a_picture():
    ramp = np.linspace(0, 1, 12).reshape(3, 4)
    eight_bits = np.rint(ramp * 255).astype(np.uint8)
    grey = np.repeat(eight_bits[..., None], 3, axis=2)
    for image in (ramp, ramp[..., None], eight_bits, eight_bits.astype(float)):
        assert np.array_equal(as_picture(image), grey)
    assert np.array_equal(as_picture(eight_bits.astype(np.uint16) * 257), grey)
    assert np.array_equal(as_picture(np.full((2, 2, 4), -7.0)), np.zeros((2, 2, 3)))
    assert as_picture(np.array([[np.nan, 1.0]])).tolist() == [[[0] * 3, [255] * 3]]
    with pytest.raises(ValueError, match=r"shape \[2, 2, 2\]"):
        as_picture(np.zeros((2, 2, 2)))
    bands = np.arange(20, dtype=np.uint8).reshape(2, 2, 5)
    assert np.array_equal(as_picture(bands), bands[..., :3])


def test_masks_are_cut_to_what_they_cover():
    _, boxes, masks, _, _ = scene()
    masks[..., 1] = False
    crops = cut_masks(masks, range(3))
    assert list(crops) == [0, 2]
    crop, corner = crops[2]
    assert corner == tuple(boxes[2, :2]) and crop.shape == (12, 12) and crop.all()


# -- Labels -----------------------------------------------------------------------------------


def test_labels_leave_small_objects_and_each_other_free():
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, 460, (40, 2))
    boxes = np.hstack([corners, corners + rng.uniform(8, 40, (40, 2))])
    sizes = np.tile([10.0, 60.0], (40, 1))
    places = place_labels(boxes, sizes, (500, 500))
    labels = np.hstack([places, places + sizes])
    assert labels.min() >= 0 and labels.max() <= 500
    hidden = [overlap(label, box) for label, box in zip(labels, boxes)]
    assert max(hidden) == 0
    pairs = [overlap(a, b) for i, a in enumerate(labels) for b in labels[:i]]
    assert np.count_nonzero(pairs) <= 1  # of 780


def test_label_of_a_full_picture_stays_inside():
    (place,) = place_labels([[0, 0, 100, 200]], [[10, 50]], (100, 200))
    assert place.tolist() in ([0, 0], [0, 150], [90, 0], [90, 150])


@pytest.mark.parametrize("corner", [(0, 0), (0, 52), (52, 0), (52, 52), (26, 26)])
def test_a_drawn_label_is_on_the_canvas_and_hides_nothing(corner):
    y, x = corner
    mask = np.zeros((64, 64, 1), bool)
    mask[y : y + 12, x : x + 12] = True
    box = np.array([y, x, y + 12, x + 12])
    image = np.zeros((64, 64, 3), np.uint8)
    figure = visualize.display_instances(image, [box], mask, [1], NAMES, [0.5], figsize=(8, 8))
    (label,) = labels_of(figure).values()
    # Half a pixel: the centre of pixel 0 lies at 0. The rest is the width of the patch's rim.
    assert label.min() > -0.7 and label.max() < 63.7
    assert overlap(label, box - 0.5) < 1


def test_labels_say_name_and_score():
    image, boxes, masks, _, names = scene()
    figure = visualize.display_instances(image, boxes, masks, [1, 2, 7], names, [0.9, 0, 0.25])
    assert set(labels_of(figure)) == {"cat 0.900", "dog 0.000", "class 7 0.250"}
    figure = visualize.display_instances(image, boxes, masks, [1, 2, 7], {1: "$a_b$"})
    assert set(labels_of(figure)) == {"$a_b$", "class 2", "class 7"}
    figure = visualize.display_instances(
        image, boxes, masks, [1, 2, 7], names, captions=["one", "", None]
    )
    assert set(labels_of(figure)) == {"one"}


# -- Instances --------------------------------------------------------------------------------


def test_rendered_picture_has_the_images_pixels():
    rng = np.random.default_rng(2)
    image = rng.integers(0, 256, (402, 701, 3)).astype(np.uint8)
    empty = np.zeros((0, 4)), np.zeros((402, 701, 0)), np.zeros(0, int), NAMES
    assert np.array_equal(visualize.render_instances(image, *empty), image)


def test_small_pictures_are_enlarged_by_a_whole_factor():
    image, *rest = scene(height=64, width=90)
    assert visualize.render_instances(image, *rest).shape == (64 * 8, 90 * 8, 3)
    enlarged = visualize.render_instances(image, [], None, [], NAMES)
    assert enlarged.dtype == np.uint8 and (enlarged == 128).all()


def test_masks_and_boxes_are_drawn_where_they_are():
    image, boxes, masks, class_ids, names = scene(1, height=640, width=640)
    boxes, masks = boxes * 0 + [200, 100, 400, 300], masks * False
    masks[200:400, 100:200] = True
    picture = visualize.render_instances(
        image, boxes, masks, class_ids, names, colors=[(1, 0, 0)], captions=[""]
    )
    assert tuple(picture[300, 150]) == (185, 70, 70)  # 0.55 * 128 + 0.45 * (255, 0, 0)
    assert (picture[300, 250] == 128).all()
    changed = np.argwhere((picture != 128).any(axis=2))
    # The outline is about 2 pixels wide with its rim, one of which lies outside the box.
    np.testing.assert_allclose(changed.min(axis=0), [200, 100], atol=2)
    np.testing.assert_allclose(changed.max(axis=0), [399, 299], atol=2)
    without = visualize.render_instances(image, boxes, None, class_ids, names, captions=[""])
    assert (without[300, 150] == 128).all()


def test_rows_of_zeros_are_left_out():
    image, boxes, masks, class_ids, names = scene()
    boxes[1] = 0
    figure = visualize.display_instances(image, boxes, masks, class_ids, names)
    assert len(figure.axes[0].texts) == 2


def test_no_instances(capsys):
    image = scene()[0]
    figure = visualize.display_instances(image, np.zeros((0, 4)), np.zeros((0,)), [], NAMES)
    assert "No instances to display" in capsys.readouterr().out
    assert len(figure.axes[0].images) == 1


def test_numbers_that_differ_are_named():
    image, boxes, masks, class_ids, names = scene()
    show = visualize.display_instances
    with pytest.raises(ValueError, match="2 boxes, 3 class_ids, 3 masks"):
        show(image, boxes[:2], masks, class_ids, names)
    with pytest.raises(ValueError, match="3 boxes, 3 class_ids, 0 masks"):
        show(image, boxes, masks[..., :0], class_ids, names)
    with pytest.raises(ValueError, match="3 boxes but only 1 scores"):
        show(image, boxes, masks, class_ids, names, [0.5])
    with pytest.raises(ValueError, match=r"masks must be \[120, 160, instances\]"):
        show(image, boxes, masks.transpose(2, 0, 1), class_ids, names)
    with pytest.raises(ValueError, match="show_mask=False"):
        show(image, boxes, None, class_ids, names)
    with pytest.raises(ValueError, match="one of matplotlib's names"):
        show(image, boxes, masks, class_ids, names, colors=["redd"] * 3)
    show(image, boxes, None, class_ids, names, show_mask=False)


def test_the_image_given_is_left_alone():
    image, *rest = scene()
    before = image.copy()
    visualize.display_instances(image, *rest)
    visualize.draw_boxes(image, rest[0], masks=rest[1])
    assert np.array_equal(image, before)


def test_differences_name_score_and_iou():
    image, boxes, masks, class_ids, names = scene()
    moved = np.roll(masks, 4, axis=1)  # 8 of 12 columns stay: IoU 8 / 16
    # The scores rise, and a row of zeros stands among the detections: neither may shift captions.
    pred_boxes = np.vstack([boxes[:1], np.zeros((1, 4), int), boxes[1:]])
    pred_masks = np.stack([moved[..., 0], masks[..., 0], masks[..., 1], masks[..., 2]], axis=2)
    figure = visualize.display_differences(
        image, boxes, class_ids, masks, pred_boxes, np.array([1, 0, 2, 1]),
        np.array([0.6, 0.1, 0.7, 0.8]), pred_masks, names,
    )  # fmt: skip
    labels = labels_of(figure)
    assert set(labels) == {"0.60 / 0.50", "0.70 / 1.00", "0.80 / 1.00"}
    # Boxes stand 24 pixels apart: each caption is nearest to its own.
    middles = {text: (box[1] + box[3]) / 2 for text, box in labels.items()}
    assert sorted(middles, key=middles.get) == ["0.60 / 0.50", "0.70 / 1.00", "0.80 / 1.00"]


def test_differences_with_equal_scores():
    image, boxes, masks, class_ids, names = scene()
    found = masks.copy()
    found[40:46, :, 1] = False  # half of one square: IoU 0.5
    ones = np.ones(3)
    figure = visualize.display_differences(
        image, boxes, class_ids, masks, boxes, class_ids, ones, found, names
    )
    middles = {text: (box[1] + box[3]) / 2 for text, box in labels_of(figure).items()}
    assert abs(middles["1.00 / 0.50"] - 40) < 12  # by the middle square, which is at 40


@pytest.mark.parametrize("truth, found", [(0, 2), (2, 0), (0, 0)])
def test_differences_without_truth_or_detections(truth, found):
    image, boxes, masks, class_ids, names = scene()
    figure = visualize.display_differences(
        image, boxes[:truth], class_ids[:truth], masks[..., :truth], boxes[:found],
        class_ids[:found], np.full(found, 0.9), masks[..., :found], names,
    )  # fmt: skip
    assert len(figure.axes[0].texts) == found
    with pytest.raises(ValueError, match="detection .* 1 scores"):
        visualize.display_differences(
            image, boxes, class_ids, masks, boxes, class_ids, [0.5], masks, names
        )


# -- Boxes, proposals, images -----------------------------------------------------------------


def test_draw_boxes():
    image, boxes, masks, _, _ = scene()
    figure = visualize.draw_boxes(
        image, boxes, boxes + 3, masks, ["a", None, "c"], visibilities=[0, 1, 2]
    )
    assert set(labels_of(figure)) == {"a", "c"}
    assert len(figure.axes[0].lines) == 3  # from each box to the refined one
    assert figure.axes[0].get_xlim() == (-12.5, 171.5)  # a tenth of the height on either side
    with pytest.raises(ValueError, match="boxes, refined_boxes or both"):
        visualize.draw_boxes(image)
    with pytest.raises(ValueError, match="3 boxes, 2 captions"):
        visualize.draw_boxes(image, boxes, captions=["a", "b"])


def test_draw_rois(capsys):
    image, boxes, _, _, names = scene()
    rois = np.tile(boxes, (10, 1)).astype(float)
    class_ids = np.array([1, 0, 2] * 10)
    figure = visualize.draw_rois(
        image, rois, rois + 2, np.ones((30, 28, 28)), class_ids, names, limit=4
    )
    output = capsys.readouterr().out
    assert "Positive ROIs:  20\n" in output and "Positive Ratio: 0.67\n" in output
    assert len(figure.axes[0].texts) == np.count_nonzero(class_ids[[0, 9, 19, 29]])
    visualize.draw_rois(image, rois[:0], rois[:0], None, class_ids[:0], names)


def test_display_images_fills_rows():
    image = scene()[0]
    figure = visualize.display_images([image, image[..., :1], image[..., 0] > 0] * 2, cols=3)
    assert len(figure.axes) == 6 and all(ax.images for ax in figure.axes)
    with pytest.raises(ValueError, match="2 images but 1 titles"):
        visualize.display_images([image, image], ["one"])
    visualize.display_images([])


def test_top_masks_come_by_area():
    image, _, masks, _, names = scene()
    figure = visualize.display_top_masks(image, masks, np.array([1, 2, 2]), names, limit=3)
    assert [ax.get_title() for ax in figure.axes] == ["120x160 pixels", "dog", "cat", "-"]
    shades = np.unique(figure.axes[1].images[0].get_array())
    assert shades.tolist() == [0, 1, 2]


# -- Plots and tables -------------------------------------------------------------------------


def test_plot_overlaps_judges_the_classes():
    overlaps = np.array([[0.9, 0.0], [0.8, 0.3]])
    figure = visualize.plot_overlaps([1, 2], [1, 2, 0], [0.9, 0.8, 0], overlaps, NAMES)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["0.900\nmatch", "0", "0.800\nwrong", "0.300"]
    with pytest.raises(ValueError, match=r"must be \[1, 2\]"):
        visualize.plot_overlaps([1, 2], [1], [0.9], overlaps, NAMES)
    visualize.plot_overlaps([1], [], [], np.zeros((0, 1)), NAMES)


def test_plot_precision_recall():
    figure = visualize.plot_precision_recall(0.75, [1, 1, 0.5, 0], [0, 0.5, 1, 1])
    assert "0.750" in figure.axes[0].get_title()


def test_table_as_text_and_in_a_notebook(capsys, monkeypatch):
    visualize.display_table([["name", "n"], ["a<b", 3]])
    assert capsys.readouterr().out == "name  n\na<b   3\n"
    shown = []
    display = SimpleNamespace(HTML=str, display=shown.append)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr(plots, "notebook", lambda: True)
    visualize.display_table([["a<b"]])
    assert shown == ["<table><tr><td>a&lt;b</td></tr></table>"]


def test_weight_stats_point_at_broken_tensors(capsys):
    kernels = {"good/kernel": [0.5, 1.5], "dead/kernel": [0, 0], "new/bias": [0, 0],
               "far/kernel": [1, -2000]}  # fmt: skip
    weights = [SimpleNamespace(path=path, name=path) for path in kernels]
    values = [np.array(value, np.float32) for value in kernels.values()]
    layer = SimpleNamespace(weights=weights, get_weights=lambda: values)
    visualize.display_weight_stats(SimpleNamespace(get_trainable_layers=lambda: [layer]))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["good/kernel", "(2,)", "+0.5000", "+1.5000", "+0.5000"]
    marks = [("dead?" in line, "overflow?" in line) for line in lines[1:]]
    assert marks == [(False, False), (True, False), (False, False), (False, True)]


# -- Figures ----------------------------------------------------------------------------------


def test_saved_figures_have_the_form_of_the_picture_and_are_not_kept(tmp_path):
    image, *rest = scene()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of more than 20 open figures
        for i in range(25):
            path = tmp_path / f"{i}.png"
            visualize.display_instances(image, *rest, figsize=(2, 2), save_path=path)
    assert imread(path).shape[:2] == (150, 200)  # 2 inches of 100 pixels, 160 by 120
    assert plt.get_fignums() == []


def test_every_function_saves(tmp_path):
    image, boxes, masks, class_ids, names = scene()
    scores = np.array([0.9, 0.8, 0.7])
    truth = boxes, class_ids, masks
    calls = {
        "display_images": ([image],),
        "display_instances": (image, boxes, masks, class_ids, names),
        "display_differences": (image, *truth, boxes, class_ids, scores, masks, names),
        "draw_rois": (image, boxes, boxes, None, class_ids, names),
        "display_top_masks": (image, masks, class_ids, names),
        "plot_precision_recall": (0.5, [1, 0], [0, 1]),
        "plot_overlaps": (class_ids, class_ids, scores, np.eye(3), names),
        "draw_boxes": (image, boxes),
    }
    for name, arguments in calls.items():
        figure = getattr(visualize, name)(*arguments, save_path=tmp_path / f"{name}.png")
        assert imread(tmp_path / f"{name}.png").std() > 0, name
        assert isinstance(figure, matplotlib.figure.Figure), name
        if "ax" in inspect.signature(getattr(visualize, name)).parameters:
            ax = plt.figure().subplots()
            assert getattr(visualize, name)(*arguments, ax=ax) is ax.figure, name
            plt.close("all")
    assert plt.get_fignums() == []


def test_shown_only_on_a_screen_and_only_our_own(tmp_path, monkeypatch):
    image, *rest = scene()
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(1))
    figure = visualize.display_instances(image, *rest)
    assert not shown  # Agg
    assert plt.gcf() is figure  # so that plt.savefig after the call saves it, as it always did
    monkeypatch.setattr(figures, "_has_screen", lambda: True)
    visualize.display_instances(image, *rest, save_path=tmp_path / "a.png")
    visualize.display_instances(image, *rest, ax=plt.figure().subplots())
    assert not shown
    visualize.display_instances(image, *rest)
    assert shown == [1]


def test_a_notebook_does_not_show_twice(monkeypatch):
    shell = SimpleNamespace(kernel=None, execution_count=3)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setattr(figures, "_has_screen", lambda: True)
    monkeypatch.setattr(plt, "show", lambda: None)
    figure = visualize.display_images([scene()[0]])
    assert figure._ipython_display_() is None  # the cell's own value: has been shown
    shell.execution_count = 4
    with pytest.raises(NotImplementedError):  # asked for again in a later cell: IPython draws it
        figure._ipython_display_()
