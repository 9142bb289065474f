"""When a run of insert-ethers is over: as many hosts as were asked for are as far as was asked for."""

from __future__ import annotations

import pytest

from avalanche.cli.ethers_goal import Goal, Until
from avalanche.ethers import Ethers, NewHost, Policy

MACS = [f"52:54:00:00:00:{number:02x}" for number in range(3)]


def ethers(count: int | None = None, hosts: int = 0, *, order: str | None = "f" * 16) -> Ethers:
    found = Ethers(Policy(count=count))
    for number in range(hosts):
        found.registered(NewHost(f"compute-0-{number}", MACS[number], None, 1.0, order=order))
    return found


def test_without_a_stage_or_a_number_there_is_no_end() -> None:
    for until, count in ((Until(), None), (Until(), 1), (Until("registered"), None)):
        goal = Goal(until, ethers(count, 2), [])
        assert (goal.is_bounded, goal.is_reached) == (False, False)


def test_a_number_of_hosts_is_waited_for() -> None:
    few, enough = (Goal(Until("registered"), ethers(2, hosts), []) for hosts in (1, 2))
    assert (few.is_reached, few.lacking, enough.is_reached) == (False, "1 of 2 hosts came", True)


@pytest.mark.parametrize("stage", ["kickstart", "done"])
def test_a_stage_is_waited_for_by_hosts_that_have_an_order(stage: str) -> None:
    assert Goal(Until(stage), ethers(1, 1, order=None), []).is_reached
    new = ethers(1, 1)
    goal = Goal(Until(stage), new, [])
    assert (goal.is_reached, goal.lacking) == (False, f"not yet {stage}: compute-0-0")
    new.progress("compute-0-0", stage="stub", outcome="ok", text="", status=200)
    new.progress("compute-0-0", stage="done", outcome="failed", text="no disk", status=None)
    assert goal.is_reached
    assert goal.failures() == (["compute-0-0: no disk"] if stage == "done" else [])


def test_everybody_of_a_list_is_registered_or_refused_by_name() -> None:
    new = ethers()
    goal = Goal(Until("registered"), new, MACS)
    goal.registered(MACS[0])
    goal.refused(MACS[1], "no address is left")
    assert (goal.is_reached, goal.lacking) == (False, "1 machines of the list are not registered")
    goal.refused(MACS[2], "paused")
    goal.registered(MACS[2])
    assert goal.is_reached
    assert goal.failures() == [f"{MACS[1]}: no address is left"]


def test_who_was_refused_and_is_a_host_all_the_same_is_no_failure() -> None:
    new = ethers(hosts=1)
    goal = Goal(Until("registered"), new, MACS[:1])
    goal.refused(MACS[0], "MAC belongs to compute-0-0")
    assert (goal.has_refusals, goal.failures()) == (True, [])


def test_a_refusal_without_a_list_is_no_failure_of_the_run() -> None:
    goal = Goal(Until("registered"), ethers(1), [])
    goal.refused(MACS[0], "no address is left")
    assert (goal.has_refusals, goal.failures()) == (False, [])
