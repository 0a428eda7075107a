"""Which of the attributes that a tool keeps for each region holds its class.

Tools fill in attributes of their own, and people add theirs: VIA begins with name "not_defined" and
type "unknown", and the class is in a third.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mrcnn.data.formats.notes import FormatError, Notes, shortened
from mrcnn.words import listed

_USUAL = ("name", "class", "type", "label", "category")
_NOTHING = {
    *("", "not_defined", "not defined", "notdefined", "undefined", "unknown", "none", "null"),
    *("n/a", "na", "?", "-", "default", "unnamed"),
}
_MOST_CLASSES = 50  # names of more, one for nearly each region, are numbers or remarks


def value_of(value: Any) -> str | None:
    """An attribute's value as a label, or None if it is empty; checkboxes are {"cat": true}."""
    if isinstance(value, dict):
        ticked = [str(name) for name, on in value.items() if on is True]
        return " + ".join(ticked) or None
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value).strip() or None


def class_attribute(
    regions: Sequence[Mapping[str, Any]], wanted: str | None, source: object
) -> str | None:
    """The attribute that holds the class; None where regions have none.

    regions: the attributes of each. wanted: the one that the user named. source: what messages call
    the file.
    1. Of the attributes that most regions have, one whose values all say nothing ("unknown") is
       passed over, and one of which several boxes are ticked.
    2. Of those with a usual name the first one that varies, else the first.
    3. Else the one that varies and repeats its values, else the one that most regions have.
    Raises FormatError where no region has the wanted one.
    """
    values: dict[str, Counter[str]] = {}
    several: Counter[str] = Counter()
    for attributes in regions:
        for key, value in attributes.items():
            if (label := value_of(value)) is not None:
                values.setdefault(key, Counter())[label] += 1
            if isinstance(value, dict) and sum(on is True for on in value.values()) > 1:
                several[key] += 1
    if wanted is not None:
        if regions and wanted not in values:
            raise FormatError(
                f"{source}: no region has a value in the attribute {shortened(wanted)}; those that "
                f"have one are {listed(map(shortened, values)) or 'none'}."
            )
        return wanted
    counts = {key: found.total() for key, found in values.items()}
    usual = [key for key, count in counts.items() if 2 * count >= len(regions)]
    told = [key for key in usual if not _says_nothing(values[key])]
    told = [key for key in told if 2 * several[key] <= counts[key]]
    named = [key for name in _USUAL for key in told if key.strip().lower() == name]
    for keys in (named, [] if named else told):
        varying = [key for key in keys if _may_be_classes(values[key])]
        if varying or keys:
            return (varying or sorted(keys, key=lambda key: -counts[key]))[0]
    named = [key for name in _USUAL for key in usual if key.strip().lower() == name]
    return named[0] if named else max(counts, key=counts.get, default=None)


def tell_choice(
    regions: Iterable[Mapping[str, Any]], chosen: str | None, asked: bool, notes: Notes
) -> None:
    """Say which attribute was taken, and which others might be meant."""
    if chosen is None:
        return
    others: dict[str, Counter[str]] = {}
    for attributes in regions:
        for key, value in attributes.items():
            if key != chosen and (label := value_of(value)) is not None:
                others.setdefault(key, Counter())[label] += 1
    notes.say(f"The class of a region is its attribute {shortened(repr(chosen))}.")
    varying = [key for key, found in others.items() if _may_be_classes(found)]
    if varying and not asked:
        notes.say(
            f"Another attribute could be the class, too ({listed(map(shortened, varying), 3)}): "
            "--class-attribute decides (class_attribute= in Python)."
        )


def _says_nothing(values: Counter[str]) -> bool:
    return all(value.strip().casefold() in _NOTHING for value in values)


def _may_be_classes(values: Counter[str]) -> bool:
    """Whether values differ and come back, as classes do, and numbers of objects don't."""
    told = {value for value in values if value.strip().casefold() not in _NOTHING}
    if len(told) < 2 or len(told) > _MOST_CLASSES:
        return False
    return len(told) < values.total() or values.total() <= 3
