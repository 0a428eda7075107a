"""Training: which layers, which optimiser, which callbacks, and how a run is begun and ended."""

import contextlib
import csv
import functools
import importlib.util
import logging
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Collection, Iterator
from typing import Any

import keras
import numpy as np

from mrcnn.config import Config
from mrcnn.data.check import check_dataset
from mrcnn.data.dataset import Dataset
from mrcnn.data.generator import DataGenerator
from mrcnn.run.callbacks import (
    Checkpoint,
    Reseed,
    StopWhenDiverged,
    ValidationAP,
    watched_loss,
)
from mrcnn.run.checkpoints import INTERRUPTED, LogDir, TrainingState
from mrcnn.run.feed import streams
from mrcnn.run.keras_model import TrainingModel

logger = logging.getLogger(__name__)

_HEADS = r"(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)"
LAYERS = {
    "heads": _HEADS,
    "3+": rf"(res3.*)|(bn3.*)|(res4.*)|(bn4.*)|(res5.*)|(bn5.*)|{_HEADS}",
    "4+": rf"(res4.*)|(bn4.*)|(res5.*)|(bn5.*)|{_HEADS}",
    "5+": rf"(res5.*)|(bn5.*)|{_HEADS}",
    "all": ".*",
}


def set_trainable(model: keras.Model, layer_regex: str) -> list[keras.layers.Layer]:
    """Let the layers train whose whole name matches, freeze the others; returns the former.

    Nested models are gone into; their layers count by their own names.
    Raises ValueError where the expression is none, or matches no layer that owns weights.
    """
    try:
        pattern = re.compile(layer_regex)
    except re.error as error:
        raise ValueError(f"layers is {layer_regex!r}, no regular expression: {error}.") from None
    trained = _set_trainable(model, pattern)
    if not trained:
        raise ValueError(
            f"layers is {layer_regex!r}, which matches no layer: give one of "
            f"{', '.join(LAYERS)}, or a regular expression that matches whole layer names."
        )
    return trained


def _set_trainable(model: keras.Model, pattern: re.Pattern) -> list[keras.layers.Layer]:
    trained = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            trained += _set_trainable(layer, pattern)
        elif layer.weights:
            layer.trainable = bool(pattern.fullmatch(layer.name))
            trained += [layer] if layer.trainable else []
    return trained


def make_optimizer(
    config: Config, learning_rate: Any, momentum: float
) -> keras.optimizers.Optimizer:
    """SGD with momentum and a bound on the global norm of the gradients.

    NOTE: the original asked Keras 2.0 for `clipnorm`, which bounded the global norm then; under
    that name TensorFlow 2 bounds each tensor alone.
    """
    steps = config.ACCUMULATE_GRADIENTS
    return keras.optimizers.SGD(
        learning_rate=learning_rate,
        momentum=momentum,
        global_clipnorm=config.GRADIENT_CLIP_NORM or None,
        gradient_accumulation_steps=steps if steps > 1 else None,
    )


def schedule(config: Config, learning_rate: float, epochs: int) -> Any:
    """The learning rate over so many epochs, as the config has it: a number or a Keras schedule."""
    total, warmup = epochs * config.STEPS_PER_EPOCH, config.WARMUP_STEPS
    if config.LEARNING_RATE_SCHEDULE == "constant" and not warmup:
        return learning_rate
    return WarmedUp(learning_rate, total, warmup, config.LEARNING_RATE_SCHEDULE)


@keras.saving.register_keras_serializable(package="mrcnn")
class WarmedUp(keras.optimizers.schedules.LearningRateSchedule):
    """A line up over `warmup` steps, then constant, a cosine down to 0, or two drops to a tenth."""

    def __init__(self, peak: float, total: int, warmup: int, shape: str) -> None:
        self.peak, self.total, self.warmup, self.shape = peak, total, warmup, shape

    def __call__(self, step: Any) -> Any:
        ops = keras.ops
        step = ops.cast(step, "float32")
        progress = ops.clip((step - self.warmup) / max(self.total - self.warmup, 1), 0.0, 1.0)
        factor = ops.ones_like(progress)
        if self.shape == "cosine":
            factor = 0.5 * (1 + ops.cos(np.pi * progress))
        elif self.shape == "step":
            late, last = ops.cast(progress >= 2 / 3, "float32"), progress >= 8 / 9
            factor = 0.1 ** (late + ops.cast(last, "float32"))
        rise = ops.minimum((step + 1) / max(self.warmup, 1), 1.0)
        return self.peak * rise * factor

    def get_config(self) -> dict[str, Any]:
        return {
            "peak": self.peak,
            "total": self.total,
            "warmup": self.warmup,
            "shape": self.shape,
        }


