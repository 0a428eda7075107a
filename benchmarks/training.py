"""Seconds of one training step.

    python benchmarks/training.py                          # ResNet-50, 128x128, batch 8, all layers
    python benchmarks/training.py --layers heads --steps 5

Pictures hold generated shapes. The batch is made before the clock starts: this is the graph alone.
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "samples" / "shapes"))

import shapes

from mrcnn.data.generator import DataGenerator
from mrcnn.model import MaskRCNN
from mrcnn.run.train import LAYERS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rois", type=int, default=200)
    parser.add_argument("--layers", default="all")
    parser.add_argument("--steps", type=int, default=4)
    args = parser.parse_args()

    class BenchmarkConfig(shapes.ShapesConfig):
        BACKBONE = args.backbone
        IMAGES_PER_GPU = args.batch
        IMAGE_MIN_DIM = IMAGE_MAX_DIM = args.side
        TRAIN_ROIS_PER_IMAGE = args.rois
        SEED = 0

    config = BenchmarkConfig()
    dataset = shapes.ShapesDataset(seed=0)
    dataset.load_shapes(args.batch, args.side, args.side)
    dataset.prepare()
    inputs, _ = DataGenerator(dataset, config, seed=0)[0]

    model = MaskRCNN("training", config, "logs")
    model.set_trainable(LAYERS.get(args.layers, args.layers), verbose=0)
    model.compile(config.LEARNING_RATE, config.LEARNING_MOMENTUM)
    seconds = []
    for _ in range(1 + args.steps):
        start = time.perf_counter()
        losses = model.keras_model.train_on_batch(list(inputs), return_dict=True)
        seconds.append(time.perf_counter() - start)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; loss {losses['loss']:.3f}")
    print(f"first step, with tracing: {seconds[0]:.2f} s")
    print(f"then, median of {args.steps}: {statistics.median(seconds[1:]):.2f} s a step")


if __name__ == "__main__":
    main()
