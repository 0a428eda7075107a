"""Which unlabelled pictures are worth labelling next: where the network doubts, and what is new.

    order = label_next(candidates, labelled)     # [Next(..), ..], the best first

candidates, labelled: a `Look` for each picture. One is chosen after the other, and what is alike to
one that was chosen is new no more, so that the first ten are ten different ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from mrcnn.drawing.pixels import as_picture

_GRID = 4  # cells across and down a picture, whose colours are compared
_THUMB = 32  # pixels


@dataclass(frozen=True)
class Look:
    """A picture as it is compared. name: of its file. scores: of what is found in it."""

    name: str
    features: np.ndarray  # [n]
    scores: np.ndarray  # [D]


@dataclass(frozen=True)
class Next:
    """A picture to label. doubt, new: 0..1; worth: their mean. found: instances, sure or not."""

    name: str
    worth: float
    doubt: float
    new: float
    found: int


def look(name: str, picture: np.ndarray, found: Mapping[str, Any]) -> Look:
    """What is compared of a picture: its colours, its texture, and what is found in it.

    picture: [height, width] or [height, width, channels]. found: as from `detect`.
    """
    shown = Image.fromarray(as_picture(picture)).convert("RGB").resize((_THUMB, _THUMB))
    small = np.asarray(shown, float) / 255
    cells = small.reshape(_GRID, _THUMB // _GRID, _GRID, _THUMB // _GRID, 3)
    edges = [np.abs(np.diff(small.mean(axis=2), axis=axis)).mean() for axis in (0, 1)]
    scores = np.asarray(found["scores"], float)
    boxes = np.asarray(found["rois"], float).reshape(-1, 4)
    sides = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) / np.prod(picture.shape[:2]))
    features = np.concatenate(
        [
            cells.mean(axis=(1, 3)).ravel(),
            cells.std(axis=(1, 3)).ravel(),
            4 * np.array(edges),
            [np.log1p(scores.sum()) / 4, np.average(sides, weights=scores) if len(sides) else 0],
        ]
    )
    return Look(name, features, scores)


def doubt(scores: np.ndarray) -> float:
    """Instances that may be there or not, for each that seems to be there: 0..1."""
    unsure = 1 - np.abs(2 * scores - 1)
    return float(min(unsure.sum() / (scores.sum() + 1), 1))


def label_next(candidates: Sequence[Look], labelled: Sequence[Look]) -> list[Next]:
    """All candidates, the one most worth labelling first; see the module."""
    if not candidates:
        return []
    known = np.array([one.features for one in labelled])
    features = np.array([one.features for one in candidates])
    usual = _usual_distance(known if len(known) > 1 else features)
    nearest = np.full(len(features), np.inf)
    for one in known:
        nearest = np.minimum(nearest, np.linalg.norm(features - one, axis=1))
    doubts = np.array([doubt(one.scores) for one in candidates])
    left, order = np.ones(len(features), bool), []
    while left.any():
        new = 1 - usual / (nearest + usual)  # 1 where there is nothing to be like
        worth = np.where(left, (doubts + new) / 2, -1)
        best = int(np.argmax(worth))
        one = candidates[best]
        order.append(
            Next(one.name, float(worth[best]), float(doubts[best]), float(new[best]),
                 len(one.scores))
        )  # fmt: skip
        left[best] = False
        nearest = np.minimum(nearest, np.linalg.norm(features - features[best], axis=1))
    return order


def _usual_distance(features: np.ndarray) -> float:
    """From a picture to the one that is most like it, in the median."""
    if len(features) < 2:
        return 1.0
    nearest = []
    for i, one in enumerate(features):  # one by one: of thousands, all pairs would fill the memory
        distances = np.linalg.norm(features - one, axis=1)
        distances[i] = np.inf
        nearest.append(distances.min())
    return float(max(np.median(nearest), 1e-6))
