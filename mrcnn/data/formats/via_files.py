"""The files of all versions of VIA as VIA 2's JSON has them: {key: {filename, size, regions}}."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mrcnn.data.formats.files import read_json, read_text
from mrcnn.data.formats.notes import FormatError, shortened

_CSV_OF_2 = ("filename", "region_shape_attributes", "region_attributes")
_CSV_OF_3 = ("file_list", "spatial_coordinates", "metadata")
_OPTIONS = ("2", "3", "4")  # VIA 3's attribute types whose values are keys of options
_VIDEO = "4"  # its type of such files


def read_via(file: Path) -> Any:
    """The content of a file of VIA, JSON or CSV; of another version as VIA 2 would have it.

    Raises FormatError. What is no object of entries is returned as it is.
    """
    if file.suffix.lower() == ".csv":
        return _from_csv(file)
    content = read_json(file)
    if isinstance(content, dict) and is_via_3(content):
        return _from_3(content)
    if isinstance(content, dict) and "_via_img_metadata" in content:
        return content["_via_img_metadata"]
    return content


def is_via_3(content: dict[str, Any]) -> bool:
    """Whether a project is VIA 3's, which keeps files, regions and attributes in tables."""
    return {"project", "config", "view"} <= content.keys()


def is_csv_of_via(head: bytes) -> bool:
    """Whether the first bytes of a CSV file are those of one of VIA's."""
    return any(all(name.encode() in head for name in names) for names in (_CSV_OF_2, _CSV_OF_3))


# -- CSV --------------------------------------------------------------------------------------


def _from_csv(file: Path) -> dict[str, Any]:
    lines = read_text(file).splitlines()
    names = None
    for line in lines:
        if line.startswith("#") and "=" in line and "HEADER" in line:
            names = [name.strip() for name in line.partition("=")[2].split(",")]
    if names is None:
        first = next((line for line in lines if line.strip()), "")
        names = [name.strip().strip('"').lstrip("#") for name in first.split(",")]
        lines = lines[lines.index(first) + 1 :] if first else []
    columns = {name: number for number, name in enumerate(names)}
    wanted = next((group for group in (_CSV_OF_2, _CSV_OF_3) if set(group) <= set(columns)), None)
    if wanted is None:
        raise FormatError(
            f"{file} is no CSV of VIA: its columns are {shortened(', '.join(names))}. In VIA, "
            "export the annotations as JSON."
        )
    entries: dict[str, Any] = {}
    try:
        for row in csv.reader(line for line in lines if line.strip() and line[0] != "#"):
            # A shape that is missing, or in another column, isn't one that was left empty.
            whole = columns[wanted[1]] < len(row) <= len(names)
            given = [row[columns[name]] if columns[name] < len(row) else "" for name in wanted]
            cells = [given[0], given[1] if whole else "none", given[2]]
            _add_row(entries, wanted, cells)
    except csv.Error as error:
        raise FormatError(f"{file} can't be read as CSV: {error}.") from None
    return entries


def _add_row(entries: dict[str, Any], columns: tuple[str, ...], cells: list[str]) -> None:
    if columns is _CSV_OF_2:
        name, shape, attributes = cells[0], _plain(cells[1]), _plain(cells[2])
    else:
        names, numbers, attributes = (_plain(cell) for cell in cells)
        name = names[0] if isinstance(names, list) and names else None
        shape = _shape(numbers)
    entry = entries.setdefault(str(name), {"filename": name, "regions": []})
    if shape != {}:  # a picture without regions has a row without a shape
        entry["regions"].append({"shape_attributes": shape, "region_attributes": attributes})


def _plain(cell: str) -> Any:
    try:
        return json.loads(cell or "{}")
    except (ValueError, RecursionError):
        return None


# -- VIA 3 ------------------------------------------------------------------------------------


