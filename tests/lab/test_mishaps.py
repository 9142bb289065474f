"""What goes wrong in a run, and when."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field

import pytest

from lab.faults import parse_faults
from lab.mishaps import Mishaps


@dataclass
class Machine:
    """A host that writes down what happens to it."""

    name: str
    told: list[str] = field(default_factory=list)

    def release(self) -> None:
        self.told.append("release")

    def kill(self) -> None:
        self.told.append("kill")

    def freeze(self) -> None:
        self.told.append("freeze")

    def thaw(self) -> None:
        self.told.append("thaw")


@dataclass
class Server:
    """A frontend that ends at once when it is asked to."""

    is_running: bool = True
    told: list[str] = field(default_factory=list)

    def signal(self, number: signal.Signals) -> None:
        self.told.append(number.name)
        self.is_running = number in (signal.SIGSTOP, signal.SIGCONT)

    def start(self) -> None:
        self.told.append("start")
        self.is_running = True


def world(faults: str, *, stagger: float = 0.0) -> tuple[Mishaps, list[Machine], Server]:
    machines, server = [Machine(f"compute-0-{number}") for number in range(4)], Server()
    return Mishaps(parse_faults(faults), machines, server, stagger=stagger), machines, server


def told(machines: list[Machine]) -> list[list[str]]:
    return [machine.told for machine in machines]


def test_without_faults_all_begin_at_the_barrier() -> None:
    mishaps, machines, _ = world("")
    mishaps.begin(100.0)
    mishaps.tick(0.5, 101.0)
    assert told(machines) == [["release"]] * 4
    assert mishaps.starts == dict.fromkeys((machine.name for machine in machines), 100.0)


def test_staggered_hosts_begin_one_after_the_other() -> None:
    mishaps, _, _ = world("", stagger=0.3)
    mishaps.begin(100.0)
    mishaps.tick(0.0, 100.2)
    assert list(mishaps.starts) == ["compute-0-0"]
    # A look that comes late finds two of them due.
    mishaps.tick(0.0, 100.65)
    assert mishaps.starts == {"compute-0-0": 100.0, "compute-0-1": 100.65, "compute-0-2": 100.65}


def test_the_last_hosts_join_when_the_others_have_their_share() -> None:
    mishaps, machines, _ = world("join:2@50%")
    mishaps.begin(100.0)
    mishaps.tick(0.49, 105.0)
    assert told(machines) == [["release"], ["release"], [], []]
    mishaps.tick(0.5, 106.0)
    assert mishaps.starts["compute-0-3"] == mishaps.starts["compute-0-2"] == 106.0
    assert mishaps.hit == {"compute-0-2": "join", "compute-0-3": "join"}


def test_a_stopped_host_goes_on_after_its_time() -> None:
    mishaps, machines, _ = world("stop:1:5s@30%")
    mishaps.begin(100.0)
    mishaps.tick(0.3, 103.0)
    mishaps.tick(0.4, 107.9)
    assert machines[0].told == ["release", "freeze"]
    mishaps.tick(0.5, 108.0)
    mishaps.tick(0.6, 109.0)
    assert machines[0].told == ["release", "freeze", "thaw"]


def test_no_host_is_hit_twice() -> None:
    mishaps, machines, _ = world("kill:1@10%,stop:1:1s@10%,join:2@10%")
    mishaps.begin(100.0)
    mishaps.tick(0.2, 101.0)
    assert told(machines) == [["release", "kill"], ["release", "freeze"], ["release"], ["release"]]
    assert list(mishaps.hit.values()).count("join") == 2


@pytest.mark.parametrize(
    ("fault", "signals"),
    [
        ("frontend-freeze:5s@50%", ["SIGSTOP", "SIGCONT"]),
        ("frontend-kill:5s@50%", ["SIGKILL", "start"]),
        ("frontend-stop:5s@50%", ["SIGTERM", "start"]),
    ],
)
def test_an_outage_is_as_long_as_it_says(fault: str, signals: list[str]) -> None:
    mishaps, _, server = world(fault)
    mishaps.begin(100.0)
    for now in (103.0, 103.0, 107.9):
        mishaps.tick(0.5, now)
    assert server.told == signals[:1]
    mishaps.tick(0.5, 108.0)
    assert server.told == signals
    assert mishaps.outages == [pytest.approx(5.0, abs=0.5)]


def test_a_second_outage_waits_for_the_end_of_the_first() -> None:
    mishaps, _, server = world("frontend-freeze:5s@10%,frontend-freeze:5s@20%")
    mishaps.begin(100.0)
    mishaps.tick(0.3, 101.0)
    mishaps.tick(0.3, 102.0)
    assert server.told == ["SIGSTOP"]
    mishaps.tick(0.3, 106.0)
    assert server.told == ["SIGSTOP", "SIGCONT", "SIGSTOP"]
