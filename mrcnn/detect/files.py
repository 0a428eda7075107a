"""From pictures and videos to result files: an overlay for each, and all instances as JSON.

    job = Job(find_sources(["holiday", "film.mp4"], out / "fetched"), ...)
    run(job, detect, Progress(len(job.sources)))

What can't be read, detected in or drawn is noted, and the others go on: all that one picture does
stands inside what it may cost. Only a disk that takes no more ends a run before its time.
"""

import contextlib
import errno
import itertools
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mrcnn import __version__
from mrcnn.config import Config
from mrcnn.data.formats.finding import FOUND_BY_US
from mrcnn.data.pictures import PictureError
from mrcnn.data.sources import Source
from mrcnn.data.video import Video, VideoError
from mrcnn.data.writers import WRITERS, Labelled, Writer, file_name_from, place
from mrcnn.detect.configs import by_class
from mrcnn.detect.films import Counting, Film
from mrcnn.detect.limits import Limits, TileLines
from mrcnn.detect.more import More, MoreFiles
from mrcnn.detect.overlays import OverlayFiles, draw_overlay
from mrcnn.detect.results import IMAGES, RESULTS, ResultsWriter, coco_results
from mrcnn.detect.tiled import Detector, Large, Tiles, detect_tiles, open_picture
from mrcnn.progress import Progress
from mrcnn.signals import interruptible
from mrcnn.words import counted, printable

SOME_FAILED, INTERRUPTED = 1, 130
_FRAMES_A_LINE = 100  # of a video, where no bar shows how far it is
_BOILERPLATE = ("Graph execution error", "Detected at node", "<stack traces unavailable>")
_INCOMPLETE = ("no overlay", "no labels", "no tracks", "not measured")
_NO_MORE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # the disk would take the next one no better


@dataclass(frozen=True)
class Job:
    """All that a run needs, checked."""

    sources: list[Source]
    overlays: list[Path] | None  # where each one's overlay goes
    weights: str  # where they are from, for images.json
    config: Config
    class_names: list[str]
    out: Path
    labels: str | None  # the format of the annotation file
    format: str  # of the overlays: one of overlays.FORMATS
    captions: str  # in the overlays: one of overlays.CAPTIONS
    force: bool  # overwrite annotation files
    note: str  # what the user must know of the results, or ""
    debug: bool
    tiles: Tiles = Tiles(False)  # which pictures are cut
    more: More = More()  # measurements and the like
    counting: Counting = Counting()  # in videos
    frames: int | None = None  # of a video, at most


def labels_path(out: Path, labels: str) -> Path:
    """The annotation file, or the folder of several, in the folder of the results."""
    return place(out if WRITERS[labels].suffix else out / labels, labels)


def run(job: Job, detect: Detector, progress: Progress) -> int:
    """Detect in all that is given, write what is found, say how it went; returns the exit code."""
    least = by_class(job.config, job.class_names)
    info = {
        "description": FOUND_BY_US,
        "version": __version__,
        "date_created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "weights": job.weights,
        "config": type(job.config).__name__,
        "min_confidence": job.config.DETECTION_MIN_CONFIDENCE,
        "class_names": job.class_names,
        **({"min_confidence_by_class": least} if least else {}),
    }
    if job.note:
        info["note"] = job.note
    interrupted = False
    with contextlib.ExitStack() as files:
        files.enter_context(interruptible())
        writer = files.enter_context(ResultsWriter(job.out, job.class_names, info))
        if writer.recovered:
            progress.say(
                f"{RESULTS} and {IMAGES} in {printable(job.out)} are now those of a run that was "
                f"killed after {counted(writer.recovered, 'picture')}, until this one ends."
            )
        labels = files.enter_context(_labels_writer(job)) if job.labels else None
        more = MoreFiles(job.more, job.out, job.config, job.class_names, progress.say)
        files.enter_context(more)
        going = _Run(job, detect, progress, writer, labels, more)
        try:
            for source, overlay in zip(job.sources, job.overlays or [None] * len(job.sources)):
                going.take(source, overlay)
        except KeyboardInterrupt:
            interrupted = True
    progress.close()
    going.sum_up(interrupted)
    failed = writer.failures or any(going.tally[what] for what in _INCOMPLETE)
    return INTERRUPTED if interrupted else SOME_FAILED if failed else 0


