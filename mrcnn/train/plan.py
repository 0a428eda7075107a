"""What `mrcnn train` is going to do: wishes, data and weights brought together and checked."""

import difflib
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mrcnn.config import Config, explicit_names, hyper_parameter_names
from mrcnn.data.check import DatasetError, check_dataset, check_for_training
from mrcnn.data.classes import count_labels, disagreement, only_in, used_classes
from mrcnn.data.dataset import Dataset
from mrcnn.data.parts import open_part, with_classes
from mrcnn.data.scaling import Rule
from mrcnn.data.survey import Survey, take_survey
from mrcnn.detect.configs import differences
from mrcnn.devices import has_gpu
from mrcnn.errors import UsageError
from mrcnn.progress import Progress, plain_warnings
from mrcnn.train.checkpoints import BEST, find_last
from mrcnn.train.choices import COMPACT, Circumstances, complete, of_weights
from mrcnn.train.finding import OF_RUNS, best_of
from mrcnn.train.rows import ANY, known_names, same_classes
from mrcnn.weights.download import locate, published_info
from mrcnn.weights.inspection import WeightsInfo, inspect_weights
from mrcnn.weights.names import CLASS_DEPENDENT, layer_names
from mrcnn.weights.names import LAYER_PATTERNS as PATTERNS
from mrcnn.words import listed

LAYERS = tuple(PATTERNS)
SURVEY_SECONDS = 60  # beyond, an evenly spread sample of the pictures has to do
# Folders inside a data set; the name of the run is that of the whole.
_SAYS_NOTHING = {"train", "val", "annotations", "images", "data", "dataset", ""}


@dataclass(frozen=True)
class Start:
    """The weights that training begins with."""

    name: str  # as on the command line
    path: Path | None = None  # None: random ones
    info: WeightsInfo | None = None
    resume: bool = False  # go on with the run that they are a checkpoint of
    others: bool = False  # they are of a run on other classes: a new one begins with them
    fetch: str | None = None  # what `mrcnn.weights.download` calls the file that isn't there yet

    @property
    def any(self) -> bool:
        """Whether they know what a thing is, and no kinds of things."""
        return self.class_names[1:] == [ANY]

    @property
    def class_names(self) -> list[str]:
        """The classes of the weights' heads, "BG" first; [] where there are no heads."""
        if self.info is None or self.info.num_classes is None:
            return []
        count = self.info.num_classes
        return known_names(self.info) or [f"class {i}" for i in range(count)]


@dataclass
class Wishes:
    """What somebody wants of a training; all else is chosen.

    data: labelled pictures. val: others for validation, where `data` doesn't hold them.
    format, class_name, class_attribute, pieces: as `mrcnn.data.parts.open_part` takes them.
    weights: start, coco, imagenet, nucleus, none, last, best, or a path; None chooses.
    logs: the folder of all runs. layers, augment: as `MaskRCNN.train` and `RECIPES` of
    `mrcnn.data.augment` have them. epochs: None chooses.
    config: a Config; what it sets itself, and the names in `fixed`, stay as it has them.
    """

    data: str | os.PathLike
    val: str | os.PathLike | None = None
    format: str = "auto"
    class_name: str = "object"
    class_attribute: str | None = None
    pieces: str = "auto"
    weights: str | None = None
    logs: str | os.PathLike = "logs"
    config: Config = field(default_factory=lambda: type("TrainConfig", (Config,), {})())
    fixed: set[str] = field(default_factory=set)
    layers: str = "all"
    augment: str = "standard"
    epochs: int | None = None


@dataclass(frozen=True)
class Plan:
    """All that a training needs, checked; `mrcnn.train.plan_text` tells it."""

    wishes: Wishes
    train: Dataset
    val: Dataset
    config: Config
    start: Start
    exclude: list[str]  # layers of the weights that don't fit the classes
    rows: dict[int, int]  # of these the rows that are kept all the same: class id, the weights'
    left_out: list[str]  # classes that are listed and have no instance
    unseen: str  # classes that only the validation data have, in words
    untrained: list[str]  # layers that stay random, since they are neither loaded nor trained
    epochs: int | None  # None: as many as the resumed run was given
    survey: Survey
    gpu: bool

    def check_data(self) -> str:
        """Check the data once more as training does, under the Config; what was found, in lines.

        Raises DatasetError.
        """
        return "\n".join(check_for_training(self.train, self.val, self.config))


