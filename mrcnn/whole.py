"""Files that get their name when they are complete, and don't write over somebody's work.

with whole(path) as unfinished:
    unfinished.write_text("...")

json.loads(regular_file(path).read_text())    # and none that never ends
"""

import contextlib
import errno
import os
import re
import shutil
import stat
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

_UNFINISHED = re.compile(r"\..+\.(\d+)\.tmp")  # the process that writes it
_STARTED = time.time()
_NO_ROOM = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your quota on this disk is used up",
    errno.EFBIG: "no file may be so large here",
}


@contextlib.contextmanager
def whole(
    path: str | os.PathLike, lasting: bool = False, size: int | None = None
) -> Iterator[Path]:
    """A name beside `path` to write to; the file takes its place when the block ends well.

    What was at `path` stays until then, and nothing is left of a file that was begun.
    lasting: the bytes are on the disk before the name is: a machine that loses its power keeps one
        of the two files.
    size: bytes that it will have, where they are known: a full disk is then told what is missing.
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
            _removed(unfinished)  # before the room is measured
            raise OSError(error.errno, _reason(error, path, size), os.fspath(path)) from error
        raise
    finally:
        _removed(unfinished)


def _removed(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _reason(error: OSError, path: Path, size: int | None) -> str:
    """What kept a file from being written, in words; of a full disk, how much is missing."""
    if error.errno not in _NO_ROOM:
        return str(error.strerror)
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError:
        free = None
    told = _NO_ROOM[error.errno]
    if size:
        told += f": {megabytes(size)} are needed"
        if free is not None and free < size:  # more is free where a quota ended it
            told += f", {megabytes(free)} are free, so {megabytes(size - free)} are missing"
    return told


def megabytes(size: float) -> str:
    """A number of bytes for a person."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.1f} kB"


def unfinished_name(path: Path) -> Path:
    """What a file is called while it is written; no longer than file systems bear."""
    name = path.name
    if len(os.fsencode(name)) > 100:
        name = f"{name[:20]}-{zlib.crc32(os.fsencode(name)):08x}"
    return path.with_name(f".{name}.{os.getpid()}.tmp")


def sweep(folder: str | os.PathLike, untouched: float = 0) -> list[Path]:
    """Remove what writers that no longer live left unfinished in a folder; returns their paths.

    untouched: seconds for which nothing was written to it, where another machine may share the
        folder: whether its writers live can't be asked here.
    """
    swept = []
    for path in Path(folder).glob(".*.tmp"):
        writer = _UNFINISHED.fullmatch(path.name)
        with contextlib.suppress(OSError):
            written = path.stat().st_mtime
            if (
                writer
                and not _lives(int(writer[1]), written)
                and written <= time.time() - untouched
            ):
                path.unlink()
                swept.append(path)
    return swept


def _lives(process: int, written: float) -> bool:
    if process == os.getpid():  # a container counts from 1 again each time it is started
        return written >= _STARTED - 1
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
    taken = [path] if path.exists() else []
    if path.is_dir():
        patterns = ("*.json", "*.geojson", "data.yaml", "labels/*.txt")
        taken = [file for pattern in patterns for file in sorted(path.glob(pattern))]
    if taken:
        raise FileExistsError(
            errno.EEXIST,
            "It exists already and may hold corrections made by hand: choose another place, or "
            "overwrite it (--force; in Python overwrite=True)",
            str(taken[0]),
        )
