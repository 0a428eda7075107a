"""Our network for the benchmarks: weights that keep every stage busy, and its stages' time.

Imported only in a process that measures: it loads TensorFlow.
"""

import statistics
import tempfile
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from common import seconds_of

from mrcnn.config import Config
from mrcnn.detect.forward import compiled_forward
from mrcnn.model import MaskRCNN
from mrcnn.weights.synthetic import synthetic_arrays

# Random weights find either nothing or a carpet. Here the two layers that move boxes are zero, so
# that proposals are anchors, spread over the picture; see also NO_BACKGROUND.
BUSY = {
    "bn*_branch2b/gamma:0": {"low": 0.15, "high": 0.35},  # where a basic block ends
    "rpn_bbox_pred/*": {"low": 0.0, "high": 0.0},
    "mrcnn_bbox_fc/*": {"low": 0.0, "high": 0.0},
}
NO_BACKGROUND = -1e4  # bias of its logit in a detector


def fix_threads(threads: int) -> None:
    """Hold TensorFlow to so many threads; before its first operation."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def build(mode: str, weights: str | None = None, **settings: Any) -> MaskRCNN:
    """A MaskRCNN of a Config with these settings, and busy weights.

    weights: a file that such a model saved, to read instead of making the weights up.
    """
    config = type("BenchmarkConfig", (Config,), {"NAME": "benchmark", **settings})()
    model = MaskRCNN(mode, config, tempfile.gettempdir())  # nothing is written there
    if weights:
        model.load_weights(weights)
    else:
        _fill(model.keras_model, NO_BACKGROUND if mode == "inference" else 0.0)
    return model


def detector(
    backbone: str,
    side: int,
    batch: int,
    proposals: int = 1000,
    instances: int = 100,
    weights: str | None = None,
) -> MaskRCNN:
    """A network of 81 classes that fills every place for proposals and detections."""
    return build(
        "inference",
        weights,
        BACKBONE=backbone,
        NUM_CLASSES=81,
        IMAGES_PER_GPU=batch,
        IMAGE_MIN_DIM=side,
        IMAGE_MAX_DIM=side,
        POST_NMS_ROIS_INFERENCE=proposals,
        PRE_NMS_LIMIT=max(6000, 3 * proposals),
        DETECTION_MAX_INSTANCES=instances,
        DETECTION_MIN_CONFIDENCE=0.0,
    )


def _fill(keras_model: keras.Model, background: float) -> None:
    for layer in keras_model.layers:
        for part in getattr(layer, "layers", [layer]):
            tensors = [(f"{part.name}/{w.name}:0", w.shape) for w in part.weights]
            if not part.weights or part.name == "proposal_targets":
                continue  # whose only weight is the state of its dice
            for weight, (_, name, values) in zip(
                part.weights, synthetic_arrays([(part.name, tensors)], 0, BUSY)
            ):
                if name == "mrcnn_class_logits/bias:0":
                    values[0] = background
                weight.assign(values)


def network_inputs(model: MaskRCNN, pictures: list[np.ndarray]) -> list[tf.Tensor]:
    """[molded images, image metas, anchors] of pictures, as tensors."""
    images, metas, _ = model.mold_inputs(pictures)
    anchors = model.get_anchors(images.shape[1:])
    anchors = np.broadcast_to(anchors, (len(images), *anchors.shape))
    return [tf.constant(x, tf.float32) for x in (images, metas, anchors)]


def count_proposals(model: MaskRCNN, pictures: list[np.ndarray]) -> int:
    """Proposals of the picture that has the fewest; rows of zeros are none."""
    rois = model.keras_model(network_inputs(model, pictures), training=False)[4].numpy()
    return int(rois.any(axis=-1).sum(axis=1).min())


def stages(keras_model: keras.Model) -> list[tuple[str, list[keras.KerasTensor]]]:
    """The stations of the graph in their order: (stage, tensors at its end).

    A name that comes twice is one stage in two places: before the box head and the mask head.
    """
    layer = keras_model.get_layer
    outputs = {name: layer(name).output for name in ("rpn_class", "rpn_bbox", "ROI")}
    laterals = [layer(f"fpn_c{i}p{i}").input for i in (2, 3, 4)]
    return [
        ("backbone", [*laterals, layer("fpn_c5p5").input]),
        ("FPN", [layer(f"fpn_p{i}").output for i in range(2, 7)]),
        ("RPN", [outputs["rpn_class"], outputs["rpn_bbox"]]),
        ("proposals", [outputs["ROI"]]),
        ("ROIAlign", [layer("roi_align_classifier").output]),
        ("heads", [layer("mrcnn_class").output, layer("mrcnn_bbox").output]),
        ("NMS", [layer("mrcnn_detection").output]),
        ("ROIAlign", [layer("roi_align_mask").output]),
        ("heads", list(keras_model.outputs)),
    ]


def stage_seconds(model: MaskRCNN, pictures: list[np.ndarray], calls: int) -> dict[str, float]:
    """Seconds of each stage of `detect`, from "molding" to "paste".

    The graph is compiled up to the end of each stage; the time of a stage is the difference of
    two medians, so a stage of a few milliseconds may come out slightly negative.
    """
    inputs = network_inputs(model, pictures)
    names, tensors = zip(*stages(model.keras_model))
    forwards = [compiled_forward(keras.Model(model.keras_model.inputs, t)) for t in tensors]
    runs = [[] for _ in forwards]
    for i in range(1 + calls):
        for run, forward in zip(runs, forwards):
            seconds = seconds_of(lambda forward=forward: forward(*inputs))
            run.extend([seconds] if i else [])  # the first one traces
    ends = [statistics.median(run) for run in runs]

    found = forwards[-1](*inputs)
    detections, masks = found[0].numpy(), found[3].numpy()
    images, _, windows = model.mold_inputs(pictures)

    def paste() -> None:
        for i, picture in enumerate(pictures):
            model.unmold_detections(
                detections[i], masks[i], picture.shape, images[i].shape, windows[i]
            )

    def median(function) -> float:
        return statistics.median(seconds_of(function) for _ in range(calls))

    result = {"molding": median(lambda: model.mold_inputs(pictures))}
    for name, begin, end in zip(names, [0.0, *ends], ends):
        result[name] = result.get(name, 0.0) + end - begin
    return {**result, "paste": median(paste)}


def stage_gflop(model: MaskRCNN, side: int, batch: int, found: int) -> dict[str, float]:
    """GFLOP of each stage's convolutions and matrix products; the rest is not counted.

    found: detections of the fullest picture, the rows that the mask head works on.
    A multiplication and an addition are two operations.
    """
    keras_model, config = model.keras_model, model.config
    signature = [
        tf.TensorSpec([batch, side, side, config.IMAGE_CHANNEL_COUNT]),
        tf.TensorSpec([batch, config.IMAGE_META_SIZE]),
        tf.TensorSpec([batch, None, 4]),
    ]
    result: dict[str, float] = {}
    before = 0.0
    for name, tensors in stages(keras_model):
        prefix = keras.Model(keras_model.inputs, tensors)
        gflop = graph_gflop(prefix, signature, batch * found)
        result[name] = result.get(name, 0.0) + gflop - before
        before = gflop
    return result


def graph_gflop(keras_model: keras.Model, signature: list[tf.TensorSpec], rows: int = 1) -> float:
    """GFLOP of one call: of each convolution, 2 * kernel values * output positions.

    signature: shapes of the inputs. rows: what stands for a number of rows known only at run time.
    """
    forward = tf.function(
        lambda *x: keras_model(x[0] if len(x) == 1 else list(x), training=False),
        input_signature=signature,
        autograph=False,
    )
    flop = 0
    for op in forward.get_concrete_function().graph.get_operations():
        if op.type not in ("Conv2D", "Conv2DBackpropInput", "MatMul"):
            continue
        # A transposed convolution spreads each input position over its kernel.
        data = op.inputs[2] if op.type == "Conv2DBackpropInput" else op.outputs[0]
        positions = [rows if side is None else side for side in data.shape[:-1]]
        flop += 2 * int(np.prod(positions)) * int(np.prod(op.inputs[1].shape))
    return flop / 1e9
