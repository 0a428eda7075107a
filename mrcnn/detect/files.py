"""From picture files to result files: an overlay for each picture, and all instances as JSON.

    job = Job(find_pictures(["holiday"]), ...)
    run(job, detect, Progress(len(job.pictures)))

A picture that can't be read or detected in is noted, and the others go on.
"""

import contextlib
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn import __version__
from mrcnn.config import Config
from mrcnn.data.formats.finding import FOUND_BY_US
from mrcnn.data.pictures import PictureError, read_picture, write_png
from mrcnn.data.writers import WRITERS, Labelled, Writer, file_name_from, place
from mrcnn.detect.results import IMAGES, RESULTS, ResultsWriter, coco_results
from mrcnn.drawing.instances import render_instances
from mrcnn.errors import UsageError
from mrcnn.progress import Progress
from mrcnn.words import counted

SOME_FAILED, INTERRUPTED = 1, 130
_MOST_LABELS = 25  # in a picture of one class; beyond, colours alone tell instances apart

# A picture [height, width, 3] or [height, width] -> the dict of MaskRCNN.detect.
Detector = Callable[[np.ndarray], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Job:
    """All that a run needs, checked."""

    pictures: list[Path]
    overlays: list[Path] | None  # where each picture's overlay goes
    weights: str  # where they are from, for images.json
    config: Config
    class_names: list[str]
    out: Path
    labels: str | None  # the format of the annotation file
    force: bool  # overwrite it
    note: str  # what the user must know of the results, or ""
    debug: bool


def labels_path(out: Path, labels: str) -> Path:
    """The annotation file, or LabelMe's folder, in the folder of the results."""
    return place(out / labels if labels == "labelme" else out, labels)


def overlay_paths(pictures: Sequence[Path], out: Path) -> list[Path]:
    """A file in `out` for each picture: its stem and .png, numbered where that is taken.

    Raises UsageError where an overlay would lie over one of the pictures.
    """
    # Compared without case: some file systems make no difference.
    stems = Counter(path.stem.casefold() for path in pictures)
    taken: set[str] = set()
    overlays = []
    for path in pictures:
        name, number = path.stem, 2
        while name.casefold() in taken or (number > 2 and name.casefold() in stems):
            name, number = f"{path.stem}_{number}", number + 1
        taken.add(name.casefold())
        overlays.append(out / f"{name}.png")
    for path in pictures:
        if path.resolve().parent == out.resolve() and path.suffix.casefold() == ".png":
            raise UsageError(
                f"--out {out} holds {path.name}, one of the pictures: an overlay could overwrite "
                "it. Give another folder."
            )
    return overlays


# -- Picture by picture ---------------------------------------------------------------------


def run(job: Job, detect: Detector, progress: Progress) -> int:
    """Detect in all pictures, write what is found, say how it went; returns the exit code."""
    info = {
        "description": FOUND_BY_US,
        "version": __version__,
        "date_created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "weights": job.weights,
        "config": type(job.config).__name__,
        "min_confidence": job.config.DETECTION_MIN_CONFIDENCE,
        "class_names": job.class_names,
    }
    if job.note:
        info["note"] = job.note
    seconds: list[float] = []
    instances, interrupted = 0, False
    with contextlib.ExitStack() as files:
        writer = files.enter_context(ResultsWriter(job.out, job.class_names, info))
        labels = files.enter_context(_labels_writer(job)) if job.labels else None
        try:
            for i in range(len(job.pictures)):
                entry = _one_picture(job, i, detect, writer, labels, progress)
                if entry:
                    seconds.append(entry["seconds"])
                    instances += entry["instances"]
                progress.advance()
        except KeyboardInterrupt:
            interrupted = True
    progress.close()
    _sum_up(job, seconds, instances, len(writer.failures), interrupted, progress)
    return INTERRUPTED if interrupted else SOME_FAILED if writer.failures else 0


def _labels_writer(job: Job) -> Writer:
    return WRITERS[job.labels](labels_path(job.out, job.labels), job.class_names, job.force)


def _one_picture(
    job: Job,
    index: int,
    detect: Detector,
    writer: ResultsWriter,
    labels: Writer | None,
    progress: Progress,
) -> dict[str, Any] | None:
    """Read, detect, draw and write one picture; its entry, or None where it failed."""
    path, overlay = job.pictures[index], job.overlays[index] if job.overlays else None
    try:
        picture = read_picture(path)
        began = time.perf_counter()
        result = detect(picture)
        seconds = time.perf_counter() - began
        drawn = _draw(picture, result, job.class_names) if overlay else None
        records = coco_results(index + 1, result)
    except Exception as error:  # one bad picture must not take the others with it
        if job.debug:
            traceback.print_exc()
        reason = _reason(error, path)
        progress.complain(f"failed: {reason}")
        writer.fail(path.name, reason)
        return None
    if overlay:
        write_png(overlay, drawn)
    height, width = picture.shape[:2]
    entry = {
        "id": index + 1,
        "file_name": path.name,
        "height": height,
        "width": width,
        "instances": len(records),
        "seconds": round(seconds, 3),
        "path": str(path.resolve()),
        "overlay": overlay.name if overlay else None,
    }
    writer.add(entry, records)
    if labels:
        folder = labels.path if job.labels == "labelme" else job.out
        ids, scores = result["class_ids"], result["scores"]
        name = file_name_from(folder, path)
        labels.add(Labelled(name, height, width, result["masks"], ids, scores))
    counts = Counter(job.class_names[class_id] for class_id in result["class_ids"])
    found = ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "nothing found"
    progress.say(
        f"[{index + 1}/{len(job.pictures)}] {path}  {width} x {height}  {found}  {seconds:.2f} s"
    )
    return entry


def _draw(picture: np.ndarray, result: Mapping[str, np.ndarray], names: list[str]) -> np.ndarray:
    # A hundred labels that all say the same would hide what they name.
    crowd = len(result["rois"]) > _MOST_LABELS and len(set(result["class_ids"].tolist())) == 1
    return render_instances(
        picture,
        result["rois"],
        result["masks"],
        result["class_ids"],
        names,
        result["scores"],
        captions=[""] * len(result["rois"]) if crowd else None,
    )


def _reason(error: Exception, path: Path) -> str:
    text = str(error).strip()
    if isinstance(error, PictureError):
        return text
    if isinstance(error, ValueError) and text:
        # The network is shown one picture at a time and can't know its name.
        return f"{path}: {text.replace('picture 1 of 1', 'the picture')}"
    return f"{path}: {type(error).__name__} {text.splitlines()[0] if text else ''}".rstrip()


def _sum_up(
    job: Job,
    seconds: list[float],
    instances: int,
    failures: int,
    interrupted: bool,
    progress: Progress,
) -> None:
    if interrupted:
        done = len(seconds) + failures
        progress.complain(f"interrupted after {done} of {counted(len(job.pictures), 'picture')}")
    summary = f"{counted(len(seconds), 'picture')}, {counted(instances, 'instance')}"
    if len(seconds) == 1:
        summary += f", {seconds[0]:.2f} s"
    elif seconds:
        # The first one also waits for TensorFlow to prepare the graph.
        mean = sum(seconds[1:]) / len(seconds[1:])
        summary += f", {mean:.2f} s a picture (the first {seconds[0]:.2f} s)"
    progress.say(f"{summary}, {failures} failed")
    where = f"Results in {job.out}: {RESULTS}, {IMAGES}"
    progress.say(where if job.overlays is None else f"{where} and an overlay for each picture")
    if job.labels:
        progress.say(f"To correct by hand ({job.labels}): {labels_path(job.out, job.labels)}")
    if job.note:
        progress.say(f"NOTE: {job.note}")
