"""The line: as hosts come, rack by rack, and the slow ones at its end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tracker.line import Line


def names(line: Line) -> list[str]:
    return [key[-1] for key in line._keys]


def line_of(*hosts: tuple[str, str, float], rank: int = 0) -> Line:
    line = Line(together=2.0)
    for name, rack, now in hosts:
        line.enter(name, rack=rack, rank=rank, now=now)
    return line


def test_hosts_that_come_together_stand_rack_by_rack() -> None:
    line = line_of(("a", "0", 0.0), ("b", "1", 0.1), ("c", "0", 0.2), ("d", "1", 0.3))
    assert names(line) == ["a", "c", "b", "d"]
    assert [line.is_at_seam(name) for name in names(line)] == [False, False, True, False]


def test_who_comes_later_stands_behind_whatever_its_rack() -> None:
    line = line_of(("a", "0", 0.0), ("b", "1", 0.1), ("c", "0", 5.0))
    assert names(line) == ["a", "b", "c"]
    assert not line.is_at_seam("c")


def test_a_rack_that_comes_later_in_a_cohort_stands_behind_the_first_one() -> None:
    line = line_of(("a", "0", 0.0), ("b", "1", 5.0), ("c", "0", 5.1), ("d", "1", 5.2))
    assert names(line) == ["a", "b", "d", "c"]


def test_a_rank_outweighs_everything() -> None:
    line = line_of(("a", "0", 0.0), ("b", "0", 0.1))
    line.keep_with_rank("a", 2)
    assert names(line) == ["b", "a"]
    assert line.is_at_seam("a")
    line.keep_with_rank("a", 0)
    assert names(line) == ["a", "b"]


def test_who_is_sent_to_the_end_stands_there_and_later_ones_behind() -> None:
    line = line_of(("a", "0", 0.0), ("b", "0", 0.1), ("c", "0", 0.2))
    line.send_to_end("a", rank=0, now=1.0)
    line.enter("d", rack="0", rank=0, now=1.5)
    assert names(line) == ["b", "c", "a", "d"]
    assert list(line.ahead("a")) == ["c", "b"]
    assert list(line.behind("a")) == ["d"]


def test_who_returns_gets_its_old_place_ahead_of_newcomers() -> None:
    line = line_of(("new", "0", 0.0), ("third", "1", 0.1), ("first", "0", 0.2))
    line.return_to("third", 3)
    line.return_to("first", 1)
    assert names(line) == ["first", "third", "new"]


operations = st.lists(st.tuples(st.sampled_from("elnrk"), st.integers(0, 7), st.integers(0, 3)), max_size=40)


@given(operations)
def test_places_count_those_ahead_whatever_happened(steps: list[tuple[str, int, int]]) -> None:
    line, inside = Line(together=2.0), set[str]()
    for now, (step, number, value) in enumerate(steps):
        name = f"h{number}"
        if step == "e" and name not in inside:
            line.enter(name, rack=str(value), rank=value % 2, now=float(now))
            inside.add(name)
        elif name in inside:
            if step == "l":
                line.leave(name)
                inside.remove(name)
            elif step == "n":
                line.send_to_end(name, rank=value % 3, now=float(now))
            elif step == "r":
                line.return_to(name, value)
            else:
                line.keep_with_rank(name, value % 3)
    assert len(line) == len(inside) == len(names(line))
    for place, name in enumerate(names(line)):
        assert line.place(name) == place == len(list(line.ahead(name)))
        assert [*reversed(list(line.ahead(name))), name, *line.behind(name)] == names(line)
