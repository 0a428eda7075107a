"""Balloons: train on your own class, then keep the colour of what is found (a colour splash).

    python balloon.py train  --dataset=balloon --weights=coco
    python balloon.py train  --dataset=balloon --weights=nucleus --layers=all --epochs=10
    python balloon.py splash --weights=last --image=party.jpg
    python balloon.py splash --weights=mask_rcnn_balloon.h5 --video=party.mp4

--weights is "coco", "imagenet" or "balloon" (fetched if absent), "nucleus" (comes with the
package: a small network, and no download), "last" (the newest checkpoint under --logs) or the
path of a weight file. The network is built to fit them.

The dataset's folders `train` and `val` hold pictures and the file that the VGG Image Annotator
(VIA) made of them. To train on another class, copy this file and change the names; for more
classes, or labels of another tool, see `mrcnn train`, which needs no program.
"""

import argparse
import contextlib
import datetime
import os
import sys
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence

ROOT_DIR = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.append(ROOT_DIR)  # so that the sample runs without installing the package

from mrcnn.errors import UsageError, plain_interrupts

if __name__ == "__main__":
    plain_interrupts("balloon.py")  # the imports take seconds

import numpy as np

from mrcnn.devices import quiet_tensorflow
from mrcnn.extras import how_to_install
from mrcnn.progress import Progress

with quiet_tensorflow():
    from mrcnn import model as modellib
from mrcnn import utils
from mrcnn.cli.arguments import add_set_argument
from mrcnn.cli.configs import apply_setting
from mrcnn.config import Config, ConfigError
from mrcnn.data import formats
from mrcnn.data.pictures import PictureError, read_picture, write_png
from mrcnn.data.video import Video, VideoError, VideoWriter
from mrcnn.detect.configs import config_from_weights
from mrcnn.drawing.splash import color_splash
from mrcnn.geometry.regions import polygon_mask
from mrcnn.train.checkpoints import find_last
from mrcnn.weights.download import DownloadError, weights_path
from mrcnn.weights.errors import WeightsError
from mrcnn.weights.inspection import WeightsInfo, inspect_weights

COCO_WEIGHTS_PATH = os.path.join(ROOT_DIR, "mask_rcnn_coco.h5")
DEFAULT_LOGS_DIR = os.path.join(ROOT_DIR, "logs")

# The layers whose shapes follow the classes, and which know nothing of new ones.
CLASS_LAYERS = ["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask"]

# -- Hyper-parameters -------------------------------------------------------------------------


class BalloonConfig(Config):
    """Training on balloons."""

    NAME = "balloon"
    IMAGES_PER_GPU = 2  # fits into 12 GB
    NUM_CLASSES = 1 + 1  # background + balloon
    STEPS_PER_EPOCH = 100
    DETECTION_MIN_CONFIDENCE = 0.9  # a balloon that may be none stays grey


# -- Dataset ----------------------------------------------------------------------------------


class BalloonDataset(utils.Dataset):
    """Pictures of balloons, outlined with VIA."""

    def load_balloon(self, dataset_dir: str, subset: str) -> None:
        """Add the pictures of a subset; call `prepare` afterwards.

        dataset_dir: holds a folder of that name with pictures and VIA's JSON file.
        subset: "train" or "val". Raises FormatError where the labels can't be read.
        """
        self.add_class("balloon", 1, "balloon")
        labelled = formats.open(dataset_dir, "via", subset, class_name="balloon")
        for note in labelled.notes:
            print("NOTE:", note)
        for number, info in enumerate(labelled.image_info):
            self.add_image(
                "balloon",
                image_id=info["id"],
                path=info["path"],
                labelled=labelled,  # what load_image and load_mask need is kept with the picture
                number=number,
            )

    def load_image(self, image_id: int) -> np.ndarray:
        """[height, width, 3] RGB, upright as it was when it was labelled."""
        info = self.image_info[image_id]
        if "labelled" not in info:
            return super().load_image(image_id)
        return info["labelled"].load_image(info["number"])

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """Masks of a picture's balloons, and their class ids, which are ones.

        Returns mask: bool [height, width, balloons]; class_ids: int32 [balloons].
        """
        info = self.image_info[image_id]
        if info["source"] != "balloon":
            return super().load_mask(image_id)
        if "labelled" in info:
            mask, _ = info["labelled"].load_mask(info["number"])
        else:
            mask = _draw_polygons(info["polygons"], info["height"], info["width"])
        return mask, np.ones(mask.shape[-1], np.int32)

    def image_reference(self, image_id: int) -> str:
        """The picture's path."""
        info = self.image_info[image_id]
        return info["path"] if info["source"] == "balloon" else super().image_reference(image_id)


