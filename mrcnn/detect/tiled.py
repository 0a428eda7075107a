"""Detecting in pictures of any size, tile by tile.

    found = model.detect_tiled("slide.tif")           # an Instances; found.crops are its masks
    found = detect_tiles(ArrayWindows(picture), detect, Tiling(512, 64))

The masks of such a result stay cut to their boxes (`MaskCrops`): in full size they would take
[height, width, n] bytes.
"""

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mrcnn.config import Config
from mrcnn.data.scaling import Rule
from mrcnn.data.windows import ArrayWindows, Windows, open_windows, shrunk
from mrcnn.detect.check import tell_limit
from mrcnn.detect.instances import Instances, LimitWarning
from mrcnn.detect.joining import COVERED, Joined, Joiner
from mrcnn.detect.parts import AGREE, common_pixels, parts_of
from mrcnn.detect.tiles import Tiling, is_large, plan_tiles, trained_on_pieces
from mrcnn.geometry.crops import MaskCrops

# A picture [height, width, 3] or [height, width] -> the dict of MaskRCNN.detect.
Detector = Callable[[np.ndarray], Mapping[str, np.ndarray]]


def detect_tiles(
    windows: Windows,
    detect: Detector,
    tiling: Tiling,
    after: Callable[[Mapping[str, np.ndarray]], None] = lambda found: None,
    class_names: Sequence[str] | None = None,
) -> Instances:
    """The instances of a whole picture, each once, best first.

    windows: of the picture, which are read row by row. detect: finds instances in a tile.
    after: is shown what was found in each tile. class_names: by class id, if `detect` tells none.
    `tiles` of the result is (tiles that had as many instances as are let through, all tiles), and
    `limited` says whether there are any.
    """
    tiles, joiner = plan_tiles(windows.shape, tiling), Joiner(windows.shape)
    objects: list[Joined] = []
    limited = 0
    coarse = _coarse(windows, detect, tiling) if tiling.coarse and len(tiles) > 1 else []
    for i, tile in enumerate(tiles):
        if i and tile.top != tiles[i - 1].top:
            objects += joiner.finished(tile.top)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LimitWarning)  # it is said of all tiles together
            found = detect(windows.read(tile))
        full = bool(getattr(found, "limited", False))
        class_names = class_names or getattr(found, "class_names", None)
        joiner.add(tile, parts_of(found, tile, windows.shape), full)
        limited += full
        after(found)
    objects += joiner.finished()
    result = _result(_with_coarse(objects, coarse, tiling), windows.shape, class_names)
    result.limited, result.tiles = limited > 0, (limited, len(tiles))
    return result


def _result(
    objects: list[Joined], shape: Sequence[int], class_names: Sequence[str] | None
) -> Instances:
    objects = sorted(objects, key=lambda one: -one.score)
    boxes = np.array([one.box for one in objects], np.int32).reshape(-1, 4)
    return Instances(
        rois=boxes,
        class_ids=np.array([one.class_id for one in objects], np.int32),
        scores=np.array([one.score for one in objects], np.float32),
        masks=MaskCrops(shape, boxes, [one.mask for one in objects]),
        class_names=class_names,
    )


# -- What is larger than a tile -------------------------------------------------------------


def _coarse(windows: Windows, detect: Detector, tiling: Tiling) -> list[Joined]:
    """What is found in the whole picture, scaled down to a tile, that a tile may not show whole."""
    small, factor = shrunk(windows, tiling.side)
    found, size = detect(small), np.array(windows.shape[:2] * 2)
    objects = []
    for i, box in enumerate(np.clip(found["rois"], 0, [*small.shape[:2]] * 2).tolist()):
        y1, x1, y2, x2 = (int(side) for side in np.minimum(np.array(box) * factor, size))
        if max(y2 - y1, x2 - x1) <= tiling.overlap:
            continue
        piece = np.asarray(found["masks"][box[0] : box[2], box[1] : box[3], i], bool)
        mask = piece.repeat(factor, axis=0)[: y2 - y1].repeat(factor, axis=1)[:, : x2 - x1]
        class_id, score = int(found["class_ids"][i]), float(found["scores"][i])
        objects.append(Joined(class_id, score, (y1, x1, y2, x2), mask, True))
    return objects


def _with_coarse(objects: list[Joined], coarse: list[Joined], tiling: Tiling) -> list[Joined]:
    """The objects of the tiles, and in place of some what the coarse look has found.

    1. What is longer than a tile can't be whole in one: the coarse look's stands, and what the
       tiles have of it, none of it whole, goes.
    2. What is shorter stands where the tiles' parts of it together agree with it.
    """
    for large in coarse:
        inside = [
            one
            for one in objects
            if one.class_id == large.class_id
            and not one.whole
            and common_pixels(one, large) >= COVERED * np.count_nonzero(one.mask)
        ]
        long = max(large.box[2] - large.box[0], large.box[3] - large.box[1]) > tiling.side
        if long or (inside and _agreement(inside, large) >= AGREE):
            gone = set(map(id, inside))
            objects = [one for one in objects if id(one) not in gone] + [large]
    return objects


