"""What a job costs beside its detector: pictures a second and memory, here and in Ray.

python benchmarks/jobs.py [--pictures 2000] [--seconds 0.02] [--ray]

The detector takes a fixed time of a processor and finds two instances; so what is left is reading,
decoding, RLE and Parquet, and Ray's part. Processor time is of this process and of all that it
started, from the first part's end to the last's: on a busy machine the clock says little. Memory is
the resident size after a tenth of the pictures and at the end.
"""

import argparse
import functools
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from mrcnn.jobs import local, on_ray
from mrcnn.jobs.folder import JobFolder, What
from mrcnn.jobs.listing import list_pictures


def write_pictures(folder: Path, count: int, broken: int = 10) -> None:
    rng = np.random.default_rng(5)
    folder.mkdir()
    for i in range(count):
        noise = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((32, 24)).save(folder / f"{i:05}.png")
    for i in range(broken):
        (folder / f"{i * (count // broken):05}.png").write_bytes(b"no picture")


def make_detector(seconds: float):
    def detect(picture: np.ndarray) -> dict[str, np.ndarray]:
        until = time.process_time() + seconds
        while time.process_time() < until:
            picture.sum()
        height, width = picture.shape[:2]
        masks = np.zeros((height, width, 2), bool)
        masks[:9, :9, 0] = masks[9:, 9:, 1] = True
        return {
            "rois": np.int32([[0, 0, 9, 9], [9, 9, height, width]]),
            "class_ids": np.int32([1, 1]),
            "scores": np.float32([0.9, 0.8]),
            "masks": masks,
        }

    return detect


def megabytes(process: int) -> float:
    """The resident size of a process."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def actors() -> list[int]:
    """The processes of Ray in which our detector is."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"ray::MapWorker" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def processor_time() -> float:
    """Seconds that this process and all that descend from it have computed."""
    parents, seconds = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        parents[int(folder.name)] = int(words[1])
        seconds[int(folder.name)] = sum(map(int, words[11:15])) / os.sysconf("SC_CLK_TCK")
    ours = {os.getpid()}
    while more := {process for process, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(seconds[process] for process in ours)


def measure(runner: str, pictures: Path, seconds: float, count: int) -> dict:
    """One job from its beginning to its end."""
    times, sizes, spent = [], [], []

    def advance(number: int) -> None:
        times.extend([time.monotonic()] * number)
        if len(times) % 50 == 0:
            spent.append((len(times), processor_time()))
        others = [megabytes(process) for process in actors()] if runner == "ray" else []
        sizes.append((len(times), megabytes(os.getpid()), others))

    what = What([str(pictures)], "0" * 64, "none", {}, ["BG", "a"])
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        with JobFolder(folder, what, lambda: list_pictures([str(pictures)]), 50) as job:
            make = functools.partial(make_detector, seconds)
            if runner == "ray":
                on_ray.run(job, make, advance, count)
            else:
                local.run(job, make, advance)
            job.finish()
        whole = time.monotonic() - began
        size = sum(path.stat().st_size for path in (Path(folder) / "parts").iterdir())
    # From the end of the first part on: what the start took is told apart.
    (first, at_first), (last, at_last) = spent[count - 1], spent[-1]
    steady = (last - first) / (times[last - 1] - times[first - 1])
    tenth = next(entry for entry in sizes if entry[0] >= len(times) / 10)
    return {
        "runner": runner,
        "actors": count,
        "seconds": round(whole, 1),
        "start": round(times[0] - began, 1),
        "pictures_a_second": round(steady, 1),
        "processor_ms_a_picture": round((at_last - at_first) / (last - first) * 1000, 2),
        "bytes_a_picture": round(size / len(times)),
        "driver_mb": [round(tenth[1]), round(sizes[-1][1])],
        "actors_mb": [[round(size) for size in entry[2]] for entry in (tenth, sizes[-1])],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=0.02)
    parser.add_argument("--ray", action="store_true")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures"
        write_pictures(pictures, args.pictures)
        runs = [("local", 1)] + ([("ray", 1), ("ray", 2)] if args.ray else [])
        for runner, count in runs:
            found = measure(runner, pictures, args.seconds, count)
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
