"""From classified regions to detections: refine, filter, thin out by class, keep the best.

Shapes in this room (R: regions, D: detections of a picture)
    rois           [batch, R, (y1, x1, y2, x2)], normalised
    mrcnn_class    [batch, R, num_classes], softmax
    mrcnn_bbox     [batch, R, num_classes, (dy, dx, log(dh), log(dw))], of BBOX_STD_DEV
    detections     [batch, D, (y1, x1, y2, x2, class_id, score)], normalised, padded with zeros
"""

from typing import Any

import keras
import tensorflow as tf

from mrcnn.config import Config
from mrcnn.nn.boxes import (
    apply_box_deltas_graph,
    clip_boxes_graph,
    norm_boxes_graph,
    overlaps_graph,
    pad_rows,
    parse_image_meta_graph,
)


@keras.saving.register_keras_serializable(package="mrcnn")
class DetectionLayer(keras.layers.Layer):
    """[rois, mrcnn_class, mrcnn_bbox, image_meta] -> detections, highest score first.

    config: where Matterport's callers give one, the settings are read from it; else from the
    arguments after it, which are its BBOX_STD_DEV and DETECTION_* values.
    """

    def __init__(
        self,
        config: Config | None = None,
        bbox_std_dev: tuple[float, ...] = (0.1, 0.1, 0.2, 0.2),
        max_instances: int = 100,
        min_confidence: float = 0.7,
        nms_threshold: float = 0.3,
        every_class: bool = False,
        class_confidence: tuple[float, ...] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.supports_jit = False  # XLA has no kernel for non-maximum suppression on every device
        if config is not None:
            bbox_std_dev = config.BBOX_STD_DEV
            max_instances = config.DETECTION_MAX_INSTANCES
            min_confidence = config.DETECTION_MIN_CONFIDENCE
            nms_threshold = config.DETECTION_NMS_THRESHOLD
            every_class = config.DETECTION_EVERY_CLASS
            class_confidence = getattr(config, "DETECTION_CLASS_CONFIDENCE", None)
        self.bbox_std_dev = tuple(float(s) for s in bbox_std_dev)
        self.max_instances = int(max_instances)
        self.min_confidence = float(min_confidence or 0)
        self.nms_threshold = float(nms_threshold)
        self.every_class = bool(every_class)
        if class_confidence is not None:
            class_confidence = tuple(float(least) for least in class_confidence)
        self.class_confidence = class_confidence  # by class id

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        rois, probs, deltas, image_meta = inputs
        meta = parse_image_meta_graph(image_meta)
        windows = norm_boxes_graph(meta["window"], meta["image_shape"][:, :2])  # [batch, 4]
        return tf.map_fn(
            lambda picture: self.refine(*picture),
            (rois, probs, deltas, windows),
            fn_output_signature=tf.TensorSpec([self.max_instances, 6], tf.float32),
        )

    def refine(
        self, rois: tf.Tensor, probs: tf.Tensor, deltas: tf.Tensor, window: tf.Tensor
    ) -> tf.Tensor:
        """One picture: [R, 4], [R, num_classes], [R, num_classes, 4], [4] -> [D, 6].

        1. Take the most probable class of each region, and that class's deltas.
        2. Apply them and cut the boxes to the window that the picture fills.
        3. Drop background and what is less sure than `min_confidence`, or than its class's own of
           `class_confidence`.
        4. Of two of one class that overlap by more than `nms_threshold`, drop the weaker one.
        5. Keep the `max_instances` with the highest score.

        With `every_class`, 1 takes each class of each region, and not the most probable alone.
        """
        if self.every_class:
            return self._refine_every_class(rois, probs, deltas, window)
        class_ids = tf.argmax(probs, axis=1, output_type=tf.int32)  # [R]
        scores = tf.gather(probs, class_ids, batch_dims=1)
        deltas = tf.gather(deltas, class_ids, batch_dims=1)  # [R, 4]
        boxes = clip_boxes_graph(apply_box_deltas_graph(rois, deltas * self.bbox_std_dev), window)

        least = self.min_confidence
        if self.class_confidence is not None:
            least = tf.gather(tf.constant(self.class_confidence, tf.float32), class_ids)
        sure = tf.where((class_ids > 0) & (scores >= least))[:, 0]
        boxes, class_ids, scores = (tf.gather(x, sure) for x in (boxes, class_ids, scores))

        # Instances of two classes never compete: seen from each other, they don't overlap. Greedy
        # suppression over all of them at once then gives what a run for each class would.
        same_class = tf.cast(class_ids[:, None] == class_ids[None], tf.float32)
        kept = tf.image.non_max_suppression_overlaps(
            overlaps_graph(boxes, boxes) * same_class,
            scores,
            self.max_instances,
            self.nms_threshold,
        )
        return self._rows(boxes, class_ids, scores, kept)

    def _refine_every_class(
        self, rois: tf.Tensor, probs: tf.Tensor, deltas: tf.Tensor, window: tf.Tensor
    ) -> tf.Tensor:
        least = self.min_confidence
        if self.class_confidence is not None:
            least = tf.constant(self.class_confidence, tf.float32)
        sure = tf.where(probs >= least)
        sure = tf.boolean_mask(sure, sure[:, 1] > 0)  # [n, (region, class)] without background
        class_ids, scores = tf.cast(sure[:, 1], tf.int32), tf.gather_nd(probs, sure)
        rois, deltas = tf.gather(rois, sure[:, 0]), tf.gather_nd(deltas, sure)  # [n, 4]
        boxes = clip_boxes_graph(apply_box_deltas_graph(rois, deltas * self.bbox_std_dev), window)

        # One class after the other: of all at once, 80 classes would make pairs of 80,000 boxes.
        def best_of(class_id: tf.Tensor) -> tf.Tensor:
            mine = tf.where(class_ids == class_id)[:, 0]
            own_boxes = tf.gather(boxes, mine)
            kept = tf.image.non_max_suppression_overlaps(
                overlaps_graph(own_boxes, own_boxes),
                tf.gather(scores, mine),
                self.max_instances,
                self.nms_threshold,
            )
            kept = tf.gather(mine, kept)
            none = tf.fill([self.max_instances - tf.size(kept)], tf.constant(-1, tf.int64))
            return tf.concat([kept, none], axis=0)

        kept = tf.map_fn(
            best_of,
            tf.unique(class_ids).y,
            fn_output_signature=tf.TensorSpec([self.max_instances], tf.int64),
        )
        kept = tf.boolean_mask(kept, kept >= 0)
        best = tf.math.top_k(tf.gather(scores, kept), tf.minimum(tf.size(kept), self.max_instances))
        return self._rows(boxes, class_ids, scores, tf.gather(kept, best.indices))

    def _rows(
        self, boxes: tf.Tensor, class_ids: tf.Tensor, scores: tf.Tensor, kept: tf.Tensor
    ) -> tf.Tensor:
        detections = tf.concat(
            [boxes, tf.cast(class_ids, tf.float32)[:, None], scores[:, None]], axis=1
        )
        return pad_rows(tf.gather(detections, kept), self.max_instances)

    def compute_output_shape(self, input_shape: list[tuple]) -> tuple:
        return (input_shape[0][0], self.max_instances, 6)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "bbox_std_dev": self.bbox_std_dev,
            "max_instances": self.max_instances,
            "min_confidence": self.min_confidence,
            "nms_threshold": self.nms_threshold,
            "every_class": self.every_class,
            "class_confidence": self.class_confidence,
        }