def fit(
    model: TrainingModel,
    config: Config,
    log: LogDir,
    compile_model: Callable[[Any], None],
    train_dataset: Dataset,
    val_dataset: Dataset | None,
    learning_rate: float,
    epochs: int,
    augmentation: Any = None,
    custom_callbacks: Collection[keras.callbacks.Callback] | None = None,
    no_augmentation_sources: Collection[str] | None = None,
    measure: Callable[[], dict[str, float]] | None = None,
) -> keras.callbacks.History:
    """Train up to epoch number `epochs`, going on after `log.epoch`.

    compile_model: compiles the model for a learning rate. measure: validation AP for the logs.
    Raises DatasetError before anything is written where a dataset has mistakes.
    """
    check(train_dataset, val_dataset, config)
    os.makedirs(log.folder, exist_ok=True)
    steady = config.LEARNING_RATE_SCHEDULE == "constant"
    state = TrainingState.load(log.folder, log.epoch)
    if state is not None and not state.fits(model, learning_rate, epochs, steady):
        state = None
    first_epoch = state.first_epoch if state else log.epoch
    seed = state.seed if state else _seed(config)
    compile_model(schedule(config, learning_rate, epochs - first_epoch))
    model.optimizer.build(model.trainable_variables)
    if state:
        state.restore(model.optimizer)

    made_up_rois = 0 if config.USE_RPN_ROIS else config.POST_NMS_ROIS_TRAINING
    train_generator = DataGenerator(
        train_dataset,
        config,
        augmentation=augmentation,
        random_rois=made_up_rois,
        no_augmentation_sources=no_augmentation_sources,
        steps=config.STEPS_PER_EPOCH,
        epoch=log.epoch,
        seed=seed,
    )
    generators = [train_generator]
    if val_dataset is not None and config.VALIDATION_STEPS:
        val_generator = DataGenerator(
            val_dataset,
            config,
            random_rois=made_up_rois,
            steps=config.VALIDATION_STEPS,
            same_every_epoch=True,
            seed=seed,
        )
        generators.append(val_generator)
    numbers = {
        "first_epoch": first_epoch,
        "last_epoch": epochs,
        "seed": seed,
        "learning_rate": float(learning_rate),
    }
    callbacks = [Reseed(seed), StopWhenDiverged(train_dataset, log.folder)]
    if config.VALIDATION_AP_EVERY and measure:
        callbacks.append(ValidationAP(config.VALIDATION_AP_EVERY, measure))
    history_path = os.path.join(log.folder, "history.csv")
    earlier = [row for row in read_history(history_path) if int(row["epoch"]) <= log.epoch]
    best = min(map(watched_loss, earlier), default=np.inf)
    callbacks.append(
        Checkpoint(log.checkpoint, numbers, config.KEEP_CHECKPOINTS, config.SAVE_BEST_ONLY, best)
    )
    callbacks += _loggers(log.folder, log.epoch)
    if config.EARLY_STOPPING_PATIENCE:
        watched = "val_loss" if len(generators) > 1 else "loss"
        callbacks.append(
            keras.callbacks.EarlyStopping(watched, patience=config.EARLY_STOPPING_PATIENCE)
        )
    with (
        streams(generators, config.WORKERS) as (batches, *val_batches),
        stoppable(model, log),
        warnings.catch_warnings(),
    ):
        # Keras says so of every stream that it validates on.
        warnings.filterwarnings("ignore", message="`shuffle=True` was passed")
        history = model.fit(
            batches,
            steps_per_epoch=len(train_generator),
            shuffle=False,  # the generator has done it
            initial_epoch=log.epoch,
            epochs=epochs,
            validation_data=val_batches[0] if val_batches else None,
            validation_steps=len(val_generator) if val_batches else None,
            callbacks=[*callbacks, *(custom_callbacks or [])],
            verbose=1 if sys.stdout.isatty() or "ipykernel" in sys.modules else 2,
        )
    plot_curves(log.folder)
    return history


