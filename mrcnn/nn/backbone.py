"""The encoder: a residual network that turns a picture into five maps of growing stride.

Shapes in this room
    input_image    [batch, height, width, channels], molded
    C1 .. C5       [batch, height / s, width / s, 64 | 256 | 512 | 1024 | 2048], s = 4 4 8 16 32

Layer names are those of the weight files: res<stage><block>_branch<n>, bn<stage><block>_branch<n>.
"""

import keras
from keras import layers as KL

from mrcnn.config import Config, function_of
from mrcnn.nn.efficientnet import efficientnet_graph, even_strength
from mrcnn.nn.layers import BatchNorm

STAGE4_BLOCKS = {"resnet50": 6, "resnet101": 23}
BASIC_WIDTHS = {"resnet18": 64, "resnet18_half": 32}


def build_backbone(input_image: keras.KerasTensor, config: Config) -> list[keras.KerasTensor]:
    """C2, C3, C4, C5 of the backbone that the config names.

    A callable `config.BACKBONE` is called as in the original:
    `f(input_image, stage5=True, train_bn=config.TRAIN_BN)` and gives [C1, C2, C3, C4, C5].
    """
    function = function_of(config, "BACKBONE")
    if function is None and config.BACKBONE == "efficientnet_lite0":
        C1, *stages = efficientnet_graph(input_image, train_bn=config.TRAIN_BN)
        stages = [C1, *even_strength(stages)]
    elif function is None:
        stages = resnet_graph(input_image, config.BACKBONE, stage5=True, train_bn=config.TRAIN_BN)
    else:
        stages = function(input_image, stage5=True, train_bn=config.TRAIN_BN)
        if len(stages) != 5:
            raise ValueError(
                f"The BACKBONE function gave {len(stages)} tensors: it must give five, "
                "[C1, C2, C3, C4, C5], of strides 4 (C1 is not used), 4, 8, 16 and 32."
            )
    return list(stages[1:])


def resnet_graph(
    input_image: keras.KerasTensor,
    architecture: str,
    stage5: bool = False,
    train_bn: bool | None = True,
) -> list[keras.KerasTensor | None]:
    """A residual network (He et al. 2016, table 1): [C1, C2, C3, C4, C5].

    input_image: [batch, height, width, channels].
    architecture: resnet50 | resnet101; or, small enough for a CPU, resnet18 | resnet18_half,
        whose blocks are two 3x3 convolutions, and whose half has half the channels.
    stage5: False leaves C5 out (None). train_bn: see `BatchNorm`.
    """
    if architecture not in {**STAGE4_BLOCKS, **BASIC_WIDTHS}:
        raise ValueError(
            f"architecture is {architecture!r}: it must be one of "
            f"{', '.join([*STAGE4_BLOCKS, *BASIC_WIDTHS])}."
        )
    width = BASIC_WIDTHS.get(architecture, 64)
    x = KL.ZeroPadding2D((3, 3))(input_image)
    x = KL.Conv2D(width, (7, 7), strides=(2, 2), name="conv1", use_bias=True)(x)
    x = BatchNorm(train_bn, name="bn_conv1")(x)
    x = KL.Activation("relu")(x)
    C1 = x = KL.MaxPooling2D((3, 3), strides=(2, 2), padding="same")(x)
    if architecture in BASIC_WIDTHS:
        C2 = x = _basic_stage(x, 2, width, train_bn, strides=(1, 1))
        C3 = x = _basic_stage(x, 3, 2 * width, train_bn)
        C4 = x = _basic_stage(x, 4, 4 * width, train_bn)
        C5 = _basic_stage(x, 5, 8 * width, train_bn) if stage5 else None
        return [C1, C2, C3, C4, C5]
    C2 = x = _stage(x, 2, [64, 64, 256], 3, train_bn, strides=(1, 1))
    C3 = x = _stage(x, 3, [128, 128, 512], 4, train_bn)
    C4 = x = _stage(x, 4, [256, 256, 1024], STAGE4_BLOCKS[architecture], train_bn)
    C5 = _stage(x, 5, [512, 512, 2048], 3, train_bn) if stage5 else None
    return [C1, C2, C3, C4, C5]


