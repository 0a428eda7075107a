"""Where a run writes, what it left behind, and how the next one goes on from there.

logs/cells20261123T0308/mask_rcnn_cells_0001.h5      after the first epoch, and so on
logs/cells20261123T0308/optimizer_0001.npz           beside the newest: momentum, step, seed
logs/cells20261123T0308/mask_rcnn_cells_interrupted.h5    when a run was stopped by hand
logs/cells20261123T0308/mask_rcnn_cells_best.h5      a second name of the best one; KEEP_BEST
logs/cells20261123T0308/history.csv                  a row an epoch; whoever makes it has the folder
"""

import contextlib
import csv
import datetime
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mrcnn.config import Config
from mrcnn.errors import UsageError
from mrcnn.weights.errors import WeightsError
from mrcnn.weights.files import open_weights
from mrcnn.whole import whole

if TYPE_CHECKING:
    import keras

INTERRUPTED, BEST = "interrupted", "best"
HISTORY = "history.csv"


def run_name(config: Config) -> str:
    """What the folders and checkpoints of this config are named after."""
    return str(config.NAME or "unnamed").lower()


@dataclass
class LogDir:
    """A run's folder, the pattern of its checkpoints, and the epoch that it has reached.

    begun: the folder is this run's already; else it takes one when it begins to train.
    saved: the checkpoint that holds the weights as they are, between epochs; "" for none.
    """

    folder: str
    checkpoint: str  # holds {epoch:04d}
    epoch: int
    begun: bool = False
    saved: str = ""

    @property
    def weights(self) -> str:
        """The folder of the checkpoints: the run's, unless a script has set another."""
        return os.path.dirname(self.checkpoint)

    def path(self, epoch: int | str) -> str:
        """The checkpoint after an epoch, or of another ending."""

        def number(match: re.Match[str]) -> str:
            return epoch if isinstance(epoch, str) else format(epoch, match[1] or "")

        return re.sub(r"\{epoch:?([^}]*)\}", number, self.checkpoint)


def log_dir(model_dir: str, config: Config, path: str | os.PathLike | None = None) -> LogDir:
    """The folder of a new run, or of the run whose checkpoint `path` is.

    Any other path, an ImageNet file for one, begins a new run, named by the time.
    """
    name = run_name(config)
    match = re.search(
        rf"[/\\][^/\\]+?(\d{{8}}T\d{{4}})[/\\]mask_rcnn_[^/\\]+?_(\d{{4}}|{INTERRUPTED})\.h5$",
        os.path.abspath(path) if path else "",
    )
    started = match[1] if match else f"{datetime.datetime.now():%Y%m%dT%H%M}"
    folder = os.path.join(model_dir, f"{name}{started}")
    # Weights of another task say where to count on from, but its folder is not this run's.
    begun = bool(match) and os.path.isfile(os.path.join(folder, os.path.basename(path)))
    return LogDir(
        folder,
        os.path.join(folder, f"mask_rcnn_{name}_{{epoch:04d}}.h5"),
        epoch=reached(path) if match else 0,
        begun=begun,
    )


def reached(path: str | os.PathLike) -> int:
    """The last epoch that its run had finished when a checkpoint was written."""
    number = re.search(r"_(\d{4})\.h5$", os.fspath(path))
    if number:
        return int(number[1])
    with contextlib.suppress(WeightsError, OSError), open_weights(path) as file:
        if isinstance(epoch := file.description.get("epoch"), int):
            return epoch
    # Files of older versions don't say.
    folder = os.path.dirname(path)
    known = [*numbered(folder)]
    with contextlib.suppress(UsageError, OSError):
        known += [int(row["epoch"]) for row in read_history(os.path.join(folder, HISTORY))]
    return max(known, default=0)


def find_last(model_dir: str, config: Config) -> str:
    """The last checkpoint of the newest run of this config that has one.

    Raises FileNotFoundError where there is no such run, or no run has a checkpoint.
    """
    name = run_name(config)
    pattern = re.compile(re.escape(name) + r"\d{8}T\d{4}")
    runs = [folder for folder in reversed(_names(model_dir)) if pattern.match(folder)]
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
    in_turn = re.compile(rf".*_(\d{{4}}|{INTERRUPTED})\.h5")
    found = [path for path in found if in_turn.fullmatch(path.name)] or found
    # A copied folder may have given all its files one time; then the later run and epoch it is.
    return max(
        found,
        key=lambda path: (path.stat().st_mtime, path.parent.name[-13:], path.name),
        default=None,
    )


def checkpoints(folder: str) -> list[str]:
    """Paths of a run's checkpoints, by the epochs that they have reached, the furthest last."""
    found = [n for n in _names(folder) if n.startswith("mask_rcnn") and n.endswith(".h5")]

    def place(name: str) -> tuple[int, bool]:
        interrupted = name.endswith(f"{INTERRUPTED}.h5")
        ours = interrupted or re.search(r"_\d{4}\.h5$", name)
        return (reached(os.path.join(folder, name)) if ours else -1), interrupted

    return [os.path.join(folder, name) for name in sorted(found, key=place)]


def numbered(folder: str) -> dict[int, str]:
    """Paths of the checkpoints that a run wrote after an epoch, by its number, ascending."""
    matches = [(re.fullmatch(r"mask_rcnn.*_(\d{4})\.h5", name), name) for name in _names(folder)]
    return {int(match[1]): os.path.join(folder, name) for match, name in matches if match}


def read_history(path: str | os.PathLike) -> list[dict[str, str]]:
    """The rows of a run's history.csv; none where there is no such file.

    Raises UsageError where it is no such table any more.
    """
    if not os.path.isfile(path):
        return []
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            int(row["epoch"])
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UsageError(
            f"{path} is no table with a column `epoch` any more, as a run writes it: move it "
            "elsewhere, and a new one is begun."
        ) from error
    return rows


def save_checkpoint(model: "keras.Model", path: str, epoch: int) -> None:
    """Write a model's weights, and with them the last epoch that was finished."""
    description = getattr(model, "description", None) or {}
    model.description = {**description, "epoch": epoch}
    try:
        model.save_weights(path)
    finally:
        model.description = description


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
        size = sum(array.nbytes for array in self.variables)
        with whole(path, lasting=True, size=size) as unfinished, unfinished.open("wb") as file:
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
    for name in _names(folder):
        match = re.fullmatch(r"optimizer_(\d{4})\.npz", name)
        if match and int(match[1]) not in keep:
            remove(os.path.join(folder, name))


def remove(path: str) -> None:
    """Delete a file that isn't needed any more, if that can be; it is no reason to stop."""
    with contextlib.suppress(OSError):
        os.remove(path)


def _names(folder: str) -> list[str]:
    """What is in a folder, sorted; nothing where there is none, or none any more."""
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _state_path(folder: str, epoch: int) -> str:
    return os.path.join(folder, f"optimizer_{epoch:04d}.npz")
