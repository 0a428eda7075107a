"""metrics.json and report.html: whole, honest where nothing was measured, and free of the net."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from squares import Oracle, Squares, part

from mrcnn.evaluate.charts import _nice, line_chart
from mrcnn.evaluate.coco import METRICS, Collected, collect
from mrcnn.evaluate.matching import match
from mrcnn.evaluate.metrics import all_metrics
from mrcnn.evaluate.report import page, write_report
from mrcnn.evaluate.report_pictures import SIDE, choose, example
from mrcnn.evaluate.report_text import as_text

NAMES = {0: "a & b.png", 1: "<script>alert(1)</script>.png", 2: "c.png"}
ABOUT = {
    "title": "cells.h5 on <cells>",
    "facts": {"Data": "cells"},
    "notes": ["5 < 6"],
    "config": {"RPN_ANCHOR_SCALES": [8, 16]},
}
VOID = {"meta", "img", "br", "input", "wbr"}


class Checked(HTMLParser):
    """Reads a page and fails where an element isn't closed, or closed twice."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self.text += data


def measured(change=lambda result: result, **options):
    collected = collect(Oracle(change), Squares(), verbose=0)
    return collected, all_metrics(collected, NAMES, **options)


@pytest.fixture(scope="module")
def whole() -> str:
    collected, metrics = measured(lambda r: part(r, slice(0, 1)))
    matches = match(collected)
    worst, best = choose(metrics["per_picture"])
    assert [row["id"] for row in worst + best] == [0, 1]  # nothing to say of the empty picture
    images = [
        [example(Squares().load_image(r["id"]), r, collected, matches, 0.5) for r in rows]
        for rows in (worst, best)
    ]
    return page(metrics, ABOUT, *images)


def test_metrics():
    _, metrics = measured(lambda r: part(r, slice(0, 1)))
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert (metrics["pictures"], metrics["labels"], metrics["crowds"]) == (3, 4, 1)
    assert tuple(metrics["masks"]) == tuple(metrics["boxes"]) == METRICS
    # Two cells of three, at precision 1: 67 of COCO's 101 points; the nucleus is missed.
    assert metrics["masks"]["AP"] == pytest.approx(67 / 101 / 2)
    cell, nucleus = metrics["classes"]
    assert (cell["name"], cell["labels"], cell["recall"]) == ("cell", 3, pytest.approx(2 / 3))
    assert nucleus["masks"]["AP"] == 0 and nucleus["precision"] is None
    assert sum(cell["curves"]["0.50"]) == pytest.approx(67)
    assert metrics["confusion"] == {
        "classes": ["background", "cell", "nucleus"],
        "matrix": [[0, 0, 0], [1, 2, 0], [1, 0, 0]],
    }
    assert metrics["counts"] == {
        "labelled": 4,
        "found": 2,
        "mean_error": pytest.approx(-2 / 3),
        "mean_absolute_error": pytest.approx(2 / 3),
    }
    assert metrics["best_threshold"] == 0.9
    assert [row["name"] for row in metrics["per_picture"]] == list(NAMES.values())
    assert metrics["per_picture"][2]["quality"] is None


def test_mean_error_of_minus_one_is_no_gap():
    def one_less(result):
        return part(result, slice(1, None))

    collected = collect(Oracle(one_less), Squares(), verbose=0).only([0, 1])
    assert all_metrics(collected, NAMES)["counts"]["mean_error"] == -1


def test_nothing_labelled_and_nothing_found():
    empty = Collected.of(Squares())
    empty.add_truth(2, *Squares().load_mask(2))
    metrics = all_metrics(empty, NAMES)
    assert set(metrics["masks"].values()) == {None} and metrics["curves"] is None
    assert metrics["best_threshold"] is None
    text = Checked(page(metrics, ABOUT)).text
    assert "no labels to draw a curve from" in text and "–" in text
    assert "nan" not in text.lower() and "-1" not in text.replace("-1fr", "")
    assert "AP" in as_text(metrics)


def test_detections_without_masks():
    collected = collect(Oracle(), Squares(), verbose=0)
    for row in collected.found:
        del row["segmentation"]
    metrics = all_metrics(collected, NAMES)
    assert metrics["masks"] is None and metrics["boxes"]["AP"] == pytest.approx(1)
    shown = example(
        Squares().load_image(0), metrics["per_picture"][0], collected, match(collected), 0.5
    )
    assert "Mask AP" not in Checked(page(metrics, ABOUT, [shown])).text


def test_page_is_whole_and_fetches_nothing(whole):
    checked = Checked(whole)
    assert {"main", "h1", "table", "svg", "img", "figure"} <= set(checked.tags)
    for tag, name, value in checked.attributes:
        if name in ("src", "href", "action", "data", "srcset"):
            assert tag == "img" and value.startswith("data:image/jpeg;base64,")
    style = whole[whole.index("<style>") : whole.index("</style>")]
    assert "url(" not in style and "@import" not in style
    assert "prefers-color-scheme: dark" in style
    assert ("meta", "name", "viewport") in checked.attributes
    assert "script" not in checked.tags
    # All colours of the dark page are set there; a forgotten one would stay dark on dark.
    names = [set(re.findall(r"--\w+(?=:)", text)) for text in style.split("@media")[:2]]
    assert len(names[0]) > 5 and names[0] == names[1]


def test_long_names_break_at_their_signs():
    _, metrics = measured()
    head = page(metrics, {**ABOUT, "title": "mask_rcnn_cells_0030.h5 on cells"})
    assert "<h1>mask_<wbr>rcnn_<wbr>cells_<wbr>0030.<wbr>h5 on cells</h1>" in head


