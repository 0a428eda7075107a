"""A job with a detector that needs no network, as a program that can be killed.

python fake_job.py FOLDER PICTURES RUNNER [SECONDS_A_PICTURE] [ACTORS] [PART_SIZE]
"""

import functools
import os
import sys
import time
from pathlib import Path

import numpy as np

from mrcnn.jobs import local, on_ray
from mrcnn.jobs.folder import JobFolder, What
from mrcnn.jobs.listing import list_pictures

NAMES = ["BG", "bright", "dark"]


calls: list[int] = []


def found_in(picture: np.ndarray, seconds: float = 0.0) -> dict[str, np.ndarray]:
    """What is brighter and what is darker than the middle, in the left and the right half."""
    calls.append(1)
    if "KILLER" in os.environ and picture.shape[0] == 13:
        os.kill(os.getpid(), 9)
    if len(calls) == int(os.environ.get("DIES_AT", 0)):
        os.kill(os.getpid(), 9)
    until = time.process_time() + seconds
    gray = picture.mean(axis=2) if picture.ndim == 3 else picture.astype(float)
    while time.process_time() < until:
        gray.sum()
    height, width = gray.shape
    masks = np.zeros((height, width, 2), bool)
    masks[:, : width // 2, 0] = gray[:, : width // 2] >= gray.mean()
    masks[:, width // 2 :, 1] = gray[:, width // 2 :] < gray.mean()
    return {
        "rois": np.int32([[0, 0, height, width // 2], [0, width // 2, height, width]]),
        "class_ids": np.int32([1, 2]),
        "scores": np.float32([0.9, gray.mean() / 255]),
        "masks": masks,
    }


def make_detector(seconds: float = 0.0):
    """Of what `found_in` does, where it takes so many seconds of a processor."""
    return functools.partial(found_in, seconds=seconds)


def what(sources: list[str], **other) -> What:
    """A job of this detector."""
    told = {"weights": "0" * 64, "engine": "none", "config": {"NAME": "x"}, "class_names": NAMES}
    return What(sources, **{**told, **other})


def run(
    folder: Path,
    sources: list[str],
    runner: str = "local",
    seconds: float = 0.0,
    actors: int = 2,
    part_size: int = 20,
) -> int:
    """Begin a job or go on with it; returns how many pictures failed."""
    with JobFolder(folder, what(sources), lambda: list_pictures(sources), part_size) as job:
        make = functools.partial(make_detector, seconds)
        if runner == "ray":
            on_ray.run(job, make, lambda n: None, actors)
        else:
            local.run(job, make, lambda n: None)
        return job.finish()


if __name__ == "__main__":
    folder, sources, runner, *rest = sys.argv[1:]
    run(
        Path(folder),
        [sources],
        runner,
        *(kind(word) for kind, word in zip((float, int, int), rest)),
    )