def make_plan(wishes: Wishes) -> Plan:
    """Read the data and the weights, and settle the Config; nothing is fetched.

    Raises what `mrcnn train` raises before it begins. Imports TensorFlow only to look for a GPU.
    """
    check_layers(wishes.layers)
    config, fixed = wishes.config, wishes.fixed | explicit_names(wishes.config)
    wanted = [(wishes.data, "all"), (wishes.val, "all")]
    if not wishes.val:
        wanted = [(wishes.data, "train"), (wishes.data, "val")]
    how = wishes.class_name, wishes.class_attribute, wishes.pieces
    train, val = (open_part(path, wishes.format, part, *how) for path, part in wanted)
    if "NAME" not in fixed:
        config.NAME = run_name(wishes.data)
    start = find_start(wishes.weights, wishes.logs, config)

    labels, val_labels = count_labels(train), count_labels(val)
    if labels and not val_labels and used_classes([val]) is not None:
        raise DatasetError(
            f"No picture for validation has an instance: label some in {val.root}, or give others "
            "with --val."
        )
    if mistake := disagreement(labels, val_labels, wishes.class_name):
        raise DatasetError(mistake)
    every = list(dict.fromkeys([*train.class_names, *val.class_names]))
    told = start.class_names
    names = _classes(every, used_classes([train, val]), start, config, fixed)
    rows = {} if set(told) == set(names) else same_classes(names, _names_of(start))
    if start.resume and set(told) != set(names):
        start = replace(start, resume=False, others=True)
    train, val = with_classes(train, names), with_classes(val, names)

    if start.info:  # what the weights look at in files, they look at further on
        _take(config, fixed, _of_pictures(start.info.config_attributes()))
    train.rule = val.rule = Rule.of(config)
    survey = read_through(train)
    survey.report.refuse_mistakes("The training data")
    epochs, gpu = wishes.epochs, has_gpu()
    if start.resume:
        _take(config, fixed, start.info.config_attributes())
    else:
        _take(config, fixed, _from_weights(start))
        circumstances = Circumstances(
            pictures=train.num_images,
            val_pictures=val.num_images,
            gpu=gpu,
            whole_network=bool(start.info) and "FPN" in start.info.parts,
            same_classes=(set(told) == set(names) or len(rows) == len(names)) and not start.any,
            random_weights=start.path is None,
        )
        epochs = complete(config, fixed, survey, circumstances, epochs)
    _check_classes(config, names)
    config.validate("training")
    train.rule = val.rule = Rule.of(config)
    for what, dataset in (("The training data", train), ("The validation data", val)):
        check_dataset(dataset, config, limit=1).refuse_mistakes(what)
    _check_weights(config, start)
    exclude = list(CLASS_DEPENDENT) if told and set(told) != set(names) else []
    return Plan(
        *(wishes, train, val, config, start, exclude, rows),
        left_out=[name for name in every if name not in names],
        unseen=only_in(val_labels, labels),
        untrained=_untrained(config, start, exclude, wishes.layers),
        epochs=epochs,
        survey=survey,
        gpu=gpu,
    )


def run_name(data: str | os.PathLike) -> str:
    """A name for the runs on a data set: its folder's, in small letters, digits and _."""
    path = Path(data).expanduser().resolve()
    folders = [path.parent if path.is_file() else path, *path.parents]
    names = (re.sub(r"[^a-z0-9]+", "_", folder.name.lower()).strip("_") for folder in folders)
    return next((name for name in names if name not in _SAYS_NOTHING), "data")


def read_through(dataset: Dataset) -> Survey:
    """Take the survey of a data set with a progress bar."""
    progress = Progress(dataset.num_images)
    with plain_warnings(progress):
        try:
            return take_survey(dataset, seconds=SURVEY_SECONDS, seen=progress.advance)
        finally:
            progress.close()


# -- The config and the weights -------------------------------------------------------------


def check_layers(layers: str, backbone: Any = None) -> None:
    """Refuse --layers that is no regular expression, or matches no layer of the network.

    backbone: the Config's; without it, or with one whose layers aren't known, any name may be one.
    """
    try:
        pattern = re.compile(PATTERNS.get(layers, layers))
    except re.error as error:
        raise UsageError(
            f"--layers {layers} is none of {', '.join(LAYERS)}, and no regular expression: {error}."
        ) from None
    known = layer_names(backbone) if isinstance(backbone, str) else None
    if known is None or any(pattern.fullmatch(name) for name in known):
        return
    near = difflib.get_close_matches(layers, [*LAYERS, *known], n=1)
    near = [f"{layers}.*"] if any(name.startswith(layers) for name in known) else near
    hint = f"did you mean {near[0]}? It must be" if near else "it must be"
    raise UsageError(
        f"--layers {layers} matches no layer of the network: {hint} one of {', '.join(LAYERS)}, or "
        "a regular expression that matches whole layer names."
    )