@keras.saving.register_keras_serializable(package="mrcnn")
class RealDetections(keras.layers.Layer):
    """detections [batch, D, 6] -> boxes [batch, n, 4], n being what the fullest picture has.

    Detections come first and padding last, so the mask head needs no more rows than these; a
    batch without any keeps one row.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})

    def call(self, detections: tf.Tensor) -> tf.Tensor:
        counts = tf.reduce_sum(tf.cast(detections[:, :, 4] > 0, tf.int32), axis=1)
        boxes = detections[:, : tf.maximum(tf.reduce_max(counts), 1), :4]
        return tf.ensure_shape(boxes, [None, None, 4])

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], None, 4)


@keras.saving.register_keras_serializable(package="mrcnn")
class PadInstances(keras.layers.Layer):
    """[batch, n, ...] -> [batch, max_instances, ...]: zeros after the n rows."""

    def __init__(self, max_instances: int, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.max_instances = int(max_instances)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        missing = self.max_instances - tf.shape(x)[1]
        padded = tf.pad(x, [[0, 0], [0, missing]] + [[0, 0]] * (x.shape.rank - 2))
        return tf.ensure_shape(padded, [None, self.max_instances, *x.shape[2:]])

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], self.max_instances, *input_shape[2:])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "max_instances": self.max_instances}


def refine_detections_graph(
    rois: tf.Tensor, probs: tf.Tensor, deltas: tf.Tensor, window: tf.Tensor, config: Config
) -> tf.Tensor:
    """`DetectionLayer.refine` under the original's name: one picture's [D, 6]."""
    return DetectionLayer(config).refine(rois, probs, deltas, window)
