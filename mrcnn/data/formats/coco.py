"""COCO: JSON files of `images`, `annotations` and `categories`, and the pictures beside them.

Polygons lie on the edges of pixels here (0, 0 is the corner of the first one); pycocotools draws
them, so that masks are those of COCO's own tools. A class keeps its COCO id in class_info.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from mrcnn.data.formats import marks
from mrcnn.data.formats.crowds import box_corners, judge_crowds
from mrcnn.data.formats.files import find_folder, natural_name, read_json
from mrcnn.data.formats.labelled import LabelledDataset, usable_size
from mrcnn.data.formats.names import is_background
from mrcnn.data.formats.notes import Dropped, FormatError, Notes, shortened
from mrcnn.data.formats.reading import DOUBLED, FILLED_BOXES, HOLES, Part, Request, finished
from mrcnn.data.formats.rle import check_rle, region_of, unpack
from mrcnn.data.formats.shapes import Size, check_outline, place, to_numbers
from mrcnn.geometry.regions import Region
from mrcnn.words import printable

HOLE = -1  # in the place of a class id
Ids = dict[str, Any]  # what a file calls a class or a picture, as text, and what it became


class CocoFiles(LabelledDataset):
    """Pictures and instances of one or several COCO files.

    annotations: dicts of id, category_id, iscrowd, class_id, bbox and area if there are, and
    segmentation: a list of float64 arrays [x1, y1, x2, y2, ..], or an RLE.
    """

    def listed_class_ids(self, image_id: int) -> np.ndarray:
        """Class ids of the annotations; negative for crowds."""
        rows = self.image_info[image_id]["annotations"]
        return np.array([(-1 if r["iscrowd"] else 1) * r["class_id"] for r in rows], np.int32)

    def decode(self, image_id: int, size: Size) -> Iterator[tuple[int, Region]]:
        """(class id, region) of each instance; negative for crowds."""
        for annotation in self.image_info[image_id]["annotations"]:
            region, crowd = _region(annotation["segmentation"], size), annotation["iscrowd"]
            if region is None and crowd:
                # NOTE: as in the original, such a crowd is taken to fill the picture: nothing in
                # it then counts as background, which is the careful reading.
                self.tell(image_id, "Crowds whose RLE has another size, taken to fill the picture")
                region = (0, 0, *size), np.ones(size, bool)
            elif region is None:
                self.tell(image_id, "Instances left out: their RLE has another size")
                continue
            yield (-1 if crowd else 1) * annotation["class_id"], region

    def decode_holes(self, image_id: int, size: Size) -> Iterator[Region]:
        """The region of each annotation of a category that means the background."""
        for outline in self.image_info[image_id].get("holes", ()):
            if region := _region(outline, size):
                yield region


def _region(outline: Any, size: Size) -> Region | None:
    """What an annotation's segmentation covers; None for an RLE of another size."""
    if isinstance(outline, list):
        outline = coco_mask.merge(coco_mask.frPyObjects(outline, *size))
    if tuple(outline["size"]) != size:
        return None
    counts = outline["counts"]
    runs = unpack(counts.decode("ascii")) if isinstance(counts, bytes) else counts
    return region_of(runs, size[0])


def read(part: Part, request: Request) -> CocoFiles:
    """The pictures and instances of COCO's files; classes of one name are one. FormatError."""
    notes = Notes()
    dataset = CocoFiles("coco", part.root, notes)
    known_images: set[Any] = set()
    for file in part.files:
        content = _content(file)
        class_ids = _add_classes(dataset, file, content, request, notes)
        images = _images(file, content["images"], notes)
        crowds = judge_crowds(content["annotations"], file.name, notes)
        _add_annotations(images, content["annotations"], class_ids, crowds, notes)
        _mark_predictions(images, content)
        if request.class_ids:
            images = {key: image for key, image in images.items() if image["annotations"]}
        names = [image["file_name"] for image in images.values()]
        paths = find_folder(request.folders, names, _candidates(file, request), file)
        for image in images.values():
            path, image_id = paths[image.pop("file_name")], image.pop("id")
            if image_id in known_images:
                notes.count("Pictures whose id another file has too, renamed", path)
                image_id = f"{file.stem}/{image_id}"
            known_images.add(image_id)
            dataset.add_image("coco", image_id=image_id, path=path, **image)
    if not dataset.image_info:
        said = " ".join(notes.sentences()[:3])
        raise FormatError(f"{part.root} holds no picture of the wanted classes. {said}".strip())
    return finished(dataset, notes)


