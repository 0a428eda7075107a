"""GeoJSON: a file for each picture, with outlines to half a pixel and their holes.

In pixels, for QuPath; or in the coordinates of the map, where the picture is a GeoTIFF, for QGIS.

    collection(features(crops, rows, map=find_place("field.tif").map), map)
"""

import json
import os
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mrcnn.data.formats import marks
from mrcnn.data.pictures import PictureError
from mrcnn.data.places import Map, find_place
from mrcnn.data.writing import Labelled, Writer, separator
from mrcnn.geometry.crops import MaskCrops
from mrcnn.geometry.outlines import is_hole, simplifications, trace
from mrcnn.geometry.regions import polygon_mask
from mrcnn.whole import WholeFile

_LONGEST = 240  # bytes of a name; with suffix and number 255 are the most
_WGS84 = 4326
_DIGITS = 9  # behind the point, of degrees: a tenth of a millimetre
_DIGITS_OF_LENGTHS = 4

Ring = np.ndarray  # [num_points, (x, y)], from the picture's outer corner


class GeojsonWriter(Writer):
    """A folder with a file for each picture, called like it.

    QuPath's annotations, in pixels; of a GeoTIFF, features in the coordinates of its map with the
    class as an attribute. A prediction keeps its score.
    """

    suffix = ""
    without_crowds = "GeoJSON"

    def __init__(
        self,
        path: Path,
        class_names: Sequence[str],
        overwrite: bool = False,
        used: Collection[int] | None = None,
    ) -> None:
        super().__init__(path, class_names, overwrite, used)
        self.path.mkdir(parents=True, exist_ok=True)
        self._taken: set[str] = set()
        self._maps = 0

    def add(self, item: Labelled) -> None:
        """Write the file of a picture; the second a.geojson of two folders' pictures is a_2."""
        on_map = _map_of(self.path / item.file_name)
        self._maps += on_map is not None
        lines = []
        for number, instance in enumerate(self._instances(item), start=1):
            y1, x1, y2, x2 = instance.box
            name = self.class_names[instance.class_id]
            told = properties(number, name, instance.score, on_map, "annotation")
            crop = instance.mask[y1:y2, x1:x2]
            lines.append(feature(polygons(crop, y1, x1), told, on_map))
        name = free_stem(PurePosixPath(item.file_name).stem, self._taken)
        predicted = item.scores is not None
        write_collection(self.path / f"{name}.geojson", lines, on_map, item.file_name, predicted)

    def close(self, keep: bool) -> None:
        """Tell of maps; each picture's file is finished when it is added."""
        if keep and self._maps:
            self._notes.say(
                f"Coordinates are those of the map, as {self._maps} of the pictures have one "
                "(GeoTIFF)."
            )


def free_stem(stem: str, taken: set[str]) -> str:
    """A name for the file of a picture, without its suffix: the picture's own, where that is free.

    taken: names in use, without case; the new one is added. One that would get too long for a file
    system with another suffix is cut.
    """
    if len(os.fsencode(stem)) > _LONGEST:
        stem = f"{stem[:20]}-{zlib.crc32(os.fsencode(stem)):08x}"
    name, number = stem, 2
    while name.casefold() in taken:
        name, number = f"{stem}_{number}", number + 1
    taken.add(name.casefold())
    return name


def _map_of(path: Path) -> Map | None:
    try:
        return find_place(path).map
    except (OSError, PictureError):
        return None


# -- From masks to rings ------------------------------------------------------------------------


def polygons(piece: np.ndarray, top: int = 0, left: int = 0) -> list[list[Ring]]:
    """The parts of a mask, each its outline and its holes.

    piece: bool [height, width], the mask cut to a box; top, left: that box's corner. Lines pass
    within half a pixel of the mask's own, and what is drawn of them has an IoU of 0.98 with it.
    """
    loops = trace(piece)
    if not loops:
        return []
    *_, simple, exact = [loops, *simplifications(loops)]
    chosen = simple if _draws(simple, piece) else exact
    grouped = _grouped(chosen)
    origin = np.array([left, top]) + 0.5
    return [[loop[:, ::-1] + origin for loop in rings] for rings in grouped]


def _draws(loops: Sequence[np.ndarray], piece: np.ndarray) -> bool:
    """Whether loops, filled by the even-odd rule, give the mask again, to an IoU of 0.98."""
    drawn = np.zeros(piece.shape, bool)
    for loop in loops:
        drawn ^= polygon_mask(loop, piece.shape)
    union = np.count_nonzero(drawn | piece)
    return np.count_nonzero(drawn & piece) >= 0.98 * union


