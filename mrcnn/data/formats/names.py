"""What names of classes say beside the class: that it is the background, or that they count."""

import re
from collections.abc import Iterable

from mrcnn.words import listed

_BACKGROUND = {"bg", "background", "ignore", "ignored", "unlabeled", "unlabelled"}
# A network's class where it stands alone: voids are what X-rays of solder are searched for.
_BETWEEN_UNDERSCORES = {*_BACKGROUND, "void", "none"}


def is_background(name: str) -> bool:
    """Whether tools mean no class by a name, such as `_background_` or `__ignore__`."""
    name = name.strip().casefold()
    bare = name.strip("_")
    return bare in _BACKGROUND or (name != bare and bare in _BETWEEN_UNDERSCORES)


def numbered(names: Iterable[str]) -> str | None:
    """A sentence about names that differ by a number alone, such as horse-1 and horse-2."""
    groups: dict[str, list[str]] = {}
    for name in names:
        # "class 1" is what the readers call one without a name.
        found = re.fullmatch(r"(.*[^\W\d_])[-_ .#(]*\d+\)?", name)
        if found and found[1] != "class":
            groups.setdefault(found[1].casefold(), []).append(name)
    several = [group for group in groups.values() if len(group) > 1]
    if not several:
        return None
    most = max(several, key=len)
    return (
        f"The classes {listed(most[:6])}{' ..' if len(most) > 6 else ''} differ by a number alone. "
        "If it counts the objects of a picture, they are one class: label them all by one name, "
        "or rename them as they are read (class_map in Python)."
    )
