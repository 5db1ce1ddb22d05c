"""Plots as SVG text, for a page that needs nothing from anywhere. Pure.

One axis from 0 to `top`, lines or bars, a legend; colours come from the page's style sheet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, UPPER, LOWER = 56, 12, 14, 34
COLOURS = 8
POINTS_MAX = 400  # a line needs no more than one point a pixel or two

Points = Sequence[tuple[float, float]]


def lines(series: Mapping[str, Points], x_name: str, y_name: str, *, percent: bool = False) -> str:
    """Lines of (x, y) points; both axes start at the least x, and at 0."""
    points = [point for each in series.values() for point in each]
    if not points:
        return _nothing()
    low, high = min(x for x, _ in points), max(x for x, _ in points)
    top = _top(max(y for _, y in points), percent)
    parts = [*_frame(x_name, y_name, top, percent), *_x_ticks(low, high)]
    for number, (_, each) in enumerate(series.items()):
        path = " ".join(f"{_across(x, low, high):.1f},{_up(y, top):.1f}" for x, y in _thinned(each))
        parts.append(f'<polyline class="line c{number % COLOURS}" points="{path}"/>')
        if len(each) == 1:
            x, y = each[0]
            parts.append(
                f'<circle class="dot c{number % COLOURS}" r="3" '
                f'cx="{_across(x, low, high):.1f}" cy="{_up(y, top):.1f}"/>'
            )
    return _svg(parts, list(series))


def bars(groups: Mapping[str, Mapping[str, float]], y_name: str, *, percent: bool = False) -> str:
    """Bars side by side for each group: group → name → height; names share colours."""
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    values = [value for group in groups.values() for value in group.values()]
    if not values:
        return _nothing()
    top = _top(max(values), percent)
    parts = _frame("", y_name, top, percent)
    room = (WIDTH - LEFT - RIGHT) / len(groups)
    for at, (group, heights) in enumerate(groups.items()):
        start = LEFT + at * room
        wide = 0.8 * room / max(len(names), 1)
        for number, name in enumerate(names):
            y = _up(heights.get(name, 0.0), top)
            x = start + 0.1 * room + number * wide
            shown = _told(heights.get(name, 0.0), percent)
            parts.append(
                f'<rect class="bar c{number % COLOURS}" x="{x:.1f}" y="{y:.1f}" '
                f'width="{max(wide - 1, 1):.1f}" height="{HEIGHT - LOWER - y:.1f}">'
                f"<title>{escape(group)}, {escape(name)}: {shown}</title></rect>"
            )
        if len(groups) <= 24:
            middle = start + room / 2
            parts.append(_text(middle, HEIGHT - LOWER + 16, group[: max(3, int(room / 7))]))
    return _svg(parts, names)


def _frame(x_name: str, y_name: str, top: float, percent: bool) -> list[str]:
    parts = []
    for step in range(5):
        value = top * step / 4
        y = _up(value, top)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(_text(LEFT - 6, y + 4, _told(value, percent), "end"))
    parts.append(_text(LEFT, UPPER - 3, y_name, "start"))
    parts.append(_text(WIDTH - RIGHT, HEIGHT - 4, x_name, "end"))
    return parts


def _x_ticks(low: float, high: float) -> list[str]:
    ticks = [low + (high - low) * step / 4 for step in range(5)] if high > low else [low]
    return [_text(_across(tick, low, high), HEIGHT - LOWER + 16, f"{tick:.3g}") for tick in ticks]


def _svg(parts: Sequence[str], names: Sequence[str]) -> str:
    legend = "".join(
        f'<span class="key"><i class="c{number % COLOURS}"></i>{escape(name)}</span>'
        for number, name in enumerate(names[:24])
    )
    drawn = "".join(parts)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{drawn}</svg>'
        f'<div class="legend">{legend}</div>'
    )


def _nothing() -> str:
    return '<p class="none">Nothing to show yet.</p>'


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _thinned(points: Points) -> Points:
    step = max(1, len(points) // POINTS_MAX)
    return [*points[:-1:step], *points[-1:]]


def _across(x: float, low: float, high: float) -> float:
    share = (x - low) / (high - low) if high > low else 0.5
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _up(y: float, top: float) -> float:
    return HEIGHT - LOWER - min(max(y / top, 0.0), 1.0) * (HEIGHT - LOWER - UPPER)


def _top(most: float, percent: bool) -> float:
    """A round number above all values."""
    if percent and 0.5 < most <= 1.0:
        return 1.0
    for step in (1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100):
        if most <= step * 4:
            return step * 4
    return most


def _told(value: float, percent: bool) -> str:
    return f"{value:.3g}" if not percent else f"{value * 100:.3g} %"
