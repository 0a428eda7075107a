"""The feature pyramid: every level sees fine detail and wide context (Lin et al. 2017, figure 3).

Shapes in this room
    C2 .. C5    [batch, height / s, width / s, ...], s = 4 8 16 32
    P2 .. P6    [batch, height / s, width / s, depth], s = 4 8 16 32 64
"""

import keras
from keras import layers as KL


def fpn_graph(stages: list[keras.KerasTensor], depth: int) -> list[keras.KerasTensor]:
    """[C2, C3, C4, C5] -> [P2, P3, P4, P5, P6].

    P6 feeds the proposals only; the heads read P2..P5.
    """
    C2, C3, C4, C5 = stages
    P5 = KL.Conv2D(depth, (1, 1), name="fpn_c5p5")(C5)
    P4 = _merge(P5, C4, 4, depth)
    P3 = _merge(P4, C3, 3, depth)
    P2 = _merge(P3, C2, 2, depth)
    # The 3x3 convolution smooths what the nearest-neighbour upsampling left.
    P2, P3, P4, P5 = (
        KL.Conv2D(depth, (3, 3), padding="same", name=f"fpn_p{level}")(x)
        for level, x in enumerate([P2, P3, P4, P5], start=2)
    )
    P6 = KL.MaxPooling2D((1, 1), strides=2, name="fpn_p6")(P5)
    return [P2, P3, P4, P5, P6]


def _merge(top, lateral, level: int, depth: int):
    up = KL.UpSampling2D((2, 2), name=f"fpn_p{level + 1}upsampled")(top)
    lateral = KL.Conv2D(depth, (1, 1), name=f"fpn_c{level}p{level}")(lateral)
    return KL.Add(name=f"fpn_p{level}add")([up, lateral])
