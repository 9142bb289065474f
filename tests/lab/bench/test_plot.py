"""Charts."""

from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from lab.bench.plot import Series, line_chart

VALUES = st.floats(1e-3, 1e6)
POINTS = st.lists(st.tuples(st.integers(1, 10_000), VALUES), min_size=1, max_size=8)
SVG = "{http://www.w3.org/2000/svg}"


@given(st.lists(st.builds(Series, st.text(st.characters(codec="ascii", min_codepoint=32)), POINTS), min_size=1),
       st.booleans(), st.booleans())  # fmt: skip
def test_every_mark_lies_within_the_picture(series: list[Series], log_x: bool, log_y: bool) -> None:
    chart = line_chart("a < b & c", "hosts", "ratio", series, log_x=log_x, log_y=log_y)
    root = ElementTree.fromstring(chart)
    marks = root.findall(f"{SVG}circle")
    assert len(marks) == sum(len(each.points) for each in series)
    for mark in marks:
        assert 60 <= float(mark.attrib["cx"]) <= 590 and 35 <= float(mark.attrib["cy"]) <= 375


def test_the_same_figures_give_the_same_bytes() -> None:
    series = [Series("relay", [(1, 1.0), (16, 1.02)]), Series("http", [(1, 1.0)], [(64, 64.0)])]
    assert line_chart("t", "x", "y", series, log_y=True) == line_chart("t", "x", "y", series, log_y=True)


def test_what_is_guessed_is_dashed_and_hollow() -> None:
    chart = line_chart("t", "x", "y", [Series("http", [(1, 1.0), (4, 4.0)], [(64, 64.0)])])
    assert chart.count("stroke-dasharray") == 1
    assert chart.count('fill="#fff" stroke') == 1
