"""Outlines and labels on axes that show a picture.

box       (y1, x1, y2, x2), pixels of the picture, the far corner outside
canvas    the part of the page that the axes fill, in points (1/72 inch), y downwards;
          labels are laid out here, for a font has its size in points
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# NOTE: lines are added as artists. As patches, each would be searched for its bounds, point by
# point, for limits that the picture has set already: two thirds of the time that a crowd takes.

POINTS_PER_INCH = 72
_LONGEST_OUTLINED = 4096  # pixels of a mask's side that its outline follows one by one
_LEAST_FONT = 4.5  # points; smaller digits can't be told apart
_ROUND = [[y, x] for y in (-1, 1, 0) for x in (0, -1, 1) if (y, x) != (0, 0)]  # of the middle


def canvas_of(ax: "Axes") -> tuple[np.ndarray, float]:
    """The canvas of `ax`: [height, width] in points, and the points one unit of x measures."""
    ax.apply_aspect()
    page = ax.get_window_extent()
    points = POINTS_PER_INCH / ax.figure.dpi
    left, right = ax.get_xlim()
    return np.array([page.height, page.width]) * points, page.width * points / (right - left)


def line_width(ax: "Axes") -> float:
    """Width in points of the lines that suit the canvas of `ax`."""
    canvas, _ = canvas_of(ax)
    return float(np.clip(0.002 * max(canvas), 0.9, 5))


def _halo(width: float) -> list:
    """A dark rim, so that a light line shows on a light picture, too."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=width + 0.8, foreground=(0, 0, 0, 0.5))]


