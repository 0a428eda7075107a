"""The balloon sample on a few drawn pictures: labels, training, colour splash, command line."""

import http.server
import json
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import skimage.draw
from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "samples" / "balloon"))

import balloon  # noqa: E402

HEIGHT, WIDTH = 60, 80
POLYGON = {"name": "polygon", "all_points_x": [10, 30, 30, 10], "all_points_y": [5, 5, 25, 25]}
ELLIPSE = {"name": "ellipse", "cx": 55, "cy": 35, "rx": 12, "ry": 20}
RECT = {"name": "rect", "x": 40, "y": 10, "width": 20, "height": 30}


def write_balloons(folder, version=1):
    """`train` of two pictures and `val` of one, labelled with VIA."""
    for subset, pictures in {
        "train": {"a.png": [POLYGON, ELLIPSE], "b.png": [RECT]},
        "val": {"c.png": [POLYGON]},
    }.items():
        (folder / subset).mkdir(parents=True)
        content = {}
        for number, (name, shapes) in enumerate(pictures.items()):
            image = np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
            Image.fromarray(image).save(folder / subset / name)
            regions = [{"shape_attributes": shape, "region_attributes": {}} for shape in shapes]
            if version == 1:
                regions = {str(i): region for i, region in enumerate(regions)}
            content[f"{name}1"] = {"filename": name, "size": 1, "regions": regions}
        (folder / subset / "via_region_data.json").write_text(json.dumps(content))
    return folder


def load(folder, subset, cls=balloon.BalloonDataset):
    dataset = cls()
    dataset.load_balloon(str(folder), subset)
    dataset.prepare()
    return dataset


def square(top=20, left=30):
    mask = np.zeros((HEIGHT, WIDTH, 1), bool)
    mask[top : top + 20, left : left + 20] = True
    return mask


class FindsASquare:
    """Stands in for a model."""

    def detect(self, images):
        return [{"masks": square()} for _ in images]


def assert_splashed(splash, image, atol=0):
    inside = square()[..., 0]
    np.testing.assert_allclose(splash[inside].astype(int), image[inside], atol=atol)
    grey = splash[~inside].astype(int)
    assert np.ptp(grey, axis=-1).max() <= atol and grey.std() > 10


# -- The names that scripts import ------------------------------------------------------------


def test_config():
    config = balloon.BalloonConfig()
    assert (config.NAME, config.NUM_CLASSES, config.BATCH_SIZE) == ("balloon", 2, 2)
    assert (config.STEPS_PER_EPOCH, config.DETECTION_MIN_CONFIDENCE) == (100, 0.9)
    config.validate("training")
    assert Path(balloon.ROOT_DIR) == ROOT
    assert Path(balloon.COCO_WEIGHTS_PATH) == ROOT / "mask_rcnn_coco.h5"
    assert Path(balloon.DEFAULT_LOGS_DIR) == ROOT / "logs"


@pytest.mark.parametrize("version", [1, 2])
def test_dataset(tmp_path, version):
    dataset = load(write_balloons(tmp_path, version), "train")
    assert dataset.class_names == ["BG", "balloon"]
    assert [info["id"] for info in dataset.image_info] == ["a.png", "b.png"]
    assert {info["source"] for info in dataset.image_info} == {"balloon"}
    assert dataset.image_reference(0) == str(tmp_path / "train" / "a.png")
    np.testing.assert_array_equal(
        dataset.load_image(1), np.asarray(Image.open(tmp_path / "train" / "b.png"))
    )
    mask, class_ids = dataset.load_mask(0)
    assert mask.shape == (HEIGHT, WIDTH, 2) and mask.dtype == bool
    assert class_ids.tolist() == [1, 1] and class_ids.dtype == np.int32
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[5:26, 10:31] = True  # a whole number is a pixel's centre, and the edge belongs to it
    np.testing.assert_array_equal(mask[..., 0], expected)
    assert mask[..., 1].sum() == pytest.approx(np.pi * 12 * 20, rel=0.02)  # whole pixels
    assert load(tmp_path, "val").num_images == 1


def test_labels_that_are_not_there_are_told(tmp_path):
    with pytest.raises(balloon.formats.FormatError, match="nothing_here"):
        balloon.BalloonDataset().load_balloon(str(tmp_path / "nothing_here"), "train")