def _stage(x, stage: int, filters: list[int], num_blocks: int, train_bn, strides=(2, 2)):
    x = conv_block(x, 3, filters, stage, "a", strides=strides, train_bn=train_bn)
    for i in range(1, num_blocks):
        x = identity_block(x, 3, filters, stage, chr(ord("a") + i), train_bn=train_bn)
    return x


def identity_block(
    input_tensor: keras.KerasTensor,
    kernel_size: int,
    filters: list[int],
    stage: int,
    block: str,
    use_bias: bool = True,
    train_bn: bool | None = True,
) -> keras.KerasTensor:
    """A residual block whose shortcut is the input itself (He et al. 2016, figure 5, right)."""
    x = _branch2(input_tensor, kernel_size, filters, stage, block, (1, 1), use_bias, train_bn)
    x = KL.Add()([x, input_tensor])
    return KL.Activation("relu", name=f"res{stage}{block}_out")(x)


def conv_block(
    input_tensor: keras.KerasTensor,
    kernel_size: int,
    filters: list[int],
    stage: int,
    block: str,
    strides: tuple[int, int] = (2, 2),
    use_bias: bool = True,
    train_bn: bool | None = True,
) -> keras.KerasTensor:
    """A residual block whose shortcut is a convolution; its first convolutions take the stride."""
    x = _branch2(input_tensor, kernel_size, filters, stage, block, strides, use_bias, train_bn)
    name = f"{stage}{block}_branch1"
    shortcut = KL.Conv2D(filters[2], (1, 1), strides=strides, name=f"res{name}", use_bias=use_bias)(
        input_tensor
    )
    shortcut = BatchNorm(train_bn, name=f"bn{name}")(shortcut)
    x = KL.Add()([x, shortcut])
    return KL.Activation("relu", name=f"res{stage}{block}_out")(x)


def _basic_stage(x, stage: int, filters: int, train_bn, strides=(2, 2)):
    """Two blocks of two 3x3 convolutions (He et al. 2016, figure 5, left)."""
    for block in "ab":
        first = strides if block == "a" else (1, 1)
        shortcut = x
        if first != (1, 1) or x.shape[-1] != filters:
            name = f"{stage}{block}_branch1"
            shortcut = KL.Conv2D(filters, (1, 1), strides=first, name=f"res{name}")(x)
            shortcut = BatchNorm(train_bn, name=f"bn{name}")(shortcut)
        name = f"{stage}{block}_branch2"
        x = KL.Conv2D(filters, 3, strides=first, padding="same", name=f"res{name}a")(x)
        x = BatchNorm(train_bn, name=f"bn{name}a")(x)
        x = KL.Activation("relu")(x)
        x = KL.Conv2D(filters, 3, padding="same", name=f"res{name}b")(x)
        x = BatchNorm(train_bn, name=f"bn{name}b")(x)
        x = KL.Add()([x, shortcut])
        x = KL.Activation("relu", name=f"res{stage}{block}_out")(x)
    return x


def _branch2(x, kernel_size, filters, stage, block, strides, use_bias, train_bn):
    name = f"{stage}{block}_branch2"
    x = KL.Conv2D(filters[0], (1, 1), strides=strides, name=f"res{name}a", use_bias=use_bias)(x)
    x = BatchNorm(train_bn, name=f"bn{name}a")(x)
    x = KL.Activation("relu")(x)
    x = KL.Conv2D(filters[1], kernel_size, padding="same", name=f"res{name}b", use_bias=use_bias)(x)
    x = BatchNorm(train_bn, name=f"bn{name}b")(x)
    x = KL.Activation("relu")(x)
    x = KL.Conv2D(filters[2], (1, 1), name=f"res{name}c", use_bias=use_bias)(x)
    return BatchNorm(train_bn, name=f"bn{name}c")(x)
