"""What the writers of annotation files share: pictures as they take them, and how to use them.

with ViaWriter("found/via.json", ["BG", "cell"]) as writer:
    writer.add(Labelled("../scans/a.png", 512, 512, masks, class_ids, scores))
"""

import contextlib
import json
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from mrcnn.data.dataset import Dataset
from mrcnn.data.formats.notes import Notes
from mrcnn.errors import UsageError
from mrcnn.geometry.boxes import extract_bboxes
from mrcnn.geometry.crops import MaskCrops
from mrcnn.geometry.outlines import MIN_IOU, outline, trace
from mrcnn.geometry.regions import polygon_region
from mrcnn.whole import WholeFile, check_free


@dataclass(frozen=True)
class Labelled:
    """A picture and its instances.

    file_name: the way from the annotation file's folder to the picture, with slashes.
    height, width: of the picture as it is seen, in pixels.
    masks: bool [height, width, num_instances], or cut to their boxes.
    class_ids: int [num_instances], numbers into the class names; a crowd's is negative.
    scores: float [num_instances] of 0..1, or None where a person said what it is.
    """

    file_name: str
    height: int
    width: int
    masks: np.ndarray | MaskCrops
    class_ids: np.ndarray
    scores: np.ndarray | None = None


class Instance(NamedTuple):
    class_id: int
    crowd: bool
    score: float | None
    mask: np.ndarray  # bool [height, width]
    box: tuple[int, int, int, int]  # (y1, x1, y2, x2)


def file_name_from(folder: str | os.PathLike, picture: str | os.PathLike) -> str:
    """The way from a folder to a picture, as `Labelled` wants it; absolute to another drive."""
    picture = os.path.abspath(picture)
    with contextlib.suppress(ValueError):  # Windows, another drive
        picture = os.path.relpath(picture, os.path.realpath(folder))
    return Path(picture).as_posix()


def labelled(dataset: Dataset, folder: Path) -> Iterator[Labelled]:
    """A prepared data set's pictures, as writers of annotations in that folder take them.

    Raises UsageError for a picture that is no file of its own.
    """
    for image_id in dataset.image_ids:
        info = dataset.image_info[image_id]
        if info["path"] is None:
            raise UsageError(
                f"the picture {info['id']} is inside its annotation file, where only LabelMe "
                "finds it: save it as a file beside that first."
            )
        masks, class_ids = dataset.load_mask(image_id)
        yield Labelled(file_name_from(folder, info["path"]), *masks.shape[:2], masks, class_ids)


class Writer(ABC):
    """What the writers share: use them in a `with` block, and add picture by picture.

    class_names: by class id, background first. overwrite: replace what is there. used: the class
    ids that the file lists, None for all.
    After an error nothing is left of a file that was begun, and an older one stays as it was.
    Raises FileExistsError where something is there and overwrite is False, OSError where it can't
    be written.
    """

    suffix = ".json"  # of the file; "" for a folder of files
    without_crowds = ""  # the name of a format that has no place for them

    def __init__(
        self,
        path: str | os.PathLike,
        class_names: Sequence[str],
        overwrite: bool = False,
        used: Collection[int] | None = None,
    ) -> None:
        self.path = Path(path)
        self.class_names = list(class_names)
        every = range(1, len(self.class_names))
        self._used = [i for i in every if used is None or i in used]
        self.num_instances = 0  # written so far
        self._notes = Notes()
        if not overwrite:
            check_free(self.path)

    @property
    def folder(self) -> Path:
        """From where `Labelled.file_name` leads to the picture."""
        return self.path.parent if self.suffix else self.path

    @property
    def notes(self) -> list[str]:
        """What was left out, each a sentence with the number and the first picture."""
        return self._notes.sentences()

    @abstractmethod
    def add(self, item: Labelled) -> None:
        """Add a picture with its instances."""

    @abstractmethod
    def close(self, keep: bool) -> None:
        """Finish what was begun, or drop it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close(keep=error is None)

    def _instances(self, item: Labelled) -> Iterator[Instance]:
        shape = (item.height, item.width, len(item.class_ids))
        if item.masks.shape != shape:
            raise ValueError(
                f"{item.file_name}: masks of shape {item.masks.shape} don't go with its height, "
                f"width and number of class ids, {shape}."
            )
        cut = isinstance(item.masks, MaskCrops)
        boxes = (item.masks.tight().boxes if cut else extract_bboxes(item.masks)).tolist()
        for i, class_id in enumerate(item.class_ids.tolist()):
            if not 0 < abs(class_id) < len(self.class_names):
                raise ValueError(
                    f"{item.file_name}: class id {class_id} has no name among the "
                    f"{len(self.class_names) - 1} classes."
                )
            if not any(boxes[i]):
                self._notes.count("Instances without a pixel, left out", item.file_name)
            elif class_id < 0 and self.without_crowds:
                what = f"Crowds, which {self.without_crowds} has no word for, left out"
                self._notes.count(what, item.file_name)
            else:
                score = None if item.scores is None else round(float(item.scores[i]), 6)
                mask = np.asarray(item.masks[..., i], bool)
                self.num_instances += 1
                yield Instance(abs(class_id), class_id < 0, score, mask, tuple(boxes[i]))


def separator(number: int) -> str:
    return "\n" if number == 1 else ",\n"


def plain(numbers: np.ndarray) -> list[float]:
    """As Python's numbers, whole ones without a point: half the size of the file."""
    return [int(number) if number.is_integer() else number for number in numbers.tolist()]


