"""A small model named as Mask R-CNN's, with plain, nested and wrapped layers."""


def small_layout(classes: int = 4, channels: int = 3, width: int = 4) -> list:
    """[(layer group, [(weight name, shape)])] of the model that `build_small` builds."""

    def conv(name: str, *kernel: int) -> list:
        return [(f"{name}/kernel:0", kernel), (f"{name}/bias:0", kernel[-1:])]

    def norm(name: str, size: int) -> list:
        weights = ("gamma", "beta", "moving_mean", "moving_variance")
        return [(f"{name}/{weight}:0", (size,)) for weight in weights]

    rpn = [
        *conv("rpn_conv_shared", 3, 3, width, 8),
        *conv("rpn_class_raw", 1, 1, 8, 6),
        *conv("rpn_bbox_pred", 1, 1, 8, 12),
    ]
    return [
        ("conv1", conv("conv1", 3, 3, channels, 6)),
        ("bn_conv1", norm("bn_conv1", 6)),
        ("res2a_branch2a", conv("res2a_branch2a", 1, 1, 6, 6)),
        ("fpn_c5p5", conv("fpn_c5p5", 1, 1, 6, width)),
        ("rpn_model", rpn),
        ("mrcnn_class_conv1", conv("mrcnn_class_conv1", 1, 1, width, 5)),
        ("mrcnn_class_bn1", norm("mrcnn_class_bn1", 5)),
        ("mrcnn_class_logits", conv("mrcnn_class_logits", 5, classes)),
        ("mrcnn_bbox_fc", conv("mrcnn_bbox_fc", 5, 4 * classes)),
        ("mrcnn_mask", conv("mrcnn_mask", 1, 1, width, classes)),
    ]


def build_small(classes: int = 4, channels: int = 3, width: int = 4):
    """A functional model with plain, nested and wrapped layers, as MaskRCNN.keras_model has."""
    import keras
    from keras import layers

    from mrcnn.nn.layers import RoiWise

    image = keras.Input((8, 8, channels), name="input_image")
    x = layers.Conv2D(6, 3, name="conv1")(image)
    x = layers.BatchNormalization(name="bn_conv1")(x)
    x = layers.Conv2D(6, 1, name="res2a_branch2a")(layers.ReLU()(x))
    pyramid = layers.Conv2D(width, 1, name="fpn_c5p5")(x)

    level = keras.Input((None, None, width), name="input_rpn_feature_map")
    shared = layers.Conv2D(8, 3, padding="same", name="rpn_conv_shared")(level)
    scores = layers.Conv2D(6, 1, name="rpn_class_raw")(shared)
    deltas = layers.Conv2D(12, 1, name="rpn_bbox_pred")(shared)
    rpn = keras.Model(level, [scores, deltas], name="rpn_model")(pyramid)

    rois = layers.Reshape((36, 1, 1, width))(pyramid)  # [batch, rois, 1, 1, width]
    x = RoiWise(layers.Conv2D(5, 1), name="mrcnn_class_conv1")(rois)
    x = RoiWise(layers.BatchNormalization(), name="mrcnn_class_bn1")(x)
    x = layers.Reshape((36, 5))(x)
    logits = RoiWise(layers.Dense(classes), name="mrcnn_class_logits")(x)
    bbox = RoiWise(layers.Dense(4 * classes), name="mrcnn_bbox_fc")(x)
    bbox = layers.Reshape((36, classes, 4), name="mrcnn_bbox")(bbox)
    mask = RoiWise(layers.Conv2D(classes, 1), name="mrcnn_mask")(rois)
    return keras.Model(image, [*rpn, logits, bbox, mask], name="mask_rcnn")
