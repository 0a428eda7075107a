"""A training's plan in words: what was chosen, so that a person can see it and object."""

from pathlib import Path

import numpy as np

from mrcnn.config import Config
from mrcnn.data.scaling import Rule
from mrcnn.data.survey import badly_met
from mrcnn.devices import nvidia_gpus
from mrcnn.train.choices import SMALL, is_compact, larger_input, network_sides
from mrcnn.train.finding import OF_RUNS
from mrcnn.train.plan import Plan
from mrcnn.weights.download import KNOWN_FILES
from mrcnn.words import counted, listed

_SHOWN = 10  # classes whose instances are counted on the screen


def lines(plan: Plan) -> list[str]:
    """What is going to be done, in lines, notes of the readers first."""
    config, survey, wishes = plan.config, plan.survey, plan.wishes
    report = survey.report
    counts = {name: count for name, (count, _) in survey.per_class().items()}
    there = sorted(filter(counts.get, counts), key=counts.get, reverse=True)
    shown = [f"{name} {counts[name]:,}" for name in there[:_SHOWN]]
    more = len(there) - _SHOWN
    shown += [f"and {more} more class{'es' if more > 1 else ''}"] if more > 0 else []
    absent = [name for name in counts if not counts[name]]
    read = (
        ""
        if report.checked == report.total
        else f" (in {counted(report.checked, 'picture')} looked at)"
    )
    missed = badly_met(survey.network_boxes(config), config)
    rows = {
        "pictures": f"{plan.train.num_images:,} to train on, {plan.val.num_images:,} to validate",
        "instances": ", ".join(shown) + read,
        "instance size": _about_sizes(plan),
        "not labelled": _not_labelled(absent, plan.left_out),
        "not in training": f"{plan.unseen}: can't be learned" if plan.unseen else "",
        "weights": _about_weights(plan),
        "network": f"{config.BACKBONE}, {_about_input(config)}, {config.BATCH_SIZE} at a time",
        "anchors": f"{', '.join(f'{scale:g}' for scale in config.RPN_ANCHOR_SCALES)} pixels; "
        f"{1 - missed:.0%} of the boxes meet one with an IoU of 0.5",
        "instances used": f"{config.MAX_GT_INSTANCES} a picture at most; "
        f"{config.DETECTION_MAX_INSTANCES} are detected at most",
        "training": _about_training(plan),
        "logs": f"{Path(wishes.logs) / str(config.NAME).lower()}<date>",
    }
    if not plan.start.resume and wishes.weights is None:
        rows["weights"] += _about_choice(plan)
    if not plan.gpu:
        slow = "" if is_compact(config) else ": this network will be slow"
        unseen = " that TensorFlow sees (mrcnn inspect --env)" if nvidia_gpus() else ""
        rows["device"] = f"no GPU{unseen}, so pictures are kept small{slow}"
    notes = dict.fromkeys([*plan.train.notes, *plan.val.notes])
    return [*notes, *(f"{name:15} {text}" for name, text in rows.items() if text)]


def _about_weights(plan: Plan) -> str:
    start = plan.start
    if start.info is None:
        return f"random{_untrained(plan)}"
    text = str(start.path) if start.name in OF_RUNS else start.name
    if start.resume:
        return f"{text}, going on with this run and its Config"
    if start.fetch:
        known = KNOWN_FILES[start.fetch]
        size = f"{known.size / 2**20:.0f} MB " if known.size else ""
        text += f", fetched first: {size}from {known.url}, to be kept in {start.path.parent}"
    if start.others:
        text = f"a new run that begins with {text}, which is of other classes"
    text += _about_heads(plan) if plan.exclude else ""
    return text + _untrained(plan)


def _about_choice(plan: Plan) -> str:
    """Why these weights, where nobody named any, and what others would bring."""
    if plan.gpu:
        return " (--weights names others)"
    size = KNOWN_FILES["coco"].size / 2**20
    return (
        ", which comes with the package and suits a processor (--weights coco, a download of "
        f"{size:.0f} MB, knows 80 everyday things and trains many times slower)"
    )


