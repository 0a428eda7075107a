import numpy as np
import pytest
import skimage.io

from mrcnn.data.dataset import Dataset


@pytest.fixture
def two_sources():
    dataset = Dataset()
    dataset.add_class("coco", 12, "cat, house cat")
    dataset.add_class("shapes", 1, "circle")
    dataset.add_class("coco", 12, "cat again")
    dataset.add_image("coco", 9001, "a.jpg", width=640)
    dataset.add_image("shapes", "x", None)
    dataset.prepare()
    return dataset


def test_classes_and_pictures_are_numbered(two_sources):
    assert two_sources.num_classes == 3 and two_sources.num_images == 2
    assert two_sources.class_ids.tolist() == [0, 1, 2]
    assert two_sources.image_ids.tolist() == [0, 1]
    assert two_sources.class_names == ["BG", "cat", "circle"]
    assert two_sources.sources == ["", "coco", "shapes"]
    assert two_sources.source_class_ids == {"": [0], "coco": [0, 1], "shapes": [0, 2]}
    assert two_sources.class_from_source_map == {".0": 0, "coco.12": 1, "shapes.1": 2}
    assert two_sources.image_from_source_map == {"coco.9001": 0, "shapes.x": 1}
    assert two_sources.image_info[0] == {
        "id": 9001,
        "source": "coco",
        "path": "a.jpg",
        "width": 640,
    }
    assert two_sources.source_image_link(0) == "a.jpg"


def test_ids_map_both_ways_or_say_why_not(two_sources):
    assert two_sources.map_source_class_id("coco.12") == 1
    assert two_sources.get_source_class_id(1, "coco") == 12
    with pytest.raises(KeyError, match="coco.13.*Known are .0, coco.12"):
        two_sources.map_source_class_id("coco.13")
    with pytest.raises(ValueError, match="source 'coco', not 'shapes'"):
        two_sources.get_source_class_id(1, "shapes")
    with pytest.raises(ValueError, match="dot"):
        two_sources.add_class("my.source", 1, "thing")


@pytest.mark.parametrize("channels", [(), (2,), (3,), (4,)])
def test_every_png_becomes_rgb(tmp_path, channels):
    stored = np.random.default_rng(0).integers(0, 256, (8, 9, *channels)).astype(np.uint8)
    skimage.io.imsave(tmp_path / "a.png", stored, check_contrast=False)
    dataset = Dataset()
    dataset.add_image("toy", 1, str(tmp_path / "a.png"))
    image = dataset.load_image(0)
    colour = stored[..., :3] if channels in ((3,), (4,)) else stored.reshape(8, 9, -1)[..., :1]
    np.testing.assert_array_equal(image, np.broadcast_to(colour, (8, 9, 3)))


def test_pictures_that_are_not_there(two_sources):
    with pytest.raises(FileNotFoundError, match="a.jpg"):
        two_sources.load_image(0)
    with pytest.raises(ValueError, match=r"Picture 1 \(shapes.x\) has no path"):
        two_sources.load_image(1)


def test_the_base_class_has_no_instances_and_says_so(two_sources, caplog):
    mask, class_ids = two_sources.load_mask(0)
    assert mask.shape == (0, 0, 0) and class_ids.shape == (0,)
    assert "no load_mask of its own" in caplog.text
