"""Squares, circles and triangles on a plain background: data that make themselves.

    python shapes.py train    [--backbone resnet18_half] [--epochs 10]
    python shapes.py evaluate [--backbone resnet18_half] [--weights last|PATH]

Good for trying things out: no download, and a small network learns them in minutes on a CPU.
train_shapes.ipynb, beside this file, goes through it step by step.
"""

import argparse
import sys
from pathlib import Path

ROOT_DIR = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT_DIR))

from mrcnn.errors import plain_interrupts

if __name__ == "__main__":
    plain_interrupts("shapes.py")  # the imports take seconds

import numpy as np
from skimage import draw

from mrcnn import utils
from mrcnn.config import Config
from mrcnn.data.augment import flip_left_right

DEFAULT_LOGS_DIR = ROOT_DIR / "logs"
MARGIN = 20  # least distance of a shape's centre from the border, and least size, in pixels


class ShapesConfig(Config):
    """Small pictures, which a GPU of 12 GB takes eight at a time."""

    NAME = "shapes"
    GPU_COUNT = 1
    IMAGES_PER_GPU = 8
    NUM_CLASSES = 1 + 3  # background + square, circle, triangle
    IMAGE_MIN_DIM = 128
    IMAGE_MAX_DIM = 128
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    TRAIN_ROIS_PER_IMAGE = 32  # few instances, so few regions
    STEPS_PER_EPOCH = 100
    VALIDATION_STEPS = 5


class ScratchConfig(ShapesConfig):
    """Training from random weights, with a network for a CPU."""

    BACKBONE = "resnet18_half"
    TOP_DOWN_PYRAMID_SIZE = 64
    RPN_CONV_CHANNELS = 128
    FPN_CLASSIF_FC_LAYERS_SIZE = 256
    MASK_CONV_CHANNELS = 64
    PRE_NMS_LIMIT = 1000
    POST_NMS_ROIS_TRAINING = 300
    POST_NMS_ROIS_INFERENCE = 100
    MAX_GT_INSTANCES = 8
    TRAIN_ROIS_PER_IMAGE = 64
    DETECTION_MAX_INSTANCES = 20
    DETECTION_MIN_CONFIDENCE = 0.5
    TRAIN_BN = None  # batch norm has to learn too
    LEARNING_RATE = 0.02  # with 0.05 the proposals' boxes hardly improve
    LEARNING_RATE_SCHEDULE = "cosine"
    WARMUP_STEPS = 100
    SEED = 3


