"""Matching a weight file to a model by name: loading and saving.

    report = load_weights(model, "mask_rcnn_coco.h5", exclude=["mrcnn_class_logits", ...])
    save_weights(model, "mask_rcnn_cells_0030.h5")

A tensor finds its place by (layer, weight) and never by order. Nested models count as if their
layers lay in the outer model; a wrapper's tensors stand under the wrapper's name.
"""

import difflib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mrcnn.config import Config
from mrcnn.weights.agreement import disagreement
from mrcnn.weights.errors import WeightsError, warn
from mrcnn.weights.files import Tensor, WeightsFile, open_weights
from mrcnn.weights.names import (
    CLASS_DEPENDENT,
    NOT_LAYERS,
    RPN_LAYERS,
    RPN_MODEL,
    file_order,
    weight_order,
)
from mrcnn.weights.report import LoadReport, describe_gaps, explain_mismatch, join, shorten
from mrcnn.weights.writing import write_weights
from mrcnn.words import printable

# What only a training model has; see `file_order`.
_TRAINING_LAYERS = {"proposal_targets", "input_gt_boxes"}

_RANDOM = "_mrcnn_random_layers"  # past Keras, which would track what it holds

# Named by old scripts, and a layer without weights in some models and none in others.
_NEVER_MISSED = {"mrcnn_bbox", "mrcnn_class", *CLASS_DEPENDENT}


@dataclass(frozen=True, eq=False)  # variables don't compare to a bool
class _Place:
    """One tensor of a model: where it stands and the variable behind it."""

    layer: Any  # keras.layers.Layer
    weight: str
    variable: Any  # keras.Variable
    parents: tuple[str, ...]  # names of the nested models around the layer

    @property
    def key(self) -> tuple[str, str]:
        return self.layer.name, self.weight

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.variable.shape)


def load_weights(
    model: Any,
    path: str | os.PathLike,
    exclude: str | Iterable[str] | None = None,
    by_name: bool = True,
    config: Config | None = None,
) -> LoadReport:
    """Load a weight file into a model: everything that fits, or nothing and an error.

    model: keras.Model.
    exclude: names of layers to leave alone, or regular expressions that match a whole name;
        naming a nested model such as "rpn_model" leaves all its layers alone.
    by_name: False demands that the file has every tensor of the model. Either way tensors are
        matched by name.
    config: what the model was built for, to be compared with the config in the file. With
        `exclude` it is not: that begins another task.
    A batch norm from keras.applications is rescaled so that it computes the same with the epsilon
    of the model's layer.

    Raises WeightsNotFoundError where there is no file. Raises WeightsError for a file that can't
    be read, of which nothing fits, or of which a tensor has another shape than its place (the
    error's `report` says which). The model is then unchanged. Warns (WeightsWarning) of an
    encoder or heads filled only in part, of an `exclude` that names no layer, of another config in
    the file, and of NaN.
    """
    excluded, unknown = _excluded_layers(model, exclude)
    for sentence in unknown:
        warn(sentence)
    places = list(_places(model))
    wanted = [place for place in places if place.layer.name not in excluded]
    with open_weights(path) as file:
        pairs, report = _match(file, wanted)
        report.excluded = [join(p.key) for p in places if p.layer.name in excluded]
        report.unused = [name for name in report.unused if name.split("/")[0] not in excluded]
        _refuse_misfits(file, wanted, pairs, report, by_name)
        values = {place.key: tensor.read() for place, tensor in pairs}
        epsilon = file.batch_norm_epsilon
        names, told = file.description.get("class_names"), file.description.get("config")
    logits = [place for place, _ in pairs if place.key == ("mrcnn_class_logits", "bias")]
    if isinstance(names, list) and logits and len(names) == logits[0].shape[0]:
        report.class_names = [printable(name) for name in names]

    if epsilon is not None:
        _adopt_epsilon(values, pairs, epsilon)
    bad = [join(key) for key, array in values.items() if not np.isfinite(array).all()]
    if bad:
        warn(
            f"{report.path} holds NaN or infinite values in {shorten(bad)}: its training had "
            "diverged, and the network will give nonsense. Take an earlier checkpoint."
        )
    for place, _ in pairs:
        place.variable.assign(values[place.key])
    _keep_random(model, filled={place.layer.name for place, _ in pairs})
    for finding in describe_gaps(report, [place.key for place in wanted], values):
        warn(finding)
    if config is not None and not excluded:
        encoder_only = not any(place.layer.name in RPN_LAYERS for place, _ in pairs)
        finding = disagreement(report.path, told, config, _trains(model), encoder_only)
        if finding:
            warn(finding)
    return report