def check(train_dataset: Dataset, val_dataset: Dataset | None, config: Config) -> None:
    """Look for mistakes in the data: in all of it, or in what can be read in some 20 seconds.

    Raises DatasetError where there are any, naming the pictures.
    """
    for what, dataset, seconds in (
        ("The training data", train_dataset, 15),
        ("The validation data", val_dataset, 5),
    ):
        if dataset is not None:
            report = check_dataset(dataset, config, seconds=seconds)
            report.refuse_mistakes(what)
            print(f"{what}: {report}")


def _seed(config: Config) -> int:
    return int(np.random.randint(2**31)) if config.SEED is None else int(config.SEED)


def _loggers(folder: str, epoch: int) -> list[keras.callbacks.Callback]:
    loggers = [CsvLog(os.path.join(folder, "history.csv"), epoch)]
    if importlib.util.find_spec("tensorboard"):
        loggers.append(keras.callbacks.TensorBoard(log_dir=folder))
    else:
        _log_once("TensorBoard isn't installed: no curves for it (pip install tensorboard).")
    return loggers


@functools.cache
def _log_once(text: str) -> None:
    logger.warning(text)


class CsvLog(keras.callbacks.Callback):
    """One row an epoch: its number and every number of the logs; a resumed run adds rows.

    Columns may come and go (validation AP isn't measured in each epoch), so the file is written
    anew each time.
    """

    def __init__(self, path: str, epoch: int) -> None:
        super().__init__()
        self.path = path
        self.rows = [row for row in read_history(path) if int(row["epoch"]) <= epoch]

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.rows.append({"epoch": epoch + 1, **(logs or {})})
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        with open(f"{self.path}.part", "w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self.rows)
        os.replace(f"{self.path}.part", self.path)


def read_history(path: str) -> list[dict[str, str]]:
    """The rows of a run's history.csv; none where there is no such file."""
    if not os.path.isfile(path):
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@contextlib.contextmanager
def stoppable(model: TrainingModel, log: LogDir) -> Iterator[None]:
    """Ctrl-C or SIGTERM: save what there is, say how to go on, and pass the stop on."""
    main = threading.current_thread() is threading.main_thread()

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt) if main else None
    try:
        yield
    except KeyboardInterrupt:
        path = re.sub(r"\{epoch:04d\}", INTERRUPTED, log.checkpoint)
        model.save_weights(path)
        print(
            f"\nStopped. The weights as they are stand in {path}. To go on: "
            "model.load_weights(model.find_last()), then the same train() call."
        )
        raise
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)


def plot_curves(folder: str) -> None:
    """Draw a run's history.csv as curves.png beside it: each loss, and the AP where measured."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    rows = read_history(os.path.join(folder, "history.csv"))
    if not rows:
        return
    columns = dict.fromkeys(name.removeprefix("val_") for row in rows for name in row)
    names = [name for name in columns if name not in ("epoch", "learning_rate")]
    figure = matplotlib.figure.Figure(figsize=(12, 3 * -(-len(names) // 3)), layout="constrained")
    FigureCanvasAgg(figure)
    for i, name in enumerate(names):
        ax = figure.add_subplot(-(-len(names) // 3), 3, i + 1, title=name)
        for column, label in ((name, "training"), (f"val_{name}", "validation")):
            points = [(int(r["epoch"]), float(r[column])) for r in rows if r.get(column)]
            if points:
                ax.plot(*zip(*points), marker=".", label=label)
        ax.set_xlabel("epoch")
        ax.grid(alpha=0.3)
        ax.legend()
    figure.savefig(os.path.join(folder, "curves.png"), dpi=90)