def _grouped(loops: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """Each part with the holes in it. loops: [num_points, (y, x)] of `trace`."""
    parts = [[loop] for loop in loops if not is_hole(loop)]
    for loop in loops:
        if is_hole(loop):
            around = [rings for rings in parts if _inside(loop[0], rings[0])]
            # Of parts in holes of others, the smallest one is next to it.
            owner = min(around or parts, key=lambda rings: abs(_area(rings[0])))
            owner.append(loop)
    return parts


def _inside(point: np.ndarray, loop: np.ndarray) -> bool:
    """Whether a line from the point to the right crosses the loop an odd number of times."""
    (y, x), after = point, np.roll(loop, -1, axis=0)
    crosses = (loop[:, 0] > y) != (after[:, 0] > y)
    ends, begins = after[crosses], loop[crosses]
    at = begins[:, 1] + (y - begins[:, 0]) / (ends[:, 0] - begins[:, 0]) * (
        ends[:, 1] - begins[:, 1]
    )
    return bool(np.count_nonzero(at > x) % 2)


def _area(loop: np.ndarray) -> float:
    y, x = loop.T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(np.roll(x, -1), y)) / 2


# -- From rings to a file -----------------------------------------------------------------------


def properties(
    number: int, name: str, score: float | None, on_map: Map | None, kind: str
) -> dict[str, Any]:
    """What stands beside an outline. kind: QuPath's, "annotation" or "detection"."""
    scored = {} if score is None else {"score": score}
    if on_map:
        return {"id": number, "class": name, **scored}
    told: dict[str, Any] = {"objectType": kind, "classification": {"name": name}}
    return {**told, "name": f"{name} {number}", **({"measurements": scored} if scored else {})}


def feature(
    parts: Sequence[Sequence[Ring]], told: Mapping[str, Any], on_map: Map | None = None
) -> dict[str, Any]:
    """A GeoJSON feature. parts: from `polygons`. told: its properties."""
    found = [[_ring(ring, on_map) for ring in rings] for rings in parts]
    one = len(found) == 1
    return {
        "type": "Feature",
        "geometry": {
            "type": "Polygon" if one else "MultiPolygon",
            "coordinates": found[0] if one else found,
        },
        "properties": dict(told),
    }


def _ring(ring: Ring, on_map: Map | None) -> list[list[float]]:
    """A closed ring, outlines against the clock where y goes up, as GeoJSON wants them."""
    if on_map:
        a, b, _, d, e, _ = on_map.affine
        ring = on_map.to_world(ring if a * e - b * d > 0 else ring[::-1])
        ring = np.round(ring, _DIGITS if _in_degrees(on_map) else _DIGITS_OF_LENGTHS)
    return [*ring.tolist(), ring[0].tolist()]


def _in_degrees(on_map: Map) -> bool:
    a, b, *_ = on_map.affine
    return max(abs(a), abs(b)) < 0.01


def write_collection(
    path: Path,
    features: Iterable[Mapping[str, Any]],
    on_map: Map | None,
    picture: str,
    predicted: bool,
) -> None:
    """Write a file of features, whole or not at all; its folder is made.

    picture: the way from its folder to the picture that they are of. predicted: nobody has seen
    them yet.
    """
    file = WholeFile(path)
    try:
        file.write(f"{json.dumps(_head(on_map, picture))[:-1]},\n")
        file.write('"features": [')
        checksum = marks.Checksum()
        for number, one in enumerate(features, start=1):
            file.write(f"{separator(number)}{json.dumps(one)}")
            for region in marks.geojson_regions([one]):
                checksum.add(region)
    except BaseException:
        file.close(None)
        raise
    mark = f',\n"{marks.MARK}": "{checksum}"' if predicted else ""
    file.close([f"\n]{mark}}}\n"])


def _head(on_map: Map | None, picture: str) -> dict[str, Any]:
    head: dict[str, Any] = {"type": "FeatureCollection", "image": picture}
    if on_map and on_map.epsg:
        # RFC 7946 knows degrees alone; QGIS and GDAL read the system from where it stood before.
        degrees = on_map.epsg == _WGS84  # with the longitude first
        name = f"urn:ogc:def:crs:{'OGC:1.3:CRS84' if degrees else f'EPSG::{on_map.epsg}'}"
        head["crs"] = {"type": "name", "properties": {"name": name}}
    return head


def features(
    crops: MaskCrops, told: Sequence[Mapping[str, Any]], on_map: Map | None
) -> Iterator[dict[str, Any]]:
    """The features of instances that have a pixel. told: the properties of each."""
    for (y1, x1, _, _), piece, one in zip(crops.boxes.tolist(), crops.pieces, told):
        if piece.any():
            yield feature(polygons(piece, y1, x1), one, on_map)
