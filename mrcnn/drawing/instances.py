"""Instances on their picture: what a caller gives is checked, then drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mrcnn.drawing.figures import show_picture
from mrcnn.drawing.labels import class_name, draw_contours, draw_labels, draw_outline, line_width
from mrcnn.drawing.pixels import as_picture, cut_masks, random_colors, tint

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MIN_RENDERED_SIDE = 640  # pixels; a label can be read on a picture at least this long


@dataclass
class Drawn:
    """What is drawn: checked, one entry an instance in every list."""

    picture: np.ndarray  # [height, width, 3] uint8, a copy of the image
    boxes: np.ndarray  # [instances, (y1, x1, y2, x2)] pixels; a row of zeros is not drawn
    masks: np.ndarray | None  # [height, width, instances]
    captions: list[str]  # "" for no label
    colors: list[tuple[float, float, float]]


def check_instances(
    image: np.ndarray,
    boxes: np.ndarray,
    masks: np.ndarray | None,
    class_ids: np.ndarray,
    class_names: Sequence[str] | Mapping[int, str] | None,
    scores: Sequence[float] | np.ndarray | None,
    colors: Sequence[Any] | None,
    captions: Sequence[str | None] | None,
) -> Drawn:
    """Check and complete the arguments of `mrcnn.visualize.display_instances`.

    Raises ValueError where the numbers of boxes, masks and the rest differ, or the masks are not
    of the image's size.
    """
    picture = as_picture(image)
    boxes = np.asarray(boxes, dtype=float).reshape(-1, 4)
    class_ids = np.asarray(class_ids, dtype=int).reshape(-1)
    counts = {"boxes": len(boxes), "class_ids": len(class_ids)}
    masks = np.asarray(masks) if masks is not None and (len(boxes) or np.size(masks)) else None
    if masks is not None:
        height, width = picture.shape[:2]
        if masks.ndim != 3 or masks.shape[:2] != (height, width):
            raise ValueError(
                f"The masks have shape {list(masks.shape)} and the image is {height}x{width}: "
                f"masks must be [{height}, {width}, instances]."
            )
        counts["masks"] = masks.shape[2]
    check_counts("instance", counts)
    for name, values in {"scores": scores, "colors": colors, "captions": captions}.items():
        if values is not None and len(values) < len(boxes):
            raise ValueError(f"There are {len(boxes)} boxes but only {len(values)} {name}.")
    if captions is None:
        captions = [class_name(class_names, class_id) for class_id in class_ids]
        if scores is not None:
            captions = [f"{name} {score:.3f}" for name, score in zip(captions, scores)]
    captions = ["" if caption is None else str(caption) for caption in captions]
    return Drawn(picture, boxes, masks, captions, _rgb(colors, len(boxes)))


def check_counts(thing: str, counts: Mapping[str, int]) -> None:
    """Raise ValueError, with the numbers, unless all `counts` (by name of the list) are equal."""
    if len(set(counts.values())) > 1:
        numbers = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise ValueError(f"Each {thing} needs one entry in every list, but there are {numbers}.")


def _rgb(colors: Sequence[Any] | None, count: int) -> list[tuple[float, float, float]]:
    from matplotlib.colors import to_rgb

    if colors is None:
        return random_colors(count)
    try:
        return [to_rgb(color) for color in colors[:count]]
    except ValueError as error:
        raise ValueError(
            f"{error}: a colour is (red, green, blue) of 0..1 or one of matplotlib's names."
        ) from None


def draw_instances(ax: "Axes", instances: Drawn, show_bbox: bool, title: str = "") -> None:
    """Draw picture, masks, boxes and labels on `ax`. Tints `instances.picture` in place."""
    picture, boxes, colors = instances.picture, instances.boxes, instances.colors
    shown = [i for i in range(len(boxes)) if boxes[i].any()]
    crops = {} if instances.masks is None else cut_masks(instances.masks, shown)
    for i, (crop, corner) in crops.items():
        tint(picture, crop, corner, colors[i])
    show_picture(ax, picture, title)
    width = line_width(ax)
    for i in shown:
        if i in crops:
            draw_contours(ax, *crops[i], colors[i], width)
        if show_bbox:
            draw_outline(ax, boxes[i], colors[i], width)
    labelled = [i for i in shown if instances.captions[i]]
    captions = [instances.captions[i] for i in labelled]
    draw_labels(ax, boxes[labelled], captions, [colors[i] for i in labelled])


def render_instances(
    image: np.ndarray,
    boxes: np.ndarray,
    masks: np.ndarray | None,
    class_ids: np.ndarray,
    class_names: Sequence[str] | Mapping[int, str] | None,
    scores: Sequence[float] | np.ndarray | None = None,
    colors: Sequence[Any] | None = None,
    captions: Sequence[str | None] | None = None,
) -> np.ndarray:
    """Instances drawn over their image: the pixels of a figure without margins.

    Arguments as of `mrcnn.visualize.display_instances`; masks may be None. Returns [height, width,
    3] uint8 of the image's own size, but for a picture whose longer side has less than 640 pixels:
    it is enlarged by the smallest whole factor that brings it there, so that labels can be read.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    instances = check_instances(
        image, boxes, masks, class_ids, class_names, scores, colors, captions
    )
    height, width = instances.picture.shape[:2]
    factor = max(1, -(-MIN_RENDERED_SIDE // max(height, width)))
    dpi = 128  # a power of two: inches times dpi are whole pixels again, without rounding
    figure = Figure(figsize=(width * factor / dpi, height * factor / dpi), dpi=dpi)
    canvas = FigureCanvasAgg(figure)
    draw_instances(figure.add_axes([0, 0, 1, 1]), instances, show_bbox=True)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
