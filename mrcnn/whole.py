"""Files that get their name when they are complete, and don't write over somebody's work.

with whole(path) as unfinished:
    unfinished.write_text("...")

json.loads(regular_file(path).read_text())    # and none that never ends
"""

import contextlib
import errno
import os
import re
import stat
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

_UNFINISHED = re.compile(r"\..+\.(\d+)\.tmp")  # the process that writes it


@contextlib.contextmanager
def whole(path: str | os.PathLike, lasting: bool = False) -> Iterator[Path]:
    """A name beside `path` to write to; the file takes its place when the block ends well.

    What was at `path` stays until then, and nothing is left of a file that was begun.
    lasting: the bytes are on the disk before the name is: a machine that loses its power keeps one
        of the two files.
    Raises OSError, with the path that was asked for.
    """
    path = Path(path)
    unfinished = unfinished_name(path)
    try:
        yield unfinished
        if lasting:
            with unfinished.open("rb") as file:
                os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        if error.errno and error.filename in (None, os.fspath(unfinished), unfinished):
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)


def unfinished_name(path: Path) -> Path:
    """What a file is called while it is written; no longer than file systems bear."""
    name = path.name
    if len(os.fsencode(name)) > 100:
        name = f"{name[:20]}-{zlib.crc32(os.fsencode(name)):08x}"
    return path.with_name(f".{name}.{os.getpid()}.tmp")


def sweep(folder: str | os.PathLike) -> list[Path]:
    """Remove what writers that no longer live left unfinished in a folder; returns their paths."""
    swept = []
    for path in Path(folder).glob(".*.tmp"):
        writer = _UNFINISHED.fullmatch(path.name)
        if writer and not _lives(int(writer.group(1))):
            with contextlib.suppress(OSError):
                path.unlink()
                swept.append(path)
    return swept


def _lives(process: int) -> bool:
    if os.name == "nt":  # signal 0 would end it there
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


class WholeFile:
    """A text file that grows piece by piece beside its place; its folder is made.

    Raises OSError where it can't be written.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._end = contextlib.ExitStack()
        unfinished = self._end.enter_context(whole(path))
        # Names that are no text (surrogates): as they are in JSON, and as can be read in a page.
        self._file = unfinished.open("w", encoding="utf-8", errors="backslashreplace")

    def write(self, text: str) -> None:
        """Add a piece."""
        self._file.write(text)

    def close(self, tail: Iterable[str] | None) -> None:
        """Add the last pieces and put the file in its place; None: drop it."""
        with contextlib.suppress(_Dropped), self._end:
            with self._file:
                self._file.writelines(tail or ())
            if tail is None:
                raise _Dropped


class _Dropped(Exception):
    """Nobody wants the file any more."""


def regular_file(path: str | os.PathLike) -> Path:
    """The path, if a file lies there that can be read to its end.

    Of a pipe the reader would wait for a writer for ever, and a device may have no end.
    Raises OSError, with a sentence and the path: nothing there, a folder, or no file.
    """
    what = no_file(path)
    if what == "nothing":
        raise FileNotFoundError(errno.ENOENT, "There is no such file", os.fspath(path))
    if what:
        kind = IsADirectoryError if what == "a folder" else OSError
        code = errno.EISDIR if what == "a folder" else errno.EINVAL
        raise kind(code, f"It is {what}, not a file", os.fspath(path))
    return Path(path)


def no_file(path: str | os.PathLike) -> str:
    """What lies at a path in place of a file, such as "a pipe"; "" where it is a file."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "a link to nothing" if os.path.islink(path) else "nothing"
    except ValueError:  # a zero byte in it
        return "nothing"
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "a link in a circle"
        raise
    kinds = {stat.S_IFREG: "", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe"}
    return kinds.get(stat.S_IFMT(mode), "a socket" if stat.S_ISSOCK(mode) else "a device")


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