class ShapesDataset(utils.Dataset):
    """Pictures described by a background colour and a list of shapes, drawn when asked for.

    seed: of the shapes; the same seed gives the same pictures. None: drawn anew.
    A shape is (name, (r, g, b), (x, y, size)): its centre and half its width, in pixels.
    """

    def __init__(self, seed: int | None = None) -> None:
        super().__init__()
        self.rng = np.random.default_rng(seed)

    def load_shapes(self, count: int, height: int, width: int) -> None:
        """Add so many pictures of that size in pixels.

        Raises ValueError for a size that leaves no room for shapes.
        """
        if min(height, width) <= 2 * MARGIN + 1 or height // 4 <= MARGIN:
            least = 4 * (MARGIN + 1)
            raise ValueError(f"{height}x{width} pixels leave no room for shapes: {least} do.")
        for class_id, name in enumerate(("square", "circle", "triangle"), start=1):
            self.add_class("shapes", class_id, name)
        for i in range(count):
            bg_color, shapes = self.random_image(height, width)
            self.add_image(
                "shapes",
                image_id=i,
                path=None,
                height=height,
                width=width,
                bg_color=bg_color,
                shapes=shapes,
            )

    def load_image(self, image_id: int) -> np.ndarray:
        """Draw a picture: uint8 [height, width, 3]."""
        info = self.image_info[image_id]
        image = np.full((info["height"], info["width"], 3), info["bg_color"], np.uint8)
        for name, color, dims in info["shapes"]:
            image = self.draw_shape(image, name, dims, color)
        return image

    def image_reference(self, image_id: int) -> str:
        """The shapes in the picture, by name."""
        return ", ".join(name for name, _, _ in self.image_info[image_id]["shapes"])

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """What is seen of each shape: bool [height, width, shapes], int32 [shapes]."""
        info = self.image_info[image_id]
        masks, class_ids = [], []
        covered = np.zeros((info["height"], info["width"]), bool)
        for name, _, dims in reversed(info["shapes"]):  # the last one lies on top
            drawn = self.draw_shape(np.zeros_like(covered, np.uint8), name, dims, 1) > 0
            seen = drawn & ~covered
            covered |= drawn
            if seen.any():
                masks.append(seen)
                class_ids.append(self.class_names.index(name))
        return np.stack(masks[::-1], axis=-1), np.array(class_ids[::-1], np.int32)

    def draw_shape(
        self, image: np.ndarray, shape: str, dims: tuple[int, int, int], color: tuple | int
    ) -> np.ndarray:
        """Draw a shape into a picture [height, width, ...] and return it.

        dims: (x, y, size), centre and half width in pixels; what lies outside is cut off.
        Raises ValueError for a shape that is none of the three.
        """
        x, y, size = dims
        bounds = image.shape[:2]
        if shape == "square":
            corners = (y - size, x - size), (y + size, x + size)
            rows, columns = draw.rectangle(*corners, shape=bounds)
        elif shape == "circle":
            rows, columns = draw.disk((y, x), size + 0.5, shape=bounds)
        elif shape == "triangle":
            half = size / np.sin(np.pi / 3)
            rows, columns = draw.polygon(
                [y - size, y + size, y + size], [x, x - half, x + half], shape=bounds
            )
        else:
            raise ValueError(f"No shape {shape!r}: there are square, circle and triangle.")
        image[rows.astype(int), columns.astype(int)] = color
        return image

    def random_shape(self, height: int, width: int) -> tuple[str, tuple, tuple[int, int, int]]:
        """A shape somewhere in a picture of that size."""
        name = ("square", "circle", "triangle")[self.rng.integers(3)]
        color = tuple(self.rng.integers(0, 256, 3).tolist())
        y = int(self.rng.integers(MARGIN, height - MARGIN))
        x = int(self.rng.integers(MARGIN, width - MARGIN))
        size = int(self.rng.integers(MARGIN, height // 4))
        return name, color, (x, y, size)

    def random_image(self, height: int, width: int) -> tuple[tuple, list[tuple]]:
        """(background colour, one to three shapes), those left out that overlap others much."""
        bg_color = tuple(self.rng.integers(0, 256, 3).tolist())
        shapes = [self.random_shape(height, width) for _ in range(self.rng.integers(1, 4))]
        boxes = np.array([[y - s, x - s, y + s, x + s] for _, _, (x, y, s) in shapes])
        kept = utils.non_max_suppression(boxes, np.arange(len(shapes)), threshold=0.3)
        return bg_color, [shape for i, shape in enumerate(shapes) if i in kept]


def make_datasets(config: Config, train: int = 4000, val: int = 50) -> tuple:
    """(training, validation) of so many pictures, the same each time."""
    datasets = []
    for seed, count in enumerate((train, val), start=1):
        dataset = ShapesDataset(seed)
        dataset.load_shapes(count, config.IMAGE_SHAPE[0], config.IMAGE_SHAPE[1])
        dataset.prepare()
        datasets.append(dataset)
    return tuple(datasets)


def inference_config(config: Config) -> Config:
    """The same network, for one picture at a time."""
    return type("InferenceConfig", (type(config),), {**vars(config), "IMAGES_PER_GPU": 1})()


def mean_ap(model, dataset: utils.Dataset, config: Config) -> float:
    """The mean over the pictures of `utils.compute_ap` at an IoU of 0.5."""
    from mrcnn import model as modellib

    aps = []
    for image_id in dataset.image_ids:
        image, _, class_ids, boxes, masks = modellib.load_image_gt(dataset, config, image_id)
        r = model.detect([image])[0]
        found = r["rois"], r["class_ids"], r["scores"], r["masks"]
        aps.append(utils.compute_ap(boxes, class_ids, masks, *found)[0])
    return float(np.mean(aps))


def train(config: Config, args: argparse.Namespace) -> None:
    """Train all layers, from random weights unless others are given."""
    from mrcnn import model as modellib

    dataset_train, dataset_val = make_datasets(config)
    model = modellib.MaskRCNN(mode="training", config=config, model_dir=str(args.logs))
    if args.weights:
        path = model.find_last() if args.weights == "last" else args.weights
        model.load_weights(path, by_name=True)
    model.train(
        dataset_train,
        dataset_val,
        learning_rate=config.LEARNING_RATE,
        epochs=args.epochs,
        layers="all",
        augmentation=flip_left_right(0.5),
    )


def evaluate(config: Config, args: argparse.Namespace) -> None:
    """Print the mean AP over the validation pictures."""
    from mrcnn import model as modellib

    config = inference_config(config)
    model = modellib.MaskRCNN(mode="inference", config=config, model_dir=str(args.logs))
    path = args.weights or "last"
    model.load_weights(model.find_last() if path == "last" else path)
    _, dataset_val = make_datasets(config)
    print(
        f"mAP@0.5 of {dataset_val.num_images} pictures: {mean_ap(model, dataset_val, config):.3f}"
    )


def main(argv: list[str] | None = None) -> None:
    """Run the command line; argv: those of the shell if None."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("command", choices=["train", "evaluate"])
    parser.add_argument("--backbone", help="resnet18_half (default), resnet18, resnet50, resnet101")
    parser.add_argument("--weights", help="last, or the path of a weight file")
    parser.add_argument("--epochs", type=int, default=10, help="of 100 steps (default 10)")
    parser.add_argument("--logs", type=Path, default=DEFAULT_LOGS_DIR, help="folder of the runs")
    args = parser.parse_args(argv)
    config = ScratchConfig()
    config.BACKBONE = args.backbone or config.BACKBONE
    {"train": train, "evaluate": evaluate}[args.command](config, args)


if __name__ == "__main__":
    main()
