"""How long a person waits: from `import mrcnn.model` to the first detection.

    python benchmarks/startup.py                       # ResNet-101, 81 classes, 512 and 1024
    python benchmarks/startup.py --backbone resnet50 --sides 512
    python benchmarks/startup.py --weights nucleus --sides 512

Without --weights the network finds a crowd: its numbers come from a seed, and from a file that is
written before the clock starts. A trained network finds fewer and is as fast or faster.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import common


def measure(
    side: int, backbone: str, weights: str | None, made_up: str, calls: int, threads: int
) -> dict[str, Any]:
    """In this process: seconds of each step up to the first detection, and of those after it.

    made_up: the file to read where no weights are given; without calls it is written.
    """
    if not calls:
        import networks

        networks.detector(backbone, side, batch=1).save_weights(made_up)
        return {}
    began = time.perf_counter()
    import networks  # and with it mrcnn.model, and TensorFlow

    networks.fix_threads(threads)
    imported = time.perf_counter()
    if weights:
        model = _from_file(weights)
    else:
        model = networks.detector(backbone, side, batch=1, weights=made_up)
    built = time.perf_counter()
    picture = common.scene(side, 20)[0]
    ready = time.perf_counter()
    found = model.detect([picture])[0]
    first = time.perf_counter()
    seconds = common.timed(lambda: model.detect([picture]), calls, warm_up=1)
    return {
        "import s": imported - began,
        "build and load s": built - imported,
        "first detect s": first - ready,
        "import to first s": first - began,
        "instances": len(found["scores"]),
        "seconds": seconds,
    }


def _from_file(weights: str) -> Any:
    from mrcnn.detect.configs import config_from_weights
    from mrcnn.model import MaskRCNN
    from mrcnn.weights.download import weights_path
    from mrcnn.weights.inspection import inspect_weights

    path = weights_path(weights)
    model = MaskRCNN("inference", config_from_weights(inspect_weights(path)), "logs")
    model.load_weights(path)
    return model


def main() -> None:
    options = common.parser(__doc__)
    options.add_argument("--backbone", default="resnet101")
    options.add_argument("--weights", help="a weight file, or nucleus; its config counts then")
    options.add_argument("--sides", type=int, nargs="+", default=[512, 1024])
    args = options.parse_args()
    about = common.announce()

    with tempfile.TemporaryDirectory() as folder:
        fixed = {
            "backbone": args.backbone,
            "weights": args.weights,
            "made_up": f"{folder}/made_up.h5",
            "calls": args.calls,
            "threads": args.threads,
        }
        jobs = {
            str(side): common.Job(Path(__file__), {"side": side, **fixed}) for side in args.sides
        }
        if not args.weights:
            common.run(common.Job(Path(__file__), {"side": args.sides[0], **fixed, "calls": 0}))
        results = common.interleaved(jobs, args.rounds)
    columns = ("import s", "build and load s", "first detect s", "import to first s")
    columns += ("median s", "min s", "max s", "peak MB", "instances")
    rows = [
        {"side": int(side), **{column: result[column] for column in columns}}
        for side, result in results.items()
    ]
    common.report("startup", args, about, waiting=rows)


if __name__ == "__main__":
    common.answer(measure) if "--one" in sys.argv else main()
