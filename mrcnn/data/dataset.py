"""A set of labelled pictures: which there are, which classes, and how to read them.

class_id, image_id:  a number inside this dataset, 0, 1, 2, ..; class 0 is the background
source:              a name for where pictures and labels come from ("coco", "balloon")
source class / image id: the number or name that the source itself uses
"""

import logging
from typing import Any

import numpy as np
import skimage.color
import skimage.io

from mrcnn.geometry.crops import MaskCrops

logger = logging.getLogger(__name__)


class Dataset:
    """Base class of datasets: subclass it, and override `load_mask` and, if wanted, `load_image`.

        class Balloons(Dataset):
            def load_balloons(self, folder):
                self.add_class("balloon", 1, "balloon")
                for path in sorted(Path(folder).glob("*.jpg")):
                    self.add_image("balloon", image_id=path.name, path=str(path))

            def load_mask(self, image_id):
                ...  # from self.image_info[image_id]
                return mask, class_ids  # bool [height, width, instances], int32 [instances]

        dataset = Balloons()
        dataset.load_balloons("train")
        dataset.prepare()

    Who has outlines, run-lengths or masks in pieces may override `load_mask_crops` instead:
    training then takes less memory and time.

    Several sources may live in one dataset; a picture then trains only the classes its own
    source labels.

    Filled by add_class and add_image:
        class_info: list of {"source", "id", "name"}; class_info[0] is the background
        image_info: list of {"id", "source", "path", ...}
    Filled by prepare:
        num_classes, class_ids, class_names; num_images, image_ids
        sources: the sources' names; "" is that of the background
        source_class_ids: {source: its class ids, background included}
        class_from_source_map: {"source.source_class_id": class_id}
        image_from_source_map: {"source.source_image_id": image_id}
    """

    def __init__(self, class_map: Any = None) -> None:
        """class_map is accepted for the sake of old scripts and not used, as in the original."""
        self._image_ids = np.zeros(0, np.int64)
        self.image_info: list[dict[str, Any]] = []
        self.class_info: list[dict[str, Any]] = [{"source": "", "id": 0, "name": "BG"}]
        self.source_class_ids: dict[str, list[int]] = {}

    def add_class(self, source: str, class_id: int | str, class_name: str) -> None:
        """Add a class under the id its source gives it; one that is there already is left.

        Raises ValueError if source has a dot, which the keys of the source maps are split by.
        """
        if "." in source:
            raise ValueError(f"The source's name {source!r} has a dot: choose one without.")
        if not any(c["source"] == source and c["id"] == class_id for c in self.class_info):
            self.class_info.append({"source": source, "id": class_id, "name": class_name})

    def add_image(self, source: str, image_id: int | str, path: str | None, **kwargs: Any) -> None:
        """Add a picture under the id its source gives it; kwargs are kept in image_info."""
        self.image_info.append({"id": image_id, "source": source, "path": path, **kwargs})

    def image_reference(self, image_id: int) -> str:
        """Where to look the picture up (a link, a path), for messages; override it."""
        return ""

    def prepare(self, class_map: Any = None) -> None:
        """Number classes and pictures; call it once all of them are added.

        class_map is accepted for the sake of old scripts and not used, as in the original.
        """
        self.num_classes = len(self.class_info)
        self.class_ids = np.arange(self.num_classes)
        # COCO-like names ("wine glass, goblet") are long in plots: the part before the comma.
        self.class_names = [info["name"].split(",")[0] for info in self.class_info]
        self.num_images = len(self.image_info)
        self._image_ids = np.arange(self.num_images)

        self.class_from_source_map = _numbers_by_source(self.class_info)
        self.image_from_source_map = _numbers_by_source(self.image_info)
        self.sources = list(dict.fromkeys(info["source"] for info in self.class_info))
        self.source_class_ids = {
            source: [
                class_id
                for class_id, info in enumerate(self.class_info)
                if class_id == 0 or info["source"] == source
            ]
            for source in self.sources
        }

    def map_source_class_id(self, source_class_id: str) -> int:
        """Class id of "source.source_class_id", e.g. "coco.12".

        Raises KeyError, with the known ones, if there is none.
        """
        try:
            return self.class_from_source_map[source_class_id]
        except KeyError:
            known = ", ".join(list(self.class_from_source_map)[:20])
            raise KeyError(
                f"No class {source_class_id!r} in this dataset: add it with add_class before "
                f"prepare. Known are {known}."
            ) from None

    def get_source_class_id(self, class_id: int, source: str) -> int | str:
        """The id that the source itself gives to a class.

        Raises ValueError if the class is of another source.
        """
        info = self.class_info[class_id]
        if info["source"] != source:
            raise ValueError(
                f"Class {class_id} ({info['name']}) is of source {info['source']!r}, "
                f"not {source!r}."
            )
        return info["id"]

    @property
    def image_ids(self) -> np.ndarray:
        """Numbers of the pictures, [num_images]; empty before prepare."""
        return self._image_ids

    def source_image_link(self, image_id: int) -> str:
        """The path or link that the picture was added with."""
        return self.image_info[image_id]["path"]

    def load_image(self, image_id: int) -> np.ndarray:
        """Read a picture: [height, width, 3], RGB; grey is tripled and alpha dropped.

        Raises ValueError if the picture was added without a path or its file holds several,
        FileNotFoundError if there is no such file.
        """
        info = self.image_info[image_id]
        if not info["path"]:
            raise ValueError(
                f"Picture {image_id} ({info['source']}.{info['id']}) has no path: give one to "
                "add_image, or override load_image."
            )
        image = skimage.io.imread(info["path"])
        if image.ndim not in (2, 3):
            raise ValueError(
                f"{info['path']} holds an array of shape {image.shape}, not one picture: is it "
                "an animation or a volume? Split it, or override load_image."
            )
        if image.ndim == 3 and image.shape[-1] in (2, 4):
            image = image[..., :-1]
        if image.ndim == 2 or image.shape[-1] == 1:
            image = skimage.color.gray2rgb(image.reshape(image.shape[:2]))
        return image

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """Masks and class ids of a picture's instances; override it.

        Returns mask: bool [height, width, num_instances]; class_ids: int32 [num_instances].
        This one gives those of `load_mask_crops`, if that was overridden. Otherwise it has no
        instances to give: mask [0, 0, 0], class_ids [0].
        """
        found = self.load_mask_crops(image_id)
        if found is not None:
            crops, class_ids = found
            return crops.full(planes=True), np.asarray(class_ids, np.int32)
        logger.warning(
            "%s has no load_mask of its own: picture %s comes without instances.",
            type(self).__name__,
            image_id,
        )
        return np.zeros((0, 0, 0), bool), np.zeros(0, np.int32)

    def load_mask_crops(self, image_id: int) -> tuple[MaskCrops, np.ndarray] | None:
        """Masks and class ids of a picture's instances, each mask cut to its box.

        Override it in place of `load_mask`, or beside it, where masks needn't be made in full:
        training with mini masks asks for these first.

            def load_mask_crops(self, image_id):
                info = self.image_info[image_id]
                # boxes: [instances, (y1, x1, y2, x2)] in pixels; pieces: bool [y2 - y1, x2 - x1]
                return MaskCrops((info["height"], info["width"]), boxes, pieces), class_ids

        Returns MaskCrops (of mrcnn.geometry.crops) and class_ids int32 [num_instances], the same
        instances as load_mask in the same order; or None, as this one does: load_mask is asked.
        Where a subclass overrides load_mask alone, that counts: see `mask_crops`.
        """
        return None


def mask_crops(dataset: Dataset, image_id: int) -> tuple[MaskCrops, np.ndarray] | None:
    """What the dataset's `load_mask_crops` returns, if it speaks for its `load_mask`; else None.

    It does unless load_mask was overridden later, in a subclass or on the object, by someone who
    may not know of crops: their masks are then meant.
    """
    for names in (getattr(dataset, "__dict__", {}), *map(vars, type(dataset).__mro__)):
        if "load_mask_crops" in names:
            return dataset.load_mask_crops(image_id)
        if "load_mask" in names:
            return None
    return None


def _numbers_by_source(infos: list[dict[str, Any]]) -> dict[str, int]:
    return {f"{info['source']}.{info['id']}": number for number, info in enumerate(infos)}
