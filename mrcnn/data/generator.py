"""Batches for training: which pictures, in which order, and the arrays made of them.

Shapes in this room (N: anchors, A: RPN_TRAIN_ANCHORS_PER_IMAGE, G: MAX_GT_INSTANCES)
    images          [batch, height, width, channels] float32, molded; or uint8, raw
    image_metas     [batch, 12 + num_classes]
    rpn_match       int32 [batch, N, 1]: 1 object, -1 background, 0 not used
    rpn_bbox        [batch, A, (dy, dx, log(dh), log(dw))]
    gt_class_ids    int32 [batch, G], padded with zeros
    gt_boxes        int32 [batch, G, (y1, x1, y2, x2)] in pixels, padded with zeros
    gt_masks        bool [batch, height, width, G], or mini masks
"""

import logging
import mmap
from collections.abc import Collection, Iterator
from typing import Any

import keras
import numpy as np

from mrcnn.config import Config
from mrcnn.data.dataset import Dataset
from mrcnn.data.images import molded_batch
from mrcnn.data.inputs import build_rpn_targets, load_image_gt, picture_name
from mrcnn.data.roi_targets import build_detection_targets, generate_random_rois
from mrcnn.geometry.anchors import anchors_of_picture, compute_backbone_shapes

logger = logging.getLogger(__name__)