def _classes(
    every: list[str], used: set[str] | None, start: Start, config: Config, fixed: set[str]
) -> list[str]:
    """The classes to train, "BG" first.

    every: those that the data list. used: those that have instances, None where nobody knows.
    """
    told = start.class_names
    if set(told) == set(every):
        return told
    names = [name for name in every if not used or name in ("BG", *used)]
    if "NUM_CLASSES" in fixed and len(every) == config.NUM_CLASSES:  # they are all meant
        names = every
    return told if set(told) == set(names) else names


def _names_of(start: Start) -> list[str]:
    return known_names(start.info) if start.info else []


def _check_classes(config: Config, names: list[str]) -> None:
    if len(names) != config.NUM_CLASSES:
        raise UsageError(
            f"NUM_CLASSES is {config.NUM_CLASSES}, and the data have {len(names)} classes with the "
            f"background ({listed(names)}): leave NUM_CLASSES out, it is counted."
        )


def _untrained(config: Config, start: Start, exclude: list[str], layers: str) -> list[str]:
    """Names of the layers that would stay random. Raises UsageError as `check_layers` does."""
    check_layers(layers, config.BACKBONE)
    known = layer_names(config.BACKBONE) if isinstance(config.BACKBONE, str) else None
    pattern = re.compile(PATTERNS.get(layers, layers))
    loaded = start.info.layer_names - set(exclude) if start.info else set()
    return [name for name in known or () if name not in loaded and not pattern.fullmatch(name)]


def _take(config: Config, fixed: set[str], values: dict[str, Any]) -> None:
    known = set(hyper_parameter_names()) - fixed - {"DETECTION_CLASS_CONFIDENCE"}
    for name, value in values.items():
        if name in known:
            setattr(config, name, value)


def _of_pictures(values: dict[str, Any]) -> dict[str, Any]:
    names = ("IMAGE_RANGE", "IMAGE_CHANNELS", "IMAGE_PLANE", "IMAGE_CHANNEL_COUNT")
    return {name: values[name] for name in names if name in values}


def _from_weights(start: Start) -> dict[str, Any]:
    if start.info is None:
        return COMPACT
    return of_weights(start.info.config_attributes())


def find_start(weights: str | None, logs: str | os.PathLike, config: Config) -> Start:
    """The weights that --weights means, looked into.

    A checkpoint of a run of config.NAME under `logs` means to go on with that run, but for its
    best one, which a new run begins with. Of a published
    file that must be fetched first, what it will hold is known.
    Raises UsageError or WeightsError.
    """
    name = weights or ("coco" if has_gpu() else "start")
    if name == "none":
        return Start(name)
    if name == "imagenet" and "BACKBONE" not in explicit_names(config):
        config.BACKBONE = "resnet50"
    try:
        path, published = (
            (_of_runs(name, logs, config), None)
            if name in OF_RUNS
            else locate(name, config.BACKBONE)
        )
    except ValueError as error:
        raise UsageError(f"--weights {name}: {error}") from error
    path = Path(path)
    if published and not path.exists():
        return Start(name, path, published_info(published, path), fetch=published)
    info = inspect_weights(path)
    folder = re.fullmatch(re.escape(str(config.NAME).lower()) + r"\d{8}T\d{4}", path.parent.name)
    here = path.resolve().parent.parent == Path(logs).expanduser().resolve()
    ours = here and folder and info.description.get("config")
    return Start(name, path, info, resume=bool(ours) and not path.name.endswith(f"_{BEST}.h5"))


def _of_runs(name: str, logs: str | os.PathLike, config: Config) -> str | Path:
    try:
        last = find_last(os.fspath(logs), config)
        return last if name == "last" else best_of(Path(last).parent)
    except FileNotFoundError:
        raise UsageError(
            f"--weights {name}: no run named {config.NAME} under {logs} has a checkpoint. Give its "
            "--logs, its name by --set NAME=.., or begin with other weights."
        ) from None


def _check_weights(config: Config, start: Start) -> None:
    """Say before the network is built that weights don't fit it."""
    found = differences(config, start.info, but=("NUM_CLASSES",)) if start.info else []
    if found:
        raise UsageError(
            f"{start.path} doesn't fit the network to train ({'; '.join(found)}): leave these "
            "attributes as the file has them, or begin with other weights."
        )
