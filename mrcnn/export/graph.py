"""The network of one picture, in operations that every runtime has.

It is `build_inference` once more, with the same weights: without loops over pictures, with outputs
of fixed length, from pixels to pixels. Tests hold its detections equal to the Keras model's.
"""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from mrcnn.config import Config
from mrcnn.export.pieces import among_best, apart_by_class, crop, of_class, rows, suppress
from mrcnn.geometry.anchors import anchors_of_picture, generate_anchors
from mrcnn.geometry.boxes import norm_boxes
from mrcnn.nn.boxes import apply_box_deltas_graph, clip_boxes_graph, norm_boxes_graph
from mrcnn.nn.layers import RoiWise
from mrcnn.nn.roi_align import PyramidROIAlign, roi_levels

OUTPUTS = ("boxes", "class_ids", "scores", "masks", "count")
_WHOLE = (0.0, 0.0, 1.0, 1.0)


class PortableNetwork:
    """A MaskRCNN's Keras model in inference mode, for one picture.

    keras_model, config: of the model. size: (height, width) of the network's picture, where it is
        always the same; None leaves it open.
    native_crops: with TensorFlow's own cropping, the faster one in TensorFlow alone.
    every_row: the mask head works on all N rows, though few may be instances, so that nothing
        inside has a length that follows from the picture.
    lite: with the suppression that LiteRT needs.
    """

    lite = False

    def __init__(
        self,
        keras_model: keras.Model,
        config: Config,
        size: tuple[int, int] | None = None,
        native_crops: bool = False,
        every_row: bool = False,
        lite: bool = False,
    ) -> None:
        layer = keras_model.get_layer
        self.config, self.size = config, size
        self.native_crops, self.every_row, self.lite = native_crops, every_row, lite
        maps = layer("roi_align_classifier").input[2:]  # after the regions and the meta
        last = layer("fpn_p6").output
        rpn = [layer("rpn_class").output, layer("rpn_bbox").output]
        self.features = keras.Model(keras_model.inputs[:1], [*maps, last, *rpn])
        heads = [layer("mrcnn_class").output, layer("mrcnn_bbox").output]
        self.box_head = keras.Model(layer("roi_align_classifier").output, heads)
        mask_head = keras.Model(layer("roi_align_mask").output, layer("mrcnn_mask").output)
        self.mask_head = mask_head.layers[1:]  # one after another
        self.keras_model = keras_model  # whoever saves this tracks its weights

    def __call__(
        self, picture: tf.Tensor, window: tf.Tensor, min_confidence: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """picture: uint8 [1, height, width, channels], resized and padded for the network.

        window: float32 [(y1, x1, y2, x2)], pixels without the padding. min_confidence: float32 [1].
        Returns OUTPUTS by name, see the top of this room; boxes in pixels of `picture`.
        """
        if self.size:
            picture = tf.reshape(picture, [1, *self.size, self.config.IMAGE_CHANNEL_COUNT])
        shape = tf.cast(tf.shape(picture)[1:3], tf.float32)
        mean = np.broadcast_to(self.config.MEAN_PIXEL, [self.config.IMAGE_CHANNEL_COUNT])
        image = tf.cast(picture, tf.float32) - mean.astype(np.float32)
        *maps, last, rpn_class, rpn_bbox = self.features(image, training=False)
        rois = self.proposals(rpn_class[0], rpn_bbox[0], self.anchors([*maps, last], shape))
        probs, deltas = self.box_head(self.crops(maps, rois, self.config.POOL_SIZE, shape))
        boxes, class_ids, scores, count = self.detections(
            rois, probs[0], deltas[0], norm_boxes_graph(window, shape), min_confidence
        )
        masks = self.masks(maps, boxes, class_ids, count, shape)
        scale = tf.concat([shape, shape], axis=0) - 1.0
        real = tf.range(self.config.DETECTION_MAX_INSTANCES)[:, None] < count
        pixels = tf.where(real, boxes * scale + tf.constant([0.0, 0.0, 1.0, 1.0]), 0.0)
        found = (pixels, class_ids, scores, masks, tf.reshape(count, [1]))
        return {name: tf.identity(x, name=name) for name, x in zip(OUTPUTS, found)}

    def anchors(self, feature_maps: list[tf.Tensor], shape: tf.Tensor) -> tf.Tensor:
        """[A, (y1, x1, y2, x2)], normalised; a constant where the size is known."""
        config = self.config
        if self.size:
            found = norm_boxes(anchors_of_picture(config, self.size), self.size)
            return tf.constant(found.astype(np.float32))
        levels = []
        for x, scale, stride in zip(
            feature_maps, config.RPN_ANCHOR_SCALES, config.BACKBONE_STRIDES
        ):
            cell = generate_anchors(scale, config.RPN_ANCHOR_RATIOS, (1, 1), stride, 1)
            sides, step = tf.shape(x)[1:3] * stride, stride * config.RPN_ANCHOR_STRIDE
            y, x = (tf.cast(tf.range(0, sides[i], step), tf.float32) for i in (0, 1))
            grid = y[:, None, None, None] * tf.constant([1.0, 0.0, 1.0, 0.0])
            grid += x[None, :, None, None] * tf.constant([0.0, 1.0, 0.0, 1.0])
            levels.append(tf.reshape(grid + cell.astype(np.float32), [-1, 4]))
        return norm_boxes_graph(tf.concat(levels, axis=0), shape)

    def proposals(self, rpn_class: tf.Tensor, rpn_bbox: tf.Tensor, anchors: tf.Tensor) -> tf.Tensor:
        """As `ProposalLayer`, for one picture: [R, (y1, x1, y2, x2)], padded with zeros."""
        config = self.config
        deltas = rpn_bbox * np.asarray(config.RPN_BBOX_STD_DEV, np.float32)
        boxes = clip_boxes_graph(apply_box_deltas_graph(anchors, deltas), tf.constant(_WHOLE))
        scores = rpn_class[:, 1]
        scores = tf.where(among_best(scores, int(config.PRE_NMS_LIMIT)), scores, -1.0)
        limit = int(config.POST_NMS_ROIS_INFERENCE)
        threshold, most = float(config.RPN_NMS_THRESHOLD), self.lite * int(config.PRE_NMS_LIMIT)
        kept, count = suppress(boxes, scores, limit, threshold, most)
        return rows(boxes, kept, count)

    def detections(
        self,
        rois: tf.Tensor,
        probs: tf.Tensor,
        deltas: tf.Tensor,
        window: tf.Tensor,
        min_confidence: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """As `DetectionLayer`: boxes [N, 4] normalised, class_ids [N], scores [N], count [].

        rois: [R, 4]; probs: [R, num_classes]; deltas: [R, num_classes, 4]; window: [4], normalised.
        """
        config, classes = self.config, self.config.NUM_CLASSES
        if config.DETECTION_EVERY_CLASS:
            number = rois.shape[0]
            class_ids = tf.tile(tf.range(classes), [number])  # [R * num_classes]
            scores, deltas = tf.reshape(probs, [-1]), tf.reshape(deltas, [-1, 4])
            rois = tf.gather(rois, np.repeat(np.arange(number, dtype=np.int32), classes))
        else:
            class_ids = tf.argmax(probs, axis=1, output_type=tf.int32)  # [R]
            scores, deltas = tf.reduce_max(probs, axis=1), of_class(deltas, class_ids, classes)
        deltas *= np.asarray(config.BBOX_STD_DEV, np.float32)
        boxes = clip_boxes_graph(apply_box_deltas_graph(rois, deltas), window)
        sure = (class_ids > 0) & (scores >= min_confidence)
        kept, count = suppress(
            apart_by_class(boxes, class_ids, classes),
            tf.where(sure, scores, -1.0),
            int(config.DETECTION_MAX_INSTANCES),
            float(config.DETECTION_NMS_THRESHOLD),
            self.lite * boxes.shape[0],
        )
        return *(rows(x, kept, count) for x in (boxes, class_ids, scores)), count

    def masks(
        self,
        maps: list[tf.Tensor],
        boxes: tf.Tensor,
        class_ids: tf.Tensor,
        count: tf.Tensor,
        shape: tf.Tensor,
    ) -> tf.Tensor:
        """[N, mask_height, mask_width]: each box's mask of its class, zeros for padding."""
        number, side = boxes.shape[0], self.config.MASK_POOL_SIZE
        real = tf.range(number) < count
        if not self.every_row:  # one row at the least, for a convolution of none
            few = tf.maximum(count, 1)
            boxes, class_ids = boxes[:few], class_ids[:few]
        x = self.crops(maps, boxes, side, shape)[0]
        for layer in self.mask_head:
            # Of one picture the regions are the batch: nothing then lies between a convolution and
            # its batch norm, and a runtime makes one of both.
            x = layer.layer(x) if isinstance(layer, RoiWise) else layer(x)
        # [n, mask_height, mask_width, num_classes]
        chosen = tf.one_hot(class_ids, self.config.NUM_CLASSES)[:, None, None, :]
        masks = tf.reduce_sum(x * chosen, axis=3)
        if not self.every_row:
            masks = tf.pad(masks, [[0, number - tf.shape(masks)[0]], [0, 0], [0, 0]])
        masks = tf.reshape(masks, [number, 2 * side, 2 * side])
        return tf.where(real[:, None, None], masks, 0.0)

    def crops(
        self, maps: list[tf.Tensor], boxes: tf.Tensor, side: int, shape: tf.Tensor
    ) -> tf.Tensor:
        """[1, n, side, side, depth] of boxes [n, 4], each from the level that suits its size."""
        meta = tf.concat([tf.zeros([4]), shape, tf.zeros([6])], axis=0)[None]
        if self.native_crops:
            return PyramidROIAlign((side, side))([boxes[None], meta, *maps])
        return crop(maps, boxes, roi_levels(boxes[None], meta)[0], side)[None]


def traced(
    function: Callable, channels: int, size: tuple[int, int] | None
) -> tf.types.experimental.ConcreteFunction:
    """`PortableNetwork.__call__` with the signature that the files have."""
    height, width = size or (None, None)
    signature = [
        tf.TensorSpec([1, height, width, channels], tf.uint8, "picture"),
        tf.TensorSpec([4], tf.float32, "window"),
        tf.TensorSpec([1], tf.float32, "min_confidence"),
    ]
    call = tf.function(function, input_signature=signature, autograph=False)
    return call.get_concrete_function()
