"""Pictures chosen from one data set or several, as one, their classes under common numbers."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mrcnn.data.dataset import Dataset, mask_crops
from mrcnn.data.scaling import Rule
from mrcnn.geometry.crops import MaskCrops

if TYPE_CHECKING:
    from mrcnn.data.formats import LabelledDataset

    Labelled = LabelledDataset | "View"


class View(Dataset):
    """Some pictures of labelled data sets; nothing is read before it is asked for.

    format: of the sets. root: of the first one.
    """

    def __init__(
        self,
        rows: Sequence[tuple["Labelled", int]],
        first: "Labelled",
        class_names: Sequence[str],
        renamed: Mapping[str, str] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        """rows: (data set, image id) of each picture. first: the set that others were joined to.

        class_names: of all classes that the pictures show, in order, "BG" first. renamed: what
        classes of the sets are called here, where that is not their own name. notes: how the
        pictures were chosen.
        """
        super().__init__()
        self._rows = [(dataset, int(i)) for dataset, i in rows]
        self._sets = list({id(dataset): dataset for dataset in (first, *self._datasets())}.values())
        self._choosing_notes = list(notes)
        self.format = " and ".join(dict.fromkeys(dataset.format for dataset in self._sets))
        self.root = first.root
        renamed, source = renamed or {}, first.class_info[-1]["source"]
        number = {name: i for i, name in enumerate(class_names)}
        self._numbers = {
            id(dataset): np.array(
                [number.get(renamed.get(n, n), 0) for n in dataset.class_names], np.int32
            )
            for dataset in self._sets
        }
        infos = {renamed.get(n, n): info for n, info in zip(first.class_names, first.class_info)}
        self.class_info = [
            {"source": source, "id": name, **infos.get(name, {}), "name": name}
            for name in class_names
        ]
        # Classes are looked up by their source, so pictures of another set take the first one's.
        self.image_info = [
            info if info["source"] == source else dict(info, source=source)
            for info in (dataset.image_info[i] for dataset, i in self._rows)
        ]
        self.prepare()

    def _datasets(self) -> list["Labelled"]:
        return [dataset for dataset, _ in self._rows]

    @property
    def rule(self) -> Rule:
        """Which channels, plane and range of brightness of the files are shown."""
        return self._sets[0].rule

    @rule.setter
    def rule(self, rule: Rule) -> None:
        for dataset in self._sets:
            dataset.rule = rule

    @property
    def notes(self) -> list[str]:
        """What was dropped, cut or assumed on reading each set, and how pictures were chosen."""
        told = [note for dataset in self._sets for note in dataset.notes]
        return [*dict.fromkeys(told), *self._choosing_notes]

    def load_image(self, image_id: int) -> np.ndarray:
        """As its own set gives it."""
        dataset, own_id = self._rows[image_id]
        return dataset.load_image(own_id)

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """bool [height, width, instances], int32 [instances] in the numbers of this view."""
        dataset, own_id = self._rows[image_id]
        masks, class_ids = dataset.load_mask(own_id)
        return masks, self._renumbered(dataset, class_ids)

    def load_mask_crops(self, image_id: int) -> tuple[MaskCrops, np.ndarray] | None:
        """The same, each mask cut to its box."""
        dataset, own_id = self._rows[image_id]
        found = mask_crops(dataset, own_id)
        return found and (found[0], self._renumbered(dataset, found[1]))

    def listed_class_ids(self, image_id: int) -> np.ndarray | None:
        """As its own set lists them, in the numbers of this view."""
        dataset, own_id = self._rows[image_id]
        class_ids = dataset.listed_class_ids(own_id)
        return None if class_ids is None else self._renumbered(dataset, class_ids)

    def image_reference(self, image_id: int) -> str:
        """As its own set gives it."""
        dataset, own_id = self._rows[image_id]
        return dataset.image_reference(own_id)

    def _renumbered(self, dataset: "Labelled", class_ids: np.ndarray) -> np.ndarray:
        return np.sign(class_ids) * self._numbers[id(dataset)][np.abs(class_ids)]
