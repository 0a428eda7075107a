"""samples/coco: the dataset, COCO's measure, and the command line."""

import functools
import http.server
import inspect
import json
import sys
import threading
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import skimage.draw
import skimage.io

from mrcnn.data.inputs import load_image_gt
from mrcnn.geometry.boxes import extract_bboxes

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "samples" / "coco"))

import coco as sample  # noqa: E402
import coco_download  # noqa: E402

HEIGHT, WIDTH = 60, 80
ONE = pytest.approx(1, abs=1e-12)  # COCOeval adds one float64 epsilon to a denominator
CATEGORIES = [{"id": 17, "name": "cat"}, {"id": 18, "name": "dog"}, {"id": 44, "name": "bottle"}]


def rle(mask):
    """Uncompressed RLE: runs of 0 and 1 in turn, down the columns, zeros first."""
    flat = np.concatenate([[0], mask.ravel(order="F").astype(np.int8)])
    starts = np.flatnonzero(np.diff(flat))
    counts = np.diff(np.concatenate([[0], starts, [mask.size]])).tolist()
    return {"size": list(mask.shape), "counts": counts}


def ellipse(y, x, height, width):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[skimage.draw.ellipse(y, x, height, width, mask.shape)] = True
    return mask


def annotation(number, image_id, category_id, mask, segmentation=None, iscrowd=0):
    y1, x1, y2, x2 = extract_bboxes(mask[:, :, None])[0].tolist()
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "iscrowd": iscrowd,
        "area": int(mask.sum()),
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "segmentation": segmentation or rle(mask),
    }


def rectangle(number, image_id, category_id, y1, x1, y2, x2):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y1:y2, x1:x2] = True
    polygon = [[x1, y1, x2, y1, x2, y2, x1, y2]]
    return annotation(number, image_id, category_id, mask, polygon)


def write_coco(folder, file_name="annotations/instances_val2017.json", pictures="val2017"):
    """Three pictures: two with instances, the first of them with a crowd, and an empty one."""
    annotations = [
        rectangle(1, 139, 17, 5, 10, 30, 40),
        annotation(2, 139, 18, ellipse(40, 60, 12, 10)),
        annotation(3, 139, 17, ellipse(50, 20, 8, 18), iscrowd=1),
        rectangle(4, 285, 44, 20, 30, 55, 45),
    ]
    (folder / pictures).mkdir(parents=True, exist_ok=True)
    images = []
    for image_id in (139, 285, 632):
        name = f"{image_id:012}.png"
        image = np.random.default_rng(image_id).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
        skimage.io.imsave(folder / pictures / name, image, check_contrast=False)
        images.append({"id": image_id, "file_name": name, "height": HEIGHT, "width": WIDTH})
    path = folder / file_name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": CATEGORIES})
    )
    return folder


def load(folder, subset="val", year="2017", **options):
    dataset = sample.CocoDataset()
    truth = dataset.load_coco(str(folder), subset, year, return_coco=True, **options)
    dataset.prepare()
    return dataset, truth


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return load(write_coco(tmp_path_factory.mktemp("coco")))


class Oracle:
    """Stands in for MaskRCNN: detects what the dataset says is in the picture, crowds included."""

    def __init__(self, dataset, alter=lambda result: result):
        self.dataset, self.alter = dataset, alter
        self.by_image = {dataset.load_image(i).tobytes(): i for i in dataset.image_ids}

    def detect(self, images, verbose=0):
        masks, class_ids = self.dataset.load_mask(self.by_image[images[0].tobytes()])
        found = {
            "rois": extract_bboxes(masks),
            "class_ids": np.abs(class_ids),
            "scores": np.linspace(0.9, 0.8, len(class_ids), dtype=np.float32),
            "masks": masks,
        }
        return [self.alter(found)]


# -- The names users import -------------------------------------------------------------------


def test_names_and_signatures_are_those_of_the_original():
    golden = json.loads((ROOT / "tests" / "golden" / "signatures.json").read_text())
    wanted = golden["matterport_master"]["samples/coco/coco.py"]

    def arguments(function):
        return [
            p.name if p.default is p.empty else f"{p.name}={p.default!r}"
            for p in inspect.signature(function).parameters.values()
        ]

    for name, expected in wanted["functions"].items():
        assert arguments(getattr(sample, name)) == expected
    for name, method in wanted["classes"]["CocoDataset"]["methods"].items():
        expected = [a.replace("DEFAULT_DATASET_YEAR", "'2014'") for a in method["args"]]
        assert arguments(getattr(sample.CocoDataset, name)) == expected
    config = sample.CocoConfig()
    assert (config.NAME, config.IMAGES_PER_GPU, config.NUM_CLASSES) == ("coco", 2, 81)
    assert Path(sample.ROOT_DIR) == ROOT
    assert Path(sample.COCO_MODEL_PATH) == ROOT / "mask_rcnn_coco.h5"
    assert Path(sample.DEFAULT_LOGS_DIR) == ROOT / "logs"


