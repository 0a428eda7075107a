"""After the network: detections in the frame of the picture as it was given."""

from collections.abc import Callable, Sequence

import numpy as np

from mrcnn.detect.check import tell_limit
from mrcnn.detect.instances import Instances
from mrcnn.detect.memory import check_masks
from mrcnn.detect.mold import Molded
from mrcnn.geometry.boxes import denorm_boxes, norm_boxes
from mrcnn.geometry.masks import paste_masks


def unmold_batch(
    batch: Molded,
    detections: np.ndarray,
    mrcnn_mask: np.ndarray,
    class_names: Sequence[str] | None,
    unmold: Callable,
) -> list[Instances]:
    """The instances of each picture of a batch.

    class_names: by class id, where known. unmold: `unmold_detections` of a MaskRCNN, or what a
    subclass has in its place. Of a picture that has as many as DETECTION_MAX_INSTANCES lets
    through, the result's `limited` is set, and the first such picture is told with a warning.
    Raises MemoryError where there is no room for the masks.
    """
    found = []
    for i, shape in enumerate(batch.shapes):
        count, most = int((detections[i, :, 4] > 0).sum()), len(detections[i])
        check_masks(count, shape)
        rois, class_ids, scores, masks = unmold(
            detections[i], mrcnn_mask[i], shape, batch.images[i].shape, batch.windows[i]
        )
        found.append(
            Instances(
                rois=rois,
                class_ids=class_ids,
                scores=scores,
                masks=masks,
                class_names=class_names,
            )
        )
        if count == most:
            tell_limit(found[-1], most, shape, stacklevel=3)  # the line that called detect
    return found


def unmold_detections(
    detections: np.ndarray,
    mrcnn_mask: np.ndarray,
    original_image_shape: Sequence[int],
    image_shape: Sequence[int],
    window: Sequence[int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One picture's detections in the frame of the picture as it was given.

    detections: [max_instances, (y1, x1, y2, x2, class_id, score)], normalised, zero padded.
    mrcnn_mask: [max_instances, mask_height, mask_width, num_classes].
    original_image_shape, image_shape: (height, width, ...) before and after molding.
    window: (y1, x1, y2, x2), pixels of the molded picture without its padding.

    Returns boxes int32 [n, (y1, x1, y2, x2)] in pixels, class_ids int32 [n], scores float32 [n]
    and masks bool [height, width, n]. Boxes that are empty after rounding are left out.
    """
    padding = np.flatnonzero(detections[:, 4] == 0)
    count = padding[0] if padding.size else len(detections)
    class_ids = detections[:count, 4].astype(np.int32)
    scores = detections[:count, 5]
    masks = mrcnn_mask[np.arange(count), :, :, class_ids]  # [n, mask_height, mask_width]

    wy1, wx1, wy2, wx2 = norm_boxes(np.asarray(window), image_shape[:2])
    shift = np.array([wy1, wx1, wy1, wx1])
    scale = np.array([wy2 - wy1, wx2 - wx1, wy2 - wy1, wx2 - wx1])
    # A picture scaled down to a single row fills it, though that row has no height to divide by.
    boxes = np.where(
        scale > 0, (detections[:count, :4] - shift) / np.where(scale > 0, scale, 1), [0, 0, 1, 1]
    )  # normalised to the window
    boxes = denorm_boxes(boxes, original_image_shape[:2])

    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    real = np.flatnonzero(area > 0)
    boxes, class_ids, scores, masks = boxes[real], class_ids[real], scores[real], masks[real]
    return boxes, class_ids, scores, paste_masks(masks, boxes, original_image_shape[:2])
