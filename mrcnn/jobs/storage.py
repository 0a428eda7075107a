"""Where pictures lie: on this machine, at http addresses, and in what fsspec knows (s3://, gs://).

read("/scans/a.png")             # bytes
read("s3://bucket/scans/a.png")
"""

import functools
import io
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

from mrcnn.data.pictures import PictureError
from mrcnn.data.sources import MOST_BYTES, fetch
from mrcnn.errors import UsageError
from mrcnn.extras import how_to_install
from mrcnn.whole import regular_file
from mrcnn.words import printable

WEB = ("http", "https")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs"}
_PACKAGES |= {"abfs": "adlfs", "abfss": "adlfs"}
_TRIES = 3  # of what lies elsewhere
_PAUSE = 1.0  # seconds before the second try; each further one waits four times as long
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError)  # another try changes nothing

T = TypeVar("T")


def scheme(path: str) -> str:
    """ "s3" of s3://bucket/a.png, "" of a path on this machine."""
    found = _SCHEME.match(path)
    return found[1].lower() if found else ""


def filesystem(path: str) -> Any:
    """What fsspec reaches an address with. Raises UsageError where a package is missing."""
    return _filesystem(scheme(path))


@functools.cache
def _filesystem(kind: str) -> Any:
    try:
        import fsspec
    except ImportError as error:
        raise UsageError(
            f"{kind}:// needs the package fsspec ({error}): {how_to_install('jobs')}."
        ) from error
    try:
        return fsspec.filesystem(kind)
    except ImportError as error:
        package = _PACKAGES.get(kind)
        how = f"pip install {package}" if package else f"{printable(error)}"
        raise UsageError(f"{kind}:// needs one more package: {how}.") from error
    except ValueError as error:
        raise UsageError(f"{kind}:// is no kind of storage that fsspec knows.") from error


def opened(path: str) -> IO[bytes]:
    """A file to read, wherever it lies. Raises OSError, UsageError and PictureError."""
    kind = scheme(path)
    if not kind:
        return regular_file(path).open("rb")
    if kind in WEB:
        return io.BytesIO(read(path))
    return filesystem(path).open(path, "rb")


def read(path: str) -> bytes:
    """The bytes of a picture file.

    What lies elsewhere is asked for three times. Raises PictureError, OSError, and whatever a
    storage's package raises.
    """
    kind = scheme(path)
    if not kind:
        file = regular_file(path)
        _check_size(path, file.stat().st_size)
        return Path(file).read_bytes()
    return _patiently(lambda: _from_web(path) if kind in WEB else _from_storage(path))


def _from_web(address: str) -> bytes:
    file = io.BytesIO()
    fetch(address, file, MOST_BYTES)
    return file.getvalue()


def _from_storage(path: str) -> bytes:
    store = filesystem(path)
    _check_size(path, store.size(path) or 0)
    return bytes(store.cat_file(path))


def _check_size(path: str, size: int) -> None:
    if size > MOST_BYTES:
        raise PictureError(
            f"{printable(path)} has more than {MOST_BYTES >> 20:,} MB: that is no picture that can "
            "be worked on."
        )


def _patiently(ask: Callable[[], T]) -> T:
    pause = _PAUSE
    for _ in range(_TRIES - 1):
        try:
            return ask()
        except (*_FINAL, UsageError):
            raise
        except PictureError as error:
            if not isinstance(error.__cause__, OSError):  # the server has answered
                raise
        except Exception:  # a storage's package has errors of its own
            pass
        time.sleep(pause)
        pause *= 4
    return ask()
