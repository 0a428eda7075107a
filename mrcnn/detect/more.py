"""What `mrcnn detect` writes of each picture if asked: measurements, outlines, a label picture.

measurements.csv        --table: a row an object
geojson/NAME.geojson    --geojson: outlines, for QuPath; of a GeoTIFF on its map, for QGIS
label_images/NAME.tif   --label-image: the number of the object at each pixel, 32 bits
rois/NAME.zip           --imagej-rois: outlines for ImageJ

An object has the same number in all of them: its place in the picture's results, from 1.
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.config import Config
from mrcnn.data.places import Pixel, Place, find_place
from mrcnn.data.scaling import Rule
from mrcnn.data.seen import Seen, Telling, see
from mrcnn.data.sources import Source
from mrcnn.data.writing import file_name_from
from mrcnn.data.writing_geojson import features, free_stem, properties, write_collection
from mrcnn.detect.label_images import write_label_image
from mrcnn.detect.measure import Box
from mrcnn.detect.rois import write_rois
from mrcnn.detect.tables import MEASUREMENTS, MeasurementsFile
from mrcnn.geometry.crops import MaskCrops
from mrcnn.words import counted, listed, printable

GEOJSON, LABEL_IMAGES, ROIS = "geojson", "label_images", "rois"


@dataclass(frozen=True)
class More:
    """What is wanted. pixel: the size that somebody gives, in place of what files say."""

    table: bool = False
    geojson: bool = False
    label_image: bool = False
    rois: bool = False
    pixel: Pixel | None = None

    @property
    def any(self) -> bool:
        """Whether anything is."""
        return self.table or self.geojson or self.label_image or self.rois


class MoreFiles(contextlib.AbstractContextManager):
    """Reads pictures as the Config wants them, and writes more of what was found in them."""

    def __init__(
        self,
        more: More,
        out: Path,
        config: Config,
        class_names: list[str],
        say: Callable[[str], None],
    ) -> None:
        self._more, self._out, self._names, self._say = more, out, class_names, say
        self._rule, self._telling = Rule.of(config), Telling()
        self._look: Seen | None = None  # of the picture that was read last
        self._taken: set[str] = set()
        self._pixels: dict[str, None] = {}  # the sizes that pictures have, in order
        self._maps = self._written = 0
        self._table = MeasurementsFile(out / MEASUREMENTS) if more.table else None

    def read(self, path: Path) -> np.ndarray:
        """A picture file as the network sees it; what was done is said once of each kind."""
        look = see(path, self._rule)
        for line in self._telling(look, printable(path.name)):
            self._say(line)
        self._look = look if self._more.table else None
        return look.picture

    def add(
        self,
        source: Source,
        picture: Any,
        result: Mapping[str, Any],
        frame: int | None = None,
    ) -> None:
        """Write of a picture or a frame what is wanted. picture: an array, or windows of it."""
        more, crops = self._more, MaskCrops.from_masks(result["masks"])
        place = Place() if source.is_video else find_place(source.path)
        names = [self._names[int(i)] for i in result["class_ids"]]
        scores = result["scores"]
        if self._table:
            pixel = more.pixel or place.pixel
            self._pixels |= {str(pixel): None} if pixel else {}
            values = self._values(picture)
            shown = source.path.name
            self._table.add(shown, names, scores, crops, values, pixel, frame)
        if source.is_video or not (more.geojson or more.label_image or more.rois):
            return
        name = free_stem(source.path.stem, self._taken)
        if more.geojson:
            told = [
                properties(i + 1, name, round(float(score), 6), place.map, "detection")
                for i, (name, score) in enumerate(zip(names, scores))
            ]
            found = features(crops, told, place.map)
            way = file_name_from(self._out / GEOJSON, source.path)
            path = self._out / GEOJSON / f"{name}.geojson"
            write_collection(path, found, place.map, way, True)
            self._maps += place.map is not None
        if more.label_image:
            write_label_image(self._out / LABEL_IMAGES / f"{name}.tif", crops, source.path)
        if more.rois:
            write_rois(self._out / ROIS / f"{name}.zip", crops, names)
        self._written += 1

    def _values(self, picture: Any) -> Callable[[Box], np.ndarray] | None:
        """What a box of the picture holds, as it is in the file."""
        look, self._look = self._look, None
        windows = getattr(picture, "windows", None)
        if look is None and windows is not None:
            return getattr(windows, "values", windows.read)
        array = look.values if look else np.asarray(picture)
        return lambda box: array[box[0] : box[2], box[1] : box[3]]

    def lines(self) -> list[str]:
        """What was written, for the end of a run."""
        found, more, out = [], self._more, self._out
        if self._table:
            unit = "pixels"
            if self._pixels:
                units = " and ".join(sorted(self._table.units))
                unit += f" and {units} (a pixel is {listed(self._pixels, 3)})"
            else:
                unit += " alone, as no file says how large they are (--pixel-size 0.25um does)"
            rows = counted(self._table.num_rows, "row")
            found.append(f"Measurements in {printable(out / MEASUREMENTS)}: {rows}, in {unit}")
        if more.geojson and self._written:
            where = f"{self._maps} on the map" if self._maps else "in pixels"
            found.append(f"Outlines in {printable(out / GEOJSON)}, {where}")
        if more.label_image and self._written:
            found.append(f"Pictures of the objects' numbers in {printable(out / LABEL_IMAGES)}")
        if more.rois and self._written:
            found.append(f"Outlines for ImageJ in {printable(out / ROIS)}")
        return found

    def __exit__(self, *error: Any) -> None:
        if self._table:
            self._table.__exit__(*error)
