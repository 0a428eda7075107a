"""The detections that `mrcnn evaluate` measures: a network's, or those of a results file.

Ids of pictures and classes are those of the data set.
"""

import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.data.classes import count_labels
from mrcnn.data.dataset import Dataset, mask_crops
from mrcnn.detect.files import Detector
from mrcnn.detect.results import IMAGES
from mrcnn.errors import UsageError
from mrcnn.evaluate.classes import match_names
from mrcnn.evaluate.coco import Collected
from mrcnn.evaluate.coco_files import as_found, read_json, read_results
from mrcnn.geometry.crops import MaskCrops
from mrcnn.progress import Progress
from mrcnn.words import counted, printable


@dataclass
class Task:
    """What is to be measured."""

    data: str  # as the user calls it
    dataset: Dataset  # of `open_part`
    part: str  # "val", "all", ..
    image_ids: list[int]
    least_score: float = 0.0  # detections below are left out
    notes: list[str] = field(default_factory=list)
    failed: int = 0
    progress: Progress = field(default_factory=lambda: Progress(0))
    debug: bool = False  # print tracebacks of pictures that fail
    class_name: str = "object"  # of a class that the data don't name
    classes: dict[int, int] = field(default_factory=dict)  # class id of the weights: of the data

    def name(self, image_id: int) -> str:
        """What people call a picture."""
        info = self.dataset.image_info[image_id]
        return printable(Path(info["path"]).name if info.get("path") else info["id"])

    def match(
        self, theirs: Mapping[Any, str], who: str, named: bool = True
    ) -> tuple[dict[Any, int], list[str]]:
        """Which class of the data each of theirs is: see `match_names`."""
        labels = count_labels(self.dataset)
        return match_names(theirs, _names(self.dataset), who, named, labels, self.class_name)

    def tell(self, notes: Iterable[str]) -> None:
        """Keep notes for the report, and say them."""
        for note in notes:
            self.notes.append(note)
            self.progress.say(f"NOTE: {note}")


def detected(
    task: Task, load: Callable[[], Detector], class_names: Sequence[str], named: bool
) -> Collected:
    """Detect in each picture; one that can't be read is left out and told.

    load: builds the network, once the classes have shown to fit. class_names: of the weights, "BG"
    first. named: False where nobody knows what the weights call their classes.
    """
    classes, notes = task.match(dict(enumerate(class_names[1:], 1)), "weights", named)
    task.tell(notes)
    task.classes = classes
    detect = load()
    collected = Collected.of(task.dataset)
    limited: list[int] = []  # instances of pictures that had as many as are let through
    in_tiles: list[tuple[int, int]] = []  # (tiles with as many, all tiles) of pictures in tiles

    def add(image_id: int) -> None:
        image = task.dataset.load_image(image_id)
        labels = mask_crops(task.dataset, image_id) or task.dataset.load_mask(image_id)
        found = detect(image)
        if tiles := getattr(found, "tiles", None):
            in_tiles.append(tiles)
            collected.most_in_tiles = max(collected.most_in_tiles, len(found["class_ids"]))
        elif getattr(found, "limited", False):
            limited.append(len(found["class_ids"]))
        result = _translated(found, classes)
        _add_truth(collected, task, image_id, *labels, image.shape)
        collected.add_found(image_id, result)

    _each_picture(task, add)
    if limited:
        note = (
            f"{counted(len(limited), 'picture')} with {max(limited):,} detections, which is all "
            "that DETECTION_MAX_INSTANCES lets through: more would count for AP "
            f"(--max-detections {4 * max(limited)})."
        )
        task.tell([note])
    task.tell(_told_of_tiles(in_tiles))
    return collected


def _told_of_tiles(in_tiles: Sequence[tuple[int, int]]) -> list[str]:
    if not in_tiles:
        return []
    full, tiles = (sum(numbers) for numbers in zip(*in_tiles))
    notes = [f"{counted(len(in_tiles), 'picture')} looked at in tiles, {tiles:,} in all."]
    if full:
        notes.append(
            f"{counted(full, 'tile')} with as many detections as DETECTION_MAX_INSTANCES lets "
            "through: more would count for AP (--set DETECTION_MAX_INSTANCES=..)."
        )
    return notes


def crowded(collected: Collected, most: int) -> list[str]:
    """Sentences on pictures with more labels of a class than detections that count."""
    labels = [row for row in collected.truth if not row["iscrowd"]]
    counts = Counter((row["image_id"], row["category_id"]) for row in labels)
    pictures = {image_id for (image_id, _), count in counts.items() if count > most}
    if not pictures:
        return []
    fullest = max(counts.values())
    return [
        f"{counted(len(pictures), 'picture')} with more labels of a class than the {most} "
        f"detections that count, up to {fullest:,}: they can't all be found (--max-detections "
        f"{fullest + fullest // 4})."
    ]


