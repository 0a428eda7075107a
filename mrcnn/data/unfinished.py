"""Files that get their name when they are complete, and don't write over somebody's work."""

import errno
import os
from collections.abc import Iterable
from pathlib import Path


class UnfinishedFile:
    """A text file, written piece by piece beside its place; its folder is made.

    Raises OSError where it can't be written.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self._file = self._unfinished.open("w", encoding="utf-8")

    def write(self, text: str) -> None:
        """Add a piece."""
        self._file.write(text)

    def close(self, tail: Iterable[str] | None) -> None:
        """Add the last pieces and put the file in its place; None: drop it."""
        try:
            with self._file:
                self._file.writelines(tail or ())
            if tail is not None:
                os.replace(self._unfinished, self._path)
        finally:
            self._unfinished.unlink(missing_ok=True)


def check_free(path: str | os.PathLike) -> None:
    """Raise FileExistsError if a file, or a folder with annotation files in it, is there already.

    Somebody may have corrected it by hand, and such work must not be lost to a second run.
    """
    path = Path(path)
    taken = sorted(path.glob("*.json"))[:1] if path.is_dir() else [path] if path.exists() else []
    if taken:
        raise FileExistsError(
            errno.EEXIST,
            "It exists already and may hold corrections made by hand: choose another place, or "
            "overwrite it (--force; in Python overwrite=True)",
            str(taken[0]),
        )
