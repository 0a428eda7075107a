"""What the benchmarks share: a process for each measurement, interleaved rounds, table and JSON.

A benchmark script describes measurements as settings (plain dicts). Each runs in a process of its
own, so that its peak memory and its threads are its own: the script starts itself, or
torch_side.py, with `--one SETTING`, and reads one line of JSON from it. Programs that are compared
take turns (A B A B ...), so that a change of the machine's speed meets all of them.

Nothing here imports TensorFlow, PyTorch or mrcnn.
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
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TORCH_SIDE = HERE / "torch_side.py"
QUIET = 0.5  # load, in processes that want a core, above which timings are not to be trusted
WARM_UP = 2  # calls before the clock starts: the first one traces, the second one allocates


class Job(NamedTuple):
    """One measurement: a script, the keyword arguments of its `measure`, an interpreter."""

    script: Path
    setting: dict[str, Any]
    python: str = sys.executable


# -- In the process that measures -------------------------------------------------------------


def answer(measure: Callable[..., dict[str, Any]]) -> None:
    """Run the setting that stands after `--one` and print the result as a line of JSON."""
    setting = json.loads(sys.argv[sys.argv.index("--one") + 1])
    if hasattr(os, "sched_setaffinity"):
        # What no library's own setting reaches, such as Python's threads, stays on these cores.
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[: setting["threads"]])
    sys.path.insert(1, str(ROOT))
    result = measure(**setting)
    print(json.dumps({"peak MB": peak_mb(), **result}))


def peak_mb() -> float:
    """The most memory this process has held so far, in MB."""
    unit = 1 if platform.system() == "Darwin" else 1024  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def timed(function: Callable[[], Any], calls: int, warm_up: int = WARM_UP) -> list[float]:
    """Seconds of each call of a function, after some that don't count."""
    for _ in range(warm_up):
        function()
    return [seconds_of(function) for _ in range(calls)]


