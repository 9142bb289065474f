"""What simulated hosts find out about their parents: docs/protocol.md, section 11.4, with the agent's own numbers."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from avalanche.agent.link import (
    COMPLAIN_SECONDS,
    SILENT_SECONDS,
    SLOW_BACKLOG,
    SLOW_EGRESS,
    SLOW_INGRESS,
    SLOW_SECONDS,
    STALLED_SECONDS,
    STARVED_SECONDS,
)
from avalanche.agent.parents import TICK_SECONDS, quiet_seconds
from avalanche.agent.supply import fill_seconds
from lab.simulated import Host
from tracker.lookup import Blame

if TYPE_CHECKING:
    from lab.simulator import Simulation

MOMENT = 0.005
"""Seconds."""
WATCH_TICKS = 3
"""A simulated host looks at its parents at every third tick of a real one: it costs less, and changes little."""


def note(lately: deque[tuple[float, int]], at: float, size: int) -> None:
    """Remember that bytes passed, for `rate`. Those of a moment are one row: a host that relays blocks would otherwise
    remember thousands."""
    if lately and at - lately[-1][0] < MOMENT:
        at, before = lately.pop()
        size += before
    lately.append((at, size))


def rate(lately: deque[tuple[float, int]], now: float) -> float:
    """Bytes per second over half a second: a longer look would take a parent that has just begun for slow."""
    while lately and lately[0][0] < now - 0.5:
        lately.popleft()
    return 2 * sum(size for at, size in lately if at <= now)


class Watcher:
    """The eyes of all hosts of a simulation."""

    def __init__(self, simulation: Simulation) -> None:
        self._sim = simulation

    @property
    def _now(self) -> float:
        return self._sim.now

    def watch(self, host: Host) -> None:
        """Now and then: is a parent slow, or stalled, does what comes next starve?"""
        if not host.alive or host.finished is not None:
            return
        self._sim.at(self._now + WATCH_TICKS * TICK_SECONDS, partial(self.watch, host))
        ingress = rate(host.received_lately, self._now)
        host.best_ingress = max(host.best_ingress, ingress)
        if host.stopped:
            return
        if not host.received_lately or host.received_lately[-1][0] < self._now - 0.5:
            # A gap spoils every rate measured over a second.
            host.quiet_until = max(host.quiet_until, self._now + quiet_seconds(host.received))
        parents = host.asked_of if len(host.asked_of) < 2 else (request.parent for request in host.requests.values())
        for parent in list(dict.fromkeys(parents)):
            if parent is not self._sim.frontend and parent.alive and not parent.stopped:
                self._watch_pace(host, parent, ingress)
                self._watch_bytes(host, parent)
        self._watch_due(host)

    def _watch_pace(self, host: Host, parent: Host, ingress: float) -> None:
        is_slow = (
            self._backlog(host, parent) >= SLOW_BACKLOG
            and 0 < rate(parent.uploaded_lately, self._now) < SLOW_EGRESS * parent.best_ingress
            and ingress < SLOW_INGRESS * parent.best_ingress
        )
        if not is_slow or self._now < host.quiet_until:
            host.slow_since.pop(parent.peer.id, None)
        elif self._now - host.slow_since.setdefault(parent.peer.id, self._now) >= SLOW_SECONDS:
            host.quiet_until = self._now + quiet_seconds(host.received)
            host.blames.append(Blame(parent.peer.id, "slow"))
            self._sim.look_up(host)

    def _backlog(self, host: Host, parent: Host) -> int:
        """What the parent says it has for this child and has not sent."""
        line = parent.lines.get(host.peer.id)
        if line is None or parent.lies:
            return 0
        return sum(parent.have[thing] - line.requests[thing].sent for thing in line.ready)

    def _watch_bytes(self, host: Host, parent: Host) -> None:
        line = parent.lines.get(host.peer.id)
        if line is None or not line.requests:
            return
        if self._backlog(host, parent) == 0:
            line.idle = self._now
        # A heartbeat comes after the bytes that were sent before it: what is on its way is no stall.
        longest = STALLED_SECONDS + fill_seconds(host.place or 0, host.received)
        if self._now - line.fed > longest or self._now - max(line.fed, line.idle) > SILENT_SECONDS:
            self._sim.lose(host, parent, "stalled")

    def _watch_due(self, host: Host) -> None:
        """What comes next does not come, and the parent says it has no more of it than this host."""
        host.supply.note(host.received, self._now)
        is_lean = host.supply.is_lean(host.best_ingress, rate(host.received_lately, self._now))
        while host.due < len(host.wants) and self._sim.left(host, host.wants[host.due]) == 0:
            host.due, host.due_since = host.due + 1, self._now
        due = host.wants[host.due] if host.due < len(host.wants) else None
        request = None if due is None else host.requests.get(due)
        if request is None or due is None or (request.parent.stopped and request.parent is not self._sim.frontend):
            host.waits = (None, 0.0)
            return
        parent = request.parent
        if host.waits[0] is not parent:
            host.waits = (parent, self._now)
        hungry = self._now - max(request.last, host.due_since)
        held = 0 if parent.lies else parent.have.get(due, 0)
        says_none = parent is self._sim.frontend or held <= host.have.get(due, 0)
        is_dry = hungry >= STARVED_SECONDS + fill_seconds(host.place or 0, host.received)
        is_hungry = is_dry or (is_lean and self._now - host.waits[1] >= STARVED_SECONDS)
        if is_hungry and says_none and self._now - host.told >= COMPLAIN_SECONDS:
            host.told = self._now
            host.blames.append(Blame(parent.peer.id, "starved", due))
            self._sim.look_up(host)
