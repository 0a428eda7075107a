"""What `mrcnn train` is going to do: arguments, data and weights brought together and checked."""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mrcnn.cli.choices import COMPACT, Circumstances, complete, of_weights
from mrcnn.cli.configs import apply_setting, differences, explicit_names, load_config
from mrcnn.cli.data_sets import open_part, with_classes
from mrcnn.cli.errors import UsageError
from mrcnn.cli.terminal import Progress, counted, listed, plain_warnings, quiet_tensorflow
from mrcnn.config import Config, hyper_parameter_names
from mrcnn.data.check import check_dataset
from mrcnn.data.coco_names import COCO_NAMES
from mrcnn.data.dataset import Dataset
from mrcnn.data.survey import Survey, badly_met, take_survey
from mrcnn.weights.download import weights_path
from mrcnn.weights.inspection import WeightsInfo, inspect_weights

LAYERS = ("heads", "3+", "4+", "5+", "all")
SURVEY_SECONDS = 60  # beyond, an evenly spread sample of the pictures has to do
_SHOWN = 10  # classes whose instances are counted on the screen
_HEADS = ["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask"]
# Folders inside a data set; the name of the run is that of the whole.
_SAYS_NOTHING = {"train", "val", "annotations", "images", "data", "dataset", ""}


@dataclass(frozen=True)
class Start:
    """The weights that training begins with."""

    name: str  # as on the command line
    path: Path | None = None  # None: random ones
    info: WeightsInfo | None = None
    resume: bool = False  # go on with the run that they are a checkpoint of


@dataclass(frozen=True)
class Plan:
    """All that a training needs, checked, and the lines that tell of it."""

    train: Dataset
    val: Dataset
    config: Config
    start: Start
    exclude: list[str]  # layers of the weights that don't fit the classes
    epochs: int | None  # None: as many as the resumed run was given
    lines: list[str]


def make_plan(args: argparse.Namespace) -> Plan:
    """Read the arguments, the data and the weights, and settle the Config.

    Raises what `mrcnn train` raises before it begins. Imports TensorFlow only to look for a GPU.
    """
    _check_layers(args.layers)
    config, fixed = _users_config(args)
    wanted = [(args.data, "all"), (args.val, "all")]
    if not args.val:
        wanted = [(args.data, "train"), (args.data, "val")]
    train, val = (open_part(path, args.format, part, args.class_name) for path, part in wanted)
    if "NAME" not in fixed:
        config.NAME = run_name(args.data)
    start = find_start(args.weights, args.logs, config)

    names = list(dict.fromkeys([*train.class_names, *val.class_names]))
    told = _classes_of(start)
    same_classes = set(told) == set(names)
    names = told if same_classes else names
    train, val = with_classes(train, names), with_classes(val, names)
    notes = [*dict.fromkeys([*train.notes, *val.notes])]

    survey = read_through(train)
    survey.report.refuse_mistakes("The training data")
    epochs = args.epochs
    if start.resume:
        _take(config, fixed, start.info.config_attributes())
    else:
        _take(config, fixed, _from_weights(start))
        circumstances = Circumstances(
            pictures=train.num_images,
            val_pictures=val.num_images,
            gpu=has_gpu(),
            whole_network=bool(start.info) and "FPN" in start.info.parts,
            same_classes=same_classes,
            random_weights=start.path is None,
        )
        epochs = complete(config, fixed, survey, circumstances, epochs)
    config.validate("training")
    for what, dataset in (("The training data", train), ("The validation data", val)):
        check_dataset(dataset, config, limit=1).refuse_mistakes(what)
    _check_weights(config, start)
    exclude = _HEADS if told and not same_classes else []
    plan = Plan(train, val, config, start, exclude, epochs, [])
    plan.lines.extend([*notes, *_tell(plan, survey, args)])
    if args.dry_run:  # training itself checks once more, and says what it found
        plan.lines.append(f"The training data: {survey.report}")
    return plan


