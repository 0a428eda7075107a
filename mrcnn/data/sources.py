"""What people give to be looked through: files, folders, patterns, addresses, standard input.

for source in find_sources(["holiday", "film.mp4", "https://example.org/a.jpg", "-"], Path("out")):
    source.bring()                # fetches what isn't a file yet
    read_picture(source.path)     # or mrcnn.data.video.Video, where source.is_video
"""

import contextlib
import http.client
import os
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mrcnn.data.pictures import VIDEO_SUFFIXES, PictureError, find_pictures
from mrcnn.whole import whole
from mrcnn.words import printable

STDIN = "-"
MOST_BYTES = 512 << 20  # of a picture
MOST_BYTES_OF_VIDEO = 4 << 30
PATIENCE = 30.0  # seconds without a byte after which a connection counts as broken
SECONDS = 900.0  # that fetching one thing may take
_BLOCK = 1 << 18  # bytes read at a time
# What is watched while it comes, and has no end that one could wait for.
_LIVE = ("rtsp", "rtsps", "rtmp", "rtmps", "udp", "tcp", "srt", "rtp", "mms")
_LIVE_SUFFIXES = (".m3u8", ".mpd", ".mjpg", ".mjpeg", ".sdp")
_CAMERA = re.compile(r"\d{1,2}")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    """One picture or video.

    path: where it lies, or will lie when it is fetched.
    address: what it is fetched from, "-" for standard input; "" for a file that is there.
    """

    path: Path
    address: str = ""

    @property
    def is_video(self) -> bool:
        """Whether its name is that of a video."""
        return self.path.suffix.lower() in VIDEO_SUFFIXES

    @property
    def is_live(self) -> bool:
        """Whether it is a camera or a stream, which is watched and not fetched."""
        return bool(_CAMERA.fullmatch(self.address)) or is_live(self.address)

    def __str__(self) -> str:
        if _CAMERA.fullmatch(self.address):
            return f"camera {self.address}"
        return printable("standard input" if self.address == STDIN else self.address or self.path)

    def bring(self) -> None:
        """Fetch it, if it is no file yet.

        Raises PictureError, and OSError where it can't be kept.
        """
        if not self.address or self.is_live:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        most = MOST_BYTES_OF_VIDEO if self.is_video else MOST_BYTES
        with whole(self.path) as unfinished, unfinished.open("wb") as file:
            if self.address == STDIN:
                _from_stdin(file, most)
            else:
                fetch(self.address, file, most)


def is_live(address: str) -> bool:
    """Whether an address is that of a stream: rtsp://, http://../live.m3u8 and the like."""
    scheme = _SCHEME.match(address)
    kind = scheme[1].lower() if scheme else ""
    path = re.split("[?#]", address)[0].lower()
    return kind in _LIVE or (kind in ("http", "https") and path.endswith(_LIVE_SUFFIXES))


def find_sources(given: Iterable[str | os.PathLike], folder: Path) -> list[Source]:
    """All that is meant by names of files, folders, patterns and addresses, each once, in order.

    given: what `find_pictures` takes, http(s) addresses, "-" for a picture on standard input,
        addresses of streams (rtsp, rtmp ..), and the number of a camera where no file is called so.
    folder: where fetched ones will lie; nothing is fetched or made yet.
    Raises PictureError where one of them gives nothing, or can't be taken.
    """
    found: dict[str, Source] = {}
    taken: set[str] = set()
    for word in map(os.fspath, given):
        scheme = _SCHEME.match(word)
        kind = scheme[1].lower() if scheme else ""
        if is_live(word) or (_CAMERA.fullmatch(word) and not os.path.exists(word)):
            name = f"{os.path.splitext(_file_name(word))[0]}.mp4" if kind else f"camera{word}.mp4"
            if word not in found:
                found[word] = Source(folder / _free(name, taken), word)
            continue
        if kind == "file":
            word = urllib.request.url2pathname(urllib.parse.urlsplit(word).path)
        elif kind and kind not in ("http", "https"):
            raise PictureError(
                f"{printable(word)} can't be taken: addresses are http or https, and of streams "
                f"{', '.join(_LIVE)}. Download it first."
            )
        elif kind or word == STDIN:
            if word not in found:
                name = "stdin" if word == STDIN else _file_name(word)
                found[word] = Source(folder / _free(name, taken), word)
            continue
        for path in find_pictures([word]):
            found.setdefault(os.path.realpath(path), Source(path))
    return list(found.values())


