"""The weight file that --weights means, where a network is only run.

find_weights("nucleus", "logs")
find_weights("last", "logs")        # the newest checkpoint of all runs
"""

import argparse
import re
from pathlib import Path

from mrcnn.cli.errors import UsageError
from mrcnn.weights.download import weights_path

_RUN = re.compile(r".*\d{8}T\d{4}")  # the folder of a run, whatever its NAME


def add_logs_argument(parser: argparse.ArgumentParser) -> None:
    """--logs, the same for every command that takes --weights last."""
    parser.add_argument(
        "--logs",
        default="logs",
        metavar="DIR",
        help="where --weights last looks for the newest checkpoint (default: ./logs)",
    )


def find_weights(name: str, logs: str) -> Path:
    """The path of the file; which one "last" is, is printed.

    name: as `mrcnn.weights.download.weights_path` takes it, or "last": the checkpoint under
        `logs` that was written last, of a run of any NAME.
    Raises UsageError where there is none, WeightsError or DownloadError for other names.
    """
    if name != "last":
        return Path(weights_path(name))
    files = Path(logs).expanduser().glob("*/mask_rcnn*.h5")
    found = [path for path in files if _RUN.fullmatch(path.parent.name)]
    if not found:
        raise UsageError(
            f"--weights last: no run under {logs} has a checkpoint. Give its --logs, or the path "
            "of a weight file."
        )
    # A copied folder may have given all its files one time; then the later run and epoch it is.
    last = max(found, key=lambda path: (path.stat().st_mtime, path.parent.name[-13:], path.name))
    print(f"Weights: {last}, the newest checkpoint under {logs}", flush=True)
    return last