def _draw_polygons(polygons: Sequence[dict], height: int, width: int) -> np.ndarray:
    """bool [height, width, polygons] of VIA's {"all_points_y": [..], "all_points_x": [..]}.

    The original kept these with its pictures, and so do subclasses that have their own
    `load_balloon`.
    """
    mask = np.zeros((height, width, len(polygons)), bool)
    for i, polygon in enumerate(polygons):
        points = np.stack([polygon["all_points_y"], polygon["all_points_x"]], axis=1)
        mask[:, :, i] = polygon_mask(points, (height, width))
    return mask


# -- Training ---------------------------------------------------------------------------------


def train(
    model: modellib.MaskRCNN, dataset_dir: str, epochs: int = 30, layers: str = "heads"
) -> None:
    """Train on a folder's `train`, validating on its `val`.

    The heads suffice after COCO: it has no balloons, but its features tell them apart. Weights
    that have seen less of the world need layers="all".
    """
    dataset_train = BalloonDataset()
    dataset_train.load_balloon(dataset_dir, "train")
    dataset_train.prepare()
    dataset_val = BalloonDataset()
    dataset_val.load_balloon(dataset_dir, "val")
    dataset_val.prepare()
    print(f"Training {layers} up to epoch {epochs}")
    model.train(
        dataset_train,
        dataset_val,
        learning_rate=model.config.LEARNING_RATE,
        epochs=epochs,
        layers=layers,
    )


# -- Splash -----------------------------------------------------------------------------------


def detect_and_color_splash(
    model: modellib.MaskRCNN, image_path: str | None = None, video_path: str | None = None
) -> str:
    """Turn a picture or a video grey but for what the model finds in it.

    model: one in inference mode. image_path, video_path: a file or an http(s) address.
    Writes splash_<date>T<time>.png or .mp4 into the current folder and returns its name. A video
    keeps its size and frame rate and loses its sound; after Ctrl-C it holds what was done.

    Raises PictureError or VideoError for what can't be read.
    """
    if image_path:
        with _local_file(image_path) as path:
            image = read_picture(path)
        file_name = _free_name("png")
        write_png(file_name, _splash(model, image))
    elif video_path:
        file_name = _free_name("mp4")
        _splash_video(model, video_path, file_name)
    else:
        raise ValueError("Give an image_path or a video_path.")
    print("Saved to", file_name)
    return file_name


def _splash(model: modellib.MaskRCNN, image: np.ndarray) -> np.ndarray:
    return color_splash(image, model.detect([image])[0]["masks"])


def _splash_video(model: modellib.MaskRCNN, video_path: str, file_name: str) -> None:
    with Video(video_path) as video, VideoWriter(file_name, video.fps) as writer:
        expected = video.num_frames
        progress = Progress(expected or 0)
        progress.say(
            f"{video_path}: {video.width} x {video.height}, {video.fps:g} frames/s, "
            f"{_frames(expected)}; its sound is left out"
        )
        try:
            for frame in video:
                writer.write(_splash(model, frame))
                progress.advance()
        except KeyboardInterrupt:
            where = f", which are in {file_name}" if writer.num_frames else ""
            progress.complain(
                f"Interrupted after {writer.num_frames} of {_frames(expected)}{where}"
            )
            raise
        finally:
            progress.close()
    if not writer.num_frames:
        raise VideoError(f"{video_path} holds no frame that can be read.")
    if expected and writer.num_frames < 0.9 * expected:
        print(f"{video_path} should have {expected} frames, but ends after {writer.num_frames}")


def _frames(count: int | None) -> str:
    return "frames not counted" if count is None else f"{count} frame{'s' * (count != 1)}"