def test_a_load_balloon_of_old_keeps_its_masks(tmp_path):
    class Old(balloon.BalloonDataset):
        def load_balloon(self, dataset_dir, subset):
            self.add_class("balloon", 1, "balloon")
            common = dict(path="a.png", width=WIDTH, height=HEIGHT)
            self.add_image("balloon", image_id="a.png", polygons=[POLYGON, POLYGON], **common)
            self.add_image("balloon", image_id="b.png", polygons=[], **common)
            self.add_image("other", image_id="c.png", polygons=[], **common)

    dataset = load(tmp_path, "train", Old)
    mask, class_ids = dataset.load_mask(0)
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[skimage.draw.polygon(POLYGON["all_points_y"], POLYGON["all_points_x"])] = True
    np.testing.assert_array_equal(mask, np.stack([expected, expected], axis=-1))
    assert class_ids.tolist() == [1, 1]
    assert dataset.load_mask(1)[0].shape == (HEIGHT, WIDTH, 0)
    assert dataset.image_reference(0) == "a.png"
    # A source that this class knows nothing of is the base class's.
    assert dataset.load_mask(2)[0].size == 0 and dataset.image_reference(2) == ""


# -- Splash -----------------------------------------------------------------------------------


@pytest.fixture
def picture(tmp_path, monkeypatch):
    """A picture's path; what is written goes to the folder `work` beside it."""
    image = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "party.png")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "party.png"


def test_splash_of_a_picture(picture, capsys):
    names = [balloon.detect_and_color_splash(FindsASquare(), str(picture)) for _ in range(3)]
    assert len(set(names)) == 3  # within a second, too, nothing is overwritten
    assert names[0].startswith("splash_2") and names[0].endswith(".png")
    assert f"Saved to {names[0]}" in capsys.readouterr().out
    image = np.asarray(Image.open(picture))
    for name in names:
        assert_splashed(np.asarray(Image.open(name)), image)
    with pytest.raises(ValueError, match="image_path or a video_path"):
        balloon.detect_and_color_splash(FindsASquare())


def test_splash_of_a_web_address(picture):
    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(picture.parent))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            address = f"http://127.0.0.1:{server.server_port}"
            name = balloon.detect_and_color_splash(FindsASquare(), f"{address}/party.png?size=big")
            with pytest.raises(balloon.PictureError, match=r"none\.png can't be fetched: .*404"):
                balloon.detect_and_color_splash(FindsASquare(), f"{address}/none.png")
        finally:
            server.shutdown()
            thread.join()
    assert_splashed(np.asarray(Image.open(name)), np.asarray(Image.open(picture)))


def write_video(path, count=6):
    with balloon.VideoWriter(path, 12.5) as video:
        for i in range(count):
            y, x = np.mgrid[:HEIGHT, :WIDTH]
            video.write(np.stack([3 * x, 3 * y, 0 * x + 20 * i], axis=-1).astype(np.uint8))
    return str(path)


def test_splash_of_a_video(picture, capsys):
    pytest.importorskip("imageio_ffmpeg")
    path = write_video(picture.with_name("party.mp4"))
    name = balloon.detect_and_color_splash(FindsASquare(), video_path=path)
    printed = capsys.readouterr().out
    assert "80 x 60, 12.5 frames/s, 6 frames; its sound is left out" in printed
    with balloon.Video(path) as original, balloon.Video(name) as splash:
        assert (splash.height, splash.width, splash.fps) == (HEIGHT, WIDTH, 12.5)
        pairs = list(zip(original, splash, strict=True))
    assert len(pairs) == 6
    middle, corner = (slice(28, 32), slice(38, 42)), (slice(0, 12), slice(0, 12))
    for image, splashed in pairs:
        # The codec loses some, most of it in colours at edges: look away from these.
        assert np.abs(splashed[middle].astype(int) - image[middle]).max() < 20
        assert np.ptp(splashed[corner].astype(int), axis=-1).max() < 20


def test_ctrl_c_leaves_what_was_done(picture, capsys):
    pytest.importorskip("imageio_ffmpeg")
    path = write_video(picture.with_name("party.mp4"))

    class Interrupted(FindsASquare):
        left = 4

        def detect(self, images):
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            return super().detect(images)

    with pytest.raises(KeyboardInterrupt):
        balloon.detect_and_color_splash(Interrupted(), video_path=path)
    (name,) = Path().glob("splash_*.mp4")
    assert f"Interrupted after 4 of 6 frames, which are in {name}" in capsys.readouterr().err
    with balloon.Video(name) as video:
        assert len(list(video)) == 4