def from_results(task: Task, path: Path) -> Collected:
    """Take the detections from a file of results."""
    collected = Collected.of(task.dataset)
    try:
        rows = read_results(path)
        image_of, classes, notes = _meaning(path, task)
    except ValueError as error:
        raise UsageError(str(error)) from error
    task.tell(notes)

    def add(image_id: int) -> None:
        _add_truth(collected, task, image_id, *task.dataset.load_mask(image_id))

    _each_picture(task, add)
    # A file may speak of more pictures than are measured, and of classes that the data don't have.
    pictures = {row["id"]: row for row in collected.pictures}
    kept = [
        {**row, "image_id": image_of[row["image_id"]], "category_id": classes[row["category_id"]]}
        for row in rows
        if image_of.get(row["image_id"]) in pictures and row["category_id"] in classes
    ]
    if rows and not kept:
        raise UsageError(
            f"none of the detections in {path}, {len(rows):,}, is of a picture and a class of "
            f"{task.data}: the first is of picture {rows[0]['image_id']}, class "
            f"{rows[0]['category_id']}."
        )
    if len(kept) < len(rows):
        note = (
            f"{len(rows) - len(kept)} of {len(rows)} detections are of other pictures or classes."
        )
        task.tell([note])
    kept = [row for row in kept if row["score"] >= task.least_score]
    try:
        collected.found = as_found(kept, pictures, _names(task.dataset), path)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return collected


def _add_truth(
    collected: Collected,
    task: Task,
    image_id: int,
    masks: np.ndarray | MaskCrops,
    class_ids: np.ndarray,
    *shape,
) -> None:
    collected.add_truth(image_id, masks, class_ids, *shape)
    # What COCO's files say of box and area counts in COCO's own tools, not what the mask shows.
    stated = task.dataset.image_info[image_id].get("annotations") or []
    if task.dataset.format == "coco" and len(stated) == len(class_ids):
        rows = collected.truth[len(collected.truth) - len(stated) :]
        for row, annotation in zip(rows, stated):
            row |= {name: annotation[name] for name in ("bbox", "area") if name in annotation}


def _meaning(path: Path, task: Task) -> tuple[dict[Any, int], dict[Any, int], list[str]]:
    """Which picture and which class of the data the ids in a results file mean."""
    infos, ours = task.dataset.image_info, _names(task.dataset)
    if not path.with_name(IMAGES).is_file():
        classes = {task.dataset.class_info[i]["id"]: i for i in ours}
        return {infos[i]["id"]: i for i in task.image_ids}, classes, []
    listed = read_json(path.with_name(IMAGES))
    by_name = {task.name(i): i for i in task.image_ids}
    if len(by_name) < len(task.image_ids):
        raise UsageError(
            f"{path} names pictures by their files, and several in {task.data} have the same "
            "name: measure with --weights."
        )
    image_of = {
        row["id"]: by_name[printable(row["file_name"])]
        for row in listed["images"]
        if printable(row["file_name"]) in by_name
    }
    theirs = {row["id"]: row["name"] for row in listed["categories"]}
    return image_of, *task.match(theirs, "results")


def _translated(
    result: Mapping[str, np.ndarray], classes: Mapping[int, int]
) -> dict[str, np.ndarray]:
    """Detections with the data's class ids; those of other classes are left out."""
    kept = [i for i, class_id in enumerate(result["class_ids"]) if int(class_id) in classes]
    return {
        "rois": result["rois"][kept],
        "masks": result["masks"][..., kept],
        "scores": result["scores"][kept],
        "class_ids": np.array([classes[int(result["class_ids"][i])] for i in kept], np.int32),
    }


def _each_picture(task: Task, add: Callable[[int], None]) -> None:
    last: Exception | None = None
    for image_id in task.image_ids:
        try:
            add(image_id)
        except Exception as error:  # one bad picture must not take hours of others with it
            if task.debug:
                traceback.print_exc()
            task.failed, last = task.failed + 1, error
            task.progress.complain(f"failed: {task.name(image_id)}: {error}")
        task.progress.advance()
    if last and task.failed == len(task.image_ids):
        raise UsageError(f"no picture could be measured; the last one: {last}") from last
    if task.failed:
        task.tell([f"{counted(task.failed, 'picture')} failed: left out."])


def _names(dataset: Dataset) -> dict[int, str]:
    return {int(i): dataset.class_names[i] for i in dataset.class_ids[1:]}
