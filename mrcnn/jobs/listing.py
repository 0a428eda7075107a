"""From what a person names to the list of pictures of a job, sorted, each once.

list_pictures(["scans/", "more/**/*.png", "s3://bucket/scans", "list.txt", "table.parquet"])

A folder gives its picture files, not those of folders in it; ** in a pattern does. A .txt file has
a picture a line; of a .parquet or .csv file a column holds them. Relative paths in such a file
begin at its folder. What a list names isn't looked for before its turn comes.
"""

import os
import posixpath
from collections.abc import Iterable, Iterator
from glob import has_magic

from mrcnn.data.pictures import SUFFIXES, VIDEO_SUFFIXES, PictureError, find_pictures
from mrcnn.errors import UsageError
from mrcnn.jobs.storage import WEB, filesystem, opened, scheme
from mrcnn.jobs.tables import column_of
from mrcnn.words import printable

_LISTS = (".txt", ".csv", ".parquet")


def list_pictures(given: Iterable[str], column: str | None = None) -> list[str]:
    """The paths and addresses that are meant, absolute, sorted, each once.

    given: folders, files, patterns, addresses and lists. column: of tables.
    Raises UsageError and PictureError where one of them gives nothing, OSError where a list can't
    be read.
    """
    found: set[str] = set()
    for word in given:
        before = len(found)
        found.update(_as_text(path) for path in _meant(word, column))
        if len(found) == before and not found:
            raise UsageError(f"{printable(word)} lists no picture.")
    return sorted(found)


def _as_text(path: str) -> str:
    # A table holds text: a name that is none stands in it as people see it, and won't be found.
    return path.encode("utf-8", "backslashreplace").decode()


def _meant(word: str, column: str | None) -> Iterator[str]:
    suffix = os.path.splitext(word)[1].lower()
    if suffix in VIDEO_SUFFIXES:
        raise UsageError(
            f"{printable(word)} is a video, and a job is over pictures: leave --job out for it."
        )
    if word == "-":
        raise UsageError("a job can't take its picture from standard input: give a file.")
    if suffix in _LISTS and not has_magic(word):
        yield from _listed(word, suffix, column)
    elif scheme(word) in WEB:
        yield word
    elif scheme(word):
        yield from _stored(word)
    else:
        yield from (os.path.abspath(path) for path in find_pictures([word]))


def _listed(word: str, suffix: str, column: str | None) -> Iterator[str]:
    shown = printable(word)
    word = word if scheme(word) else os.path.abspath(os.path.expanduser(word))
    with opened(word) as file:
        if suffix == ".txt":
            lines = file.read().decode("utf-8-sig", "surrogateescape").splitlines()
            paths = [line.strip() for line in lines]
        else:
            paths = column_of(file, shown, suffix, column)
    yield from (_placed(path, word) for path in paths if path)


def _placed(path: str, beside: str) -> str:
    """A path in a list; a relative one begins at the list's folder."""
    if scheme(path):
        return path
    if scheme(beside):
        return posixpath.join(posixpath.dirname(beside), path)
    return os.path.normpath(os.path.join(os.path.dirname(beside), os.path.expanduser(path)))


def _stored(word: str) -> Iterator[str]:
    """What a folder, a pattern or a file in a storage gives."""
    store, shown = filesystem(word), printable(word)
    try:
        if has_magic(word):
            paths = [path for path in store.glob(word) if not store.isdir(path)]
        elif store.isdir(word):
            entries = store.ls(word, detail=True)
            paths = [entry["name"] for entry in entries if entry["type"] == "file"]
        elif store.exists(word):
            yield word
            return
        else:
            raise PictureError(f"there is no file or folder {shown}.")
    except (PictureError, UsageError):
        raise
    except Exception as error:  # each storage's package has errors of its own
        raise PictureError(f"can't look into {shown}: {printable(error)}.") from error
    pictures = [path for path in paths if os.path.splitext(path)[1].lower() in SUFFIXES]
    if not pictures:
        raise PictureError(
            f"no picture in {shown}: none of its {len(paths)} files has one of the suffixes "
            f"{', '.join(SUFFIXES)}."
        )
    yield from (store.unstrip_protocol(path) for path in pictures)