def random_layers(model: Any) -> list[str]:
    """Names of the layers that still hold the random values of a new model.

    No file has filled them, and nobody has trained or set them since this was first asked.
    """
    if _RANDOM not in model.__dict__:
        _keep_random(model, filled=set())
    layers = {place.layer.name: place.layer for place in _places(model)}
    return [
        name
        for name, sums in model.__dict__[_RANDOM].items()
        if name in layers and _sums(layers[name]) == sums
    ]


def _keep_random(model: Any, filled: set[str]) -> None:
    """Note which layers are random, by the sums of their tensors. filled: those from a file."""
    known = model.__dict__.get(_RANDOM)
    layers = {place.layer.name: place.layer for place in _places(model)}
    model.__dict__[_RANDOM] = {
        name: known[name] if known else _sums(layers[name])
        for name in (layers if known is None else known)
        if name not in filled and name in layers
    }


def warn_of_random_layers(model: Any) -> None:
    """Warn of layers that are random and won't train: the others would learn from noise."""
    layers = {place.layer.name: place.layer for place in _places(model)}
    frozen = [name for name in random_layers(model) if not layers[name].trainable]
    if frozen:
        warn(
            f"Layers hold random values and won't be trained: {shorten(frozen)}. No weights were "
            "loaded into them, and what comes behind learns from noise: let them train too "
            '(layers="all", or a regular expression that matches them).'
        )


def _sums(layer: Any) -> tuple[float, ...]:
    return tuple(float(np.sum(np.asarray(v.numpy(), np.float64))) for v in layer.weights)


def save_weights(
    model: Any,
    path: str | os.PathLike,
    description: dict[str, Any] | None = None,
    dtype: type = np.float32,
) -> None:
    """Write a model's weights in Matterport's layout, complete or not at all.

    model: keras.Model. `rpn_model` becomes one group, as in Matterport's files; the layers of any
    other nested model get a group each, as if they lay in the outer model.
    description, dtype: see `write_weights`.
    Raises WeightsError where the folder doesn't exist or two layers have the same name.
    """
    groups: dict[str, list[_Place]] = {}
    for layer, parents in _walk(model):
        groups.setdefault(_group(layer, parents), [])
    for place in _places(model):
        groups[_group(place.layer, place.parents)].append(place)

    training = _trains(model)
    order, key = {}, ()
    for group, places in groups.items():
        # A layer without weights stays behind the one that it follows in the model.
        key = file_order(group, training) if places else key
        order[group] = key
    write_weights(
        path,
        (
            (group, ((f"{join(place.key)}:0", place.variable.numpy()) for place in groups[group]))
            for group in sorted(groups, key=order.__getitem__)
        ),
        description,
        dtype,
    )


def copy_weights(source: Any, target: Any) -> None:
    """Give a model the weights of another one that has the same layers, whatever their order."""
    values = {place.key: place.variable for place in _places(source)}
    for place in _places(target):
        place.variable.assign(values[place.key])


def _trains(model: Any) -> bool:
    return any(layer.name in _TRAINING_LAYERS for layer in model.layers)


def _group(layer: Any, parents: tuple[str, ...]) -> str:
    return RPN_MODEL if RPN_MODEL in parents else layer.name


# -- The model ------------------------------------------------------------------------------


def _walk(model: Any, parents: tuple[str, ...] = ()) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """(layer, names of the nested models around it) of all layers, nested models flattened."""
    for layer in model.layers:
        if hasattr(layer, "layers"):  # a model; asking its class would import Keras
            yield from _walk(layer, (*parents, layer.name))
        else:
            yield layer, parents


def _places(model: Any) -> Iterator[_Place]:
    """Every tensor of a model, in its order; those of one layer in the order of the files."""
    seen: dict[str, Any] = {}
    for layer, parents in _walk(model):
        if not layer.weights or layer.name in NOT_LAYERS or seen.get(layer.name) is layer:
            continue
        if layer.name in seen:
            raise WeightsError(
                f"two layers of the model are named {layer.name}, so a file can't tell their "
                "weights apart: give each its own name."
            )
        seen[layer.name] = layer
        names = [variable.name for variable in layer.weights]
        if len(set(names)) < len(names):  # a layer of layers: "query/kernel", "key/kernel"
            names = [v.path.removeprefix(f"{layer.name}/") for v in layer.weights]
        weights = sorted(zip(names, layer.weights), key=lambda item: weight_order(item[0]))
        for name, variable in weights:
            yield _Place(layer, name, variable, parents)


