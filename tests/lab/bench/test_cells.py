"""The benchmark's cells."""

from __future__ import annotations

import pytest

from avalanche.errors import ConfigError
from lab.bench.cells import CELLS, STARS, Cell, overridden, quick
from lab.bench.driver import chosen

FIGURES = ("compile", "stage2", "reports", "growth")


def test_names_are_cells_once() -> None:
    assert len({cell.name for cell in CELLS}) == len(CELLS)


def test_the_environment_changes_what_it_names_and_nothing_else() -> None:
    given = {"RATE": "30", "SIZE": "1.5", "SEED": "9", "FAULTS": "kill:1@50%", "PLANES": "relay,aria2", "HOSTS": ""}
    cell = overridden(Cell("x", "about", 4), given)
    assert (cell.rate_mbit, cell.size, cell.seed, cell.hosts) == (30, 1_500_000, 9, 4)
    assert (cell.faults, cell.planes) == ("kill:1@50%", ("relay", "aria2"))
    assert overridden(cell, {}) == cell


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"PLANES": "pigeon"}, "PLANES: 'pigeon' is not one of http, squid"),
        ({"RATE": "fast"}, "are numbers"),
        ({"HOSTS": "2", "FAULTS": "kill:3@50%"}, "3 hosts are to be hit, and there are 2"),
    ],
)
def test_what_makes_no_sense_is_named(given: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        overridden(Cell("x", "about", 4), given)


def test_a_quick_bench_leaves_out_what_takes_minutes() -> None:
    small, large = (Cell("x", "about", hosts) for hosts in (4, 16))
    assert quick(small) == small
    assert set(large.planes) - set(quick(large).planes) == set(STARS)


def test_everything_is_chosen_unless_somebody_chooses() -> None:
    everything = chosen("", FIGURES)
    assert set(everything) == {*FIGURES, *(cell.name for cell in CELLS)}
    assert set(chosen("quick", FIGURES)) < set(everything)
    assert chosen("racks, compile", FIGURES) == ["racks", "compile"]


@pytest.mark.parametrize("text", ["scaled", "racks,pigeon", ","])
def test_a_cell_that_does_not_exist_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"BENCH=.* is no cell: quick, or of compile"):
        chosen(text, FIGURES)
