"""The nucleus sample on a folder laid out as Kaggle's, of two small pictures."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "samples" / "nucleus"))

import nucleus  # noqa: E402

from mrcnn.data.check import check_dataset  # noqa: E402

BOXES = [(10, 20, 30, 44), (50, 60, 90, 110), (0, 0, 5, 5)]


def write_picture(folder, name, height=100, width=120, boxes=BOXES):
    (folder / name / "images").mkdir(parents=True)
    (folder / name / "masks").mkdir()
    image = np.zeros((height, width, 4), np.uint8)
    for i, (y1, x1, y2, x2) in enumerate(boxes):
        mask = np.zeros((height, width), np.uint8)
        mask[y1:y2, x1:x2] = 255
        image[y1:y2, x1:x2, i] = 200
        Image.fromarray(mask).save(folder / name / "masks" / f"{i}.png")
    Image.fromarray(image).save(folder / name / "images" / f"{name}.png")


@pytest.fixture
def kaggle(tmp_path):
    write_picture(tmp_path / "stage1_train", "training")
    write_picture(tmp_path / "stage1_train", nucleus.VAL_IMAGE_IDS[0])
    return tmp_path


def loaded(folder, subset, **kwargs):
    dataset = nucleus.NucleusDataset(**kwargs)
    dataset.load_nucleus(folder, subset)
    dataset.prepare()
    return dataset


def test_whole_pictures(kaggle):
    dataset = loaded(kaggle, "train")
    assert [info["id"] for info in dataset.image_info] == ["training"]
    assert dataset.class_names == ["BG", "nucleus"]
    image = dataset.load_image(0)
    assert image.shape == (100, 120, 3) and image[20, 30].tolist() == [200, 0, 0]
    mask, class_ids = dataset.load_mask(0)
    assert mask.shape == (100, 120, 3) and class_ids.tolist() == [1, 1, 1]
    for i, (y1, x1, y2, x2) in enumerate(BOXES):
        assert mask[y1:y2, x1:x2, i].all() and mask[..., i].sum() == (y2 - y1) * (x2 - x1)
    assert dataset.image_reference(0) == "training"
    assert not check_dataset(dataset, nucleus.NucleusConfig()).mistakes


def test_which_pictures_belong_to_a_subset(kaggle):
    held_out = loaded(kaggle, "val")
    assert [info["id"] for info in held_out.image_info] == [nucleus.VAL_IMAGE_IDS[0]]
    write_picture(kaggle / "train", "own")
    assert [info["id"] for info in loaded(kaggle, "train").image_info] == ["own"]
    with pytest.raises(FileNotFoundError, match="no folder 'stage2_test'"):
        loaded(kaggle, "stage2_test")


def test_pieces_hold_the_same_nuclei(kaggle):
    dataset, whole = loaded(kaggle, "train", piece=64), loaded(kaggle, "train")
    mask, _ = whole.load_mask(0)
    image = whole.load_image(0)
    seen = np.zeros(mask.shape[:2], bool)
    for image_id in dataset.image_ids:
        y1, x1, y2, x2 = dataset.image_info[image_id]["window"]
        piece, class_ids = dataset.load_mask(image_id)
        expected = mask[y1:y2, x1:x2]
        expected = expected[..., expected.any(axis=(0, 1))]
        np.testing.assert_array_equal(piece, expected)
        assert len(class_ids) == piece.shape[-1] and piece.shape[:2] == (64, 64)
        np.testing.assert_array_equal(dataset.load_image(image_id), image[y1:y2, x1:x2])
        seen[y1:y2, x1:x2] = True
    assert seen.all() and dataset.num_images == 6
    assert len({info["id"] for info in dataset.image_info}) == 6
    assert not check_dataset(dataset, nucleus.NucleusConfig()).mistakes


@pytest.mark.parametrize("side", [50, 64, 65, 100, 129, 500])
def test_pieces_cover_and_overlap(side):
    starts = nucleus._starts(side, 64)
    assert starts[0] == 0
    if side > 64:
        assert starts[-1] == side - 64
        assert np.diff(starts).max() <= 64 * 2 / 3 + 1
    else:
        assert starts == [0]


def test_run_length_encoding():
    """Kaggle's own example of the rules: column by column, counted from 1."""
    mask = np.zeros((4, 3), bool)
    mask[1:3, 0] = mask[3, 1] = mask[0, 2] = True
    assert nucleus.rle_encode(mask) == "2 2 8 2"
    rng = np.random.default_rng(0)
    for density in (0, 0.1, 0.5, 1):
        mask = rng.random((9, 14)) < density
        np.testing.assert_array_equal(nucleus.rle_decode(nucleus.rle_encode(mask), (9, 14)), mask)


