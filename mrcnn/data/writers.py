"""Annotation files that labelling tools open: for predictions that are to be corrected by hand.

    with ViaWriter("found/via.json", ["BG", "cell"]) as writer:
        for picture in pictures:
            writer.add(Labelled("../scans/a.png", 512, 512, masks, class_ids, scores))

A picture at a time is in memory. What mrcnn.data.open reads back has, instance for instance, an
IoU of at least 0.98 with what was written. A polygon is simplified as far as that allows, since a
person has to drag its points.
"""

import contextlib
import itertools
import json
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from mrcnn.data.dataset import Dataset
from mrcnn.data.formats.notes import Notes
from mrcnn.errors import UsageError
from mrcnn.geometry.boxes import extract_bboxes
from mrcnn.geometry.outlines import MIN_IOU, is_hole, mask_iou, outline, simplifications, trace
from mrcnn.whole import WholeFile, check_free


@dataclass(frozen=True)
class Labelled:
    """A picture and its instances.

    file_name: the way from the annotation file's folder to the picture, with slashes.
    height, width: of the picture as it is seen, in pixels.
    masks: bool [height, width, num_instances].
    class_ids: int [num_instances], numbers into the class names; a crowd's is negative.
    scores: float [num_instances] of 0..1, or None where a person said what it is.
    """

    file_name: str
    height: int
    width: int
    masks: np.ndarray
    class_ids: np.ndarray
    scores: np.ndarray | None = None


class _Instance(NamedTuple):
    class_id: int
    crowd: bool
    score: float | None
    mask: np.ndarray  # bool [height, width]
    box: tuple[int, int, int, int]  # (y1, x1, y2, x2)


def write_coco(
    path: str | os.PathLike,
    items: Iterable[Labelled],
    class_names: Sequence[str],
    overwrite: bool = False,
    category_ids: Sequence[int] | None = None,
) -> list[str]:
    """Write a COCO annotation file; see `CocoWriter`. Returns what was left out, in sentences."""
    return _write(CocoWriter(path, class_names, overwrite, category_ids), items)


def write_via(
    path: str | os.PathLike,
    items: Iterable[Labelled],
    class_names: Sequence[str],
    overwrite: bool = False,
) -> list[str]:
    """Write a project file of VIA 2; see `ViaWriter`. Returns what was left out, in sentences."""
    return _write(ViaWriter(path, class_names, overwrite), items)


def write_labelme(
    folder: str | os.PathLike,
    items: Iterable[Labelled],
    class_names: Sequence[str],
    overwrite: bool = False,
) -> list[str]:
    """Write LabelMe's files; see `LabelmeWriter`. Returns what was left out, in sentences."""
    return _write(LabelmeWriter(folder, class_names, overwrite), items)


def file_name_from(folder: str | os.PathLike, picture: str | os.PathLike) -> str:
    """The way from a folder to a picture, as `Labelled` wants it; absolute to another drive."""
    picture = os.path.abspath(picture)
    with contextlib.suppress(ValueError):  # Windows, another drive
        picture = os.path.relpath(picture, os.path.realpath(folder))
    return Path(picture).as_posix()


def _write(writer: "Writer", items: Iterable[Labelled]) -> list[str]:
    with writer:
        for item in items:
            writer.add(item)
    return writer.notes


def place(out: Path, to: str) -> Path:
    """Where annotations go: `out` as a folder for labelme, else a file, in `out` or itself.

    Raises UsageError if it is a file where it must be a folder.
    """
    if to != "labelme":
        return out if out.suffix == ".json" else out / f"{to}.json"
    if out.suffix == ".json" or out.is_file():
        raise UsageError(f"LabelMe has a file for each picture: give a folder, not the file {out}.")
    return out


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


# -- The formats --------------------------------------------------------------------------------


