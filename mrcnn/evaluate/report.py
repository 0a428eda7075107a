"""One page of HTML that shows an evaluation, for a phone and a desktop, by day and by night.

    write_report("report.html", metrics, about, worst, best)

The page holds all that it shows and fetches nothing.
"""

import os
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from mrcnn.evaluate.charts import count_chart, line_chart
from mrcnn.evaluate.metrics import BACKGROUND, IOU
from mrcnn.evaluate.report_pictures import Example
from mrcnn.evaluate.report_style import STYLE
from mrcnn.whole import WholeFile

_MOST_CONFUSED = 30  # classes in the table of confusions; more can't be taken in
_CURVES = {"0.50": "IoU 0.50", "0.75": "IoU 0.75", "mean": "mean of 0.50–0.95"}
_EXPLAINED = {
    "AP": "average precision, mean over IoU 0.50–0.95",
    "AP50": "at IoU 0.50: found at all",
    "AP75": "at IoU 0.75: found with a good outline",
    "AR1": "average recall, the most confident detection of a picture",
    "AR10": "the 10 most confident",
    "AR100": "the 100 most confident",
}


def write_report(
    path: str | os.PathLike,
    metrics: Mapping[str, Any],
    about: Mapping[str, Any],
    worst: Sequence[Example] = (),
    best: Sequence[Example] = (),
) -> None:
    """Write the page, all of it or nothing.

    metrics: as from `all_metrics`.
    about: {"title", "facts": {name: value}, "notes": [sentence], "config": {name: value}}; the
        facts stand at the head of the page (date, weights, data).
    Raises OSError where it can't be written.
    """
    write_text(path, page(metrics, about, worst, best))


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text file, all of it or nothing. Raises OSError."""
    WholeFile(Path(path)).close([text])


def page(
    metrics: Mapping[str, Any],
    about: Mapping[str, Any],
    worst: Sequence[Example] = (),
    best: Sequence[Example] = (),
) -> str:
    """The page as text; see `write_report`."""
    sections = [
        _head(metrics, about),
        _section("Average precision and recall", _overall(metrics)),
        _section("Classes", _classes(metrics)),
        _section("Precision and recall", _curves(metrics)),
        _section("Which confidence to choose", _thresholds(metrics)),
        _section("Confusions", _confusion(metrics)),
        _section("Counts", _counts(metrics)),
        _section("Worst pictures", _examples(worst, metrics)),
        _section("Best pictures", _examples(best, metrics)),
        _section("Settings", _settings(about)),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(about['title'])}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<main>\n{''.join(sections)}</main>\n</body>\n</html>\n"
    )


# -- Sections -------------------------------------------------------------------------------


def _head(metrics: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    at, where = metrics["at"], f"from {_where(metrics)} on"
    masks, boxes = metrics["masks"] or {}, metrics["boxes"]
    cards = [
        ("Mask AP", _number(masks.get("AP")), "mean over IoU 0.50–0.95"),
        ("Mask AP50", _number(masks.get("AP50")), "at IoU 0.50"),
        ("Box AP", _number(boxes["AP"]), "mean over IoU 0.50–0.95"),
        ("Box AP50", _number(boxes["AP50"]), "at IoU 0.50"),
        ("Precision", _number(at["precision"]), where),
        ("Recall", _number(at["recall"]), where),
    ]
    cards = [card for card in cards if metrics["masks"] or not card[0].startswith("Mask")]
    shown = "".join(
        f'<div class="card"><div class="what">{name}</div><div class="number">{number}</div>'
        f'<div class="note">{note}</div></div>'
        for name, number, note in cards
    )
    notes = "".join(f"<p>{escape(note)}</p>" for note in about.get("notes", ()))
    return (
        f"<header><h1>{_breakable(about['title'])}</h1>{_list(about['facts'])}</header>\n"
        f'<div class="cards">{shown}</div>\n'
        + (f'<aside class="notes">{notes}</aside>\n' if notes else "")
    )


def _overall(metrics: Mapping[str, Any]) -> str:
    kinds = [kind for kind in ("masks", "boxes") if metrics[kind]]
    rows = []
    for name in metrics["boxes"]:
        cells = [_number(metrics[kind][name]) for kind in kinds]
        rows.append([f"<b>{escape(name)}</b>", *cells, escape(_explained(name, metrics))])
    most = metrics["max_detections"]
    return (
        "<p>COCO’s numbers, all classes with labels weighing the same. They take in detections of "
        f"any confidence, up to {most} of a picture and class.</p>"
        + _table(["", *(kind.capitalize() for kind in kinds), "Meaning"], rows, text={0, -1})
    )


def _explained(name: str, metrics: Mapping[str, Any]) -> str:
    if name == "AR_max":
        return f"the {metrics['max_detections']} most confident"
    kind, _, area = name.partition("_")
    if not area:
        return _EXPLAINED[name]
    least, greatest = metrics["areas"][area]
    what = "AP" if kind == "AP" else "AR"
    span = f"from {least:,.0f}" if greatest >= 1e9 else f"{least:,.0f} to {greatest:,.0f}"
    return f"{what} of {area} instances, {span} pixels"


def _classes(metrics: Mapping[str, Any]) -> str:
    masks = metrics["masks"] is not None
    own = metrics["at"]["threshold"] is None
    at = "" if own else f"at {metrics['threshold']:g}"
    head = ["Class", "Labels"]
    head += ["Mask AP", "AP50", "AP75"] if masks else []
    head += ["Box AP", "AP50", *(["Confidence"] if own else [])]
    head += [f"{name} {at}".strip() for name in ("Precision", "Recall", "F1")]
    rows = []
    shown = [row for row in metrics["classes"] if row["labels"] or row["precision"] is not None]
    for row in shown:
        numbers = [row["masks"][name] for name in ("AP", "AP50", "AP75")] if masks else []
        numbers += [row["boxes"]["AP"], row["boxes"]["AP50"]]
        numbers += [row["threshold"]] if own else []
        numbers += [row["precision"], row["recall"], row["f1"]]
        rows.append([escape(row["name"]), f"{row['labels']:,}", *map(_number, numbers)])
    left = len(metrics["classes"]) - len(shown)
    absent = f" ({left} more are not shown)" if left else ""
    note = f"<p>A dash: nothing to measure. Classes without labels{absent} count in no average."
    note += " Each class is counted from its own confidence on.</p>" if own else "</p>"
    return note + _table(head, rows, text={0})


def _curves(metrics: Mapping[str, Any]) -> str:
    if metrics["curves"] is None:
        return "<p>There are no labels to draw a curve from.</p>"
    kind = "masks" if metrics["masks"] else "boxes"
    charts = [_figure(_curve(metrics["curves"], "all classes"), f"All classes, {kind}")]
    several = [row for row in metrics["classes"] if row["curves"] is not None]
    shown = f'<div class="charts">{charts[0]}</div>'
    if len(several) > 1:
        small = "".join(
            _figure(_curve(row["curves"], row["name"], legend=False), escape(row["name"]))
            for row in several
        )
        shown += (
            f"<details><summary>Each of the {len(several)} classes</summary>"
            f'<div class="charts">{small}</div></details>'
        )
    return shown


def _curve(curves: Mapping[str, list[float]], name: str, legend: bool = True) -> str:
    series = [
        # Past the recall that was reached, precision is 0: no line along the axis.
        (_CURVES[key], [(i / 100, value) for i, value in enumerate(values) if value or not i])
        for key, values in curves.items()
    ]
    return line_chart(series, "Recall", "Precision", f"Precision over recall, {name}", legend)


def _thresholds(metrics: Mapping[str, Any]) -> str:
    rows, marked = [], {}
    for i, row in enumerate(metrics["thresholds"]):
        if row["threshold"] == metrics["at"]["threshold"]:
            marked[i] = "used"
        if row["threshold"] == metrics["best_threshold"]:
            marked[i] = f"{marked.get(i, '')} best".strip()
        numbers = [_number(row[name]) for name in ("precision", "recall", "f1")]
        rows.append([f"{row['threshold']:g}", f"{row['found']:,}", *numbers])
    series = [
        (name, [(r["threshold"], r[key]) for r in metrics["thresholds"] if r[key] is not None])
        for name, key in (("F1", "f1"), ("Precision", "precision"), ("Recall", "recall"))
    ]
    chart = line_chart(series, "Least confidence", "", "Precision, recall and F1 by confidence")
    table = _table(["Confidence", "Found", "Precision", "Recall", "F1"], rows, marked=marked)
    best = metrics["best_threshold"]
    told = "" if best is None else f"F1 is best at {best:g} (green). "
    if metrics["at"]["threshold"] is None:
        told += "Counts on this page are made at each class’s own, in the table of classes."
    else:
        told += f"Counts on this page are made at {metrics['threshold']:g} (bold)."
    told += _alike(metrics)
    return (
        "<p>What remains when detections below a confidence are dropped, all classes together. A "
        f"detection is right if it overlaps a label of its class with an IoU of {IOU:g} or more. "
        "The Config’s <code>DETECTION_MIN_CONFIDENCE</code>, or <code>--min-confidence</code> of "
        f"<code>mrcnn detect</code>, sets it. {told}</p>"
        f'<div class="pair">{table}<div>{_figure(chart, "All classes")}</div></div>'
    )


def _alike(metrics: Mapping[str, Any]) -> str:
    """Why the first rows of the table by threshold are all the same, where they are."""
    rows = metrics["thresholds"]
    alike = [row["threshold"] for row in rows if row["found"] == rows[0]["found"]]
    if len(alike) < 2 or not rows[0]["found"]:
        return ""
    told = f" Up to {alike[-1]:g} the rows are alike, for no detection has less."
    if len(metrics["classes"]) == 1:
        told += (
            " With one class, what is less sure than 0.5 is background to the network, unless the "
            "Config has <code>DETECTION_EVERY_CLASS</code>."
        )
    return told


def _confusion(metrics: Mapping[str, Any]) -> str:
    names, matrix = metrics["confusion"]["classes"], metrics["confusion"]["matrix"]
    totals = [sum(row) + sum(column) for row, column in zip(matrix, zip(*matrix))]
    busy = sorted(range(1, len(names)), key=lambda i: -totals[i])
    busy = [i for i in busy if totals[i]][:_MOST_CONFUSED]
    shown = [0, *sorted(busy)]
    rows = []
    for i in shown:
        most = max((matrix[i][j] for j in range(len(names))), default=0)
        cells = []
        for j in shown:
            share = round(70 * matrix[i][j] / most) if most else 0
            kind = "right" if i == j else "wrong"
            value = f"{matrix[i][j]:,}" if i or j else "–"
            cells.append(f'<td class="{kind}" style="--share:{share}%">{value}</td>')
        label = "nothing" if not i else escape(names[i])
        rows.append(f'<tr><th scope="row">{label}</th>{"".join(cells)}</tr>')
    head = "".join(f'<th scope="col">{"missed" if not j else escape(names[j])}</th>' for j in shown)
    left_out = sum(total > 0 for total in totals[1:]) - len(busy)
    more = f" {left_out} rarer classes are in metrics.json." if left_out else ""
    return (
        f"<p>Rows are what was labelled, columns as what it was found, at {_where(metrics)} and "
        f"IoU {IOU:g}. The row “nothing” counts detections of "
        f"{BACKGROUND}, the column “missed” labels that were not found.{more}</p>"
        f'<div class="scroll"><table class="confusion"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _counts(metrics: Mapping[str, Any]) -> str:
    counts, pictures = metrics["counts"], metrics["per_picture"]
    if not pictures:
        return "<p>There are no pictures.</p>"
    chart = count_chart(
        [(row["labelled"], row["found"]) for row in pictures],
        "Labelled",
        "Found",
        "Instances found over instances labelled, a point for each picture",
    )
    facts = {
        "Labelled": f"{counts['labelled']:,}",
        "Found": f"{counts['found']:,}",
        "Mean error of a picture": f"{counts['mean_error']:+.2f}",
        "Mean absolute error": f"{counts['mean_absolute_error']:.2f}",
    }
    off = sorted(pictures, key=lambda row: -abs(row["found"] - row["labelled"]))[:10]
    rows = [
        [
            escape(row["name"]),
            f"{row['labelled']:,}",
            f"{row['found']:,}",
            f"{row['found'] - row['labelled']:+,}",
        ]
        for row in off
        if row["found"] != row["labelled"]
    ]
    table = _table(["Furthest off", "Labelled", "Found", "Error"], rows, text={0}) if rows else ""
    return (
        f"<p>Instances in a picture at {_where(metrics)}; a point on the line "
        f"has as many as were labelled.</p>{_list(facts)}"
        f'<div class="pair"><div>{_figure(chart, "A point for each picture")}</div>{table}</div>'
    )


def _examples(examples: Sequence[Example], metrics: Mapping[str, Any]) -> str:
    if not examples:
        return ""
    shown = []
    for example in examples:
        row = example.row
        name = _breakable(row["name"])
        told = [f"{row['labelled']} labelled", f"{row['found']} found", f"{row['matched']} matched"]
        told += [f"F1 {_number(row['f1'])}", f"IoU {_number(row['iou'])}"]
        shown.append(
            f'<article><h3>{name}</h3><p class="told">{" · ".join(told)}</p><div class="two">'
            + _figure(_picture(example.labelled, f"Labels of {row['name']}"), "Labelled")
            + _figure(_picture(example.found, f"Detections in {row['name']}"), "Found")
            + "</div></article>"
        )
    legend = (
        '<p><span class="key right">■</span> matched  <span class="key wrong">■</span> missed '
        'label, or detection of nothing  <span class="key crowd">■</span> crowd. At '
        f"{_where(metrics)}, by panoptic quality: F1 times the mean IoU of the matched. A "
        "click on a picture enlarges it.</p>"
    )
    return legend + "".join(shown)


def _settings(about: Mapping[str, Any]) -> str:
    return _list(about["config"]) if about.get("config") else ""


# -- Pieces ---------------------------------------------------------------------------------


def _where(metrics: Mapping[str, Any]) -> str:
    """From which confidence on instances are counted."""
    at = metrics["at"]["threshold"]
    return "each class’s own confidence" if at is None else f"confidence {at:g}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>\n{content}</section>\n" if content else ""


def _figure(content: str, caption: str) -> str:
    return f"<figure>{content}<figcaption>{caption}</figcaption></figure>"


def _picture(source: str, what: str) -> str:
    """A picture that fills the window when it is clicked at, or the space key pressed on it."""
    return (
        f'<label class="zoom"><input type="checkbox" aria-label="Enlarge"><span class="view">'
        f'<img src="{source}" alt="{escape(what)}"></span></label>'
    )


def _breakable(name: str) -> str:
    """A name as HTML, which breaks behind its signs before it breaks within a word."""
    return re.sub(r"(?<=[_./\\-])(?=\w)", "<wbr>", escape(name))


def _list(facts: Mapping[str, Any]) -> str:
    rows = (
        f"<div><dt>{escape(str(name))}</dt><dd>{escape(str(value))}</dd></div>"
        for name, value in facts.items()
    )
    return f"<dl>{''.join(rows)}</dl>"


def _table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    text: set[int] | frozenset[int] = frozenset(),
    marked: Mapping[int, str] | None = None,
) -> str:
    """A table in a box of its own that scrolls; cells are HTML. text: columns of words."""
    text = {column % len(head) for column in text if column < len(head)}
    kinds = ['class="text"' if i in text else "" for i in range(len(head))]
    top = "".join(f"<th scope='col' {k}>{name}</th>" for k, name in zip(kinds, head))
    body = "".join(
        f'<tr class="{(marked or {}).get(i, "")}">'
        + "".join(f"<td {kind}>{cell}</td>" for kind, cell in zip(kinds, row))
        + "</tr>"
        for i, row in enumerate(rows)
    )
    table = f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    more = '<p class="more">The table goes on to the right.</p>' if len(head) > 5 else ""
    return f'{more}<div class="scroll">{table}</div>'
