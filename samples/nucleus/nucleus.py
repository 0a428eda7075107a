"""Nuclei in microscope pictures (2018 Data Science Bowl, BBBC038v1, CC0).

    python nucleus.py train    --dataset PATH [--weights start|none|last|PATH] [--epochs 40]
    python nucleus.py evaluate --dataset PATH [--weights nucleus|last|PATH]
    python nucleus.py detect   --dataset PATH --subset stage1_test [--weights nucleus|last|PATH]

PATH holds `train` and `val`, or `stage1_train` as Kaggle packed it, of folders
`<picture id>/images/<picture id>.png` and `<picture id>/masks/*.png`. Several folders may be
given for training. The weights that come with the package were made by this program; README.md
beside it has the exact command.
"""

import argparse
import os
import sys
from pathlib import Path

ROOT_DIR = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT_DIR))

from mrcnn.errors import plain_interrupts

if __name__ == "__main__":
    plain_interrupts("nucleus.py")  # the imports take seconds

import numpy as np
from PIL import Image

from mrcnn import utils, visualize
from mrcnn.config import Config
from mrcnn.data import augment
from mrcnn.geometry.crops import MaskCrops

DEFAULT_LOGS_DIR = ROOT_DIR / "logs"
RESULTS_DIR = ROOT_DIR / "results" / "nucleus"

# Held out by the original's sample from the 664 pictures of stage1_train.
VAL_IMAGE_IDS = [
    "0c2550a23b8a0f29a7575de8c61690d3c31bc897dd5ba66caec201d201a278c2",
    "92f31f591929a30e4309ab75185c96ff4314ce0a7ead2ed2c2171897ad1da0c7",
    "1e488c42eb1a54a3e8412b1f12cde530f950f238d71078f2ede6a85a02168e1f",
    "c901794d1a421d52e5734500c0a2a8ca84651fb93b19cec2f411855e70cae339",
    "8e507d58f4c27cd2a82bee79fe27b069befd62a46fdaed20970a95a2ba819c7b",
    "60cb718759bff13f81c4055a7679e81326f78b6a193a2d856546097c949b20ff",
    "da5f98f2b8a64eee735a398de48ed42cd31bf17a6063db46a9e0783ac13cd844",
    "9ebcfaf2322932d464f15b5662cae4d669b2d785b8299556d73fffcae8365d32",
    "1b44d22643830cd4f23c9deadb0bd499fb392fb2cd9526d81547d93077d983df",
    "97126a9791f0c1176e4563ad679a301dac27c59011f579e808bbd6e9f4cd1034",
    "e81c758e1ca177b0942ecad62cf8d321ffc315376135bcbed3df932a6e5b40c0",
    "f29fd9c52e04403cd2c7d43b6fe2479292e53b2f61969d25256d2d2aca7c6a81",
    "0ea221716cf13710214dcd331a61cea48308c3940df1d28cfc7fd817c83714e1",
    "3ab9cab6212fabd723a2c5a1949c2ded19980398b56e6080978e796f45cbbc90",
    "ebc18868864ad075548cc1784f4f9a237bb98335f9645ee727dac8332a3e3716",
    "bb61fc17daf8bdd4e16fdcf50137a8d7762bec486ede9249d92e511fcb693676",
    "e1bcb583985325d0ef5f3ef52957d0371c96d4af767b13e48102bca9d5351a9b",
    "947c0d94c8213ac7aaa41c4efc95d854246550298259cf1bb489654d0e969050",
    "cbca32daaae36a872a11da4eaff65d1068ff3f154eedc9d3fc0c214a4e5d32bd",
    "f4c4db3df4ff0de90f44b027fc2e28c16bf7e5c75ea75b0a9762bbb7ac86e7a3",
    "4193474b2f1c72f735b13633b219d9cabdd43c21d9c2bb4dfc4809f104ba4c06",
    "f73e37957c74f554be132986f38b6f1d75339f636dfe2b681a0cf3f88d2733af",
    "a4c44fc5f5bf213e2be6091ccaed49d8bf039d78f6fbd9c4d7b7428cfcb2eda4",
    "cab4875269f44a701c5e58190a1d2f6fcb577ea79d842522dcab20ccb39b7ad2",
    "8ecdb93582b2d5270457b36651b62776256ade3aaa2d7432ae65c14f07432d49",
]