class Writer(ABC):
    """What the writers share: use them in a `with` block, and add picture by picture.

    class_names: by class id, background first. overwrite: replace what is there.
    After an error nothing is left of a file that was begun, and an older one stays as it was.
    Raises FileExistsError where something is there and overwrite is False, OSError where it can't
    be written.
    """

    without_crowds = ""  # the name of a format that has no place for them

    def __init__(
        self, path: str | os.PathLike, class_names: Sequence[str], overwrite: bool = False
    ) -> None:
        self.path = Path(path)
        self.class_names = list(class_names)
        self.num_instances = 0  # written so far
        self._notes = Notes()
        if not overwrite:
            check_free(self.path)

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

    def _instances(self, item: Labelled) -> Iterator[_Instance]:
        shape = (item.height, item.width, len(item.class_ids))
        if item.masks.shape != shape:
            raise ValueError(
                f"{item.file_name}: masks of shape {item.masks.shape} don't go with its height, "
                f"width and number of class ids, {shape}."
            )
        boxes = extract_bboxes(item.masks).tolist()
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
                yield _Instance(abs(class_id), class_id < 0, score, mask, tuple(boxes[i]))


class CocoWriter(Writer):
    """COCO's annotation file.

    An instance is a list of polygons, one for each part, where pycocotools makes of them a mask
    with an IoU of at least 0.98, else compressed RLE: tools for labels can bend only polygons, and
    COCO's have no holes. A crowd is always RLE. Predictions keep their `score`.
    category_ids: by class id, the background's first (not used); None: the class ids.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        class_names: Sequence[str],
        overwrite: bool = False,
        category_ids: Sequence[int] | None = None,
    ) -> None:
        super().__init__(path, class_names, overwrite)
        self._category_ids = list(category_ids or range(len(class_names)))
        self._file = WholeFile(self.path)
        # The pictures go behind the annotations, and wait in a file of their own until then.
        self._images = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self._num_images = self._num_annotations = 0
        categories = [
            {"id": category_id, "name": name, "supercategory": ""}
            for category_id, name in zip(self._category_ids[1:], self.class_names[1:])
        ]
        head = {"info": {"description": "written by mrcnn"}, "categories": categories}
        self._file.write(f'{json.dumps(head)[:-1]},\n"annotations": [')

    def add(self, item: Labelled) -> None:
        """Add a picture with its instances."""
        self._num_images += 1
        entry = {
            "id": self._num_images,
            "file_name": item.file_name,
            "height": item.height,
            "width": item.width,
        }
        self._images.write(f"{_separator(self._num_images)}{json.dumps(entry)}")
        for instance in self._instances(item):
            self._num_annotations += 1
            y1, x1, y2, x2 = instance.box
            annotation = {
                "id": self._num_annotations,
                "image_id": self._num_images,
                "category_id": self._category_ids[instance.class_id],
                "segmentation": _segmentation(instance),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": int(np.count_nonzero(instance.mask[y1:y2, x1:x2])),
                "iscrowd": int(instance.crowd),
            }
            if instance.score is not None:
                annotation["score"] = instance.score
            self._file.write(f"{_separator(self._num_annotations)}{json.dumps(annotation)}")

    def close(self, keep: bool) -> None:
        """Finish the file, or drop it."""
        with self._images:
            self._images.seek(0)
            self._file.close(
                itertools.chain(['\n],\n"images": ['], self._images, ["\n]}\n"]) if keep else None
            )


def _segmentation(instance: _Instance) -> list[list[float]] | dict[str, Any]:
    """Polygons [x, y, x, y, ..], in which a pixel reaches from 0 to 1, or compressed RLE."""
    from pycocotools import mask as rle

    y1, x1, y2, x2 = instance.box
    crop = instance.mask[y1:y2, x1:x2]
    loops = [] if instance.crowd else trace(crop)
    parts = [not is_hole(loop) for loop in loops]
    for candidate in simplifications(loops) if loops else []:
        polygons = [loop[:, ::-1] + 0.5 for loop, part in zip(candidate, parts) if part]
        drawn = rle.frPyObjects([p.ravel().tolist() for p in polygons], *crop.shape)
        if mask_iou(rle.decode(rle.merge(drawn)).astype(bool), crop) >= MIN_IOU:
            return [_plain((polygon + (x1, y1)).ravel()) for polygon in polygons]
    encoded = rle.encode(np.asfortranarray(instance.mask, np.uint8))
    size = [int(side) for side in encoded["size"]]
    return {"size": size, "counts": encoded["counts"].decode("ascii")}


class ViaWriter(Writer):
    """A project file of the VGG Image Annotator 2 (VIA): Project, Load.

    Each region has the attributes "class", to be chosen from the class names, and for predictions
    "score". Parts and holes of an instance are strung together to one polygon, for VIA has no
    instances of several.
    """

    without_crowds = "VIA"

    def __init__(
        self, path: str | os.PathLike, class_names: Sequence[str], overwrite: bool = False
    ) -> None:
        super().__init__(path, class_names, overwrite)
        self._file = WholeFile(self.path)
        self._keys: list[str] = []
        head = {
            "_via_settings": {
                "ui": {"image": {"region_label": "class", "region_color": "class"}},
                "core": {"buffer_size": 18, "filepath": {}, "default_filepath": ""},
                "project": {"name": self.path.stem},
            },
            "_via_attributes": {
                "region": {
                    "class": {
                        "type": "dropdown",
                        "description": "",
                        "options": {name: name for name in self.class_names[1:]},
                        "default_options": {},
                    },
                    "score": {"type": "text", "description": "", "default_value": ""},
                },
                "file": {},
            },
        }
        self._file.write(f'{json.dumps(head)[:-1]},\n"_via_img_metadata": {{')

    def add(self, item: Labelled) -> None:
        """Add a picture with its instances."""
        regions = []
        for instance in self._instances(item):
            y, x = outline(instance.mask, box=instance.box).T
            attributes = {"class": self.class_names[instance.class_id]}
            if instance.score is not None:
                attributes["score"] = str(instance.score)
            shape = {"name": "polygon", "all_points_x": _plain(x), "all_points_y": _plain(y)}
            regions.append({"shape_attributes": shape, "region_attributes": attributes})
        picture = self.path.parent / item.file_name
        size = picture.stat().st_size if picture.is_file() else -1
        entry = {
            "filename": item.file_name,
            "size": size,
            "regions": regions,
            "file_attributes": {},
        }
        self._keys.append(f"{item.file_name}{size}")  # VIA's own way to tell files apart
        key = json.dumps(self._keys[-1])
        self._file.write(f"{_separator(len(self._keys))}{key}: {json.dumps(entry)}")

    def close(self, keep: bool) -> None:
        """Finish the file, or drop it."""
        tail = {"_via_data_format_version": "2.0.10", "_via_image_id_list": self._keys}
        self._file.close([f"\n}},\n{json.dumps(tail)[1:]}\n"] if keep else None)


class LabelmeWriter(Writer):
    """LabelMe 5: a folder with one JSON file for each picture, named after it.

    Parts and holes of an instance are strung together to one polygon. LabelMe could keep the parts
    as shapes with one group id, but not the holes; and one shape is one click to delete.
    A prediction's score stands in the shape's description, which LabelMe shows and keeps.
    """

    without_crowds = "LabelMe"

    def __init__(
        self, path: str | os.PathLike, class_names: Sequence[str], overwrite: bool = False
    ) -> None:
        super().__init__(path, class_names, overwrite)
        self.path.mkdir(parents=True, exist_ok=True)
        self._taken: set[str] = set()

    def add(self, item: Labelled) -> None:
        """Write the file of a picture; the second a.json of two folders' pictures is a_2.json."""
        shapes = []
        for instance in self._instances(item):
            points = outline(instance.mask, box=instance.box)[:, ::-1]
            score = "" if instance.score is None else f"score {instance.score}"
            shapes.append(
                {
                    "label": self.class_names[instance.class_id],
                    "points": [_plain(point) for point in points],
                    "group_id": None,
                    "description": score,
                    "shape_type": "polygon",
                    "flags": {},
                }
            )
        content = {
            "version": "5.5.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": item.file_name,
            "imageData": None,
            "imageHeight": item.height,
            "imageWidth": item.width,
        }
        stem = name = PurePosixPath(item.file_name).stem
        number = 2
        while name.casefold() in self._taken:
            name, number = f"{stem}_{number}", number + 1
        self._taken.add(name.casefold())
        WholeFile(self.path / f"{name}.json").close([json.dumps(content, indent=1)])

    def close(self, keep: bool) -> None:
        """Nothing is left to do: each picture's file is finished when it is added."""


WRITERS: dict[str, type[Writer]] = {
    "coco": CocoWriter,
    "via": ViaWriter,
    "labelme": LabelmeWriter,
}


def _separator(number: int) -> str:
    return "\n" if number == 1 else ",\n"


def _plain(numbers: np.ndarray) -> list[float]:
    """As Python's numbers, whole ones without a point: half the size of the file."""
    return [int(number) if number.is_integer() else number for number in numbers.tolist()]
