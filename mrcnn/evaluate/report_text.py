"""An evaluation as a few lines for a terminal."""

from collections.abc import Mapping
from typing import Any

_LISTED = 20  # classes; the report has them all


def as_text(metrics: Mapping[str, Any]) -> str:
    """The numbers that count. metrics: as from `all_metrics`."""
    kinds = [kind for kind in ("masks", "boxes") if metrics[kind]]
    lines = [
        f"{metrics['pictures']:,} pictures, {metrics['labels']:,} labels, "
        f"{metrics['detections']:,} detections; the best {metrics['max_detections']} of a picture "
        "and class count",
        "",
        *_aligned(
            ["", *kinds],
            [
                [name, *(_number(metrics[kind][name]) for kind in kinds)]
                for name in metrics["boxes"]
            ],
        ),
    ]
    if len(metrics["classes"]) > 1:
        # Those with the most labels: a terminal is no place for eighty rows.
        common = sorted(metrics["classes"], key=lambda row: -row["labels"])[:_LISTED]
        shown = [row for row in metrics["classes"] if row in common]
        rows = [
            [
                row["name"],
                f"{row['labels']:,}",
                *(_number(row[kind][name]) for kind in kinds for name in ("AP", "AP50")),
                _number(row["f1"]),
            ]
            for row in shown
        ]
        columns = [f"{kind} {name}" for kind in kinds for name in ("AP", "AP50")]
        lines += ["", *_aligned(["class", "labels", *columns, "F1"], rows)]
        if len(shown) < len(metrics["classes"]):
            lines.append(f"and {len(metrics['classes']) - len(shown)} rarer ones in the report")
    at, where = metrics["at"], "each class's own confidence"
    if at["threshold"] is not None:
        where = f"confidence {at['threshold']:g}"
    lines += [
        "",
        f"At {where}: precision {_number(at['precision'])}, recall "
        f"{_number(at['recall'])}, F1 {_number(at['f1'])}; {metrics['counts']['found']:,} found, "
        f"{metrics['counts']['labelled']:,} labelled",
    ]
    if at["threshold"] is not None and metrics["best_threshold"] not in (
        None,
        metrics["threshold"],
    ):
        best = max(r["f1"] for r in metrics["thresholds"] if r["f1"] is not None)
        lines.append(f"The best F1 is {_number(best)}, at confidence {metrics['best_threshold']:g}")
    return "\n".join(lines)


def _aligned(head: list[str], rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(head, *rows)]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in (head, *rows)
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