class NucleusConfig(Config):
    """The network of the start that comes with the package, for pictures of nuclei."""

    NAME = "nucleus"
    NUM_CLASSES = 1 + 1  # background + nucleus
    MEAN_PIXEL = np.array([127.0, 127.0, 127.0])  # what the start has learned

    BACKBONE = "efficientnet_lite0"
    TOP_DOWN_PYRAMID_SIZE = 96
    RPN_CONV_CHANNELS = 96
    FPN_CLASSIF_FC_LAYERS_SIZE = 256  # there is but one class to tell from the ground
    MASK_CONV_CHANNELS = 96

    # Nuclei are small: pictures are doubled, and trained on in pieces of 256 (see NucleusDataset).
    IMAGE_RESIZE_MODE = "crop"
    IMAGE_MIN_DIM = 256
    IMAGE_MAX_DIM = 256
    IMAGE_MIN_SCALE = 2
    RPN_ANCHOR_SCALES = (16, 32, 64, 128, 256)
    PRE_NMS_LIMIT = 2000
    POST_NMS_ROIS_TRAINING = 500
    TRAIN_ROIS_PER_IMAGE = 96
    MAX_GT_INSTANCES = 100

    IMAGES_PER_GPU = 4
    STEPS_PER_EPOCH = 150
    VALIDATION_STEPS = 20
    TRAIN_BN = None  # batch norm learns too: cells look like nothing in ImageNet
    LEARNING_RATE = 0.01
    LEARNING_RATE_SCHEDULE = "cosine"
    WARMUP_STEPS = 300
    SEED = 2018


class NucleusInferenceConfig(NucleusConfig):
    """Whole pictures, one at a time, doubled."""

    IMAGES_PER_GPU = 1
    IMAGE_RESIZE_MODE = "pad64"
    IMAGE_MIN_DIM = 0
    IMAGE_MAX_DIM = 1024  # not read in this mode
    PRE_NMS_LIMIT = 6000
    RPN_NMS_THRESHOLD = 0.85  # nuclei touch: a neighbour is no duplicate
    POST_NMS_ROIS_INFERENCE = 2000
    DETECTION_NMS_THRESHOLD = 0.5
    DETECTION_MAX_INSTANCES = 400
    DETECTION_MIN_CONFIDENCE = 0.7  # counts come out right on the validation pictures


