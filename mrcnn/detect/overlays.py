"""Overlays: where they go, and how they are drawn.

paths = overlay_paths(sources, Path("out"), "auto")    # a.jpg, b.png, film.mp4
write_overlay(paths[0], draw_overlay(picture, found, ["BG", "cell"]))
"""

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.data.pictures import write_jpeg, write_png
from mrcnn.data.sources import Source
from mrcnn.data.video import VideoWriter
from mrcnn.data.windows import Windows
from mrcnn.detect.large_overlays import densest, overview, part
from mrcnn.drawing.instances import render_instances
from mrcnn.drawing.labels import class_name
from mrcnn.errors import UsageError
from mrcnn.whole import unfinished_name
from mrcnn.words import printable

FORMATS = ("auto", "jpg", "png")
CAPTIONS = ("auto", "all", "scores", "none")
_JPEG = (".jpg", ".jpeg", ".jpe", ".jfif")
_MOST_LABELS = 25  # in a picture of one class; beyond, they would hide what they name


def overlay_paths(sources: Sequence[Source], out: Path, format: str = "auto") -> list[Path]:
    """A file in `out` for each picture: its stem, numbered where that is taken.

    format: "jpg", "png", or "auto": JPEG for a JPEG, PNG for other pictures and .mp4 for a video.
        With the other two a video has a folder, for its frames.
    Raises UsageError where an overlay would lie over something that was given.
    """
    suffixes = [_suffix(source, format) for source in sources]
    # Compared without case: some file systems make no difference.
    own = [f"{source.path.stem}{end}".casefold() for source, end in zip(sources, suffixes)]
    taken: set[str] = set()
    overlays = []
    for source, end in zip(sources, suffixes):
        name, number = f"{source.path.stem}{end}", 2
        while name.casefold() in taken or (number > 2 and name.casefold() in own):
            name, number = f"{source.path.stem}_{number}{end}", number + 1
        taken.add(name.casefold())
        overlays.append(out / name)
    for source in sources:
        if source.path.resolve().parent == out.resolve() and source.path.name.casefold() in taken:
            raise UsageError(
                f"--out {printable(out)} holds {printable(source.path.name)}, one of the pictures: "
                "an overlay would overwrite it. Give another folder."
            )
    return overlays


def _suffix(source: Source, format: str) -> str:
    if source.is_video:
        return ".mp4" if format == "auto" else ""
    jpeg = format == "jpg" or (format == "auto" and source.path.suffix.lower() in _JPEG)
    return ".jpg" if jpeg else ".png"


def draw_overlay(
    picture: np.ndarray,
    result: Mapping[str, np.ndarray],
    class_names: Sequence[str],
    captions: str = "auto",
    colors: Sequence[Any] | None = None,
    numbers: Sequence[int] | None = None,
) -> np.ndarray:
    """A picture with what was found in it: [height, width, 3] uint8, enlarged where it is small.

    captions: "all": name and score beside each instance; "scores": small, in the instances, where
        there is room; "none"; "auto": all, or scores for a crowd of one class.
    numbers: of the objects in a film, which are then written, too.
    """
    written, inside = _captions(result, captions)
    if numbers is not None and inside:
        written = [f"#{number}" for number in numbers]
    elif numbers is not None and written is None:
        written = [
            f"{class_name(class_names, class_id)} #{number} {score:.2f}"
            for class_id, number, score in zip(result["class_ids"], numbers, result["scores"])
        ]
    return render_instances(
        picture,
        result["rois"],
        result["masks"],
        result["class_ids"],
        class_names,
        result["scores"],
        colors,
        written,
        inside=inside,
    )


def _captions(result: Mapping[str, np.ndarray], captions: str) -> tuple[list[str] | None, bool]:
    """What is written on each instance, None for name and score, and whether it stands in it."""
    if captions == "auto":
        # A hundred labels that all say the same would hide what they name.
        crowd = len(result["rois"]) > _MOST_LABELS and len(set(result["class_ids"].tolist())) == 1
        captions = "scores" if crowd else "all"
    if captions == "all":
        return None, False
    if captions == "none":
        return [""] * len(result["rois"]), False
    return [f"{score:.2f}" for score in result["scores"]], True


# -- Writing them ---------------------------------------------------------------------------


def write_overlay(path: Path, drawn: np.ndarray) -> None:
    """Write a picture as its suffix says. Raises OSError, and ValueError where it is too large."""
    if path.suffix == ".jpg":
        write_jpeg(path, drawn)
    else:
        write_png(path, drawn)


class OverlayFiles:
    """Takes the overlays of one source, in order, and knows where each has gone.

    overlay: of `overlay_paths`: the file of a picture or a video, or the folder of a video's
        frames. fps: of a video. format: of a video's frames.
    Raises OSError, ValueError and VideoError where they can't be written.
    """

    def __init__(self, source: Source, overlay: Path, fps: float, format: str) -> None:
        self._overlay, self._suffix, self._written = overlay, f".{format}", 0
        self._single = not source.is_video
        self._film: VideoWriter | None = None
        if source.is_video and overlay.suffix == ".mp4":
            self._film = VideoWriter(unfinished_name(overlay), fps)

    def write(self, drawn: np.ndarray, times: int = 1) -> Path:
        """Write the next one; returns its file. times: that a video shows it."""
        self._written += 1
        if self._film:
            for _ in range(times):
                self._film.write(drawn)
            return self._overlay
        path = self._overlay
        if not self._single:
            path.mkdir(parents=True, exist_ok=True)
            path = path / f"{self._written:06}{self._suffix}"
        write_overlay(path, drawn)
        return path

    def write_large(
        self,
        windows: Windows,
        result: Mapping[str, np.ndarray],
        class_names: Sequence[str],
        captions: str,
    ) -> tuple[Path, str]:
        """Write a picture of any size: all of it at a size that opens, and the densest parts.

        windows: of the picture. Returns the file of the whole and a sentence that tells of all; ""
        where the whole is as large as the picture.
        """
        written, inside = _captions(result, captions)
        drawn, factor = overview(windows, result)
        path = self.write(drawn)
        windows_of_parts = densest(result["rois"], windows.shape)
        for number, window in enumerate(windows_of_parts, start=1):
            drawn = part(windows, result, window, class_names, written, inside)
            write_overlay(path.with_name(f"{path.stem}.part{number}{path.suffix}"), drawn)
        small = f"{printable(path.name)} is drawn at 1/{factor} of its size" if factor > 1 else ""
        parts = f"its fullest parts as they are in {printable(path.stem)}.part1{path.suffix}"
        more = " and so on" if len(windows_of_parts) > 1 else ""
        return path, f"{small}, {parts}{more}." if small and windows_of_parts else ""

    def close(self) -> None:
        """Finish a video; what has ended it early leaves what is done of it."""
        if self._film:
            unfinished = Path(self._film.path)
            try:
                self._film.close()
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.replace(unfinished, self._overlay)