@contextlib.contextmanager
def _local_file(source: str) -> Iterator[str]:
    """The path of a file, which is fetched first if it is a web address."""
    if not source.startswith(("http://", "https://")):
        yield source
        return
    name = os.path.basename(urllib.parse.urlparse(source).path) or "picture"
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, name)
        request = urllib.request.Request(source, headers={"User-Agent": "mrcnn"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer, open(path, "wb") as file:
                file.write(answer.read())
        except OSError as error:
            raise PictureError(f"{source} can't be fetched: {error}.") from error
        yield path


def _free_name(suffix: str) -> str:
    """splash_20261123T101500.png, numbered where that is taken."""
    stem = f"splash_{datetime.datetime.now():%Y%m%dT%H%M%S}"
    name, number = f"{stem}.{suffix}", 2
    while os.path.exists(name):
        name, number = f"{stem}_{number}.{suffix}", number + 1
    return name


# -- Command line -----------------------------------------------------------------------------

# What these say is written for the user and stands for itself.
EXPLAINED = (
    *(UsageError, ConfigError, WeightsError, DownloadError),
    *(formats.FormatError, PictureError, VideoError, FileNotFoundError),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; arguments: those of the shell if None."""
    args = _parse(arguments)
    try:
        if args.command == "train":
            model = training_model(args.weights, args.logs, args.settings)
            train(model, args.dataset, args.epochs, args.layers)
        else:
            model = inference_model(args.weights, args.logs, args.settings)
            detect_and_color_splash(model, args.image, args.video)
    except EXPLAINED as error:
        print(f"balloon.py {args.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def training_model(weights: str, logs: str, settings: Sequence[str] = ()) -> modellib.MaskRCNN:
    """A network to train on balloons, of the size that the weights have, and these loaded.

    weights, logs, settings: as on the command line. Of weights for other classes the layers that
    tell classes apart are left out.
    """
    config = BalloonConfig()
    for setting in settings:
        apply_setting(config, setting)
    path = _path_of(weights, logs, config)
    info = inspect_weights(path)
    told = info.config_attributes()
    # The tensors fix these sizes, and the first convolution is used to its mean pixel.
    fixed = info.attributes.keys() | told.keys() & {"MEAN_PIXEL"}
    chosen = {setting.partition("=")[0].strip() for setting in settings}
    for name in fixed - chosen - {"NUM_CLASSES"}:
        setattr(config, name, np.array(told[name]) if name == "MEAN_PIXEL" else told[name])
    model = modellib.MaskRCNN(mode="training", config=config, model_dir=logs)
    print("Loading weights", path)
    exclude = None if _knows_balloons(info) else CLASS_LAYERS
    model.load_weights(path, by_name=True, exclude=exclude)
    return model


def inference_model(weights: str, logs: str, settings: Sequence[str] = ()) -> modellib.MaskRCNN:
    """The network that the weights are of, whatever its classes, ready to detect."""
    path = _path_of(weights, logs, BalloonConfig())
    info = inspect_weights(path)
    config = config_from_weights(info)
    if "config" not in info.description:  # a file of the original's
        config.DETECTION_MIN_CONFIDENCE = BalloonConfig.DETECTION_MIN_CONFIDENCE
    for setting in settings:
        apply_setting(config, setting)
    model = modellib.MaskRCNN(mode="inference", config=config, model_dir=logs)
    print("Loading weights", path)
    model.load_weights(path, by_name=True)
    return model


def _knows_balloons(info: WeightsInfo) -> bool:
    if info.class_names:
        return info.class_names == ["BG", "balloon"]
    return info.num_classes in (None, BalloonConfig.NUM_CLASSES)


def _path_of(weights: str, logs: str, config: Config) -> str:
    if weights.lower() == "last":
        return find_last(logs, config)
    if weights.lower() == "coco" and os.path.exists(COCO_WEIGHTS_PATH):
        return COCO_WEIGHTS_PATH
    return weights_path(weights, backbone=config.BACKBONE)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Train Mask R-CNN to find balloons, or splash the colour of what it finds.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("command", choices=["train", "splash"])
    add("--dataset", metavar="DIR", help="folder of the balloon pictures; for train")
    add(
        "--weights",
        required=True,
        help='"coco", "imagenet", "balloon", "nucleus", "last", or path of a .h5 weight file',
    )
    add("--logs", default=DEFAULT_LOGS_DIR, metavar="DIR", help="folder of logs and checkpoints")
    add("--epochs", type=int, default=30, help="the last epoch to train (default 30)")
    add("--layers", default="heads", help="which to train: heads (default), 5+, 4+, 3+ or all")
    add("--image", metavar="PATH|URL", help="picture to splash")
    add("--video", metavar="PATH|URL", help=f"video to splash; needs {how_to_install('video')}")
    add_set_argument(parser)
    args = parser.parse_args(arguments)
    if args.command == "train" and not args.dataset:
        parser.error("train needs --dataset")
    if args.command == "splash" and bool(args.image) == bool(args.video):
        parser.error("splash needs --image or --video, one of them")
    return args


if __name__ == "__main__":
    sys.exit(main())
