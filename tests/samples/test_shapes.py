"""The shapes are drawn as described, and the sample trains on them."""

import os
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from patience import PATIENCE

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "samples" / "shapes"))

import shapes  # noqa: E402

from mrcnn.data.check import check_dataset  # noqa: E402


def made(seed=1, count=40, height=128, width=128):
    dataset = shapes.ShapesDataset(seed)
    dataset.load_shapes(count, height, width)
    dataset.prepare()
    return dataset


def test_config():
    config = shapes.ShapesConfig()
    assert (config.NAME, config.NUM_CLASSES, config.BATCH_SIZE) == ("shapes", 4, 8)
    assert config.IMAGE_SHAPE.tolist() == [128, 128, 3]
    assert config.RPN_ANCHOR_SCALES == (8, 16, 32, 64, 128)
    assert (config.TRAIN_ROIS_PER_IMAGE, config.STEPS_PER_EPOCH) == (32, 100)
    config.validate("training")
    shapes.ScratchConfig().validate("training")
    small = shapes.ScratchConfig()
    small.BACKBONE = "resnet18"
    inference = shapes.inference_config(small)
    assert inference.BATCH_SIZE == 1 and inference.BACKBONE == "resnet18"


def test_the_seed_settles_the_pictures():
    first, again, other = made(), made(), made(seed=2)
    assert first.image_info == again.image_info != other.image_info
    np.testing.assert_array_equal(first.load_image(3), again.load_image(3))


def test_no_mistakes_and_every_class():
    dataset = made()
    report = check_dataset(dataset, shapes.ShapesConfig())
    assert not report.mistakes and report.checked == 40
    ids = np.concatenate([dataset.load_mask(i)[1] for i in dataset.image_ids])
    assert set(ids) == {1, 2, 3}
    assert dataset.class_names == ["BG", "square", "circle", "triangle"]


def test_masks_show_what_is_seen_of_each_shape():
    dataset = made(height=140, width=200)
    for image_id in dataset.image_ids:
        image, info = dataset.load_image(image_id), dataset.image_info[image_id]
        assert image.shape == (140, 200, 3) and image.dtype == np.uint8
        mask, class_ids = dataset.load_mask(image_id)
        assert mask.dtype == bool and mask.sum(axis=-1).max() == 1  # each pixel is of one shape
        background = (image == info["bg_color"]).all(axis=-1)
        np.testing.assert_array_equal(~mask.any(axis=-1), background)
        colors = {color: name for name, color, _ in info["shapes"]}
        for i, class_id in enumerate(class_ids):
            (color,) = np.unique(image[mask[..., i]], axis=0)
            assert colors[tuple(color.tolist())] == dataset.class_names[class_id]


def test_the_upper_shape_covers_the_lower():
    dataset = made(count=1)
    lower, upper = ("square", (9, 9, 9), (50, 50, 20)), ("circle", (99, 99, 99), (50, 30, 10))
    dataset.image_info[0].update(bg_color=(0, 0, 0), shapes=[lower, upper])
    mask, class_ids = dataset.load_mask(0)
    assert class_ids.tolist() == [1, 2]
    assert mask[..., 1].sum() == pytest.approx(np.pi * 10.5**2, rel=0.03)  # pixels of a disc
    assert mask[..., 0].sum() == 41**2 - (mask[30:, :, 1]).sum()
    dataset.image_info[0]["shapes"] = [upper, ("square", (9, 9, 9), (50, 30, 20))]
    assert dataset.load_mask(0)[1].tolist() == [1]  # the circle is hidden and left out


@pytest.mark.parametrize(
    "name, area", [("square", 41**2), ("triangle", 20 / np.sin(np.pi / 3) * 40)]
)
def test_draw_shape(name, area):
    image = made(count=1).draw_shape(np.zeros((100, 100), np.uint8), name, (50, 50, 20), 1)
    assert image.sum() == pytest.approx(area, rel=0.05)  # whole pixels along a slope
    rows = np.flatnonzero(image.any(axis=1))
    assert (rows[0], rows[-1]) == (30, 70)
    with pytest.raises(ValueError, match="No shape 'star'"):
        made(count=1).draw_shape(image, "star", (50, 50, 20), 1)
    with pytest.raises(ValueError, match="60x60 pixels leave no room"):
        made(height=60, width=60)


def test_train_and_evaluate(tmp_path, monkeypatch, capsys):
    from mrcnn.train.keras_model import TrainingModel

    settings = dict(STEPS_PER_EPOCH=1, VALIDATION_STEPS=0, IMAGES_PER_GPU=1)
    tiny = type("TinyConfig", (shapes.ScratchConfig,), settings)
    monkeypatch.setattr(shapes, "ScratchConfig", tiny)
    compile_graph = TrainingModel.compile  # run eagerly, which spares the tracing
    monkeypatch.setattr(
        TrainingModel,
        "compile",
        lambda self, **kwargs: compile_graph(self, **{**kwargs, "run_eagerly": True}),
    )
    make_datasets = shapes.make_datasets
    monkeypatch.setattr(shapes, "make_datasets", lambda config: make_datasets(config, 4, 2))
    shapes.main(["train", "--epochs", "1", "--logs", str(tmp_path)])
    shapes.main(["evaluate", "--logs", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "The training data: no mistakes in 4 of 4" in printed
    score = float(printed.split("mAP@0.5 of 2 pictures:")[1])
    assert 0 <= score <= 1


@pytest.mark.slow  # tests/compat runs the same cells on a smaller network
def test_the_notebook_in_a_minute(tmp_path, monkeypatch):
    """The notebook itself, with a few pictures and steps."""
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")  # the kernel of this interpreter
    path = ROOT / "samples" / "shapes" / "train_shapes.ipynb"
    notebook = nbformat.read(path, as_version=4)
    (parameters,) = (c for c in notebook.cells if c.source.startswith("MODEL_DIR ="))
    for old, new in [
        ('os.path.join(ROOT_DIR, "logs")', repr(str(tmp_path))),
        ("TRAIN_PICTURES, VAL_PICTURES = 4000, 50", "TRAIN_PICTURES, VAL_PICTURES = 8, 3"),
        ("EPOCHS, STEPS_PER_EPOCH = 14, 100", "EPOCHS, STEPS_PER_EPOCH = 2, 1"),
    ]:
        assert old in parameters.source
        parameters.source = parameters.source.replace(old, new)
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=PATIENCE, kernel_name="python3", resources=resources).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    assert "8 pictures to train on, 3 to validate" in printed
    assert 0 <= float(printed.split("mAP@0.5 of 3 pictures:")[1].split()[0]) <= 1
    drawn = [output for output in outputs if "image/jpeg" in output.get("data", {})]
    assert len(drawn) == 5  # three pictures with masks, the losses, what was found
    assert any(name.endswith("_0002.h5") for name in os.listdir(next(tmp_path.iterdir())))
