"""Matterport's `mrcnn.utils`: every name it has, from the room where it lives now.

A front door for users' scripts; nothing inside the package imports it, and importing it doesn't
load TensorFlow.
"""

from collections.abc import Callable, Sequence
from typing import Any

from mrcnn.data.dataset import Dataset
from mrcnn.data.images import resize_image
from mrcnn.evaluate.ap import compute_ap, compute_ap_range, compute_matches, compute_recall
from mrcnn.geometry.anchors import generate_anchors, generate_pyramid_anchors
from mrcnn.geometry.boxes import (
    apply_box_deltas,
    box_refinement,
    compute_iou,
    compute_overlaps,
    denorm_boxes,
    extract_bboxes,
    non_max_suppression,
    norm_boxes,
    trim_zeros,
)
from mrcnn.geometry.masks import (
    compute_overlaps_masks,
    expand_mask,
    minimize_mask,
    mold_mask,
    resize,
    resize_mask,
    unmold_mask,
)
from mrcnn.weights.download import COCO_MODEL_URL, download_trained_weights

__all__ = [
    "COCO_MODEL_URL",
    "Dataset",
    "apply_box_deltas",
    "batch_slice",
    "box_refinement",
    "box_refinement_graph",
    "compute_ap",
    "compute_ap_range",
    "compute_iou",
    "compute_matches",
    "compute_overlaps",
    "compute_overlaps_masks",
    "compute_recall",
    "denorm_boxes",
    "download_trained_weights",
    "expand_mask",
    "extract_bboxes",
    "generate_anchors",
    "generate_pyramid_anchors",
    "minimize_mask",
    "mold_mask",
    "non_max_suppression",
    "norm_boxes",
    "resize",
    "resize_image",
    "resize_mask",
    "trim_zeros",
    "unmold_mask",
]


def box_refinement_graph(box: Any, gt_box: Any) -> Any:
    """`box_refinement` for tensors [num_boxes, (y1, x1, y2, x2)]; loads TensorFlow."""
    from mrcnn.nn import boxes

    return boxes.box_refinement_graph(box, gt_box)


def batch_slice(
    inputs: Any, graph_fn: Callable, batch_size: int, names: Sequence[str] | None = None
) -> Any:
    """Run graph_fn on each item of a batch and stack its results; loads TensorFlow.

    inputs: one tensor [batch_size, ...] or a list of them. graph_fn: takes one slice of each,
    returns a tensor or several. Returns a tensor [batch_size, ...], or a list of them.
    """
    from mrcnn.nn import boxes

    return boxes.batch_slice(inputs, graph_fn, batch_size, names)
