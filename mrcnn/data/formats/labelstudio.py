"""Label Studio: a JSON list of tasks, whole or JSON-MIN, coordinates in percent of the size.

[{"data": {"image": "/data/upload/1/ab12-a.png"}, "annotations": [{"result": [
    {"type": "polygonlabels", "value": {"points": [[12.5, 20], ..], "polygonlabels": ["leaf"]}}]}]}]
JSON-MIN: [{"image": "/data/upload/1/ab12-a.png", "label": [{"points": .., "polygonlabels": ..}]}]
"""

import base64
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mrcnn.data.formats import shapes
from mrcnn.data.formats.files import missing_pictures, read_json, stored_size
from mrcnn.data.formats.labelled import DrawnDataset, keep_visible, usable_size
from mrcnn.data.formats.labelstudio_files import Pictures, picture_names
from mrcnn.data.formats.notes import Dropped, FormatError, Notes
from mrcnn.data.formats.reading import FILLED_BOXES, Part, Request, Row, add_drawn
from mrcnn.data.pictures import PictureError

_LABELLED = "labels"  # what the kinds of regions with a class end in
_NO_REGIONS = ("choices", "textarea", "rating", "number", "datetime", "taxonomy", "relation")
_POINTS = "Keypoints left out"


@dataclass
class _Task:
    """A picture as the file has it. regions: values with their labels, kinds and sizes."""

    names: list[str]  # ways to the picture, the likeliest first
    regions: list[dict[str, Any]] = field(default_factory=list)
    predicted: bool = False


def read(part: Part, request: Request) -> DrawnDataset:
    """The pictures and regions of Label Studio's files. Raises FormatError."""
    notes = Notes()
    rows: list[Row] = []
    for file in part.files:
        tasks = _tasks(file, notes)
        found = Pictures(file, request, [task.names for task in tasks], notes)
        if found.missing:
            total, where = len(tasks), [str(base) for base in found.bases]
            raise FormatError(missing_pictures(file, found.missing, total, where))
        for task, path in zip(tasks, found.paths):
            if path is not None:
                rows.append(_row(task, path, notes))
    return add_drawn(DrawnDataset("labelstudio", part.root, notes), rows, request, notes)


def labels(part: Part, request: Request) -> set[str]:
    """The class names that occur."""
    found = set()
    for file in part.files:
        for task in _tasks(file, Notes()):
            for region in task.regions:
                try:
                    found.add(_label(region))
                except Dropped:
                    continue
    return found


# -- Tasks --------------------------------------------------------------------------------------


def _tasks(file: Path, notes: Notes) -> list[_Task]:
    content = read_json(file)
    content = [content] if isinstance(content, dict) else content  # a single task by itself
    content = content if isinstance(content, list) else []
    rows = [row for row in content if isinstance(row, dict)]
    if len(rows) < len(content):
        notes.count("Tasks left out: they are no objects", file.name, len(content) - len(rows))
    if not rows:
        raise FormatError(
            f"{file} holds no tasks: in Label Studio, export the project as JSON or JSON-MIN."
        )
    tasks = []
    for number, row in enumerate(rows):
        task = _task(row, f"{file.name}, task {row.get('id', number)}", notes)
        if task is not None:
            tasks.append(task)
    if not tasks:
        raise FormatError(f"{file} has no task with a picture. {' '.join(notes.sentences()[:3])}")
    return tasks


def _task(row: dict, shown: str, notes: Notes) -> _Task | None:
    """A task with its picture and regions, or None."""
    data = row.get("data")
    whole = isinstance(data, dict)
    names, others = picture_names(data if whole else row, row.get("meta"))
    if not names:
        notes.count("Tasks left out: they name no picture", shown)
        return None
    task = _Task(names)
    if not whole:
        lists = [value for value in row.values() if isinstance(value, list)]
        values = [value for found in lists for value in found if isinstance(value, dict)]
        task.regions = [_as_result(value) for value in values]
        return task
    done = _annotations(row, ("annotations", "completions"))
    guesses = _annotations(row, ("predictions",))
    if not done and not guesses:
        notes.count("Tasks left out: nobody has labelled them", shown)
        return None
    if len(done) > 1:
        notes.count("Pictures labelled several times, of which the last one counts", shown)
    chosen = _chosen(done or guesses)
    task.predicted = not done
    results = [result if isinstance(result, dict) else {} for result in chosen["result"]]
    drawn_on = {str(r.get("to_name")) for r in results if _kind(r) not in _NO_REGIONS}
    if others and len(drawn_on) > 1:
        notes.count("Tasks left out: they have regions on several pictures", shown)
        return None
    task.regions = _merged(results)
    return task


def _annotations(row: dict, keys: tuple[str, ...]) -> list[dict]:
    """The annotations of a task that were not skipped; they have a list of results."""
    found = [one for key in keys for one in _list(row.get(key)) if isinstance(one, dict)]
    return [
        one
        for one in found
        if isinstance(one.get("result"), list) and one.get("was_cancelled") is not True
    ]


def _chosen(annotations: list[dict]) -> dict:
    """The one that was marked as ground truth, else the newest."""
    marked = [one for one in annotations if one.get("ground_truth") is True]
    dates = [str(one.get("updated_at") or "") for one in marked or annotations]
    newest = max(range(len(dates)), key=lambda i: (dates[i], i))
    return (marked or annotations)[newest]


def _merged(results: list[dict]) -> list[dict]:
    """Results with regions, those of one id as one: a shape and its class may come apart."""
    regions: dict[Any, dict] = {}
    for number, result in enumerate(results):
        if _kind(result) in _NO_REGIONS:
            continue
        key = result["id"] if isinstance(result.get("id"), str | int) else (number,)
        before = regions.get(key, {})
        value = {**before.get("value", {}), **_dict(result.get("value"))}
        kinds = [kind for kind in (_kind(before), _kind(result)) if kind != _LABELLED]
        kind = next((kind for kind in kinds if kind.endswith(_LABELLED)), "".join(kinds[:1]))
        regions[key] = {**before, **result, "value": value, "type": kind or _LABELLED}
    return list(regions.values())


