"""Looking inside a network: any tensor of its graph, by the name of its layer."""

from collections import OrderedDict
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from mrcnn.detect.check import check_pictures
from mrcnn.detect.forward import outside_graphs
from mrcnn.detect.mold import mold_inputs
from mrcnn.detect.unmold import unmold_detections
from mrcnn.nn.proposals import ProposalLayer, ProposalStep
from mrcnn.words import log

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


class LookingInside:
    """What `MaskRCNN` shows of its graph, and of `detect` step by step.

    It has keras_model, config and _forward.
    """

    def mold_inputs(
        self, images: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(molded_images, image_metas, windows): see `detect.mold.mold_inputs`."""
        return mold_inputs(images, self.config)

    def unmold_detections(
        self,
        detections: np.ndarray,
        mrcnn_mask: np.ndarray,
        original_image_shape: Sequence[int],
        image_shape: Sequence[int],
        window: Sequence[int],
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """One picture's (boxes, class_ids, scores, masks): see `detect.unmold`."""
        return unmold_detections(detections, mrcnn_mask, original_image_shape, image_shape, window)

    def get_anchors(self, image_shape: Sequence[int]) -> np.ndarray:
        """Normalised anchors [num_anchors, (y1, x1, y2, x2)] for a molded picture's shape."""
        self.anchors, normalised = self._forward.anchors(image_shape, self.config)
        return normalised

    def run_graph(
        self,
        images: Sequence[np.ndarray],
        outputs: Sequence[tuple[str, keras.KerasTensor]],
        image_metas: np.ndarray | None = None,
    ) -> OrderedDict[str, np.ndarray]:
        """Run pictures as far as any tensors of the graph.

        images: as for `detect`, ending in one molded size; with image_metas given, molded already.
        outputs: (name, tensor) pairs, e.g.
            ("P2", model.keras_model.get_layer("fpn_p2").output).
        Returns the arrays by name, in that order.
        """
        if image_metas is None:
            images, image_metas, _ = self.mold_inputs(check_pictures(images, self.config))
        images = np.asarray(images)
        inputs = [images, image_metas, self._forward.anchors_of_batch(images, self.config)]
        results = outside_graphs(run_to, self.keras_model, inputs, outputs)
        for name, array in results.items():
            log(name, array)
        return results

    def ancestor(
        self, tensor: keras.KerasTensor, name: str, checked: list | None = None
    ) -> keras.KerasTensor:
        """A tensor that `tensor` is computed from, by the name of its layer.

        name: a layer ("res4a_out"), or a step inside the proposal layer: "ROI/pre_nms_anchors",
            "ROI/refined_anchors", "ROI/refined_anchors_clipped". An old ":0" at its end is ignored.
        Raises ValueError where there is no such layer or step.
        """
        return tensor_named(self.keras_model, name)

    def find_trainable_layer(self, layer: keras.layers.Layer) -> keras.layers.Layer:
        """The layer that holds the weights: a wrapper's inner layer, else the layer itself."""
        if isinstance(layer, keras.layers.Wrapper):
            return self.find_trainable_layer(layer.layer)
        return layer

    def get_trainable_layers(self) -> list[keras.layers.Layer]:
        """The layers that own weights, wrappers opened."""
        layers = [self.find_trainable_layer(layer) for layer in self.keras_model.layers]
        return [layer for layer in layers if layer.weights]
