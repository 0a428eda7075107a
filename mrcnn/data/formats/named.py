"""Mask files with one instance each, named for their picture: 1000_square_0.png of 1000.jpg."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mrcnn.data.formats.files import read_plane, stored_size
from mrcnn.data.formats.labelled import LabelledDataset
from mrcnn.data.formats.notes import FormatError, Notes
from mrcnn.data.formats.pairing import instance_files, mask_names, picture_names
from mrcnn.data.formats.reading import Part, Request, finished, number_classes
from mrcnn.data.formats.shapes import Size
from mrcnn.data.pictures import PictureError
from mrcnn.geometry.regions import Region


class NamedMasks(LabelledDataset):
    """annotations: (class id, path of the mask file) of each instance."""

    def stated_size(self, image_id: int) -> Size | None:
        """The size of the first mask."""
        files = self.image_info[image_id]["annotations"]
        try:
            return stored_size(files[0][1])[:2] if files else None
        except PictureError as error:
            raise FormatError(f"The mask {error}") from None

    def listed_class_ids(self, image_id: int) -> np.ndarray:
        """Class ids as the files' names tell them."""
        return np.array([i for i, _ in self.image_info[image_id]["annotations"]], np.int32)

    def decode(self, image_id: int, size: Size) -> Iterator[tuple[int, Region]]:
        """(class id, region) of each file."""
        for class_id, file in self.image_info[image_id]["annotations"]:
            plane, _ = read_plane(file, size)
            yield class_id, ((0, 0, *size), plane != 0)


def read_named(part: Part, request: Request) -> NamedMasks:
    """A folder of pictures and one of such masks, part.files. Raises FormatError."""
    notes = Notes()
    folder, masks = request.images or part.files[0], part.files[1]
    pictures = picture_names(folder, request.folders)
    found = instance_files(pictures, mask_names(masks, request.folders))
    for name in mask_names(masks, request.folders):
        if name not in found:
            notes.count("Mask files passed over: their name is that of no picture", name)
    labels = {label or request.class_name for _, label in found.values()}
    dataset = NamedMasks("masks", part.root, notes)
    order, numbers = number_classes(labels | request.labels, request, notes)
    for number, name in enumerate(order, 1):
        dataset.add_class("masks", number, name)
    notes.say(f"Each file in {masks.name} is one instance of the class in its name.")
    rows: dict[str, list[tuple[int, str]]] = {name: [] for name in pictures}
    for name, (picture, label) in found.items():
        if number := numbers.get(label or request.class_name):
            rows[picture].append((number, str(masks / name)))
    for picture, files in rows.items():
        if not files:
            notes.count("Pictures left out: they have no mask file", picture)
            continue
        place = str(Path(folder) / picture)
        dataset.add_image(
            "masks", image_id=picture, path=place, height=None, width=None, annotations=files
        )
    if not dataset.image_info:
        raise FormatError(f"{part.root} holds no picture with masks of the wanted classes.")
    return finished(dataset, notes)