def draw_outline(
    ax: "Axes", box: Sequence[float], color: Any, width: float, style: str = "-"
) -> None:
    """Draw the edge of `box` (y1, x1, y2, x2), `width` points wide.

    The centre of pixel 0 lies at 0, hence the half pixel: the line runs round the box's pixels.
    """
    from matplotlib.patches import Rectangle

    y1, x1, y2, x2 = np.asarray(box, dtype=float) - 0.5
    ax.add_artist(
        Rectangle(
            (x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=color, linewidth=width,
            linestyle=style, path_effects=_halo(width), snap=False,
        )
    )  # fmt: skip


def draw_contours(
    ax: "Axes", mask: np.ndarray, corner: Sequence[int], color: Any, width: float
) -> None:
    """Draw the edge of `mask` [height, width], whose pixel (0, 0) lies at `corner` (y, x)."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Outline
    from skimage.measure import find_contours

    # Beside a line of that width, a few pixels more or less can't be seen.
    coarse = -(-max(mask.shape) // _LONGEST_OUTLINED)
    mask = mask[::coarse, ::coarse]
    # Contours cut across the corners of pixels; where these are large, finer ones are wanted.
    fine = max(1, 64 // max(mask.shape))
    # A mask that touches the rim of its crop would have an open contour without the padding.
    pixels = np.pad(mask.repeat(fine, axis=0).repeat(fine, axis=1), 1).astype(np.float32)
    contours = [(contour - 0.5) / fine - 0.5 for contour in find_contours(pixels, 0.5)]
    shapes = [Outline((contour * coarse + corner)[:, ::-1]) for contour in contours]
    outline = Outline.make_compound_path(*shapes)
    ax.add_artist(
        PathPatch(outline, fill=False, edgecolor=color, linewidth=width, path_effects=_halo(width))
    )


def class_name(class_names: Sequence[str] | Mapping[int, str] | None, class_id: int) -> str:
    """The name of a class, "class 7" where it has none."""
    if class_names is None:
        return f"class {class_id}"
    if isinstance(class_names, Mapping):
        return str(class_names.get(int(class_id), f"class {class_id}"))
    known = 0 <= class_id < len(class_names)
    return str(class_names[class_id]) if known else f"class {class_id}"


def readable_on(color: Sequence[float]) -> str:
    """The colour of a text on `color` (RGB, 0..1): "black" or "white" by its luminance."""
    return "black" if np.dot(color[:3], [0.299, 0.587, 0.114]) > 0.45 else "white"


def label_size(canvas: np.ndarray, texts: Sequence[str]) -> float:
    """Font size in points that suits `texts` on a canvas [height, width] in points.

    It grows with the canvas. A crowd is written smaller, so that its labels cover no more than
    about a seventh of the picture, as long as that can be read.
    """
    size = np.clip(0.0135 * max(canvas), 6.5, 40)
    characters = sum(map(len, texts))  # each covers about 0.6 x 1.5 of the font size
    crowded = np.sqrt(np.prod(canvas) / 7 / (0.9 * max(characters, 1)))
    return float(min(size, max(crowded, 5)))


def place_labels(boxes: np.ndarray, sizes: np.ndarray, canvas: np.ndarray) -> np.ndarray:
    """Find each label a place by its box: free of other labels and hiding as little as it can.

    boxes: [num_boxes, (y1, x1, y2, x2)], sizes: [num_boxes, (height, width)] of the labels,
    canvas: (height, width); one unit for all of them. Returns [num_boxes, (y, x)], the labels'
    upper left corners, inside the canvas wherever a label fits into it.

    1. Small boxes come first: they have the fewest places.
    2. The places of a box are tried in a fixed order: above, below, beside, inside along the
       edge, and further off for the crowd.
    3. The cheapest is taken; what a label hides of its own box costs most, then of other labels,
       then of other boxes, then its rank in that order.
    """
    boxes, sizes = np.asarray(boxes, dtype=float), np.asarray(sizes, dtype=float)
    boxes = np.clip(boxes, 0, np.tile(canvas, 2))
    areas = np.maximum(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), 1e-6)
    labels = np.zeros_like(boxes)
    placed: list[int] = []
    for i in np.argsort(areas, kind="stable"):
        corners = _places(boxes[i], sizes[i])
        corners = np.clip(corners, 0, np.maximum(canvas - sizes[i], 0))  # [places, (y, x)]
        places = np.hstack([corners, corners + sizes[i]])  # [places, (y1, x1, y2, x2)]
        hidden = _intersections(places, boxes) / areas  # [places, num_boxes]
        covered = _intersections(places, labels[placed]).sum(axis=1) / np.prod(sizes[i])
        own = hidden[:, i]
        others = hidden.sum(axis=1) - own
        rank = np.arange(len(places)) / len(places)
        best = np.argmin(40 * own + 20 * covered + 3 * others + rank)
        labels[i] = places[best]
        placed.append(i)
    return labels[:, :2]


def _places(box: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Upper left corners [places, (y, x)] of a label of `size` round `box`, the best first."""
    (y1, x1, y2, x2), (h, w) = box, size
    middle_y, middle_x = (y1 + y2 - h) / 2, (x1 + x2 - w) / 2
    above, below, left, right = y1 - h, y2, x1 - w, x2
    near = [
        (above, x1), (above, x2 - w), (above, middle_x), (below, x1), (below, x2 - w),
        (below, middle_x), (y1, right), (y1, left), (y2 - h, right), (y2 - h, left),
        (middle_y, right), (middle_y, left), (y1, x1), (y1, x2 - w), (y2 - h, x1),
        (y2 - h, x2 - w), (above, right), (above, left), (below, right), (below, left),
    ]  # fmt: skip
    far = [
        (y, x)
        for step in (1.2, 2.4, 3.6)
        for y in (above - step * h, below + step * h)
        for x in (x1, x2 - w, middle_x, left, right)
    ]
    return np.array(near + far)


def _intersections(boxes1: np.ndarray, boxes2: np.ndarray) -> np.ndarray:
    """Areas [len(boxes1), len(boxes2)] in which the boxes of two lists meet."""
    near = np.maximum(boxes1[:, None, :2], boxes2[None, :, :2])
    far = np.minimum(boxes1[:, None, 2:], boxes2[None, :, 2:])
    return np.prod(np.maximum(far - near, 0), axis=2)


def draw_labels(ax: "Axes", boxes: np.ndarray, texts: Sequence[str], colors: Sequence[Any]) -> list:
    """Write `texts` by `boxes` [num_boxes, (y1, x1, y2, x2)] on patches of their colours.

    Lays the labels out for the axes' size and limits of now; a thin line leads from a label that
    found no place at its box to that box. Returns the Text objects.
    """
    if not len(texts):
        return []
    canvas, scale = canvas_of(ax)
    font = label_size(canvas, texts)
    pad = 0.18 * font
    labels = [_label(ax, text, color, font, pad) for text, color in zip(texts, colors)]
    pages = [label.get_window_extent() for label in labels]
    points = POINTS_PER_INCH / ax.figure.dpi
    sizes = np.array([[page.height, page.width] for page in pages]) * points + 2 * pad
    for label, size in zip(labels, sizes):
        if size[1] > canvas[1]:  # a long name in a small picture
            label.set_fontsize(max(4, label.get_fontsize() * canvas[1] / size[1]))
            size *= label.get_fontsize() / font

    origin = np.array([ax.get_ylim()[1], ax.get_xlim()[0]])  # data (y, x) of the canvas's corner
    on_canvas = (np.asarray(boxes, dtype=float) - 0.5 - np.tile(origin, 2)) * scale
    corners = place_labels(on_canvas, sizes, canvas)
    for label, box, corner, size, color in zip(labels, on_canvas, corners, sizes, colors):
        y, x = (corner + pad) / scale + origin
        label.set_position((x, y))
        on_label = np.clip((box[:2] + box[2:]) / 2, corner, corner + size)
        on_box = np.clip(on_label, box[:2], box[2:])
        if np.abs(on_label - on_box).max() > 1:
            y, x = (np.stack([on_label, on_box]) / scale + origin).T
            ax.plot(x, y, color=color, linewidth=0.12 * font, path_effects=_halo(0.12 * font))
    return labels


def draw_labels_inside(ax: "Axes", boxes: np.ndarray, texts: Sequence[str]) -> list:
    """Write short `texts` into `boxes` [num_boxes, (y1, x1, y2, x2)], beginning with the smallest.

    Each is as large as its box lets it be, up to a size that suits the canvas, and stands where the
    box lies over no other one, in its middle if it can. One that would be too small to read, or
    would hide another, is left out. Returns the Text objects.
    """
    canvas, scale = canvas_of(ax)
    origin = np.array([ax.get_ylim()[1], ax.get_xlim()[0]])  # data (y, x) of the canvas's corner
    on_canvas = (np.asarray(boxes, dtype=float).reshape(-1, 4) - 0.5 - np.tile(origin, 2)) * scale
    on_canvas = np.clip(on_canvas, 0, np.tile(canvas, 2))
    largest = float(np.clip(0.012 * max(canvas), 6, 24))
    taken = np.zeros((0, 4))
    labels = []
    for i in np.argsort(np.prod(on_canvas[:, 2:] - on_canvas[:, :2], axis=1), kind="stable"):
        size = on_canvas[i, 2:] - on_canvas[i, :2]
        # A character is about 0.64 of the font size wide, a digit 0.75 high; some air round them.
        wide = 0.64 * max(len(texts[i]), 1)
        font = min(largest, 0.9 * size[1] / wide, size[0])
        if font < _LEAST_FONT:
            continue
        half = np.array([0.75, wide]) * font / 2
        steps = (size / 2 - 1.1 * half) * [[0, 0], *_ROUND]  # the middle first
        middles = (on_canvas[i, :2] + on_canvas[i, 2:]) / 2 + steps
        places = np.hstack([middles - half, middles + half])  # [places, (y1, x1, y2, x2)]
        hidden = _intersections(places, np.delete(on_canvas, i, axis=0)).sum(axis=1)
        hidden[_intersections(places, taken).any(axis=1)] = np.inf
        best = np.argmin(hidden)
        if np.isinf(hidden[best]):
            continue
        taken = np.concatenate([taken, places[[best]]])
        y, x = middles[best] / scale + origin
        labels.append(
            ax.text(
                x, y, texts[i], fontsize=font, color="white", parse_math=False, zorder=5,
                horizontalalignment="center", verticalalignment="center_baseline", clip_on=True,
                path_effects=_halo(0.16 * font),
            )
        )  # fmt: skip
    return labels


def _label(ax: "Axes", text: str, color: Any, font: float, pad: float) -> Any:
    label = ax.text(
        0, 0, text, fontsize=font, color=readable_on(color), parse_math=False, zorder=5,
        horizontalalignment="left", verticalalignment="top", clip_on=True, linespacing=1.05,
    )  # fmt: skip
    rim = dict(edgecolor=(0, 0, 0, 0.5), linewidth=0.5)
    label.set_bbox(dict(boxstyle=f"square,pad={pad / font}", facecolor=color, **rim))
    return label