# -- The three lists of a file ----------------------------------------------------------------


def _content(file: Path) -> dict[str, list]:
    content = read_json(file)
    if not isinstance(content, dict):
        raise FormatError(
            f"{file} holds a list: COCO's files hold an object with a list of images."
        )
    for name in ("images", "annotations", "categories"):
        if not isinstance(content.get(name), list):
            raise FormatError(
                f"{file} has no list {name!r}, as a COCO file of instances must: export it again, "
                "with its labels."
            )
    return content


def _add_classes(
    dataset: CocoFiles, file: Path, content: dict[str, list], request: Request, notes: Notes
) -> dict[str, int | None]:
    """{id in the file: class id in the dataset, or None if it was not asked for}."""
    categories: Ids = {}
    for number, category in enumerate(content["categories"]):
        key = _key(category.get("id")) if isinstance(category, dict) else None
        name = category.get("name") if key else None
        if key is None or not isinstance(name, str) or not name.strip():
            raise FormatError(f"{file}: categories[{number}] has no id and name.")
        if key in categories:
            raise FormatError(f"{file}: two categories have the id {key}.")
        if name.strip() in (known for _, known in categories.values()):
            notes.say(f"{file.name} has several categories called {name.strip()}: they are one.")
        categories[key] = category["id"], name.strip()
    categories = _without_supercategory(categories, content, notes)
    wanted = _wanted(file, categories, request)
    numbers: dict[str, int | None] = dict.fromkeys(categories)
    for key in wanted:
        source_id, name = categories[key]
        name = request.renamed(name, source_id)
        if name is None:
            notes.say(f"The class {categories[key][1]} of {file.name} is left out.")
            continue
        if is_background(name):
            numbers[key] = HOLE
            notes.say(f"The class {categories[key][1]} of {file.name} means the background: none.")
            continue
        name = printable(name)
        names = [info["name"] for info in dataset.class_info]
        if name not in names:
            taken = {info["id"] for info in dataset.class_info[1:]}
            if source_id in taken:
                new = max([i for i in taken if isinstance(i, int)], default=0) + 1
                notes.say(
                    f"The class {name} has the id {source_id} in {file.name}, which another class "
                    f"has already: here it is {new}."
                )
                source_id = new
            dataset.add_class("coco", source_id, name)
            names.append(name)
        numbers[key] = names.index(name)
    return numbers


def _without_supercategory(categories: Ids, content: dict[str, list], notes: Notes) -> Ids:
    """Roboflow writes the name of the project as category 0, which no annotation has."""
    first = categories.get("0")
    rows = [row for row in content["categories"] if isinstance(row, dict)]
    if first is None or not any(row.get("supercategory") == first[1] for row in rows):
        return categories
    if any(
        isinstance(a, dict) and _key(a.get("category_id")) == "0" for a in content["annotations"]
    ):
        return categories
    notes.say(
        f"Category 0, {first[1]}, is no class: others belong to it, and nothing is labelled so."
    )
    return {key: category for key, category in categories.items() if key != "0"}