def _excluded_layers(model: Any, exclude: str | Iterable[str] | None) -> tuple[set[str], list[str]]:
    """(names of the layers to leave alone, a sentence for each entry that matches none)."""
    entries = [exclude] if isinstance(exclude, str) else list(exclude or [])
    layers = [(layer.name, parents) for layer, parents in _walk(model)]
    known = dict.fromkeys(name for layer, parents in layers for name in (layer, *parents))
    excluded, unknown = set(), []
    for entry in entries:
        try:
            pattern = re.compile(entry)
        except re.error as error:
            raise WeightsError(
                f"exclude: {entry!r} is neither a layer's name nor a regular expression ({error})."
            ) from error
        found = {
            layer
            for layer, parents in layers
            if any(name == entry or pattern.fullmatch(name) for name in (layer, *parents))
        }
        excluded |= found
        if not found and entry not in _NEVER_MISSED:
            near = difflib.get_close_matches(entry, known, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else "no name is near to it."
            unknown.append(
                f"exclude: the model has no layer {entry!r}, so nothing is left out; {hint}"
            )
    return excluded, unknown


# -- Matching -------------------------------------------------------------------------------


def _match(
    file: WeightsFile, wanted: list[_Place]
) -> tuple[list[tuple[_Place, Tensor]], LoadReport]:
    report = LoadReport(file.path, file.format)
    pairs, used = [], set()
    for place in wanted:
        key = place.key
        if key not in file.tensors:
            # Keras 3 numbers the tensors of a layer, in the order in which the layer made them.
            key = (place.layer.name, str(_own_index(place)))
        tensor = file.tensors.get(key)
        if tensor is None:
            report.missing.append(f"{join(place.key)} {place.shape}")
            continue
        used.add(key)
        if tensor.shape == place.shape:
            pairs.append((place, tensor))
            report.loaded.append(join(place.key))
        else:
            report.mismatched.append(f"{join(place.key)}: file {tensor.shape}, model {place.shape}")
    report.unused = [join(key) for key in file.tensors if key not in used]
    return pairs, report


def _own_index(place: _Place) -> int:
    return next(i for i, v in enumerate(place.layer.weights) if v is place.variable)


def _refuse_misfits(
    file: WeightsFile,
    wanted: list[_Place],
    pairs: list[tuple[_Place, Tensor]],
    report: LoadReport,
    by_name: bool,
) -> None:
    message = None
    if report.mismatched:
        theirs = {key: tensor.shape for key, tensor in file.tensors.items()}
        ours = {place.key: place.shape for place in wanted}
        message = explain_mismatch(file.path, report.mismatched, theirs, ours)
    elif not pairs:
        theirs = list(dict.fromkeys(layer for layer, _ in file.tensors))
        ours = list(dict.fromkeys(place.layer.name for place in wanted))
        message = (
            f"nothing of {file.path} fits the model: the file has tensors of {shorten(theirs)}, "
            f"the model wants those of {shorten(ours)}. Is it the file of another network?"
        )
    elif report.missing and not by_name:
        message = (
            f"{file.path} lacks {len(report.missing)} tensors of the model: "
            f"{shorten(report.missing)}. Load what it has with by_name=True."
        )
    if message:
        error = WeightsError(message)
        # What a loaded report says would be untrue: nothing has been assigned.
        report.loaded = []
        error.report = report
        raise error


def _adopt_epsilon(
    values: dict[tuple[str, str], np.ndarray], pairs: list[tuple[_Place, Tensor]], epsilon: float
) -> None:
    """Rescale gamma so that a batch norm made for `epsilon` keeps its output under the model's.

    gamma' = gamma * sqrt((variance + model's epsilon) / (variance + epsilon)) is exact for every
    variance as long as the moving statistics are used, as they are with TRAIN_BN = False;
    shifting the variance instead would turn small ones negative.
    """
    for place, _ in pairs:
        variance = values.get((place.layer.name, "moving_variance"))
        own = getattr(place.layer, "epsilon", None)
        if place.weight == "gamma" and variance is not None and own is not None:
            values[place.key] *= np.sqrt((variance + np.float32(own)) / (variance + epsilon))
