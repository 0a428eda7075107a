"""Annotation files that labelling tools open: for predictions that are to be corrected by hand.

    with ViaWriter("found/via.json", ["BG", "cell"]) as writer:
        for picture in pictures:
            writer.add(Labelled("../scans/a.png", 512, 512, masks, class_ids, scores))

A picture at a time is in memory. What mrcnn.data.open reads back has, instance for instance, an
IoU of at least 0.98 with what was written. A polygon is simplified as far as that allows, since a
person has to drag its points.
"""

import itertools
import json
import os
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mrcnn.data.formats import marks
from mrcnn.data.writing import (
    Instance,
    Labelled,
    OneFileWriter,
    Writer,
    common_folder,
    file_name_from,
    labelled,
    plain,
    separator,
)
from mrcnn.data.writing_cvat import CvatWriter
from mrcnn.data.writing_geojson import GeojsonWriter
from mrcnn.data.writing_labelstudio import LabelStudioWriter
from mrcnn.data.writing_yolo import YoloWriter
from mrcnn.errors import UsageError
from mrcnn.geometry.crops import MaskCrops
from mrcnn.geometry.outlines import MIN_IOU, is_hole, mask_iou, outline, simplifications, trace
from mrcnn.geometry.rle import encode
from mrcnn.whole import WholeFile

__all__ = ["WRITERS", "Labelled", "Writer", "file_name_from", "labelled", "place"]


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


def _write(writer: "Writer", items: Iterable[Labelled]) -> list[str]:
    with writer:
        for item in items:
            writer.add(item)
    return writer.notes


# -- The formats --------------------------------------------------------------------------------


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
        used: Collection[int] | None = None,
    ) -> None:
        super().__init__(path, class_names, overwrite, used)
        self._category_ids = list(category_ids or range(len(class_names)))
        self._file = WholeFile(self.path)
        # The pictures go behind the annotations, and wait in a file of their own until then.
        self._images = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self._num_images = self._num_annotations = 0
        categories = [
            {"id": self._category_ids[i], "name": self.class_names[i], "supercategory": ""}
            for i in self._used
        ]
        head = {"info": {"description": "written by mrcnn"}, "categories": categories}
        self._file.write(f'{json.dumps(head)[:-1]},\n"annotations": [')

    def add(self, item: Labelled) -> None:
        """Add a picture with its instances."""
        self._num_images += 1
        rows = []
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
            self._file.write(f"{separator(self._num_annotations)}{json.dumps(annotation)}")
            rows.append(annotation)
        entry = {
            "id": self._num_images,
            "file_name": item.file_name,
            "height": item.height,
            "width": item.width,
        }
        if item.scores is not None:
            entry[marks.MARK] = marks.checksum(marks.coco_regions(rows))
        self._images.write(f"{separator(self._num_images)}{json.dumps(entry)}")

    def close(self, keep: bool) -> None:
        """Finish the file, or drop it."""
        with self._images:
            self._images.seek(0)
            self._file.close(
                itertools.chain(['\n],\n"images": ['], self._images, ["\n]}\n"]) if keep else None
            )


def _segmentation(instance: Instance) -> list[list[float]] | dict[str, Any]:
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
            return [plain((polygon + (x1, y1)).ravel()) for polygon in polygons]
    (encoded,) = encode(MaskCrops(instance.mask.shape, [instance.box], [crop]))
    size = [int(side) for side in encoded["size"]]
    return {"size": size, "counts": encoded["counts"].decode("ascii")}