# -- Dataset ----------------------------------------------------------------------------------


def test_load_coco(loaded):
    dataset, _ = loaded
    assert dataset.class_names == ["BG", "cat", "dog", "bottle"]
    assert [info["id"] for info in dataset.image_info] == [139, 285, 632]
    assert dataset.load_image(2).shape == (HEIGHT, WIDTH, 3)
    assert dataset.image_reference(0) == "http://cocodataset.org/#explore?id=139"


@pytest.mark.parametrize(
    "file_name, pictures",
    [
        ("annotations/instances_val2017.json", "images/val2017"),
        ("annotations/instances_val2017.json", "images"),
        ("instances_val2017.json", "."),
    ],
)
def test_other_folder_layouts(tmp_path, file_name, pictures):
    dataset, _ = load(write_coco(tmp_path, file_name, pictures))
    assert dataset.load_image(0).shape == (HEIGHT, WIDTH, 3)


def test_minival_has_the_pictures_of_val(tmp_path):
    write_coco(tmp_path, "annotations/instances_minival2014.json", "val2014")
    dataset, _ = load(tmp_path, "minival", "2014")
    assert Path(dataset.image_info[0]["path"]).parent.name == "val2014"


def test_class_ids_choose_classes_and_pictures(loaded):
    folder = Path(loaded[0].image_info[0]["path"]).parents[1]
    dataset, _ = load(folder, class_ids=[44])
    assert dataset.class_names == ["BG", "bottle"]
    assert [info["id"] for info in dataset.image_info] == [285]
    dataset, _ = load(folder, class_ids=[17])
    assert dataset.load_mask(0)[1].tolist() == [1, -1]


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"annotations.instances_val2014\.json.*year"):
        load(tmp_path, "val", "2014")
    write_coco(tmp_path, pictures="elsewhere")
    with pytest.raises(FileNotFoundError, match=r"pictures.*val2017.000000000139\.png"):
        load(tmp_path)


def test_load_mask(loaded):
    dataset, _ = loaded
    masks, class_ids = dataset.load_mask(0)
    assert masks.dtype == bool and class_ids.dtype == np.int32
    assert class_ids.tolist() == [1, 2, -1]  # cat, dog, a crowd of cats
    assert masks[5:30, 10:40, 0].all() and masks[:, :, 0].sum() == 25 * 30
    np.testing.assert_array_equal(masks[:, :, 1], ellipse(40, 60, 12, 10))
    np.testing.assert_array_equal(masks[:, :, 2], ellipse(50, 20, 8, 18))


@pytest.mark.parametrize(
    "segmentation",
    [[[3, 3, 3.2, 3, 3.2, 3.2]], [[3, 3, 20, 20]], [], rle(np.zeros((HEIGHT, WIDTH), bool))],
    ids=["below a pixel", "two corners", "nothing", "empty RLE"],
)
def test_instances_that_cover_no_pixel_are_left_out(loaded, segmentation):
    folder = Path(loaded[0].image_info[0]["path"]).parents[1]
    dataset, _ = load(folder)
    assert dataset.load_mask(0)[1].tolist() == [1, 2, -1]
    dataset.image_info[0]["annotations"][1]["segmentation"] = segmentation
    assert dataset.load_mask(0)[1].tolist() == [1, -1]


def test_a_picture_without_instances_can_be_trained_on(loaded):
    dataset, _ = loaded
    masks, class_ids = dataset.load_mask(2)
    assert masks.shape == (HEIGHT, WIDTH, 0) and class_ids.shape == (0,)
    config = sample.CocoConfig()
    config.IMAGE_MIN_DIM = config.IMAGE_MAX_DIM = 64
    assert load_image_gt(dataset, config, 2)[4].shape[-1] == 0


def test_a_mask_of_another_size_fills_the_picture_if_a_crowd_and_is_refused_if_not(loaded):
    folder = Path(loaded[0].image_info[0]["path"]).parents[1]
    dataset, _ = load(folder)
    small = rle(np.ones((HEIGHT - 1, WIDTH), bool))
    crowd = dataset.image_info[0]["annotations"][2]
    crowd["segmentation"] = small
    assert dataset.load_mask(0)[0][:, :, 2].all()
    crowd["iscrowd"] = 0
    with pytest.raises(ValueError, match=r"annotation 3 is 59 high.*000000000139\.png"):
        dataset.load_mask(0)


