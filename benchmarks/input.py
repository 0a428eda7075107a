"""Pictures a second through the training generator, with mini masks.

    python benchmarks/input.py                       # 512 and 1024, 10 and 100 instances
    python benchmarks/input.py --sides 512 --instances 10 --workers 0 2 --sources same

This is the generator's own cost: load_image() and load_mask() hand out arrays that lie ready in
memory. What remains: resizing picture and masks, boxes, mini masks, anchors and their targets,
molding and stacking.

--sources: the size of the dataset's pictures. "same" is that of the network's picture, so nothing
is resampled; 480x640 is COCO's, height before width.
--workers: 0 calls the generator in the loop; 1 and 2 make batches ahead, in threads, as train()
does.
"""

import itertools
import sys
import time
from pathlib import Path
from typing import Any

import common

BATCH = 2  # Config.IMAGES_PER_GPU


def measure(
    side: int, instances: int, source: str, workers: int, calls: int, threads: int
) -> dict[str, Any]:
    """In this process: the mean seconds of so many batches, after a warm-up."""
    import networks

    networks.fix_threads(threads)
    from arrays import ArrayDataset

    from mrcnn.config import Config
    from mrcnn.data.generator import DataGenerator
    from mrcnn.run.train import stream

    height, width = (side, side) if source == "same" else map(int, source.split("x"))
    scenes = [common.scene(height, instances, seed, width) for seed in range(2 * BATCH)]
    settings = {"IMAGE_MIN_DIM": side, "IMAGE_MAX_DIM": side, "IMAGES_PER_GPU": BATCH}
    config = type("InputConfig", (Config,), {"NAME": "input", "NUM_CLASSES": 81, **settings})()
    dataset = ArrayDataset(scenes, classes=81)
    generator = DataGenerator(dataset, config, steps=1_000_000, seed=0)
    if workers:
        batches = iter(stream(generator, workers))
    else:
        batches = (generator[i] for i in itertools.count())

    # Batches made ahead would count as free: the store, of four at most, is emptied first.
    for _ in range(common.WARM_UP + (4 if workers else 0)):
        next(batches)
    start = time.perf_counter()
    for _ in range(calls):
        next(batches)
    # One mean for each process: with workers, batches come two at a time.
    return {"seconds": [(time.perf_counter() - start) / calls], "peak MB": common.peak_mb()}


def main() -> None:
    options = common.parser(__doc__, calls=8)
    options.add_argument("--sides", type=int, nargs="+", default=[512, 1024])
    options.add_argument("--instances", type=int, nargs="+", default=[10, 100])
    options.add_argument("--sources", nargs="+", default=["same", "480x640"])
    options.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    args = options.parse_args()
    about = common.announce()

    rows = []
    for side, instances, source in itertools.product(args.sides, args.instances, args.sources):
        print(side, instances, source, file=sys.stderr)
        shown = {"side": side, "instances": instances, "source": source}
        fixed = {**shown, "calls": args.calls, "threads": args.threads}
        jobs = {
            f"{workers} workers": common.Job(Path(__file__), {**fixed, "workers": workers})
            for workers in args.workers
        }
        results = common.interleaved(jobs, args.rounds)
        for workers, result in zip(args.workers, results.values()):
            rates = {"pictures/s": "median s", "min": "max s", "max": "min s"}
            rates = {column: BATCH / result[seconds] for column, seconds in rates.items()}
            rows.append({**shown, "workers": workers, **rates, "peak MB": result["peak MB"]})
    common.report("input", args, about, pictures_a_second=rows)


if __name__ == "__main__":
    common.answer(measure) if "--one" in sys.argv else main()