def seconds_of(function: Callable[[], Any]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


# -- What is measured on ----------------------------------------------------------------------


def scene(
    side: int, instances: int, seed: int = 0, width: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A picture of discs on a patchwork, the same for every program.

    side: height, and width unless given, in pixels. Returns picture uint8 [height, width, 3],
    boxes int32 [instances, (y1, x1, y2, x2)] in pixels, masks bool [height, width, instances].
    """
    rng = np.random.default_rng(seed)
    shape = (side, width or side)
    patches = rng.integers(0, 256, (-(-shape[0] // 16), -(-shape[1] // 16), 3), np.uint8)
    picture = patches.repeat(16, axis=0).repeat(16, axis=1)[: shape[0], : shape[1]].copy()
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    radii = rng.uniform(max(4, side / 32), max(6, side / 8), instances)
    centers = rng.uniform(0.15, 0.85, (instances, 2)) * shape
    boxes, masks = np.zeros((instances, 4), np.int32), np.zeros((*shape, instances), bool)
    for i, ((y, x), radius) in enumerate(zip(centers, radii)):
        masks[:, :, i] = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
        picture[masks[:, :, i]] = rng.integers(0, 256, 3)
        ys, xs = masks[:, :, i].any(axis=1).nonzero()[0], masks[:, :, i].any(axis=0).nonzero()[0]
        boxes[i] = ys[0], xs[0], ys[-1] + 1, xs[-1] + 1
    return picture, boxes, masks


def candidates(boxes: np.ndarray, count: int, side: int, seed: int = 0) -> np.ndarray:
    """Made-up proposals: half of them near the instances (IoU above 0.5), half anywhere.

    boxes: [instances, (y1, x1, y2, x2)] in pixels. Returns float32 [count, 4] in pixels.
    """
    rng = np.random.default_rng(seed)
    near = boxes[np.arange(count // 2) % len(boxes)].astype(float)
    sides = np.tile(near[:, 2:] - near[:, :2], 2)
    near += rng.uniform(-0.08, 0.08, near.shape) * sides  # at worst 0.84 ** 2 of a box remains
    corners = rng.uniform(0, side - 1, (count - len(near), 2, 2))
    anywhere = np.concatenate([corners.min(axis=1), corners.max(axis=1) + 1], axis=1)
    return np.concatenate([near, anywhere]).clip(0, side).astype(np.float32)


def anchor_scales(side: int) -> tuple[int, ...]:
    """Sides of the anchors on P2..P6, in pixels: those of the shapes sample for small pictures."""
    return (8, 16, 32, 64, 128) if side <= 256 else (32, 64, 128, 256, 512)


# -- In the process that compares -------------------------------------------------------------


def parser(doc: str, rounds: int = 3, calls: int = 3) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    options = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    options.add_argument("--rounds", type=int, default=rounds, help="processes per program")
    options.add_argument("--calls", type=int, default=calls, help="timed calls in each process")
    options.add_argument("--threads", type=int, default=cores, help="of every library (all cores)")
    options.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")
    return options


def add_torch(options: argparse.ArgumentParser) -> None:
    """The options of a comparison with torchvision."""
    options.add_argument(
        "--torch-python", default=sys.executable, metavar="PATH", help="a Python with torchvision"
    )
    options.add_argument("--no-torch", action="store_true", help="measure mrcnn alone")


def torch_found(args: argparse.Namespace) -> bool:
    """Whether torchvision is wanted and there; says how to get it where it is missing."""
    if args.no_torch:
        return False
    probe = [args.torch_python, "-c", "import torchvision"]
    found = subprocess.run(probe, capture_output=True).returncode == 0
    if not found:
        print(
            f"{args.torch_python} has no torchvision, so mrcnn is measured alone: pip install -r "
            "benchmarks/requirements.txt, or give --torch-python a Python that has it."
        )
    return found


def interleaved(jobs: Mapping[str, Job], rounds: int) -> dict[str, dict[str, Any]]:
    """Run the jobs in turns, and sum each one up over its rounds.

    Returns, for each job, the median over its rounds of each fraction it reported (of anything
    else the last), "median s", "min s" and "max s" over all timed calls of all rounds, and the
    highest "peak MB". Exits with the error of a job that failed.
    """
    results: dict[str, list[dict]] = {name: [] for name in jobs}
    for i in range(rounds):
        for name, job in jobs.items():
            print(f"  round {i + 1} of {rounds}: {name}", file=sys.stderr, flush=True)
            results[name].append(run(job))
    return {name: _summary(parts) for name, parts in results.items()}


def run(job: Job) -> dict[str, Any]:
    """What one job measures, in a process of its own. Exits with its error where it fails."""
    command = [job.python, str(job.script), "--one", json.dumps(job.setting)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=_environment(job.setting["threads"])
    )
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        sys.exit(f"{job.script.name} failed for {job.setting}:\n{done.stderr[-4000:]}")
    return json.loads(lines[-1])


def _environment(threads: int) -> dict[str, str]:
    pools = ("OMP", "MKL", "OPENBLAS", "NUMEXPR")
    return {
        **os.environ,
        **{f"{pool}_NUM_THREADS": str(threads) for pool in pools},
        "CUDA_VISIBLE_DEVICES": "-1",  # both programs on the CPU
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def _summary(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    seconds = [value for part in parts for value in part.get("seconds", [])]
    summary = {
        name: statistics.median(part[name] for part in parts) if isinstance(value, float) else value
        for name, value in parts[-1].items()
    }
    summary["peak MB"] = max(part["peak MB"] for part in parts)
    if seconds:
        summary["median s"] = statistics.median(seconds)
        summary["min s"], summary["max s"] = min(seconds), max(seconds)
        summary["seconds"] = seconds
    return summary


def announce() -> dict[str, Any]:
    """Print the machine and its load, with a note where it is busy; returns both."""
    machine, load = _machine(), os.getloadavg()[0]
    print(f"{machine}; load {load:.2f}")
    if load > QUIET:
        print(f"NOTE: the load is above {QUIET}: other programs take part in these timings.")
    return {"machine": machine, "load": load, "date": time.strftime("%Y-%m-%d %H:%M")}


def _machine() -> str:
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
        name = names[0] if names else name
    # TensorFlow is installed under several names.
    modules = metadata.packages_distributions()
    packages = dict.fromkeys([*modules["tensorflow"], *modules["keras"]])
    versions = [f"{package} {metadata.version(package)}" for package in packages]
    return f"{name}, {os.cpu_count()} cores; Python {platform.python_version()}, " + ", ".join(
        versions
    )


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows under the names of their columns; numbers to the right, a missing value as "-"."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [columns, *([_cell(row.get(name)) for name in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    texts = [any(isinstance(row.get(name), str) for row in rows) for name in columns]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if text else cell.rjust(width)
            for cell, width, text in zip(line, widths, texts)
        ).rstrip()
        for line in cells
    )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)


def report(
    name: str, args: argparse.Namespace, about: Mapping[str, Any], **tables: list[dict]
) -> None:
    """Print the tables and write everything to <out>/<name>.json."""
    for title, rows in tables.items():
        print(f"\n{title.replace('_', ' ')}\n{table(rows)}")
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"{name}.json"
    options = {key: str(v) if isinstance(v, Path) else v for key, v in vars(args).items()}
    path.write_text(json.dumps({**about, "options": options, **tables}, indent=2) + "\n")
    print(f"\nWritten to {path}")
