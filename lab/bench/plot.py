"""Line charts as SVG, written here: the same figures give the same bytes, and nothing has to be installed. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 760, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 176, 40, 52
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#888888", "#7a3e9d")
"""Okabe and Ito's, which colour-blind people tell apart, and two more."""
_STEPS = (1.0, 2.0, 5.0)
_MANY = 500

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """A line; of ``guessed`` points, which follow the measured ones, the line is dashed and the marks are hollow.
    ``colour`` is its number, so that a name may have the same one in several charts.
    """

    name: str
    points: Sequence[Point]
    guessed: Sequence[Point] = ()
    colour: int = 0


@dataclass(frozen=True, slots=True)
class _Axis:
    """Values to pixels; ``ticks`` are values."""

    place: Callable[[float], float]
    ticks: tuple[float, ...]


def line_chart(
    title: str, x_label: str, y_label: str, series: Sequence[Series], *, log_x: bool = True, log_y: bool = False
) -> str:
    """Return a chart. On logarithmic axes all values are above 0."""
    points = [point for each in series for point in (*each.points, *each.guessed)]
    x = _axis([point[0] for point in points], _LEFT, _WIDTH - _RIGHT, is_log=log_x, doubles=True)
    y = _axis([point[1] for point in points], _HEIGHT - _BOTTOM, _TOP, is_log=log_y, doubles=False)
    body = [_grid(x, y, x_label, y_label), f'<text x="{_LEFT}" y="22" class="title">{escape(title)}</text>']
    body += [_line(each, _colour(each), x, y) for each in series]
    body += [_legend(each, number) for number, each in enumerate(series)]
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n'
        "<style>text{font:12px sans-serif;fill:#333}.title{font-size:15px}.grid{stroke:#ddd}</style>\n"
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _axis(values: Sequence[float], begin: float, end: float, *, is_log: bool, doubles: bool) -> _Axis:
    """``doubles``: a logarithmic axis has powers of two, unless they are too many."""
    if is_log:
        base = 2 if doubles and max(values) / min(values) <= _MANY else 10
        low = math.floor(math.log(min(values), base) + 1e-9)
        high: int = max(math.ceil(math.log(max(values), base) - 1e-9), low + 1)
        powers = range(low, high + 1, max(1, (high - low) // 8))
        ticks = tuple(float(base) ** power for power in powers)
        if base == 10 and high - low <= 2:
            ticks = tuple(step * each for each in ticks for step in _STEPS if step * each <= ticks[-1])
        return _Axis(lambda value: begin + (end - begin) * (math.log(value, base) - low) / (high - low), ticks)
    step = _step(max(values))
    top = step * math.ceil(max(values) / step - 1e-9)
    count = round(top / step)
    return _Axis(lambda value: begin + (end - begin) * value / top, tuple(step * each for each in range(count + 1)))


def _step(most: float) -> float:
    """A round number of which about six reach ``most``."""
    power = 10.0 ** math.floor(math.log10(most / 6))
    return next(power * each for each in (*_STEPS, 10.0) if power * each * 6 >= most)


def _grid(x: _Axis, y: _Axis, x_label: str, y_label: str) -> str:
    parts = []
    for value in x.ticks:
        at = x.place(value)
        parts.append(f'<line class="grid" x1="{at:.1f}" y1="{_TOP}" x2="{at:.1f}" y2="{_HEIGHT - _BOTTOM}"/>')
        parts.append(f'<text x="{at:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{value:,g}</text>')
    for value in y.ticks:
        at = y.place(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{at:.1f}" x2="{_WIDTH - _RIGHT}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{value:,g}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle:.1f}" y="{_HEIGHT - 14}" text-anchor="middle">{escape(x_label)}</text>')
    parts.append(f'<text x="16" y="{_HEIGHT / 2}" transform="rotate(-90 16 {_HEIGHT / 2})" text-anchor="middle">'
                 f"{escape(y_label)}</text>")  # fmt: skip
    return "\n".join(parts)


def _line(series: Series, colour: str, x: _Axis, y: _Axis) -> str:
    parts = []
    guessed = [*series.points[-1:], *series.guessed] if series.guessed else []
    for points, dash in ((series.points, ""), (guessed, ' stroke-dasharray="5 4"')):
        if len(points) > 1:
            path = " ".join(f"{x.place(a):.1f},{y.place(b):.1f}" for a, b in points)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
    for points, fill in ((series.guessed, "#fff"), (series.points, colour)):
        for a, b in points:
            parts.append(
                f'<circle cx="{x.place(a):.1f}" cy="{y.place(b):.1f}" r="3.5" fill="{fill}" stroke="{colour}"/>'
            )
    return "\n".join(parts)


def _colour(series: Series) -> str:
    return _COLOURS[series.colour % len(_COLOURS)]


def _legend(series: Series, number: int) -> str:
    at, colour = _TOP + 8 + 20 * number, _colour(series)
    left = _WIDTH - _RIGHT + 14
    return (
        f'<line x1="{left}" y1="{at}" x2="{left + 18}" y2="{at}" stroke="{colour}" stroke-width="3"/>'
        f'<text x="{left + 24}" y="{at + 4}">{escape(series.name)}</text>'
    )
