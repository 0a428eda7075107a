"""Classes of weights or results, and those of the data: which is which, by name."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from mrcnn.data.classes import unnamed_cure
from mrcnn.errors import UsageError
from mrcnn.words import listed, plain_name


def match_names(
    theirs: Mapping[Any, str],
    ours: Mapping[int, str],
    who: str,
    named: bool = True,
    labels: Counter[str] | None = None,
    class_name: str = "object",
) -> tuple[dict[Any, int], list[str]]:
    """Which class of `ours`, the data's, each of `theirs` is.

    theirs, ours: names by class id, without the background. Case and _ for a space make no
        difference. who: whose classes theirs are, for messages: "weights" or "results".
    named: False where their names are made up and say nothing but a number.
    labels: how many the data have of each class; None: nobody counted. class_name: what the
        readers called a class that the data don't name.
    Returns {their id: our id}, without those that the data don't have, and a sentence for all that
    is not one to one. Raises UsageError where no class is in both, or most labels are of classes
    that they don't know.
    """
    if named:
        by_name = {plain_name(name): class_id for class_id, name in ours.items()}
        matched = {
            i: by_name[plain_name(name)]
            for i, name in theirs.items()
            if plain_name(name) in by_name
        }
        if matched:
            if labels:
                _refuse_mostly_unknown(theirs, ours, matched, who, labels, class_name)
            return matched, _differences(theirs, ours, matched, who, labels)
    if len(theirs) == len(ours) == 1:
        (their_id, their_name), (our_id, our_name) = *theirs.items(), *ours.items()
        note = (
            f"The {who} know one class, {their_name}, and the data one, {our_name}: taken as one."
        )
        return {their_id: our_id}, [note]
    if not named and len(theirs) == len(ours):
        note = (
            f"The {who} don't name their {len(theirs)} classes: taken in the order of the data's, "
            f"{listed(ours.values())}. If that is wrong, give --classes."
        )
        return dict(zip(theirs, ours)), [note]
    known = listed(theirs.values()) if named else f"{len(theirs)} classes without names"
    raise UsageError(
        f"no class is in both: the {who} know {known}; the data {listed(ours.values())}."
        + _cure(theirs, set(labels or ours.values()), who, class_name)
    )


def _refuse_mostly_unknown(
    theirs: Mapping[Any, str],
    ours: Mapping[int, str],
    matched: Mapping[Any, int],
    who: str,
    labels: Counter[str],
    class_name: str,
) -> None:
    """Numbers that count most labels as missed say nothing about what was found."""
    strange = {
        name: labels[name] for i, name in ours.items() if i not in matched.values() and labels[name]
    }
    if 2 * sum(strange.values()) > labels.total():
        raise UsageError(
            f"most labels, {sum(strange.values()):,} of {labels.total():,}, are of classes that "
            f"the {who} don't know: {listed(strange)}. They know {listed(theirs.values())}."
            + _cure(theirs, set(strange), who, class_name)
        )


def _cure(theirs: Mapping[Any, str], strange: set[str], who: str, class_name: str) -> str:
    if strange == {class_name}:
        return f" {unnamed_cure(theirs.values(), class_name)}"
    return " Name the classes of the weights with --classes." if who == "weights" else ""


def _differences(
    theirs: Mapping[Any, str],
    ours: Mapping[int, str],
    matched: Mapping[Any, int],
    who: str,
    labels: Counter[str] | None,
) -> list[str]:
    unlabelled = [name for i, name in theirs.items() if i not in matched]
    unknown = [
        name
        for i, name in ours.items()
        if i not in matched.values() and (labels is None or labels[name])
    ]
    notes = []
    if unlabelled:
        notes.append(
            f"{_count(unlabelled)} of the {who} not in the data, left out: {listed(unlabelled)}."
        )
    if unknown:
        notes.append(
            f"{_count(unknown)} of the data not known to the {who}, so that its AP is 0: "
            f"{listed(unknown)}."
        )
    return notes


def _count(names: list[str]) -> str:
    return "A class" if len(names) == 1 else f"{len(names)} classes"
