"""Weights exported once for a faster runtime, and kept for the next time.

They lie in the folder exported of MRCNN_HOME (~/.mrcnn), under the hash of the weights, of the
config and of the versions that made them; the folder can be deleted at any time.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from mrcnn import __version__
from mrcnn.config import Config
from mrcnn.detect.card import BUILT_IN, sha256
from mrcnn.detect.runtimes import home, need
from mrcnn.words import printable

ENGINES = ("tensorflow", "openvino", "onnx")


def kept_export(
    weights: Path,
    config: Config,
    engine: str,
    convert: Callable[[], Callable[[str, Path], Path]],
    say: Callable[[str], None],
) -> Path:
    """The exported file of weights for an engine, made where it isn't there yet.

    convert: gives f(format, folder) that exports; it is called only when it is needed.
    Raises UsageError where the engine's package is missing.
    """
    need(
        {"openvino": "openvino", "onnx": "onnxruntime"}[engine], engine, Path(f"--engine {engine}")
    )
    told = {name: value for name, value in config.hyper_parameters().items() if name in BUILT_IN}
    told["DETECTION_MAX_INSTANCES"] = int(config.DETECTION_MAX_INSTANCES)
    made_of = json.dumps([sha256([weights]), __version__, told], sort_keys=True)
    key = hashlib.sha256(made_of.encode()).hexdigest()[:16]
    folder = home() / "exported" / f"{engine}-{key}"
    suffix = {"openvino": ".xml", "onnx": ".onnx"}[engine]
    for path in sorted(folder.glob(f"*{suffix}")):
        return path
    say(
        f"Exporting {printable(weights.name)} for {engine}, this once: it takes a minute or a few, "
        f"and is kept in {printable(folder)}"
    )
    return convert()(engine, folder)
