"""How time and memory of a detection grow with the picture, the batch, proposals and instances.

    python benchmarks/scaling.py                          # four tables, four plots
    python benchmarks/scaling.py --only proposals instances

One thing changes at a time; the rest stays at a ResNet-50, 512x512 pixels, one picture, 1000
proposals and 100 instances. Instances are the places for detections, all of them filled.
"""

import sys
from pathlib import Path
from typing import Any

import common

POINTS = {
    "side": [256, 512, 768, 1024, 1280],
    "batch": [1, 2, 4, 8],
    "proposals": [100, 250, 500, 1000, 2000],
    "instances": [1, 10, 50, 100, 200, 400],
}
STANDARD = {"side": 512, "batch": 1, "proposals": 1000, "instances": 100}


def measure(
    backbone: str, side: int, batch: int, proposals: int, instances: int, calls: int, threads: int
) -> dict[str, Any]:
    """In this process: seconds of each `detect`, peak memory, and how much was found."""
    import networks

    networks.fix_threads(threads)
    model = networks.detector(backbone, side, batch, proposals, instances)
    pictures = [common.scene(side, 20, seed)[0] for seed in range(batch)]
    seconds = common.timed(lambda: model.detect(pictures), calls)
    peak = common.peak_mb()
    found = min(len(result["scores"]) for result in model.detect(pictures))
    count = networks.count_proposals(model, pictures)
    return {"seconds": seconds, "peak MB": peak, "found": found, "proposed": count}


def plot(name: str, rows: list[dict], path: Path) -> None:
    """Time and memory over what changed, as a picture at `path`; over area instead of side."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    x = [row[name] ** 2 / 1e6 if name == "side" else row[name] for row in rows]
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    for i, column in enumerate(("median s", "peak MB"), start=1):
        ax = figure.add_subplot(1, 2, i, xlabel="area, megapixels" if name == "side" else name)
        ax.plot(x, [row[column] for row in rows], marker="o")
        ax.set_ylabel({"median s": "seconds a call", "peak MB": "peak memory, MB"}[column])
        ax.set_xlim(left=0)
        ax.set_ylim(bottom=0)
        ax.grid(alpha=0.3)
    figure.savefig(path, dpi=100)


def main() -> None:
    options = common.parser(__doc__)
    options.add_argument("--backbone", default="resnet50")
    options.add_argument("--only", nargs="+", choices=POINTS, default=list(POINTS))
    for name, points in POINTS.items():
        options.add_argument(f"--{name}", type=int, nargs="+", default=points)
    args = options.parse_args()
    about = common.announce()

    tables: dict[str, list[dict]] = {}
    for name in args.only:
        print(name, file=sys.stderr)
        fixed = {"backbone": args.backbone, "calls": args.calls, "threads": args.threads}
        jobs = {
            str(point): common.Job(Path(__file__), {**fixed, **STANDARD, name: point})
            for point in getattr(args, name)
        }
        results = common.interleaved(jobs, args.rounds)
        columns = ("median s", "min s", "max s", "peak MB", "proposed", "found")
        tables[name] = [
            {name: int(point), **{column: result[column] for column in columns}}
            for point, result in results.items()
        ]
    common.report("scaling", args, about, **tables)
    for name, rows in tables.items():
        plot(name, rows, args.out / f"scaling_{name}.png")
        print(f"Drawn: {args.out / f'scaling_{name}.png'}")


if __name__ == "__main__":
    common.answer(measure) if "--one" in sys.argv else main()
