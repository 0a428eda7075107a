"""The region proposal network: at every cell, is there an object and where are its edges?

Shapes in this room (A: anchors per cell, N: anchors of a level, or of all levels)
    feature_map         [batch, height, width, depth]
    rpn_class_logits    [batch, N, (background, object)]
    rpn_class           [batch, N, (background, object)], softmax
    rpn_bbox            [batch, N, (dy, dx, log(dh), log(dw))], in units of RPN_BBOX_STD_DEV
"""

import keras
from keras import layers as KL

from mrcnn.nn.layers import SparselyTaughtConv2D


def rpn_graph(
    feature_map: keras.KerasTensor,
    anchors_per_location: int,
    anchor_stride: int,
    channels: int = 512,
) -> list[keras.KerasTensor]:
    """One level's [rpn_class_logits, rpn_class, rpn_bbox] (Ren et al. 2015, figure 3).

    channels: of the shared convolution, `config.RPN_CONV_CHANNELS`.
    """
    # The losses read RPN_TRAIN_ANCHORS_PER_IMAGE anchors of all that there are.
    shared = SparselyTaughtConv2D(
        channels,
        (3, 3),
        padding="same",
        activation="relu",
        strides=anchor_stride,
        name="rpn_conv_shared",
    )(feature_map)
    x = KL.Conv2D(2 * anchors_per_location, (1, 1), name="rpn_class_raw")(shared)
    # Softmax and losses keep float32 under any precision policy.
    rpn_class_logits = KL.Reshape((-1, 2), dtype="float32")(x)
    rpn_class = KL.Activation("softmax", dtype="float32", name="rpn_class_xxx")(rpn_class_logits)
    x = KL.Conv2D(4 * anchors_per_location, (1, 1), name="rpn_bbox_pred")(shared)
    rpn_bbox = KL.Reshape((-1, 4), dtype="float32")(x)
    return [rpn_class_logits, rpn_class, rpn_bbox]


def build_rpn_model(
    anchor_stride: int, anchors_per_location: int, depth: int, channels: int = 512
) -> keras.Model:
    """The network as a model of its own, so that all levels share its weights.

    depth: channels of the feature map; channels, outputs: as in `rpn_graph`.
    """
    feature_map = KL.Input(shape=(None, None, depth), name="input_rpn_feature_map")
    outputs = rpn_graph(feature_map, anchors_per_location, anchor_stride, channels)
    return keras.Model([feature_map], outputs, name="rpn_model")


def rpn_over_pyramid(
    feature_maps: list[keras.KerasTensor], rpn: keras.Model
) -> list[keras.KerasTensor]:
    """Run the network on P2..P6 and lay the levels end to end, in the order of the anchors."""
    levels = [rpn([feature_map]) for feature_map in feature_maps]
    names = ["rpn_class_logits", "rpn_class", "rpn_bbox"]
    return [
        KL.Concatenate(axis=1, name=name, dtype="float32")(list(outputs))
        for name, outputs in zip(names, zip(*levels))
    ]