def _labels_writer(job: Job) -> Writer:
    return WRITERS[job.labels](labels_path(job.out, job.labels), job.class_names, job.force)


# -- One after the other --------------------------------------------------------------------


class _Found(NamedTuple):
    """What came of one picture or frame."""

    class_ids: list[int]
    drawn: bool  # its overlay is written


class _Run:
    """What a run is at, and what has come of it so far."""

    def __init__(
        self,
        job: Job,
        detect: Detector,
        progress: Progress,
        writer: ResultsWriter,
        labels: Writer | None,
        more: MoreFiles,
    ) -> None:
        self.job, self.detect, self.progress = job, detect, progress
        self.writer, self.labels, self.more = writer, labels, more
        self.done = 0  # sources
        self.seconds: list[float] = []  # of the network, for each picture or frame
        self.tally: Counter[str] = Counter()
        self.enlarged = ""  # the first overlay that is larger than its picture
        self.shrunk = ""  # the first one that is smaller
        self.limits = Limits(job.config)

    def take(self, source: Source, overlay: Path | None) -> None:
        """A picture or a video: from the file to what is written of it."""
        try:
            if source.address:
                self.progress.say(f"Fetching {source}")
            source.bring()
            self._go_through(source, overlay)
        except Exception as error:  # one bad picture must not take the others with it
            self._check_goes_on(error)
            why = reason(error, source)
            self.progress.complain(f"failed: {why}")
            self.writer.fail(source.path.name, why)
        self.done += 1
        self.progress.advance()

    def _go_through(self, source: Source, overlay: Path | None) -> None:
        before, limited, counts = len(self.seconds), self.limits.pictures, Counter[int]()
        which = f"[{self.done + 1}/{len(self.job.sources)}] {source}"
        with _pictures(source, self.job, self.more.read) as (pictures, count, fps):
            self.progress.expect(count if source.is_video else 0, source.is_video * "frames")
            began = time.perf_counter()
            canvas = OverlayFiles(source, overlay, fps, self.job.format) if overlay else None
            film, drawing = self._film(source, overlay, fps), canvas is not None
            try:
                for picture, told in pictures:
                    found = self._one(source, picture, told, canvas if drawing else None, film)
                    drawing = drawing and found.drawn
                    counts.update(found.class_ids)
                    if told and told["frame"] % _FRAMES_A_LINE == 0:
                        rate = (len(self.seconds) - before) / (time.perf_counter() - began)
                        told_count = f" of about {count}" if count > 1 else ""
                        frame = f"frame {told['frame']}{told_count}, {rate:.2f} frames/s"
                        self.progress.say(f"{which}  {frame}")
                    if told:
                        self.progress.advance()
            finally:
                if drawing:
                    self._try("no overlay", source, canvas.close)
                elif canvas:  # that has been told
                    with contextlib.suppress(OSError, VideoError):
                        canvas.close()
                different = film and self._try("no tracks", source, film.close)
        self.tally["overlays"] += drawing
        frames = len(self.seconds) - before
        if not frames:
            raise VideoError(f"{source} has no frame that can be read.")
        size = f"{picture.shape[1]} x {picture.shape[0]}"
        size += f", {counted(frames, 'frame')}" if source.is_video else ""
        limit = self.limits.pictures > limited and "DETECTION_MAX_INSTANCES reached"
        mean = f"{sum(self.seconds[before:]) / frames:.2f} s{' a frame' if source.is_video else ''}"
        parts = [which, size, self._in_words(counts), different, limit, mean]
        self.progress.say("  ".join(part for part in parts if part))

    def _film(self, source: Source, overlay: Path | None, fps: float) -> Film | None:
        if not source.is_video:
            return None
        name = (overlay or source.path).stem
        return Film(self.job.out / name, self.job.class_names, fps, self.job.counting)

    def _one(
        self,
        source: Source,
        picture: np.ndarray | Large,
        told: Mapping[str, Any],
        canvas: OverlayFiles | None,
        film: Film | None,
    ) -> "_Found":
        """Detect in a picture or a frame, and write what is found."""
        result = self._detected(source, picture)
        records = coco_results(len(self.seconds), result)
        if film:
            film.add(result, records, told)
        drawn = None
        if canvas:
            drawn = self._try("no overlay", source, self._draw, picture, result, canvas, film)
        self._add(source, picture, result, records, drawn, told)
        if self.labels:
            self._try("no labels", source, self._label, source, picture, result)
        if self.job.more.any:
            frame = told.get("frame")
            self._try("not measured", source, self.more.add, source, picture, result, frame)
        return _Found(result["class_ids"].tolist(), drawn is not None)

    def _detected(self, source: Source, picture: np.ndarray | Large) -> Mapping[str, np.ndarray]:
        began, limits = time.perf_counter(), self.limits
        if isinstance(picture, Large):
            self.progress.expect(picture.count, "tiles")
            after = TileLines(str(source), picture.count, self.progress, limits.add)
            result: Mapping[str, np.ndarray] = detect_tiles(
                picture.windows, self.detect, picture.tiling, after
            )
        else:
            result = self.detect(picture)
            limits.add(result)
            if self.job.tiles.missing(self.job.config, picture.shape):
                limits.large.append(f"{source} ({picture.shape[1]} x {picture.shape[0]})")
        self.seconds.append(time.perf_counter() - began)
        limits.pictures += getattr(result, "limited", False)
        self.tally["instances"] += len(result["class_ids"])
        return result

    def _draw(
        self,
        picture: np.ndarray | Large,
        result: Mapping[str, np.ndarray],
        canvas: OverlayFiles,
        film: Film | None,
    ) -> Path:
        names, captions = self.job.class_names, self.job.captions
        if isinstance(picture, Large):
            path, told = canvas.write_large(picture.windows, result, names, captions)
            self.shrunk = self.shrunk or told
            return path
        steady, numbers = (film.colors, film.numbers) if film else (None, None)
        drawn = draw_overlay(picture, result, names, captions, steady, numbers)
        if film:
            drawn = film.mark(drawn, drawn.shape[0] / picture.shape[0])
        if drawn.shape[:2] != picture.shape[:2] and not self.enlarged:
            before, after = (f"{array.shape[1]} x {array.shape[0]}" for array in (picture, drawn))
            self.enlarged = f"{before} became {after}"
        # Of a camera frames were left out: the film plays as fast as what was seen.
        return canvas.write(drawn, film.passed if film else 1)

    def _add(
        self,
        source: Source,
        picture: np.ndarray | Large,
        result: Mapping[str, np.ndarray],
        records: list[dict[str, Any]],
        overlay: Path | None,
        told: Mapping[str, Any],
    ) -> None:
        entry = {
            "id": len(self.seconds),
            "file_name": source.path.name,
            "height": picture.shape[0],
            "width": picture.shape[1],
            "instances": len(records),
            "seconds": round(self.seconds[-1], 3),
            "path": str(source.path.resolve()),
            "overlay": overlay.relative_to(self.job.out).as_posix() if overlay else None,
            **told,
        }
        if source.address:
            entry["address"] = source.address
        if getattr(result, "limited", False):
            entry["limited"] = True
        if isinstance(picture, Large):
            entry["tiles"] = {"count": picture.count, **asdict(picture.tiling)}
        self.writer.add(entry, records)

    def _label(
        self, source: Source, picture: np.ndarray | Large, result: Mapping[str, np.ndarray]
    ) -> None:
        name = file_name_from(self.labels.folder, source.path)
        ids, scores = result["class_ids"], result["scores"]
        self.labels.add(Labelled(name, *picture.shape[:2], result["masks"], ids, scores))

    def _try(self, what: str, source: Source, function: Callable, *args: Any) -> Any:
        """Call a function without which the rest stands; None, and a word of it, where it fails."""
        try:
            return function(*args)
        except Exception as error:
            self._check_goes_on(error)
            self.tally[what] += 1
            self.progress.complain(f"{what}: {reason(error, source)}")
            return None

    def _check_goes_on(self, error: Exception) -> None:
        """Raise it, where the next picture would fare no better."""
        full = isinstance(error, OSError) and error.errno in _NO_MORE
        if full or isinstance(error, BrokenPipeError) or not self.job.out.is_dir():
            raise error
        if self.job.debug:
            traceback.print_exc()

    def _in_words(self, counts: Counter[int]) -> str:
        names = [
            f"{count:,} {printable(self.job.class_names[class_id])}"
            for class_id, count in counts.most_common()
        ]
        return ", ".join(names) or "nothing found"

    # -- At the end -------------------------------------------------------------------------

    def sum_up(self, interrupted: bool) -> None:
        """Say how it went."""
        job, say, tally, seconds = self.job, self.progress.say, self.tally, self.seconds
        videos = sum(source.is_video for source in job.sources)
        if interrupted:
            total = counted(len(job.sources), "file" if videos else "picture")
            self.progress.complain(f"interrupted after {self.done} of {total}")
        each = "frame" if videos == len(job.sources) else "picture"
        summary = f"{counted(len(seconds), each)}, {counted(tally['instances'], 'instance')}"
        if len(seconds) == 1:
            summary += f", {seconds[0]:.2f} s"
        elif seconds:
            # The first one also waits for TensorFlow to prepare the graph.
            mean = sum(seconds[1:]) / len(seconds[1:])
            summary += f", {mean:.2f} s a {each} (the first {seconds[0]:.2f} s)"
        say(f"{summary}, {len(self.writer.failures)} failed")
        overlays = tally["overlays"]
        every = overlays == self.done - len(self.writer.failures)
        drawn = " and an overlay for each" if every else f" and {counted(overlays, 'overlay')}"
        say(f"Results in {printable(job.out)}: {RESULTS}, {IMAGES}{drawn if overlays else ''}")
        if self.enlarged:
            say(
                f"Overlays of small pictures are enlarged, so that labels can be read: "
                f"{self.enlarged}."
            )
        if self.shrunk:
            say(self.shrunk)
        if job.labels:
            where = printable(labels_path(job.out, job.labels))
            say(f"To correct by hand ({job.labels}): {where}")
        for line in self.more.lines():
            say(line)
        for note in self.limits.notes():
            say(f"NOTE: {note}")
        if job.note:
            say(f"NOTE: {job.note}")


