"""Every stored call of the original, made again: same numbers out.

Integers and booleans must be equal. Floats within 1e-6, absolute or relative: the original
computed boxes in float32, whose last digit is 1.2e-7 of the value, and a few operations deep.
"""

import inspect
import random
from types import SimpleNamespace

import numpy as np
import pytest
from golden_cases import load_utils_cases

from mrcnn.config import Config
from mrcnn.data import images, inputs, roi_targets
from mrcnn.data.dataset import Dataset
from mrcnn.evaluate import ap
from mrcnn.geometry import anchors, boxes, masks

CASES = load_utils_cases()
GRAPH_TWINS = {
    "apply_box_deltas_graph",
    "box_refinement_graph",
    "clip_boxes_graph",
    "denorm_boxes_graph",
    "norm_boxes_graph",
    "overlaps_graph",
    "trim_zeros_graph",
}
TOLERANCE = 1e-6


class ToyDataset(Dataset):
    """The three classes and four pictures that the stored cases were made with."""

    def __init__(self, case=None):
        super().__init__()
        self.case = case
        for class_id, name in enumerate(("disc", "bar", "ring"), start=1):
            self.add_class("toy", class_id, name)
        for image_id in range(4):
            self.add_image("toy", 100 + image_id, path=None)
        self.prepare()

    def load_image(self, image_id):
        return self.case.inputs["image"]

    def load_mask(self, image_id):
        return self.case.inputs["masks"], self.case.inputs["class_ids"]


def config_of(case):
    config = Config()
    for name, value in case.params.items():
        if name.isupper():
            setattr(config, name, value)
    return config


def call_plainly(function, case):
    """By name where the parameters of the case are arguments of the function."""
    arguments = case.inputs | case.params
    accepted = inspect.signature(function).parameters
    return function(**{name: arguments[name] for name in accepted if name in arguments})


def call_anchors(case):
    function, p = getattr(anchors, case.function), case.params
    if case.function == "generate_anchors":
        return function(
            p["scale"], p["ratios"], p["shape"], p["feature_stride"], p["anchor_stride"]
        )
    shapes = case.inputs["feature_shapes"]
    return function(p["scales"], p["ratios"], shapes, p["strides"], p["anchor_stride"])


def call_backbone_shapes(case):
    config = SimpleNamespace(COMPUTE_BACKBONE_SHAPE=None, BACKBONE_STRIDES=case.params["strides"])
    return anchors.compute_backbone_shapes(config, case.inputs["image_shape"])


def call_molding(case):
    return getattr(images, case.function)(*case.inputs.values(), Config())


def call_parse_meta(case):
    parsed = images.parse_image_meta(case.inputs["meta"])
    return [parsed[name] for name in case.outputs]


def call_ap_range(case):
    return ap.compute_ap_range(*case.inputs.values(), verbose=0)


def call_load_image_gt(case):
    config = config_of(case)
    config.IMAGE_RESIZE_MODE = case.params["mode"]
    use_mini_mask = config.USE_MINI_MASK
    dataset, image_id = ToyDataset(case), case.params["image_id"]
    return inputs.load_image_gt(dataset, config, image_id, use_mini_mask=use_mini_mask)


def call_rpn_targets(case):
    return inputs.build_rpn_targets(None, *case.inputs.values(), config_of(case))


def call_detection_targets(case):
    config = config_of(case)
    config.USE_MINI_MASK = case.name.endswith("_mini")
    config.IMAGE_MIN_DIM = config.IMAGE_MAX_DIM = 128
    return roi_targets.build_detection_targets(*case.inputs.values(), config)


def call_dataset(case):
    dataset = ToyDataset()
    for name, expected in case.params.items():
        assert getattr(dataset, name) == expected, name
    return dataset.class_ids


def call_graph_twin(case):
    from mrcnn.nn import boxes as nn_boxes

    result = call_plainly(getattr(nn_boxes, case.function), case)
    return [part.numpy() for part in result] if isinstance(result, tuple) else result.numpy()


def call_expand_mask(case):
    bbox, mini_mask = case.inputs["bbox"], case.inputs["mini"]
    return masks.expand_mask(bbox, mini_mask, case.params["image_shape"])


def plainly(room):
    return lambda case: call_plainly(getattr(room, case.function), case)


HOW_TO_CALL = {
    "compute_backbone_shapes": call_backbone_shapes,
    "generate_anchors": call_anchors,
    "generate_pyramid_anchors": call_anchors,
    "extract_bboxes": plainly(boxes),
    "compute_iou": plainly(boxes),
    "compute_overlaps": plainly(boxes),
    "non_max_suppression": plainly(boxes),
    "apply_box_deltas": plainly(boxes),
    "box_refinement": plainly(boxes),
    "norm_boxes": plainly(boxes),
    "denorm_boxes": plainly(boxes),
    "trim_zeros": plainly(boxes),
    "compute_overlaps_masks": plainly(masks),
    "resize": plainly(masks),
    "resize_mask": plainly(masks),
    "minimize_mask": plainly(masks),
    "expand_mask": call_expand_mask,
    "unmold_mask": plainly(masks),
    "resize_image": plainly(images),
    "mold_image": call_molding,
    "unmold_image": call_molding,
    "compose_image_meta": plainly(images),
    "parse_image_meta": call_parse_meta,
    "Dataset": call_dataset,
    "load_image_gt": call_load_image_gt,
    "build_rpn_targets": call_rpn_targets,
    "build_detection_targets": call_detection_targets,
    "generate_random_rois": plainly(roi_targets),
    "compute_matches": plainly(ap),
    "compute_ap": plainly(ap),
    "compute_ap_range": call_ap_range,
    "compute_recall": plainly(ap),
    **dict.fromkeys(GRAPH_TWINS, call_graph_twin),
}


def test_no_case_and_no_function_is_left_out():
    assert len(CASES) == 138
    assert {case.function for case in CASES} == set(HOW_TO_CALL)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_same_as_the_original(case):
    if "random_seed" in case.params:
        random.seed(case.params["random_seed"])
    if "np_random_seed" in case.params:
        np.random.seed(case.params["np_random_seed"])
    results = HOW_TO_CALL[case.function](case)
    if not isinstance(results, (tuple, list)):
        results = [results]
    assert len(results) >= len(case.outputs)
    for (name, expected), result in zip(case.outputs.items(), results):
        assert_same(result, expected, name)


def assert_same(result, expected, name):
    expected = np.asarray(expected)
    if result is None:  # resize_image: no crop, stored as an empty array
        assert expected.size == 0, name
        return
    result = np.asarray(result)
    assert result.shape == expected.shape, name
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(result, expected, rtol=TOLERANCE, atol=TOLERANCE, err_msg=name)
    else:
        # The original's meta turns to integers when the scale happens to be an int; ours is float.
        assert result.dtype.kind == expected.dtype.kind or name == "image_meta"
        np.testing.assert_array_equal(result, expected, err_msg=name)