def _wanted(file: Path, categories: Ids, request: Request) -> list[str]:
    """Keys of the classes asked for: in the order of class_ids, or sorted by id."""
    if not request.class_ids:
        return sorted(categories, key=lambda key: _order(categories[key][0]))
    by_name = {name: key for key, (_, name) in categories.items()}
    keys = [
        key if (key := _key(wanted)) in categories else by_name.get(wanted)
        for wanted in request.class_ids
    ]
    if None in keys:
        shown = ", ".join(f"{source_id} {name}" for source_id, name in categories.values())
        strange = request.class_ids[keys.index(None)]
        raise FormatError(f"{file} has no class {strange!r}. It has {shortened(shown, 800)}.")
    return list(dict.fromkeys(keys))


def _images(file: Path, rows: list, notes: Notes) -> Ids:
    images: Ids = {}
    for number, row in enumerate(rows):
        key = _key(row.get("id")) if isinstance(row, dict) else None
        links = [row.get(k) for k in ("file_name", "path", "coco_url", "flickr_url")] if key else []
        name = next((name for name in map(natural_name, links) if name), None)
        if name is None or key in images:
            why = "another one has their id" if name else "they have no id and file_name"
            notes.count(f"Pictures left out: {why}", f"{file.name}, images[{number}]")
            continue
        size = usable_size(row.get("height"), row.get("width"))
        if size is None:
            notes.count("Pictures whose stated size is none, so that their own is taken", name)
        height, width = size or (None, None)
        images[key] = {
            "id": row["id"],
            "file_name": name,
            "height": height,
            "width": width,
            "annotations": [],
        }
    if not images:
        said = " ".join(notes.sentences()[:3])
        raise FormatError(f"{file} lists no picture. {said}".strip())
    return images


def _add_annotations(
    images: Ids, rows: list, class_ids: dict[str, int | None], crowds: bool, notes: Notes
) -> None:
    seen: set[tuple] = set()
    for number, row in enumerate(rows):
        image, place_name = None, f"annotations[{number}]"
        try:
            if not isinstance(row, dict):
                raise Dropped("are not objects")
            image = images.get(_key(row.get("image_id")))
            if image is None:
                raise Dropped("belong to no picture")
            place_name = image["file_name"]
            key = _key(row.get("category_id"))
            if key not in class_ids:
                raise Dropped("have a category that the file does not list")
            if class_ids[key] is None:
                continue
            annotation = _annotation(row, image, class_ids[key], crowds, notes)
        except Dropped as reason:
            notes.count(f"Annotations dropped: they {reason}", place_name)
            continue
        same = (id(image), class_ids[key], annotation["iscrowd"], _as_key(annotation))
        if same in seen:
            notes.count(DOUBLED, place_name)
        elif class_ids[key] == HOLE:
            notes.count(HOLES, place_name)
            image.setdefault("holes", []).append(annotation["segmentation"])
        else:
            image["annotations"].append(annotation)
        seen.add(same)


def _as_key(annotation: dict[str, Any]) -> Any:
    """What is equal for equal segmentations."""
    outline = annotation["segmentation"]
    if isinstance(outline, list):
        return tuple(numbers.tobytes() for numbers in outline)
    return bytes(outline["counts"]), *outline["size"]


def _mark_predictions(images: Ids, content: dict[str, list]) -> None:
    """Mark the pictures whose annotations are predictions that nobody has changed."""
    told = {
        key: row[marks.MARK]
        for row in content["images"]
        if isinstance(row, dict) and marks.MARK in row and (key := _key(row.get("id"))) in images
    }
    if not told:
        return
    rows: dict[str, list[dict]] = {key: [] for key in told}
    for row in content["annotations"]:
        if isinstance(row, dict) and (key := _key(row.get("image_id"))) in rows:
            rows[key].append(row)
    for key, mark in told.items():
        if marks.is_unchanged(mark, marks.coco_regions(rows[key])):
            images[key][marks.MARK] = True


# -- One annotation ---------------------------------------------------------------------------


