"""What the network learns from: a labelled picture, and the RPN's targets for it.

image:     [height, width, channels] of the network's size
gt_boxes:  int32 [num_instances, (y1, x1, y2, x2)] in pixels of that picture
class_ids: int32 [num_instances]; a negative one marks a crowd (COCO): a box around many
mask:      bool [height, width, num_instances], or mini masks [mini_height, mini_width, ..]
crops:     the full masks cut to their boxes, which is all that mini masks are made from
"""

import random
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from mrcnn.config import Config
from mrcnn.data.augment import augment as apply_augmentation
from mrcnn.data.augment import flip, knows_crops
from mrcnn.data.dataset import Dataset, mask_crops
from mrcnn.data.images import compose_image_meta, resize_image
from mrcnn.geometry.boxes import box_deltas, extract_bboxes, touching_overlaps
from mrcnn.geometry.crops import MaskCrops
from mrcnn.geometry.masks import resize_mask
from mrcnn.words import printable


def load_image_gt(
    dataset: Dataset,
    config: Config,
    image_id: int,
    augment: bool = False,
    augmentation: Any = None,
    use_mini_mask: bool = False,
    *,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A picture and its instances, resized for the network.

    1. Load both and check that they fit together. 2. Resize. 3. Augment. 4. Drop instances of
    which no pixel is left. 5. Compute boxes from masks, whatever the dataset's boxes are.

    augment: deprecated; a left-right flip at random.
    augmentation: a transform of `mrcnn.data.augment`, an imgaug augmenter, or an albumentations
        Compose. Masks get only what moves pixels.
    use_mini_mask: masks cut to their boxes, of config.MINI_MASK_SHAPE. Off unless asked for, as
        in Matterport's master; the training generator passes config.USE_MINI_MASK.
    rng: where random numbers come from; without one, NumPy's and Python's global generators.

    Returns
        image: [height, width, channels], dtype of the dataset's picture, not molded
        image_meta: float64 [12 + num_classes], of the dataset or the config, whichever has more
        class_ids: int32 [num_instances]
        bbox: int32 [num_instances, (y1, x1, y2, x2)] in pixels
        mask: bool [height, width, num_instances] or [mini_height, mini_width, num_instances]
    Raises ValueError, naming the picture, if masks, class ids and picture don't fit together.
    """
    dice = random if rng is None else random.Random(int(rng.integers(2**63)))
    image = dataset.load_image(image_id)
    # Mini masks need no full ones, unless somebody else's augmentation does.
    loaded = load_mask_crops(dataset, image_id, image.shape) if use_mini_mask else None
    mask, class_ids = loaded or load_mask(dataset, image_id, image.shape)
    if use_mini_mask and (not augmentation or knows_crops(augmentation)):
        mask = MaskCrops.from_masks(mask)
    original_shape = image.shape
    image, window, scale, padding, crop = resize_image(
        image,
        min_dim=config.IMAGE_MIN_DIM,
        max_dim=config.IMAGE_MAX_DIM,
        min_scale=config.IMAGE_MIN_SCALE,
        mode=config.IMAGE_RESIZE_MODE,
        rng=dice,
    )
    if isinstance(mask, MaskCrops):
        mask = mask.resized(scale, padding, crop)
    else:
        mask = resize_mask(mask, scale, padding, crop)

    if augment:
        warnings.warn("augment is deprecated: use augmentation.", DeprecationWarning, stacklevel=2)
        if dice.randint(0, 1):
            image, mask = flip(image, 1), flip(mask, 1)
    if augmentation:
        image, mask = apply_augmentation(
            image, mask, augmentation, rng or np.random.default_rng(dice.getrandbits(63))
        )

    # Cropping and augmentation may have moved instances out of the picture.
    if use_mini_mask:
        mask = MaskCrops.from_masks(mask).tight()
    bbox = mask.boxes if use_mini_mask else extract_bboxes(mask)  # [num_instances, 4]
    visible = bbox[:, 2] > 0  # [num_instances]
    if not visible.all():
        class_ids, bbox = class_ids[visible], bbox[visible]
        mask = mask.kept(visible) if use_mini_mask else mask[:, :, visible]
    if use_mini_mask:
        mask = mask.minimized(config.MINI_MASK_SHAPE)

    # A network of more classes than the dataset's takes the rest as not labelled here.
    active_class_ids = np.zeros(max(dataset.num_classes, config.NUM_CLASSES), np.int32)
    active_class_ids[dataset.source_class_ids[dataset.image_info[image_id]["source"]]] = 1
    image_meta = compose_image_meta(
        image_id, original_shape, image.shape, window, scale, active_class_ids
    )
    return image, image_meta, class_ids, bbox, mask


def build_rpn_targets(
    image_shape: Sequence[int],
    anchors: np.ndarray,
    gt_class_ids: np.ndarray,
    gt_boxes: np.ndarray,
    config: Config,
    *,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Which anchors the RPN should call objects, and how to move them (Ren et al. 2015, 3.1.2).

    1. Negative: IoU below 0.3 with every instance, and away from crowds.
    2. Positive: the best anchors of each instance, and all with an IoU of 0.7 or more.
    3. Of both, at random, no more than RPN_TRAIN_ANCHORS_PER_IMAGE, at most half of them
       positive, drawn from `rng`, or from NumPy's global generator, positives first.

    image_shape: not used; kept for the callers' sake.
    anchors: [num_anchors, (y1, x1, y2, x2)] in pixels; gt_class_ids: [num_instances];
    gt_boxes: [num_instances, (y1, x1, y2, x2)] in pixels.
    Returns
        rpn_match: int32 [num_anchors]: 1 positive, -1 negative, 0 neutral
        rpn_bbox: float64 [RPN_TRAIN_ANCHORS_PER_IMAGE, (dy, dx, log(dh), log(dw))], in units of
            RPN_BBOX_STD_DEV, of the positives in their order; then zeros
    """
    is_crowd = gt_class_ids < 0
    rpn_match = np.full(len(anchors), -1, np.int32)
    for touching, iou in touching_overlaps(anchors, gt_boxes[is_crowd]):
        rpn_match[touching[iou >= 0.001]] = 0

    gt_boxes = gt_boxes[~is_crowd]
    best_iou = np.zeros(len(anchors))
    best_instance = np.zeros(len(anchors), int)
    best_anchors = []  # of each instance; several where they are as good
    for i, (touching, iou) in enumerate(touching_overlaps(anchors, gt_boxes)):
        better = iou > best_iou[touching]
        best_iou[touching[better]] = iou[better]
        best_instance[touching[better]] = i
        # An instance that no anchor touches has none: they would all be as good.
        best_anchors.append(touching[(iou == iou.max(initial=0)) & (iou > 0)])
    rpn_match[best_iou >= 0.3] = 0
    rpn_match[np.concatenate([*best_anchors, np.flatnonzero(best_iou >= 0.7)])] = 1

    wanted = config.RPN_TRAIN_ANCHORS_PER_IMAGE
    _neutralize(rpn_match, 1, wanted // 2, rng)
    _neutralize(rpn_match, -1, wanted - np.count_nonzero(rpn_match == 1), rng)

    rpn_bbox = np.zeros((wanted, 4))
    positive = np.flatnonzero(rpn_match == 1)
    if len(positive):
        matched = gt_boxes[best_instance[positive]]  # [num_positives, 4]
        deltas = box_deltas(anchors[positive], matched)
        rpn_bbox[: len(positive)] = deltas / config.RPN_BBOX_STD_DEV
    return rpn_match, rpn_bbox


def _neutralize(rpn_match: np.ndarray, kind: int, most: int, rng: Any) -> None:
    """Leave at most so many anchors of a kind, chosen at random."""
    ids = np.flatnonzero(rpn_match == kind)
    if len(ids) > most:
        rpn_match[(rng or np.random).choice(ids, len(ids) - most, replace=False)] = 0


def load_mask(
    dataset: Dataset, image_id: int, image_shape: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """The dataset's masks and class ids of a picture, checked against each other.

    image_shape: [height, width, ...] of the picture as loaded.
    Returns mask: bool [height, width, num_instances]; class_ids: int32 [num_instances].
    Raises ValueError, naming the picture, where they don't fit together.
    """
    _check_prepared(dataset, image_id)
    mask, class_ids = dataset.load_mask(image_id)
    mask, class_ids = np.asarray(mask), np.asarray(class_ids, np.int32).reshape(-1)
    if not mask.size and not len(class_ids):
        return np.zeros((*image_shape[:2], 0), bool), class_ids
    if mask.ndim != 3:
        raise ValueError(
            f"{picture_name(dataset, image_id)}: load_mask returned a mask of shape {mask.shape}; "
            "it must be [height, width, num_instances]."
        )
    _check_masks(dataset, image_id, "load_mask", mask.shape, class_ids, image_shape)
    return mask.astype(bool, copy=False), class_ids


def load_mask_crops(
    dataset: Dataset, image_id: int, image_shape: Sequence[int]
) -> tuple[MaskCrops, np.ndarray] | None:
    """`load_mask`, the masks cut to their boxes; None if the dataset doesn't give them so."""
    _check_prepared(dataset, image_id)
    found = mask_crops(dataset, image_id)
    if found is None:
        return None
    crops, class_ids = found
    if not isinstance(crops, MaskCrops):
        raise ValueError(
            f"{picture_name(dataset, image_id)}: load_mask_crops returned a "
            f"{type(crops).__name__} and class ids; it must be a MaskCrops and class ids, or None."
        )
    class_ids = np.asarray(class_ids, np.int32).reshape(-1)
    if not len(crops) and not len(class_ids):
        return MaskCrops(image_shape, [], []), class_ids
    _check_masks(dataset, image_id, "load_mask_crops", crops.shape, class_ids, image_shape)
    return crops, class_ids


def _check_prepared(dataset: Dataset, image_id: int) -> None:
    if not hasattr(dataset, "num_classes"):
        name = picture_name(dataset, image_id)
        raise ValueError(f"{name}: its dataset isn't prepared; call prepare() first.")


def _check_masks(
    dataset: Dataset,
    image_id: int,
    loader: str,
    shape: Sequence[int],
    class_ids: np.ndarray,
    image_shape: Sequence[int],
) -> None:
    """loader: the method that gave masks and class ids; shape: (height, width, num_instances)."""
    name = picture_name(dataset, image_id)
    if shape[-1] != len(class_ids):
        raise ValueError(
            f"{name}: {loader} returned {shape[-1]} masks and {len(class_ids)} class ids; "
            "each instance needs one of both."
        )
    if tuple(shape[:2]) != tuple(image_shape[:2]):
        raise ValueError(
            f"{name}: the masks are {shape[0]}x{shape[1]} and the picture is "
            f"{image_shape[0]}x{image_shape[1]} (height x width). Was one of them turned (EXIF) "
            "or resized?"
        )
    wrong = class_ids[(class_ids == 0) | (abs(class_ids) >= dataset.num_classes)]
    if len(wrong):
        raise ValueError(
            f"{name}: {loader} returned the class ids {np.unique(wrong).tolist()}; instances "
            f"have ids from 1 to {dataset.num_classes - 1} (0 is the background, a negative id "
            "marks a crowd). Add the class with add_class, or map its id with "
            "map_source_class_id."
        )


def picture_name(dataset: Dataset, image_id: int) -> str:
    """A picture as messages call it: its number, source, name there and path."""
    info = dataset.image_info[image_id]
    where = dataset.image_reference(image_id) or info.get("path")
    name = f"{info['source']}.{info['id']}{f', {where}' if where else ''}"
    return f"Picture {image_id} ({printable(name)})"
