"""Numbers and names in sentences."""

from collections.abc import Iterable

LISTED = 10  # names written out in a sentence


def counted(number: int, thing: str) -> str:
    """ "1 picture", "2,000 pictures"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def listed(names: Iterable[str], most: int = LISTED) -> str:
    """Names behind commas, and how many more there are."""
    names = [str(name) for name in names]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
