"""The five losses of training, each a scalar.

Shapes in this room (N: anchors, A: RPN_TRAIN_ANCHORS_PER_IMAGE, T: regions that train the heads)
    rpn_match           int [batch, N, 1]: 1 object, -1 background, 0 not used
    rpn_class_logits    [batch, N, 2]
    rpn_bbox            [batch, N, 4]; its targets [batch, A, 4] hold the matched anchors, first
                        ones first, then zeros
    target_class_ids    int [batch, T], 0 for negatives and padding
"""

from typing import Any

import keras
import tensorflow as tf

from mrcnn.nn.replicas import mean_over_replicas


def smooth_l1_loss(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    """Element by element: quadratic within 1, linear beyond (Girshick 2015, equation 3)."""
    difference = tf.abs(y_true - y_pred)
    return tf.where(difference < 1, 0.5 * difference**2, difference - 0.5)


def rpn_class_loss_graph(rpn_match: tf.Tensor, rpn_class_logits: tf.Tensor) -> tf.Tensor:
    """Cross-entropy of object against background over the anchors in use."""
    rpn_match = tf.squeeze(rpn_match, -1)  # [batch, N]
    used = tf.not_equal(rpn_match, 0)
    is_object = tf.cast(tf.boolean_mask(rpn_match, used) == 1, tf.int32)
    logits = tf.boolean_mask(rpn_class_logits, used)
    return _mean(tf.nn.sparse_softmax_cross_entropy_with_logits(is_object, logits))


def rpn_bbox_loss_graph(
    config: Any, target_bbox: tf.Tensor, rpn_match: tf.Tensor, rpn_bbox: tf.Tensor
) -> tf.Tensor:
    """Smooth L1 of the deltas over the positive anchors.

    config: not read; the original's first argument.
    """
    positive = tf.squeeze(rpn_match, -1) == 1  # [batch, N]
    counts = tf.reduce_sum(tf.cast(positive, tf.int32), axis=1)
    filled = tf.sequence_mask(counts, tf.shape(target_bbox)[1])  # [batch, A]
    target = tf.cast(tf.boolean_mask(target_bbox, filled), tf.float32)
    return _mean(smooth_l1_loss(target, tf.boolean_mask(rpn_bbox, positive)))


def mrcnn_class_loss_graph(
    target_class_ids: tf.Tensor, pred_class_logits: tf.Tensor, active_class_ids: tf.Tensor
) -> tf.Tensor:
    """Cross-entropy over the regions whose predicted class is one that the picture's data set has.

    pred_class_logits: [batch, T, num_classes]; active_class_ids: [batch, num_classes], 1 or 0.
    """
    target_class_ids = tf.cast(target_class_ids, tf.int32)
    pred_class_ids = tf.argmax(pred_class_logits, axis=2, output_type=tf.int32)
    active = tf.gather(tf.cast(active_class_ids, tf.float32), pred_class_ids, batch_dims=1)
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(target_class_ids, pred_class_logits)
    return _share(tf.reduce_sum(loss * active), tf.reduce_sum(active))


def mrcnn_bbox_loss_graph(
    target_bbox: tf.Tensor, target_class_ids: tf.Tensor, pred_bbox: tf.Tensor
) -> tf.Tensor:
    """Smooth L1 of the deltas over the positive regions, each for its true class.

    target_bbox: [batch, T, 4]; pred_bbox: [batch, T, num_classes, 4].
    """
    positive = target_class_ids > 0
    class_ids = tf.cast(tf.boolean_mask(target_class_ids, positive), tf.int32)
    pred = tf.gather(tf.boolean_mask(pred_bbox, positive), class_ids, batch_dims=1)
    return _mean(smooth_l1_loss(tf.boolean_mask(target_bbox, positive), pred))


def mrcnn_mask_loss_graph(
    target_masks: tf.Tensor, target_class_ids: tf.Tensor, pred_masks: tf.Tensor
) -> tf.Tensor:
    """Cross-entropy of the pixels over the positive regions, each in its true class's mask.

    target_masks: [batch, T, height, width]; pred_masks: [batch, T, height, width, num_classes],
    probabilities (He et al. 2017, section 3).
    """
    positive = target_class_ids > 0
    class_ids = tf.cast(tf.boolean_mask(target_class_ids, positive), tf.int32)
    pred = tf.transpose(tf.boolean_mask(pred_masks, positive), [0, 3, 1, 2])
    pred = tf.gather(pred, class_ids, batch_dims=1)  # [positives, height, width]
    return _mean(binary_crossentropy(tf.boolean_mask(target_masks, positive), pred))


def binary_crossentropy(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    """Element by element, of probabilities.

    NOTE: clipped to [1e-7, 1 - 1e-7] and 1e-7 again inside the logarithm, as tf.keras did; a
    saturated pixel then costs 15.4, and not the 16.1 of Keras 3.
    """
    epsilon = 1e-7
    y_pred = tf.clip_by_value(y_pred, epsilon, 1 - epsilon)
    positive = y_true * tf.math.log(y_pred + epsilon)
    return -positive - (1 - y_true) * tf.math.log(1 - y_pred + epsilon)


def _mean(values: tf.Tensor) -> tf.Tensor:
    """The mean, and 0 where there is nothing to average."""
    total = tf.reduce_sum(values)
    return _share(total, tf.cast(tf.size(values), total.dtype))


def _share(total: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """total / count, and 0 where there is nothing.

    Devices that share a batch divide by what they have on average: the mean of their losses is
    then the loss of the whole batch, however its objects lie among them.
    """
    return tf.math.divide_no_nan(total, mean_over_replicas(count))


@keras.saving.register_keras_serializable(package="mrcnn")
class Loss(keras.layers.Layer):
    """One of the five losses as a node of the graph, named after itself."""

    FUNCTIONS = {
        "rpn_class_loss": rpn_class_loss_graph,
        "rpn_bbox_loss": lambda *inputs: rpn_bbox_loss_graph(None, *inputs),
        "mrcnn_class_loss": mrcnn_class_loss_graph,
        "mrcnn_bbox_loss": mrcnn_bbox_loss_graph,
        "mrcnn_mask_loss": mrcnn_mask_loss_graph,
    }

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(name=name, **{"dtype": "float32", **kwargs})

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        return self.FUNCTIONS[self.name](*inputs)

    def compute_output_spec(self, inputs: list[Any]) -> keras.KerasTensor:
        return keras.KerasTensor((), "float32")
