"""How completion time and the tracker's load grow with the hosts, up to 10,000: the simulator, with the tracker's real
decisions on a virtual clock.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from avalanche.errors import AvalancheError, ConfigError
from avalanche.manifest import BLOCK
from lab.progress import say
from lab.simulated import World, package_sizes
from lab.simulator import Simulation
from tracker.chains import Chains
from tracker.lookup import Answer, Lookup, Peer

HOSTS = (10, 30, 100, 300, 1_000, 3_000, 10_000)
PER_RACK = 32
OBJECTS = package_sizes(8_000_000, 30)


@dataclass(frozen=True, slots=True)
class Family:
    """Worlds that differ in the number of hosts alone."""

    name: str
    rate_mbit: float

    @property
    def about(self) -> str:
        """A sentence for the report."""
        size = sum(OBJECTS) / 1e6
        return f"{size:.0f} MB in {len(OBJECTS)} objects at {self.rate_mbit:g} Mbit/s, racks of {PER_RACK} hosts."

    def world(self, hosts: int) -> World:
        """The world of so many hosts."""
        rate = self.rate_mbit * 1e6 / 8
        return World(hosts=hosts, objects=OBJECTS, rate=rate, racks=max(1, hosts // PER_RACK), piece=BLOCK)


FAMILIES = (Family("100 Mbit/s", 100), Family("1 Gbit/s", 1_000))


class Timed(Chains):
    """The tracker's decisions, and the processor time they took."""

    seconds = 0.0

    def lookup(self, peer: Peer, lookup: Lookup, *, now: float, chance: float) -> Answer:
        """As in `Chains`."""
        began = time.process_time()
        answer = super().lookup(peer, lookup, now=now, chance=chance)
        self.seconds += time.process_time() - began
        return answer


def run_growth(hosts: Sequence[int] = HOSTS) -> dict[str, Any]:
    """Simulate worlds of so many hosts each, print, and return the figures.

    Raises:
        AvalancheError: as ``measure``.
    """
    worlds = []
    for family in FAMILIES:
        rows = [measure(family, each) for each in hosts]
        limit = sum(OBJECTS) / family.world(1).rate
        worlds.append({"name": family.name, "about": family.about, "limit_seconds": round(limit, 3), "rows": rows})
    return {"worlds": worlds}


def up_to(most: str) -> tuple[int, ...]:
    """Those of ``HOSTS`` that are not more than ``GROWTH`` says; all, if it says nothing.

    Raises:
        ConfigError: there are none, or it is no number.
    """
    if not most:
        return HOSTS
    found = tuple(hosts for hosts in HOSTS if most.isdecimal() and hosts <= int(most))
    if not found:
        raise ConfigError(f"GROWTH={most}: the most hosts to simulate, a whole number from {HOSTS[0]} to {HOSTS[-1]}")
    return found


def measure(family: Family, hosts: int) -> dict[str, Any]:
    """Simulate one world; return a row of figures.

    Raises:
        AvalancheError: not every host got everything.
    """
    simulation = Simulation(family.world(hosts), seed=1, make_chains=Timed)
    began = time.process_time()
    outcome = simulation.run()
    took = time.process_time() - began
    finished = [value for value in outcome.seconds.values() if value is not None]
    if len(finished) < hosts:
        raise AvalancheError(f"{family.name}, {hosts} hosts: {hosts - len(finished)} of them did not get everything")
    seconds = max(finished)
    chains = simulation.chains
    assert isinstance(chains, Timed)
    row = {
        "hosts": hosts,
        "seconds": round(seconds, 3),
        "frontend_copies": round(outcome.frontend_copies, 4),
        "most_copies": round(max(outcome.copies.values()), 3),
        "lookups": outcome.lookups,
        "lookups_per_second": round(outcome.lookups / seconds, 1),
        "tracker_seconds": round(chains.seconds, 6),  # a logarithmic axis has no 0
        "took_seconds": round(took, 1),
    }
    say(
        f"  {family.name}, {hosts} hosts: {seconds:.2f} s, tracker {chains.seconds:.2f} CPU s, "
        f"simulated in {took:.0f} s"
    )
    return row
