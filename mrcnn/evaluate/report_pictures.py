"""The pictures of a report: labels and detections of one picture, side by side, as JPEG.

Blue is a label that was found and the detection that found it; orange a label that was missed and
a detection that matches none; grey a crowd, and what was found in it.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as mask_utils

from mrcnn.drawing.instances import check_instances, draw_instances
from mrcnn.drawing.pixels import as_picture
from mrcnn.evaluate.coco import Collected
from mrcnn.evaluate.matching import Matches, Threshold, sure

SIDE = 720  # pixels; the longer side of a picture in the report
QUALITY = 80  # of its JPEG
RIGHT, WRONG, CROWD = (0.16, 0.5, 0.96), (1.0, 0.5, 0.05), (0.6, 0.6, 0.6)
_MOST_LABELLED = 25  # instances; in a denser picture captions would hide what they name
_DPI = 128  # a power of two, so that inches times dpi are whole pixels again


@dataclass(frozen=True)
class Example:
    """A picture for the report."""

    row: Mapping[str, Any]  # its row of metrics["per_picture"]
    labelled: str  # data:image/jpeg;base64,...
    found: str


def choose(per_picture: Sequence[Mapping[str, Any]], worst: int = 6, best: int = 3) -> tuple:
    """The rows of the worst and of the best pictures, by quality; none is in both.

    per_picture: as in `all_metrics`. Of equally good pictures those with more mistakes are worse.
    """
    rated = [row for row in per_picture if row["quality"] is not None]
    mistakes = {row["id"]: row["labelled"] + row["found"] - 2 * row["matched"] for row in rated}
    rated.sort(key=lambda row: (row["quality"], -mistakes[row["id"]]))
    best = min(best, len(rated) // 2)
    worst = min(worst, len(rated) - best)
    return rated[:worst], rated[::-1][:best]


def example(
    image: np.ndarray,
    row: Mapping[str, Any],
    collected: Collected,
    matches: Matches,
    threshold: Threshold,
) -> Example:
    """Draw a picture's labels and its detections of at least `threshold` confidence.

    image: [height, width] or [height, width, channels]; row: of metrics["per_picture"].
    """
    names = {category["id"]: category["name"] for category in collected.categories}
    several = len(names) > 1
    shown = sure(matches, threshold)
    least = threshold if isinstance(threshold, Mapping) else dict.fromkeys(names, threshold)
    hit = set(matches.found_label[shown].tolist())
    color_of_label = {
        label: RIGHT if i in hit else WRONG for i, label in enumerate(matches.true_row.tolist())
    }
    color_of_found = {
        one: RIGHT if matches.found_label[i] >= 0 else WRONG
        for i, one in enumerate(matches.found_row.tolist())
    }
    labels = [i for i, label in enumerate(collected.truth) if label["image_id"] == row["id"]]
    found = [
        i
        for i, one in enumerate(collected.found)
        if one["image_id"] == row["id"] and one["score"] >= least[one["category_id"]]
    ]
    labelled = _panel(
        image,
        [collected.truth[i] for i in labels],
        [color_of_label.get(i, CROWD) for i in labels],
        [names[collected.truth[i]["category_id"]] if several else "" for i in labels],
    )
    detected = _panel(
        image,
        [collected.found[i] for i in found],
        [color_of_found.get(i, CROWD) for i in found],
        [
            f"{names[one['category_id']] if several else ''} {one['score']:.2f}".strip()
            for one in (collected.found[i] for i in found)
        ],
    )
    return Example(row, labelled, detected)


def _panel(image: np.ndarray, rows: list[dict], colors: list, captions: list[str]) -> str:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    picture = Image.fromarray(as_picture(image))
    scale = SIDE / max(picture.size)
    width, height = (max(round(side * scale), 1) for side in picture.size)
    smooth = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    picture = np.asarray(picture.resize((width, height), smooth))
    x, y, across, down = np.array([row["bbox"] for row in rows], float).reshape(-1, 4).T * scale
    boxes = np.stack([y, x, y + down, x + across], axis=1)  # [instances, (y1, x1, y2, x2)]
    # Scaled one by one: all masks of a large, crowded picture at once would fill the memory.
    masks = [_mask(row, (height, width)) for row in rows]
    few = len(rows) <= _MOST_LABELLED
    instances = check_instances(
        picture,
        boxes,
        np.stack(masks, axis=-1) if all(mask is not None for mask in masks) and masks else None,
        np.zeros(len(rows), int),
        [""],
        None,
        colors,
        captions if few else [""] * len(rows),
    )
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    canvas = FigureCanvasAgg(figure)
    draw_instances(figure.add_axes([0, 0, 1, 1]), instances, show_bbox=instances.masks is None)
    canvas.draw()
    file = io.BytesIO()
    drawn = np.asarray(canvas.buffer_rgba())[..., :3]
    Image.fromarray(drawn).save(file, "JPEG", quality=QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _mask(row: dict, size: tuple[int, int]) -> np.ndarray | None:
    if "segmentation" not in row:
        return None
    mask = Image.fromarray(mask_utils.decode(row["segmentation"]))
    return np.asarray(mask.resize(size[::-1], Image.Resampling.NEAREST)).astype(bool)
