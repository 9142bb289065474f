"""Which plane an order for ``auto`` gets, and why, in one line. Pure; what is decided here was measured elsewhere.

* The relay plane is the best where hosts are alike (1.02 of the limit), and one slow host at the chain's end costs the
  others nothing (docs/decisions/0051, 0052). A lone host loses nothing by it: it fetches from the frontend either way.
* Several slow hosts share the tail's uplink, and hold up what stands behind them: 1.25 to 1.3 for the others. A swarm
  has no order that a slow host could disturb, and costs everybody some percent.
"""

from __future__ import annotations

from dataclasses import dataclass

FEWEST_SLOW = 2
"""One slow host is put last, and is no reason."""
SLOW_SHARE = 1 / 8
SMALLEST_SWARM = 4
"""Fewer hosts than this have too few uplinks for a swarm to choose among."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known when a host asks for its profile.

    Attributes:
        hosts: with a live order for the same generation, this one included.
        slow: those of them that installs of the last 30 days found slow.
    """

    hosts: int
    slow: int


@dataclass(frozen=True, slots=True)
class Choice:
    """A plane and the reason for it, for a timeline."""

    plane: str
    why: str

    def __str__(self) -> str:
        return f"plane {self.plane}: {self.why}"


def choose(situation: Situation) -> Choice:
    """Decide for one host. Hosts that ask in the same situation get the same plane."""
    hosts, slow = situation.hosts, situation.slow
    if hosts >= SMALLEST_SWARM and slow >= FEWEST_SLOW and slow >= SLOW_SHARE * hosts:
        return Choice("swarm", f"{slow} of {hosts} hosts were slow lately, and would hold up a chain")
    if hosts == 1:
        return Choice("relay", "no other host installs now; one that comes later may fetch from this one")
    if slow:
        return Choice("relay", f"{slow} of {hosts} hosts were slow lately, few enough to stand at the chain's end")
    return Choice("relay", f"{hosts} hosts install, and none is known to be slow")
