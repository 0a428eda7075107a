"""The network behind detect, evaluate and serve."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mrcnn.config import Config
from mrcnn.detect.files import Detector
from mrcnn.devices import quiet_tensorflow, start

if TYPE_CHECKING:
    from mrcnn.model import MaskRCNN


def load_detector(
    config: Config, weights: Path, folder: Path, say: Callable[[str], None]
) -> Detector:
    """`load_model` as a function of one picture."""
    model = load_model(config, weights, folder, say)
    return lambda picture: model.detect([picture])[0]


def load_model(
    config: Config, weights: Path, folder: Path, say: Callable[[str], None]
) -> "MaskRCNN":
    """Build the network and load its weights; TensorFlow is imported here.

    folder: of the results; nothing is written there. say: prints what the network runs on.
    """
    say(f"Device: {start()}")
    with quiet_tensorflow():
        from mrcnn.model import MaskRCNN
    model = MaskRCNN("inference", config, folder)
    model.load_weights(weights, by_name=True)
    return model
