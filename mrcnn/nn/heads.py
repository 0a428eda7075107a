"""The heads: what each region is, where exactly, and which of its pixels belong to it.

Shapes in this room (R: regions of a picture)
    rois                  [batch, R, (y1, x1, y2, x2)], normalised
    feature_maps          P2, P3, P4, P5
    mrcnn_class_logits    [batch, R, num_classes]
    mrcnn_class           [batch, R, num_classes], softmax
    mrcnn_bbox            [batch, R, num_classes, (dy, dx, log(dh), log(dw))], of BBOX_STD_DEV
    mrcnn_mask            [batch, R, 2 * pool_size, 2 * pool_size, num_classes], sigmoid
"""

import keras
from keras import layers as KL

from mrcnn.config import Config
from mrcnn.nn.layers import BatchNorm, RoiWise, WholeConv2D
from mrcnn.nn.roi_align import PyramidROIAlign


def box_head(
    rois: keras.KerasTensor,
    feature_maps: list[keras.KerasTensor],
    image_meta: keras.KerasTensor,
    config: Config,
) -> list[keras.KerasTensor]:
    """[mrcnn_class_logits, mrcnn_class, mrcnn_bbox] of regions, with the sizes of a config."""
    return fpn_classifier_graph(
        rois,
        feature_maps,
        image_meta,
        config.POOL_SIZE,
        config.NUM_CLASSES,
        train_bn=config.TRAIN_BN,
        fc_layers_size=config.FPN_CLASSIF_FC_LAYERS_SIZE,
    )


def mask_head(
    rois: keras.KerasTensor,
    feature_maps: list[keras.KerasTensor],
    image_meta: keras.KerasTensor,
    config: Config,
) -> keras.KerasTensor:
    """mrcnn_mask of regions, with the sizes of a config."""
    return build_fpn_mask_graph(
        rois,
        feature_maps,
        image_meta,
        config.MASK_POOL_SIZE,
        config.NUM_CLASSES,
        train_bn=config.TRAIN_BN,
        channels=config.MASK_CONV_CHANNELS,
    )


def fpn_classifier_graph(
    rois: keras.KerasTensor,
    feature_maps: list[keras.KerasTensor],
    image_meta: keras.KerasTensor,
    pool_size: int,
    num_classes: int,
    train_bn: bool | None = True,
    fc_layers_size: int = 1024,
) -> list[keras.KerasTensor]:
    """Class and box of every region: [mrcnn_class_logits, mrcnn_class, mrcnn_bbox].

    The two dense layers are written as convolutions, as in the weight files
    (Lin et al. 2017, section 4.2).
    """
    x = PyramidROIAlign((pool_size, pool_size), name="roi_align_classifier")(
        [rois, image_meta, *feature_maps]
    )
    x = RoiWise(WholeConv2D(fc_layers_size, (pool_size, pool_size)), name="mrcnn_class_conv1")(x)
    x = RoiWise(BatchNorm(train_bn), name="mrcnn_class_bn1")(x)
    x = KL.Activation("relu")(x)
    x = RoiWise(WholeConv2D(fc_layers_size, (1, 1)), name="mrcnn_class_conv2")(x)
    x = RoiWise(BatchNorm(train_bn), name="mrcnn_class_bn2")(x)
    x = KL.Activation("relu")(x)
    shared = KL.Reshape((-1, fc_layers_size), name="pool_squeeze")(x)  # [batch, R, units]

    logits = _in_float32(KL.Dense, num_classes, name="mrcnn_class_logits")(shared)
    probs = KL.Activation("softmax", dtype="float32", name="mrcnn_class")(logits)
    x = _in_float32(KL.Dense, 4 * num_classes, name="mrcnn_bbox_fc")(shared)
    bbox = KL.Reshape((-1, num_classes, 4), dtype="float32", name="mrcnn_bbox")(x)
    return [logits, probs, bbox]


def build_fpn_mask_graph(
    rois: keras.KerasTensor,
    feature_maps: list[keras.KerasTensor],
    image_meta: keras.KerasTensor,
    pool_size: int,
    num_classes: int,
    train_bn: bool | None = True,
    channels: int = 256,
) -> keras.KerasTensor:
    """A mask for every region and class: mrcnn_mask (He et al. 2017, figure 4, right).

    channels: of the convolutions, `config.MASK_CONV_CHANNELS`.
    """
    x = PyramidROIAlign((pool_size, pool_size), name="roi_align_mask")(
        [rois, image_meta, *feature_maps]
    )
    for i in range(1, 5):
        x = RoiWise(KL.Conv2D(channels, (3, 3), padding="same"), name=f"mrcnn_mask_conv{i}")(x)
        x = RoiWise(BatchNorm(train_bn), name=f"mrcnn_mask_bn{i}")(x)
        x = KL.Activation("relu")(x)
    x = RoiWise(
        KL.Conv2DTranspose(channels, (2, 2), strides=2, activation="relu"), name="mrcnn_mask_deconv"
    )(x)
    return _in_float32(KL.Conv2D, num_classes, (1, 1), activation="sigmoid", name="mrcnn_mask")(x)


def _in_float32(layer: type, *args, name: str, **options) -> RoiWise:
    """What a loss or a threshold reads keeps float32 under any precision policy."""
    return RoiWise(layer(*args, **options, dtype="float32"), name=name, dtype="float32")
