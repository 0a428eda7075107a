"""How much of this machine's arithmetic each stage of a detection reaches.

    python benchmarks/roofline.py                              # R50 and R101, 512 and 1024
    python benchmarks/roofline.py --backbones resnet50 --sides 512

GFLOP are those of convolutions and matrix products, counted in the traced graph (a multiplication
and an addition are two). The peak is measured: the best of three matrix products and a 3x3
convolution (256 to 256 channels), with the same threads. A stage without such operations
(proposals, ROIAlign, NMS, paste) has no fraction: only its time counts.
"""

import itertools
import statistics
import sys
from pathlib import Path
from typing import Any

import common


def measure(what: str, calls: int, threads: int, **setting: Any) -> dict[str, Any]:
    """In this process: the machine's peak, or the stages of one network."""
    import networks

    networks.fix_threads(threads)
    if what == "peak":
        return {"peaks": _peaks(calls, **setting)}
    return _stages(networks, calls, **setting)


def _peaks(calls: int, largest: int) -> dict[str, float]:
    """GFLOP/s of the fastest call; matrices of at most `largest` rows."""
    import tensorflow as tf

    found = {}
    for n in (largest // 2, largest * 3 // 4, largest):
        x = tf.random.normal([n, n])
        seconds = min(common.timed(lambda x=x: tf.matmul(x, x), calls))
        found[f"matmul {n}"] = 2 * n**3 / 1e9 / seconds
    side = largest // 32
    x, kernel = tf.random.normal([1, side, side, 256]), tf.random.normal([3, 3, 256, 256])
    convolve = tf.function(lambda: tf.nn.conv2d(x, kernel, 1, "SAME"))
    seconds = min(common.timed(convolve, calls))
    found[f"conv 3x3 {side}x{side}"] = 2 * side**2 * 9 * 256**2 / 1e9 / seconds
    return found


def _stages(networks: Any, calls: int, backbone: str, side: int, proposals: int) -> dict[str, Any]:
    model = networks.detector(backbone, side, batch=1, proposals=proposals)
    pictures = [common.scene(side, 20)[0]]
    found = len(model.detect(pictures)[0]["scores"])
    return {
        "gflop": networks.stage_gflop(model, side, 1, found),
        "stages": networks.stage_seconds(model, pictures, calls),
    }


def main() -> None:
    options = common.parser(__doc__, rounds=1, calls=5)
    options.add_argument("--backbones", nargs="+", default=["resnet50", "resnet101"])
    options.add_argument("--sides", type=int, nargs="+", default=[512, 1024])
    options.add_argument("--proposals", type=int, default=1000)
    options.add_argument("--largest", type=int, default=4096, help="rows of the largest matrix")
    args = options.parse_args()
    about = common.announce()

    base = {"calls": args.calls, "threads": args.threads}
    job = common.Job(Path(__file__), {"what": "peak", "largest": args.largest, **base})
    rounds = [common.run(job)["peaks"] for _ in range(args.rounds)]
    peaks = {name: max(part[name] for part in rounds) for name in rounds[0]}
    peak = max(peaks.values())

    rows = []
    for backbone, side in itertools.product(args.backbones, args.sides):
        print(backbone, side, file=sys.stderr)
        network = {"backbone": backbone, "side": side, "proposals": args.proposals}
        setting = {"what": "stages", **network, **base}
        parts = [common.run(common.Job(Path(__file__), setting)) for _ in range(args.rounds)]
        gflop = parts[0]["gflop"]
        seconds = {
            name: statistics.median(part["stages"][name] for part in parts)
            for name in parts[0]["stages"]
        }
        gflop["whole call"], seconds["whole call"] = sum(gflop.values()), sum(seconds.values())
        rows += [
            {"network": backbone, "side": side, "stage": name, "s": spent}
            | _reached(gflop.get(name, 0.0), spent, peak)
            for name, spent in seconds.items()
        ]
    peak_rows = [{"operation": name, "GFLOP/s": value} for name, value in peaks.items()]
    common.report("roofline", args, about, peak_of_this_machine=peak_rows, stages=rows)


def _reached(gflop: float, seconds: float, peak: float) -> dict[str, float | None]:
    if gflop <= 0 or seconds <= 0:
        return {"GFLOP": None, "GFLOP/s": None, "% of peak": None}
    rate = gflop / seconds
    return {"GFLOP": gflop, "GFLOP/s": rate, "% of peak": 100 * rate / peak}


if __name__ == "__main__":
    common.answer(measure) if "--one" in sys.argv else main()
