"""Instances through time: who is who from frame to frame, by masks and a guess of the motion.

    tracker = Tracker()
    for frame in video:
        found = detect(frame)
        ids = tracker(found["masks"], found["class_ids"])    # a number for each instance
    tracker.distinct()                                       # {class id: number of objects}

1. Each known object is moved on as it moved last, also while nobody sees it.
2. Instances take the number of the object whose moved mask they overlap most, all at once
   (the assignment of the greatest sum). What is half hidden lies inside the mask it had before.
3. What is left over takes that of an object that must be near, such as one that comes back from
   behind something; else it is a new one.

Memory holds the objects that were seen a short while ago, each with its last whole mask.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mrcnn.geometry.crops import MaskCrops

PATIENCE = 30  # frames for which an object that isn't seen is waited for
SEEN = 3  # frames in which an object is seen before it counts
_LEAST = 0.2  # similarity of an instance and an object that may be one
_INSIDE = 0.6  # what it counts that one lies in the other, beside their IoU
_OTHER_CLASS = 0.5  # the factor where the network calls it something else
_WHOLE = 0.9  # share of the area it had, below which an object is half hidden
_FADING = 0.99  # of that area in each frame, so that things may become smaller
_INERTIA = 0.6  # of the old motion, in the new one
_REACH = 0.6  # of its size by which a guess may be off, and as much again in ten frames unseen


@dataclass
class _Object:
    """What is known of one object."""

    number: int
    class_ids: Counter[int]
    corner: np.ndarray  # float (y, x) of its mask's box, where it is now or must be
    mask: np.ndarray  # the last whole one, cut to its box
    area: float  # of the largest mask of late
    centre: np.ndarray  # float (y, x), from the corner
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))  # (y, x) pixels a frame
    frames: int = 1  # in which it was seen
    unseen: int = 0  # frames since

    @property
    def box(self) -> np.ndarray:
        """(y1, x1, y2, x2) in whole pixels."""
        first = np.rint(self.corner).astype(int)
        return np.concatenate([first, first + self.mask.shape])


class Tracker:
    """Gives the instances of one frame after the other the numbers of the objects they are.

    patience: frames for which one that isn't seen is waited for; a second's worth is a good one.
    Numbers begin at 1 and are never given twice.
    """

    def __init__(self, patience: int = PATIENCE) -> None:
        self.patience = max(int(patience), 1)
        self._objects: list[_Object] = []
        self._frames = self._numbers = 0
        self._gone: Counter[int] = Counter()  # those that counted, by class id

    def __call__(self, masks: "np.ndarray | MaskCrops", class_ids: Sequence[int]) -> list[int]:
        """The numbers of the next frame's instances.

        masks: bool [height, width, n], or cut to their boxes. class_ids: [n].
        An instance with an empty mask is nobody's: its number is 0.
        """
        self._frames += 1
        crops = MaskCrops.from_masks(masks).tight()
        boxes, pieces = crops.boxes.astype(float), crops.pieces
        real = [i for i, piece in enumerate(pieces) if piece.size]
        for known in self._objects:
            known.corner = known.corner + known.velocity
            known.unseen += 1

        numbers, taken = [0] * len(pieces), set()
        for measure, least in ((self._similarity, _LEAST), (self._nearness, 1e-9)):
            waiting = [known for known in self._objects if known.number not in taken]
            free = [i for i in real if not numbers[i]]
            values = measure([boxes[i] for i in free], [pieces[i] for i in free],
                             [int(class_ids[i]) for i in free], waiting)  # fmt: skip
            for row, column in _assigned(values, least):
                i, known = free[row], waiting[column]
                numbers[i] = known.number
                taken.add(known.number)
                self._seen_again(known, boxes[i], pieces[i], int(class_ids[i]))
        for i in real:
            if not numbers[i]:
                numbers[i] = self._begin(boxes[i], pieces[i], int(class_ids[i]))
        self._let_go()
        return numbers

    def distinct(self) -> Counter[int]:
        """{class id: objects} of the film so far; what was seen in two frames only is left out."""
        counts = Counter(self._gone)
        for known in self._objects:
            if known.frames >= min(SEEN, self._frames):
                counts[_class_of(known)] += 1
        return counts

    # -- How alike ------------------------------------------------------------------------------

    def _similarity(
        self,
        boxes: list[np.ndarray],
        pieces: list[np.ndarray],
        class_ids: list[int],
        objects: list[_Object],
    ) -> np.ndarray:
        """[instances, objects] 0..1, by the overlap of masks."""
        values = np.zeros((len(boxes), len(objects)))
        if not values.size:
            return values
        places = np.array([known.box for known in objects])
        for i, (box, piece) in enumerate(zip(np.array(boxes, int), pieces)):
            touching = (places[:, :2] < box[2:]).all(1) & (places[:, 2:] > box[:2]).all(1)
            area = np.count_nonzero(piece)
            for j in np.flatnonzero(touching):
                known = objects[j]
                shared = _shared(box, piece, places[j], known.mask)
                other = np.count_nonzero(known.mask)
                alike = max(shared / (area + other - shared), _INSIDE * shared / area)
                same = class_ids[i] == _class_of(known)
                values[i, j] = alike * (1.0 if same else _OTHER_CLASS)
        return values

    def _nearness(
        self,
        boxes: list[np.ndarray],
        pieces: list[np.ndarray],
        class_ids: list[int],
        objects: list[_Object],
    ) -> np.ndarray:
        """[instances, objects] 0..1, by the distance from where each must be; 0 if too far."""
        values = np.zeros((len(boxes), len(objects)))
        for i, (box, piece) in enumerate(zip(boxes, pieces)):
            centre, area = box[:2] + _centre(piece), np.count_nonzero(piece)
            for j, known in enumerate(objects):
                if class_ids[i] != _class_of(known) or area > 2 * known.area:
                    continue
                unsure = 2 if known.frames == 1 else 1  # nobody knows yet where it goes
                reach = unsure * _REACH * np.sqrt(known.area) * (1 + known.unseen / 10)
                apart = centre - known.corner - known.centre
                if area < _WHOLE * known.area:  # a rim of it: how far outside of where it must be
                    apart = np.maximum(np.abs(apart) - np.array(known.mask.shape) / 2, 0)
                values[i, j] = max(1 - np.hypot(*apart) / reach, 0)
        return values

    # -- What becomes of an object --------------------------------------------------------------

    def _begin(self, box: np.ndarray, piece: np.ndarray, class_id: int) -> int:
        self._numbers += 1
        known = _Object(
            self._numbers, Counter([class_id]), box[:2].copy(), piece,
            float(np.count_nonzero(piece)), _centre(piece),
        )  # fmt: skip
        self._objects.append(known)
        return known.number

    def _seen_again(
        self, known: _Object, box: np.ndarray, piece: np.ndarray, class_id: int
    ) -> None:
        area = float(np.count_nonzero(piece))
        known.area = max(area, known.area * _FADING)
        if area >= _WHOLE * known.area:
            off = box[:2] + _centre(piece) - known.corner - known.centre
        else:
            # It is half hidden, and the middle of what is seen says little; of two opposite sides
            # the one that is nearer to where it must be is its own.
            sides = np.stack([box[:2] - known.corner, box[2:] - known.corner - known.mask.shape])
            off = np.take_along_axis(sides, np.abs(sides).argmin(0)[None], 0)[0]
        # By how much the guess was off, over the frames it was made for.
        sure = 1.0 if known.frames == 1 else (1 - _INERTIA) * min(area / known.area, 1) ** 2
        known.velocity = known.velocity + sure * off / known.unseen
        known.corner = known.corner + off
        if area >= _WHOLE * known.area:
            known.corner, known.mask, known.centre = box[:2].copy(), piece, _centre(piece)
        known.class_ids[class_id] += 1
        known.frames += 1
        known.unseen = 0

    def _let_go(self) -> None:
        kept = []
        for known in self._objects:
            # What was seen once or twice may be no object at all.
            patience = self.patience if known.frames >= SEEN else min(self.patience, SEEN)
            if known.unseen <= patience:
                kept.append(known)
            elif known.frames >= SEEN:
                self._gone[_class_of(known)] += 1
        self._objects = kept


def _class_of(known: _Object) -> int:
    return known.class_ids.most_common(1)[0][0]


def _centre(piece: np.ndarray) -> np.ndarray:
    """(y, x) of a mask's pixels, from the corner of its box."""
    y, x = np.nonzero(piece)
    return np.array([y.mean(), x.mean()]) if len(y) else np.zeros(2)


def _shared(box1: np.ndarray, piece1: np.ndarray, box2: np.ndarray, piece2: np.ndarray) -> int:
    """Pixels that two masks have in common, each cut to its box."""
    top, left = np.maximum(box1[:2], box2[:2])
    bottom, right = np.minimum(box1[2:], box2[2:])
    one = piece1[top - box1[0] : bottom - box1[0], left - box1[1] : right - box1[1]]
    other = piece2[top - box2[0] : bottom - box2[0], left - box2[1] : right - box2[1]]
    return int(np.count_nonzero(one & other))


def _assigned(values: np.ndarray, least: float) -> list[tuple[int, int]]:
    """Pairs (row, column), each row and column once, of the greatest sum; none below `least`."""
    if not values.size or values.max() < least:
        return []
    from scipy.optimize import linear_sum_assignment

    usable = np.where(values >= least, values, 0.0)
    rows, columns = linear_sum_assignment(usable, maximize=True)
    return [(i, j) for i, j in zip(rows.tolist(), columns.tolist()) if usable[i, j] >= least]