class NucleusDataset(utils.Dataset):
    """Pictures of nuclei with one mask file for each nucleus.

    piece: cut pictures into overlapping pieces of this side, each a picture of its own; 0: whole
    pictures. Pieces save training from decoding hundreds of masks that it would crop away, and
    give a large picture its share.
    bright: how many times each picture with a bright ground comes; stained tissue is rare.
    """

    def __init__(self, piece: int = 0, bright: int = 1) -> None:
        super().__init__()
        self.piece, self.bright = piece, bright
        self._cache: dict[str, tuple] = {}

    def load_nucleus(self, dataset_dir: str | os.PathLike, subset: str) -> None:
        """Add the pictures of a subset.

        subset: the name of a folder of `dataset_dir`; or "train" and "val" of Kaggle's
        stage1_train, where VAL_IMAGE_IDS says which is which.
        """
        self.add_class("nucleus", 1, "nucleus")
        folder = Path(dataset_dir, subset)
        kaggle = subset in ("train", "val") and not folder.is_dir()
        if kaggle:
            folder = Path(dataset_dir, "stage1_train")
        if not folder.is_dir():
            raise FileNotFoundError(
                f"{dataset_dir} holds no folder {subset!r} and no 'stage1_train': it must hold "
                "folders of <picture id>/images/*.png and <picture id>/masks/*.png."
            )
        for entry in sorted(folder.iterdir()):
            if not (entry / "images").is_dir():
                continue
            if kaggle and (entry.name in VAL_IMAGE_IDS) != (subset == "val"):
                continue
            path = next((entry / "images").iterdir())
            times = self.bright if self.bright > 1 and is_bright(Image.open(path)) else 1
            for window in self._windows(path):
                name = entry.name + (f"_{window[0]}_{window[1]}" if self.piece else "")
                for again in range(times):
                    image_id = f"{name}_again{again}" if again else name
                    self.add_image("nucleus", image_id=image_id, path=str(path), window=window)

    def load_image(self, image_id: int) -> np.ndarray:
        """[height, width, 3] uint8."""
        y1, x1, y2, x2 = self.image_info[image_id]["window"]
        return self._picture(image_id)[0][y1:y2, x1:x2]

    def load_mask_crops(self, image_id: int) -> tuple[MaskCrops, np.ndarray]:
        """Masks cut to their boxes, class ids of ones; `load_mask` makes full masks from them."""
        y1, x1, y2, x2 = self.image_info[image_id]["window"]
        _, nuclei = self._picture(image_id)
        boxes, pieces = [], []
        for (top, left, bottom, right), pixels in nuclei:
            # The part of the nucleus's box that lies in the window, in both their frames.
            v1, u1, v2, u2 = max(top, y1), max(left, x1), min(bottom, y2), min(right, x2)
            piece = pixels[
                max(v1 - top, 0) : max(v2 - top, 0), max(u1 - left, 0) : max(u2 - left, 0)
            ]
            if piece.any():
                boxes.append((v1 - y1, u1 - x1, v2 - y1, u2 - x1))
                pieces.append(piece)
        return MaskCrops((y2 - y1, x2 - x1), boxes, pieces), np.ones(len(pieces), np.int32)

    def image_reference(self, image_id: int) -> str:
        """The picture's id."""
        return self.image_info[image_id]["id"]

    def _windows(self, path: Path) -> list[tuple[int, int, int, int]]:
        width, height = Image.open(path).size
        if not self.piece:
            return [(0, 0, height, width)]
        return [
            (y, x, min(y + self.piece, height), min(x + self.piece, width))
            for y in _starts(height, self.piece)
            for x in _starts(width, self.piece)
        ]

    def _picture(self, image_id: int) -> tuple[np.ndarray, list]:
        """A picture and its nuclei as [(box, pixels in the box)]; kept where pieces share it."""
        path = self.image_info[image_id]["path"]
        if path not in self._cache:
            image = np.asarray(Image.open(path).convert("RGB"))
            nuclei = []
            for file in sorted((Path(path).parents[1] / "masks").glob("*.png")):
                mask = np.asarray(Image.open(file).convert("L")) > 0
                top, left, bottom, right = box = utils.extract_bboxes(mask[..., None])[0]
                # A view would keep the whole mask in memory.
                nuclei.append((box, mask[top:bottom, left:right].copy()))
            if not self.piece:
                return image, nuclei
            self._cache[path] = image, nuclei
        return self._cache[path]


def is_bright(image: Image.Image | np.ndarray) -> bool:
    """Whether nuclei lie on a bright ground: stained tissue, and not fluorescence."""
    picture = image.convert("RGB") if isinstance(image, Image.Image) else image
    return bool(np.median(np.asarray(picture)) >= 64)


