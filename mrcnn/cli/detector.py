"""The network behind detect and evaluate."""

from collections.abc import Callable
from pathlib import Path

from mrcnn.config import Config
from mrcnn.detect.files import Detector
from mrcnn.devices import quiet_tensorflow, start


def load_detector(
    config: Config, weights: Path, folder: Path, say: Callable[[str], None]
) -> Detector:
    """Build the network and load its weights; TensorFlow is imported here.

    folder: of the results; nothing is written there. say: prints what the network runs on.
    """
    say(f"Device: {start()}")
    with quiet_tensorflow():
        from mrcnn.model import MaskRCNN
    model = MaskRCNN("inference", config, folder)
    model.load_weights(weights, by_name=True)
    return lambda picture: model.detect([picture])[0]