def test_a_submission_gives_each_pixel_to_the_best():
    masks = np.zeros((4, 4, 3), bool)
    masks[:2, :, 0] = masks[1:3, :, 1] = masks[0, 0, 2] = True
    lines = nucleus.mask_to_rle("p", masks, np.array([0.6, 0.9, 0.1])).splitlines()
    decoded = [nucleus.rle_decode(line.split(",")[1], (4, 4)) for line in lines]
    assert len(lines) == 2  # nothing is left of the third
    np.testing.assert_array_equal(decoded[0], masks[..., 1])
    np.testing.assert_array_equal(decoded[1], masks[..., 0] & ~masks[..., 1])
    assert nucleus.mask_to_rle("p", masks[..., :0], np.zeros(0)) == "p,"


def test_configs_and_augmentation(kaggle):
    nucleus.NucleusConfig().validate("training")
    nucleus.NucleusInferenceConfig().validate("inference")
    dataset = loaded(kaggle, "train")
    image, (mask, _) = dataset.load_image(0), dataset.load_mask(0)
    changed, moved = nucleus.augmentation()(image, mask, np.random.default_rng(0))
    assert changed.shape == image.shape and changed.dtype == np.uint8 and moved.dtype == bool
    assert (changed != image).any() and moved.shape == mask.shape


class Recorder:
    """Stands in for MaskRCNN; finds two nuclei that overlap, and none in a dark picture."""

    def __init__(self, mode, config, model_dir):
        Recorder.made, self.mode, self.config = self, mode, config

    def load_weights(self, path, by_name=False, exclude=None):
        self.loaded = path

    def detect(self, images):
        masks = np.zeros((*images[0].shape[:2], 2), bool)
        masks[10:20, 10:20, 0] = masks[15:30, 15:30, 1] = True
        count = 2 if images[0].any() else 0
        rois = np.array([[10, 10, 20, 20], [15, 15, 30, 30]])
        found = {"rois": rois, "class_ids": np.ones(2, int), "scores": np.array([0.6, 0.9])}
        return [
            {**{name: array[:count] for name, array in found.items()}, "masks": masks[..., :count]}
        ]

    def train(self, train_set, val_set, **_):
        self.sets = [
            {info["id"].split("_")[0] for info in s.image_info} for s in (train_set, val_set)
        ]


@pytest.fixture
def recorder(monkeypatch):
    from mrcnn import model

    monkeypatch.setattr(model, "MaskRCNN", Recorder)


def test_detect_writes_a_submission_of_pictures_without_masks(tmp_path, recorder, capsys):
    """Every picture has a line, and no pixel is claimed twice: Kaggle refuses both else."""
    for name, boxes in (("bright", BOXES), ("dark", [])):
        write_picture(tmp_path / "stage1_test", name, boxes=boxes)
        for file in (tmp_path / "stage1_test" / name / "masks").iterdir():
            file.unlink()
        (tmp_path / "stage1_test" / name / "masks").rmdir()
    out = tmp_path / "found"
    given = ["--dataset", str(tmp_path), "--subset", "stage1_test", "--out", str(out)]
    nucleus.main(["detect", *given])
    head, *lines = (out / "submit.csv").read_text().splitlines()
    assert head == "ImageId,EncodedPixels"
    assert [line.split(",")[0] for line in lines] == ["bright", "bright", "dark"]
    assert lines[-1] == "dark,"
    masks = [nucleus.rle_decode(line.split(",")[1], (100, 120)) for line in lines[:2]]
    assert [int(mask.sum()) for mask in masks] == [15 * 15, 10 * 10 - 5 * 5]
    assert not (masks[0] & masks[1]).any()
    assert sorted(p.name for p in out.iterdir()) == ["bright.png", "dark.png", "submit.csv"]
    assert Recorder.made.mode == "inference" and Path(Recorder.made.loaded).name == "nucleus.h5"
    assert "bright: 2 nuclei" in capsys.readouterr().out


@pytest.mark.parametrize(
    "given, trained", [([], {"training"}), (["--subset", "stage1_train"], {"training", "0c2550a2"})]
)
def test_the_subset_to_train_on(kaggle, recorder, given, trained):
    nucleus.main(["train", "--dataset", str(kaggle), *given])
    train_set, val_set = ({name[:8] for name in names} for names in Recorder.made.sets)
    assert train_set == trained and val_set == {"0c2550a2"}


def test_stained_pictures_come_more_often_in_training(tmp_path):
    write_picture(tmp_path / "train", "dark")
    write_picture(tmp_path / "train", "bright")
    path = next((tmp_path / "train" / "bright" / "images").iterdir())
    Image.fromarray(np.full((100, 120, 3), 200, np.uint8)).save(path)
    dataset = loaded(tmp_path, "train", bright=3)
    assert [info["id"] for info in dataset.image_info].count("dark") == 1
    assert sum("bright" in info["id"] for info in dataset.image_info) == 3
    assert len({info["id"] for info in dataset.image_info}) == 4
