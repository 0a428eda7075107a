"""What a person gets: mask AP by start, number of pictures and seed, through the commands alone.

    python benchmarks/accuracy.py balloon=DATA/balloon cells=DATA/nucleus --seeds 1 2 3
    python benchmarks/accuracy.py balloon=DATA/balloon --starts start nucleus imagenet --minutes 15
    python benchmarks/accuracy.py --table accuracy.json

Each case is `mrcnn train` on the first so many pictures of a seeded order, then `mrcnn evaluate` on
all that is for validation. With --minutes every start trains as many epochs as fit in; else as many
as `mrcnn train` chooses. Rows are added to --out as they come, and a row that is there isn't made
again.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

# `imagenet` alone names no network: the start's, with nothing but its encoder filled.
BARE = ("BACKBONE=efficientnet_lite0", "MEAN_PIXEL=[127,127,127]", "TOP_DOWN_PYRAMID_SIZE=96")
BARE += ("RPN_CONV_CHANNELS=96", "FPN_CLASSIF_FC_LAYERS_SIZE=512", "MASK_CONV_CHANNELS=96")
BARE += ("TRAIN_BN=None", "POST_NMS_ROIS_TRAINING=500", "TRAIN_ROIS_PER_IMAGE=96")


def subset(data: Path, pictures: int | None, seed: int, folder: Path) -> tuple[Path, Path]:
    """Files of COCO's format: so many of the training pictures, and all for validation."""
    from mrcnn.data.parts import open_part
    from mrcnn.data.view import View
    from mrcnn.data.writers import labelled, write_coco

    files = []
    for part in ("train", "val"):
        dataset = open_part(data, "auto", part, "object")
        chosen = dataset.image_ids
        if part == "train" and pictures is not None:
            chosen = np.random.default_rng(seed).permutation(chosen)[:pictures]
        view = View([(dataset, int(i)) for i in chosen], dataset, dataset.class_names)
        files.append(folder / f"{part}.json")
        write_coco(files[-1], labelled(view, folder), view.class_names)
    return files[0], files[1]


def run(*words: Any) -> str:
    """Output of a command of ours. Raises RuntimeError with its last lines."""
    command = [sys.executable, "-m", "mrcnn", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def measure(name: str, data: Path, case: dict[str, Any], settings: list[str]) -> dict[str, Any]:
    """Train, evaluate; the row."""
    start = [] if case["start"] == "default" else ["--weights", case["start"]]
    chosen = list(BARE) if case["start"] == "imagenet" else []
    chosen = [word for setting in [*chosen, *settings] for word in ("--set", setting)]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        train, val = subset(data, case["pictures"], case["seed"], place)
        words = ["train", train, "--val", val, *start, *chosen, "--seed", case["seed"]]
        if case["minutes_allowed"]:
            words += ["--epochs", _epochs(words, place / "probe", case["minutes_allowed"])]
        began = time.monotonic()
        run(*words, "--logs", place / "logs")
        minutes = (time.monotonic() - began) / 60
        out = place / "evaluation"
        run("evaluate", val, "--subset", "all", "--weights", "last", *_logs(place), "--out", out)
        numbers = json.loads((out / "metrics.json").read_text("utf-8"))["masks"]
        (history,) = (place / "logs").glob("*/history.csv")
        epochs = sum(1 for _ in csv.DictReader(history.open(encoding="utf-8")))
    found = {key: round(numbers[key], 4) for key in ("AP", "AP50", "AP75")}
    return {"data": name, **case, "epochs": epochs, "minutes": round(minutes, 1), **found}


def _epochs(words: list[Any], logs: Path, minutes: float) -> int:
    """How many epochs fit into so many minutes, by the seconds of the second and the third."""
    run(*words, "--epochs", 3, "--set", "VALIDATION_AP_SHARE=0", "--logs", logs)
    written = sorted(path.stat().st_mtime for path in logs.glob("*/mask_rcnn_*_000?.h5"))
    return max(round(minutes * 60 * 2 / (written[-1] - written[0])), 1)


def _logs(place: Path) -> list[Any]:
    return ["--logs", place / "logs"]


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown, seeds brought together."""
    lines = ["| data | start | pictures | minutes | mask AP | AP50 | AP75 | seeds |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    groups: dict[tuple, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["data"], row["start"], row["pictures"]), []).append(row)
    for (name, start, pictures), group in groups.items():
        values = [_spread([row[key] for row in group]) for key in ("AP", "AP50", "AP75")]
        minutes = f"{np.mean([row['minutes'] for row in group]):.0f}"
        cells = [name, start, pictures or "all", minutes, *values, len(group)]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    text = f"{np.mean(values):.3f}"
    return text if len(values) == 1 else f"{text} ({min(values):.3f} to {max(values):.3f})"


def main(argv: list[str] | None = None) -> None:
    """Measure what isn't in the file yet, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="*", metavar="NAME=DATA")
    parser.add_argument("--starts", nargs="+", default=["default"])
    parser.add_argument("--pictures", nargs="+", type=int, help="default: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--minutes", type=float, help="of training; default: as chosen")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="settings")
    parser.add_argument("--out", type=Path, default=Path("accuracy.json"))
    parser.add_argument("--table", type=Path, metavar="FILE", help="only print what it holds")
    args = parser.parse_args(argv)
    out = args.table or args.out
    rows = json.loads(out.read_text("utf-8")) if out.exists() else []
    sets = dict(item.split("=", 1) for item in args.data)
    for name, data in sets.items():
        for seed in args.seeds:
            for pictures in args.pictures or [None]:
                for start in args.starts:
                    case = {"start": start, "pictures": pictures, "seed": seed}
                    case["minutes_allowed"] = args.minutes
                    if any({"data": name, **case}.items() <= row.items() for row in rows):
                        continue
                    rows.append(measure(name, Path(data).resolve(), case, args.settings))
                    print(rows[-1], flush=True)
                    part = out.with_name(f"{out.name}.part")
                    part.write_text(json.dumps(rows, indent=1), "utf-8")
                    os.replace(part, out)
    print(table(rows))


if __name__ == "__main__":
    main()
