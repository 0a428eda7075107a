"""`visualize` as notebooks call it: axes of their own, titles, colours, lists of pictures."""

import os

import matplotlib.pyplot as plt
import numpy as np
import pytest
from old_dataset import InferenceConfig

from mrcnn import model as modellib
from mrcnn import visualize
from mrcnn.utils import compute_ap
from mrcnn.visualize import display_images, display_instances

CLASS_NAMES = ["BG", "square", "circle", "triangle"]


def get_ax(rows=1, cols=1, size=16):
    """The helper of every notebook."""
    _, ax = plt.subplots(rows, cols, figsize=(size * cols, size * rows))
    return ax


def drawn(ax):
    """Whether a picture stands in some axes."""
    return len(ax.get_images()) == 1


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"title": "Predictions"},
        {"figsize": (8, 8)},
        {"title": "Predictions", "figsize": (8, 8)},
        {"show_bbox": False, "show_mask": False, "title": "Labels"},
    ],
)
@pytest.mark.parametrize("with_scores", [True, False])
def test_display_instances(image, r, options, with_scores):
    scores = (r["scores"],) if with_scores else ()
    visualize.display_instances(
        image, r["rois"], r["masks"], r["class_ids"], CLASS_NAMES, *scores, **options
    )
    (ax,) = plt.gcf().axes  # the script's plt.savefig() writes this one
    texts = " ".join(text.get_text() for text in ax.texts)
    assert drawn(ax) and CLASS_NAMES[r["class_ids"][0]] in texts
    assert (f"{r['scores'][0]:.3f}"[:4] in texts) == with_scores
    assert ax.get_title() == options.get("title", "")


def test_display_instances_on_axes(image, r):
    ax, colors = get_ax(size=6), visualize.random_colors(len(CLASS_NAMES))
    display_instances(
        image, r["rois"], r["masks"], r["class_ids"], CLASS_NAMES, r["scores"], ax=ax,
        title="Predictions",
    )  # fmt: skip
    assert drawn(ax) and ax.get_title() == "Predictions" and plt.get_fignums() == [1]
    axes = get_ax(1, 2, size=4)
    colors = [colors[i] for i in r["class_ids"]]
    display_instances(
        image, r["rois"], r["masks"], r["class_ids"], CLASS_NAMES, r["scores"], ax=axes[1],
        colors=colors, figsize=(5, 5),
    )  # fmt: skip
    assert drawn(axes[1]) and not drawn(axes[0])


def test_display_instances_by_keyword(image, r):
    display_instances(
        image=image, boxes=r["rois"], masks=r["masks"], class_ids=r["class_ids"],
        class_names=CLASS_NAMES, scores=r["scores"], captions=["one"] * len(r["rois"]),
    )  # fmt: skip
    assert "one" in [text.get_text() for text in plt.gca().texts]


def test_saving_what_was_drawn(image, r, tmp_path):
    """22 repositories save the current figure, or the axes' own, afterwards."""
    path = os.path.join(tmp_path, "splash.png")
    visualize.display_instances(
        image, r["rois"], r["masks"], r["class_ids"], CLASS_NAMES, r["scores"]
    )
    plt.savefig(path, bbox_inches="tight", pad_inches=0)
    saved = plt.imread(path)
    assert saved[..., :3].std() > 0.01  # an empty figure is of one colour


def test_painting_by_hand(image, r):
    """OpenCV loops: a mask and a colour for each instance, onto the frame itself."""
    frame, colors = image.copy(), visualize.random_colors(len(r["rois"]))
    for i in range(len(r["rois"])):
        mask = r["masks"][:, :, i]
        painted = visualize.apply_mask(frame, mask, colors[i])
        assert painted is frame
        visualize.apply_mask(frame, mask, colors[i], alpha=0.5)
        frame = visualize.draw_box(frame, r["rois"][i], (0, 255, 0))
    assert frame.shape == image.shape and (frame != image).any()


def test_display_images(image, dataset):
    mask = dataset.load_mask(0)[0]
    visualize.display_images([image, image])
    display_images([image] * 3, titles=["a", "b", "c"], cols=3)
    visualize.display_images(
        np.transpose(mask, [2, 0, 1]), cmap="Blues", cols=1, interpolation="none"
    )
    display_images(
        np.transpose(mask, [2, 0, 1]), ["one", "two"], cols=2, cmap="Blues", interpolation=None
    )
    assert [len(plt.figure(n).axes) for n in plt.get_fignums()] == [2, 3, 2, 2]


def test_display_top_masks(dataset):
    for image_id in np.random.choice(dataset.image_ids, 2):
        image = dataset.load_image(image_id)
        mask, class_ids = dataset.load_mask(image_id)
        visualize.display_top_masks(image, mask, class_ids, dataset.class_names)
    visualize.display_top_masks(image, mask, class_ids, dataset.class_names, limit=1)
    assert [len(plt.figure(n).axes) for n in plt.get_fignums()] == [5, 5, 2]


def test_boxes_and_regions(image, dataset):
    _, _, class_ids, boxes, _ = modellib.load_image_gt(
        dataset, InferenceConfig(), 0, use_mini_mask=False
    )
    visualize.draw_boxes(image, boxes=boxes)
    axes = get_ax(1, 3, size=4)
    visualize.draw_boxes(image, boxes=boxes, refined_boxes=boxes, ax=axes[0])
    visualize.draw_boxes(image, refined_boxes=boxes, ax=axes[1])
    visualize.draw_boxes(
        image, boxes=boxes, captions=["a", "b"], visibilities=[1, 2], title="ROIs", ax=axes[2]
    )
    assert all(drawn(ax) for ax in axes) and axes[2].get_title() == "ROIs"
    rois, mask = boxes.astype(np.float32), np.ones((2, 28, 28), np.float32)
    visualize.draw_rois(image, rois, rois, mask, class_ids, dataset.class_names)
    visualize.draw_rois(image, rois, rois, mask, class_ids, dataset.class_names, limit=1)


def test_precision_overlaps_and_differences(image, dataset, r):
    _, _, gt_class_id, gt_bbox, gt_mask = modellib.load_image_gt(
        dataset, InferenceConfig(), 0, use_mini_mask=False
    )
    AP, precisions, recalls, overlaps = compute_ap(
        gt_bbox, gt_class_id, gt_mask, r["rois"], r["class_ids"], r["scores"], r["masks"]
    )
    visualize.plot_precision_recall(AP, precisions, recalls)
    visualize.plot_precision_recall(AP=AP, precisions=precisions, recalls=recalls)
    assert "AP@50" in plt.gca().get_title()
    visualize.plot_overlaps(gt_class_id, r["class_ids"], r["scores"], overlaps, CLASS_NAMES)
    found = (r["rois"], r["class_ids"], r["scores"], r["masks"])
    ax = get_ax(size=5)
    visualize.display_differences(
        image, gt_bbox, gt_class_id, gt_mask, *found, CLASS_NAMES, ax=ax,
        show_box=False, show_mask=False, iou_threshold=0.5, score_threshold=0.5,
    )  # fmt: skip
    assert drawn(ax)


def test_display_weight_stats(network, capsys):
    visualize.display_weight_stats(network)
    assert "mrcnn_mask" in capsys.readouterr().out
