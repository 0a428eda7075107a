"""A labelled set as its files describe it: pictures upright, masks made when they are asked for.

image_info rows: id, source, path, height and width (None where the files don't say), and
annotations, what the format has for the picture's instances: small, and no masks.
"""

import base64
import contextlib
import io
import logging
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from mrcnn.data.dataset import Dataset
from mrcnn.data.formats.files import read_json, size_in_header, stored_size
from mrcnn.data.formats.holes import without
from mrcnn.data.formats.notes import Dropped, FormatError, Notes
from mrcnn.data.formats.shapes import Instance, Size, bounds, check_mask_fits, draw, place
from mrcnn.data.pictures import DEEP, PictureError
from mrcnn.data.scaling import Rule
from mrcnn.data.seen import BRIGHTNESS, see, seen
from mrcnn.geometry.crops import MaskCrops
from mrcnn.geometry.regions import Region

logger = logging.getLogger(__name__)

_MOST_BYTES = 1 << 33  # of one picture's masks

# Undo what an upright reading did, for pictures whose labels lie on the stored pixels. EXIF
# orientations from 5 on swap height and width; the others leave no way to tell, and need none.
_AS_STORED = {
    5: lambda image: np.swapaxes(image, 0, 1),
    6: lambda image: np.rot90(image, 1),
    7: lambda image: np.rot90(np.swapaxes(image, 0, 1), 2),
    8: lambda image: np.rot90(image, -1),
}


