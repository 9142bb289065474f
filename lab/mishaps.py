"""Carries out the faults of a run when their time has come: starts hosts, one after the other or late, and troubles
them.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from typing import Protocol

from lab.faults import Fault
from lab.network import Network
from lab.progress import say


class Machine(Protocol):
    """A host that waits for its start."""

    name: str

    def release(self) -> None:
        """Let it begin."""

    def kill(self) -> None:
        """Cut its power."""

    def freeze(self) -> None:
        """Let everything on it stand still."""

    def thaw(self) -> None:
        """Let everything on it go on."""


class Server(Protocol):
    """What serves the hosts."""

    @property
    def is_running(self) -> bool: ...

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""

    def start(self) -> None:
        """Start it, once it has ended, and wait until it answers."""


class Restartable(Protocol):
    """A tracker that is a process of its own."""

    def start(self) -> None: ...

    def kill(self) -> None: ...


class Mishaps:
    """The faults of one run. `tick` waits for nothing but a frontend that starts.

    Args:
        hosts: ``kill`` and ``stop`` hit the first ones, ``slow``, ``slow-up`` and ``join`` the last ones.
        tracker: when it is a process of its own.
        stagger: seconds from one host's start to the next one's.
    """

    def __init__(
        self,
        faults: Sequence[Fault],
        hosts: Sequence[Machine],
        frontend: Server,
        tracker: Restartable | None = None,
        *,
        stagger: float = 0.0,
    ) -> None:
        self.starts: dict[str, float] = {}
        """When hosts began, by the clock of `tick`."""
        self.hit: dict[str, str] = {}
        """Hosts that a fault is meant for, and its kind."""
        self.outages: list[float] = []
        """How many seconds the frontend did not serve, each time."""
        self._faults = tuple(faults)
        self._frontend = frontend
        self._tracker = tracker
        self._stagger = stagger
        self._tracker_back_at: float | None = None
        self._outage: Fault | None = None
        self._outage_began = 0.0
        self._back_at: float | None = None
        self._frozen: list[tuple[float, Machine]] = []
        self._waiting = [fault for fault in faults if not fault.is_from_start]
        left = list(hosts)
        self._victims: dict[int, list[Machine]] = {}
        for fault in faults:
            is_first = fault.kind in ("kill", "stop")
            victims = [left.pop(0 if is_first else -1) for _ in range(fault.hosts)]
            self._victims[id(fault)] = victims
            self.hit |= {host.name: fault.kind for host in victims}
        self._slow = [fault for fault in faults if fault.is_from_start]
        late = {name for name, kind in self.hit.items() if kind == "join"}
        self._queue = [host for host in hosts if host.name not in late]

    def slow_down(self, network: Network) -> None:
        """Slow the links that are slow from the start."""
        for fault in self._slow:
            for host in self._victims[id(fault)]:
                only_up = fault.kind == "slow-up"
                say(f"{host.name}: {'the way out of it' if only_up else 'its link'} runs at {fault.percent} %")
                rate = network.links[host.name].rate_mbit * fault.percent / 100
                network.slow_down(host.name, rate, only_up=only_up)

    def begin(self, now: float) -> None:
        """Lift the barrier for those who do not come later."""
        first = list(self._queue) if not self._stagger else self._queue[:1]
        for host in first:
            self._release(host, now)

    def tick(self, share: float, now: float) -> None:
        """Do what is due.

        Args:
            share: part of all bytes, of the hosts that have begun, that has arrived, from 0 to 1.
            now: seconds, of any clock.
        """
        self._go_on(now)
        began = min(self.starts.values(), default=now)
        while self._queue and now >= began + len(self.starts) * self._stagger:
            self._release(self._queue[0], now)
        for fault in [fault for fault in self._waiting if share * 100 >= fault.percent]:
            if fault.kind.startswith("frontend") and self._outage is not None:
                continue
            self._waiting.remove(fault)
            self._do(fault, now)

    def _release(self, host: Machine, now: float) -> None:
        if host in self._queue:
            self._queue.remove(host)
        self.starts[host.name] = now
        host.release()

    def _go_on(self, now: float) -> None:
        """End what has lasted long enough."""
        self._end_outage(now)
        if self._tracker is not None and self._tracker_back_at is not None and now >= self._tracker_back_at:
            say("tracker: started again, empty")
            self._tracker.start()
            self._tracker_back_at = None
        for until, host in [each for each in self._frozen if now >= each[0]]:
            say(f"{host.name}: goes on")
            host.thaw()
            self._frozen.remove((until, host))

    def _do(self, fault: Fault, now: float) -> None:
        if fault.kind == "tracker-stop":
            self._stop_tracker(fault, now)
        elif fault.kind.startswith("frontend"):
            self._begin_outage(fault, now)
        for host in self._victims[id(fault)]:
            say(f"{host.name}: {fault.kind}")
            if fault.kind == "kill":
                host.kill()
            elif fault.kind == "stop":
                host.freeze()
                self._frozen.append((now + fault.seconds, host))
            elif fault.kind == "join":
                self._release(host, now)

    def _stop_tracker(self, fault: Fault, now: float) -> None:
        assert self._tracker is not None
        say(f"tracker: {fault}")
        self._tracker.kill()
        self._tracker_back_at = now + fault.amount

    def _begin_outage(self, fault: Fault, now: float) -> None:
        say(f"frontend: {fault}")
        self._outage, self._outage_began = fault, now
        if fault.kind == "frontend-stop":
            # It may finish answers that are running; the outage counts from its end.
            self._frontend.signal(signal.SIGTERM)
            self._back_at = None
            return
        self._frontend.signal(signal.SIGSTOP if fault.kind == "frontend-freeze" else signal.SIGKILL)
        self._back_at = now + fault.amount

    def _end_outage(self, now: float) -> None:
        if self._outage is None:
            return
        if self._back_at is None:
            if not self._frontend.is_running:
                self._back_at = now + self._outage.amount
        elif now >= self._back_at:
            waited = time.monotonic()
            if self._outage.kind == "frontend-freeze":
                self._frontend.signal(signal.SIGCONT)
            else:
                self._frontend.start()
            # A server needs a while until it answers, and that belongs to the outage.
            self.outages.append(round(now - self._outage_began + time.monotonic() - waited, 3))
            say("frontend: serves again")
            self._outage = None
