"""Carries out the faults of a demo when their time has come."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from lab.faults import Fault
from lab.frontend import Frontend, Tracker
from lab.host import Host
from lab.network import Network
from lab.progress import say


class Mishaps:
    """The faults of one run. `tick` waits for nothing but a frontend that starts.

    Args:
        hosts: kills hit the first ones, slow links the last ones.
        tracker: when it is a process of its own.
    """

    def __init__(
        self, faults: Sequence[Fault], hosts: Sequence[Host], frontend: Frontend, tracker: Tracker | None = None
    ) -> None:
        self._waiting = [fault for fault in faults if fault.kind != "slow"]
        self._slow = [fault for fault in faults if fault.kind == "slow"]
        self._hosts = list(hosts)
        self._frontend = frontend
        self._tracker = tracker
        self._tracker_back_at: float | None = None
        self._outage: Fault | None = None
        self._back_at: float | None = None

    def slow_down(self, network: Network) -> None:
        """Slow the links that are slow from the start."""
        for fault in self._slow:
            for host in [self._hosts.pop() for _ in range(int(fault.amount))]:
                say(f"{host.name}: its link runs at {fault.percent} %")
                network.slow_down(host.name, host.link.rate_mbit * fault.percent / 100)

    def tick(self, share: float, now: float) -> None:
        """Do what is due.

        Args:
            share: part of all bytes that has arrived, from 0 to 1.
            now: seconds, of any clock.
        """
        self._end_outage(now)
        if self._tracker is not None and self._tracker_back_at is not None and now >= self._tracker_back_at:
            say("tracker: started again, empty")
            self._tracker.start()
            self._tracker_back_at = None
        for fault in [fault for fault in self._waiting if share * 100 >= fault.percent]:
            if fault.kind == "kill":
                self._waiting.remove(fault)
                self._kill(int(fault.amount))
            elif fault.kind == "tracker-stop":
                self._waiting.remove(fault)
                self._stop_tracker(fault, now)
            elif self._outage is None:
                self._waiting.remove(fault)
                self._begin_outage(fault, now)

    def _kill(self, count: int) -> None:
        for host in [self._hosts.pop(0) for _ in range(count)]:
            say(f"{host.name}: killed")
            host.kill()

    def _stop_tracker(self, fault: Fault, now: float) -> None:
        assert self._tracker is not None
        say(f"tracker: {fault}")
        self._tracker.kill()
        self._tracker_back_at = now + fault.amount

    def _begin_outage(self, fault: Fault, now: float) -> None:
        say(f"frontend: {fault}")
        self._outage = fault
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
            if self._outage.kind == "frontend-freeze":
                self._frontend.signal(signal.SIGCONT)
            else:
                self._frontend.start()
            say("frontend: serves again")
            self._outage = None
