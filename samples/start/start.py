"""The start: a small network that knows what a thing is, to begin other trainings with.

    python start.py pictures --nuclei DATA MORE --out PICTURES       # scenes and nuclei, as files
    python start.py train --data PICTURES [--weights imagenet|last]
    python start.py pack --weights last --out mrcnn/weights/start.h5

One class, "object": the ends of things are learned from generated scenes (scenes.py) and from
nuclei, behind an encoder that has seen ImageNet. README.md beside it has the exact commands.
"""

import argparse
import functools
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

ROOT_DIR = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT_DIR))

from mrcnn.errors import plain_interrupts

if __name__ == "__main__":
    plain_interrupts("start.py")  # the imports take seconds

import numpy as np
import skimage.transform
from PIL import Image

import mrcnn.data
from mrcnn.config import Config
from samples.nucleus.nucleus import augmentation
from samples.start.scenes import scene

DEFAULT_LOGS_DIR = ROOT_DIR / "logs"
SIDE = 320  # pixels of a picture


class StartConfig(Config):
    """EfficientNet-Lite0 with a narrow pyramid and heads: 14 MB in half precision."""

    NAME = "start"
    NUM_CLASSES = 1 + 1  # background + object
    MEAN_PIXEL = np.array([127.0, 127.0, 127.0])  # what the encoder's ImageNet weights take

    BACKBONE = "efficientnet_lite0"
    TOP_DOWN_PYRAMID_SIZE = 96
    RPN_CONV_CHANNELS = 96
    FPN_CLASSIF_FC_LAYERS_SIZE = 512
    MASK_CONV_CHANNELS = 96

    IMAGE_RESIZE_MODE = "square"
    IMAGE_MIN_DIM = SIDE
    IMAGE_MAX_DIM = SIDE
    RPN_ANCHOR_SCALES = (16, 32, 64, 128, 256)
    POST_NMS_ROIS_TRAINING = 500
    TRAIN_ROIS_PER_IMAGE = 96
    MAX_GT_INSTANCES = 100
    DETECTION_MIN_CONFIDENCE = 0.7

    IMAGES_PER_GPU = 4
    STEPS_PER_EPOCH = 200
    VALIDATION_STEPS = 20
    TRAIN_BN = None  # batch norm learns in the layers that train
    LEARNING_RATE = 0.02
    LEARNING_RATE_SCHEDULE = "cosine"
    WARMUP_STEPS = 200
    KEEP_CHECKPOINTS = 3
    SEED = 2026


# -- Pictures -------------------------------------------------------------------------------


def write_pictures(args: argparse.Namespace) -> None:
    """Scenes and pieces of nuclei as images/*.jpg and masks/*.png, which number the things."""
    for part, share in (("train", 1.0), ("val", 0.03)):
        for folder in ("images", "masks"):
            (args.out / part / folder).mkdir(parents=True, exist_ok=True)
        scenes = range(round(args.scenes * share))
        pieces = range(round(args.pieces * share))
        seed = [args.seed, part == "val"]
        with ProcessPoolExecutor() as pool:
            draw = functools.partial(_write_scene, args.out / part, seed)
            shown = sum(pool.map(draw, scenes, chunksize=20))
            if args.nuclei:
                cut = functools.partial(_write_piece, args.out / part, seed, args.nuclei)
                shown += sum(pool.map(cut, pieces, chunksize=20))
        print(f"{part}: {len(scenes)} scenes, {len(pieces)} pieces of nuclei, {shown} things")


def _write_scene(out: Path, seed: list[int], number: int) -> int:
    picture, masks = scene(np.random.default_rng([*seed, 0, number]), SIDE)
    return _write(out, f"scene_{number:05}", picture, masks)


