"""The weight file that somebody means, by a path or by a word: nucleus, coco, last, best."""

import os
from pathlib import Path

from mrcnn.errors import UsageError
from mrcnn.train.checkpoints import BEST, newest
from mrcnn.weights.download import weights_path

OF_RUNS = ("last", BEST)


def find_weights(name: str | os.PathLike, logs: str | os.PathLike) -> Path:
    """The path of the file, fetched if need be.

    name: as `mrcnn.weights.download.weights_path` takes it; or "last", the checkpoint under `logs`
        that was written last, of a run of any NAME; or "best", the best one of that run.
    Raises UsageError where there is none, WeightsError or DownloadError for other names.
    """
    if name not in OF_RUNS:
        return Path(weights_path(name))
    last = newest(logs)
    if last is None:
        raise UsageError(
            f"--weights {name}: no run under {logs} has a checkpoint. Give its --logs, or the path "
            "of a weight file."
        )
    return last if name == "last" else best_of(last.parent)


def best_of(folder: Path) -> Path:
    """The best checkpoint that a run has kept. Raises UsageError where it kept none."""
    found = sorted(folder.glob(f"mask_rcnn*_{BEST}.h5"))
    if not found:
        raise UsageError(
            f"--weights best: the run in {folder} keeps no best checkpoint. mrcnn train does, and "
            "a Config with KEEP_BEST = True; --weights last takes the newest."
        )
    return found[-1]