def test_every_picture_can_be_enlarged(whole):
    checked = Checked(whole)
    assert checked.tags.count("input") == checked.tags.count("img") == 4
    assert len(re.findall(r'<input type="checkbox"[^>]*><span class="view"><img ', whole)) == 4


def test_a_wide_table_says_that_it_goes_on(whole):
    wide = [block.count("<th ") > 5 for block in re.findall("<thead>.*?</thead>", whole)]
    assert sum(wide) == whole.count("goes on to the right.</p><div") == 1


@pytest.mark.parametrize(
    "most, end", [(0, 1), (1, 1), (3, 3), (7, 8), (20, 20), (41, 50), (106, 120), (1001, 1200)]
)
def test_an_axis_ends_little_above_the_most(most, end):
    top, ticks = _nice(most)
    assert top == ticks[-1] == end and ticks[0] == 0
    assert len(ticks) <= 7 and {b - a for a, b in zip(ticks, ticks[1:])} == {ticks[1]}


def test_a_legend_lies_above_the_frame():
    """Inside it some curve would come by."""
    drawn = line_chart([("F1", [(0, 0.1)]), ("Recall", [(0, 0.2)])], "x", "y", "a chart")
    (top,) = re.findall(r'viewBox="0 (-\d+) ', drawn)
    places = re.findall(r'<text x="\d+" y="(-?\d+)">(?:F1|Recall)<', drawn)
    assert len(places) == 2 and all(int(top) < int(y) < 0 for y in places)


def test_rows_that_are_alike_say_why():
    """Below 0.5 a network of one class has nothing; the table repeated itself without a word."""

    def sure(result):
        return {**result, "scores": np.linspace(0.9, 0.52, len(result["scores"]))}

    several = page(measured(sure)[1], ABOUT)
    assert "Up to 0.5 the rows are alike, for no detection has less." in several
    one = measured(sure)[1]
    one["classes"] = one["classes"][:1]
    assert "is background to the network, unless the Config" in page(one, ABOUT)
    spread = measured(lambda r: {**r, "scores": np.linspace(0.9, 0.051, len(r["scores"]))})[1]
    assert "rows are alike" not in page(spread, ABOUT)


def test_names_are_escaped(whole):
    assert "<script>" not in whole and "cells.h5 on <cells>" not in whole
    text = Checked(whole).text
    for name in (NAMES[0], NAMES[1], "cells.h5 on <cells>", "5 < 6"):
        assert name in text


def test_embedded_pictures(whole):
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', whole)
    assert len(pictures) == 4
    for picture in pictures:
        with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
            assert image.format == "JPEG" and max(image.size) == SIDE


def test_colours_tell_right_from_wrong():
    """A nucleus that was missed is orange among the labels, a cell that was found blue."""
    collected, metrics = measured(lambda r: part(r, slice(0, 1)))
    row = metrics["per_picture"][0]
    shown = example(Squares().load_image(0), row, collected, match(collected), 0.5)
    with Image.open(io.BytesIO(base64.b64decode(shown.labelled.split(",")[1]))) as image:
        pixels = np.asarray(image).astype(int)
    scale = SIDE / 200
    red, _, blue = pixels[int(11 * scale), int(18 * scale)]  # the cell, beside its caption
    assert blue > red + 50
    red, _, blue = pixels[int(150 * scale), int(100 * scale)]  # the nucleus
    assert red > blue + 50
    red, green, blue = pixels[int(20 * scale), int(90 * scale)]  # the crowd
    assert abs(red - blue) < 10 and red > 30


def test_classes_that_do_not_occur_are_counted_not_listed():
    collected = collect(Oracle(), Squares(), verbose=0)
    collected.categories += [{"id": 7, "name": "zebra"}, {"id": 9, "name": "yak"}]
    metrics = all_metrics(collected, NAMES)
    assert metrics["classes"][3]["masks"]["AP"] is None
    text = Checked(page(metrics, ABOUT)).text
    assert "(2 more are not shown)" in text and "zebra" not in text and "yak" not in text


def test_choose():
    rows = [
        {"id": i, "quality": q, "labelled": n, "found": 0, "matched": 0}
        for i, (q, n) in enumerate([(0.0, 1), (0.0, 9), (1.0, 3), (0.5, 2), (None, 0)])
    ]
    worst, best = choose(rows, worst=2, best=2)
    assert [row["id"] for row in worst] == [1, 0] and [row["id"] for row in best] == [2, 3]
    worst, best = choose(rows[:1])
    assert len(worst) == 1 and best == []


def test_all_of_a_file_or_nothing(tmp_path):
    _, metrics = measured()
    path = tmp_path / "report.html"
    write_report(path, metrics, ABOUT)
    before = path.read_text()
    with pytest.raises(KeyError):
        write_report(path, {**metrics, "boxes": {}}, ABOUT)
    assert path.read_text() == before and list(tmp_path.iterdir()) == [path]


def test_text():
    _, metrics = measured(lambda r: part(r, slice(0, 1)))
    lines = as_text(metrics).splitlines()
    assert lines[0].startswith("3 pictures, 4 labels, 2 detections")
    assert any(line.split() == ["AP", "0.332", "0.332"] for line in lines)
    assert any(line.startswith("cell") and " 3 " in line for line in lines)
    assert "precision 1.000, recall 0.500, F1 0.667; 2 found, 4 labelled" in lines[-2]
    assert lines[-1] == "The best F1 is 0.667, at confidence 0.9"
