"""How many mistakes in labels does `mrcnn data review` find? Some are made, and looked for.

    python benchmarks/label_errors.py data/nucleus/val --weights nucleus
    python benchmarks/label_errors.py data/cells --weights cells.h5 --errors 50 --seeds 5

Labels are changed in memory: some are taken away, shifted by half their size, grown by a third,
merged with a neighbour, given another class (where there are several), and some are added where
nothing is. The pictures are looked through once; every seed makes other mistakes. Counted is how
many of them are among the first suspects. What a data set has of mistakes of its own takes places
among these, too.
"""

import argparse
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pycocotools import mask as mask_utils
from scipy import ndimage

from mrcnn.evaluate.coco import Collected, annotations
from mrcnn.evaluate.review import Suspect, find_suspects

KINDS = ("removed", "added", "shifted", "grown", "merged")
LEAST_AREA = 50  # pixels of a label that is changed
POINTS_AT = 0.3  # IoU of a detection with what was taken away


@dataclass
class Mistake:
    """One that was made. row: in `truth` of the label that is wrong now, None where one is gone."""

    image_id: int
    kind: str
    row: int | None
    before: dict | None  # the RLE of the label as it was, None for an added one


def plant(collected: Collected, count: int, seed: int) -> tuple[Collected, list[Mistake]]:
    """A copy of the labels with `count` mistakes of all kinds in turn, and which they are."""
    rng = np.random.default_rng(seed)
    kinds = KINDS + (("renamed",) if len(collected.categories) > 1 else ())
    size = {row["id"]: (row["height"], row["width"]) for row in collected.pictures}
    rows = [dict(row) for row in collected.truth]
    touched: set[int] = set()
    gone: set[int] = set()
    mistakes = []
    order = rng.permutation(
        [i for i, row in enumerate(rows) if not row["iscrowd"] and row["area"] >= LEAST_AREA]
    ).tolist()
    while len(mistakes) < count and order:
        i = order.pop()
        kind = kinds[len(mistakes) % len(kinds)]
        if i in touched:
            continue
        image_id, mask = rows[i]["image_id"], mask_utils.decode(rows[i]["segmentation"]) > 0
        others = [j for j, row in enumerate(rows) if row["image_id"] == image_id and j not in gone]
        before = rows[i]["segmentation"]
        changed: np.ndarray | None = mask
        if kind == "removed":
            gone.add(i)
            mistakes.append(Mistake(image_id, kind, None, before))
            touched.add(i)
            continue
        if kind == "added":
            place = _free_place(
                rng, mask, [rows[j]["segmentation"] for j in others], size[image_id]
            )
            if place is None:
                continue
            rows += annotations(image_id, place[..., None], [rows[i]["category_id"]])
            mistakes.append(Mistake(image_id, kind, len(rows) - 1, None))
            touched.add(len(rows) - 1)
            continue
        if kind == "shifted":
            changed = _moved(mask, rng.uniform(0, 2 * np.pi), 0.5 * np.sqrt(mask.sum()))
        elif kind == "grown":
            steps = max(round(0.35 * np.sqrt(mask.sum() / np.pi)), 1)
            changed = ndimage.binary_dilation(mask, iterations=steps)
        elif kind == "merged":
            near = _neighbour(mask, {j: rows[j] for j in others if j not in touched and j != i})
            if near is None:
                continue
            changed = mask | (mask_utils.decode(rows[near]["segmentation"]) > 0)
            gone.add(near)
            touched.add(near)
        class_id = rows[i]["category_id"]
        if kind == "renamed":
            ids = [row["id"] for row in collected.categories if row["id"] != class_id]
            class_id = int(rng.choice(ids))
        if not changed.any():
            continue
        (rows[i],) = annotations(image_id, changed[..., None], [class_id])
        touched.add(i)
        mistakes.append(Mistake(image_id, kind, i, before))
    kept = [i for i in range(len(rows)) if i not in gone]
    place_of = {old: new for new, old in enumerate(kept)}
    for mistake in mistakes:
        mistake.row = None if mistake.row is None else place_of[mistake.row]
    truth = [rows[i] for i in kept]
    return Collected(collected.categories, collected.pictures, truth, collected.found), mistakes