def _as_result(value: dict) -> dict[str, Any]:
    """A region of JSON-MIN, whose values lie flat, as the whole export has it."""
    kinds = [key for key in value if isinstance(key, str) and key.endswith(_LABELLED)]
    return {**value, "type": kinds[0] if kinds else "", "value": value}


def _kind(result: dict) -> str:
    kind = result.get("type")
    return kind.lower() if isinstance(kind, str) else ""


def _list(value: Any) -> list:
    return value if isinstance(value, list) else []


def _dict(value: Any) -> dict:
    return value if isinstance(value, dict) else {}


# -- Regions ------------------------------------------------------------------------------------


def _row(task: _Task, path: str, notes: Notes) -> Row:
    shown = task.names[0].rsplit("/", 1)[-1]
    try:
        height, width, orientation = stored_size(path)
    except PictureError:
        upright = None  # load_image will say what is wrong with it
    else:
        upright = (width, height) if orientation >= 5 else (height, width)
    size = _stated(task) or upright
    if size and upright and size != upright and _same_shape(size, upright):
        notes.count("Pictures that were labelled at another size, which are scaled", shown)
        size = upright
    instances = []
    for region in task.regions if size else ():
        try:
            shape = _shape(region, size)
            label = _label(region)
        except Dropped as reason:
            text = str(reason)
            notes.count(text if text == _POINTS else f"Regions dropped: they {text}", shown)
            continue
        if _kind(region).startswith("rectangle"):
            notes.count(FILLED_BOXES, shown)
        instances.append(shapes.Instance(label, (shape,)))
    kept = keep_visible(instances, size, notes, shown)
    return Row(shown, path, *(size or (None, None)), kept, predicted=task.predicted)


def _stated(task: _Task) -> shapes.Size | None:
    sizes = (usable_size(r.get("original_height"), r.get("original_width")) for r in task.regions)
    return next((size for size in sizes if size), None)


def _same_shape(one: shapes.Size, other: shapes.Size) -> bool:
    """Whether two sizes are the same picture, scaled: the sides differ by rounding at most."""
    scale = one[0] / other[0]
    return abs(one[1] - other[1] * scale) <= max(1, scale) and one != other[::-1]


def _label(region: dict) -> str:
    value, kind = region["value"], _kind(region)
    names = _list(value.get(kind)) or _list(value.get(_LABELLED))
    names = [name.strip() for name in names if isinstance(name, str) and name.strip()]
    if not names:
        raise Dropped("have no label")
    if len(names) > 1:
        raise Dropped("have several labels")
    return names[0]


def _shape(region: dict, size: shapes.Size) -> shapes.Shape:
    value = region["value"]
    if region.get("image_rotation") not in (None, 0, 360):
        raise Dropped("were drawn on a turned picture (image_rotation)")
    height, width = size
    try:
        if "rle" in value:
            if value.get("format", "rle") != "rle":
                raise Dropped("have a brush mask of a format that is not known")
            return shapes.stored_brush(value["rle"], height, width)
        if "imageDataURL" in value:
            return _bitmap(value["imageDataURL"], size)
        if "points" in value:
            return _polygon(value["points"], size)
        angle = value.get("rotation") or 0.0
        if "radiusX" in value:
            numbers = [value[name] for name in ("x", "y", "radiusX", "radiusY")]
            x, y, rx, ry = _pixels(numbers, size)
            (turn,) = shapes.to_numbers([angle]).tolist()
            return shapes.ellipse(x - 0.5, y - 0.5, rx, ry, math.radians(turn))
        if _kind(region).startswith(("keypoint", "vector")):
            raise Dropped(_POINTS if _kind(region)[0] == "k" else "are vectors")
        numbers = [value[name] for name in ("x", "y", "width", "height")]
    except KeyError as missing:
        raise Dropped(f"have no {missing.args[0]}") from None
    x, y, w, h = _pixels(numbers, size)
    (turn,) = shapes.to_numbers([angle]).tolist()
    # Turned about its upper left corner, as it was before.
    corner = x - 0.5, y - 0.5
    return shapes.turned_rectangle(*corner, w, h, math.radians(turn), *corner)


def _polygon(points: Any, size: shapes.Size) -> shapes.Shape:
    if not isinstance(points, list) or any(
        not isinstance(point, list) or len(point) != 2 for point in points
    ):
        raise Dropped("have points that are not pairs of numbers")
    height, width = size
    xs, ys = (shapes.to_numbers([point[i] for point in points]) for i in (0, 1))
    return shapes.polygon((xs / 100 * width - 0.5).tolist(), (ys / 100 * height - 0.5).tolist())


def _pixels(numbers: list[Any], size: shapes.Size) -> list[float]:
    """Percents (of width, height, width, height) in pixels. Raises Dropped."""
    height, width = size
    return (shapes.to_numbers(numbers) / 100 * (width, height, width, height)).tolist()


def _bitmap(address: Any, size: shapes.Size) -> shapes.Shape:
    """The mask of a BitMask region: a PNG of the whole picture in base64."""
    text = address.partition("base64,")[2] if isinstance(address, str) else ""
    try:
        png = base64.b64decode(text, validate=True)
    except ValueError:
        png = b""
    shape = shapes.stored_mask(png, 0.0, 0.0)
    if tuple(shape.numbers[1].astype(int).tolist()) != size:
        raise Dropped("have a mask of another size than their picture")
    return shape
