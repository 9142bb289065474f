"""What an agent tells its frontend while it works: queued, numbered, sent in batches, never in anyone's way."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional

from avalanche.agent.deadline import within
from avalanche.agent.frontend import Frontend
from avalanche.agent.rundir import RunDirectory
from avalanche.errors import AvalancheError, ConfigError, OrderRefused
from avalanche.messages import MAX_BODY, MAX_TEXT, Event, EventBatch, Scalar

TARGET = "/install/events"
BATCH = 50
"""Most events in one body; long ones travel in smaller batches."""
PENDING_PROGRESS = 200
"""Progress events that wait; outcomes are few and always kept."""
PERIOD = 1.0
"""Seconds between two batches of mere progress: what happens meanwhile travels together."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Report:
    """An event before it has its number."""

    at: float
    stage: str
    status: str
    text: str
    data: Mapping[str, Scalar] = field(default_factory=dict)
    key: str = ""


class Events:
    """The events of one attempt, on their way to the frontend.

    A progress report replaces a waiting one of the same stage and key, so a silent frontend costs no memory; a start or
    an outcome is never dropped. Numbers are given when a batch is formed and kept in the run directory before it is
    sent: an agent that is started again goes on counting.
    """

    def __init__(self, frontend: Frontend, *, attempt: str, run: RunDirectory) -> None:
        self.refused: Optional[OrderRefused] = None
        """Why the frontend takes no more events of this order, once it said so."""
        self._frontend = frontend
        self._attempt = attempt
        self._run = run
        self._waiting: list[Report] = []
        self._sequence = run.sequence()
        self._news = asyncio.Event()
        self._urgent = asyncio.Event()
        self._quiet = asyncio.Event()
        self._quiet.set()

    def __repr__(self) -> str:
        return f"<Events {len(self._waiting)} waiting, {self._sequence} numbered>"

    def report(
        self, stage: str, status: str, text: str, data: Optional[Mapping[str, Scalar]] = None, *, key: str = ""
    ) -> None:
        """Queue an event; returns at once."""
        text = _clean(text)  # a script's output may be anything
        level = {"failed": logging.WARNING, "progress": logging.DEBUG}.get(status, logging.INFO)
        log.log(level, "event stage=%s status=%s text=%s", stage, status, text)
        if self.refused is not None:
            return
        report = Report(time.time(), stage, status, text, dict(data or {}), key)
        if status == "progress":
            self._make_room(report)
        else:
            self._urgent.set()
        self._waiting.append(report)
        self._quiet.clear()
        self._news.set()

    async def flush(self, seconds: float) -> bool:
        """Wait until everything is stored or refused, at most ``seconds``. Is it?"""
        self._urgent.set()
        try:
            await within(seconds, self._quiet.wait())
        except asyncio.TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Send until cancelled, or until the order is refused."""
        while self.refused is None:
            await self._news.wait()
            self._news.clear()
            self._urgent.clear()
            while self._waiting and self.refused is None:
                await self._send(self._form())
            self._quiet.set()
            alarm = asyncio.get_running_loop().call_later(PERIOD, self._urgent.set)
            try:
                await self._urgent.wait()
            finally:
                alarm.cancel()
        self._waiting.clear()
        self._quiet.set()

    def _make_room(self, report: Report) -> None:
        same = (report.stage, "progress", report.key)
        progress = [index for index, old in enumerate(self._waiting) if old.status == "progress"]
        for index in progress:
            old = self._waiting[index]
            if (old.stage, old.status, old.key) == same:
                del self._waiting[index]
                return
        if len(progress) >= PENDING_PROGRESS:
            del self._waiting[progress[0]]

    def _form(self) -> EventBatch:
        """Number the reports that travel next."""
        reports = _fitting(self._waiting[:BATCH])
        del self._waiting[: len(reports)]
        first = self._sequence + 1
        self._sequence += len(reports)
        try:
            self._run.keep_sequence(self._sequence)
        except ConfigError as error:
            # An agent that is started again would begin with older numbers; this one goes on.
            log.warning("numbers of events are not kept reason=%s", error)
        events = tuple(
            Event(number, round(report.at, 3), report.stage, report.status, report.text, report.data)
            for number, report in enumerate(reports, start=first)
        )
        return EventBatch(self._attempt, events)

    async def _send(self, batch: EventBatch) -> None:
        try:
            await self._frontend.post(TARGET, batch.to_json())
        except OrderRefused as error:
            log.warning("events refused reason=%s", error)
            self.refused = error
        except AvalancheError as error:
            log.error("events lost count=%d reason=%s", len(batch.events), error)


def _clean(text: str) -> str:
    """Text the protocol can carry: no half characters, not too long, the end kept because errors stand there."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= MAX_TEXT else "..." + text[-(MAX_TEXT - 3) :]


def _fitting(reports: list[Report]) -> list[Report]:
    """The first reports that fit into one body; JSON writes a character in at most 12 bytes."""
    room = MAX_BODY - 4096
    for index, report in enumerate(reports):
        room -= 400 + 12 * len(report.text) + sum(100 + 12 * len(str(value)) for value in report.data.values())
        if room < 0:
            return reports[: max(index, 1)]
    return reports
