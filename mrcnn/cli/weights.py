"""The weight file that --weights means, where a network is only run."""

from pathlib import Path

from mrcnn.errors import UsageError
from mrcnn.train.checkpoints import newest
from mrcnn.weights.download import weights_path


def find_weights(name: str, logs: str) -> Path:
    """The path of the file; which one "last" is, is printed.

    name: as `mrcnn.weights.download.weights_path` takes it, or "last": the checkpoint under
        `logs` that was written last, of a run of any NAME.
    Raises UsageError where there is none, WeightsError or DownloadError for other names.
    """
    if name != "last":
        return Path(weights_path(name))
    last = newest(logs)
    if last is None:
        raise UsageError(
            f"--weights last: no run under {logs} has a checkpoint. Give its --logs, or the path "
            "of a weight file."
        )
    print(f"Weights: {last}, the newest checkpoint under {logs}", flush=True)
    return last
