"""Detecting with an exported file: the result of `MaskRCNN.detect`, without TensorFlow.

    model = Exported("cells.onnx")
    found = model.detect([picture])[0]        # Instances, as ever

Only the folder of a SavedModel is run by TensorFlow.
"""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mrcnn.config import Config
from mrcnn.data.images import resize_image
from mrcnn.detect.card import Card, read_card
from mrcnn.detect.check import check_pictures, tell_limit
from mrcnn.detect.instances import Instances
from mrcnn.detect.memory import check_masks
from mrcnn.detect.runtimes import NAMES, open_runtime
from mrcnn.detect.tiled import DetectsTiles
from mrcnn.geometry.masks import paste_masks
from mrcnn.words import log


class Found(NamedTuple):
    """What a file finds in a picture, before boxes are rounded and masks pasted."""

    boxes: np.ndarray  # float [n, (y1, x1, y2, x2)], pixels of the picture as it was given
    class_ids: np.ndarray  # int32 [n]
    scores: np.ndarray  # float32 [n]
    masks: np.ndarray  # float32 [n, mask_height, mask_width]


class Exported(DetectsTiles):
    """A network that `mrcnn export` wrote.

    path: of the .onnx, .tflite or .xml file, or of a SavedModel's folder; its card lies beside it.
    config: with other values of DETECTION_MIN_CONFIDENCE and DETECTION_MAX_INSTANCES than the
        card's, where wanted; the rest is built into the file.
    threads: that the runtime takes; 0 for all cores.

    Raises UsageError (a ValueError): no such file, no card or another's, the runtime is missing.
    """

    def __init__(
        self, path: str | os.PathLike, config: Config | None = None, threads: int = 0
    ) -> None:
        self.card: Card = read_card(path)
        self.config = config or self.card.config()
        self.card.check_settings(self.config)
        self.class_names = self.card.class_names
        self._run = open_runtime(self.card, threads)

    @property
    def runtime(self) -> str:
        """What runs the file, in words."""
        return NAMES[self.card.format]

    def detect(self, images: Sequence[np.ndarray], verbose: int = 0) -> list[Instances]:
        """As `MaskRCNN.detect`: Instances for each of a list of pictures of any sizes.

        Raises ValueError, naming the picture, before any is worked on.
        """
        pictures = [as_bytes(image) for image in check_pictures(images, self.config)]
        self._check_sizes(pictures)
        if verbose:
            log(f"Processing {len(pictures)} images")
        return [self._instances(self.find(picture), picture.shape) for picture in pictures]

    def find(self, picture: np.ndarray) -> Found:
        """picture: uint8 [height, width, channels]."""
        least, feed = least_confidence(self.config), self.feed(picture)
        found = self._run(feed)
        if not self.card.resizes:
            found["boxes"] = in_the_given(
                found["boxes"], feed["window"].astype(float), picture.shape
            )
        count = int(np.ravel(found["count"])[0])
        result = Found(*(found[name][:count] for name in Found._fields))
        sure = result.scores >= least[result.class_ids].astype(np.float32)
        most = self.config.DETECTION_MAX_INSTANCES
        return Found(*(values[sure][:most] for values in result))

    def feed(self, picture: np.ndarray) -> dict[str, np.ndarray]:
        """What the file is given for a picture, uint8 [height, width, channels], by input."""
        feed = {"min_confidence": least_confidence(self.config).min(keepdims=True).astype("f4")}
        if self.card.resizes:
            return {"picture": picture[None], **feed}
        molded, window = molded_picture(picture, self.config)
        return {"picture": molded[None], "window": np.array(window, np.float32), **feed}

    def _instances(self, found: Found, shape: Sequence[int]) -> Instances:
        boxes = np.around(found.boxes).astype(np.int32)
        check_masks(len(boxes), shape)
        real = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        result = Instances(
            rois=boxes[real],
            class_ids=found.class_ids[real],
            scores=found.scores[real],
            masks=paste_masks(found.masks[real], boxes[real], shape[:2]),
            class_names=self.class_names,
        )
        most = self.config.DETECTION_MAX_INSTANCES
        if len(boxes) == most:
            tell_limit(result, most, shape, stacklevel=4)  # the line that called detect
        return result

    def _check_sizes(self, pictures: Sequence[np.ndarray]) -> None:
        """Refuse a picture that doesn't become the size that the file is made for."""
        size = self.card.size
        if size is None or self.config.IMAGE_RESIZE_MODE == "square":
            return
        for i, picture in enumerate(pictures, start=1):
            molded, _ = molded_picture(picture, self.config)
            if molded.shape[:2] != size:
                height, width = molded.shape[:2]
                raise ValueError(
                    f"picture {i} of {len(pictures)} enters the network as {height}x{width}, and "
                    f"{self.card.path.name} takes {size[0]}x{size[1]} alone: export the weights "
                    f"with --size {height}x{width}, or without --size for all sizes."
                )


def least_confidence(config: Config) -> np.ndarray:
    """The score from which an instance of each class counts: float [num_classes]."""
    by_class = getattr(config, "DETECTION_CLASS_CONFIDENCE", None)
    least = np.full(config.NUM_CLASSES, float(config.DETECTION_MIN_CONFIDENCE or 0))
    if by_class is not None:
        least[1:] = np.asarray(by_class, float)[1:]
        least[0] = least[1:].min(initial=1.0)
    return least


def as_bytes(picture: np.ndarray) -> np.ndarray:
    """A checked picture as uint8; floats are rounded."""
    if picture.dtype == np.uint8:
        return np.ascontiguousarray(picture)
    return np.rint(np.clip(picture, 0, 255)).astype(np.uint8)


def molded_picture(
    picture: np.ndarray, config: Config
) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """(uint8 picture as the network takes it, window); the mean is subtracted inside the file."""
    molded, window, *_ = resize_image(
        picture,
        min_dim=config.IMAGE_MIN_DIM,
        min_scale=config.IMAGE_MIN_SCALE,
        max_dim=config.IMAGE_MAX_DIM,
        mode=config.IMAGE_RESIZE_MODE,
    )
    return molded, window


def in_the_given(boxes: np.ndarray, window: Sequence[int], shape: Sequence[int]) -> np.ndarray:
    """Boxes [n, 4] in pixels of the network's picture -> of the picture as it was given.

    As `unmold_detections`, whose corners of a picture are the centers of its first and last pixel.
    """
    y1, x1, y2, x2 = window
    far, first = np.array([0, 0, 1, 1]), np.array([y1, x1, y1, x1])
    old = np.array([y2 - y1 - 1, x2 - x1 - 1] * 2)
    new = np.array([shape[0] - 1, shape[1] - 1] * 2)
    shares = np.where(old > 0, (boxes - far - first) / np.maximum(old, 1), far)
    return shares * new + far
