"""Where a run writes, what it left behind, and how the next one goes on from there.

logs/cells20261123T0308/mask_rcnn_cells_0001.h5      after the first epoch, and so on
logs/cells20261123T0308/optimizer_0001.npz           beside the newest: momentum, step, seed
logs/cells20261123T0308/mask_rcnn_cells_interrupted.h5    when a run was stopped by hand
"""

import datetime
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mrcnn.config import Config
from mrcnn.whole import whole

if TYPE_CHECKING:
    import keras

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


def newest(logs: str | os.PathLike) -> Path | None:
    """The checkpoint under a folder of logs that was written last, of a run of any NAME."""
    files = Path(logs).expanduser().glob("*/mask_rcnn*.h5")
    found = [path for path in files if re.fullmatch(r".*\d{8}T\d{4}", path.parent.name)]
    # A copied folder may have given all its files one time; then the later run and epoch it is.
    return max(
        found,
        key=lambda path: (path.stat().st_mtime, path.parent.name[-13:], path.name),
        default=None,
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
    and sampling. learning_rate: what the call was given. trainable: `stable_names` of the weights
    that were trained. variables: the optimiser's, as `kept_variables` orders them.
    """

    epoch: int
    first_epoch: int
    last_epoch: int
    seed: int
    learning_rate: float
    trainable: list[str]
    variables: list[np.ndarray]

    def save(self, folder: str) -> None:
        """Write beside the checkpoint of this epoch, whole or not at all."""
        path = _state_path(folder, self.epoch)
        with whole(path, lasting=True) as unfinished, unfinished.open("wb") as file:
            np.savez(
                file,
                numbers=[self.epoch, self.first_epoch, self.last_epoch, self.seed],
                learning_rate=self.learning_rate,
                trainable=np.array(self.trainable),
                **{f"variable_{i:04d}": x for i, x in enumerate(self.variables)},
            )

    @staticmethod
    def load(folder: str, epoch: int) -> "TrainingState | None":
        """The state that was saved after that epoch; None where there is none."""
        path = _state_path(folder, epoch)
        if not os.path.isfile(path):
            return None
        with np.load(path, allow_pickle=False) as file:
            names = sorted(name for name in file.files if name.startswith("variable_"))
            return TrainingState(
                *[int(x) for x in file["numbers"]],
                float(file["learning_rate"]),
                file["trainable"].tolist(),
                [file[name] for name in names],
            )

    def fits(
        self, model: "keras.Model", learning_rate: float, last_epoch: int, steady: bool
    ) -> bool:
        """Whether a `train()` call goes on with what this state belongs to.

        That is so for the same call once more after it was cut short, and, at a steady rate, for
        a call that only asks for more epochs. A stage of other layers, or a finished one at
        another rate, has an optimiser of its own.
        """
        cut_short = self.epoch < self.last_epoch == last_epoch
        prolonged = steady and self.learning_rate == learning_rate
        same_layers = self.trainable == stable_names(model.trainable_weights)
        return same_layers and (cut_short or prolonged)

    def restore(self, optimizer: "keras.optimizers.Optimizer") -> None:
        """Put the values back into a built optimiser.

        Raises ValueError for an optimiser of another kind.
        """
        variables = kept_variables(optimizer)
        if [tuple(v.shape) for v in variables] != [x.shape for x in self.variables]:
            raise ValueError(
                f"optimizer_{self.epoch:04d}.npz, beside the checkpoint, is of other settings: set "
                "MIXED_PRECISION as it was, or delete the file to go on with a new momentum."
            )
        for variable, value in zip(variables, self.variables):
            variable.assign(value)


def kept_variables(optimizer: "keras.optimizers.Optimizer") -> "list[keras.Variable]":
    """An optimiser's variables without its learning rate, which each `train()` call gives anew."""
    return [v for v in optimizer.variables if v.name != "learning_rate"]


def stable_names(variables: "Iterable[keras.Variable]") -> list[str]:
    """layer/weight of each variable.

    A wrapper's path has its inner layer in the middle, whose name Keras counts up with every model
    of a process: "mrcnn_class_conv1/conv2d_28/kernel".
    """
    parts = [variable.path.split("/") for variable in variables]
    return [f"{path[0]}/{path[-1]}" for path in parts]


def remove_states(folder: str, keep: set[int]) -> None:
    """Delete the states of all epochs but some."""
    for name in os.listdir(folder):
        match = re.fullmatch(r"optimizer_(\d{4})\.npz", name)
        if match and int(match.group(1)) not in keep:
            os.remove(os.path.join(folder, name))


def _state_path(folder: str, epoch: int) -> str:
    return os.path.join(folder, f"optimizer_{epoch:04d}.npz")
