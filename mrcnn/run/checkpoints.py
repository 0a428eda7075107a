"""Where a run writes, what it left behind, and how the next one goes on from there.

logs/cells20261123T0308/mask_rcnn_cells_0001.h5      after the first epoch, and so on
logs/cells20261123T0308/optimizer_0001.npz           beside the newest: momentum, step, seed
logs/cells20261123T0308/mask_rcnn_cells_interrupted.h5    when a run was stopped by hand
"""

import datetime
import os
import re
from dataclasses import dataclass

import keras
import numpy as np

from mrcnn.config import Config

INTERRUPTED = "interrupted"


def run_name(config: Config) -> str:
    """What the folders and checkpoints of this config are named after."""
    return str(config.NAME or "unnamed").lower()


@dataclass
class LogDir:
    """A run's folder, the pattern of its checkpoints, and the epoch that it has reached."""

    folder: str
    checkpoint: str  # holds {epoch:04d}
    epoch: int


def log_dir(model_dir: str, config: Config, path: str | os.PathLike | None = None) -> LogDir:
    """The folder of a new run, or of the run whose checkpoint `path` is.

    Any other path, an ImageNet file for one, begins a new run, named by the time.
    """
    name = run_name(config)
    started, epoch = datetime.datetime.now(), 0
    match = re.search(
        rf"[/\\][^/\\]+?(\d{{8}}T\d{{4}})[/\\]mask_rcnn_[^/\\]+?_(\d{{4}}|{INTERRUPTED})\.h5$",
        os.path.abspath(path) if path else "",
    )
    if match:
        started = datetime.datetime.strptime(match.group(1), "%Y%m%dT%H%M")
        epoch = _reached(os.fspath(path), match.group(2))
    folder = os.path.join(model_dir, f"{name}{started:%Y%m%dT%H%M}")
    return LogDir(folder, os.path.join(folder, f"mask_rcnn_{name}_{{epoch:04d}}.h5"), epoch)


def _reached(path: str, number: str) -> int:
    if number != INTERRUPTED:
        return int(number)
    folder = os.path.dirname(path)
    numbers = [re.search(r"_(\d{4})\.(h5|npz)$", name) for name in os.listdir(folder)]
    return max((int(match.group(1)) for match in numbers if match), default=0)


def find_last(model_dir: str, config: Config) -> str:
    """The last checkpoint of the newest run of this config that has one.

    Raises FileNotFoundError where there is no such run, or no run has a checkpoint.
    """
    name = run_name(config)
    pattern = re.compile(re.escape(name) + r"\d{8}T\d{4}")
    folders = os.listdir(model_dir) if os.path.isdir(model_dir) else []
    runs = sorted((folder for folder in folders if pattern.match(folder)), reverse=True)
    for run in runs:
        found = checkpoints(os.path.join(model_dir, run))
        if found:
            return found[-1]
    what = "has no checkpoint yet" if runs else f"holds no run named {name}<date>"
    raise FileNotFoundError(
        f"Could not find weight files under {model_dir}: it {what}. Train first, or give the path "
        "of a weight file to load_weights()."
    )


def checkpoints(folder: str) -> list[str]:
    """Paths of a run's checkpoints, oldest first; an interrupted one comes last."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return [
        os.path.join(folder, name)
        for name in sorted(names)
        if name.startswith("mask_rcnn") and name.endswith(".h5")
    ]


@dataclass
class TrainingState:
    """What a checkpoint doesn't hold and an exact resumption needs.

    epoch: finished epochs. first_epoch, last_epoch: of the `train()` call. seed: of its shuffling
    and sampling. variables: the optimiser's, in its order.
    """

    epoch: int
    first_epoch: int
    last_epoch: int
    seed: int
    trainable: list[str]
    variables: list[np.ndarray]

    def save(self, folder: str) -> None:
        """Write beside the checkpoint of this epoch, and remove the states of older ones."""
        path = os.path.join(folder, f"optimizer_{self.epoch:04d}.npz")
        partial = f"{path}.part"
        with open(partial, "wb") as file:
            np.savez(
                file,
                numbers=[self.epoch, self.first_epoch, self.last_epoch, self.seed],
                trainable=np.array(self.trainable),
                **{f"variable_{i:04d}": x for i, x in enumerate(self.variables)},
            )
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        for name in os.listdir(folder):
            if re.fullmatch(r"optimizer_\d{4}\.npz", name) and name != os.path.basename(path):
                os.remove(os.path.join(folder, name))

    @staticmethod
    def load(folder: str, epoch: int) -> "TrainingState | None":
        """The state that was saved after that epoch; None where there is none."""
        path = os.path.join(folder, f"optimizer_{epoch:04d}.npz")
        if not os.path.isfile(path):
            return None
        with np.load(path, allow_pickle=False) as file:
            names = sorted(name for name in file.files if name.startswith("variable_"))
            numbers = [int(x) for x in file["numbers"]]
            return TrainingState(
                *numbers, file["trainable"].tolist(), [file[name] for name in names]
            )

    def fits(self, model: keras.Model, last_epoch: int) -> bool:
        """Whether a `train()` call would go on with what this state belongs to.

        A stage that was finished, or that trained other layers, had an optimiser of its own.
        """
        unfinished = self.epoch < self.last_epoch == last_epoch
        return unfinished and self.trainable == [w.path for w in model.trainable_weights]

    def restore(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Put the values back into a built optimiser."""
        for variable, value in zip(optimizer.variables, self.variables, strict=True):
            variable.assign(value)