def test_annotations_as_masks(loaded):
    dataset, _ = loaded
    mask = ellipse(30, 30, 9, 7)
    for segmentation in (rle(mask), dataset.annToRLE({"segmentation": rle(mask)}, HEIGHT, WIDTH)):
        decoded = dataset.annToMask({"segmentation": segmentation}, HEIGHT, WIDTH)
        np.testing.assert_array_equal(decoded, mask)
    two_parts = [[0, 0, 10, 0, 10, 10, 0, 10], [20, 20, 30, 20, 30, 30, 20, 30]]
    assert dataset.annToMask({"segmentation": two_parts}, HEIGHT, WIDTH).sum() == 200


# -- Evaluation -------------------------------------------------------------------------------


@pytest.mark.parametrize("eval_type", ["bbox", "segm"])
def test_ground_truth_as_detections_scores_1(loaded, eval_type):
    # The crowd is among the detections: one that lies on a crowd must not count as wrong.
    dataset, truth = loaded
    evaluation = sample.evaluate_coco(Oracle(dataset), dataset, truth, eval_type)
    assert evaluation.params.imgIds == [139, 285, 632]
    assert evaluation.stats[0] == ONE  # AP
    assert evaluation.stats[8] == ONE  # AR


def test_masks_are_measured_apart_from_boxes(loaded):
    def keep_corners(found):
        masks = np.zeros_like(found["masks"])
        for i, (y1, x1, y2, x2) in enumerate(found["rois"]):
            masks[y1, x1, i] = masks[y2 - 1, x2 - 1, i] = True
        return {**found, "masks": masks}

    dataset, truth = loaded
    oracle = Oracle(dataset, keep_corners)
    assert sample.evaluate_coco(oracle, dataset, truth, "bbox").stats[0] == ONE
    assert sample.evaluate_coco(oracle, dataset, truth, "segm").stats[0] == 0.0


def test_an_instances_size_is_the_area_of_its_mask(tmp_path):
    # A thin diagonal is small (below 32 x 32 pixels), its box is not. A wrong one spoils the
    # precision of the small ones; if its box decided, it would be left out there.
    write_coco(tmp_path)
    dataset, truth = load(tmp_path)

    def with_diagonal(found):
        diagonal = np.zeros((HEIGHT, WIDTH, 1), bool)
        diagonal[np.arange(HEIGHT), np.arange(HEIGHT)] = True
        return {
            "rois": np.concatenate([found["rois"], [[0, 0, HEIGHT, HEIGHT]]]),
            "class_ids": np.append(found["class_ids"], 2),
            "scores": np.append(found["scores"], 0.99),
            "masks": np.concatenate([found["masks"], diagonal], axis=2),
        }

    evaluation = sample.evaluate_coco(Oracle(dataset, with_diagonal), dataset, truth, "segm")
    # Dogs: three wrong ones score higher than the right one, so AP 1/4; cats and bottles: 1.
    assert evaluation.stats[3] == pytest.approx(0.75, abs=1e-12)  # AP of small ones


def test_limit_and_image_ids(loaded):
    dataset, truth = loaded
    evaluation = sample.evaluate_coco(Oracle(dataset), dataset, truth, limit=1)
    assert evaluation.params.imgIds == [139]
    evaluation = sample.evaluate_coco(Oracle(dataset), dataset, truth, image_ids=np.array([1]))
    assert evaluation.params.imgIds == [285]
    with pytest.raises(ValueError, match="keypoints"):
        sample.evaluate_coco(Oracle(dataset), dataset, truth, "keypoints")


def test_no_detections_at_all(loaded, capsys):
    def nothing(found):
        return {
            "rois": np.zeros((0, 4), np.int32),
            "class_ids": np.zeros(0, np.int32),
            "scores": np.zeros(0, np.float32),
            "masks": np.zeros((HEIGHT, WIDTH, 0), bool),
        }

    dataset, truth = loaded
    evaluation = sample.evaluate_coco(Oracle(dataset, nothing), dataset, truth, "segm")
    assert evaluation.stats[0] == 0.0
    assert "Nothing was detected in any picture" in capsys.readouterr().out