@contextlib.contextmanager
def _pictures(
    source: Source, job: Job, read: Callable[[Path], np.ndarray]
) -> Iterator[tuple[Iterable, int, float]]:
    """What a source holds: (picture, what is told of it) pairs, about how many, how many a second.

    A picture has no second and tells nothing.
    """
    if not source.is_video:
        with open_picture(source.path, job.tiles, job.config, read) as picture:
            yield [(picture, {})], 1, 0.0
        return
    with Video(source.address if source.is_live else source.path) as video:
        frames = (
            (frame, {"frame": number, "time": round((number - 1) / video.fps, 3)})
            for number, frame in itertools.islice(video.numbered(), job.frames)
        )
        yield frames, min(video.num_frames or 1, job.frames or sys.maxsize), video.fps


def reason(error: Exception, source: Source) -> str:
    """What kept a source from being worked on, in a sentence that names it."""
    text = str(error).strip()
    if isinstance(error, PictureError | VideoError):
        known = {str(source), printable(source.path)}
        return text if any(name in text for name in known) else f"{source}: {text}"
    if isinstance(error, OSError) and error.strerror:
        where = f"{printable(error.filename)}: " if error.filename else ""
        return f"{source}: {where}{error.strerror}"
    if isinstance(error, ValueError | MemoryError) and text:
        # The network is shown one picture at a time and can't know its name.
        return f"{source}: {text.replace('picture 1 of 1', 'the picture')}"
    # TensorFlow's errors begin with what says nothing.
    telling = [line for line in text.splitlines() if line and not line.startswith(_BOILERPLATE)]
    return f"{source}: {type(error).__name__} {telling[0] if telling else ''}".rstrip()