def run_name(data: str) -> str:
    """A name for the runs on a data set: its folder's, in small letters, digits and _."""
    path = Path(data).expanduser().resolve()
    folders = [path.parent if path.is_file() else path, *path.parents]
    names = (re.sub(r"[^a-z0-9]+", "_", folder.name.lower()).strip("_") for folder in folders)
    return next((name for name in names if name not in _SAYS_NOTHING), "data")


def has_gpu() -> bool:
    """Whether TensorFlow has a GPU to train on; imports it."""
    with quiet_tensorflow():
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))


def read_through(dataset: Dataset) -> Survey:
    """Take the survey of a data set with a progress bar."""
    progress = Progress(dataset.num_images)
    with plain_warnings(progress):
        try:
            return take_survey(dataset, seconds=SURVEY_SECONDS, seen=progress.advance)
        finally:
            progress.close()


# -- The config and the weights -------------------------------------------------------------


def _check_layers(layers: str) -> None:
    try:
        re.compile(LAYERS[0] if layers in LAYERS else layers)
    except re.error as error:
        raise UsageError(
            f"--layers {layers} is none of {', '.join(LAYERS)}, and no regular expression: {error}."
        ) from None


def _users_config(args: argparse.Namespace) -> tuple[Config, set[str]]:
    """The Config of --config, --set and the like, and the names that they settle."""
    config = load_config(args.config) if args.config else type("TrainConfig", (Config,), {})()
    fixed = explicit_names(config)
    for setting in args.settings:
        apply_setting(config, setting)
        fixed.add(setting.partition("=")[0].strip())
    for name, value in (("LEARNING_RATE", args.learning_rate), ("SEED", args.seed)):
        if value is not None:
            setattr(config, name, value)
            fixed.add(name)
    return config, fixed


def _take(config: Config, fixed: set[str], values: dict[str, Any]) -> None:
    known = set(hyper_parameter_names()) - fixed
    for name, value in values.items():
        if name in known:
            setattr(config, name, value)


def _from_weights(start: Start) -> dict[str, Any]:
    if start.info is None:
        return COMPACT
    return of_weights(start.info.config_attributes())


def find_start(weights: str | None, logs: str, config: Config) -> Start:
    """The weights that --weights means, looked into.

    A checkpoint of a run of config.NAME under `logs` means to go on with that run.
    Raises UsageError, WeightsError or DownloadError.
    """
    name = weights or ("coco" if has_gpu() else "nucleus")
    if name == "none":
        return Start(name)
    if name == "imagenet" and "BACKBONE" not in explicit_names(config):
        config.BACKBONE = "resnet50"
    try:
        path = Path(_last(logs, config) if name == "last" else weights_path(name, config.BACKBONE))
    except ValueError as error:
        raise UsageError(f"--weights {name}: {error}") from error
    info = inspect_weights(path)
    folder = re.fullmatch(re.escape(str(config.NAME).lower()) + r"\d{8}T\d{4}", path.parent.name)
    here = path.resolve().parent.parent == Path(logs).expanduser().resolve()
    return Start(name, path, info, resume=bool(here and folder and info.description.get("config")))


def _last(logs: str, config: Config) -> str:
    with quiet_tensorflow():
        from mrcnn.run.checkpoints import find_last
    try:
        return find_last(logs, config)
    except FileNotFoundError:
        raise UsageError(
            f"--weights last: no run named {config.NAME} under {logs} has a checkpoint. Give its "
            "--logs, its name by --set NAME=.., or begin with other weights."
        ) from None


def _classes_of(start: Start) -> list[str]:
    """The classes of the weights' heads, "BG" first; [] where there are no heads."""
    if start.info is None or start.info.num_classes is None:
        return []
    count = start.info.num_classes
    known = COCO_NAMES if count == len(COCO_NAMES) else [f"class {i}" for i in range(count)]
    return start.info.class_names or known


