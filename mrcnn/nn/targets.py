"""Training targets of the heads: choose regions, and say what each should have been.

Shapes in this room (R: proposals, G: labelled instances, T: regions that train the heads)
    proposals           [batch, R, (y1, x1, y2, x2)], normalised, padded with zeros
    gt_class_ids        int [batch, G], padded with zeros; a negative id marks a crowd
    gt_boxes            [batch, G, (y1, x1, y2, x2)], normalised, padded with zeros
    gt_masks            bool [batch, height, width, G], of the picture, or mini masks of the boxes
    rois                [batch, T, (y1, x1, y2, x2)], positives, then negatives, then zeros
    target_class_ids    int [batch, T], 0 for negatives
    target_bbox         [batch, T, (dy, dx, log(dh), log(dw))], in units of BBOX_STD_DEV
    target_mask         [batch, T, mask_height, mask_width], 0 or 1
"""

from typing import Any

import keras
import tensorflow as tf

from mrcnn.config import Config
from mrcnn.nn.boxes import box_refinement_graph, overlaps_graph, pad_rows, trim_zeros_graph
from mrcnn.nn.replicas import rows_of_batch


@keras.saving.register_keras_serializable(package="mrcnn")
class DetectionTargetLayer(keras.layers.Layer):
    """[proposals, gt_class_ids, gt_boxes, gt_masks] -> [rois, class ids, deltas, masks].

    config: where Matterport's callers give one, the settings are read from it; else from the
    arguments after it, which are its values of those names.
    seed: of the random choice among too many positives or negatives; None draws one.
    """

    def __init__(
        self,
        config: Config | None = None,
        train_rois_per_image: int = 200,
        roi_positive_ratio: float = 0.33,
        bbox_std_dev: tuple[float, ...] = (0.1, 0.1, 0.2, 0.2),
        mask_shape: tuple[int, int] = (28, 28),
        use_mini_mask: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.supports_jit = False  # XLA has no kernel for crop_and_resize
        if config is not None:
            train_rois_per_image = config.TRAIN_ROIS_PER_IMAGE
            roi_positive_ratio = config.ROI_POSITIVE_RATIO
            bbox_std_dev = config.BBOX_STD_DEV
            mask_shape = config.MASK_SHAPE
            use_mini_mask = config.USE_MINI_MASK
        self.train_rois_per_image = int(train_rois_per_image)
        self.roi_positive_ratio = float(roi_positive_ratio)
        self.bbox_std_dev = tuple(float(s) for s in bbox_std_dev)
        self.mask_shape = tuple(int(side) for side in mask_shape)
        self.use_mini_mask = bool(use_mini_mask)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    @property
    def max_positives(self) -> int:
        """Most positive regions of a picture; they come first."""
        return int(self.train_rois_per_image * self.roi_positive_ratio)

    def call(self, inputs: list[tf.Tensor]) -> list[tf.Tensor]:
        proposals, gt_class_ids, gt_boxes, gt_masks = inputs
        count = self.train_rois_per_image
        signature = (
            tf.TensorSpec([count, 4], tf.float32),
            tf.TensorSpec([count], tf.int32),
            tf.TensorSpec([count, 4], tf.float32),
            tf.TensorSpec([count, *self.mask_shape], tf.float32),
        )
        rank = rows_of_batch(self.rank, tf.shape(proposals)[:2])
        targets = tf.map_fn(
            lambda picture: self.targets_of_picture(*picture),
            (proposals, rank, tf.cast(gt_class_ids, tf.int32), gt_boxes, gt_masks),
            fn_output_signature=signature,
        )
        return [tf.stop_gradient(target) for target in targets]

    def rank(self, shape: tf.Tensor) -> tf.Tensor:
        """A random number for each proposal [batch, R]: the lowest are chosen."""
        return keras.random.uniform(shape, seed=self.seed_generator)

    def targets_of_picture(
        self,
        proposals: tf.Tensor,
        rank: tf.Tensor,
        gt_class_ids: tf.Tensor,
        gt_boxes: tf.Tensor,
        gt_masks: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """One picture (Ren et al. 2015, section 3.1.3; He et al. 2017, section 3.1).

        1. Set crowds aside.
        2. Positive is a proposal with IoU >= 0.5 with an instance; negative one without, unless
           it lies in a crowd.
        3. Choose at random: a share of `roi_positive_ratio` positives, the rest negatives.
        4. Give each positive its instance's class, the deltas to its box, and its mask cut to
           the proposal.
        """
        proposals, real = trim_zeros_graph(proposals)
        rank = tf.boolean_mask(rank, real)
        gt_boxes, real = trim_zeros_graph(gt_boxes)
        gt_class_ids = tf.boolean_mask(gt_class_ids, real)
        gt_masks = tf.boolean_mask(gt_masks, real, axis=2)

        crowd_boxes = tf.boolean_mask(gt_boxes, gt_class_ids < 0)
        instances = tf.where(gt_class_ids > 0)[:, 0]
        gt_class_ids = tf.gather(gt_class_ids, instances)
        gt_boxes = tf.gather(gt_boxes, instances)
        gt_masks = tf.gather(gt_masks, instances, axis=2)

        overlaps = overlaps_graph(proposals, gt_boxes)  # [R, G]
        best_overlap = _row_max(overlaps)
        in_crowd = _row_max(overlaps_graph(proposals, crowd_boxes)) >= 0.001
        positive = best_overlap >= 0.5
        positives = _lowest(rank, positive)[: self.max_positives]
        # Negatives in proportion to the positives that there are, not to those wished for.
        share = tf.cast(tf.shape(positives)[0], tf.float32) / self.roi_positive_ratio
        num_negatives = tf.cast(share, tf.int32) - tf.shape(positives)[0]
        negatives = _lowest(rank, ~positive & ~in_crowd)[:num_negatives]

        positive_rois = tf.gather(proposals, positives)  # [P, 4]
        match = _row_argmax(tf.gather(overlaps, positives))  # [P]
        roi_gt_boxes = tf.gather(gt_boxes, match)
        deltas = box_refinement_graph(positive_rois, roi_gt_boxes) / self.bbox_std_dev
        masks = self._cut_masks(gt_masks, match, positive_rois, roi_gt_boxes)

        rois = tf.concat([positive_rois, tf.gather(proposals, negatives)], axis=0)
        count = self.train_rois_per_image
        return (
            pad_rows(rois, count),
            pad_rows(tf.gather(gt_class_ids, match), count),
            pad_rows(deltas, count),
            pad_rows(masks, count),
        )

    def _cut_masks(self, gt_masks, match, rois, gt_boxes) -> tf.Tensor:
        """Each region's part of its instance's mask: [P, mask_height, mask_width], 0 or 1."""
        masks = tf.cast(tf.transpose(gt_masks, [2, 0, 1])[..., None], tf.float32)
        boxes = rois
        if self.use_mini_mask:  # such a mask fills its instance's box, not the picture
            y1, x1, y2, x2 = tf.unstack(rois, axis=1)
            gt_y1, gt_x1, gt_y2, gt_x2 = tf.unstack(gt_boxes, axis=1)
            height, width = gt_y2 - gt_y1, gt_x2 - gt_x1
            boxes = tf.stack(
                [
                    (y1 - gt_y1) / height,
                    (x1 - gt_x1) / width,
                    (y2 - gt_y1) / height,
                    (x2 - gt_x1) / width,
                ],
                axis=1,
            )
        masks = tf.image.crop_and_resize(masks, boxes, match, self.mask_shape)[..., 0]
        return tf.round(masks)

    def compute_output_shape(self, input_shape: list[tuple]) -> list[tuple]:
        batch, count = input_shape[0][0], self.train_rois_per_image
        return [
            (batch, count, 4),
            (batch, count),
            (batch, count, 4),
            (batch, count, *self.mask_shape),
        ]

    def compute_output_spec(self, inputs: list[Any]) -> list[keras.KerasTensor]:
        shapes = self.compute_output_shape([x.shape for x in inputs])
        dtypes = ["float32", "int32", "float32", "float32"]
        return [keras.KerasTensor(shape, dtype) for shape, dtype in zip(shapes, dtypes)]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "train_rois_per_image": self.train_rois_per_image,
            "roi_positive_ratio": self.roi_positive_ratio,
            "bbox_std_dev": self.bbox_std_dev,
            "mask_shape": self.mask_shape,
            "use_mini_mask": self.use_mini_mask,
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable(package="mrcnn")
class PositiveRois(keras.layers.Layer):
    """[rois, target_class_ids, target_mask] cut to the rows that carry mask loss.

    Positives come first in every picture, so the mask head needs only as many rows as the
    picture with the most of them has; a batch without any keeps one row.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})

    def call(self, inputs: list[tf.Tensor]) -> list[tf.Tensor]:
        positives = tf.reduce_sum(tf.cast(inputs[1] > 0, tf.int32), axis=1)
        count = tf.maximum(tf.reduce_max(positives), 1)
        return [x[:, :count] for x in inputs]

    def compute_output_spec(self, inputs: list[Any]) -> list[keras.KerasTensor]:
        return [keras.KerasTensor((x.shape[0], None, *x.shape[2:]), x.dtype) for x in inputs]


def detection_targets_graph(
    proposals: tf.Tensor,
    gt_class_ids: tf.Tensor,
    gt_boxes: tf.Tensor,
    gt_masks: tf.Tensor,
    config: Config,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """One picture's targets under the original's name: see `DetectionTargetLayer`."""
    layer = DetectionTargetLayer(config)
    rank = layer.rank(tf.shape(proposals)[:1])
    gt_class_ids = tf.cast(gt_class_ids, tf.int32)
    return layer.targets_of_picture(proposals, rank, gt_class_ids, gt_boxes, gt_masks)


def _lowest(rank: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """Indices of the wanted rows, lowest rank first."""
    rows = tf.where(wanted)[:, 0]
    return tf.gather(rows, tf.argsort(tf.gather(rank, rows), stable=True))


def _row_max(overlaps: tf.Tensor) -> tf.Tensor:
    """The greatest IoU of each row, 0 where there are no columns."""
    return tf.reduce_max(tf.pad(overlaps, [[0, 0], [0, 1]]), axis=1)


def _row_argmax(overlaps: tf.Tensor) -> tf.Tensor:
    """The first column with the greatest IoU; rows without columns don't exist by then."""
    return tf.argmax(tf.pad(overlaps, [[0, 0], [0, 1]]), axis=1, output_type=tf.int32)
