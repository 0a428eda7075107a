"""Three pictures of squares with labels, and a model that knows them."""

import numpy as np

from mrcnn.data.dataset import Dataset


class Squares(Dataset):
    """Two classes and a crowd, small, medium and large; the last picture is empty."""

    LABELS = [  # (y1, x1, y2, x2, class id)
        [(2, 2, 20, 20, 1), (30, 30, 190, 195, 2), (0, 60, 25, 99, -1)],
        [(5, 5, 60, 60, 1), (55, 55, 99, 99, 1)],
        [],
    ]

    def __init__(self):
        super().__init__()
        self.add_class("squares", 1, "cell")
        self.add_class("squares", 2, "nucleus")
        for i in range(len(self.LABELS)):
            self.add_image("squares", i, f"{i}.png")
        self.prepare()

    def load_image(self, image_id):
        return np.full((200, 200, 3), image_id, np.uint8)

    def load_mask(self, image_id):
        masks = np.zeros((200, 200, len(self.LABELS[image_id])), bool)
        for i, (y1, x1, y2, x2, _) in enumerate(self.LABELS[image_id]):
            masks[y1:y2, x1:x2, i] = True
        return masks, np.array([label[4] for label in self.LABELS[image_id]], np.int32)


class Oracle:
    """A model that returns the labels, crowds as one instance; `change` may spoil its results.

    Confidence falls from 0.9 for the first to 0.5 for the last label of a picture.
    """

    def __init__(self, change=lambda result: result):
        self.change = change

    def detect(self, images):
        image_id = int(images[0][0, 0, 0])
        masks, class_ids = Squares().load_mask(image_id)
        boxes = [label[:4] for label in Squares.LABELS[image_id]]
        result = {
            "masks": masks,
            "rois": np.array(boxes, np.int32).reshape(-1, 4),
            "class_ids": abs(class_ids),
            "scores": np.linspace(0.9, 0.5, len(class_ids)),
        }
        return [self.change(result)]


def part(result, which):
    """Some of a picture's detections."""
    return {
        name: value[..., which] if name == "masks" else value[which]
        for name, value in result.items()
    }
