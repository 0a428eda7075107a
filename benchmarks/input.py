"""Pictures a second through the training generator, with mini masks.

    python benchmarks/input.py                       # 512 and 1024, 10 and 100 instances
    python benchmarks/input.py --sides 512 --instances 10 --makers "1 process" "2 processes"

This is the generator's own cost: load_image() and load_mask() hand out arrays that lie ready in
memory. What remains: resizing picture and masks, boxes, mini masks, anchors and their targets,
stacking, and with processes the way back.

--sources: the size of the dataset's pictures. "same" is that of the network's picture, so nothing
is resampled; 480x640 is COCO's, height before width.
--masks: "full" ones, as scripts make them, or "crops", as mrcnn.data.open has them.
--makers: "loop" calls the generator in the loop; the others make batches ahead, as train() does.
"""

import contextlib
import itertools
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import common

BATCH = 2  # Config.IMAGES_PER_GPU
STORE = 8  # batches made ahead, at most
MAKERS = ["loop", "1 thread", "2 threads", "1 process", "2 processes"]


def measure(
    side: int, instances: int, source: str, masks: str, maker: str, calls: int, threads: int
) -> dict[str, Any]:
    """In this process: the mean seconds of so many batches, after a warm-up."""
    import networks

    networks.fix_threads(threads)
    from arrays import ArrayDataset, CropDataset

    from mrcnn.config import Config
    from mrcnn.data.generator import DataGenerator

    height, width = (side, side) if source == "same" else map(int, source.split("x"))
    scenes = [common.scene(height, instances, seed, width) for seed in range(2 * BATCH)]
    settings = {"IMAGE_MIN_DIM": side, "IMAGE_MAX_DIM": side, "IMAGES_PER_GPU": BATCH}
    config = type("InputConfig", (Config,), {"NAME": "input", "NUM_CLASSES": 81, **settings})()
    dataset = (CropDataset if masks == "crops" else ArrayDataset)(scenes, classes=81)
    generator = DataGenerator(dataset, config, steps=1_000_000, seed=0)
    with _batches(generator, maker) as batches:
        # Batches made ahead would count as free: the store is emptied first.
        for _ in range(common.WARM_UP + STORE):
            next(batches)
        start = time.perf_counter()
        for _ in range(calls):
            next(batches)
        seconds = (time.perf_counter() - start) / calls
    # One mean for each process: those who make batches ahead bring several at a time.
    return {"seconds": [seconds], "peak MB": common.peak_mb()}


@contextlib.contextmanager
def _batches(generator: Any, maker: str) -> Iterator[Iterator]:
    from mrcnn.train.feed import stream, streams

    if maker == "loop":
        yield (generator[i] for i in itertools.count())
        return
    count, kind = maker.split()
    if kind.startswith("thread"):
        yield iter(stream(generator, int(count)))
        return
    with streams([generator], int(count)) as (batches,):
        yield iter(batches)


def main() -> None:
    options = common.parser(__doc__, calls=40)
    options.add_argument("--sides", type=int, nargs="+", default=[512, 1024])
    options.add_argument("--instances", type=int, nargs="+", default=[10, 100])
    options.add_argument("--sources", nargs="+", default=["same", "480x640"])
    options.add_argument("--masks", nargs="+", default=["full", "crops"], choices=["full", "crops"])
    options.add_argument("--makers", nargs="+", default=MAKERS, choices=MAKERS)
    args = options.parse_args()
    about = common.announce()

    rows = []
    settings = itertools.product(args.sides, args.instances, args.sources, args.masks)
    for side, instances, source, masks in settings:
        print(side, instances, source, masks, file=sys.stderr)
        shown = {"side": side, "instances": instances, "source": source, "masks": masks}
        fixed = {**shown, "calls": args.calls, "threads": args.threads}
        jobs = {
            maker: common.Job(Path(__file__), {**fixed, "maker": maker}) for maker in args.makers
        }
        for maker, result in common.interleaved(jobs, args.rounds).items():
            rates = {"pictures/s": "median s", "min": "max s", "max": "min s"}
            rates = {column: BATCH / result[seconds] for column, seconds in rates.items()}
            rows.append({**shown, "maker": maker, **rates, "peak MB": result["peak MB"]})
    common.report("input", args, about, pictures_a_second=rows)


if __name__ == "__main__":
    common.answer(measure) if "--one" in sys.argv else main()