class Waiting:
    """Entries that can be written only when all pictures are known, in a file of their own."""

    def __init__(self) -> None:
        self._lines = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115

    def add(self, entry: Any) -> None:
        """Keep an entry of JSON's plain values."""
        self._lines.write(f"{json.dumps(entry)}\n")

    def __enter__(self) -> Iterator[Any]:
        self._lines.seek(0)
        return map(json.loads, self._lines)

    def __exit__(self, *_: object) -> None:
        self._lines.close()


def common_folder(pictures: Sequence[str]) -> str | None:
    """The folder that all lie in or below; None for none, or on several drives."""
    try:
        return os.path.commonpath([os.path.dirname(picture) for picture in pictures])
    except ValueError:
        return None


class OneFileWriter(Writer):
    """A writer of one file, in which pictures are named by where all of them lie.

    So entries wait until all are known; `_text` then makes the file of them.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        class_names: Sequence[str],
        overwrite: bool = False,
        used: Collection[int] | None = None,
    ) -> None:
        super().__init__(path, class_names, overwrite, used)
        self._file = WholeFile(self.path)
        self._folder = os.path.realpath(self.path.parent)
        self._entries = Waiting()
        self._pictures: list[str] = []  # absolute, as os.path takes them

    def _keep(self, item: Labelled, entry: Any) -> None:
        """Keep a picture's entry, of JSON's plain values."""
        self._entries.add(entry)
        self._pictures.append(os.path.normpath(os.path.join(self._folder, item.file_name)))

    def close(self, keep: bool) -> None:
        """Finish the file, or drop it."""
        with self._entries as entries:
            self._file.close(self._text(entries) if keep else None)

    @abstractmethod
    def _text(self, entries: Iterator[Any]) -> Iterator[str]:
        """The whole file in pieces. entries: one for each of self._pictures."""


# -- Outlines on the pixels' edges --------------------------------------------------------------


def has_one_outline(instance: Instance) -> bool:
    """Whether an instance is in one piece and has no hole."""
    y1, x1, y2, x2 = instance.box
    return len(trace(instance.mask[y1:y2, x1:x2])) == 1


def polygon_on_edges(
    instance: Instance, read_back: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """An instance as one polygon, [num_points, (y, x)]: 0, 0 is the corner of the first pixel.

    read_back: the points that a reader has of those that are written, after rounding. By these
    the IoU is at least 0.98.
    """
    # An outline of few points may pass pixels' centres, and lose them by rounding.
    for min_iou in (MIN_IOU, np.inf):
        points = outline(instance.mask, min_iou, instance.box, edges=True) + 0.5
        (y1, x1, y2, x2), drawn = polygon_region(read_back(points) - 0.5, instance.mask.shape)
        top, left, bottom, right = instance.box
        own = np.count_nonzero(instance.mask[top:bottom, left:right])
        shared = np.count_nonzero(drawn & instance.mask[y1:y2, x1:x2])
        union = np.count_nonzero(drawn) + own - shared
        if shared >= MIN_IOU * union:
            break
    return points
