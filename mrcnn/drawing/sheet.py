"""A contact sheet: many labelled pictures, small, on one page.

sheet = contact_sheet(tiles, 12)        # uint8 [height, width, 3], 2000 pixels wide
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mrcnn.drawing.instances import check_instances, paint
from mrcnn.drawing.pixels import as_picture
from mrcnn.geometry.boxes import extract_bboxes
from mrcnn.words import printable

SHEET_WIDTH = 2000  # pixels
_GAP, _CAPTION = 12, 26  # pixels between tiles, and for the line of text below one
_MOST_LABELS = 25  # in one tile; beyond, they would hide what they name
_MOST_ENLARGED = 4  # times; a picture of 64 pixels says no more when it is larger


@dataclass
class Tile:
    """One picture of a sheet.

    image [height, width, channels]; masks bool [height, width, instances]; class_ids [instances],
    negative for crowds; class_names: by class id; caption: a line below it.
    """

    image: np.ndarray
    masks: np.ndarray
    class_ids: np.ndarray
    class_names: Sequence[str]
    caption: str


def contact_sheet(tiles: Iterable[Tile], count: int, width: int = SHEET_WIDTH) -> np.ndarray:
    """Draw pictures with masks, boxes and class names in rows; colours tell instances apart.

    tiles: `count` of them, drawn one after the other, so that one picture is in memory at a time.
    width: of the sheet, in pixels.
    Returns uint8 [height, width, 3].
    """
    columns = min(max(math.ceil(math.sqrt(count)), 1), 4)
    side = (width - _GAP) // columns - _GAP
    drawn = [_draw(tile, side) for tile in tiles]
    rows = [drawn[i : i + columns] for i in range(0, len(drawn), columns)]
    heights = [max(tile.shape[0] for tile in row) for row in rows]
    sheet = np.full((_GAP + sum(heights) + _GAP * len(rows), width, 3), 255, np.uint8)
    top = _GAP
    for row, height in zip(rows, heights):
        for column, tile in enumerate(row):
            left = _GAP + column * (side + _GAP)
            sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
        top += height + _GAP
    return sheet


def _draw(tile: Tile, side: int) -> np.ndarray:
    """A tile `side` pixels wide, its caption below: [height, side, 3]."""
    picture, masks = _fitted(as_picture(tile.image), tile.masks, side)
    there = masks.any(axis=(0, 1))
    masks, class_ids = masks[:, :, there], np.asarray(tile.class_ids)[there]
    captions = [_label(tile.class_names, class_id) for class_id in class_ids]
    if len(captions) > _MOST_LABELS:
        captions = [""] * len(captions)
    boxes = extract_bboxes(masks)
    instances = check_instances(
        picture, boxes, masks, np.abs(class_ids), tile.class_names, None, None, captions
    )
    page = np.full((picture.shape[0] + _CAPTION, side, 3), 255, np.uint8)
    page[: picture.shape[0], : picture.shape[1]] = paint(instances, show_bbox=False)
    page[picture.shape[0] :] = _text(tile.caption, side)
    return page


def _label(class_names: Sequence[str], class_id: int) -> str:
    name = class_names[abs(class_id)]
    return f"{name} (crowd)" if class_id < 0 else name


def _fitted(picture: np.ndarray, masks: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Picture and masks scaled so that the longer side has `side` pixels, or a few times more."""
    from PIL import Image

    height, width = picture.shape[:2]
    factor = min(side / max(height, width), _MOST_ENLARGED)
    size = max(round(height * factor), 1), max(round(width * factor), 1)
    ys = ((np.arange(size[0]) + 0.5) / factor).astype(int).clip(0, height - 1)
    xs = ((np.arange(size[1]) + 0.5) / factor).astype(int).clip(0, width - 1)
    shrunk = Image.fromarray(picture).resize(size[::-1], Image.Resampling.BOX)
    return np.asarray(shrunk), masks[ys][:, xs]


def _text(text: str, width: int) -> np.ndarray:
    """A line of black text on white: [_CAPTION, width, 3]."""
    from PIL import Image, ImageDraw, ImageFont

    text = printable(text)
    line = Image.new("RGB", (width, _CAPTION), "white")
    font = ImageFont.load_default(size=16)
    draw = ImageDraw.Draw(line)
    shown = text
    while draw.textlength(shown, font=font) > width and len(text) > 1:
        text = text[:-1]
        shown = f"{text}.."
    draw.text((0, 3), shown, fill="black", font=font)
    return np.asarray(line)