def _write_piece(out: Path, seed: list[int], folders: list[Path], number: int) -> int:
    """A square cut out of a picture of nuclei, enlarged to SIDE."""
    rng = np.random.default_rng([*seed, 1, number])
    sets = _nuclei(tuple(folders))
    dataset = sets[rng.choice(len(sets), p=np.array([d.num_images for d in sets]) / _total(sets))]
    i = int(rng.integers(dataset.num_images))
    image, masks = dataset.load_image(i), dataset.load_mask(i)[0]
    side = min(round(SIDE / rng.uniform(1.5, 3.5)), *image.shape[:2])
    y, x = (int(rng.integers(0, n - side + 1)) for n in image.shape[:2])
    image = image[y : y + side, x : x + side] / 255
    masks = masks[y : y + side, x : x + side]
    image = skimage.transform.resize(image, (SIDE, SIDE, 3), order=1)
    rows = np.arange(SIDE) * side // SIDE
    masks = masks[rows][:, rows]
    return _write(out, f"nuclei_{number:05}", (image * 255).astype(np.uint8), masks)


@functools.cache
def _nuclei(folders: tuple[Path, ...]) -> list:
    """The sets' pictures for training, of which pieces for validation are cut, too."""
    return [mrcnn.data.open(folder, subset="train") for folder in folders]


def _total(sets: list) -> int:
    return sum(dataset.num_images for dataset in sets)


def _write(out: Path, name: str, picture: np.ndarray, masks: np.ndarray) -> int:
    numbers = np.zeros(picture.shape[:2], np.uint16)
    for i in range(masks.shape[2]):
        numbers[masks[:, :, i]] = i + 1
    Image.fromarray(picture).save(out / "images" / f"{name}.jpg", quality=92)
    Image.fromarray(numbers).save(out / "masks" / f"{name}.png")
    return masks.shape[2]


# -- Training -------------------------------------------------------------------------------


def train(args: argparse.Namespace) -> None:
    """What is new, behind the encoder, which stays as photographs have taught it."""
    from mrcnn import model as modellib
    from mrcnn.weights.download import weights_path

    config = StartConfig()
    parts = [mrcnn.data.open(args.data, subset=part) for part in ("train", "val")]
    for part in parts:
        part.prepare()
    model = modellib.MaskRCNN(mode="training", config=config, model_dir=str(args.logs))
    if args.weights == "last":
        model.load_weights(model.find_last())
    else:
        path = (
            weights_path("imagenet", config.BACKBONE)
            if args.weights == "imagenet"
            else args.weights
        )
        model.load_weights(path, by_name=True)
    if model.epoch < args.epochs:
        model.train(
            *parts,
            learning_rate=config.LEARNING_RATE,
            epochs=args.epochs,
            layers="heads",
            augmentation=augmentation(scale=(0.6, 1.5)),
        )


def pack(args: argparse.Namespace) -> None:
    """Write weights as they come with the package: half precision, and the config."""
    from mrcnn import model as modellib
    from mrcnn.weights.layout import save_weights

    class PackedConfig(StartConfig):
        IMAGES_PER_GPU = 1
        TRAIN_BN = False  # a few pictures of another kind would only blur what it knows

    config = PackedConfig()
    model = modellib.MaskRCNN(mode="inference", config=config, model_dir=str(args.logs))
    model.load_weights(model.find_last() if args.weights == "last" else args.weights)
    description = {"config": config.hyper_parameters(), "class_names": ["BG", "object"]}
    save_weights(model.keras_model, args.out, description, dtype=np.float16)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    pictures = commands.add_parser("pictures", help="write the pictures to train on")
    pictures.add_argument("--nuclei", type=Path, nargs="*", default=[], help="sets of nuclei")
    pictures.add_argument("--scenes", type=int, default=3200)
    pictures.add_argument("--pieces", type=int, default=1000, help="cut out of the nuclei")
    pictures.add_argument("--seed", type=int, default=2026)
    pictures.add_argument("--out", type=Path, required=True)
    training = commands.add_parser("train", help="train on them")
    training.add_argument("--data", type=Path, required=True)
    training.add_argument("--weights", default="imagenet", help="imagenet, last, or a path")
    training.add_argument("--epochs", type=int, default=6)
    packing = commands.add_parser("pack", help="write the weights in half precision")
    packing.add_argument("--weights", default="last")
    packing.add_argument("--out", type=Path, required=True)
    for command in (training, packing):
        command.add_argument("--logs", type=Path, default=DEFAULT_LOGS_DIR)
    args = parser.parse_args(argv)
    {"pictures": write_pictures, "train": train, "pack": pack}[args.command](args)


if __name__ == "__main__":
    main()