class ViaWriter(OneFileWriter):
    """A project file of the VGG Image Annotator 2 (VIA): Project, Load.

    VIA shows the picture at `default_filepath` + `filename`, whatever folder the project lies in:
    the one is the folder of all pictures as a file:// address, the other their way from there.
    What VIA's "Add Files" brings finds its regions by its bare name, if the pictures lie in one
    folder. Where the pictures are as seen from this file stands in the settings too, for readers
    of another computer.

    Each region has the attributes "class", to be chosen from the class names, and for predictions
    "score". Parts and holes of an instance are strung together to one polygon, for VIA has no
    instances of several.
    """

    without_crowds = "VIA"

    def add(self, item: Labelled) -> None:
        """Add a picture with its instances."""
        regions = []
        for instance in self._instances(item):
            y, x = outline(instance.mask, box=instance.box).T
            attributes = {"class": self.class_names[instance.class_id]}
            if instance.score is not None:
                attributes["score"] = str(instance.score)
            shape = {"name": "polygon", "all_points_x": plain(x), "all_points_y": plain(y)}
            regions.append({"shape_attributes": shape, "region_attributes": attributes})
        marked = {}
        if item.scores is not None:
            marked[marks.MARK] = marks.checksum(marks.via_regions(regions))
        entry = {"regions": regions, "file_attributes": marked}
        self._keep(item, entry)

    def _text(self, entries: Iterator[dict[str, Any]]) -> Iterator[str]:
        base = common_folder(self._pictures)
        core = {"buffer_size": 18, "filepath": {}, "default_filepath": ""}
        project = {"name": self.path.stem}
        if base is not None:
            core["default_filepath"] = f"{Path(base).as_uri().rstrip('/')}/"
            project["pictures"] = file_name_from(self._folder, base)
        names = [self.class_names[i] for i in self._used]
        head = {
            "_via_settings": {
                "ui": {"image": {"region_label": "class", "region_color": "class"}},
                "core": core,
                "project": project,
            },
            "_via_attributes": {
                "region": {
                    "class": {
                        "type": "dropdown",
                        "description": "",
                        "options": {name: name for name in names},
                        "default_options": {},
                    },
                    "score": {"type": "text", "description": "", "default_value": ""},
                },
                "file": {},
            },
        }
        yield f'{json.dumps(head)[:-1]},\n"_via_img_metadata": {{'
        keys = []
        for picture, held in zip(self._pictures, entries):
            name = Path(os.path.relpath(picture, base) if base else picture).as_posix()
            size = os.path.getsize(picture) if os.path.isfile(picture) else -1
            keys.append(f"{name}{size}")  # VIA's own way to tell files apart
            entry = {"filename": name, "size": size, **held}
            yield f"{separator(len(keys))}{json.dumps(keys[-1])}: {json.dumps(entry)}"
        tail = {"_via_data_format_version": "2.0.10", "_via_image_id_list": keys}
        yield f"\n}},\n{json.dumps(tail)[1:]}\n"


class LabelmeWriter(Writer):
    """LabelMe 5: a folder with one JSON file for each picture, named after it.

    Parts and holes of an instance are strung together to one polygon. LabelMe could keep the parts
    as shapes with one group id, but not the holes; and one shape is one click to delete.
    A prediction's score stands in the shape's description, which LabelMe shows and keeps.
    """

    suffix = ""
    without_crowds = "LabelMe"

    def __init__(
        self,
        path: str | os.PathLike,
        class_names: Sequence[str],
        overwrite: bool = False,
        used: Collection[int] | None = None,
    ) -> None:
        super().__init__(path, class_names, overwrite, used)
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
                    "points": [plain(point) for point in points],
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
        if item.scores is not None:  # LabelMe keeps what it doesn't know
            content[marks.MARK] = marks.checksum(marks.labelme_regions(shapes))
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
    "yolo": YoloWriter,
    "cvat": CvatWriter,
    "labelstudio": LabelStudioWriter,
    "geojson": GeojsonWriter,
}


def place(out: Path, to: str) -> Path:
    """Where annotations go: `out` as a folder for labelme, yolo and geojson, else a file.

    Raises UsageError if it is a file of another kind, or where it must be a folder.
    """
    suffix = WRITERS[to].suffix
    others = {writer.suffix for writer in WRITERS.values()} - {"", suffix}
    if not suffix and (out.suffix in others or out.is_file()):
        tool = WRITERS[to].without_crowds
        raise UsageError(f"{tool} has a file for each picture: give a folder, not the file {out}.")
    if out.suffix in others:
        raise UsageError(f"The format {to} is a {suffix} file: give one, or a folder, not {out}.")
    return out if out.suffix == suffix else out / f"{to}{suffix}"
