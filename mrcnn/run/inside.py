"""Looking inside a network: any tensor of its graph, by the name of its layer."""

from collections import OrderedDict
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from mrcnn.nn.proposals import ProposalLayer, ProposalStep

PROPOSAL_STEPS = ("pre_nms_anchors", "refined_anchors", "refined_anchors_clipped")


def run_to(
    model: keras.Model,
    inputs: Sequence[np.ndarray],
    outputs: Sequence[tuple[str, keras.KerasTensor]],
) -> OrderedDict[str, np.ndarray]:
    """Feed a model and read any tensors of its graph: outputs are (name, tensor) pairs."""
    names, tensors = zip(*outputs)
    tap = keras.Model(model.inputs, list(tensors))
    # Keras hands a lone output over without its list.
    arrays = keras.tree.flatten(tap([tf.cast(x, tf.float32) for x in inputs]))
    return OrderedDict((name, np.asarray(array)) for name, array in zip(names, arrays))


def tensor_named(model: keras.Model, name: str) -> keras.KerasTensor:
    """The output of a layer ("res4a_out"), or a step inside the proposal layer ("ROI/<step>").

    An old ":0" at the end is passed over. Raises ValueError where there is no such tensor.
    """
    layer_name, _, step = name.removesuffix(":0").partition("/")
    try:
        layer = model.get_layer(layer_name)
    except ValueError:
        raise ValueError(
            f"There is no tensor {name!r}: give the name of a layer of keras_model.summary(), or "
            "ROI/ and a step of the proposal layer."
        ) from None
    if not step:
        return layer.output
    if not isinstance(layer, ProposalLayer) or step not in PROPOSAL_STEPS:
        raise ValueError(
            f"{layer_name!r} shows no step {step!r}: the steps are "
            f"{', '.join('ROI/' + s for s in PROPOSAL_STEPS)}, and ROI itself."
        )
    options = {k: v for k, v in layer.get_config().items() if k not in ("name", "trainable")}
    return ProposalStep(step=step, **options)(layer.input)
