"""The heartbeat of a load: lifts the hold, finds new room, and tells the frontend how far it is."""

from __future__ import annotations

import asyncio
import time
from typing import Optional

from avalanche.agent.downloader import Downloader
from avalanche.agent.events import Events
from avalanche.agent.rundir import RunDirectory
from avalanche.manifest import Manifest
from avalanche.messages import Scalar

HOLD_POLL = 0.02
"""Seconds between two looks at the file ``hold``: a lab starts all hosts with it."""
PERIOD = 1.0
REPORT_EVERY = 2
"""Heartbeats between two progress events."""


class Progress:
    """Watches one downloader from the hold to the last package, and on until the agent ends."""

    def __init__(self, manifest: Manifest, downloader: Downloader, events: Events, run: RunDirectory) -> None:
        self._total = sum(entry.nevra is not None for entry in manifest.entries)
        self._downloader = downloader
        self._events = events
        self._run = run
        self._started: Optional[float] = None
        self._seconds: Optional[float] = None

    def facts(self) -> dict[str, Scalar]:
        """The figures of events and ``done``; ``seconds`` runs from the lifted hold to the closure's last byte."""
        figures = self._downloader.figures
        facts: dict[str, Scalar] = {
            "packages": figures.packages,
            "total": self._total,
            "bytes_from_frontend": figures.bytes_from_frontend,
            "bytes_from_peers": figures.bytes_from_peers,
        }
        if self._started is not None:
            seconds = time.monotonic() - self._started if self._seconds is None else self._seconds
            facts["seconds"] = round(seconds, 3)
        return facts

    async def run(self) -> None:
        """Keep the load going until cancelled."""
        while self._run.is_held():  # noqa: ASYNC110 - a file, made and removed by other programs
            await asyncio.sleep(HOLD_POLL)
        self._started = time.monotonic()
        self._downloader.is_held = False
        self._events.report("packages", "start", f"{self._total} packages to load")
        beats, last = 0, -1
        while True:
            self._downloader.is_held = self._run.is_held()
            self._downloader.advance()
            beats += 1
            fetched = self._downloader.figures.verified
            if self._seconds is None and self._downloader.has_closure.is_set():
                self._seconds = time.monotonic() - self._started
                text = f"{self._total} packages in {self._seconds:.1f} s"
                self._events.report("packages", "ok", text, self.facts())
            elif self._seconds is None and beats % REPORT_EVERY == 0 and fetched != last:
                last = fetched
                text = f"{self._downloader.figures.packages} of {self._total} packages"
                self._events.report("packages", "progress", text + self._pause(), self.facts())
            await self._pulse()

    async def _pulse(self) -> None:
        """Sleep until the next heartbeat, or until the closure is complete."""
        if self._seconds is None:
            alarm = asyncio.ensure_future(self._downloader.has_closure.wait())
            await asyncio.wait({alarm}, timeout=PERIOD)
            alarm.cancel()
        else:
            await asyncio.sleep(PERIOD)

    def _pause(self) -> str:
        if self._downloader.is_held:
            return ", held"
        return ", waiting for room in the cache" if self._downloader.is_full else ""