def _file_name(address: str) -> str:
    """The last part of an address, as a name that every file system takes."""
    path = re.split("[?#]", address)[0].partition("://")[2].partition("/")[2]
    last = urllib.parse.unquote(path).rsplit("/", 1)[-1]
    stem, suffix = os.path.splitext(re.sub(r"[^\w.-]+", "_", last).strip("._")[-100:])
    return (stem or "picture") + suffix


def _free(name: str, taken: set[str]) -> str:
    stem, suffix = os.path.splitext(name)
    number = 2
    while name.casefold() in taken:
        name, number = f"{stem}_{number}{suffix}", number + 1
    taken.add(name.casefold())
    return name


# -- Fetching -------------------------------------------------------------------------------


def _from_stdin(file: IO[bytes], most: int) -> None:
    if sys.stdin is None or sys.stdin.isatty():
        raise PictureError("nothing comes on standard input: program | mrcnn detect - ...")
    if not _copy(sys.stdin.buffer, file, most, float("inf"), "standard input"):
        raise PictureError("standard input is empty: 0 bytes.")


def fetch(address: str, file: IO[bytes], most: int) -> None:
    """Copy what lies at an http(s) address; most: bytes that it may have. Raises PictureError."""
    shown = printable(address)
    try:
        # Letters that may not stand in an address are written as it wants them.
        url = urllib.parse.quote(address, safe="%/:=&?~#+!$,;'@()*[]")
        request = urllib.request.Request(url, headers={"User-Agent": "mrcnn"})
        with contextlib.closing(_opener().open(request, timeout=PATIENCE)) as response:
            if response.headers.get_content_type() == "text/html":
                raise PictureError(
                    f"{shown} is a web page: give the address of the picture itself (in a "
                    "browser: Copy image address)."
                )
            length = response.headers.get("Content-Length") or ""
            expected = int(length) if length.isdecimal() else None
            if expected is not None and expected > most:
                raise PictureError(_too_large(shown, most))
            received = _copy(response, file, most, time.monotonic() + SECONDS, shown)
    except urllib.error.HTTPError as error:
        raise PictureError(f"{shown}: the server answers {error.code} {error.reason}.") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, PictureError) or getattr(error, "filename", None):
            raise
        reason = printable(getattr(error, "reason", None) or error)
        raise PictureError(f"{shown} can't be fetched: {reason}.") from error
    if expected is not None and received < expected:
        raise PictureError(
            f"{shown}: the connection broke off after {received:,} of {expected:,} bytes."
        )


def _opener() -> urllib.request.OpenerDirector:
    """One that follows redirections to http(s) alone, not to files of this computer or to FTP."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        *(urllib.request.ProxyHandler, urllib.request.HTTPHandler, urllib.request.HTTPSHandler),
        *(urllib.request.HTTPDefaultErrorHandler, urllib.request.HTTPRedirectHandler),
        *(urllib.request.HTTPErrorProcessor, urllib.request.UnknownHandler),
    ):
        opener.add_handler(handler())
    return opener


def _copy(source: IO[bytes], file: IO[bytes], most: int, until: float, shown: str) -> int:
    """Copy all bytes; returns how many. until: on the clock `time.monotonic`."""
    read = getattr(source, "read1", source.read)  # what has come, and not only a full block
    received = 0
    while block := read(_BLOCK):
        received += len(block)
        if received > most:
            raise PictureError(_too_large(shown, most))
        if time.monotonic() > until:
            raise PictureError(
                f"{shown} takes longer than {SECONDS / 60:.0f} minutes: download it first."
            )
        file.write(block)
    return received


def _too_large(shown: str, most: int) -> str:
    return f"{shown} has more than {most >> 20:,} MB: that is no picture that can be worked on."
