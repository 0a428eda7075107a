"""Seconds of a whole detection call, ours against torchvision's, and where they go.

    python benchmarks/inference.py                     # R50 and R101, 512 and 1024, batch 1 and 4
    python benchmarks/inference.py --backbones resnet50 --sides 512 --batches 1 --no-torch
    python benchmarks/inference.py --engines openvino onnx    # exported files beside both

The whole call is `model.detect(pictures)`, uint8 pictures in, bool masks of full size out; for
torchvision the same from the same NumPy arrays to the same. Both fill 1000 proposals and 100
detections a picture; the table shows how many there were. Stages are measured apart, once.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import common


def measure(
    backbone: str,
    side: int,
    batch: int,
    calls: int,
    proposals: int,
    instances: int,
    stages: bool,
    threads: int,
    engine: str = "",
) -> dict[str, Any]:
    """Our side, in this process; with an engine, its exported file in place of the network."""
    import networks

    networks.fix_threads(threads)
    model = networks.detector(backbone, side, batch, proposals, instances)
    pictures = [common.scene(side, 20, seed)[0] for seed in range(batch)]
    if stages:
        return {"stages": networks.stage_seconds(model, pictures, calls)}
    if engine:
        return _exported(model, pictures, calls, threads, engine)
    found = min(len(result["scores"]) for result in model.detect(pictures))
    seconds = common.timed(lambda: model.detect(pictures), calls, common.WARM_UP - 1)
    peak = common.peak_mb()  # before the count, which runs the graph uncompiled
    count = networks.count_proposals(model, pictures)
    return {"seconds": seconds, "peak MB": peak, "proposals": count, "detections": found}


def _exported(model: Any, pictures: list, calls: int, threads: int, engine: str) -> dict[str, Any]:
    """The network's file, written and then measured as the network is; one picture at a time.

    The process has exported it as well, so its peak memory says nothing of the file.
    """
    from mrcnn.detect.card import files_of
    from mrcnn.detect.exported import Exported
    from mrcnn.export.export import export

    with tempfile.TemporaryDirectory() as folder:
        path = export(model, engine, folder, say=lambda text: None)
        opening = common.seconds_of(lambda: Exported(path, threads=threads))
        exported = Exported(path, threads=threads)
        size = sum(file.stat().st_size for file in files_of(path)) / 1e6
    found = min(len(result["scores"]) for result in exported.detect(pictures))
    seconds = common.timed(lambda: exported.detect(pictures), calls, common.WARM_UP - 1)
    told = {"detections": found, "open s": opening, "file MB": size}
    return {"seconds": seconds, "proposals": None, **told}


def main() -> None:
    options = common.parser(__doc__)
    common.add_torch(options)
    options.add_argument("--backbones", nargs="+", default=["resnet50", "resnet101"])
    options.add_argument("--sides", type=int, nargs="+", default=[512, 1024])
    options.add_argument("--batches", type=int, nargs="+", default=[1, 4])
    options.add_argument("--proposals", type=int, default=1000)
    options.add_argument("--instances", type=int, default=100)
    engines = ("saved_model", "openvino", "onnx")
    options.add_argument("--engines", nargs="+", default=[], choices=engines)
    options.add_argument("--no-stages", action="store_true", help="whole calls alone")
    args = options.parse_args()
    about, with_torch = common.announce(), common.torch_found(args)

    calls, stages = [], []
    for backbone in args.backbones:
        for side in args.sides:
            for batch in args.batches:
                shown = {"network": backbone, "side": side, "batch": batch}
                print(*shown.values(), file=sys.stderr)
                jobs = _jobs(shown, args, with_torch, stages=False)
                results = common.interleaved(jobs, args.rounds)
                ours = results["mrcnn"]["median s"]
                for program, result in results.items():
                    calls.append({**shown, "program": program, **_columns(result, batch)})
                    calls[-1]["times mrcnn"] = result["median s"] / ours
                    about.update({"torch": result["versions"]} if "versions" in result else {})
                if args.no_stages:
                    continue
                for program, job in _jobs(shown, args, with_torch, stages=True).items():
                    parts = common.run(job)["stages"]
                    whole = sum(parts.values())
                    shares = {name: 100 * part / whole for name, part in parts.items()}
                    stages.append({**shown, "program": program, "sum s": whole, **shares})
    tables = {"whole_calls": calls, "percent_of_the_time_by_stage": stages}
    common.report("inference", args, about, **{k: rows for k, rows in tables.items() if rows})


def _jobs(shown: dict, args: Any, with_torch: bool, stages: bool) -> dict[str, common.Job]:
    setting = {
        "backbone": shown["network"],
        "side": shown["side"],
        "batch": shown["batch"],
        "calls": args.calls,
        "proposals": args.proposals,
        "instances": args.instances,
        "stages": stages,
        "threads": args.threads,
    }
    jobs = {"mrcnn": common.Job(Path(__file__), setting)}
    for engine in [] if stages else args.engines:
        jobs[f"mrcnn, {engine}"] = common.Job(Path(__file__), {**setting, "engine": engine})
    if with_torch:
        setting = {"task": "inference", **setting}
        jobs["torchvision"] = common.Job(common.TORCH_SIDE, setting, args.torch_python)
    return jobs


def _columns(result: dict[str, Any], batch: int) -> dict[str, Any]:
    columns = ("median s", "min s", "max s", "peak MB", "proposals", "detections")
    more = {k: result[k] for k in ("open s", "file MB") if k in result}
    return {**{k: result[k] for k in columns}, "s a picture": result["median s"] / batch, **more}


if __name__ == "__main__":
    common.answer(measure) if "--one" in sys.argv else main()
