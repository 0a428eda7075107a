"""The exported file beside the Keras model, instance by instance, on real pictures."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.config import Config
from mrcnn.data.images import molded_shape
from mrcnn.data.pictures import read_picture
from mrcnn.detect.check import check_picture
from mrcnn.detect.exported import Found, as_bytes, in_the_given
from mrcnn.detect.mold import Molded, mold_inputs
from mrcnn.errors import UsageError
from mrcnn.geometry.boxes import compute_overlaps
from mrcnn.geometry.masks import paste_masks, resize

# What rounding in another order may change.
BOX, SCORE, MASK = 0.5, 1e-3, 0.99  # pixels; score; IoU
_SAME = 0.5  # IoU from which two boxes can be of one instance
_OWN = ("astronaut", "chelsea", "coffee", "rocket", "coins", "cell", "page")  # of scikit-image


class ProofFailed(UsageError):
    """The file finds other things than the Keras model; it was removed."""


@dataclass(frozen=True)
class Compared:
    """One picture, as both see it."""

    picture: str
    size: str
    instances: int  # of the Keras model
    matched: int = 0
    missing: int = 0
    extra: int = 0
    at_threshold: int = 0  # found by one alone, with a score that is the threshold but for rounding
    box: float = 0.0  # worst difference of a corner, pixels of the picture
    score: float = 0.0  # worst difference
    mask: float = 1.0  # least IoU, both masks in the Keras model's box
    pixels: int = 0  # in which that pair of masks differs

    @property
    def holds(self) -> bool:
        """Whether it is the same but for rounding. Of a tiny mask one pixel may differ."""
        same_masks = self.mask >= MASK or self.pixels <= 1
        return not (self.missing or self.extra) and (
            self.box <= BOX and self.score <= SCORE and same_masks
        )


def pictures(paths: Sequence[Path] | None, config: Config) -> list[tuple[str, np.ndarray]]:
    """(name, uint8 picture) to compare on: those of the files, else scikit-image's own."""
    found = []
    if paths:
        found = [(path.name, read_picture(path)) for path in paths]
    else:
        import skimage.data

        for name in _OWN:
            try:
                found.append((name, np.asarray(getattr(skimage.data, name)())))
            except Exception:  # a later version may fetch it, and there may be no network
                continue
    return [
        (name, as_bytes(check_picture(_channels(picture, config), config, name)))
        for name, picture in found
    ]


def _channels(picture: np.ndarray, config: Config) -> np.ndarray:
    """Colours for a network of another number of channels: real structure is what counts."""
    count = config.IMAGE_CHANNEL_COUNT
    if count == 3:
        return picture
    picture = picture if picture.ndim == 3 else picture[..., None]
    return picture[..., np.arange(count) % picture.shape[-1]]


def fitted(picture: np.ndarray, config: Config, size: tuple[int, int] | None) -> np.ndarray | None:
    """The picture, resized where the file takes one size alone; None where that can't be."""
    if size is None or molded_shape(picture.shape, config) == size:
        return picture
    scale = max(config.IMAGE_MIN_SCALE or 1, 1)
    sides = [max(round(side / scale), 1) for side in size]
    picture = np.rint(resize(picture, sides, preserve_range=True)).astype(np.uint8)
    return picture if molded_shape(picture.shape, config) == size else None


def of_keras(model: Any, config: Config, picture: np.ndarray) -> Found:
    """What the Keras model finds, in the form of `Exported.find`.

    model: a MaskRCNN in inference mode. config: its own, or that with another picture size.
    """
    images, metas, windows = mold_inputs([picture], config)
    batch = Molded([picture.shape], images, metas, windows)
    detections, masks = (x[0] for x in model._forward(model.keras_model, config, batch))
    count = int((detections[:, 4] > 0).sum())
    far = np.array([*images.shape[1:3]] * 2) - 1
    boxes = detections[:count, :4].astype(np.float64) * far + [0, 0, 1, 1]
    ids = detections[:count, 4].astype(np.int32)
    own = masks[np.arange(count), :, :, ids]
    return Found(in_the_given(boxes, windows[0], picture.shape), ids, detections[:count, 5], own)


