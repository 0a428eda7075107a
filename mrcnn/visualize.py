"""Pictures and plots: images, detections, proposals, matches, precision and recall, weights.

    figure = display_instances(image, r["rois"], r["masks"], r["class_ids"], class_names,
                               r["scores"], save_path="found.png")

Every function knows arrays only. One that takes `ax` draws there; any other makes a figure. All
return the figure. With `save_path` the figure goes to that file (its suffix is the format);
without, one that the function made itself is shown, if there is a screen or a notebook.

Boxes are (y1, x1, y2, x2) in pixels, the far corner outside; masks [height, width, instances];
images what `mrcnn.drawing.pixels.as_picture` takes: grey or RGB, 0..255 or floats of 0..1.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from mrcnn.drawing.figures import finish, new_figure, picture_axes, show_picture
from mrcnn.drawing.instances import (
    check_counts,
    check_instances,
    draw_instances,
    render_instances,
)
from mrcnn.drawing.labels import class_name, draw_contours, draw_labels, draw_outline, line_width
from mrcnn.drawing.pixels import apply_mask, as_picture, cut_masks, draw_box, random_colors, tint
from mrcnn.drawing.plots import (
    display_table,
    display_weight_stats,
    plot_overlaps,
    plot_precision_recall,
)
from mrcnn.evaluate.ap import compute_matches
from mrcnn.geometry.masks import paste_masks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")
R = TypeVar("R")

__all__ = [
    "apply_mask",
    "display_differences",
    "display_images",
    "display_instances",
    "display_table",
    "display_top_masks",
    "display_weight_stats",
    "draw_box",
    "draw_boxes",
    "draw_rois",
    "plot_overlaps",
    "plot_precision_recall",
    "random_colors",
    "render_instances",
]

# -- Images -----------------------------------------------------------------------------------


def display_images(
    images: Sequence[np.ndarray],
    titles: Sequence[str] | None = None,
    cols: int = 4,
    cmap: Any = None,
    norm: Any = None,
    interpolation: str | None = None,
    save_path: str | Path | None = None,
) -> "Figure":
    """Show images side by side, `cols` in a row.

    images: list of [height, width] or [height, width, 1 | 3 | 4], or such an array with one
    dimension more in front. 2-D ones (masks, feature maps) are coloured by matplotlib's `cmap`
    (grey if None) over their own range of values, or by `norm`; `interpolation` is matplotlib's.
    titles: one for each image.
    """
    images = [np.asarray(image) for image in images]
    images = [i[..., 0] if i.ndim == 3 and i.shape[2] == 1 else i for i in images]
    titles = [""] * len(images) if titles is None else list(titles)
    if len(titles) < len(images):
        raise ValueError(f"There are {len(images)} images but {len(titles)} titles.")
    if not images:
        print("\n*** No images to display ***\n")
    cols = max(1, min(cols, len(images)))
    rows = max(1, -(-len(images) // cols))
    tallest = max((i.shape[0] / max(i.shape[1], 1) for i in images), default=1)
    width = 14 / cols
    lines = max((str(title).count("\n") + 1 for title in titles if title), default=0)
    height = width * np.clip(tallest, 0.1, 5) + (0.15 + 0.22 * lines if lines else 0.05)
    figure = new_figure((14, rows * height), save_path)
    grid = figure.subplots(rows, cols, squeeze=False)
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02)
    for ax in grid.flat:
        ax.axis("off")
    for ax, image, title in zip(grid.flat, images, titles):
        if image.ndim == 2:
            values = image.astype(np.uint8) if image.dtype == bool else image
            ax.imshow(
                values,
                cmap="gray" if cmap is None else cmap,
                norm=norm,
                interpolation=interpolation,
            )
        else:
            ax.imshow(as_picture(image), interpolation=interpolation)
        ax.set_title(title, fontsize=9, parse_math=False)
    return finish(figure, own=True, save_path=save_path)


def display_top_masks(
    image: np.ndarray,
    mask: np.ndarray,
    class_ids: Sequence[int] | np.ndarray,
    class_names: Sequence[str] | Mapping[int, str],
    limit: int = 4,
    save_path: str | Path | None = None,
) -> "Figure":
    """Show the image, and beside it the masks of the `limit` classes that cover most of it.

    mask: [height, width, instances]; class_ids: [instances]. Each instance of a class has its
    own shade; a place without a class keeps an empty panel titled "-".
    """
    mask, class_ids = np.asarray(mask), np.asarray(class_ids, dtype=int)
    if mask.ndim != 3 or mask.shape[2] != len(class_ids):
        raise ValueError(
            f"The masks have shape {list(mask.shape)}, [height, width, instances], and there are "
            f"{len(class_ids)} class_ids: give one for each instance."
        )
    height, width = mask.shape[:2]
    pixels = np.count_nonzero(mask, axis=(0, 1))  # [instances]
    areas = {i: pixels[class_ids == i].sum() for i in np.unique(class_ids)}
    top = [i for i in sorted(areas, key=areas.get, reverse=True) if areas[i]][:limit]
    panels = [as_picture(image)]
    titles = [f"{height}x{width} pixels"]
    for class_id in top:
        instances = mask[:, :, class_ids == class_id] > 0
        # Where two instances meet the later one shows: their sum would look like a third.
        panels.append((instances * np.arange(1, instances.shape[2] + 1)).max(axis=2))
        titles.append(class_name(class_names, class_id))
    missing = limit - len(top)
    panels += [np.zeros((height, width), dtype=int)] * missing
    titles += ["-"] * missing
    return display_images(panels, titles, cols=limit + 1, cmap="Blues_r", save_path=save_path)


# -- Instances --------------------------------------------------------------------------------


def takes_results(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function of boxes and class_names be called with `**result`, which has rois only."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if "rois" in kwargs:
            kwargs.setdefault("class_names", None)
            kwargs["boxes"] = kwargs.pop("rois")
        return function(*args, **kwargs)

    return call


@takes_results
def display_instances(
    image: np.ndarray,
    boxes: np.ndarray,
    masks: np.ndarray | None,
    class_ids: np.ndarray,
    class_names: Sequence[str] | Mapping[int, str] | None,
    scores: Sequence[float] | np.ndarray | None = None,
    title: str = "",
    figsize: tuple[float, float] = (16, 16),
    ax: "Axes | None" = None,
    show_mask: bool = True,
    show_bbox: bool = True,
    colors: Sequence[Any] | None = None,
    captions: Sequence[str | None] | None = None,
    save_path: str | Path | None = None,
) -> "Figure":
    """Draw instances over their image: masks, boxes, and labels "name score".

    boxes: [instances, (y1, x1, y2, x2)] in pixels; a row of zeros is no box and left out.
    masks: [height, width, instances], bool or 0 and 1; may be None if show_mask is False.
    class_ids: [instances]; class_names: list or dict of names by class id, "class 7" without.
    scores: [instances] of 0..1. captions: [instances] texts in place of the labels, "" or None
    for no label. colors: [instances] matplotlib colours; `random_colors` otherwise.
    figsize: inches (width, height) into which the figure fits, in the form of the picture.
    `**result` can be given, too: rois are the boxes, and class_names may then be left out.

    Raises ValueError where the numbers of boxes, masks and the rest differ.
    """
    if show_mask and masks is None and len(boxes):
        raise ValueError("masks is None: give [height, width, instances], or show_mask=False.")
    masks = masks if show_mask else None
    instances = check_instances(
        image, boxes, masks, class_ids, class_names, scores, colors, captions
    )
    if not len(instances.boxes):
        print("\n*** No instances to display ***\n")
    own = ax is None
    if own:
        ax = picture_axes(instances.picture.shape, figsize, title, save_path)
    draw_instances(ax, instances, show_bbox, title)
    return finish(ax.get_figure(root=True), own, save_path)


def display_differences(
    image: np.ndarray,
    gt_box: np.ndarray,
    gt_class_id: np.ndarray,
    gt_mask: np.ndarray,
    pred_box: np.ndarray,
    pred_class_id: np.ndarray,
    pred_score: np.ndarray,
    pred_mask: np.ndarray,
    class_names: Sequence[str] | Mapping[int, str],
    title: str = "",
    ax: "Axes | None" = None,
    show_mask: bool = True,
    show_box: bool = True,
    iou_threshold: float = 0.5,
    score_threshold: float = 0.5,
    save_path: str | Path | None = None,
) -> "Figure":
    """Draw ground truth in green and detections in red, with captions "score / IoU".

    gt_box [instances, (y1, x1, y2, x2)], gt_class_id [instances], gt_mask [height, width,
    instances], and the same of the detections with pred_score [instances]. The IoU is that of
    the masks, with the matched instance, or with the nearest one where none matched.
    iou_threshold, score_threshold: handed to `compute_matches`, which decides what matches.

    Raises ValueError where the numbers of boxes, masks and class ids differ.
    """
    gt_box, pred_box = np.asarray(gt_box).reshape(-1, 4), np.asarray(pred_box).reshape(-1, 4)
    gt_mask, pred_mask = np.asarray(gt_mask), np.asarray(pred_mask)
    numbers = {"boxes": len(gt_box), "class ids": len(gt_class_id), "masks": gt_mask.shape[-1]}
    check_counts("true instance", numbers)
    numbers = {"boxes": len(pred_box), "class ids": len(pred_class_id)}
    numbers |= {"scores": len(pred_score), "masks": pred_mask.shape[-1]}
    check_counts("detection", numbers)
    gt, pred = gt_box.any(axis=1), pred_box.any(axis=1)
    gt_box, gt_class_id, gt_mask = gt_box[gt], np.asarray(gt_class_id)[gt], gt_mask[..., gt]
    pred_box, pred_class_id = pred_box[pred], np.asarray(pred_class_id)[pred]
    pred_score, pred_mask = np.asarray(pred_score)[pred], pred_mask[..., pred]
    _, pred_match, overlaps = compute_matches(
        gt_box, gt_class_id, gt_mask, pred_box, pred_class_id, pred_score, pred_mask,
        iou_threshold=iou_threshold, score_threshold=score_threshold,
    )  # fmt: skip
    # compute_matches counts detections by falling score, equal ones in just this order.
    order = np.argsort(pred_score)[::-1]
    pred_box, pred_class_id = pred_box[order], pred_class_id[order]
    pred_score, pred_mask = pred_score[order], pred_mask[..., order]
    captions = [""] * len(gt_box)
    for score, match, ious in zip(pred_score, pred_match, overlaps):
        iou = ious[int(match)] if match > -1 else max(ious, default=0)
        captions.append(f"{score:.2f} / {iou:.2f}")
    return display_instances(
        image,
        np.concatenate([gt_box, pred_box]),
        np.concatenate([gt_mask, pred_mask], axis=2),
        np.concatenate([gt_class_id, pred_class_id]),
        class_names,
        title=title or "Ground truth green, detections red\ncaptions: score / IoU",
        ax=ax,
        show_mask=show_mask,
        show_bbox=show_box,
        colors=[(0.1, 0.9, 0.1)] * len(gt_box) + [(1.0, 0.15, 0.1)] * len(pred_box),
        captions=captions,
        save_path=save_path,
    )


# -- Boxes and proposals ----------------------------------------------------------------------


def draw_boxes(
    image: np.ndarray,
    boxes: np.ndarray | None = None,
    refined_boxes: np.ndarray | None = None,
    masks: np.ndarray | None = None,
    captions: Sequence[str | None] | None = None,
    visibilities: Sequence[int] | np.ndarray | None = None,
    title: str = "",
    ax: "Axes | None" = None,
    save_path: str | Path | None = None,
) -> "Figure":
    """Draw boxes dotted, the same boxes after refinement solid, and a line from one to the other.

    boxes, refined_boxes: [num_boxes, (y1, x1, y2, x2)] in pixels, one of the two at least; they
    may reach beyond the image, round which a margin is left for them. A row of zeros is no box.
    masks: [height, width, num_boxes]. captions: [num_boxes], written by the refined box.
    visibilities: [num_boxes] of 0 (grey and faint), 1 (dotted) or 2 (solid), 1 for all if None.

    Raises ValueError if there are neither boxes nor refined_boxes, or the numbers differ.
    """
    given = {"boxes": boxes, "refined_boxes": refined_boxes, "captions": captions,
             "visibilities": visibilities}  # fmt: skip
    counts = {name: len(values) for name, values in given.items() if values is not None}
    if masks is not None:
        counts["masks"] = np.shape(masks)[-1]
    if boxes is None and refined_boxes is None:
        raise ValueError("There is nothing to draw: give boxes, refined_boxes or both.")
    check_counts("box", counts)
    count = max(counts.values())
    first = np.zeros((count, 4)) if boxes is None else np.asarray(boxes, dtype=float)
    last = np.zeros((count, 4)) if refined_boxes is None else np.asarray(refined_boxes, float)
    visibilities = [1] * count if visibilities is None else visibilities
    picture, colors = as_picture(image), random_colors(count)
    crops = {} if masks is None else cut_masks(np.asarray(masks), range(count))
    for i, (crop, corner) in crops.items():
        tint(picture, crop, corner, colors[i])
    margin = picture.shape[0] // 10
    own = ax is None
    if own:
        shape = np.add(picture.shape[:2], 2 * margin)
        ax = picture_axes(shape, (12, 12), title, save_path)
    show_picture(ax, picture, title, margin)
    width = line_width(ax)
    looks = {0: ("gray", ":"), 1: (None, ":"), 2: (None, "-")}
    for i in range(count):
        color, style = looks[int(visibilities[i])]
        if i in crops:
            draw_contours(ax, *crops[i], colors[i], width)
        if first[i].any():
            draw_outline(ax, first[i], color or colors[i], width, style)
        if last[i].any():
            draw_outline(ax, last[i], colors[i], width)
        if first[i].any() and last[i].any():
            y, x = np.stack([first[i], last[i]])[:, :2].T - 0.5
            ax.plot(x, y, color=colors[i], linewidth=width)
    named = np.where(last.any(axis=1)[:, None], last, first)
    labelled = [i for i in range(count) if captions is not None and captions[i]]
    draw_labels(
        ax, named[labelled], [str(captions[i]) for i in labelled], [colors[i] for i in labelled]
    )
    return finish(ax.get_figure(root=True), own, save_path)


def draw_rois(
    image: np.ndarray,
    rois: np.ndarray,
    refined_rois: np.ndarray,
    mask: np.ndarray | None,
    class_ids: np.ndarray,
    class_names: Sequence[str] | Mapping[int, str],
    limit: int = 10,
    ax: "Axes | None" = None,
    save_path: str | Path | None = None,
) -> "Figure":
    """Draw proposals dotted, and the positive ones' refined boxes, masks and class names.

    rois, refined_rois: [num_rois, (y1, x1, y2, x2)] in pixels; class_ids: [num_rois], 0 for a
    negative ROI, which is grey; mask: [num_rois, height, width], small masks that each fill
    their ROI, or None. Of more than `limit` ROIs, `limit` are drawn, spread evenly over the list.
    The numbers of positive and negative ROIs are printed.
    """
    rois, class_ids = np.asarray(rois).reshape(-1, 4), np.asarray(class_ids, dtype=int)
    counts = {"rois": len(rois), "refined_rois": len(refined_rois), "class_ids": len(class_ids)}
    if mask is not None:
        counts["mask"] = len(mask)
    check_counts("ROI", counts)
    chosen = np.linspace(0, len(rois) - 1, min(limit, len(rois))).astype(int)
    positive = class_ids[chosen] > 0
    corners = rois[chosen].astype(np.int32)
    masks = None
    if mask is not None:
        soft = np.asarray(mask, dtype=np.float32)[chosen]
        masks = paste_masks(soft, corners * positive[:, None], np.shape(image))
    positives = int((class_ids > 0).sum())
    print("Positive ROIs: ", positives)
    print("Negative ROIs: ", len(rois) - positives)
    print(f"Positive Ratio: {positives / max(len(rois), 1):.2f}")
    return draw_boxes(
        image,
        boxes=corners,
        refined_boxes=np.asarray(refined_rois).reshape(-1, 4)[chosen] * positive[:, None],
        masks=masks,
        captions=[class_name(class_names, i) if i > 0 else "" for i in class_ids[chosen]],
        visibilities=positive.astype(int),
        title=f"{len(chosen)} of {len(rois)} ROIs" if len(chosen) < len(rois) else "",
        ax=ax,
        save_path=save_path,
    )
