"""From files to the arrays that the network eats: pictures, masks and targets.

from mrcnn.data import open      # labelled pictures of any format, see mrcnn.data.formats
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """`open`, when it is asked for: the readers load what nothing else here needs."""
    if name == "open":
        from mrcnn.data.formats import open

        return open
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