def _agreement(parts: list[Joined], large: Joined) -> float:
    """IoU of parts together with an object."""
    boxes = np.array([one.box for one in (*parts, large)])
    top, left = boxes[:, :2].min(axis=0)
    union = np.zeros(boxes[:, 2:].max(axis=0) - (top, left), bool)
    for one in parts:
        y, x = one.box[0] - top, one.box[1] - left
        union[y : y + one.mask.shape[0], x : x + one.mask.shape[1]] |= one.mask
    y, x = large.box[0] - top, large.box[1] - left
    place = np.s_[y : y + large.mask.shape[0], x : x + large.mask.shape[1]]
    common = np.count_nonzero(union[place] & large.mask)
    return common / (np.count_nonzero(union) + np.count_nonzero(large.mask) - common)


# -- Whether a picture is cut ---------------------------------------------------------------


@dataclass(frozen=True)
class Tiles:
    """Which pictures are looked at in tiles: what was asked for, or what suits the weights.

    asked: True, False, or None where nobody has said: then those that were trained on pieces of
    pictures cut what is larger. side, overlap: pixels, None: what suits.
    """

    asked: bool | None = None
    side: int | None = None
    overlap: int | None = None
    coarse: bool = False

    def wanted(self, config: Config) -> bool:
        """Whether any picture may be cut."""
        return trained_on_pieces(config) if self.asked is None else self.asked

    def tiling(self, config: Config, shape: Sequence[int]) -> Tiling | None:
        """How a picture of (height, width, ..) is cut; None: it is looked at as a whole.

        Raises UsageError for a side or an overlap that can't be.
        """
        if not self.wanted(config):
            return None
        tiling = Tiling.of(config, shape, self.side, self.overlap, self.coarse)
        return tiling if tiling.divides(shape) else None

    def missing(self, config: Config, shape: Sequence[int]) -> bool:
        """Whether nobody has thought of tiles though the picture is much too large without."""
        return self.asked is None and not self.wanted(config) and is_large(config, shape)


@dataclass(frozen=True)
class Large:
    """A picture that is looked at in tiles, in the place of its array."""

    windows: Windows
    tiling: Tiling

    @property
    def shape(self) -> tuple[int, ...]:
        return self.windows.shape

    @property
    def count(self) -> int:
        """Tiles."""
        return len(plan_tiles(self.shape, self.tiling))


@contextlib.contextmanager
def open_picture(
    path: str | os.PathLike,
    tiles: Tiles,
    config: Config,
    read: Callable[[Any], np.ndarray],
) -> Iterator[np.ndarray | Large]:
    """A picture file as an array, or as what is read part by part where tiles are wanted.

    read: what reads it as a whole. Raises PictureError, here or later.
    """
    if not tiles.wanted(config):
        yield read(path)
        return
    with open_windows(path, Rule.of(config), read) as windows:
        tiling = tiles.tiling(config, windows.shape)
        whole = (0, 0, *windows.shape[:2])
        yield Large(windows, tiling) if tiling else windows.read(whole)


def with_tiles(detect: Detector, tiles: Tiles, config: Config) -> Detector:
    """A detector that cuts those pictures that are to be cut."""

    def detect_any(picture: np.ndarray) -> Mapping[str, np.ndarray]:
        tiling = tiles.tiling(config, picture.shape)
        if tiling is None:
            return detect(picture)
        return detect_tiles(ArrayWindows(picture), detect, tiling)

    return detect_any if tiles.wanted(config) else detect


class DetectsTiles:
    """What a network and an exported file share; both have `config`, `class_names` and `detect`."""

    config: Config
    class_names: list[str] | None
    detect: Callable[..., list[Instances]]

    def detect_tiled(
        self,
        image: np.ndarray | str | os.PathLike,
        side: int | None = None,
        overlap: int | None = None,
        coarse: bool = False,
        after: Callable[[Mapping[str, np.ndarray]], None] = lambda found: None,
    ) -> Instances:
        """Find the instances in a picture of any size, tile by tile, each once.

        image: as for `detect`, or the path of a file; a TIFF is then read part by part.
        side, overlap: of the tiles, pixels of the picture; None: what suits the network.
        coarse: look at the whole picture too, scaled down, for what is longer than a tile.
        after: is shown the Instances of each tile, for progress.

        Returns one `Instances` as `detect` does, whose masks stay cut to their boxes: take them
        from `crops`, for `masks` makes [height, width, n] of them. Raises ValueError as `detect`
        does, UsageError (a ValueError) for a side or an overlap that can't be, PictureError for a
        file that can't be read.
        """
        if isinstance(image, str | os.PathLike):
            with open_windows(image, Rule.of(self.config)) as windows:
                return self._detect_windows(windows, side, overlap, coarse, after)
        windows = ArrayWindows(np.asarray(image))
        return self._detect_windows(windows, side, overlap, coarse, after)

    def _detect_windows(
        self,
        windows: Windows,
        side: int | None,
        overlap: int | None,
        coarse: bool,
        after: Callable[[Mapping[str, np.ndarray]], None],
    ) -> Instances:
        tiling = Tiling.of(self.config, windows.shape, side, overlap, coarse)
        names = self.class_names
        result = detect_tiles(windows, lambda tile: self.detect([tile])[0], tiling, after, names)
        if result.limited:
            most = self.config.DETECTION_MAX_INSTANCES
            tell_limit(result, most, windows.shape, 4)  # the line that called detect_tiled
        return result