def test_a_video_without_the_package(picture, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    path = picture.with_name("party.mp4")
    path.touch()
    with pytest.raises(balloon.VideoError, match=r'pip install "imageio-ffmpeg'):
        balloon.detect_and_color_splash(FindsASquare(), video_path=str(path))
    assert not list(Path().iterdir())


# -- Command line -----------------------------------------------------------------------------


class Recorder:
    """Stands in for MaskRCNN and writes down what is asked of it."""

    made: "Recorder"

    def __init__(self, mode, config, model_dir):
        Recorder.made = self
        self.mode, self.config, self.model_dir = mode, config, model_dir

    def load_weights(self, path, by_name=False, exclude=None):
        self.loaded, self.excluded = path, exclude

    def train(self, train_set, val_set, learning_rate, epochs, layers):
        self.trained = (train_set.num_images, val_set.num_images, learning_rate, epochs, layers)


@pytest.fixture
def recorder(monkeypatch):
    monkeypatch.setattr(balloon.modellib, "MaskRCNN", Recorder)


def test_the_network_follows_the_weights(tmp_path, recorder):
    write_balloons(tmp_path / "data")
    given = ["train", f"--dataset={tmp_path / 'data'}", "--weights=nucleus", "--logs=here"]
    assert balloon.main([*given, "--set", "STEPS_PER_EPOCH=7"]) == 0
    model = Recorder.made
    assert (model.mode, model.model_dir) == ("training", "here")
    assert model.trained == (2, 1, 0.001, 30, "heads")
    config = model.config
    assert (config.BACKBONE, config.TOP_DOWN_PYRAMID_SIZE) == ("efficientnet_lite0", 96)
    assert (config.NAME, config.NUM_CLASSES, config.STEPS_PER_EPOCH) == ("balloon", 2, 7)
    assert config.IMAGE_MAX_DIM == balloon.Config.IMAGE_MAX_DIM  # balloons are larger than nuclei
    assert config.MEAN_PIXEL.tolist() == [127, 127, 127]
    # Both networks have one class, but it is another one.
    assert model.excluded == balloon.CLASS_LAYERS


def test_splash_keeps_the_config_in_the_weights(picture, recorder, monkeypatch):
    monkeypatch.setattr(Recorder, "detect", FindsASquare.detect, raising=False)
    assert balloon.main(["splash", "--weights=nucleus", f"--image={picture}"]) == 0
    config = Recorder.made.config
    assert (config.NAME, config.DETECTION_MIN_CONFIDENCE) == ("nucleus", 0.7)
    assert config.BATCH_SIZE == 1 and Recorder.made.excluded is None


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["splash", "--weights", "nucleus"], "--image or --video"),
        (["splash", "--weights", "nucleus", "--image", "a", "--video", "b"], "--image or --video"),
        (["train", "--weights", "nucleus"], "train needs --dataset"),
        (["train", "--dataset", "d"], "--weights"),
        (["burst", "--weights", "nucleus"], "invalid choice"),
    ],
)
def test_wrong_arguments_are_refused(arguments, said, capsys):
    with pytest.raises(SystemExit):
        balloon.main(arguments)
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--weights", "none.h5", "--image", "a.png"], "none.h5"),
        (["--weights", "last", "--image", "a.png"], "Could not find weight files"),
        (["--weights", "nucleus", "--image", "a.png"], "a.png: there is no such file."),
        (["--weights", "nucleus", "--video", "0"], "There is no camera 0"),
        (["--weights", "nucleus", "--image", "a.png", "--set", "POOL=3"], "no POOL"),
    ],
)
def test_errors_are_sentences(arguments, said, tmp_path, recorder, capsys):
    assert balloon.main(["splash", "--logs", str(tmp_path), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("balloon.py splash: ") and said in error and "Traceback" not in error


def test_ctrl_c_is_told_by_the_exit_code(recorder, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(balloon, "detect_and_color_splash", interrupted)
    assert balloon.main(["splash", "--weights", "nucleus", "--image", "a.png"]) == 130


def test_train_then_splash_by_the_last_checkpoint(picture, monkeypatch, capsys):
    """One step of a real network, begun with the weights that come with the package."""
    from mrcnn.train.keras_model import TrainingModel

    compile_graph = TrainingModel.compile  # run eagerly, which spares the tracing
    monkeypatch.setattr(
        TrainingModel,
        "compile",
        lambda self, **kwargs: compile_graph(self, **{**kwargs, "run_eagerly": True}),
    )
    data = write_balloons(picture.parent / "data")
    logs = f"--logs={picture.parent / 'logs'}"
    small = ["IMAGES_PER_GPU=1", "STEPS_PER_EPOCH=1", "VALIDATION_STEPS=0", "IMAGE_MAX_DIM=128"]
    small += ["RPN_ANCHOR_SCALES=[8, 16, 32, 64, 128]", "DETECTION_MIN_CONFIDENCE=0.0"]
    given = ["--dataset", str(data), "--weights=nucleus", "--layers=all", "--epochs=1"]
    settings = [word for setting in small for word in ("--set", setting)]
    assert balloon.main(["train", *given, logs, *settings]) == 0
    assert balloon.main(["splash", "--weights=last", logs, f"--image={picture}"]) == 0
    printed = capsys.readouterr().out
    assert "Training all up to epoch 1" in printed and "mask_rcnn_balloon_0001.h5" in printed
    (name,) = Path().glob("splash_*.png")
    assert Image.open(name).size == (WIDTH, HEIGHT)
