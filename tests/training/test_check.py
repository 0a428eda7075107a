"""What is wrong with a dataset is said before training, with the picture's name."""

import numpy as np
import pytest
from blobs import Blobs, config

from mrcnn.data import check
from mrcnn.data.check import DatasetError, check_dataset


class Changed(Blobs):
    """Blobs with picture 2 changed by functions (image) -> image and (mask, ids) -> (mask, ids)."""

    def __init__(self, image=None, mask=None, **kwargs):
        super().__init__(count=4, **kwargs)
        self.change_image, self.change_mask = image, mask

    def load_image(self, image_id):
        image = super().load_image(image_id)
        return self.change_image(image) if self.change_image and image_id == 2 else image

    def load_mask(self, image_id):
        mask, class_ids = super().load_mask(image_id)
        return (
            self.change_mask(mask, class_ids)
            if image_id == 2 and self.change_mask
            else (
                mask,
                class_ids,
            )
        )


def raising(error):
    def change(*_):
        raise error

    return change


def without_pixels(mask, class_ids):
    return mask & (np.arange(mask.shape[-1]) != 1), class_ids


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"mask": lambda mask, ids: (mask, ids[:-1])}, ["3 masks and 2 class ids"]),
        ({"mask": lambda mask, ids: (mask, ids + 2)}, ["class ids", "from 1 to 2"]),
        ({"mask": lambda mask, ids: (mask[:50], ids)}, ["50x64", "64x64"]),
        ({"mask": lambda mask, ids: (mask[:, :, 0], ids)}, ["(64, 64)", "num_instances"]),
        ({"mask": raising(KeyError("all_points_y"))}, ["load_mask failed", "all_points_y"]),
        ({"mask": raising(IndexError("64 of 64"))}, ["load_mask failed", "outside the picture?"]),
        ({"image": raising(OSError("truncated"))}, ["load_image failed: OSError: truncated"]),
        ({"image": lambda image: image[:, :, 0]}, ["(64, 64)"]),
        ({"image": lambda image: image[:, :, :2]}, ["2 channels, and the config 3"]),
    ],
)
def test_a_mistake_in_one_picture(changes, words):
    report = check_dataset(Changed(**changes), config())
    assert report.checked == report.total == 4
    (mistake,) = report.mistakes
    assert all(word in mistake for word in ["Picture 2 (blobs.blob2)", *words])


def test_an_empty_mask_is_named_and_left_out():
    report = check_dataset(Changed(mask=without_pixels), config())
    assert not report.mistakes
    (notice,) = report.notices
    assert "Picture 2 (blobs.blob2" in notice and "1 of 3 masks are empty (1)" in notice


def test_no_mistakes():
    report = check_dataset(Blobs(), config())
    assert not report.mistakes and not report.notices
    assert str(report) == "no mistakes in 6 of 6 pictures checked"
    report.refuse_mistakes("The data")