def compare(
    name: str, shape: Sequence[int], keras: Found, file: Found, threshold: float
) -> Compared:
    """Pair the instances of a picture, the surest first, and measure how far they are apart."""
    keras, file = _real(keras), _real(file)
    overlaps = compute_overlaps(file.boxes, keras.boxes)  # [file's, Keras's]
    overlaps[file.class_ids[:, None] != keras.class_ids[None]] = 0
    pairs, free = [], np.ones(len(file.boxes), bool)
    for i in range(len(keras.boxes)):
        # Of several at one place the one with the same score.
        apart = np.abs(file.scores - keras.scores[i]) + np.where(overlaps[:, i] > _SAME, 0, 9)
        apart = apart + (1 - overlaps[:, i]) + np.where(free, 0, 9)
        if len(apart) and apart.min() < 9:
            j = int(apart.argmin())
            free[j] = False
            pairs.append((i, j))
    first, second = (np.array([pair[k] for pair in pairs], int) for k in (0, 1))
    alone = np.concatenate([np.delete(keras.scores, first), file.scores[free]])
    near = alone <= threshold + SCORE
    missing = len(keras.scores) - len(pairs)
    box = np.abs(keras.boxes[first] - file.boxes[second]).max(initial=0)
    score = np.abs(keras.scores[first] - file.scores[second]).max(initial=0)
    mask, pixels = 1.0, 0
    for i, j in pairs:
        iou, differ = _masks_apart(keras.boxes[i], keras.masks[i], file.masks[j])
        if iou < mask:
            mask, pixels = iou, differ
    return Compared(
        picture=name,
        size=f"{shape[0]}x{shape[1]}",
        instances=len(keras.scores),
        matched=len(pairs),
        missing=missing - int(near[:missing].sum()),
        extra=int(free.sum()) - int(near[missing:].sum()),
        at_threshold=int(near.sum()),
        box=float(box),
        score=float(score),
        mask=float(mask),
        pixels=pixels,
    )


def _real(found: Found) -> Found:
    """Without the boxes that are empty once they are rounded, which nobody is shown."""
    boxes = np.around(found.boxes)
    real = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return Found(*(values[real] for values in found))


def _masks_apart(box: np.ndarray, one: np.ndarray, other: np.ndarray) -> tuple[float, int]:
    y1, x1, y2, x2 = np.around(box).astype(int)
    place = np.array([[0, 0, y2 - y1, x2 - x1]] * 2)
    both = paste_masks(np.stack([one, other]), place, (y2 - y1, x2 - x1))
    union, common = both.any(axis=-1).sum(), both.all(axis=-1).sum()
    return (float(common / union) if union else 1.0), int(union - common)


def prove(
    model: Any,
    config: Config,
    find: Callable[[np.ndarray], Found],
    shown: Sequence[tuple[str, np.ndarray]],
    size: tuple[int, int] | None,
) -> list[Compared]:
    """Compare on each picture. find: `Exported.find` of the file."""
    rows = []
    threshold = float(config.DETECTION_MIN_CONFIDENCE or 0)
    for name, picture in shown:
        picture = fitted(picture, config, size)
        if picture is not None:
            keras = of_keras(model, config, picture)
            rows.append(compare(name, picture.shape, keras, find(picture), threshold))
    return rows


def as_text(rows: Sequence[Compared]) -> str:
    """A table of them, and their sum."""
    names = ("picture", "size", "instances", "matched", "missing", "extra")
    lines = [(*names, "box px", "score", "mask IoU")]
    for row in rows:
        values = asdict(row)
        lines.append((*(str(values[name]) for name in names), *_digits(row)))
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in lines
    )


def _digits(row: Compared) -> tuple[str, str, str]:
    return f"{row.box:.5f}", f"{row.score:.1e}", f"{row.mask:.4f}"


def summed(rows: Sequence[Compared]) -> dict[str, Any]:
    """The whole in a few numbers, for the card."""
    return {
        "pictures": len(rows),
        **{
            name: sum(getattr(row, name) for row in rows)
            for name in ("instances", "matched", "missing", "extra", "at_threshold")
        },
        "worst_box_px": max((row.box for row in rows), default=0.0),
        "worst_score": max((row.score for row in rows), default=0.0),
        "least_mask_iou": min((row.mask for row in rows), default=1.0),
        "tolerances": {"box_px": BOX, "score": SCORE, "mask_iou": MASK},
        "by_picture": [asdict(row) for row in rows],
    }
