"""Bytes from a server into a file, over as many connections as it takes.

Until all have come they lie in `<path>.part`. `<path>.part.json` beside it says which version of
the server's file they are of, so that no file is put together from two.
"""

import contextlib
import http.client
import json
import os
import re
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

TIMEOUT = 30.0  # seconds without a byte after which a connection counts as broken
# A full disk is an OSError too, and no reason to try again.
_NETWORK_ERRORS = (urllib.error.URLError, ConnectionError, TimeoutError, ssl.SSLError)
_BLOCK = 1 << 18  # bytes read at a time


class Broken(Exception):
    """A connection failed in a way that may pass."""


class NotWanted(Exception):
    """Something else than the wanted file comes; the message ends "what came ..."."""


class _Another(Exception):
    """What comes is of another version than what is there."""


@dataclass(frozen=True)
class Version:
    """What a server says of its file: two answers that say the same send the same bytes.

    tag: a strong ETag, or the time of the last change; None where the server says neither.
    size: bytes; None where it doesn't say.
    """

    url: str
    tag: str | None = None
    size: int | None = None


def transfer(url: str, part: Path, begins: bytes, size: int | None, verbose: int) -> bool:
    """One connection: fetch what `part` still lacks, or all of it if that is of another version.

    begins: the first bytes of every wanted file. size: of the wanted file, where it is known.
    Returns whether the server said where the file ends; else only its content can tell.
    Raises Broken for what may pass, HTTPError for what will not, and NotWanted.
    """
    version = _read(part, url)
    start = part.stat().st_size if version else 0
    request = urllib.request.Request(
        url, headers={"User-Agent": "mrcnn", "Accept-Encoding": "identity"}
    )
    if start:
        request.add_header("Range", f"bytes={start}-")
        request.add_header("If-Range", version.tag)
    try:
        with contextlib.closing(urllib.request.urlopen(request, timeout=TIMEOUT)) as response:
            start, now = _extent(response, url, start, version)
            if size is not None and now.size not in (None, size):
                raise NotWanted(f"has {now.size:,} bytes and not {size:,}")
            _write(part, now)
            received = _copy(response, part, start, begins, now.size or size, verbose)
            # http.client itself raises where chunks break off.
            told = now.size is not None or bool(getattr(response, "chunked", False))
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # nothing is left to send, or the file has changed
            if version.size == start == _total(error.headers.get("Content-Range", "")):
                return True
            discard(part)
            raise Broken("what lay in the .part file doesn't belong to the server's file") from None
        if error.code in (408, 429) or error.code >= 500:
            raise Broken(f"the server answers {error.code} {error.reason}") from None
        raise
    except _Another:
        discard(part)
        raise Broken("the server's file is another one than before") from None
    except (*_NETWORK_ERRORS, http.client.HTTPException) as error:
        raise Broken(f"no connection ({getattr(error, 'reason', None) or error!r})") from error
    if now.size is not None and received != now.size:
        raise Broken(f"the connection broke off after {received:,} of {now.size:,} bytes")
    return told


def discard(part: Path) -> None:
    """Forget what has come."""
    part.unlink(missing_ok=True)
    _beside(part).unlink(missing_ok=True)


@contextlib.contextmanager
def alone(part: Path, verbose: int) -> Iterator[None]:
    """Let one process at a time fetch to a place; others wait. (Not on Windows.)"""
    try:
        import fcntl
    except ImportError:
        yield
        return
    path = part.with_name(f"{part.name}.lock")
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        with contextlib.closing(os.fdopen(lock, "r+b")):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if verbose:
                    print(f"Another process fetches {part.stem}: waiting for it.", file=sys.stderr)
                fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_at(lock, path):  # whoever had it before has removed it
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


# -- Which version it is --------------------------------------------------------------------


def _beside(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read(part: Path, url: str) -> Version | None:
    """The version that the bytes in `part` are of, if they can be gone on with."""
    try:
        version = Version(**json.loads(_beside(part).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return version if version.url == url and version.tag and part.exists() else None


def _write(part: Path, version: Version) -> None:
    _beside(part).write_text(json.dumps(asdict(version)), encoding="utf-8")


def _extent(
    response: http.client.HTTPResponse, url: str, start: int, before: Version | None
) -> tuple[int, Version]:
    """(first byte that comes, version of the file)."""
    headers = response.headers
    tag = headers.get("ETag", "")
    tag = tag if tag.startswith('"') else headers.get("Last-Modified")
    content_range = headers.get("Content-Range", "")
    if response.status == 206 and start and content_range.startswith(f"bytes {start}-"):
        version = Version(url, tag or before.tag, _total(content_range))
        if version.tag != before.tag or before.size not in (None, version.size):
            raise _Another
        return start, version
    if response.status == 206:
        raise Broken(f"the server sent other bytes than asked for ({content_range})")
    length = headers.get("Content-Length", "")
    whole = re.fullmatch(r"[0-9]{1,18}", length) and "chunked" not in headers.get(
        "Transfer-Encoding", ""
    )
    return 0, Version(url, tag, int(length) if whole else None)


def _total(content_range: str) -> int | None:
    match = re.fullmatch(r"bytes .*/([0-9]{1,18})", content_range.strip())
    return int(match.group(1)) if match else None


# -- The bytes ------------------------------------------------------------------------------


def _copy(
    response: http.client.HTTPResponse,
    part: Path,
    start: int,
    begins: bytes,
    total: int | None,
    verbose: int,
) -> int:
    """Append (or write anew, from byte 0) what comes; returns the size of `part` after it."""
    received = start
    with part.open("ab" if start else "wb") as file:
        for block in _shown(_blocks(response), start, total, verbose):
            if received == 0 and not block.startswith(begins[: len(block)]):
                raise NotWanted(f"is {looks_like(block[:12])}, not an HDF5 file")
            file.write(block)
            received += len(block)
            if total is not None and received > total:
                raise NotWanted(f"has more than the {total:,} bytes that it should have")
    return received


def looks_like(head: bytes) -> str:
    """What a file seems to be, by its first bytes, that is no HDF5 file."""
    return "a web page" if head.lstrip()[:1] == b"<" else f"something that begins with {head!r}"


def _blocks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while block := response.read(_BLOCK):
        yield block


def _shown(blocks: Iterator[bytes], start: int, total: int | None, verbose: int) -> Iterator[bytes]:
    """Pass the blocks on and show progress on stderr: a bar on a terminal, else a few lines."""
    terminal = sys.stderr.isatty()
    began = shown = time.monotonic()
    received = start
    for block in blocks:
        yield block
        received += len(block)
        now = time.monotonic()
        last = received == total
        if not verbose or (now - shown < (0.2 if terminal else 10.0) and not last):
            continue
        shown = now
        speed = (received - start) / max(now - began, 1e-6) / 1e6
        text = f"{received / 1e6:8.1f} MB  {speed:6.1f} MB/s"
        if total:
            done = min(received / total, 1.0)
            text = f"[{'=' * int(30 * done):30}] {done:4.0%} {text} of {total / 1e6:.1f} MB"
        print(f"\r{text}" if terminal else text, file=sys.stderr, end="" if terminal else "\n")
    if verbose and terminal:
        print(file=sys.stderr)
