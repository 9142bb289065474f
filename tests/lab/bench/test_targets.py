"""Whether a target was met."""

from __future__ import annotations

from typing import Any

import pytest

from lab.bench.cells import CELLS
from lab.bench.targets import TARGETS, Verdict, verdicts
from tests.lab.bench.documents import cell_document, result_document


def verdict(cells: dict[str, Any], start: str, plane: str = "relay") -> Verdict:
    (found,) = [each for each in verdicts(cells) if each.target.startswith(start) and each.plane == plane]
    return found


def test_nothing_measured_is_nothing_met() -> None:
    assert {each.state for each in verdicts({})} == {"not measured"}


def test_all_cells_that_targets_speak_of_exist() -> None:
    # Every figure of a full bench is there, or a row would silently stay unmeasured.
    everything = {
        cell.name: cell_document(
            {
                plane: result_document(trunk_copies={"1": [1.0, 0.0]}, outages=[5.0])
                for plane in ("http", "relay", "swarm", "auto")
            },
            hosts=cell.hosts,
        )
        for cell in CELLS
    }
    assert "not measured" not in {each.state for each in verdicts(everything)}
    assert len(TARGETS) >= 20


@pytest.mark.parametrize(
    ("slowest", "cpu_bound", "state"),
    [(10.29, False, "met"), (10.31, False, "not met"), (10.31, True, "cpu_bound"), (10.29, True, "met")],
)
def test_a_ratio_is_judged_against_its_bound(slowest: float, cpu_bound: bool, state: str) -> None:
    relay = result_document(seconds={"compute-0-0": slowest}, cpu_bound=cpu_bound)
    found = verdict({"scaled-16": cell_document({"relay": relay})}, "scaled, N = 16: ratio")
    assert (found.state, found.value) == (state, pytest.approx(slowest / 10))


def test_the_limit_counts_when_it_is_longer_than_one_host_alone() -> None:
    cell = cell_document({"relay": result_document(seconds={"compute-0-0": 22.0})}, limit_seconds=20.0)
    assert verdict({"mixed": cell}, "mixed").value == pytest.approx(1.1)


def test_who_was_killed_needs_no_time_and_who_never_finished_fails_all() -> None:
    seconds = {"compute-0-0": None, "compute-0-1": 10.5}
    killed = result_document(seconds=seconds, killed=["compute-0-0"])
    assert verdict({"killed": cell_document({"relay": killed})}, "20 %").value == pytest.approx(1.05)
    stuck = result_document(seconds=seconds, problems={"compute-0-0": "1 of 2 files missing"})
    found = verdict({"killed": cell_document({"relay": stuck})}, "20 %")
    assert (found.state, found.value) == ("not met", None)


def test_everyone_else_is_without_the_host_that_was_hit() -> None:
    relay = result_document(seconds={"compute-0-0": 11.0, "compute-0-1": 30.0}, hit={"compute-0-1": "slow-up"})
    assert verdict({"slow": cell_document({"relay": relay})}, "one host").value == pytest.approx(1.1)


def test_an_outage_is_taken_off() -> None:
    relay = result_document(seconds={"compute-0-0": 15.4}, outages=[5.0])
    assert verdict({"outage": cell_document({"relay": relay})}, "same, frontend and tracker still").state == "met"


def test_auto_is_held_against_the_better_plane_of_the_worst_cell() -> None:
    def cell(auto: float, relay: float, swarm: float) -> dict[str, Any]:
        planes = {"auto": auto, "relay": relay, "swarm": swarm}
        return cell_document({name: result_document(seconds={"a": value}) for name, value in planes.items()})

    cells = {"slow": cell(12.0, 20.0, 11.9), "scaled-16": cell(10.3, 10.0, 11.0)}
    found = verdict(cells, "auto, elsewhere", "auto")
    assert (found.value, found.state) == (pytest.approx(1.03), "not met")


def test_what_failed_was_not_measured() -> None:
    cells = {"scaled-16": cell_document({"relay": {"failed": "does not boot"}})}
    assert verdict(cells, "scaled, N = 16: ratio").state == "not measured"
