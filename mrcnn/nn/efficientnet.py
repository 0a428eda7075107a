"""EfficientNet-Lite0, a backbone for processors: 3.0 million parameters (Tan and Le 2019).

Shapes in this room
    input_image    [batch, height, width, 3], molded with a MEAN_PIXEL of 127
    C1 .. C5       [batch, height / s, width / s, 16 | 24 | 40 | 112 | 320], s = 2 4 8 16 32

Lite leaves out squeeze-and-excitation and swish, which cost a processor much. Layers are named as
those of the ResNets, res<stage><block>_<part> and bn<stage><block>_<part>, so that "3+" or "heads"
mean the same; the names are the file format.
"""

import string

import keras
from keras import layers as KL

from mrcnn.nn.layers import BatchNorm

# Of each stage: (blocks, kernel, stride, expansion, channels), one after another (their table 1).
STAGES = {
    1: [(1, 3, 1, 1, 16)],
    2: [(2, 3, 2, 6, 24)],
    3: [(2, 5, 2, 6, 40)],
    4: [(3, 3, 2, 6, 80), (3, 5, 1, 6, 112)],
    5: [(4, 5, 2, 6, 192), (1, 3, 1, 6, 320)],
}
PIXEL_SCALE = 128  # the published weights take (pixel - 127) / 128
# The root of the mean square of C2 .. C5 on photographs. Unlike a ResNet's they are sums of batch
# norms that no activation and no further norm follows, so nothing else brings them to about 1.
STRENGTHS = (8, 8, 6, 3)


def efficientnet_graph(
    input_image: keras.KerasTensor, train_bn: bool | None = True
) -> list[keras.KerasTensor]:
    """[C1, C2, C3, C4, C5] of a molded picture. train_bn: see `BatchNorm`."""
    x = KL.Rescaling(1 / PIXEL_SCALE, name="scale_pixels")(input_image)
    x = KL.Conv2D(32, 3, strides=2, padding="same", use_bias=False, name="conv1")(x)
    x = _normed(x, "bn_conv1", train_bn)
    outputs = []
    for stage, groups in STAGES.items():
        names = iter(string.ascii_lowercase)
        for blocks, kernel, stride, expansion, channels in groups:
            for i in range(blocks):
                name = f"{stage}{next(names)}"
                x = _block(x, name, kernel, 1 if i else stride, expansion, channels, train_bn)
        outputs.append(x)
    return outputs


def even_strength(stages: list[keras.KerasTensor]) -> list[keras.KerasTensor]:
    """C2 .. C5 with values of about 1, as pyramid and heads are made for.

    On larger ones these learn nothing at the usual rates: their first steps are so large that the
    units of the proposal network stay at 0 for good.
    """
    return [
        KL.Rescaling(1 / strength, name=f"scale_c{stage}")(x)
        for stage, (x, strength) in enumerate(zip(stages, STRENGTHS, strict=True), start=2)
    ]


def _block(x, name: str, kernel: int, stride: int, expansion: int, channels: int, train_bn):
    """An inverted residual (Sandler et al. 2018, figure 3b): widen, filter, narrow, add."""
    shortcut = x
    if expansion != 1:
        wide = expansion * x.shape[-1]
        x = KL.Conv2D(wide, 1, use_bias=False, name=f"res{name}_expand")(x)
        x = _normed(x, f"bn{name}_expand", train_bn)
    x = KL.DepthwiseConv2D(
        kernel, strides=stride, padding="same", use_bias=False, name=f"res{name}_depthwise"
    )(x)
    x = _normed(x, f"bn{name}_depthwise", train_bn)
    x = KL.Conv2D(channels, 1, use_bias=False, name=f"res{name}_project")(x)
    x = BatchNorm(train_bn, name=f"bn{name}_project")(x)
    return KL.Add()([x, shortcut]) if x.shape == shortcut.shape else x


def _normed(x, name: str, train_bn):
    return KL.ReLU(6.0)(BatchNorm(train_bn, name=name)(x))
