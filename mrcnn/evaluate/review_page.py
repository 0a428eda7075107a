"""A review as files: two lists as CSV, both as JSON, and one page of HTML with pictures.

Told       {"picture", "kind", "confidence", "class", "better", "x", "y", "width", "height",
            "labels"}
           x to height: pixels of the picture; labels: 1, 2, .. in the order of its labels
           "cut_outs" beside them, (plain, outlined), is for the page alone
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from mrcnn.evaluate.label_next import Next
from mrcnn.evaluate.report_style import STYLE
from mrcnn.evaluate.review import KINDS
from mrcnn.whole import WholeFile
from mrcnn.words import counted

PAGE, SUSPECTS, NEXT, ALL = "review.html", "suspects.csv", "label_next.csv", "review.json"
COLUMNS = (
    "picture",
    "kind",
    "confidence",
    "class",
    "better",
    "x",
    "y",
    "width",
    "height",
    "labels",
)
_NEXT_COLUMNS = ("picture", "worth", "doubt", "new", "found")
_DOES = {
    "missing object": "something is found where no label is",
    "extra object": "nothing is found where a label is",
    "wrong class": "it is found as another class",
    "loose outline": "the label's outline lies off what is found, by more than others of its size",
    "several in one": "one label lies over several that are found",
    "one in several": "several labels lie in one that is found",
}
_STYLE = """
.cases { display: grid; gap: 1.4rem 1rem; margin: 1rem 0; padding: 0; list-style: none;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)); }
.cases li { min-width: 0; overflow-wrap: anywhere; } .cases h3 { margin: 0 0 .2rem; }
.cases p { margin: .2rem 0 .5rem; font-size: .9rem; }
.cases .two { grid-template-columns: 1fr 1fr; gap: .3rem; }
"""


def write_review(
    folder: Path,
    about: Mapping[str, Any],
    suspects: Sequence[Mapping[str, Any]],
    order: Sequence[Next],
    previews: Mapping[str, str],
) -> list[str]:
    """Write all four files, each whole or not at all; returns their names.

    about: {"title", "facts": {name: value}, "notes": [sentence]}. suspects: as Told above.
    order: unlabelled pictures. previews: {name of such a picture: data:image/jpeg;base64,...}.
    Raises OSError.
    """
    rows = [{name: row.get(name) for name in COLUMNS} for row in suspects]
    following = [
        dict(zip(_NEXT_COLUMNS, (one.name, one.worth, one.doubt, one.new, one.found)))
        for one in order
    ]
    told = {"about": about, "suspects": rows, "label_next": following}
    texts = {
        SUSPECTS: _csv(COLUMNS, rows),
        NEXT: _csv(_NEXT_COLUMNS, following),
        ALL: json.dumps(told, indent=1) + "\n",
        PAGE: page(about, suspects, order, previews),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        WholeFile(folder / name).close([text])
    return list(texts)


def _csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row[name]) for name in columns])
    return file.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else value


def page(
    about: Mapping[str, Any],
    suspects: Sequence[Mapping[str, Any]],
    order: Sequence[Next],
    previews: Mapping[str, str],
) -> str:
    """The page as text; it holds all that it shows and fetches nothing."""
    facts = "".join(
        f"<div><dt>{escape(str(name))}</dt><dd>{escape(str(value))}</dd></div>"
        for name, value in about["facts"].items()
    )
    notes = "".join(f"<p>{escape(note)}</p>" for note in about.get("notes", ()))
    notes = f'<aside class="notes">{notes}</aside>' if notes else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(about['title'])}</title>\n<style>{STYLE}{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n<header><h1>{escape(about['title'])}</h1><dl>{facts}</dl></header>\n"
        f"{notes}\n<section><h2>Labels that are probably wrong</h2>\n{_suspects(suspects)}"
        f"</section>\n<section><h2>Pictures to label next</h2>\n{_next(order, previews)}"
        "</section>\n</main>\n</body>\n</html>\n"
    )


def _suspects(suspects: Sequence[Mapping[str, Any]]) -> str:
    if not suspects:
        return "<p>None: labels and detections agree.</p>"
    counts = Counter(row["kind"] for row in suspects)
    kinds = "".join(
        f"<div><dt>{kind}</dt><dd>{counts[kind]}: {_DOES[kind]}</dd></div>"
        for kind in KINDS
        if counts[kind]
    )
    cases, shown = [], [row for row in suspects if row.get("cut_outs")]
    for number, row in enumerate(shown, start=1):
        what = f"{row['kind']}, {row['class']}"
        what += f", found as {row['better']}" if row["better"] else ""
        plain, drawn = row["cut_outs"]
        cases.append(
            f"<li><h3>{number}. {escape(what)}</h3><p>{escape(row['picture'])} · "
            f"{row['confidence']:.0%} · at x {row['x']}, y {row['y']}</p>"
            f'<div class="two"><img src="{plain}" alt="The place as it is">'
            f'<img src="{drawn}" alt="{escape(what)}, outlined"></div></li>'
        )
    left = len(suspects) - len(shown)
    more = f"<p>{counted(left, 'further one')} in {SUSPECTS}.</p>" if left else ""
    return (
        f"<dl>{kinds}</dl><p>The surest first: how often the network is right in such a case, by "
        "the labels of this very set. It errs too, so look before you change a label. "
        '<span class="key wrong">■</span> labelled  <span class="key right">■</span> found</p>'
        f'<ol class="cases">{"".join(cases)}</ol>{more}'
    )


def _next(order: Sequence[Next], previews: Mapping[str, str]) -> str:
    if not order:
        return "<p>No unlabelled pictures were given, and none lie beside the labelled ones.</p>"
    cases = "".join(
        f"<li><h3>{number}. {escape(one.name)}</h3><p>doubt {one.doubt:.2f} · new {one.new:.2f} · "
        f'{counted(one.found, "instance")} found</p><img src="{previews[one.name]}" '
        f'alt="{escape(one.name)}"></li>'
        for number, one in enumerate(order, start=1)
        if one.name in previews
    )
    left = len(order) - len(previews)
    more = f"<p>{counted(left, 'further one')} in {NEXT}.</p>" if left > 0 else ""
    return (
        "<p>In this order: each is chosen for what the network is unsure of in it, and for how "
        "much it differs from what is labelled and from those chosen before it.</p>"
        f'<ol class="cases">{cases}</ol>{more}'
    )