def _moved(mask: np.ndarray, angle: float, distance: float) -> np.ndarray:
    by = (round(distance * np.sin(angle)), round(distance * np.cos(angle)))
    return ndimage.shift(mask.astype(np.uint8), by, order=0) > 0


def _free_place(
    rng: np.random.Generator, mask: np.ndarray, taken: list[dict], size: tuple[int, int]
) -> np.ndarray | None:
    """The same outline elsewhere, where no label is."""
    y, x = np.nonzero(mask)
    y, x = y - y.min(), x - x.min()
    union = mask_utils.decode(mask_utils.merge(taken)) > 0
    for _ in range(200):
        dy = int(rng.integers(0, max(size[0] - y.max(), 1)))
        dx = int(rng.integers(0, max(size[1] - x.max(), 1)))
        place = np.zeros(size, bool)
        place[y + dy, x + dx] = True
        if not (place & union).any():
            return place
    return None


def _neighbour(mask: np.ndarray, others: dict[int, dict]) -> int | None:
    """The nearest other label that lies no further than the label is large."""
    distance = ndimage.distance_transform_edt(~mask)
    gaps = {
        j: distance[mask_utils.decode(row["segmentation"]) > 0].min(initial=np.inf)
        for j, row in others.items()
        if row["area"] >= LEAST_AREA and not row["iscrowd"]
    }
    near = min(gaps, key=gaps.__getitem__, default=None)
    return near if near is not None and gaps[near] <= np.sqrt(mask.sum()) else None


def points_at(suspect: Suspect, mistake: Mistake, collected: Collected) -> bool:
    """Whether somebody who looks at the suspect sees the mistake."""
    if suspect.image_id != mistake.image_id:
        return False
    if mistake.row is not None and mistake.row in suspect.labels:
        return True
    if mistake.before is None or suspect.labels:
        return False
    found = [collected.found[i]["segmentation"] for i in suspect.found]
    ious = mask_utils.iou(found, [mistake.before], [0]) if found else np.zeros(1)
    return bool(np.max(ious) >= POINTS_AT)


def measure(collected: Collected, errors: int, first: int, seed: int) -> dict:
    """Plant mistakes and count those that the first suspects point at."""
    planted, mistakes = plant(collected, errors, seed)
    suspects = find_suspects(planted)[:first]
    seen = [any(points_at(s, mistake, planted) for s in suspects) for mistake in mistakes]
    made, found = Counter(m.kind for m in mistakes), Counter()
    found.update(m.kind for m, hit in zip(mistakes, seen) if hit)
    return {
        "seed": seed,
        "made": len(mistakes),
        "seen": sum(seen),
        "first": len(suspects),
        "by kind": {kind: f"{found[kind]} of {made[kind]}" for kind in made},
        "suspects": dict(Counter(s.kind for s in suspects)),
    }


def main(argv: list[str] | None = None) -> int:
    """Print a line for each seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="a folder of labelled pictures")
    parser.add_argument("--weights", default="nucleus")
    parser.add_argument("--subset", default="all")
    parser.add_argument("--class-name", default="nucleus")
    parser.add_argument("--errors", type=int, default=50)
    parser.add_argument("--first", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", help="a JSON file for the figures")
    args = parser.parse_args(argv)
    from mrcnn.data.parts import open_part
    from mrcnn.evaluate.coco import collect
    from mrcnn.evaluate.review import LOOKING
    from mrcnn.model import MaskRCNN

    dataset = open_part(args.data, "auto", args.subset, args.class_name)
    model = MaskRCNN.from_checkpoint(args.weights, **LOOKING)
    collected = collect(model, dataset)
    results = [measure(collected, args.errors, args.first, seed) for seed in range(args.seeds)]
    for result in results:
        print(json.dumps(result))
    if args.out:
        Path(args.out).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
