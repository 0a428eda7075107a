"""A made-up film with known identities: ellipses that cross and pass behind a bar, and IDF1."""

from collections.abc import Iterator

import numpy as np
from scipy.optimize import linear_sum_assignment

HEIGHT, WIDTH = 240, 360


def frames(
    count: int = 150, objects: int = 20, seed: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(picture [height, width, 3], masks [height, width, n], who [n]) of each frame.

    What is nearer hides what is behind it, and a bar hides all. Things turn round at the border.
    """
    rng = np.random.default_rng(seed)
    radii = rng.uniform(9, 20, (objects, 2))
    place = rng.uniform(25, [HEIGHT - 25, WIDTH - 25], (objects, 2))
    speed = rng.uniform(1, 3, objects)
    angle = rng.uniform(0, 2 * np.pi, objects)
    velocity = speed[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    colors = rng.integers(90, 256, (objects, 3))
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    for _ in range(count):
        picture = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
        owner = np.full((HEIGHT, WIDTH), -1)
        for i in range(objects):
            first = np.maximum(place[i] - radii[i] - 1, 0).astype(int)
            last = (place[i] + radii[i] + 2).astype(int)
            here = tuple(map(slice, first, last))
            away = ((y[here] - place[i, 0]) / radii[i, 0]) ** 2
            inside = away + ((x[here] - place[i, 1]) / radii[i, 1]) ** 2 <= 1
            owner[here][inside] = i
            picture[here][inside] = colors[i]
        owner[:, 170:195] = -1
        picture[:, 170:195] = 10
        who = np.array([i for i in range(objects) if np.count_nonzero(owner == i) > 12], int)
        yield picture, owner[..., None] == who, who
        place += velocity
        for axis, end in enumerate((HEIGHT, WIDTH)):
            out = (place[:, axis] < 12) & (velocity[:, axis] < 0)
            out |= (place[:, axis] > end - 12) & (velocity[:, axis] > 0)
            velocity[out, axis] *= -1


def idf1(truth: list[list[int]], told: list[list[int]]) -> float:
    """IDF1 of instances whose true identity is known frame by frame (0: it was not detected).

    Of all ways to give each true object one of the numbers, the one that fits most instances.
    """
    pairs = [(a, b) for t, n in zip(truth, told) for a, b in zip(t, n)]
    whos, numbers = sorted({a for a, _ in pairs}), sorted({b for _, b in pairs if b})
    counts = np.zeros((len(whos), len(numbers)))
    for a, b in pairs:
        if b:
            counts[whos.index(a), numbers.index(b)] += 1
    right = counts[linear_sum_assignment(counts, maximize=True)].sum()
    return 2 * right / (len(pairs) + sum(b != 0 for _, b in pairs))


def switches(truth: list[list[int]], told: list[list[int]]) -> int:
    """How often a true object has another number than when it was seen last."""
    last: dict[int, int] = {}
    count = 0
    for t, n in zip(truth, told):
        for a, b in zip(t, n):
            count += bool(b) and last.get(a, b) != b
            last[a] = b or last.get(a, b)
    return count
