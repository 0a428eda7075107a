"""Labels that are probably wrong: where a network that has learned from many disagrees with one.

    suspects = find_suspects(collect(model, dataset))      # the most probable first

A network errs too. So what it says counts as much as it is right on the same pictures where labels
and detections can be compared: a detection of nothing counts as often as detections of its score
meet a label, and a label of nothing as often as labels of its size are found. Both numbers come
from the data set itself, of which most labels must be right; and in a picture of which the two see
next to nothing alike, one disagreement more says little.

Shapes in this room (D: detections, L: labels of a picture)
    iou      [D, L]
    inside   [D, L], the share of the detection that lies in the label
    holds    [D, L], the share of the label that the detection holds
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pycocotools import mask as mask_utils

from mrcnn.evaluate.coco import Collected

MISSING, EXTRA, CLASS = "missing object", "extra object", "wrong class"
OUTLINE, MERGED, SPLIT = "loose outline", "several in one", "one in several"
KINDS = (MISSING, EXTRA, CLASS, OUTLINE, MERGED, SPLIT)
# The Config's values with which a network looks: unsure ones too, each class of a region by itself.
LOOKING = {"DETECTION_MIN_CONFIDENCE": 0.2, "DETECTION_EVERY_CLASS": True}
LEAST = 0.1  # confidence of a suspect that is worth a look
MEETS = 0.5  # IoU of what is one object
_TOUCHES, _NEAR = 0.1, 0.3  # IoU from which two have to do with each other, or may be one object
_ONE = 0.75  # IoU of what is one object beyond doubt
_CRUMB = 0.15  # share of a whole below which a part is no object
_LEAST_SPREAD = 0.03  # of IoU; outlines that are all alike are no reason to be strict
_TASTE = 0.9  # an outline may be meant otherwise, however far it is off
_OFF = 2.0  # spreads beyond the usual at which an outline is as probably wrong as right
_MOSTLY = 0.7  # share of one that lies in another which holds it
_SIZES = 4  # groups of labels of about one size
_FEW = 10  # labels; a group of fewer is judged by all


@dataclass(frozen=True)
class Suspect:
    """Something in the labels of a picture that is probably wrong.

    kind: one of KINDS. confidence: 0..1, that it is wrong. labels, found: rows in `Collected.truth`
    and `.found` that it is about. class_id: of the label, or of what isn't labelled; better: of
    the detection where the kind is CLASS.
    """

    image_id: int
    kind: str
    confidence: float
    labels: tuple[int, ...]
    found: tuple[int, ...]
    class_id: int
    better: int | None = None


def find_suspects(collected: Collected, least: float = LEAST) -> list[Suspect]:
    """What is probably wrong in the labels, the surest first; each label and detection once.

    collected: with detections that have masks, unsure ones too (scores from 0.2 on or so, each
    class of a region by itself). least: confidence of a suspect that is told.
    """
    pictures = [_Picture.of(collected, row["id"]) for row in collected.pictures]
    habits = _Habits.of(pictures)
    suspects = [suspect for picture in pictures for suspect in _of_picture(picture, habits)]
    suspects = [
        replace(one, confidence=one.confidence * habits.agreement[one.image_id]) for one in suspects
    ]
    suspects = [one for one in suspects if one.confidence >= least]
    return sorted(suspects, key=lambda one: (-one.confidence, one.image_id, one.labels, one.found))


# -- A picture ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Picture:
    """What is labelled and found in a picture, and how these lie to each other."""

    image_id: int
    labels: np.ndarray  # [L] rows of `truth` that are no crowds
    found: np.ndarray  # [D] rows of `found`, those in crowds left out
    label_class: np.ndarray
    found_class: np.ndarray
    score: np.ndarray
    label_area: np.ndarray
    found_area: np.ndarray
    iou: np.ndarray
    inside: np.ndarray
    holds: np.ndarray
    covered: np.ndarray  # [D] share of a detection that any label covers
    objects: list[int]  # the surest detection of each object, whatever class it has

    @classmethod
    def of(cls, collected: Collected, image_id: int) -> "_Picture":
        truth = [(i, row) for i, row in enumerate(collected.truth) if row["image_id"] == image_id]
        crowds = [row for _, row in truth if row["iscrowd"]]
        truth = [(i, row) for i, row in truth if not row["iscrowd"]]
        found = [(i, row) for i, row in enumerate(collected.found) if row["image_id"] == image_id]
        if crowds and found:
            in_crowd = _overlaps([row for _, row in found], crowds, of_first=True).max(axis=1)
            found = [pair for pair, share in zip(found, in_crowd) if share < MEETS]
        labels, detections = [row for _, row in truth], [row for _, row in found]
        inside = _overlaps(detections, labels, of_first=True)
        covered = np.zeros(len(found))
        if labels and found:
            union = mask_utils.merge([row["segmentation"] for row in labels])
            covered = _overlaps(detections, [{"segmentation": union}], of_first=True)[:, 0]
        return cls(
            image_id,
            np.array([i for i, _ in truth], int),
            np.array([i for i, _ in found], int),
            np.array([row["category_id"] for row in labels], int),
            np.array([row["category_id"] for row in detections], int),
            np.array([row["score"] for row in detections], float),
            _areas(labels),
            _areas(detections),
            _overlaps(detections, labels),
            inside,
            _overlaps(labels, detections, of_first=True).T,
            covered,
            _one_of_each(detections),
        )

    def matched(self) -> tuple[np.ndarray, int]:
        """IoU of the labels that a sure detection meets, and how many labels and such there are."""
        best, _ = _best(self)
        sure = sum(self.score[d] >= MEETS for d in self.objects)
        return best[best >= MEETS], len(best) + int(sure)

    def support(self) -> np.ndarray:
        """[L] how sure it is that something lies where the label does, whatever its class: 0..1."""
        if not len(self.found):
            return np.zeros(len(self.labels))
        near = np.minimum(self.iou / MEETS, 1)
        return (self.score[:, None] * near).max(axis=0, initial=0)


def _overlaps(first: Sequence[dict], second: Sequence[dict], of_first: bool = False) -> np.ndarray:
    """[first, second] IoU, or the share of the first that lies in the second."""
    if not first or not second:
        return np.zeros((len(first), len(second)))
    shapes = [[row["segmentation"] for row in rows] for rows in (first, second)]
    return np.asarray(mask_utils.iou(*shapes, [int(of_first)] * len(second)), float)


def _one_of_each(detections: Sequence[dict]) -> list[int]:
    """The surest detection of each object, whatever class it has, surest first."""
    alike = _overlaps(detections, detections) >= MEETS
    kept: list[int] = []
    for d in np.argsort([-row["score"] for row in detections], kind="stable").tolist():
        if not alike[d, kept].any():
            kept.append(d)
    return kept


def _areas(rows: Sequence[dict]) -> np.ndarray:
    return np.array([float(mask_utils.area(row["segmentation"])) for row in rows])


# -- What the network is like on these data ------------------------------------------------


@dataclass(frozen=True)
class _Habits:
    """How often the network is right, by the labels that are there."""

    scores: np.ndarray  # rising
    right: np.ndarray  # share of detections of such a score that meet a label; rising
    area_bounds: np.ndarray  # between the groups of sizes
    found_share: np.ndarray  # of labels of a group
    outlines: np.ndarray  # median IoU of those found in a group
    spread: np.ndarray  # and how far below it one of six is
    agreement: dict[int, float]  # of labels and detections in a picture: 0..1
    outlines_of: dict[int, tuple[float, float]]  # the same two numbers of pictures with enough

    @classmethod
    def of(cls, pictures: Sequence[_Picture]) -> "_Habits":
        score = np.concatenate([[], *(p.score for p in pictures)])
        met = np.concatenate([[], *(p.iou.max(axis=1, initial=0) >= MEETS for p in pictures)])
        order = np.argsort(score, kind="stable")
        area = np.concatenate([[], *(p.label_area for p in pictures)])
        best = [_best(p) for p in pictures]
        iou = np.concatenate([[], *(ious for ious, _ in best)])
        found_area = np.concatenate([[], *(areas for _, areas in best)])
        bounds = np.quantile(area, np.arange(1, _SIZES) / _SIZES) if len(area) else np.zeros(0)
        hit = iou >= MEETS
        everywhere = (hit.sum() + 1) / (len(hit) + 2)  # of few labels nothing is sure
        shares, medians, spreads = [], [], []
        for i in range(len(bounds) + 1):
            hits = hit[np.searchsorted(bounds, area) == i]
            shares.append((hits.sum() + _FEW * everywhere) / (len(hits) + _FEW))
            # A wrong outline has a wrong size: that of what is found is the better one.
            ious = iou[hit & (np.searchsorted(bounds, found_area) == i)]
            ious = ious if len(ious) >= _FEW else iou[hit]
            medians.append(np.median(ious) if len(ious) else 1.0)
            spreads.append(medians[-1] - np.quantile(ious, 1 / 6) if len(ious) else 1.0)
        pairs = [p.matched() for p in pictures]
        both = sum(2 * len(ious) for ious, _ in pairs) / max(sum(count for _, count in pairs), 1)
        agreement, outlines_of = {}, {}
        for picture, (ious, count) in zip(pictures, pairs):
            agreement[picture.image_id] = (2 * len(ious) + _FEW * both) / (count + _FEW)
            if len(ious) >= _FEW:
                median = float(np.median(ious))
                outlines_of[picture.image_id] = median, median - float(np.quantile(ious, 1 / 6))
        return cls(
            *(score[order], _rising(met[order]), bounds),
            *(np.array(shares), np.array(medians), np.array(spreads), agreement, outlines_of),
        )

    def trust(self, score: float) -> float:
        """How often a detection of this score meets a label."""
        if not len(self.scores):
            return 0.0
        return float(np.interp(score, self.scores, self.right))

    def group(self, area: float) -> int:
        return int(np.searchsorted(self.area_bounds, area))


def _best(picture: _Picture) -> tuple[np.ndarray, np.ndarray]:
    """[L] the best IoU of each label with a detection that is sure, [L] the area of that one."""
    sure = np.flatnonzero(picture.score >= MEETS)
    if not len(sure):
        return np.zeros(len(picture.labels)), picture.label_area
    best = sure[picture.iou[sure].argmax(axis=0)]
    return picture.iou[best, np.arange(len(picture.labels))], picture.found_area[best]


def _rising(values: np.ndarray) -> np.ndarray:
    """The rising sequence that is nearest to `values`, by least squares."""
    blocks: list[list[float]] = []  # [mean, count]
    for value in values:
        blocks.append([float(value), 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, count = blocks.pop()
            total = blocks[-1][1] + count
            blocks[-1] = [(blocks[-1][0] * blocks[-1][1] + mean * count) / total, total]
    return np.concatenate([[], *(np.full(int(count), mean) for mean, count in blocks)])


# -- Suspects -------------------------------------------------------------------------------


def _of_picture(picture: _Picture, habits: _Habits) -> list[Suspect]:
    """All that may be wrong, of which each label and each detection tells its surest once."""
    suspects = sorted(
        [
            *_merged(picture, habits),
            *_split(picture, habits),
            *_of_labels(picture, habits),
            *_missing(picture, habits),
        ],
        key=lambda one: -one.confidence,
    )
    labels_told: set[int] = set()
    found_told: set[int] = set()
    kept = []
    for one in suspects:
        if labels_told & set(one.labels) or (not one.labels and found_told & set(one.found)):
            continue
        labels_told.update(one.labels)
        found_told.update(one.found)
        kept.append(one)
    return kept


def _suspect(
    picture: _Picture,
    kind: str,
    confidence: float,
    labels: Sequence[int],
    found: Sequence[int],
    better: int | None = None,
) -> Suspect:
    """labels, found: places in the picture's arrays."""
    class_id = picture.label_class[labels[0]] if len(labels) else picture.found_class[found[0]]
    return Suspect(
        picture.image_id,
        kind,
        float(np.clip(confidence, 0, 1)),
        tuple(int(picture.labels[i]) for i in labels),
        tuple(int(picture.found[i]) for i in found),
        int(class_id),
        better,
    )


