"""Instances on their picture: what a caller gives is checked, then drawn."""

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mrcnn.drawing.figures import frame, show_picture
from mrcnn.drawing.labels import (
    class_name,
    draw_contours,
    draw_labels,
    draw_labels_inside,
    draw_outline,
    line_width,
)
from mrcnn.drawing.pixels import as_picture, cut_masks, lay_over, random_colors, tint
from mrcnn.words import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MIN_RENDERED_SIDE = 640  # pixels; a label can be read on a picture at least this long
_LONGEST_SIDE = 65_535  # pixels that matplotlib can draw on
_LARGE = 1 << 26  # bytes of a picture that must not lie about in memory


@dataclass
class Drawn:
    """What is drawn: checked, one entry an instance in every list."""

    picture: np.ndarray  # [height, width, 3] uint8, a copy of the image
    boxes: np.ndarray  # [instances, (y1, x1, y2, x2)] pixels; a row of zeros is not drawn
    masks: np.ndarray | None  # [height, width, instances]
    captions: list[str]  # "" for no label
    colors: list[tuple[float, float, float]]
    inside: bool = False  # captions stand in their boxes, where there is room, and not beside them


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
    captions = ["" if caption is None else printable(caption) for caption in captions]
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
    crops = _tint(instances)
    show_picture(ax, instances.picture, title)
    _draw_marks(ax, instances, crops, show_bbox)


def _tint(instances: Drawn) -> dict[int, tuple[np.ndarray, tuple[int, int]]]:
    """Colour the picture under the masks; returns those, cut, by the number of the instance."""
    shown = [i for i, box in enumerate(instances.boxes) if box.any()]
    crops = {} if instances.masks is None else cut_masks(instances.masks, shown)
    for i, (crop, corner) in crops.items():
        tint(instances.picture, crop, corner, instances.colors[i])
    return crops


def _draw_marks(ax: "Axes", instances: Drawn, crops: Mapping[int, tuple], show_bbox: bool) -> None:
    boxes, colors = instances.boxes, instances.colors
    shown = [i for i, box in enumerate(boxes) if box.any()]
    width = line_width(ax)
    for i in shown:
        if i in crops:
            draw_contours(ax, *crops[i], colors[i], width)
        if show_bbox:
            draw_outline(ax, boxes[i], colors[i], width)
    labelled = [i for i in shown if instances.captions[i]]
    captions = [instances.captions[i] for i in labelled]
    if instances.inside:
        draw_labels_inside(ax, boxes[labelled], captions)
    else:
        draw_labels(ax, boxes[labelled], captions, [colors[i] for i in labelled])


def paint(instances: Drawn, show_bbox: bool = True, factor: int = 1) -> np.ndarray:
    """As `draw_instances`, but in pixels: [height * factor, width * factor, 3] uint8.

    The marks alone are matplotlib's: to it, a picture costs 130 bytes a pixel.
    Raises ValueError for a picture that is too long for it.
    """
    height, width = instances.picture.shape[:2]
    if max(height, width) * factor > _LONGEST_SIDE:
        raise ValueError(
            f"The image has {height}x{width} pixels: nothing can be drawn on one that is longer "
            f"than {_LONGEST_SIDE:,} pixels."
        )
    painted = lay_over(instances.picture, _marks(instances, show_bbox, factor), factor)
    if painted.size > _LARGE:
        # Figure, texts and canvas hold each other, and the canvas's pixels, until that is noticed.
        gc.collect()
    return painted


def _marks(instances: Drawn, show_bbox: bool, factor: int) -> np.ndarray:
    """The marks on glass: [height * factor, width * factor, RGBA] uint8. Tints the picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height, width = instances.picture.shape[:2]
    dpi = 128  # a power of two: inches times dpi are whole pixels again, without rounding
    figure = Figure(figsize=(width * factor / dpi, height * factor / dpi), dpi=dpi)
    figure.patch.set_alpha(0)
    canvas = FigureCanvasAgg(figure)
    ax = figure.add_axes([0, 0, 1, 1])
    frame(ax, height, width)
    _draw_marks(ax, instances, _tint(instances), show_bbox)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def render_instances(
    image: np.ndarray,
    boxes: np.ndarray,
    masks: np.ndarray | None,
    class_ids: np.ndarray,
    class_names: Sequence[str] | Mapping[int, str] | None,
    scores: Sequence[float] | np.ndarray | None = None,
    colors: Sequence[Any] | None = None,
    captions: Sequence[str | None] | None = None,
    inside: bool = False,
) -> np.ndarray:
    """Instances drawn over their image: the pixels of a figure without margins.

    Arguments as of `mrcnn.visualize.display_instances`; masks may be None. Returns [height, width,
    3] uint8 of the image's own size, but for a picture whose longer side has less than 640 pixels:
    it is enlarged by the smallest whole factor that brings it there, so that labels can be read.
    inside: write captions into their boxes, as large as each box lets them be, and leave out those
        that couldn't be read; short ones, for crowds.
    """
    instances = check_instances(
        image, boxes, masks, class_ids, class_names, scores, colors, captions
    )
    instances.inside = inside
    height, width = instances.picture.shape[:2]
    return paint(instances, factor=max(1, -(-MIN_RENDERED_SIDE // max(height, width))))
