"""Small charts as SVG text that goes into a page: lines, and points.

Colours come from the page (classes s0, s1, .. for series; `axis`, `grid`), so that a chart follows
its light or dark mode. One unit is a pixel where there is room for all 420.
"""

import math
from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT = 420, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 18, 10, 42  # room for the axes' numbers and names
_LEGEND, _LETTER = 24, 7.5  # height of the line above a chart; about the width of a letter in it
_MOST_TICKS = 6  # intervals of an axis of counts

Points = Sequence[tuple[float, float]]


def line_chart(
    series: Sequence[tuple[str, Points]], x_name: str, y_name: str, title: str, legend: bool = True
) -> str:
    """Lines over 0..1 in both directions.

    series: (name, [(x, y)]), the first drawn on top. title: what the chart shows, for those who
    can't see it.
    """
    frame = _Frame(1.0, 1.0)
    drawn = [frame.axes(x_name, y_name, [0, 0.25, 0.5, 0.75, 1])]
    for i, (_, points) in reversed(list(enumerate(series))):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(frame.place, points))
        drawn.append(f'<polyline class="line s{i}" points="{path}"/>')
    x = float(_LEFT)
    for i, (name, _) in enumerate(series if legend else ()):
        # Above the frame: anywhere inside, some curve may come by.
        drawn.append(f'<path class="line s{i}" d="M{x:.0f} -9h18"/>')
        drawn.append(f'<text x="{x + 24:.0f}" y="-5">{escape(name)}</text>')
        x += 24 + _LETTER * len(name) + 18
    return _svg(drawn, title, above=_LEGEND if legend else 0)


def count_chart(points: Points, x_name: str, y_name: str, title: str) -> str:
    """Points of two counts, with the line on which both are equal."""
    most, ticks = _nice(max((max(point) for point in points), default=1))
    frame = _Frame(most, most)
    (x1, y1), (x2, y2) = frame.place((0, 0)), frame.place((most, most))
    drawn = [
        frame.axes(x_name, y_name, ticks),
        f'<path class="equal" d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"/>',
    ]
    for x, y in map(frame.place, points):
        drawn.append(f'<circle class="point" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
    return _svg(drawn, title)


class _Frame:
    """The rectangle between the axes, 0..most in each direction."""

    def __init__(self, most_x: float, most_y: float) -> None:
        self._most = most_x, most_y

    def place(self, point: tuple[float, float]) -> tuple[float, float]:
        x, y = point[0] / self._most[0], point[1] / self._most[1]
        return (
            _LEFT + x * (WIDTH - _LEFT - _RIGHT),
            HEIGHT - _BOTTOM - y * (HEIGHT - _TOP - _BOTTOM),
        )

    def axes(self, x_name: str, y_name: str, ticks: Sequence[float]) -> str:
        drawn = []
        for tick in ticks:
            x, y = self.place((tick, tick))
            drawn.append(
                f'<path class="grid" d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}M{x:.1f} {_TOP}'
                f'V{HEIGHT - _BOTTOM}"/>'
                f'<text class="tick" x="{_LEFT - 7}" y="{y + 4:.1f}" '
                f'text-anchor="end">{tick:g}</text>'
                f'<text class="tick" x="{x:.1f}" y="{HEIGHT - _BOTTOM + 16}" '
                f'text-anchor="middle">{tick:g}</text>'
            )
        middle_x, middle_y = self.place((self._most[0] / 2, self._most[1] / 2))
        drawn.append(
            f'<text x="{middle_x:.0f}" y="{HEIGHT - 6}" '
            f'text-anchor="middle">{escape(x_name)}</text>'
            f'<text transform="translate(12 {middle_y:.0f}) rotate(-90)" '
            f'text-anchor="middle">{escape(y_name)}</text>'
        )
        return "".join(drawn)


def _nice(most: float) -> tuple[float, list[float]]:
    """A round number of at least `most`, not much above it, and ticks up to it."""
    step = 1
    while step * _MOST_TICKS < most:
        step = step * 5 // 2 if str(step).startswith("2") else step * 2
    count = max(math.ceil(most / step), 1)
    return step * count, [step * i for i in range(count + 1)]


def _svg(drawn: list[str], title: str, above: int = 0) -> str:
    """above: height of what is drawn at y below 0."""
    return (
        f'<svg viewBox="0 {-above} {WIDTH} {HEIGHT + above}" role="img" '
        f'aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(drawn)}</svg>"
    )
