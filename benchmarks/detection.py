"""How long a person waits: from `import mrcnn.model` to the first detection, and then for each.

    python benchmarks/detection.py                       # ResNet-101, 81 classes, 512 and 1024
    python benchmarks/detection.py --backbone resnet50 --sides 512 --runs 10
    python benchmarks/detection.py --weights nucleus --sides 512

Without --weights the numbers in the network come from a seed, calibrated so that the heads find a
crowd; a trained network finds fewer and is as fast or faster. Every side runs in a process of its
own, so that its peak memory is its own. Prints a table and, with --json FILE, writes it.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def measure(side: int, backbone: str, weights: str | None, runs: int) -> dict[str, float]:
    """One side, in this process: seconds, and peak memory in MB."""
    began = time.perf_counter()
    import numpy as np
    from skimage import data

    from mrcnn.cli.configs import config_from_weights
    from mrcnn.config import Config
    from mrcnn.model import MaskRCNN
    from mrcnn.weights.download import weights_path
    from mrcnn.weights.inspection import inspect_weights

    imported = time.perf_counter()

    class BenchmarkConfig(Config):
        NAME = "benchmark"
        BACKBONE = backbone
        NUM_CLASSES = 81
        IMAGES_PER_GPU = 1
        IMAGE_MIN_DIM = IMAGE_MAX_DIM = side
        DETECTION_MIN_CONFIDENCE = 0.0  # all 100 places are filled, the slowest case

    path = weights_path(weights) if weights else None
    config = config_from_weights(inspect_weights(path)) if path else BenchmarkConfig()
    model = MaskRCNN("inference", config, "logs")
    built = time.perf_counter()
    if path:
        model.load_weights(path)
    else:
        rng = np.random.default_rng(0)
        for weight in model.keras_model.weights:
            if weight.name == "kernel":
                weight.assign(weight.numpy() * rng.uniform(0.9, 1.1, weight.shape))
    loaded = time.perf_counter()

    from skimage.transform import resize

    picture = resize(data.astronaut(), (side, side), preserve_range=True).astype(np.uint8)
    first = model.detect([picture])[0]
    ready = time.perf_counter()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        model.detect([picture])
        seconds.append(time.perf_counter() - start)
    return {
        "side": side,
        "import": imported - began,
        "build": built - imported,
        "load": loaded - built,
        "first detect": ready - loaded,
        "import to first": ready - began,
        "steady median": statistics.median(seconds),
        "steady min": min(seconds),
        "instances": len(first["scores"]),
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--backbone", default="resnet101")
    parser.add_argument("--weights", help="a weight file, or nucleus; its config counts then")
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one, args.backbone, args.weights, args.runs)))
        return

    load = os.getloadavg()[0]
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {load:.1f}")
    rows = []
    for side in args.sides:
        command = [sys.executable, __file__, "--one", str(side), "--backbone", args.backbone]
        command += ["--runs", str(args.runs)]
        command += ["--weights", args.weights] if args.weights else []
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    for name in rows[0]:
        print(f"{name:16}", *(f"{row[name]:10.2f}" for row in rows))
    if args.json:
        args.json.write_text(json.dumps({"load": load, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