def test_an_unreadable_file(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG, or not")

    class Files(Blobs):
        load_image = Blobs.__mro__[1].load_image

    dataset = Files(count=1)
    dataset.image_info[0]["path"] = str(tmp_path / "broken.png")
    (mistake,) = check_dataset(dataset).mistakes
    assert "load_image failed" in mistake and "broken.png" in mistake


@pytest.mark.parametrize("box, outside", [([0, 0, 64, 64.5], False), ([40, 0, 30, 9], True)])
def test_a_coco_box_outside(box, outside):
    dataset = Blobs(count=1)
    dataset.image_info[0]["annotations"] = [{"bbox": [1, 1, 5, 5]}, {"bbox": box}]
    report = check_dataset(dataset)
    assert not report.mistakes and bool(report.notices) is outside
    assert all(str(box) in notice for notice in report.notices)


def test_more_classes_than_the_config_has():
    report = check_dataset(Blobs(), config(NUM_CLASSES=2))
    (mistake,) = report.mistakes
    assert "3 classes (BG, square, disc)" in mistake and "NUM_CLASSES is 2" in mistake
    assert report.checked == 0  # said at once
    assert not check_dataset(Blobs(), config(NUM_CLASSES=81)).mistakes


def test_mistakes_of_the_dataset_as_a_whole():
    dataset = Blobs()
    dataset.add_image("blobs", "late", None)
    assert "prepare() once more" in check_dataset(dataset).mistakes[0]

    dataset = Blobs(count=0)
    assert "no pictures" in check_dataset(dataset).mistakes[0]
    del dataset.num_classes
    dataset.add_image("blobs", 1, None)
    assert "isn't prepared" in check_dataset(dataset).mistakes[0]

    dataset = Blobs(count=2)
    dataset.add_image("blobs", "blob1", None)
    dataset.add_image("blob", "blob1", None)  # another source: no duplicate, but misspelt
    dataset.prepare()
    report = check_dataset(dataset)
    assert report.mistakes == [
        "1 pictures are of the source 'blob', which has no classes; those that have are: "
        "'blobs'. Give add_image and add_class one source.",
    ]
    # Adding a picture twice is how scripts give a rare class more weight.
    assert report.notices == ["1 picture ids were added more than once, blobs.blob1 2 times."]


def test_pictures_without_instances_are_counted():
    report = check_dataset(Blobs(empty=(1, 4)), config())
    assert not report.mistakes
    assert report.notices[0].startswith("2 pictures have no instances and are left out")
    kept = check_dataset(Blobs(empty=(1, 4)), config(TRAIN_ON_EMPTY_IMAGES=True))
    assert "count as background" in kept.notices[0]
    all_empty = check_dataset(Blobs(count=2, empty=(0, 1)), config())
    assert all_empty.mistakes == ["No picture has an instance: what does load_mask() return?"]


def test_more_instances_than_are_used():
    (notice,) = check_dataset(Blobs(count=2, blobs=6), config()).notices
    assert "MAX_GT_INSTANCES, 5" in notice and notice.endswith("has the most, 6.")


def test_pictures_that_cannot_share_a_batch():
    dataset = Changed(
        image=lambda image: np.pad(image, ((0, 64), (0, 0), (0, 0))),
        mask=lambda mask, ids: (np.pad(mask, ((0, 64), (0, 0), (0, 0))), ids),
    )
    pad64 = config(IMAGE_RESIZE_MODE="pad64")
    (mistake,) = check_dataset(dataset, pad64).mistakes
    assert "2 sizes (64x64, 128x64, ..)" in mistake and "IMAGES_PER_GPU = 1" in mistake
    assert not check_dataset(dataset, config(IMAGE_RESIZE_MODE="pad64", IMAGES_PER_GPU=1)).mistakes
    assert not check_dataset(dataset, config()).mistakes


def test_a_sample_is_spread_evenly(monkeypatch):
    for count in (1, 2, 7, 64, 100):
        order = check._evenly_spread(count)
        assert sorted(order) == list(range(count))
        for taken in (8, 20):
            gaps = np.diff(sorted({-1, count, *order[:taken]}))
            assert gaps.max() <= max(1, 2 * -(-count // taken) + 1)
    assert check_dataset(Blobs(20), limit=5).checked == 5
    clock = iter(range(1000))
    monkeypatch.setattr(check.time, "monotonic", lambda: next(clock))
    assert check_dataset(Blobs(20), seconds=6).checked == 7
    assert check_dataset(Blobs(20), seconds=0).checked == 1


def test_at_most_ten_mistakes_are_listed():
    report = check_dataset(Blobs(14), config())
    report.mistakes = [f"mistake {i}" for i in range(14)]
    with pytest.raises(DatasetError) as caught:
        report.refuse_mistakes("The training data")
    lines = str(caught.value).splitlines()
    assert lines[0] == "The training data can't be trained on (14 of 14 pictures checked):"
    assert len(lines) == 12 and lines[-1].strip(" -").startswith("and 4 more")
    assert isinstance(caught.value, ValueError)


def test_train_refuses_before_it_builds_or_writes(tmp_path):
    from mrcnn.model import MaskRCNN

    model = MaskRCNN("training", config(), str(tmp_path))
    broken = Changed(mask=lambda mask, ids: (mask, ids[:-1]))
    for training, validation, what in ((broken, None, "training"), (Blobs(), broken, "validation")):
        with pytest.raises(DatasetError, match=f"The {what} data .*\n.*Picture 2 .blobs.blob2"):
            model.train(training, validation, 0.01, 1, "heads")
    with pytest.raises(DatasetError, match="3 classes .* NUM_CLASSES is 2"):
        model.config.NUM_CLASSES = 2
        model.train(Blobs(), None, 0.01, 1, "heads")
    assert not list(tmp_path.iterdir()) and not model.keras_model.compiled