def _annotation(
    row: dict, image: dict, class_id: int, crowds: bool, notes: Notes
) -> dict[str, Any]:
    """crowds: whether iscrowd is taken at its word."""
    name = image["file_name"]
    crowd = row.get("iscrowd")  # home-made files may leave it out
    if crowd not in (0, 1, None, "0", "1"):
        raise Dropped("have an iscrowd that is neither 0 nor 1")
    crowd = crowd if crowds else 0
    outline = row.get("segmentation")
    size = (image["height"], image["width"]) if image["height"] else None
    if isinstance(outline, dict):
        outline = check_rle(outline)
        if size and tuple(outline["size"]) != size and int(crowd or 0) == 0:
            raise Dropped("have an RLE of another size than their picture")
    elif isinstance(outline, list) and outline:
        if not isinstance(outline[0], list):
            outline = [outline]
            notes.count("Polygons that are not in a list of their own, taken as one", name)
        outline = _polygons(outline, size, notes, name)
    elif outline in (None, [], {}, ""):
        outline = _polygons([box_corners(row)], size, notes, name)
        notes.count(FILLED_BOXES, name)
    else:
        raise Dropped("have a segmentation that is neither a list nor an RLE")
    annotation = {
        "id": row.get("id"),
        "category_id": row["category_id"],
        "class_id": class_id,
        "iscrowd": int(crowd or 0),
        "segmentation": outline,
    }
    box = row.get("bbox")
    if isinstance(box, list) and len(box) == 4 and set(map(type, box)) <= {int, float}:
        annotation["bbox"] = box
    area = row.get("area")  # COCO sorts small from large by it; it isn't always the mask's
    if type(area) in (int, float) and 0 <= area < math.inf:
        annotation["area"] = area
    return annotation


def _polygons(rows: list, size: Size | None, notes: Notes, picture: str) -> list[np.ndarray]:
    """The usable ones of an instance's polygons. Raises Dropped if there is none."""
    kept, reason = [], None
    for row in rows:
        try:
            numbers = to_numbers(row)  # [x1, y1, x2, y2, ..]
            if len(numbers) % 2:
                raise Dropped("have an odd number of coordinates")
            points = numbers.reshape(-1, 2)[:, ::-1]  # [num_points, (y, x)]
            check_outline(points)
            box = (*points.min(axis=0).tolist(), *points.max(axis=0).tolist())
            where = place(box, size) if size else "inside"
            if where == "outside":
                raise Dropped("lie outside of their picture")
        except Dropped as error:
            reason = error
            continue
        if where == "across":
            notes.count("Polygons cut: they reach across the border of their picture", picture)
        kept.append(numbers)
    if not kept:
        raise reason
    if reason:
        notes.count(f"Polygons of an instance of several dropped: they {reason}", picture)
    return kept


# -- Ids and folders --------------------------------------------------------------------------


def _key(value: Any) -> str | None:
    """An id as text: some tools write 7 in one place and "7" in another. None if it is none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return str(value)[:200]


def _order(source_id: Any) -> tuple[bool, float, str]:
    text = str(source_id)
    number = re.fullmatch(r"-?[0-9]+", text) is not None
    return (not number, float(text[:300]) if number else 0.0, text)


def _candidates(file: Path, request: Request) -> list[Path]:
    """Folders that may hold the pictures of an annotation file."""
    if request.images:
        return [request.images]
    name = set_name(file)
    pictures = name.replace("valminusminival", "val").replace("minival", "val")
    roots = [file.parent]
    if file.parent.name.lower() in ("annotations", "annotation", "labels", "json"):
        roots.insert(0, file.parent.parent)
    folders = ("", "images", pictures, f"images/{pictures}", f"{pictures}/images")
    usual = [root / folder for root in roots for folder in folders]
    others = [
        root / entry
        for root in roots
        for entry in sorted(request.folders.names(root))[:200]
        if (root / entry).is_dir()
    ]
    return [folder for folder in usual + others if folder.is_dir()] or roots


def set_name(file: Path) -> str:
    """What a file's set is called: train2017 of instances_train2017.json."""
    stem = file.stem.removesuffix(".coco").strip("_")
    return stem.removeprefix("instances_").removesuffix("_instances") or stem
