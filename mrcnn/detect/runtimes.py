"""The runtimes of exported files, each behind the same call; only SavedModel needs TensorFlow.

    run = open_runtime(read_card("cells.xml"))
    found = run({"picture": picture, "window": window, "min_confidence": least})

A runtime is imported when a file asks for it, and named with its extra where it is missing.
"""

import contextlib
import importlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from mrcnn.detect.card import Card
from mrcnn.devices import quiet_tensorflow
from mrcnn.errors import UsageError
from mrcnn.extras import how_to_install
from mrcnn.words import printable

OUTPUTS = ("boxes", "class_ids", "scores", "masks", "count")
NAMES = {
    "openvino": "OpenVINO, processor",
    "onnx": "ONNX Runtime, processor",
    "tflite": "LiteRT, processor",
    "saved_model": "TensorFlow, SavedModel",
}
Feed = Mapping[str, np.ndarray]
Run = Callable[[Feed], dict[str, np.ndarray]]


def open_runtime(card: Card, threads: int = 0) -> Run:
    """What runs the file of a card: {input: array} -> {output: array}.

    threads: 0 takes all cores. Raises UsageError where the runtime is missing or refuses the file.
    """
    runtimes = {"openvino": _openvino, "onnx": _onnx, "tflite": _tflite, "saved_model": _tensorflow}
    return runtimes[card.format](card, threads)


def need(module: str, extra: str, path: Path) -> ModuleType:
    """Import a module of a runtime. Raises UsageError, with the way to get it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f"{printable(path)} needs the package {module.partition('.')[0]} ({error}): "
            f"{how_to_install(extra)}."
        ) from error


@contextlib.contextmanager
def _opening(card: Card, name: str) -> Iterator[None]:
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UsageError(
            f"{name} can't open {printable(card.path)}: {lines[-1].strip()}"
        ) from error


def _openvino(card: Card, threads: int) -> Run:
    ov = need("openvino", "openvino", card.path)
    # By itself it computes in bfloat16 where the processor can: fewer digits than were compared.
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    with _opening(card, "OpenVINO"):
        core = ov.Core()
        # Compiled once: a later start takes it from there.
        core.set_property({"CACHE_DIR": str(home() / "openvino")})
        compiled = core.compile_model(str(card.path), "CPU", settings)
    names = [port.any_name for port in compiled.inputs]

    def run(feed: Feed) -> dict[str, np.ndarray]:
        found = compiled({name: feed[name] for name in names})
        return {name: np.array(found[name]) for name in OUTPUTS}

    return run


def _onnx(card: Card, threads: int) -> Run:
    ort = need("onnxruntime", "onnx", card.path)
    with _opening(card, "ONNX Runtime"):
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        session = ort.InferenceSession(str(card.path), options, ["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]

    def run(feed: Feed) -> dict[str, np.ndarray]:
        found = session.run(list(OUTPUTS), {name: feed[name] for name in names})
        return dict(zip(OUTPUTS, found))

    return run


def _tflite(card: Card, threads: int) -> Run:
    interpreter = need("ai_edge_litert.interpreter", "tflite", card.path)
    with _opening(card, "LiteRT"), quiet_tensorflow():  # it tells of its delegates
        lite = interpreter.Interpreter(str(card.path), num_threads=threads or os.cpu_count())
        lite.allocate_tensors()
        runner = lite.get_signature_runner()
        inputs = list(lite.get_signature_list()["serving_default"]["inputs"])

    def run(feed: Feed) -> dict[str, np.ndarray]:
        wanted = {name: feed[name] for name in inputs}
        return {name: np.array(x) for name, x in runner(**wanted).items()}

    return run


def _tensorflow(card: Card, threads: int) -> Run:
    with quiet_tensorflow():
        tf = need("tensorflow", "cuda", card.path)
    with _opening(card, "TensorFlow"):
        loaded = tf.saved_model.load(str(card.path))
        call = loaded.signatures["picture_and_confidence"]
    names = call.structured_input_signature[1]

    def run(feed: Feed) -> dict[str, np.ndarray]:
        found = call(**{name: tf.constant(feed[name]) for name in names})
        return {name: x.numpy() for name, x in found.items()}

    run.loaded = loaded  # a function of it doesn't keep its weights alive
    return run


def home() -> Path:
    """The folder of what is kept for later: MRCNN_HOME, or ~/.mrcnn."""
    return Path(os.environ.get("MRCNN_HOME") or Path.home() / ".mrcnn")