def _starts(side: int, piece: int) -> list[int]:
    """Where pieces begin so that they cover a side and overlap by a third or more."""
    if side <= piece:
        return [0]
    count = 1 + -(-(side - piece) // (2 * piece // 3))
    return np.linspace(0, side - piece, count).round().astype(int).tolist()


def augmentation(scale: tuple[float, float] = (0.6, 1.4)) -> augment.Compose:
    """What a microscope might have shown instead: any way round, other focus, light and dye.

    scale: the least and the greatest zoom.
    """
    return augment.Compose(
        [
            augment.flip_left_right(0.5),
            augment.turn(),
            augment.scale_and_shift(scale, 0.1),
            augment.SomeOf(
                (0, 3),
                [
                    augment.brightness(0.7, 1.3),
                    augment.contrast(0.7, 1.4),
                    augment.gamma(0.7, 1.4),
                    augment.blur(1.5),
                    augment.noise(8),
                    augment.stain(),
                    augment.stain(0.6),
                ],
            ),
        ]
    )


def train(args: argparse.Namespace) -> None:
    """Train all layers on a subset of every data set."""
    from mrcnn import model as modellib

    config = NucleusConfig()
    dataset_train = NucleusDataset(piece=192, bright=args.bright)
    dataset_val = NucleusDataset(piece=192)
    for folder in args.dataset:
        dataset_train.load_nucleus(folder, args.subset)
    dataset_val.load_nucleus(args.dataset[0], "val")
    dataset_train.prepare()
    dataset_val.prepare()
    print(f"{dataset_train.num_images} pieces to train on, {dataset_val.num_images} to validate")

    model = modellib.MaskRCNN(mode="training", config=config, model_dir=str(args.logs))
    if args.weights == "last":
        model.load_weights(model.find_last())
    elif args.weights != "none":
        # Of the start all but the box head, which is smaller here.
        new = [r"mrcnn_class_.*", "mrcnn_bbox_fc"] if args.weights == "start" else None
        model.load_weights(_path(args.weights), by_name=True, exclude=new)
    model.train(
        dataset_train,
        dataset_val,
        learning_rate=config.LEARNING_RATE,
        epochs=args.epochs,
        layers="all",
        augmentation=augmentation(),
    )


def evaluate(args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """COCO's mask AP on a subset: on all of it, and by the look of the pictures."""
    from mrcnn.evaluate.coco import collect

    class EvaluationConfig(NucleusInferenceConfig):
        DETECTION_MIN_CONFIDENCE = 0.05  # AP weighs the unsure ones by itself

    model, dataset = _inference(args, EvaluationConfig())
    collected = collect(model, dataset)
    dark = [i for i in dataset.image_ids if not is_bright(dataset.load_image(i))]
    groups = {
        "all": dataset.image_ids,
        "fluorescence": dark,
        "stained and other": sorted(set(dataset.image_ids) - set(dark)),
    }
    # COCO counts the best 100 detections of a picture; the densest one here holds 369 nuclei.
    most = EvaluationConfig.DETECTION_MAX_INSTANCES
    numbers = {name: collected.only(ids).measure(most) for name, ids in groups.items()}
    for name, values in numbers.items():
        print(f"{name} ({len(groups[name])} pictures): ", end="")
        print(", ".join(f"{metric} {value:.3f}" for metric, value in values.items()))
    return numbers


def detect(args: argparse.Namespace) -> None:
    """Draw the nuclei found on every picture of a subset, and write Kaggle's submit.csv.

    The pictures need no masks: Kaggle's stage1_test and stage2_test_final have none.
    """
    model, dataset = _inference(args, NucleusInferenceConfig())
    args.out.mkdir(parents=True, exist_ok=True)
    rows = ["ImageId,EncodedPixels"]
    for image_id in dataset.image_ids:
        image = dataset.load_image(image_id)
        result = model.detect([image])[0]
        name = dataset.image_info[image_id]["id"]
        rows += mask_to_rle(name, result["masks"], result["scores"]).splitlines()
        overlay = visualize.render_instances(
            image,
            result["rois"],
            result["masks"],
            result["class_ids"],
            dataset.class_names,
            result["scores"],
        )
        Image.fromarray(overlay).save(args.out / f"{name}.png")
        print(f"{name}: {len(result['rois'])} nuclei")
    (args.out / "submit.csv").write_text("\n".join(rows) + "\n")
    print(f"Saved to {args.out}: submit.csv, and a picture for each picture")


def pack(args: argparse.Namespace) -> None:
    """Write weights as they come with the package: half precision, and the inference config.

    Half the size, and 11 bits of precision are far more than the network's own noise.
    """
    from mrcnn import model as modellib
    from mrcnn.weights.layout import save_weights

    config = NucleusInferenceConfig()
    model = modellib.MaskRCNN(mode="inference", config=config, model_dir=str(args.logs))
    model.load_weights(model.find_last() if args.weights == "last" else args.weights)
    description = {"config": config.hyper_parameters(), "class_names": ["BG", "nucleus"]}
    save_weights(model.keras_model, args.out, description, dtype=np.float16)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB")


def rle_encode(mask: np.ndarray) -> str:
    """A mask [height, width] as Kaggle's "start length start length ...", column by column."""
    flat = np.concatenate([[0], mask.astype(bool).T.ravel(), [0]])
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges[1::2] -= edges[::2]
    return " ".join(map(str, edges))


def rle_decode(rle: str, shape: tuple[int, int]) -> np.ndarray:
    """The inverse of `rle_encode`: bool [height, width]."""
    flat = np.zeros(shape[0] * shape[1], bool)
    numbers = np.array(rle.split(), int).reshape(-1, 2)
    for start, length in numbers:
        flat[start - 1 : start - 1 + length] = True
    return flat.reshape(shape[::-1]).T


def mask_to_rle(image_id: str, masks: np.ndarray, scores: np.ndarray) -> str:
    """Lines of a submission; where nuclei overlap, the one of the higher score has the pixels.

    masks: bool [height, width, nuclei]; scores: [nuclei].
    """
    taken = np.zeros(masks.shape[:2], bool)
    lines = []
    for i in np.argsort(-np.asarray(scores), kind="stable"):
        mine = masks[:, :, i] & ~taken
        taken |= mine
        if mine.any():
            lines.append(f"{image_id},{rle_encode(mine)}")
    return "\n".join(lines or [f"{image_id},"])


def _inference(args: argparse.Namespace, config: Config):
    from mrcnn import model as modellib

    dataset = NucleusDataset()
    dataset.load_nucleus(args.dataset[0], args.subset)
    dataset.prepare()
    model = modellib.MaskRCNN(mode="inference", config=config, model_dir=str(args.logs))
    model.load_weights(model.find_last() if args.weights == "last" else _path(args.weights))
    return model, dataset


def _path(weights: str) -> str:
    from mrcnn.weights.download import weights_path

    return weights_path(weights)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["train", "evaluate", "detect", "pack"])
    parser.add_argument(
        "--dataset", type=Path, nargs="+", help="folders of data; needed by all but pack"
    )
    parser.add_argument(
        "--subset",
        help="what to train on (default train), to evaluate or to detect on (default val): train, "
        "val, or the name of a folder such as stage1_train, stage1_test, stage2_test_final",
    )
    parser.add_argument("--weights", help="start | nucleus | last | none | a path")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument(
        "--bright", type=int, default=3, help="how often each stained picture comes in training"
    )
    parser.add_argument("--logs", type=Path, default=DEFAULT_LOGS_DIR)
    parser.add_argument("--out", type=Path, default=RESULTS_DIR)
    args = parser.parse_args(argv)
    args.weights = args.weights or ("start" if args.command == "train" else "nucleus")
    args.subset = args.subset or ("train" if args.command == "train" else "val")
    if not args.dataset and args.command != "pack":
        parser.error(f"{args.command} needs --dataset")
    {"train": train, "evaluate": evaluate, "detect": detect, "pack": pack}[args.command](args)


if __name__ == "__main__":
    main()
