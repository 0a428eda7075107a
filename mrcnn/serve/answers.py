"""What was found, as JSON in COCO's format; and such JSON as masks again.

The JSON is what `Instances.save` writes, so `Instances.load` and pycocotools read it:
images [{id, file_name, height, width}], categories [{id, name}], annotations [{id, image_id,
category_id, bbox [x, y, width, height], score, area, iscrowd, segmentation}] and info.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from mrcnn.data.formats.notes import Dropped
from mrcnn.data.formats.rle import check_rle
from mrcnn.data.writers import Labelled
from mrcnn.detect.saved import as_coco_file
from mrcnn.serve.limits import Refused
from mrcnn.serve.worker import Found

MOST_INSTANCES = 10_000  # of a picture that comes back as JSON
MOST_MASKED = 1 << 32  # bytes of masks of a picture that comes back


def above(found: Found, least: np.ndarray) -> dict[str, np.ndarray]:
    """The instances with at least the score of their class. least: by class id."""
    scores, class_ids = np.asarray(found["scores"]), np.asarray(found["class_ids"])
    kept = np.flatnonzero(scores >= least[class_ids].astype(scores.dtype))
    arrays = {key: np.asarray(found[key])[kept] for key in ("rois", "class_ids", "scores")}
    masks = found["masks"]
    every = len(kept) == masks.shape[-1]
    return arrays | {"masks": masks if every else masks[..., kept]}


def as_json(
    found: Found, class_names: Sequence[str], file_name: str, info: Mapping[str, Any]
) -> dict[str, Any]:
    """The answer for one picture."""
    content = as_coco_file(found, class_names)
    content["info"] |= info
    content["images"][0]["file_name"] = file_name
    return content


def safe_name(name: str) -> str:
    """The last part of a file name that somebody sent, without what could do harm; may be ""."""
    last = PurePosixPath(name.replace("\\", "/")).name
    return "".join(c for c in last if c.isprintable())[:200].strip()


# -- Back again -----------------------------------------------------------------------------


def read_names(content: Mapping[str, Any]) -> tuple[list[str], dict[int, int]]:
    """Class names, background first, and the class id of each category id. Raises Refused."""
    with _told_as_refused("categories"):
        categories = {int(row["id"]): str(row["name"]) for row in content["categories"]}
    ids = {category: i for i, category in enumerate(sorted(categories), start=1)}
    return ["BG", *(categories[category] for category in sorted(categories))], ids


def read_pictures(
    content: Mapping[str, Any], ids: Mapping[int, int], most_pixels: int
) -> Iterator[Labelled]:
    """The pictures of such JSON with their masks, one at a time. Raises Refused."""
    with _told_as_refused("images or annotations"):
        of_picture: dict[Any, list[Mapping[str, Any]]] = {
            row["id"]: [] for row in content["images"]
        }
        for row in content["annotations"]:
            of_picture[row["image_id"]].append(row)
    taken: set[str] = set()
    for image in content["images"]:
        with _told_as_refused("images or annotations"):
            name = _free(safe_name(str(image["file_name"])) or "picture", taken)
            yield _labelled(name, image, of_picture[image["id"]], ids, most_pixels)


def _labelled(
    name: str,
    image: Mapping[str, Any],
    rows: list[Mapping[str, Any]],
    ids: Mapping[int, int],
    most_pixels: int,
) -> Labelled:
    from pycocotools import mask as rle

    height, width = int(image["height"]), int(image["width"])
    pixels = height * width
    if min(height, width) < 1 or pixels > most_pixels or pixels * len(rows) > MOST_MASKED:
        raise Refused(422, f"{name} is too large, or has too many instances for its size.")
    if len(rows) > MOST_INSTANCES:
        raise Refused(422, f"{name} has {len(rows):,} instances: {MOST_INSTANCES:,} is the most.")
    encoded = [_packed(check_rle(row["segmentation"])) for row in rows]
    if any(segmentation["size"] != [height, width] for segmentation in encoded):
        raise Refused(422, f"A mask of {name} is not of the picture's size, {height}x{width}.")
    masks = rle.decode(encoded).astype(bool) if rows else np.zeros((height, width, 0), bool)
    class_ids = np.array([ids[int(row["category_id"])] for row in rows], int)
    scores = np.array([float(row.get("score", 1)) for row in rows])
    return Labelled(name, height, width, masks, class_ids, scores)


def _packed(segmentation: dict[str, Any]) -> dict[str, Any]:
    """An RLE of `check_rle` as pycocotools decodes it: its runs as a string."""
    from pycocotools import mask as rle

    if isinstance(segmentation["counts"], bytes):
        return segmentation
    runs = {**segmentation, "counts": segmentation["counts"].tolist()}
    return rle.frPyObjects(runs, *segmentation["size"])


def _free(name: str, taken: set[str]) -> str:
    path, number, free = PurePosixPath(name), 2, name
    while free.casefold() in taken:
        free, number = f"{path.stem}_{number}{path.suffix}", number + 1
    taken.add(free.casefold())
    return free


class _told_as_refused:
    """What is missing or of another type in somebody's JSON becomes a Refused."""

    def __init__(self, where: str) -> None:
        self.where = where

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: Any, _: object) -> None:
        if isinstance(error, Dropped):
            raise Refused(422, f"The JSON has annotations that {error}.") from error
        if isinstance(error, KeyError | TypeError | ValueError | AttributeError | OverflowError):
            raise Refused(
                422,
                f"The JSON's {self.where} are not as POST /v1/detect gives them "
                f"({type(error).__name__}: {error}).",
            ) from error