def _check_weights(config: Config, start: Start) -> None:
    """Say before the network is built that weights don't fit it."""
    found = differences(config, start.info, but=("NUM_CLASSES",)) if start.info else []
    if found:
        raise UsageError(
            f"{start.path} doesn't fit the network to train ({'; '.join(found)}): leave these "
            "attributes as the file has them, or begin with other weights."
        )


# -- What the user is told ------------------------------------------------------------------


def _tell(plan: Plan, survey: Survey, args: argparse.Namespace) -> list[str]:
    config, report = plan.config, survey.report
    counts = {name: count for name, (count, _) in survey.per_class().items()}
    common = sorted(counts, key=counts.get, reverse=True)
    shown = [f"{name} {counts[name]:,}" for name in common[:_SHOWN] if counts[name]]
    shown += [f"and {len(common) - _SHOWN} more classes"] if len(common) > _SHOWN else []
    absent = [name for name in common if not counts[name]]
    read = (
        ""
        if report.checked == report.total
        else f" (in {counted(report.checked, 'picture')} looked at)"
    )
    missed = badly_met(survey.network_boxes(config), config)
    rows = {
        "pictures": f"{plan.train.num_images:,} to train on, {plan.val.num_images:,} to validate",
        "instances": ", ".join(shown) + read,
        "not labelled": f"{listed(absent)}: can't be learned" if absent else "",
        "weights": _about_weights(plan),
        "network": f"{config.BACKBONE}, {_about_input(config)}, {config.BATCH_SIZE} at a time",
        "anchors": f"{', '.join(f'{scale:g}' for scale in config.RPN_ANCHOR_SCALES)} pixels; "
        f"{1 - missed:.0%} of the boxes meet one with an IoU of 0.5",
        "instances used": f"{config.MAX_GT_INSTANCES} a picture at most; "
        f"{config.DETECTION_MAX_INSTANCES} are detected at most",
        "training": _about_training(plan, args),
        "logs": f"{Path(args.logs) / str(config.NAME).lower()}<date>",
    }
    if not plan.start.resume and args.weights is None:
        rows["weights"] += " (--weights names others)"
    if not has_gpu():
        slow = "" if str(config.BACKBONE).startswith("resnet18") else ": this network will be slow"
        rows["device"] = f"no GPU, so pictures are kept small{slow}"
    return [f"{name:15} {text}" for name, text in rows.items() if text]


def _about_weights(plan: Plan) -> str:
    start = plan.start
    if start.info is None:
        return "random"
    text = str(start.path) if start.name == "last" else start.name
    if start.resume:
        return f"{text}, going on with this run and its Config"
    return f"{text}, new heads for these classes" if plan.exclude else text


def _about_input(config: Config) -> str:
    if config.IMAGE_RESIZE_MODE == "square":
        return f"pictures scaled to {config.IMAGE_MAX_DIM}x{config.IMAGE_MAX_DIM}"
    if config.IMAGE_RESIZE_MODE == "crop":
        larger = f", scaled by {config.IMAGE_MIN_SCALE:g}" if config.IMAGE_MIN_SCALE else ""
        return f"pieces of {config.IMAGE_MIN_DIM}x{config.IMAGE_MIN_DIM} cut from pictures{larger}"
    return f"pictures in mode {config.IMAGE_RESIZE_MODE}"


def _about_training(plan: Plan, args: argparse.Namespace) -> str:
    config = plan.config
    epochs = f"up to epoch {plan.epochs}" if plan.epochs else "up to the epoch it was begun for"
    layers = {"all": "all layers"}.get(args.layers, f"layers {args.layers}")
    return (
        f"{layers} {epochs}, of {counted(config.STEPS_PER_EPOCH, 'step')}; learning rate "
        f"{config.LEARNING_RATE:g}, {config.LEARNING_RATE_SCHEDULE}; augmentation {args.augment}"
    )