class LabelledDataset(Dataset, ABC):
    """What `mrcnn.data.open` returns.

    format: "coco", "via", ..; root: the folder or file it came from.
    rule: which channels, plane and range of brightness of the files `load_image` gives.
    """

    def __init__(self, format: str, root: Path, notes: Notes | None = None) -> None:
        super().__init__()
        self.format = format
        self.root = root
        self.rule = Rule()
        self._notes = notes or Notes()
        self._told: set[tuple[str, int]] = set()

    @property
    def notes(self) -> list[str]:
        """What was dropped, cut or assumed, each a sentence with a count and the first picture.

        Instances that turn out to cover no pixel are told once their picture has been read.
        """
        return self._notes.sentences()

    @abstractmethod
    def decode(self, image_id: int, size: Size) -> Iterable[tuple[int, Region]]:
        """(class id, region) of each instance; a crowd's class id is negative.

        A region is a box inside the picture, which need not be tight, and the mask in it.
        """

    def decode_holes(self, image_id: int, size: Size) -> Iterable[Region]:
        """Regions that are labelled as background."""
        return ()

    @abstractmethod
    def listed_class_ids(self, image_id: int) -> np.ndarray | None:
        """Class ids of a picture's instances as its files list them, int32 [instances].

        A crowd's is negative. None where only the masks tell; of the only class of such a set
        there is one, whatever the masks hold.
        """

    def stated_size(self, image_id: int) -> Size | None:
        """The size that the labels are made for, if the files say it."""
        info = self.image_info[image_id]
        return None if info["height"] is None else (info["height"], info["width"])

    def load_image(self, image_id: int) -> np.ndarray:
        """Read a picture, upright: [height, width, channels], RGB unless `rule` says else, 0..255.

        Raises PictureError if it can't be read, FormatError if it is not of the size that its
        labels were made for.
        """
        _, orientation = self._size(image_id)
        info = self.image_info[image_id]
        if info["path"] is None:
            with self._embedded(image_id) as picture:
                values = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
            look = seen(values, self.rule, self.name(image_id))
        else:
            look = see(info["path"], self.rule)
        image = look.picture
        if orientation:
            image = np.ascontiguousarray(_AS_STORED[orientation](image))
        for kind, said in look.told.items():
            if (kind, image_id) not in self._told:
                self._told.add((kind, image_id))
                what = DEEP if kind == BRIGHTNESS else f"Pictures with {kind} ({said})"
                self.note(what, self.name(image_id))
        if image.ndim == 2:
            return np.repeat(image[..., np.newaxis], self.rule.count, axis=2)
        return image

    def load_mask_crops(self, image_id: int) -> tuple[MaskCrops, np.ndarray]:
        """Masks, cut to their boxes, and class ids of a picture's instances, as for `load_mask`."""
        size, _ = self._size(image_id)
        boxes, pieces, class_ids = [], [], []
        num_bytes = 0
        holes = list(self.decode_holes(image_id, size))
        for class_id, region in self.decode(image_id, size):
            box, piece = without(region, holes) if holes else region
            crop = MaskCrops(size, [box], [piece]).tight()
            if not crop.boxes.any():
                self.tell(image_id, "Instances that cover no pixel, left out")
                continue
            boxes.append(crop.boxes[0])
            pieces.append(crop.pieces[0])
            class_ids.append(class_id)
            num_bytes += crop.pieces[0].size
            self._check_bytes(image_id, num_bytes)
        return MaskCrops(size, boxes, pieces), np.array(class_ids, np.int32)

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """Masks and class ids of a picture's instances; a crowd's class id is negative.

        Returns mask: bool [height, width, num_instances]; class_ids: int32 [num_instances].
        Instances that cover no pixel are left out, and told in `notes`. Raises PictureError or
        FormatError if the picture or a mask file can't be read, or they differ in size.
        """
        crops, class_ids = self.load_mask_crops(image_id)
        self._check_bytes(image_id, math.prod(crops.shape))
        return crops.full(planes=True), class_ids

    def image_reference(self, image_id: int) -> str:
        """The picture's path, or its id where it has no file of its own."""
        return self.name(image_id)

    def name(self, image_id: int) -> str:
        """What messages call a picture."""
        info = self.image_info[image_id]
        return info["path"] or str(info["id"])

    def note(self, what: str, where: object) -> None:
        """Note one more of what happened on reading; where: the name of a file or picture."""
        self._notes.count(what, where)

    def tell(self, image_id: int, what: str) -> None:
        """Note what showed when a picture's masks were made, once for each picture."""
        if (what, image_id) not in self._told:
            self._told.add((what, image_id))
            self._notes.count(f"{what} (pictures)", self.name(image_id))
            logger.warning("%s: %s.", self.name(image_id), what)

    def _check_bytes(self, image_id: int, num_bytes: int) -> None:
        if num_bytes > _MOST_BYTES:
            raise FormatError(
                f"{self.name(image_id)}: its instances' masks take more than "
                f"{_MOST_BYTES >> 30} GB: cut the picture into pieces."
            )

    def _size(self, image_id: int) -> tuple[Size, int]:
        """((height, width) of the labels, EXIF orientation to take back, or 0)."""
        info = self.image_info[image_id]
        if info["path"] is None:
            with self._embedded(image_id) as picture:
                height, width, orientation = size_in_header(picture)
        else:
            height, width, orientation = stored_size(info["path"])
        stored = height, width
        upright = (width, height) if orientation in _AS_STORED else stored
        stated = self.stated_size(image_id)
        if stated is None or stated == upright:
            return upright, 0
        # Tools for labels mostly show a picture upright, but some read its pixels as they are.
        if stated == stored:
            return stored, orientation
        raise FormatError(
            f"{self.name(image_id)} is {upright[0]} high and {upright[1]} wide, but its labels in "
            f"{self.root} were made for {stated[0]} high and {stated[1]} wide: bring back the "
            "picture that was labelled, or correct the annotations."
        )

    @contextlib.contextmanager
    def _embedded(self, image_id: int) -> Iterator[Image.Image]:
        """The picture that LabelMe keeps inside its annotation file; its pixels aren't read yet."""
        source = self.image_info[image_id]["embedded"]
        try:
            content = base64.b64decode(read_json(Path(source))["imageData"], validate=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with Image.open(io.BytesIO(content)) as picture:
                    yield picture
        except FormatError:
            raise
        except Exception as error:  # Pillow raises nearly every kind on damaged bytes
            raise PictureError(f"{source}: the picture inside is damaged ({error}).") from None


class DrawnDataset(LabelledDataset):
    """A set whose annotations are lists of `Instance`, drawn as shapes."""

    def listed_class_ids(self, image_id: int) -> np.ndarray:
        """Class ids of the instances, none of which is a crowd."""
        instances = self.image_info[image_id]["annotations"]
        return np.array([class_id for class_id, _ in instances], np.int32)

    def decode(self, image_id: int, size: Size) -> Iterator[tuple[int, Region]]:
        """(class id, region) of each instance."""
        for class_id, shapes in self.image_info[image_id]["annotations"]:
            try:
                yield class_id, draw(shapes, size)
            except Dropped as reason:
                self.tell(image_id, f"Instances left out: they {reason}")

    def decode_holes(self, image_id: int, size: Size) -> Iterator[Region]:
        """The region of each hole that was drawn by itself."""
        for shapes in self.image_info[image_id].get("holes", ()):
            with contextlib.suppress(Dropped):
                yield draw(shapes, size)


def keep_visible(
    instances: Sequence[Instance], size: Size | None, notes: Notes, picture: str
) -> list[Instance]:
    """The instances of a picture without the shapes that can't be of it, which are counted."""
    if size is None:
        return list(instances)
    kept = []
    for label, drawn in instances:
        shapes = []
        for shape in drawn:
            try:
                check_mask_fits(shape, size)
                shapes.append(shape)
            except Dropped as reason:
                notes.count(f"Regions dropped: they {reason}", picture)
        places = [place(bounds(shape), size) for shape in shapes]
        for where, what in (
            ("outside", "Regions dropped: they lie outside of their picture"),
            ("across", "Regions cut: they reach across the border of their picture"),
        ):
            if where in places:
                notes.count(what, picture, places.count(where))
        seen = tuple(shape for shape, where in zip(shapes, places) if where != "outside")
        if seen:
            kept.append(Instance(label, seen))
    return kept


def usable_size(height: Any, width: Any) -> Size | None:
    """A picture's size as a file states it, or None if it can't be one."""
    sides = []
    for side in (height, width):
        if isinstance(side, float) and side.is_integer():
            side = int(side)  # some tools write 640.0
        if type(side) is not int or not 0 < side <= 1_000_000:
            return None
        sides.append(side)
    return tuple(sides)
