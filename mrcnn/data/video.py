"""Videos, cameras and streams as pictures, one after another. Needs the package imageio-ffmpeg.

    with Video("birds.mp4") as video, VideoWriter("found.mp4", video.fps) as found:
        for frame in video:  # [height, width, 3] uint8, RGB
            found.write(frame)

The package brings the program ffmpeg along, which is run beside this one and does the work.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import ModuleType, TracebackType

import numpy as np

from mrcnn.data.sources import is_live
from mrcnn.extras import how_to_install
from mrcnn.words import printable

_USUAL_FPS = 25.0  # of a camera or a stream that doesn't tell
_PATIENCE = 2.0  # seconds that a stream has to end when nobody wants it any more


class VideoError(ValueError):
    """A video can't be read or written; the message names the file and the reason."""


def check_installed() -> None:
    """Raise VideoError, which says how to install it, where what video needs is missing."""
    _imageio_ffmpeg()


def _imageio_ffmpeg() -> ModuleType:
    try:
        import imageio_ffmpeg

        imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:  # RuntimeError: the package without the program
        raise VideoError(
            f"Video needs the package imageio-ffmpeg ({error}): {how_to_install('video')}."
        ) from error
    return imageio_ffmpeg


class Video:
    """A video file, a camera or a stream, read once from its beginning to its end.

    path: of a file, an http(s) address, that of a stream (rtsp:// and the like), or the number of
        a camera.
    fps: frames in a second. height, width: pixels, as seen (a phone's rotation is applied).
    num_frames: about how many there are, from its length in time; None where it doesn't tell.

    A video of changing frame rate comes at an even one, with frames left out or repeated. Of a
    camera or a stream the frame comes that is newest when one is asked for; others are left out.
    Raises VideoError where there is no such file or camera, or ffmpeg can't read it.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = os.fspath(path)
        name, options = _input(self.path)
        self.live = bool(options) or is_live(self.path)
        self._newest: _Newest | None = None
        self._frames = _imageio_ffmpeg().read_frames(name, input_params=options)
        try:
            told = next(self._frames)
            self.width, self.height = told["size"]
            self.fps = float(told["fps"])
        except Exception as error:  # its header parser raises several kinds
            raise VideoError(
                f"{printable(self)} can't be read as a video: {_reason(error)}. Is it complete, "
                "and does a player show it?"
            ) from error
        if self.live and not self.fps > 0:
            self.fps = _USUAL_FPS
        if not self.fps > 0:
            self.close()
            raise VideoError(f"{self.path} doesn't say how many frames make a second.")
        self.num_frames = round(told.get("duration", 0) * self.fps) or None

    def __iter__(self) -> Iterator[np.ndarray]:
        """The frames that are left: [height, width, 3] uint8, RGB."""
        for _, frame in self.numbered():
            yield frame

    def numbered(self) -> Iterator[tuple[int, np.ndarray]]:
        """The frames that are left, with their numbers from 1, which those left out have, too."""
        shape = (self.height, self.width, 3)
        frames = enumerate(self._frames, start=1)
        if self.live:
            self._newest = _Newest(frames)
        try:
            for number, frame in self._newest or frames:
                yield number, np.frombuffer(frame, np.uint8).reshape(shape)
        except RuntimeError as error:
            raise VideoError(f"{printable(self)} is damaged: {_reason(error)}.") from error

    def close(self) -> None:
        """Stop reading."""
        if self._newest is None or self._newest.stop():
            self._frames.close()

    def __str__(self) -> str:
        return f"camera {self.path}" if self.path.isdecimal() else self.path

    def __enter__(self) -> "Video":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _input(path: str) -> tuple[str, list[str]]:
    """What ffmpeg calls a source, and the options that go before it; none for files."""
    if path.isdecimal() and not os.path.exists(path):
        return camera(int(path))
    if path.startswith("rtsp"):
        return path, ["-rtsp_transport", "tcp"]
    if is_live(path) or path.startswith(("http://", "https://")) or os.path.isfile(path):
        return path, []
    raise VideoError(f"There is no video file {path}. A camera is called by its number: 0, 1 ..")


def camera(number: int) -> tuple[str, list[str]]:
    """What ffmpeg calls a camera, and its options. Raises VideoError where there is none."""
    if sys.platform == "darwin":
        return str(number), ["-f", "avfoundation", "-framerate", "30"]
    if os.name == "nt":
        raise VideoError(
            f"Camera {number} can't be opened by its number on Windows: let another program offer "
            "it as a stream (rtsp://..), or record to a file."
        )
    device = f"/dev/video{number}"
    if not os.path.exists(device):
        raise VideoError(f"There is no camera {number}: this computer has no {device}.")
    return device, ["-f", "v4l2"]


class _Newest:
    """Of what comes by itself, the newest whenever somebody asks; a thread throws away the rest."""

    def __init__(self, frames: Iterator[tuple[int, bytes]]) -> None:
        self._frames, self._frame, self._error = frames, None, None  # type: ignore[var-annotated]
        self._ended = self._stopped = False
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for numbered in self._frames:
                with self._change:
                    self._frame = numbered
                    self._change.notify()
                    if self._stopped:
                        return
        except RuntimeError as error:
            self._error = error
        finally:
            with self._change:
                self._ended = True
                self._change.notify()

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        while True:
            with self._change:
                while self._frame is None and not self._ended:
                    self._change.wait(1.0)  # so that Ctrl-C comes through on every system
                frame, self._frame = self._frame, None
            if frame is None:
                if self._error is not None:
                    raise self._error
                return
            yield frame

    def stop(self) -> bool:
        """End the thread; whether it has ended, so that what it read can be closed."""
        self._stopped = True
        self._thread.join(_PATIENCE)
        return not self._thread.is_alive()


class VideoWriter:
    """Writes frames to a video file (H.264 in MP4, no sound).

    path: of any suffix; a file that is there is overwritten.
    fps: frames in a second.

    Whatever ends its `with` block, Ctrl-C too, the file then plays up to the last whole frame.
    Raises VideoError where ffmpeg can't write it.
    """

    def __init__(self, path: str | os.PathLike, fps: float) -> None:
        self.path, self.fps, self.num_frames = os.fspath(path), fps, 0
        self._program = _imageio_ffmpeg().get_ffmpeg_exe()
        self._shape: tuple[int, ...] = ()
        self._process: subprocess.Popen | None = None

    def write(self, frame: np.ndarray) -> None:
        """Append a frame, [height, width, 3] uint8; all have the size of the first."""
        if self._process is None:
            self._shape = frame.shape
            self._process = self._start(frame.shape[0], frame.shape[1])
        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise ValueError(
                f"Frame {self.num_frames} is {list(frame.shape)} of {frame.dtype}: all frames must "
                f"be {list(self._shape)} of uint8, as the first."
            )
        try:
            self._process.stdin.write(np.ascontiguousarray(frame))
        except OSError:  # ffmpeg has ended: the disk is full, the folder not there ...
            self.close()
            raise VideoError(f"{self.path} can't be written: ffmpeg has ended.") from None
        self.num_frames += 1

    def _start(self, height: int, width: int) -> subprocess.Popen:
        # Players want colour at half the resolution, which a picture of odd sides can't have.
        colors = "yuv444p" if height % 2 or width % 2 else "yuv420p"
        command = [self._program, "-y", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"]
        command += ["-s", f"{width}x{height}", "-r", f"{self.fps:.6f}", "-i", "-"]
        command += ["-c:v", "libx264", "-crf", "18", "-pix_fmt", colors, "-f", "mp4", self.path]
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Apart from the terminal: Ctrl-C is for us, who end ffmpeg in good order.
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )

    def close(self) -> None:
        """Finish the file. Raises VideoError where it came to nothing."""
        process, self._process = self._process, None
        if process is None:
            return
        # Closes its input first; the half of a frame that Ctrl-C may have left is not written.
        _, said = process.communicate()
        if process.returncode:
            raise VideoError(f"{self.path} can't be written: {_last_line(said.decode())}.")

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _reason(error: Exception) -> str:
    return _last_line(str(error))


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else "no reason given"
