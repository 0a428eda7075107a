"""The portable network written as a file of each format.

Those that compute in float64, SavedModel and ONNX, take a picture of any size and resize it
themselves; OpenVINO and LiteRT take it resized, with the window that it fills.
"""

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from mrcnn.config import Config
from mrcnn.detect.runtimes import OUTPUTS, need
from mrcnn.devices import quiet_tensorflow
from mrcnn.errors import UsageError
from mrcnn.export.graph import PortableNetwork, traced
from mrcnn.export.resizing import in_the_given, resized
from mrcnn.extras import how_to_install

RESIZING = {
    "saved_model": "inside",
    "onnx": "inside",
    "openvino": "outside",
    "tflite": "outside",
}
# What is imported to write a file of a format, and to run it for its proof.
_NEEDED = {
    "saved_model": (),
    "openvino": ("openvino",),
    "onnx": ("tf2onnx", "onnx", "onnxruntime"),
    "tflite": ("ai_edge_litert.interpreter",),
}
_SUFFIXES = {"saved_model": "", "openvino": ".xml", "onnx": ".onnx", "tflite": ".tflite"}
_OPSET = 17


def file_name(name: str, to: str) -> str:
    """What a network's file, or folder, of a format is called."""
    return name + _SUFFIXES[to]


def check_installed(to: str) -> None:
    """Raise UsageError where a package that the format needs is missing."""
    with quiet_tensorflow():
        for package in _NEEDED[to]:
            try:
                __import__(package)
            except ImportError as error:
                raise UsageError(
                    f"--to {to} needs the package {package.partition('.')[0]} ({error}): "
                    f"{how_to_install(to)}."
                ) from error


def write(model: Any, config: Config, to: str, size: tuple[int, int] | None, path: Path) -> None:
    """model: a MaskRCNN. config: its own, or that with another picture size."""
    network = PortableNetwork(
        model.keras_model,
        config,
        size,
        native_crops=to == "saved_model",
        lite=to == "tflite",
    )
    writers = {"saved_model": _saved_model, "openvino": _openvino, "onnx": _onnx, "tflite": _tflite}
    writers[to](network, config, path)


def from_any_size(network: PortableNetwork, config: Config) -> Callable:
    """(picture, min_confidence) -> outputs, boxes in pixels of that picture."""

    def call(picture: tf.Tensor, min_confidence: tf.Tensor) -> dict[str, tf.Tensor]:
        molded = resized(picture, config)
        found = network(molded.picture, molded.window, min_confidence)
        boxes = in_the_given(found["boxes"], molded.window, tf.shape(picture))
        return {**found, "boxes": tf.identity(boxes, name="boxes")}

    return call


def _picture(config: Config) -> tf.TensorSpec:
    return tf.TensorSpec([1, None, None, config.IMAGE_CHANNEL_COUNT], tf.uint8, "picture")


def _saved_model(network: PortableNetwork, config: Config, path: Path) -> None:
    call, least = from_any_size(network, config), _least(config)
    confidence = tf.TensorSpec([1], tf.float32, "min_confidence")

    @tf.function(input_signature=[_picture(config), confidence], autograph=False)
    def picture_and_confidence(picture: tf.Tensor, min_confidence: tf.Tensor):
        return call(picture, min_confidence)

    @tf.function(input_signature=[_picture(config)], autograph=False)
    def picture(picture: tf.Tensor):
        return call(picture, tf.constant(least))

    @tf.function(input_signature=[tf.TensorSpec([1], tf.string, "image_bytes")], autograph=False)
    def image_bytes(image_bytes: tf.Tensor):
        options = {"channels": config.IMAGE_CHANNEL_COUNT, "expand_animations": False}
        return call(tf.io.decode_image(image_bytes[0], **options)[None], tf.constant(least))

    signatures = {"serving_default": picture, "picture_and_confidence": picture_and_confidence}
    if config.IMAGE_CHANNEL_COUNT in (1, 3):
        signatures["image_bytes"] = image_bytes
    module = tf.Module()
    module.network = network.keras_model  # its variables are saved with it
    tf.saved_model.save(module, os.fspath(path), signatures=signatures)


def _openvino(network: PortableNetwork, config: Config, path: Path) -> None:
    ov = need("openvino", "openvino", path)
    call = traced(network, config.IMAGE_CHANNEL_COUNT, network.size)
    ov.save_model(ov.convert_model(call), os.fspath(path), compress_to_fp16=False)


def _onnx(network: PortableNetwork, config: Config, path: Path) -> None:
    onnx, tf2onnx = need("onnx", "onnx", path), need("tf2onnx", "onnx", path)
    call = from_any_size(network, config)
    signature = [_picture(config), tf.TensorSpec([1], tf.float32, "min_confidence")]
    function = tf.function(lambda picture, min_confidence: call(picture, min_confidence))
    model, _ = tf2onnx.convert.from_function(function, signature, opset=_OPSET)
    model.producer_name = "mrcnn"
    onnx.save(model, os.fspath(path))


def _tflite(network: PortableNetwork, config: Config, path: Path) -> None:
    call = traced(network, config.IMAGE_CHANNEL_COUNT, network.size)
    path.write_bytes(lite(call, network.keras_model.weights))


def lite(call: Any, weights: Sequence[Any] = ()) -> bytes:
    """A traced function as a TFLite file. weights: Keras variables that it uses."""
    module = tf.Module()
    # NOTE: with the Keras model in place of its variables the converter takes them for some that
    # are filled later: it writes a file without weights, and says nothing.
    module.weights = [weight.value for weight in weights]
    with tempfile.TemporaryDirectory() as folder, quiet_tensorflow():
        tf.saved_model.save(module, folder, signatures=call)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        # Operations that are TensorFlow's own would be written too, and no interpreter runs them.
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        return converter.convert()


def _least(config: Config) -> np.ndarray:
    """float32 [1], the confidence that a file has where the caller gives none."""
    return np.array([config.DETECTION_MIN_CONFIDENCE or 0], np.float32)


def described(to: str, config: Config, size: tuple[int, int] | None) -> dict[str, Any]:
    """The inputs and outputs of a file, for its card."""
    height, width = size if size and RESIZING[to] == "outside" else ("any", "any")
    inputs = {
        "picture": {
            "type": "uint8",
            "shape": [1, height, width, config.IMAGE_CHANNEL_COUNT],
            "is": "RGB, 0..255"
            + (", of any size" if RESIZING[to] == "inside" else ", resized and padded"),
        }
    }
    if RESIZING[to] == "outside":
        inputs["window"] = {
            "type": "float32",
            "shape": [4],
            "is": "(y1, x1, y2, x2) of the picture in its padding, pixels",
        }
    optional = {"saved_model": ", of picture_and_confidence alone"}
    inputs["min_confidence"] = {
        "type": "float32",
        "shape": [1],
        "is": "the least score" + optional.get(to, ""),
    }
    number, side = config.DETECTION_MAX_INSTANCES, 2 * config.MASK_POOL_SIZE
    meanings = {
        "boxes": ("float32", [number, 4], "(y1, x1, y2, x2), pixels of the picture that went in"),
        "class_ids": ("int32", [number], "numbers into class_names"),
        "scores": ("float32", [number], "0..1, the highest first"),
        "masks": ("float32", [number, side, side], "0..1, each for its box"),
        "count": ("int32", [1], "rows that are instances; the rest are zeros"),
    }
    outputs = {
        name: dict(zip(("type", "shape", "is"), meanings[name], strict=True)) for name in OUTPUTS
    }
    return {"inputs": inputs, "outputs": outputs}
