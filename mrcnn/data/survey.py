"""What a data set is like in numbers: sizes, counts, and how its boxes meet the anchors.

    survey = take_survey(dataset, config)
    print(survey.report)                    # the mistakes that `check_dataset` found on the way
    best_anchor_iou(survey.network_boxes(config), config)

box size:  (height, width) in pixels; of the picture as labelled, or as the network sees it
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mrcnn.config import Config
from mrcnn.data.check import DatasetReport, check_dataset
from mrcnn.data.dataset import Dataset
from mrcnn.data.images import resize_scale
from mrcnn.geometry.boxes import extract_bboxes

GOOD_IOU = 0.5  # what an anchor should reach with a box, to be corrected easily
LEAST_SIDE, MOST_SIDE = 4, 1024  # of the anchors that are ever suggested, in pixels


@dataclass
class Survey:
    """The sizes of what was read: pictures, and their instances without crowds.

    image_ids [pictures]; sizes [pictures, (height, width)]; counts [pictures] instances;
    boxes [instances, (y1, x1, y2, x2)] in pixels of the picture; class_ids [instances];
    picture_of [instances], an index into the first three; crowds: how many there were.
    """

    class_names: list[str]
    report: DatasetReport
    image_ids: list[int] = field(default_factory=list)
    sizes: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), int))
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    class_ids: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    picture_of: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    crowds: int = 0

    @property
    def box_sizes(self) -> np.ndarray:
        """[instances, (height, width)] in pixels of the picture."""
        return self.boxes[:, 2:] - self.boxes[:, :2]

    def per_class(self) -> dict[str, tuple[int, int]]:
        """{class name: (instances, pictures that have one)}, the background left out."""
        told = {}
        for class_id, name in enumerate(self.class_names[1:], start=1):
            mine = self.class_ids == class_id
            told[name] = int(mine.sum()), len(np.unique(self.picture_of[mine]))
        return told

    def network_boxes(self, config: Config) -> np.ndarray:
        """[instances, (y1, x1, y2, x2)] in pixels of the picture that enters the network.

        Padding and the place of a crop are left aside: they only shift a box.
        """
        if not len(self.boxes) or config.IMAGE_RESIZE_MODE == "none":
            return self.boxes
        most = config.IMAGE_MAX_DIM if config.IMAGE_RESIZE_MODE == "square" else None
        bounds = config.IMAGE_MIN_DIM, most, config.IMAGE_MIN_SCALE
        scales = np.array([resize_scale(height, width, *bounds) for height, width in self.sizes])
        return self.boxes * scales[self.picture_of, None]


def take_survey(
    dataset: Dataset,
    config: Config | None = None,
    seconds: float | None = None,
    seen: Callable[[], None] = lambda: None,
) -> Survey:
    """Read a prepared data set once, for its numbers and for mistakes.

    config, seconds: see `check_dataset`. seen: called after each picture, to show progress.
    """
    recorder = _Recorder(dataset, seen)
    report = check_dataset(recorder, config, seconds=seconds)
    rows = sorted(recorder.rows.items())
    counts = np.array([len(class_ids) for _, (_, class_ids, _) in rows], int)
    boxes = [boxes for _, (boxes, _, _) in rows]
    class_ids = [class_ids for _, (_, class_ids, _) in rows]
    return Survey(
        list(dataset.class_names),
        report,
        image_ids=[image_id for image_id, _ in rows],
        sizes=np.array([size for _, (_, _, size) in rows], int).reshape(-1, 2),
        counts=counts,
        boxes=np.concatenate([np.zeros((0, 4)), *boxes]),
        class_ids=np.concatenate([np.zeros(0, int), *class_ids]),
        picture_of=np.repeat(np.arange(len(rows)), counts),
        crowds=recorder.crowds,
    )


class _Recorder:
    """A data set that notes what is read from it, so that checking and counting read it once."""

    def __init__(self, dataset: Dataset, seen: Callable[[], None]) -> None:
        self._dataset, self._seen = dataset, seen
        self.rows: dict[int, tuple] = {}  # image id: boxes, class ids, (height, width)
        self.crowds = 0

    def __getattr__(self, name: str):
        return getattr(self._dataset, name)

    def load_image(self, image_id: int) -> np.ndarray:
        self._seen()
        return self._dataset.load_image(image_id)

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        masks, class_ids = self._dataset.load_mask(image_id)
        if np.ndim(masks) == 3 and np.shape(masks)[2] == len(class_ids):
            boxes, ids = extract_bboxes(np.asarray(masks)), np.asarray(class_ids, int)
            there = boxes.any(axis=1)  # an empty mask has no box
            single = there & (ids > 0)
            self.crowds += int((there & (ids < 0)).sum())
            self.rows[image_id] = boxes[single], ids[single], np.shape(masks)[:2]
        return masks, class_ids


# -- Boxes against anchors ------------------------------------------------------------------


def best_anchor_iou(boxes: np.ndarray, config: Config) -> np.ndarray:
    """The best IoU that any anchor has with each box: [boxes].

    boxes: [boxes, (y1, x1, y2, x2)] in pixels of the network's picture. On each level the anchors
    round the nearest cell to a box's middle are its best; the picture's border is left aside.
    """
    sizes = boxes[:, 2:] - boxes[:, :2]  # [boxes, (height, width)]
    middles = (boxes[:, 2:] + boxes[:, :2]) / 2
    best = np.zeros(len(boxes))
    for scale, stride in zip(config.RPN_ANCHOR_SCALES, config.BACKBONE_STRIDES):
        cell = stride * config.RPN_ANCHOR_STRIDE
        offset = np.abs(middles - cell * np.rint(middles / cell))  # [boxes, (y, x)]
        for ratio in config.RPN_ANCHOR_RATIOS:
            anchor = np.array([scale / np.sqrt(ratio), scale * np.sqrt(ratio)])
            shared = np.minimum(np.minimum(sizes, anchor), (sizes + anchor) / 2 - offset)
            overlap = np.prod(np.maximum(shared, 0), axis=1)
            best = np.maximum(best, overlap / (np.prod(sizes, axis=1) + anchor.prod() - overlap))
    return best


def badly_met(boxes: np.ndarray, config: Config) -> float:
    """The share of boxes that no anchor meets with an IoU of `GOOD_IOU`."""
    return float((best_anchor_iou(boxes, config) < GOOD_IOU).mean()) if len(boxes) else 0.0


def suggest_scales(boxes: np.ndarray, config: Config) -> tuple[int, ...]:
    """RPN_ANCHOR_SCALES that meet the boxes best, in octaves: the config's own if about as good.

    boxes: [boxes, (y1, x1, y2, x2)] in pixels of the network's picture.
    """
    own = tuple(config.RPN_ANCHOR_SCALES)
    if not len(boxes):
        return own
    candidates, least = [own], LEAST_SIDE
    while least * 2 ** (len(own) - 1) <= MOST_SIDE:
        candidates.append(tuple(least * 2**i for i in range(len(own))))
        least *= 2
    shares = [badly_met(boxes, _with_scales(config, scales)) for scales in candidates]
    best = int(np.argmin(shares))
    # Weights know their own anchors: others must be clearly better to be worth the change.
    return candidates[best] if shares[best] < shares[0] - 0.05 else own


def _with_scales(config: Config, scales: Sequence[float]) -> Config:
    other = copy.copy(config)
    other.RPN_ANCHOR_SCALES = scales
    return other
