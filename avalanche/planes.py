"""Which plane an order for ``auto`` gets, when a host leaves it in mid-install, and why, in one line.

Pure; what is decided here was measured elsewhere.

* The relay plane is the best where hosts are alike (1.02 of the limit), and one slow host at the chain's end costs the
  others nothing (docs/decisions/0051, 0052). A lone host loses nothing by it: it fetches from the frontend either way.
* Several slow hosts share the tail's uplink, and hold up what stands behind them: 1.25 to 1.3 for the others. A swarm
  has no order that a slow host could disturb, and costs everybody some percent.
* A chain finds out who sends wrong bytes with the first block of them; a swarm fetches whole pieces again.
* Two planes at once cost the frontend two copies.

Part of what an installing host runs: Python 3.9, standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

FEWEST_SLOW = 2
"""One slow host is put last, and is no reason."""
SLOW_SHARE = 1 / 8
SMALLEST_SWARM = 4
"""Fewer hosts than this have too few uplinks for a swarm to choose among."""
STILL_SECONDS = 15.0
"""A swarm that brings no byte for so long does not move. What nobody has is given again by the frontend within 9 s
(docs/protocol.md, section 13.3).
"""
FRUITLESS_SECONDS = 60.0
"""So long bytes may come of which no piece is right."""
PAUSE_SECONDS = 5.0
"""A longer time between two looks means that this process stood still."""


@dataclass(frozen=True)
class Situation:
    """What is known of the hosts that install a generation, when one of them asks for its profile or for pieces.

    Attributes:
        hosts: with a live order for it, this one included.
        slow: those of them that installs of the last 30 days found slow, this one too.
        lying: those of them that sent others bytes that fail their hash, in that time.
        chained: those of them that have begun by relay.
        swarming: those of them that have begun by swarm.
    """

    hosts: int
    slow: int
    lying: int = 0
    chained: int = 0
    swarming: int = 0


@dataclass(frozen=True)
class Choice:
    """A plane and the reason for it, for a timeline."""

    plane: str
    why: str

    def __str__(self) -> str:
        return f"plane {self.plane}: {self.why}"


def choose(situation: Situation) -> Choice:
    """Decide for one host. Hosts that ask in the same situation get the same plane."""
    hosts, slow = situation.hosts, situation.slow
    if situation.swarming and 2 * situation.swarming >= hosts:
        return reconsider(situation) or Choice("swarm", f"{situation.swarming} of {hosts} hosts install by it already")
    if hosts >= SMALLEST_SWARM and slow >= FEWEST_SLOW and slow >= SLOW_SHARE * hosts:
        return _among_slow(situation)
    if hosts == 1:
        return Choice("relay", "no other host installs now; one that comes later may fetch from this one")
    if slow:
        return Choice("relay", f"{slow} of {hosts} hosts were slow lately, few enough to stand at the chain's end")
    return Choice("relay", f"{hosts} hosts install, and none is known to be slow")


def _among_slow(situation: Situation) -> Choice:
    why = f"{situation.slow} of {situation.hosts} hosts were slow lately"
    if situation.lying:
        return _relay_for_lying(situation)
    if 2 * situation.chained >= situation.hosts:
        return Choice("relay", f"{why}, but {situation.chained} hosts stand in a chain already")
    return Choice("swarm", f"{why}, and would hold up a chain")


def reconsider(situation: Situation) -> Optional[Choice]:
    """What is better for a host in a swarm that moves; None: going on. What a change costs, it must be worth."""
    if situation.lying:
        return _relay_for_lying(situation)
    if situation.hosts == 1:
        return Choice("relay", "no other host installs any more")
    return None


def _relay_for_lying(situation: Situation) -> Choice:
    return Choice(
        "relay", f"{situation.lying} of {situation.hosts} hosts sent wrong bytes lately, and a chain shuts them out"
    )


class Movement:
    """Does a swarm bring a host what it lacks? Looked at every second or so."""

    def __init__(self, now: float) -> None:
        self._looked = self._moved = self._gained = now
        self._received = self._pieces = 0

    def __repr__(self) -> str:
        return f"<Movement {self._received} bytes, {self._pieces} pieces>"

    def look(self, *, received: int, pieces: int, is_wanting: bool, now: float) -> Optional[str]:
        """Return why the host should fetch in another way, or None.

        Args:
            received: bytes that came so far, from whomever.
            pieces: how many it has.
            is_wanting: does it lack something that it has a place for, and does the frontend answer it?
        """
        paused = now - self._looked > PAUSE_SECONDS
        self._looked = now
        if received != self._received or paused or not is_wanting:
            self._received, self._moved = received, now
        if pieces != self._pieces or paused or not is_wanting:
            self._pieces, self._gained = pieces, now
        if now - self._moved > STILL_SECONDS:
            return f"no byte came through the swarm for {STILL_SECONDS:.0f} s"
        if now - self._gained > FRUITLESS_SECONDS:
            return f"no piece that came through the swarm for {FRUITLESS_SECONDS:.0f} s was right"
        return None