def _merged(picture: _Picture, habits: _Habits) -> Iterator[Suspect]:
    for label in range(len(picture.labels)):
        parts = [
            d
            for d in picture.objects
            if picture.inside[d, label] >= _MOSTLY and picture.iou[d, label] < _ONE
        ]
        share = picture.holds[parts, label].sum() if parts else 0
        if len(parts) < 2 or share < MEETS:
            continue
        whole = picture.score[picture.iou[:, label] >= _ONE].max(initial=0)
        # Of two the smaller one counts: a crumb beside an object is none.
        second = np.sort(picture.holds[parts, label])[-2]
        trust = habits.trust(np.sort(picture.score[parts])[-2])
        confidence = trust * min(share, 1) * min(second / _CRUMB, 1) * (1 - whole)
        yield _suspect(picture, MERGED, confidence, [label], parts)


def _split(picture: _Picture, habits: _Habits) -> Iterator[Suspect]:
    for d in picture.objects:
        parts = [
            label
            for label in range(len(picture.labels))
            if picture.holds[d, label] >= _MOSTLY and picture.iou[d, label] < _ONE
        ]
        share = picture.inside[d, parts].sum() if parts else 0
        if len(parts) < 2 or share < MEETS:
            continue
        # Parts that are found by themselves are no parts.
        alone = (picture.iou[:, parts] >= MEETS).any(axis=1)
        alone[d] = False
        apart = picture.score[alone].max(initial=0)
        second = np.sort(picture.inside[d, parts])[-2]
        trust = habits.trust(picture.score[d])
        confidence = trust * min(share, 1) * min(second / _CRUMB, 1) * (1 - apart)
        yield _suspect(picture, SPLIT, confidence, parts, [d])


