"""Growth: what is simulated, and that all of it can be plotted."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from avalanche.errors import AvalancheError, ConfigError
from lab.bench.growth import HOSTS, OBJECTS, Family, measure, run_growth, up_to
from lab.bench.report import write_report
from tests.lab.bench.documents import CONDITIONS

SVG = "{http://www.w3.org/2000/svg}"


def test_completion_time_and_the_tracker_s_load_are_plotted_over_the_hosts(tmp_path: Path) -> None:
    figures = run_growth([10, 30])
    for world in figures["worlds"]:
        assert [row["hosts"] for row in world["rows"]] == [10, 30]
        for row in world["rows"]:
            assert row["seconds"] >= world["limit_seconds"] and row["frontend_copies"] >= 1
            assert row["lookups"] >= row["hosts"] and row["tracker_seconds"] > 0
    cells = {"growth": {"conditions": CONDITIONS, "figures": figures}}
    write_report({"cells": cells, "targets": []}, tmp_path)
    for plot in ("growth-time", "growth-tracker", "growth-lookups"):
        root = ElementTree.parse(tmp_path / "benchmarks" / f"{plot}.svg")
        assert len(root.findall(f"{SVG}circle")) == 4, plot
        assert f"benchmarks/{plot}.svg" in (tmp_path / "benchmarks.md").read_text()


def test_the_same_world_gives_the_same_figures_but_for_the_processor_s_time() -> None:
    first, second = (measure(Family("x", 100), 20) for _ in range(2))
    for row in (first, second):
        assert row.pop("tracker_seconds") > 0
        row.pop("took_seconds")
    assert first == second


@pytest.mark.parametrize(("most", "hosts"), [("", HOSTS), ("10000", HOSTS), ("2999", HOSTS[:-2]), ("10", HOSTS[:1])])
def test_no_more_hosts_than_asked_for_are_simulated(most: str, hosts: tuple[int, ...]) -> None:
    assert up_to(most) == hosts and HOSTS[-1] == 10_000


@pytest.mark.parametrize("most", ["9", "-10", "1e3", "all"])
def test_a_bound_that_leaves_nothing_is_refused(most: str) -> None:
    with pytest.raises(ConfigError, match=rf"^GROWTH={most}: the most hosts to simulate, a whole number from 10 to 10"):
        up_to(most)


def test_a_host_that_never_ends_is_an_error_and_no_figure() -> None:
    hour = sum(OBJECTS) * 8 / 1e6 / 3600  # Mbit/s at which one copy takes an hour, the simulation's most
    with pytest.raises(AvalancheError, match=r"^slow, 3 hosts: 3 of them did not get everything"):
        measure(Family("slow", hour / 2), 3)