def test_results_have_cocos_form(loaded):
    dataset, _ = loaded
    mask = np.zeros((HEIGHT, WIDTH, 1), bool)
    mask[10:20, 30:35] = True
    results = sample.build_coco_results(
        dataset, [139], np.array([[10.04, 30.26, 20, 35]]), np.array([3]), np.float32([0.5]), mask
    )
    (result,) = json.loads(json.dumps(results))
    assert result.pop("segmentation")["size"] == [HEIGHT, WIDTH]
    # 35 - 30.3 is 4.7000000000000028 in binary; a file wants 4.7.
    assert result == {
        "image_id": 139,
        "category_id": 44,
        "bbox": [30.3, 10.0, 4.7, 10.0],
        "score": 0.5,
    }
    assert sample.build_coco_results(dataset, [139], None, None, None, None) == []


# -- Command line -----------------------------------------------------------------------------


class Recorder:
    """Stands in for MaskRCNN and writes down what is asked of it."""

    made: "Recorder"

    def __init__(self, mode, config, model_dir):
        Recorder.made = self
        self.mode, self.config, self.model_dir = mode, config, model_dir
        self.loaded, self.stages = [], []

    def find_last(self):
        return "last.h5"

    def get_imagenet_weights(self):
        return "imagenet.h5"

    def load_weights(self, path, by_name=False):
        self.loaded.append((path, by_name))

    def train(self, train_set, val_set, learning_rate, epochs, layers, augmentation=None):
        self.stages.append((layers, epochs, learning_rate))
        self.sets, self.augmentation = (train_set, val_set), augmentation


@pytest.fixture
def recorder(monkeypatch):
    monkeypatch.setattr(sample.modellib, "MaskRCNN", Recorder)


def test_train_runs_three_stages_with_flips(tmp_path, recorder):
    for subset in ("train", "valminusminival", "minival"):
        pictures = "train2014" if subset == "train" else "val2014"
        write_coco(tmp_path, f"annotations/instances_{subset}2014.json", pictures)
    sample.main(["train", "--dataset", str(tmp_path), "--model", "imagenet", "--logs", "here"])
    model = Recorder.made
    assert (model.mode, model.model_dir, model.config.BATCH_SIZE) == ("training", "here", 2)
    assert model.loaded == [("imagenet.h5", True)]
    assert model.stages == [("heads", 40, 0.001), ("4+", 120, 0.001), ("all", 160, 0.0001)]
    assert [s.num_images for s in model.sets] == [6, 3]  # train and valminusminival; minival

    image, mask = np.arange(24).reshape(2, 4, 3), np.arange(8).reshape(2, 4, 1)
    rng = np.random.default_rng(0)
    flipped = 0
    for _ in range(20):
        new_image, new_mask = model.augmentation(image, mask, rng)
        step = -1 if (new_image != image).any() else 1
        np.testing.assert_array_equal(new_image, image[:, ::step])
        np.testing.assert_array_equal(new_mask, mask[:, ::step])
        flipped += step == -1
    assert 0 < flipped < 20


def test_train_of_2017_has_no_minival(tmp_path, recorder):
    write_coco(tmp_path, "annotations/instances_train2017.json", "train2017")
    write_coco(tmp_path)
    sample.main(["train", "--dataset", str(tmp_path), "--year", "2017", "--model", "last"])
    assert Recorder.made.loaded == [("last.h5", True)]
    assert [s.num_images for s in Recorder.made.sets] == [3, 3]


def test_a_short_run_needs_no_editing(tmp_path, recorder):
    for subset in ("train", "val"):
        write_coco(tmp_path, f"annotations/instances_{subset}2017.json", f"{subset}2017")
    given = ["train", "--dataset", str(tmp_path), "--year", "2017", "--model", "last"]
    settings = ["--set", "STEPS_PER_EPOCH=5", "--set", "IMAGE_MAX_DIM=256"]
    sample.main([*given, "--epochs", "1", "2", "3", *settings])
    model = Recorder.made
    assert [stage[:2] for stage in model.stages] == [("heads", 1), ("4+", 2), ("all", 3)]
    assert (model.config.STEPS_PER_EPOCH, model.config.IMAGE_SHAPE[0]) == (5, 256)
    with pytest.raises(SystemExit, match="Did you mean STEPS_PER_EPOCH"):
        sample.main([*given, "--set", "STEPS_PER_EPOCHS=5"])


