"""Habits of tools that write COCO: masks marked as crowds, and boxes without an outline."""

import math
from typing import Any

from mrcnn.data.formats.notes import Dropped, Notes
from mrcnn.data.formats.shapes import to_numbers
from mrcnn.words import counted


def judge_crowds(rows: list[Any], file: str, notes: Notes) -> bool:
    """Whether a file's iscrowd is taken at its word; what it says is told.

    rows: its annotations. Where all of them are crowds, a tool has marked its masks so.
    """
    flags = [str(row.get("iscrowd")) == "1" for row in rows if isinstance(row, dict)]
    crowds = sum(flags)
    if not crowds:
        return True
    if crowds == len(flags):
        notes.say(
            f"{file} marks {counted(crowds, 'annotation')}, all that it has, as crowds (iscrowd "
            "1), as CVAT does with masks: they are read as single instances."
        )
        return False
    told = f"{crowds:,} of {len(flags):,} annotations in {file} are crowds (iscrowd 1): training "
    told += "neither learns from them nor takes them for background."
    if 10 * crowds > len(flags):
        told += " If they are single objects, as masks from CVAT are, set their iscrowd to 0."
    notes.say(told)
    return True


def box_corners(row: dict[str, Any]) -> list[float]:
    """The corners of an annotation's box, [x1, y1, x2, y2, ..]; CVAT's may be rotated.

    Raises Dropped where it has none.
    """
    box = row.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        raise Dropped("have no outline (segmentation) and no box")
    x, y, width, height = to_numbers(box).tolist()
    if width <= 0 or height <= 0:
        raise Dropped("have no outline (segmentation), and a box without area")
    attributes = row.get("attributes")
    angle = attributes.get("rotation") if isinstance(attributes, dict) else None
    angle = math.radians(to_numbers([angle])[0]) if type(angle) in (int, float) else 0.0
    cos, sin = math.cos(angle), math.sin(angle)
    corners = [(-width, -height), (width, -height), (width, height), (-width, height)]
    middle_x, middle_y = x + width / 2, y + height / 2
    turned = [(dx * cos - dy * sin, dx * sin + dy * cos) for dx, dy in corners]
    return [side for dx, dy in turned for side in (middle_x + dx / 2, middle_y + dy / 2)]
