"""A dataset that hands out ready arrays, so that a benchmark times what comes after it."""

import numpy as np

from mrcnn.data.dataset import Dataset
from mrcnn.geometry.crops import MaskCrops


class ArrayDataset(Dataset):
    """Pictures and masks held in memory.

    scenes: (picture uint8 [height, width, 3], boxes, masks bool [height, width, instances]), as
    `common.scene` makes them; the classes go round. The arrays must not be written to.
    """

    def __init__(self, scenes: list[tuple], classes: int) -> None:
        super().__init__()
        self.scenes = scenes
        for class_id in range(1, classes):
            self.add_class("arrays", class_id, f"class {class_id}")
        for i, arrays in enumerate(scenes):
            for array in arrays:
                array.flags.writeable = False
            self.add_image("arrays", i, path=None)
        self.prepare()

    def load_image(self, image_id: int) -> np.ndarray:
        """uint8 [height, width, 3]."""
        return self.scenes[image_id][0]

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """bool [height, width, instances], int32 [instances]."""
        masks = self.scenes[image_id][2]
        class_ids = np.arange(masks.shape[-1]) % (self.num_classes - 1) + 1
        return masks, class_ids.astype(np.int32)


class CropDataset(ArrayDataset):
    """The same, but masks lie ready cut to their boxes, as outlines and run-lengths come."""

    def __init__(self, scenes: list[tuple], classes: int) -> None:
        super().__init__(scenes, classes)
        self.crops = [MaskCrops.from_masks(masks) for _, _, masks in scenes]

    def load_mask_crops(self, image_id: int) -> tuple[MaskCrops, np.ndarray]:
        """MaskCrops, int32 [instances]."""
        return self.crops[image_id], self.load_mask(image_id)[1]
