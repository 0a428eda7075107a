"""The network behind detect, evaluate and serve."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mrcnn.cli import synthetic
from mrcnn.cli.configs import apply_setting, load_config
from mrcnn.cli.weights import find_weights
from mrcnn.config import Config
from mrcnn.detect import card
from mrcnn.detect.card import format_of
from mrcnn.detect.configs import check_fits, class_names, config_from_weights, one_for_all
from mrcnn.detect.engines import kept_export
from mrcnn.detect.exported import Exported
from mrcnn.detect.files import Detector
from mrcnn.devices import quiet_tensorflow, start
from mrcnn.errors import UsageError
from mrcnn.weights.inspection import WeightsInfo

if TYPE_CHECKING:
    from mrcnn.model import MaskRCNN


def weights_and_config(
    args: argparse.Namespace,
) -> tuple[Path | None, WeightsInfo | None, Config]:
    """What --weights, --config, --set and --min-confidence say; imports no TensorFlow.

    Returns the weight file and what is in it, None for synthetic weights, which TensorFlow makes,
    and the Config. Raises UsageError, WeightsError, ConfigError or DownloadError.
    """
    if args.weights == synthetic.NAME:
        if args.config:
            raise UsageError("--weights synthetic has its own Config: leave --config out.")
        path, info, config = None, None, synthetic.SyntheticConfig()
    else:
        path = find_weights(args.weights, args.logs, (synthetic.NAME,))
        info = card.inspect(path)
        config = load_config(args.config) if args.config else config_from_weights(info)
    given = [apply_setting(config, setting) for setting in args.settings]
    if args.min_confidence is not None:
        config.DETECTION_MIN_CONFIDENCE = args.min_confidence
        given = ["DETECTION_MIN_CONFIDENCE"]
    one_for_all(config, given)
    return path, info, config


def weights_and_names(args: argparse.Namespace) -> tuple[Path | None, Config, list[str]]:
    """What `weights_and_config` gives, checked against each other, and the names of the classes.

    Raises UsageError, WeightsError, ConfigError or DownloadError.
    """
    made_up = args.weights == synthetic.NAME
    path, info, config = weights_and_config(args)
    if info:
        check_fits(config, info)
    config.validate("inference")
    told = info.class_names if info else synthetic.CLASS_NAMES
    names = class_names(args.classes, config.NUM_CLASSES, args.weights, told)
    if made_up and args.classes:  # whatever they are called, they are not that
        names = ["BG", *(f"synthetic {name}" for name in names[1:])]
    return path, config, names


def load_detector(
    config: Config,
    weights: Path,
    folder: Path,
    say: Callable[[str], None],
    engine: str = "tensorflow",
    threads: int = 0,
) -> Detector:
    """What detects in one picture: the network, or an exported file of it.

    engine: "tensorflow", or a format that the weights are exported to the first time and taken
        from then on. An exported file as weights has its own. Raises UsageError.
    """
    model: MaskRCNN | Exported
    if engine != "tensorflow" and format_of(weights):
        raise UsageError(f"{weights} is exported already and has its runtime: leave --engine out.")
    if engine != "tensorflow":
        weights = kept_export(weights, config, engine, lambda: _convert(config, weights, say), say)
    if format_of(weights):
        model = Exported(weights, config, threads)
        say(f"Runtime: {model.runtime}")
    else:
        model = load_model(config, weights, folder, say)
    return lambda picture: model.detect([picture])[0]


def _convert(config: Config, weights: Path, say: Callable[[str], None]) -> Callable:
    """f(format, folder) that exports weights; TensorFlow comes up here."""
    model = load_model(config, weights, weights.parent, say)
    from mrcnn.export.export import export

    return lambda to, folder: export(model, to, folder, weights=weights, say=say)


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
