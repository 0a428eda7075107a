"""Train on a folder of labelled pictures, whatever tool labelled them.

mrcnn train cells/                                   # all else is chosen, and said
mrcnn train cells/ --weights coco --epochs 40 --set IMAGES_PER_GPU=1
mrcnn train cells/ --weights last                    # go on with the newest run
mrcnn train cells/ --devices all                     # every GPU of this machine
mrcnn train annotations/train.json --val annotations/val.json --config cells.py:CellsConfig

Classes and Config go into every checkpoint: detecting with it needs nothing more.
"""

import argparse
import glob
import logging
import os
import shlex
from typing import Any

from mrcnn.cli.arguments import (
    add_config_arguments,
    add_data_arguments,
    add_picture_arguments,
    number,
    reading,
)
from mrcnn.cli.configs import apply_setting, load_config
from mrcnn.cli.weights import BEGIN, check_name
from mrcnn.data.augment import RECIPES
from mrcnn.data.check import DatasetError
from mrcnn.devices import quiet_tensorflow, start
from mrcnn.errors import UsageError
from mrcnn.progress import Progress, plain_warnings
from mrcnn.train import checkpoints
from mrcnn.train.plan import Plan, Wishes, make_plan
from mrcnn.train.plan_text import lines
from mrcnn.train.rows import load_for_classes
from mrcnn.weights.download import fetch
from mrcnn.words import counted

INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `mrcnn train`."""
    add_data_arguments(parser)
    add = parser.add_argument
    add("--val", metavar="DATA", help="pictures for validation, where DATA doesn't hold them")
    add(
        "--weights",
        metavar="W",
        help="what to begin with: start (a small network that comes with the package and knows "
        "what a thing is), nucleus (the same, trained on nuclei of cells), coco or "
        "imagenet (fetched once and kept), the path of an .h5 file, none (random weights), last "
        "(go on with the newest run), or best (a new run from its best checkpoint); default: coco "
        "where a GPU is, else start",
    )
    add(
        "--epochs",
        type=number(int, 1),
        metavar="N",
        help="the number of the last epoch; an epoch shows each picture once (default: what makes "
        "2000 steps, 1000 without a GPU, or 6000 for new weights, from 10 to 100)",
    )
    add(
        "--layers",
        default="all",
        metavar="L",
        help="which layers train: heads, 5+, 4+, 3+ (heads, and the backbone from that stage on), "
        "all (default), or a regular expression of whole layer names",
    )
    add(
        "--learning-rate",
        type=number(float, 0, open_below=True),
        metavar="X",
        help="the highest one, which comes after the warm-up (default: 0.001 to 0.02)",
    )
    add(
        "--augment",
        default="standard",
        choices=list(RECIPES),
        help="change pictures at random: flip mirrors them left to right; standard also zooms, "
        "moves and changes the light (default: standard)",
    )
    add("--seed", type=int, metavar="N", help="train the same way each time")
    add("--logs", default="logs", metavar="DIR", help="folder of all runs (default: ./logs)")
    add(
        "--devices",
        metavar="D",
        help="what shares each batch: all GPUs, a number of them, some of them (gpu:0,1), or cpu; "
        "each takes IMAGES_PER_GPU pictures (default: the first GPU, else the processor)",
    )
    add_picture_arguments(parser)
    add_config_arguments(parser, "a Config; what it sets is taken, the rest is chosen")
    add("--dry-run", action="store_true", help="check the data, say what would be done, and stop")


def run(args: argparse.Namespace) -> int:
    """Check, choose, say what was chosen, train.

    Returns 0, or 130 after Ctrl-C. Raises UsageError, FormatError, DatasetError, WeightsError,
    ConfigError or DownloadError where it can't begin, UsageError where it can't go on.
    """
    with plain_warnings(Progress(0)):
        wanted = wishes(args)
        if args.devices:
            wanted.config.GPU_COUNT = _take_devices(args.devices)
            wanted.fixed.add("GPU_COUNT")
        plan = make_plan(wanted)
        print("\n".join(lines(plan)), flush=True)
        if args.dry_run:
            epochs_to_train(plan)
            print(f"{plan.check_data()}\nNothing was trained: --dry-run.")
            return 0
        return train(plan, args)


def _take_devices(text: str) -> int:
    """Let TensorFlow see what --devices names; how many there are. Raises UsageError."""
    with quiet_tensorflow():
        from mrcnn.train.distribution import choose_devices

        return choose_devices(text)


def wishes(args: argparse.Namespace) -> Wishes:
    """The arguments as `make_plan` takes them. Raises UsageError."""
    if args.weights:
        check_name(args.weights, BEGIN)
    wanted = Wishes(
        args.data,
        args.val,
        format=args.format,
        **reading(args),
        weights=args.weights,
        logs=os.path.expanduser(args.logs),
        layers=args.layers,
        augment=args.augment,
        epochs=args.epochs,
    )
    if args.config:
        wanted.config = load_config(args.config)
    for setting in args.settings:
        wanted.fixed.add(apply_setting(wanted.config, setting))
    for name, value in (("LEARNING_RATE", args.learning_rate), ("SEED", args.seed)):
        if value is not None:
            setattr(wanted.config, name, value)
            wanted.fixed.add(name)
    return wanted


def train(plan: Plan, args: argparse.Namespace) -> int:
    """Build the network, load the weights, train, and say where all lies. Returns an exit code."""
    epochs = epochs_to_train(plan)
    if plan.start.fetch:
        fetch(plan.start.fetch, plan.start.path)
    device = start()
    config = plan.config
    if config.GPU_COUNT > 1:
        each = counted(config.IMAGES_PER_GPU, "picture")
        print(f"{'devices':15} {config.GPU_COUNT} share each batch, {each} on each", flush=True)
    elif plan.gpu:  # of none, the plan has told
        print(f"{'device':15} {device}", flush=True)
    with quiet_tensorflow():
        import tensorflow as tf

        from mrcnn.model import MaskRCNN
        from mrcnn.train.optimiser import LAYERS as PATTERNS
        from mrcnn.train.optimiser import set_trainable
        from mrcnn.train.stopping import TrainingStopped

    # The curves are in the run's folder all the same; docs/faq.md says how to have TensorBoard's.
    logging.getLogger("mrcnn.train.fit").setLevel(logging.ERROR)
    model = MaskRCNN("training", plan.config, os.path.expanduser(args.logs))
    try:
        set_trainable(model.keras_model, PATTERNS.get(args.layers, args.layers))
    except ValueError as error:
        raise UsageError(f"--layers: {error}") from error
    if plan.rows:
        load_for_classes(model, plan.start.path, plan.train.class_names)
    elif plan.start.path:
        model.load_weights(plan.start.path, by_name=True, exclude=plan.exclude)
    # `mrcnn evaluate` reads its labels alike.
    model.keras_model.data = {"format": args.format, **reading(args)}
    if not plan.start.resume:
        model.set_log_dir()  # a checkpoint of another task doesn't say where this one goes
    try:
        model.train(
            plan.train,
            plan.val,
            learning_rate=plan.config.LEARNING_RATE,
            epochs=epochs,
            layers=args.layers,
            augmentation=RECIPES[args.augment],
        )
    except KeyboardInterrupt:
        if checkpoints.checkpoints(model.log_dir):
            resume = _command(
                args, weights="last", epochs=epochs, config=None, settings=_name(args)
            )
            print(f"In the terminal: {resume}")
        return INTERRUPTED
    except (DatasetError, TrainingStopped) as error:
        raise UsageError(str(error)) from error
    except tf.errors.ResourceExhaustedError as error:
        raise UsageError(
            f"the memory is too small for {plan.config.BATCH_SIZE} pictures at a time of "
            f"{plan.config.IMAGE_SHAPE[0]}x{plan.config.IMAGE_SHAPE[1]}: halve IMAGES_PER_GPU, "
            "then IMAGE_MAX_DIM and IMAGE_MIN_DIM, by --set."
        ) from error
    last = next(reversed(checkpoints.checkpoints(model.log_dir)), None)
    if last is None:
        raise UsageError(f"{model.log_dir} was removed when its last epoch was saved: no weights.")
    names = [os.path.basename(last), _about_best(model.log_dir), "curves.png", "history.csv"]
    evaluate = shlex.join(["mrcnn", "evaluate", *_validation(args), "--weights", last])
    detect = shlex.join(["mrcnn", "detect", "PICTURES", "--weights", last])
    print(
        f"\nDone. {model.log_dir} holds {', '.join(filter(None, names))}.\n"
        f"How good is it?   {evaluate}\n"
        f"Use it:           {detect}"
    )
    return 0


def _about_best(folder: str) -> str:
    """The name of the best checkpoint, and whose it is; "" where none is kept."""
    found = glob.glob(os.path.join(glob.escape(folder), f"mask_rcnn*_{checkpoints.BEST}.h5"))
    return f"{os.path.basename(found[0])} (epoch {checkpoints.reached(found[0])})" if found else ""


def epochs_to_train(plan: Plan) -> int:
    """The number of the last epoch.

    Raises UsageError where a resumed run has reached it, or doesn't say how long it was to be.
    """
    if not plan.start.resume:
        return plan.epochs
    run = checkpoints.log_dir(os.fspath(plan.wishes.logs), plan.config, plan.start.path)
    epochs = plan.epochs
    if not epochs:
        state = checkpoints.TrainingState.load(run.folder, run.epoch)
        if state is None:
            raise UsageError(f"{run.folder} doesn't say how long its run was to be: give --epochs.")
        epochs = state.last_epoch
    if run.epoch >= epochs:
        raise UsageError(
            f"{plan.start.path} has reached epoch {run.epoch} already: give a higher --epochs to "
            "train on."
        )
    return epochs


def _command(args: argparse.Namespace, **changes: Any) -> str:
    """The command line of these arguments, with changes; what is the default is left out."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    words = ["mrcnn", "train", args.data]
    for action in parser._actions:
        value = changes.get(action.dest, getattr(args, action.dest, None))
        if not action.option_strings or action.dest == "help" or value == action.default:
            continue
        for item in value if isinstance(value, list) else [value]:
            words += [action.option_strings[0], *([] if item is True else [str(item)])]
    return shlex.join(words)


def _validation(args: argparse.Namespace) -> list[str]:
    """The words by which `mrcnn evaluate` takes the pictures that were not trained on."""
    words = [args.val, "--subset", "all"] if args.val else [args.data, "--subset", "val"]
    words += ["--format", args.format] if args.format != "auto" else []
    usual = {"class_name": "object", "class_attribute": None, "pieces": "auto"}
    for name, value in reading(args).items():
        words += [f"--{name.replace('_', '-')}", value] if value != usual[name] else []
    return words


def _name(args: argparse.Namespace) -> list[str]:
    """What of --set a resumed run needs: its name. The rest is in the checkpoint."""
    return [setting for setting in args.settings if setting.partition("=")[0].strip() == "NAME"]
