"""From anchors to proposals: the best boxes of the RPN, moved, cut to the picture and thinned.

Shapes in this room (N: anchors, K: the best of them, R: proposals)
    rpn_class    [batch, N, (background, object)]
    rpn_bbox     [batch, N, (dy, dx, log(dh), log(dw))], in units of RPN_BBOX_STD_DEV
    anchors      [batch, N, (y1, x1, y2, x2)], normalised
    proposals    [batch, R, (y1, x1, y2, x2)], normalised, padded with rows of zeros
"""

from typing import Any

import keras
import tensorflow as tf

from mrcnn.config import Config
from mrcnn.nn.boxes import apply_box_deltas_graph, clip_boxes_graph, pad_rows


@keras.saving.register_keras_serializable(package="mrcnn")
class ProposalLayer(keras.layers.Layer):
    """[rpn_class, rpn_bbox, anchors] -> proposals, best first (Ren et al. 2015, section 3.3).

    1. Keep the `pre_nms_limit` anchors with the highest object score.
    2. Apply their deltas.
    3. Cut the boxes to the picture.
    4. Of two boxes that overlap by more than `nms_threshold`, drop the weaker one.
    5. Keep the first `proposal_count`, pad with zeros.

    config: where Matterport's callers give one, RPN_BBOX_STD_DEV and PRE_NMS_LIMIT are read from
    it; else from the two last arguments.
    """

    def __init__(
        self,
        proposal_count: int,
        nms_threshold: float,
        config: Config | None = None,
        bbox_std_dev: tuple[float, ...] = (0.1, 0.1, 0.2, 0.2),
        pre_nms_limit: int = 6000,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.supports_jit = False  # XLA has no kernel for non-maximum suppression on every device
        if config is not None:
            bbox_std_dev, pre_nms_limit = config.RPN_BBOX_STD_DEV, config.PRE_NMS_LIMIT
        self.proposal_count = int(proposal_count)
        self.nms_threshold = float(nms_threshold)
        self.bbox_std_dev = tuple(float(s) for s in bbox_std_dev)
        self.pre_nms_limit = int(pre_nms_limit)

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        return self.steps(inputs)["proposals"]

    def steps(self, inputs: list[tf.Tensor]) -> dict[str, tf.Tensor]:
        """What stands after each step; `MaskRCNN.ancestor` hands the parts to a notebook."""
        rpn_class, rpn_bbox, anchors = inputs
        limit = tf.minimum(self.pre_nms_limit, tf.shape(anchors)[1])
        scores, best = tf.math.top_k(rpn_class[:, :, 1], limit)  # [batch, K]
        deltas = tf.gather(rpn_bbox * self.bbox_std_dev, best, batch_dims=1)
        anchors = tf.gather(anchors, best, batch_dims=1)  # [batch, K, 4]
        refined = apply_box_deltas_graph(anchors, deltas)
        clipped = clip_boxes_graph(refined, tf.constant([0.0, 0.0, 1.0, 1.0]))
        proposals = tf.map_fn(
            self._suppress,
            (clipped, scores),
            fn_output_signature=tf.TensorSpec([self.proposal_count, 4], tf.float32),
        )
        return {
            "pre_nms_anchors": anchors,
            "refined_anchors": refined,
            "refined_anchors_clipped": clipped,
            "proposals": proposals,
        }

    def _suppress(self, boxes_and_scores: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        boxes, scores = boxes_and_scores
        kept = tf.image.non_max_suppression(boxes, scores, self.proposal_count, self.nms_threshold)
        return pad_rows(tf.gather(boxes, kept), self.proposal_count)

    def compute_output_shape(self, input_shape: list[tuple]) -> tuple:
        return (input_shape[0][0], self.proposal_count, 4)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "proposal_count": self.proposal_count,
            "nms_threshold": self.nms_threshold,
            "bbox_std_dev": self.bbox_std_dev,
            "pre_nms_limit": self.pre_nms_limit,
        }


@keras.saving.register_keras_serializable(package="mrcnn")
class ProposalStep(ProposalLayer):
    """One intermediate result of a ProposalLayer, for looking inside."""

    def __init__(self, step: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = step

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        return self.steps(inputs)[self.step]

    def compute_output_shape(self, input_shape: list[tuple]) -> tuple:
        return (input_shape[0][0], None, 4)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "step": self.step}