def _about_heads(plan: Plan) -> str:
    """Which classes the heads know already, for a line about the weights."""
    if not plan.rows:
        return ", new heads for these classes"
    if plan.start.any:
        return ": the heads begin with what they know of any object"
    names = plan.train.class_names
    known = [name for i, name in enumerate(names) if i and i in plan.rows]
    others = [name for i, name in enumerate(names) if i not in plan.rows]
    theirs = plan.start.class_names
    left = [name for i, name in enumerate(theirs) if i not in plan.rows.values()]
    text = f": the heads keep what they know of {listed(known)}"
    text += f", and begin anew for {listed(others)}" if others else ""
    if not left:
        return text
    if len(left) > _SHOWN:
        return f"{text}; {len(left)} other classes are left out"
    return f"{text}; {listed(left)} {'is' if len(left) == 1 else 'are'} left out"


def _untrained(plan: Plan) -> str:
    """What would stay random, for a line about the weights."""
    if not plan.untrained:
        return ""
    return (
        f". NOTE: {counted(len(plan.untrained), 'layer')} would stay random, being neither in the "
        f"weights nor among the layers that train: {listed(plan.untrained, 4)}. --layers all "
        "trains them"
    )


def _about_sizes(plan: Plan) -> str:
    survey, config = plan.survey, plan.config
    if not len(survey.boxes):
        return ""
    sides = network_sides(config, survey)
    median = np.median(np.sqrt(survey.box_sizes.prod(axis=1)))
    text = f"{median:.0f} pixels (median) in the pictures, {np.median(sides):.0f} in the network"
    larger = larger_input(config, survey, plan.gpu)
    share = (sides < SMALL).mean()
    if share > 0.25:
        text += f"; {share:.0%} are below {SMALL} there, of which masks are mostly rim"
    if larger and not plan.start.resume:
        text += f": {' '.join(f'--set {setting}' for setting in larger)} enlarges them"
    return text


def _not_labelled(absent: list[str], left_out: list[str]) -> str:
    told = [f"{listed(absent)}: can't be learned"] if absent else []
    return "; ".join([*told, *([f"{listed(left_out)}: left out"] if left_out else [])])


def _about_input(config: Config) -> str:
    if config.IMAGE_RESIZE_MODE == "square":
        text = f"pictures scaled to {config.IMAGE_MAX_DIM}x{config.IMAGE_MAX_DIM}"
    elif config.IMAGE_RESIZE_MODE == "crop":
        larger = f", scaled by {config.IMAGE_MIN_SCALE:g}" if config.IMAGE_MIN_SCALE else ""
        text = f"pieces of {config.IMAGE_MIN_DIM}x{config.IMAGE_MIN_DIM} cut from pictures{larger}"
    else:
        text = f"pictures in mode {config.IMAGE_RESIZE_MODE}"
    return ", ".join([text, *about_files(config)])


def about_files(config: Config) -> list[str]:
    """What of the files is looked at, where it isn't the usual."""
    rule, found = Rule.of(config), []
    if rule.channels is not None:
        numbers = listed(map(str, rule.channels))
        found.append(f"channel{'s' if len(rule.channels) > 1 else ''} {numbers}")
    if rule.plane is not None:
        found.append(f"plane {rule.plane} of stacks")
    if rule.range == "type":
        found.append("0..255 by the type of their values")
    elif not isinstance(rule.range, str):
        found.append(f"0..255 from values of {rule.range[0]:g} to {rule.range[1]:g}")
    return found


def _about_training(plan: Plan) -> str:
    config = plan.config
    epochs = f"up to epoch {plan.epochs}" if plan.epochs else "up to the epoch it was begun for"
    wishes = plan.wishes
    layers = {"all": "all layers"}.get(wishes.layers, f"layers {wishes.layers}")
    return (
        f"{layers} {epochs}, of {counted(config.STEPS_PER_EPOCH, 'step')}; learning rate "
        f"{config.LEARNING_RATE:g}, {config.LEARNING_RATE_SCHEDULE}; augmentation {wishes.augment}"
    )