class DataGenerator(keras.utils.PyDataset):
    """Batches of a dataset: ([images, image_metas, rpn_match, rpn_bbox, gt_class_ids, gt_boxes,
    gt_masks], outputs).

    A pass shows every picture once, in an order drawn anew for each pass. What batch number i of
    an epoch holds depends on the seed, the epoch and i alone, not on which thread makes it or
    what came before, so that a resumed run sees what an unbroken one would have seen.

    augmentation: see `mrcnn.data.augment`.
    random_rois: make up so many regions for each picture, as an eighth input.
    detection_targets: with random_rois, also compute the heads' targets: the chosen regions as a
        ninth input, and outputs [class ids [batch, T, 1], deltas, masks]. For looking at.
    no_augmentation_sources: pictures of these sources are never augmented.
    steps: batches in an epoch, passes following each other without a break; None: one pass, whose
        last batch may be smaller.
    epoch: the epoch to begin with.
    batch_size: None: config.BATCH_SIZE.
    same_every_epoch: show the same batches in each epoch, so that numbers compare; for validation.
    workers: threads that make batches ahead of time.
    multiple: fill batches up to a multiple of so many pictures, by some that count for nothing in
        any loss, so that as many devices get equally many. Their id is -1.

    A picture without instances is left out of its batch unless config.TRAIN_ON_EMPTY_IMAGES; a
    batch of nothing but such pictures takes the next picture that has some.
    """

    def __init__(
        self,
        dataset: Dataset,
        config: Config,
        shuffle: bool = True,
        augmentation: Any = None,
        random_rois: int = 0,
        detection_targets: bool = False,
        *,
        augment: bool = False,
        no_augmentation_sources: Collection[str] | None = None,
        steps: int | None = None,
        epoch: int = 0,
        batch_size: int | None = None,
        seed: int | None = None,
        same_every_epoch: bool = False,
        workers: int = 1,
        multiple: int = 1,
    ) -> None:
        super().__init__(workers=workers, use_multiprocessing=False, max_queue_size=4)
        self.dataset, self.config = dataset, config
        self.image_ids = np.copy(dataset.image_ids)
        if not len(self.image_ids):
            raise ValueError("The dataset holds no pictures. Was prepare() called on it?")
        self.shuffle, self.augment, self.augmentation = shuffle, augment, augmentation
        self.random_rois, self.detection_targets = random_rois, detection_targets
        self.no_augmentation_sources = frozenset(no_augmentation_sources or ())
        self.batch_size = batch_size or config.BATCH_SIZE
        self.steps, self.epoch, self.same_every_epoch = steps, epoch, same_every_epoch
        self.multiple = multiple
        # Drawn from NumPy's global generator, so that np.random.seed() settles everything.
        self.seed = int(np.random.randint(2**31)) if seed is None else seed
        self._anchors: dict[tuple, np.ndarray] = {}
        # Processes forked from here share it, so that all of them together say it once.
        self._said_empty = np.frombuffer(mmap.mmap(-1, 1), bool)

    @property
    def backbone_shapes(self) -> np.ndarray:
        """[height, width] of P2..P6 for config.IMAGE_SHAPE."""
        return compute_backbone_shapes(self.config, self.config.IMAGE_SHAPE)

    @property
    def anchors(self) -> np.ndarray:
        """[N, (y1, x1, y2, x2)] in pixels for config.IMAGE_SHAPE."""
        return self.anchors_for(tuple(self.config.IMAGE_SHAPE))

    def anchors_for(self, image_shape: tuple) -> np.ndarray:
        """[N, (y1, x1, y2, x2)] in pixels for a picture of the network's size."""
        key = tuple(int(side) for side in image_shape[:2])
        if key not in self._anchors:
            self._anchors[key] = anchors_of_picture(self.config, key)
        return self._anchors[key]

    def __len__(self) -> int:
        return self.steps or -(-len(self.image_ids) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[tuple, tuple]:
        return self.batch(self.epoch, index)

    def batch(self, epoch: int, index: int, molded: bool = True) -> tuple[tuple, tuple]:
        """Batch number `index` of an epoch, whatever epoch the generator itself is at.

        molded: False leaves pictures of uint8 as they are: a quarter of the bytes, from which the
            training model subtracts the mean. Others are molded all the same.
        """
        places = self._places(epoch, index)
        samples = [sample for place in places if (sample := self._sample(place)) is not None]
        place = places[-1]
        for _ in range(len(self.image_ids) if not samples else 0):
            place += 1
            if (sample := self._sample(place)) is not None:
                samples.append(sample)
                break
        if not samples:
            raise ValueError(
                "No picture of the dataset has an instance to train on. Check load_mask(), or set "
                "TRAIN_ON_EMPTY_IMAGES = True."
            )
        samples += [_blank(samples[-1])] * (-len(samples) % self.multiple)
        return self._batch(samples, molded)

    def on_epoch_end(self) -> None:
        if not self.same_every_epoch:
            self.epoch += 1

    def _places(self, epoch: int, index: int) -> range:
        """The batch's places in the endless row of passes."""
        count = len(self.image_ids)
        if self.steps:
            first = (epoch * self.steps + index) * self.batch_size
            return range(first, first + self.batch_size)
        first = index * self.batch_size
        shown = range(first, min(first + self.batch_size, count))
        return range(epoch * count + shown.start, epoch * count + shown.stop)

    def _sample(self, place: int) -> tuple | None:
        """The arrays of one picture, or None where it has no instance and that matters."""
        passed, position = divmod(place, len(self.image_ids))
        if self.shuffle:
            order = np.random.default_rng((self.seed, passed)).permutation(len(self.image_ids))
            position = order[position]
        image_id = int(self.image_ids[position])
        rng = np.random.default_rng((self.seed, passed, image_id))
        try:
            return self._load(image_id, rng)
        except Exception as error:
            # The thread that met it says nothing of the picture; whoever mends the data needs it.
            error.add_note(f"While loading {picture_name(self.dataset, image_id)}.")
            raise

    def _load(self, image_id: int, rng: np.random.Generator) -> tuple | None:
        config = self.config
        source = self.dataset.image_info[image_id]["source"]
        plain = source in self.no_augmentation_sources
        image, image_meta, class_ids, boxes, masks = load_image_gt(
            self.dataset,
            config,
            image_id,
            augment=self.augment and not plain,
            augmentation=None if plain else self.augmentation,
            use_mini_mask=config.USE_MINI_MASK,
            rng=rng,
        )
        if not (class_ids > 0).any() and not config.TRAIN_ON_EMPTY_IMAGES:
            if not self._said_empty[0]:
                self._said_empty[0] = True
                logger.warning(
                    "Pictures without instances are left out of training, %s for one; "
                    "TRAIN_ON_EMPTY_IMAGES = True would keep them.",
                    picture_name(self.dataset, image_id),
                )
            return None
        rpn_match, rpn_bbox = build_rpn_targets(
            image.shape, self.anchors_for(image.shape), class_ids, boxes, config, rng=rng
        )
        if len(class_ids) > config.MAX_GT_INSTANCES:
            kept = rng.choice(len(class_ids), config.MAX_GT_INSTANCES, replace=False)
            class_ids, boxes, masks = class_ids[kept], boxes[kept], masks[:, :, kept]
        made_up = self._made_up(image.shape, class_ids, boxes, masks, rng)
        return image, image_meta, rpn_match, rpn_bbox, class_ids, boxes, masks, made_up

    def _batch(self, samples: list[tuple], molded: bool) -> tuple[tuple, tuple]:
        images, metas, rpn_match, rpn_bbox, class_ids, boxes, masks, made_up = zip(*samples)
        shapes = {image.shape for image in images}
        if len(shapes) > 1:
            raise ValueError(
                f"The pictures of a batch have different sizes, {sorted(shapes)}: with "
                f"IMAGE_RESIZE_MODE = {self.config.IMAGE_RESIZE_MODE!r} set IMAGES_PER_GPU = 1, "
                'or use "square" or "crop".'
            )
        count = self.config.MAX_GT_INSTANCES
        raw = not molded and all(image.dtype == np.uint8 for image in images)
        inputs = [
            np.stack(images) if raw else molded_batch(images, self.config),
            np.stack(metas).astype(np.float32),
            np.stack(rpn_match)[..., None],  # [batch, N, 1]
            np.stack(rpn_bbox).astype(np.float32),
            np.stack([_padded(x, count) for x in class_ids]),
            np.stack([_padded(x, count) for x in boxes]),
            np.stack([_padded(x, count, axis=-1) for x in masks]),
        ]
        rois, targets = [np.stack(x) for x in zip(*made_up)], []
        if self.detection_targets and rois:
            *rois, class_ids, deltas, masks = rois
            targets = [class_ids[..., None], deltas, masks]
        return tuple(inputs + rois), tuple(targets)

    def _made_up(
        self,
        image_shape: tuple,
        class_ids: np.ndarray,
        boxes: np.ndarray,
        masks: np.ndarray,
        rng: np.random.Generator,
    ) -> list[np.ndarray]:
        """Random regions of one picture and, if asked for, the heads' targets for some of them."""
        if not self.random_rois:
            return []
        rng = np.random.RandomState(rng.integers(2**31))
        rois = generate_random_rois(image_shape, self.random_rois, class_ids, boxes, rng=rng)
        if not self.detection_targets:
            return [rois]
        return [
            rois,
            *build_detection_targets(rois, class_ids, boxes, masks, self.config, rng=rng),
        ]


def data_generator(
    dataset: Dataset,
    config: Config,
    shuffle: bool = True,
    augment: bool = False,
    augmentation: Any = None,
    random_rois: int = 0,
    batch_size: int = 1,
    detection_targets: bool = False,
    no_augmentation_sources: Collection[str] | None = None,
) -> Iterator[tuple[list, list]]:
    """The batches of a `DataGenerator` without end: (inputs, outputs), pass after pass."""
    generator = DataGenerator(
        dataset,
        config,
        shuffle=shuffle,
        augmentation=augmentation,
        random_rois=random_rois,
        detection_targets=detection_targets,
        augment=augment,
        no_augmentation_sources=no_augmentation_sources,
        batch_size=batch_size,
    )
    while True:
        for i in range(len(generator)):
            inputs, outputs = generator[i]
            yield list(inputs), list(outputs)
        generator.on_epoch_end()


def _blank(sample: tuple) -> tuple:
    """The same picture with nothing to learn: no anchor is used, no instance, no active class."""
    image, meta, rpn_match, rpn_bbox, class_ids, boxes, masks, made_up = sample
    meta = np.concatenate([[-1], meta[1:12], np.zeros_like(meta[12:])])
    nothing = np.zeros_like(rpn_match), np.zeros_like(rpn_bbox)
    return image, meta, *nothing, class_ids[:0], boxes[:0], masks[:, :, :0], made_up


def _padded(x: np.ndarray, count: int, axis: int = 0) -> np.ndarray:
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, count - x.shape[axis])
    return np.pad(x, widths)
