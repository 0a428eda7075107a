"""One call of `train()`: data checked, state restored, batches fed, epochs logged."""

import functools
import importlib.util
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Collection
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mrcnn.config import Config
from mrcnn.data.check import check_for_training
from mrcnn.data.dataset import Dataset
from mrcnn.data.generator import DataGenerator
from mrcnn.train.callbacks import (
    Checkpoint,
    Reseed,
    StopWhenDiverged,
    watched_loss,
)
from mrcnn.train.checkpoints import HISTORY, LogDir, TrainingState, kept_variables
from mrcnn.train.feed import streams
from mrcnn.train.history import CsvLog
from mrcnn.train.keras_model import TrainingModel
from mrcnn.train.optimiser import schedule
from mrcnn.train.stopping import stoppable
from mrcnn.train.tensorboard import TensorBoardCurves
from mrcnn.train.validation import KeepBest, ValidationAP
from mrcnn.train.watching import Curves, Watch
from mrcnn.weights.layout import warn_of_random_layers
from mrcnn.whole import megabytes
from mrcnn.words import log as write_line

logger = logging.getLogger(__name__)


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
    """Train up to epoch number `epochs`, going on after `log.epoch`, which follows.

    train_dataset, val_dataset: checked. log: as `mrcnn.train.folders.begun` gives it.
    compile_model: compiles the model for a learning rate. measure: validation AP for the logs.
    """
    strategy = model.distribute_strategy
    write_line(f"\nStarting at epoch {log.epoch}. LR={learning_rate}\n")
    write_line(f"Checkpoint Path: {log.checkpoint}")
    warn_of_random_layers(model)
    steady = config.LEARNING_RATE_SCHEDULE == "constant"
    state = TrainingState.load(log.weights, log.epoch)
    if state is not None and not state.fits(model, learning_rate, epochs, steady):
        state = None
    first_epoch = state.first_epoch if state else log.epoch
    seed = state.seed if state else _seed(config)
    with strategy.scope():
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
        multiple=strategy.num_replicas_in_sync,
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
            multiple=strategy.num_replicas_in_sync,
        )
        generators.append(val_generator)
    numbers = {
        "first_epoch": first_epoch,
        "last_epoch": epochs,
        "seed": seed,
        "learning_rate": float(learning_rate),
    }
    callbacks = [Reseed(seed), StopWhenDiverged(train_dataset, log.weights)]
    callbacks += _writers(model, config, log, numbers, generators, measure, val_dataset)
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
            verbose=0,  # `Watch` tells it
        )
    return history


def _writers(
    model: TrainingModel,
    config: Config,
    log: LogDir,
    numbers: dict[str, Any],
    generators: list[DataGenerator],
    measure: Callable[[], dict[str, float]] | None,
    val_dataset: Dataset | None,
) -> list[keras.callbacks.Callback]:
    """The callbacks that measure how good it is, keep what came of it, and tell a person."""
    callbacks = []
    every, share = config.VALIDATION_AP_EVERY, config.VALIDATION_AP_SHARE
    if measure and val_dataset is not None and (every or share):
        pictures = val_dataset.num_images
        callbacks.append(ValidationAP(measure, every, share, pictures, config.BATCH_SIZE))
    table = CsvLog(os.path.join(log.folder, HISTORY), log.epoch)
    best = min(map(watched_loss, table.rows), default=np.inf)
    keep, best_only = config.KEEP_CHECKPOINTS, config.SAVE_BEST_ONLY
    callbacks += [table, Checkpoint(log, numbers, keep, best_only, best)]
    callbacks += [KeepBest(log, table.rows)] if config.KEEP_BEST else []
    steps = [len(generator) for generator in generators]
    callbacks += [Curves(log.folder), Watch(log.folder, *steps), *_tensorboard(log.folder)]
    epochs = numbers["last_epoch"] - log.epoch
    _say_if_short_of_room(log, model, 1 if best_only else keep or epochs)
    return callbacks


def check(train_dataset: Dataset, val_dataset: Dataset | None, config: Config) -> None:
    """Look for mistakes in the data: in all of it, or in what can be read in some 20 seconds.

    Raises DatasetError where there are any, naming the pictures; RuntimeError where TensorFlow
    can't train.
    """
    if not tf.executing_eagerly():
        raise RuntimeError(
            "train() was called inside a graph or a session of TensorFlow 1: take it out of "
            "the `with graph.as_default():` or `with session.as_default():` around it."
        )
    for line in check_for_training(train_dataset, val_dataset, config):
        print(line)


def _seed(config: Config) -> int:
    return int(np.random.randint(2**31)) if config.SEED is None else int(config.SEED)


def _say_if_short_of_room(log: LogDir, model: TrainingModel, count: int) -> None:
    """Warn where the disk can't hold so many checkpoints more."""
    weights = sum(np.prod(v.shape) * 4.0 for v in model.variables)
    state = sum(np.prod(v.shape) * 4.0 for v in kept_variables(model.optimizer))
    needed = (count + 1) * weights + 2 * state  # the newest ones are written beside those before
    try:
        free = shutil.disk_usage(log.weights).free
    except OSError:  # a file system that doesn't tell
        return
    if free < needed:
        warnings.warn(
            f"{log.weights} has room for {megabytes(free)}, and this training's checkpoints take "
            f"{megabytes(needed)} ({megabytes(weights)} each): make room, or keep fewer with "
            "KEEP_CHECKPOINTS. Where the disk is full, training stops.",
            stacklevel=2,
        )


def _tensorboard(folder: str) -> list[keras.callbacks.Callback]:
    if importlib.util.find_spec("tensorboard"):
        return [TensorBoardCurves(log_dir=folder)]
    _log_once("TensorBoard isn't installed: no curves for it (pip install tensorboard).")
    return []


@functools.cache
def _log_once(text: str) -> None:
    logger.warning(text)
