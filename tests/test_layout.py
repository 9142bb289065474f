"""Boxes in layers: none overlaps, sources stand above targets, equal graphs give equal pictures."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from avalanche.layout import Layout, lay_out

names = st.sampled_from([f"n{number}" for number in range(12)])
pairs = st.lists(st.tuples(names, names), max_size=30)


def sizes(edges: list[tuple[str, str]]) -> dict[str, tuple[float, float]]:
    found = {name for pair in edges for name in pair} | {"alone"}
    return {name: (40.0 + 7 * len(name) + ord(name[-1]), 20.0 + ord(name[-1]) % 5 * 9) for name in found}


def boxes(layout: Layout, size: dict[str, tuple[float, float]]) -> list[tuple[float, float, float, float]]:
    return [
        (place.x - size[name][0] / 2, place.y, place.x + size[name][0] / 2, place.y + size[name][1])
        for name, place in layout.places.items()
    ]


@given(pairs)
def test_no_two_boxes_overlap_and_all_are_inside(edges: list[tuple[str, str]]) -> None:
    size = sizes(edges)
    layout = lay_out(size, edges)
    found = boxes(layout, size)
    for number, (left, top, right, bottom) in enumerate(found):
        assert left >= -0.01 and right <= layout.width + 0.01 and top >= 0 and bottom <= layout.height + 0.01
        for other in found[number + 1 :]:
            apart = right <= other[0] + 0.01 or other[2] <= left + 0.01 or bottom <= other[1] or other[3] <= top
            assert apart


@given(pairs)
def test_an_edge_goes_down_and_what_nothing_includes_is_on_top(edges: list[tuple[str, str]]) -> None:
    forward = [(a, b) for a, b in edges if a < b]  # no circle
    layout = lay_out(sizes(forward), forward)
    for source, target in forward:
        assert layout.places[source].y < layout.places[target].y
    entered = {target for _, target in forward}
    assert all(place.y == 0 for name, place in layout.places.items() if name not in entered)


@given(pairs)
def test_a_route_leads_from_box_to_box(edges: list[tuple[str, str]]) -> None:
    size = sizes(edges)
    layout = lay_out(size, edges)
    assert set(layout.routes) == {(a, b) for a, b in edges if a != b}
    for (source, target), points in layout.routes.items():
        for name, (x, y) in ((source, points[0]), (target, points[-1])):
            place = layout.places[name]
            assert abs(x - place.x) < 0.01
            assert min(abs(y - place.y), abs(y - place.y - size[name][1])) < 0.01


@given(pairs, st.randoms())
def test_the_sequence_of_edges_does_not_matter(edges: list[tuple[str, str]], chance: object) -> None:
    size = sizes(edges)
    mixed = sorted(edges, key=lambda _: chance.random())  # type: ignore[attr-defined]
    assert lay_out(dict(sorted(size.items(), reverse=True)), mixed) == lay_out(size, edges)


def test_crossings_that_can_be_avoided_are() -> None:
    layout = lay_out({name: (30, 20) for name in "abcxyz"}, [("a", "z"), ("b", "y"), ("c", "x")])
    upper = sorted("abc", key=lambda name: layout.places[name].x)
    lower = sorted("xyz", key=lambda name: layout.places[name].x)
    assert [dict(a="z", b="y", c="x")[name] for name in upper] == lower