def _of_labels(picture: _Picture, habits: _Habits) -> Iterator[Suspect]:
    """Extra ones, those of a wrong class, loose outlines."""
    support = picture.support()
    for label in range(len(picture.labels)):
        share = habits.found_share[habits.group(picture.label_area[label])]
        yield _suspect(picture, EXTRA, share * (1 - support[label]) ** 2, [label], [])
        if not len(picture.found):
            continue
        near = picture.iou[:, label]
        own = picture.found_class == picture.label_class[label]
        mine = picture.score[own & (near >= MEETS)].max(initial=0)
        others = np.flatnonzero(~own & (near >= MEETS))
        if len(others):
            other = int(others[np.argmax(picture.score[others])])
            doubt = (picture.score[other] - mine) * habits.trust(picture.score[other])
            better = int(picture.found_class[other])
            yield _suspect(picture, CLASS, doubt, [label], [other], better)
        best = int(np.argmax(picture.score * near))
        if near[best] < _TOUCHES:
            continue
        group = habits.group(picture.found_area[best])
        usual = habits.outlines[group], habits.spread[group]
        median, spread = habits.outlines_of.get(picture.image_id, usual)
        off = max((median - near[best]) / max(spread, _LEAST_SPREAD) - 1, 0)
        loose = _TASTE * off**2 / (off**2 + _OFF**2) * habits.trust(picture.score[best])
        yield _suspect(picture, OUTLINE, loose, [label], [best])


def _missing(picture: _Picture, habits: _Habits) -> Iterator[Suspect]:
    for d in picture.objects:
        free = 1 - picture.covered[d]
        if picture.iou[d].max(initial=0) < _NEAR and free > MEETS:
            yield _suspect(picture, MISSING, habits.trust(picture.score[d]) * free, [], [d])
