"""Video files as pictures, one after another. Needs the optional package imageio-ffmpeg.

    with Video("birds.mp4") as video, VideoWriter("found.mp4", video.fps) as found:
        for frame in video:  # [height, width, 3] uint8, RGB
            found.write(frame)

The package brings the program ffmpeg along, which is run beside this one and does the work.
"""

import os
import subprocess
from collections.abc import Iterator
from types import ModuleType, TracebackType

import numpy as np

from mrcnn.extras import how_to_install


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
    """A video file, read once from its beginning to its end.

    path: of a file, or an http(s) address.
    fps: frames in a second. height, width: pixels, as seen (a phone's rotation is applied).
    num_frames: about how many there are, from its length in time; None where it doesn't tell.

    A video of changing frame rate comes at an even one, with frames left out or repeated.
    Raises VideoError where there is no such file, or ffmpeg can't read it.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = os.fspath(path)
        if not self.path.startswith(("http://", "https://")) and not os.path.isfile(self.path):
            raise VideoError(
                f"There is no video file {self.path}. A camera can't be read: record to a file "
                "first."
            )
        self._frames = _imageio_ffmpeg().read_frames(self.path)
        try:
            told = next(self._frames)
            self.width, self.height = told["size"]
            self.fps = float(told["fps"])
        except Exception as error:  # its header parser raises several kinds
            raise VideoError(
                f"{self.path} can't be read as a video: {_reason(error)}. Is it complete, and does "
                "a player show it?"
            ) from error
        if not self.fps > 0:
            self.close()
            raise VideoError(f"{self.path} doesn't say how many frames make a second.")
        self.num_frames = round(told.get("duration", 0) * self.fps) or None

    def __iter__(self) -> Iterator[np.ndarray]:
        """The frames that are left: [height, width, 3] uint8, RGB."""
        shape = (self.height, self.width, 3)
        try:
            for frame in self._frames:
                yield np.frombuffer(frame, np.uint8).reshape(shape)
        except RuntimeError as error:
            raise VideoError(f"{self.path} is damaged: {_reason(error)}.") from error

    def close(self) -> None:
        """Stop reading."""
        self._frames.close()

    def __enter__(self) -> "Video":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


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
