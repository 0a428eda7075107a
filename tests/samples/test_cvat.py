"""The auto-annotation function for CVAT, by the interface that cvat-sdk publishes."""

import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

HERE = Path(__file__).parents[1]
sys.path.append(str(HERE / "serve"))
from shape_server import find_shapes, serving  # noqa: E402

cvataa = pytest.importorskip("cvat_sdk.auto_annotation")
WANT = find_shapes(np.zeros((48, 64, 3)))


@pytest.fixture(scope="module")
def module():
    """Loaded as cvat-cli does."""
    path = HERE.parent / "samples" / "cvat" / "mrcnn_function.py"
    spec = importlib.util.spec_from_file_location("__cvat_function__", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def context(threshold=None, polygons=False):
    return types.SimpleNamespace(
        frame_name="a.png", conf_threshold=threshold, conv_mask_to_poly=polygons
    )


def test_masks_and_polygons_by_a_server(module):
    from cvat_sdk.masks import decode_mask

    picture = Image.new("RGB", (64, 48))
    with serving(token="open-sesame", threshold=0.5) as client:
        function = module.create(server=client.address, token="open-sesame")
        assert [(label.id, label.name) for label in function.spec.labels] == [
            (1, "cell"),
            (2, "dust"),
        ]
        shapes = function.detect(context(), picture)
        assert [shape.label_id for shape in shapes] == [1, 2]
        for i, shape in enumerate(shapes):
            mask = decode_mask(shape.points, image_width=64, image_height=48)
            assert shape.type.value == "mask" and np.array_equal(mask, WANT.masks[..., i])
        assert len(function.detect(context(0.2), picture)) == 3
        shapes = function.detect(context(0.9, polygons=True), picture)
        assert [shape.type.value for shape in shapes] == ["polygon"]
        assert len(shapes[0].points) >= 6
        with pytest.raises(RuntimeError, match="token"):
            module.create(server=client.address, token="wrong")


def test_it_must_know_where_instances_come_from(module):
    with pytest.raises(ValueError, match="weights=str"):
        module.create()