@pytest.mark.parametrize("there", [True, False])
def test_the_published_weights_are_fetched_if_absent(tmp_path, monkeypatch, recorder, there):
    path = tmp_path / "mask_rcnn_coco.h5"
    fetched = []
    monkeypatch.setattr(sample, "COCO_MODEL_PATH", str(path))
    monkeypatch.setattr(sample.utils, "download_trained_weights", fetched.append)
    if there:
        path.write_bytes(b"")
    model = Recorder("inference", None, "")
    assert sample._weights_path("coco", model) == str(path)
    assert fetched == ([] if there else [str(path)])


@pytest.mark.parametrize(
    "given, download",
    [([], False), (["--download"], True), (["--download", "True"], True),
     (["--download", "False"], False)],
)  # fmt: skip
def test_arguments(given, download):
    args = sample._parse(["evaluate", "--dataset", "d", "--model", "m.h5", *given])
    assert (args.download, args.year, args.limit, args.eval_type) == (download, "2014", 500, "bbox")


@pytest.mark.parametrize("given", [["evaluate", "--dataset", "d"], ["look"], []])
def test_wrong_arguments_are_refused(given, capsys):
    with pytest.raises(SystemExit):
        sample._parse(given)
    assert "error" in capsys.readouterr().err


def test_evaluate_with_a_small_network(tmp_path, monkeypatch, capsys):
    class Small(sample.InferenceConfig):
        BACKBONE = "resnet50"
        NUM_CLASSES = 1 + len(CATEGORIES)
        IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64
        RPN_ANCHOR_SCALES = (4, 8, 16, 32, 64)
        POST_NMS_ROIS_INFERENCE = 20

    write_coco(tmp_path)
    weights = tmp_path / "initial.h5"
    keras.utils.set_random_seed(0)
    sample.modellib.MaskRCNN("inference", Small(), str(tmp_path)).save_weights(weights)
    monkeypatch.setattr(sample, "InferenceConfig", Small)
    given = ["--dataset", str(tmp_path), "--year", "2017", "--model", str(weights), "--limit", "2"]
    sample.main(["evaluate", *given])
    printed = capsys.readouterr().out
    assert "Running COCO evaluation on 2 images." in printed
    assert "Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ]" in printed
    assert "s/image" in printed
    assert "Nothing was detected" not in printed  # random weights find something at any score


# -- Download ---------------------------------------------------------------------------------


class RangeHandler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and goes on where it is asked to."""

    def do_GET(self):
        content = (Path(self.directory) / self.path.rsplit("/", 1)[-1]).read_bytes()
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.server.starts.append(start)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    handler = functools.partial(RangeHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.folder, server.starts = folder, []
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_auto_download(tmp_path, server, monkeypatch):
    source = write_coco(tmp_path / "source")
    for archive, part in [("val2017", "val2017"), ("annotations_trainval2017", "annotations")]:
        with zipfile.ZipFile(server.folder / f"{archive}.zip", "w") as file:
            for path in sorted((source / part).iterdir()):
                file.write(path, path.relative_to(source))
    monkeypatch.setattr(coco_download, "COCO_URL", server.url)
    # 100 bytes came before an earlier run broke off.
    target = tmp_path / "target"
    target.mkdir()
    start = (server.folder / "val2017.zip").read_bytes()[:100]
    (target / "val2017.zip.part").write_bytes(start)

    dataset, _ = load(target, auto_download=True)
    assert dataset.num_images == 3 and dataset.load_image(0).shape == (HEIGHT, WIDTH, 3)
    assert server.starts == [100, 0]
    assert sorted(p.name for p in target.iterdir()) == ["annotations", "val2017"]
    load(target, auto_download=True)
    assert len(server.starts) == 2  # what is there is not fetched again


def test_nothing_is_unpacked_outside_the_folder(tmp_path, server):
    with zipfile.ZipFile(server.folder / "evil.zip", "w") as file:
        file.writestr("../../outside.txt", "x")
        file.writestr("/outside.txt", "x")
    into = tmp_path / "deep" / "er"
    wanted = str(into / "outside.txt")
    coco_download.fetch_and_unpack(f"{server.url}/evil.zip", str(into), wanted)
    assert [p for p in tmp_path.rglob("outside.txt")] == [into / "outside.txt"]


def test_what_is_no_zip_is_named(tmp_path, server):
    (server.folder / "page.zip").write_text("<html>gone</html>")
    with pytest.raises(OSError, match=r"page\.zip is no sound zip file"):
        coco_download.fetch_and_unpack(f"{server.url}/page.zip", str(tmp_path), "wanted")


def test_minival_of_another_year_is_refused(tmp_path):
    with pytest.raises(ValueError, match="for 2017 use val"):
        sample.CocoDataset().auto_download(str(tmp_path), "minival", "2017")