def _from_3(content: dict[str, Any]) -> dict[str, Any]:
    files, views = _table(content, "file"), _table(content, "view")
    attributes = _table(content, "attribute")
    entries: dict[str, Any] = {}
    for key, file in files.items():
        name = file.get("src") or file.get("fname")
        if isinstance(name, str) and name.startswith("data:"):
            name = file.get("fname")
        entries[key] = {
            "filename": name,
            "regions": [],
            "is_video": str(file.get("type")) == _VIDEO,
        }
    for number, row in _table(content, "metadata").items():
        view = views.get(str(row.get("vid")), {})
        of_view = view.get("fid_list")
        key = str(of_view[0]) if isinstance(of_view, list) and of_view else ""
        if row.get("xy") == []:
            continue  # a segment of time, or a remark about the whole picture
        if key not in entries:
            entries[f"region {number}"] = {"filename": None}  # which is told
            continue
        values = row.get("av") if isinstance(row.get("av"), dict) else {}
        entries[key]["regions"].append(
            {
                "shape_attributes": _shape(row.get("xy")),
                "region_attributes": dict(_values(values, attributes)),
            }
        )
    return entries


def _table(content: dict[str, Any], name: str) -> dict[str, dict]:
    rows = content.get(name)
    rows = dict(enumerate(rows)) if isinstance(rows, list) else rows
    rows = rows if isinstance(rows, dict) else {}
    return {str(key): row if isinstance(row, dict) else {} for key, row in rows.items()}


def _values(values: dict[str, Any], attributes: dict[str, dict]) -> Iterator[tuple[str, Any]]:
    """(name, value) of a region's attributes, which the file has as numbers."""
    for key, value in values.items():
        attribute = attributes.get(str(key), {})
        name = attribute.get("aname")
        options = attribute.get("options")
        if str(attribute.get("type")) in _OPTIONS and isinstance(options, dict):
            chosen = str(value).split(",") if isinstance(value, str | int) else []
            names = [options.get(number.strip()) for number in chosen if number.strip()]
            value = {str(name): True for name in names if isinstance(name, str)}
            value = next(iter(value)) if len(value) == 1 else value
        yield (name if isinstance(name, str) and name.strip() else str(key)), value


def _shape(numbers: Any) -> Any:
    """A region of VIA 3, [kind, numbers ..], with VIA 2's names; {} for none."""
    if not isinstance(numbers, list):
        return None
    if not numbers:
        return {}
    kind, rest = numbers[0], numbers[1:]
    if kind in (6, 7):
        name = "polyline" if kind == 6 else "polygon"
        return {"name": name, "all_points_x": rest[::2], "all_points_y": rest[1::2]}
    names = {
        1: ("point", "cx", "cy"),
        2: ("rect", "x", "y", "width", "height"),
        3: ("circle", "cx", "cy", "r"),
        4: ("ellipse", "cx", "cy", "rx", "ry"),
        5: ("line",),
    }.get(kind if isinstance(kind, int) else None)
    if kind in (8, 9) and len(rest) == {8: 8, 9: 6}[kind] and _are_numbers(rest):
        return _from_extremes(rest) if kind == 8 else _through(rest)
    return {"name": names[0], **dict(zip(names[1:], rest))} if names else {"name": kind}


def _are_numbers(values: list[Any]) -> bool:
    return all(type(value) in (int, float) and abs(value) < 1e9 for value in values)


def _from_extremes(numbers: list[float]) -> dict[str, Any]:
    """A rectangle from four points on its sides."""
    xs, ys = numbers[::2], numbers[1::2]
    x, y = min(xs), min(ys)
    return {"name": "rect", "x": x, "y": y, "width": max(xs) - x, "height": max(ys) - y}


def _through(numbers: list[float]) -> dict[str, Any]:
    """A circle through three points."""
    x1, y1, x2, y2, x3, y3 = numbers
    twice = 2 * (x1 * (y2 - y3) + x2 * (y3 - y1) + x3 * (y1 - y2))
    if not twice:
        return {"name": "circle"}
    a, b, c = x1**2 + y1**2, x2**2 + y2**2, x3**2 + y3**2
    cx = (a * (y2 - y3) + b * (y3 - y1) + c * (y1 - y2)) / twice
    cy = (a * (x3 - x2) + b * (x1 - x3) + c * (x2 - x1)) / twice
    return {"name": "circle", "cx": cx, "cy": cy, "r": ((x1 - cx) ** 2 + (y1 - cy) ** 2) ** 0.5}
