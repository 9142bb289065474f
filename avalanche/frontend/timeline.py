"""Events on their way to the database: stored in groups, at most 100 ms after they came.

A host's batch is answered after it was stored, so what was answered is never lost. Nobody waits for the frontend's own
events; while the database cannot be written they are kept, up to a bound.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from avalanche.adapters import orderbook
from avalanche.adapters.orderbook import TimelineEvent
from avalanche.frontend.storage import Storage
from avalanche.log import facts

log = logging.getLogger(__name__)

GATHER_SECONDS = 0.05
RETRY_SECONDS = 1.0
MAX_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class _Batch:
    """Events that came together; ``stored`` is who waits for them, None for the frontend's own."""

    events: Sequence[TimelineEvent]
    stored: asyncio.Future[None] | None = None


class Timeline:
    """Collects events in the order in which they come; ``run`` stores them until ``close``."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._waiting: list[_Batch] = []
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()
        self._told = ""  # why events could not be stored, the last time

    def __repr__(self) -> str:
        return f"<Timeline {len(self._waiting)} waiting>"

    def note(self, event: TimelineEvent) -> None:
        """Take an event the frontend itself saw."""
        if len(self._waiting) < MAX_KEPT:
            self._waiting.append(_Batch((event,)))
            self._wake.set()

    async def store(self, events: Sequence[TimelineEvent]) -> None:
        """Take a host's events; returns when they and all that came before are stored.

        Raises:
            DatabaseUnavailable: they could not be stored.
        """
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Batch(events, stored))
        self._wake.set()
        await stored

    async def run(self) -> None:
        """Store what comes, until ``close`` was called and everything is stored or refused."""
        while not self._closing.is_set() or self._waiting:
            await self._wake.wait()
            await self._pause(GATHER_SECONDS)
            self._wake.clear()
            if await self._flush():
                continue
            if self._closing.is_set():
                log.error("events lost, the database cannot be written", extra=facts(events=len(self._waiting)))
                return
            await self._pause(RETRY_SECONDS)
            self._wake.set()

    def close(self) -> None:
        """Ask ``run`` to store the rest and return."""
        self._closing.set()
        self._wake.set()

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)

    async def _flush(self) -> bool:
        """Store what waits; on failure tell those who wait for theirs, and keep the rest."""
        batches, self._waiting = self._waiting, []
        events = [event for batch in batches for event in batch.events]
        failure = None
        if events:
            try:
                await self._storage.write(lambda transaction, _: orderbook.add_events(transaction, events))
            except Exception as error:  # whatever it is, somebody waits for an answer
                # It is tried every second, and every host that sends hears why: the log needs it once.
                level = logging.DEBUG if str(error) == self._told else logging.ERROR
                log.log(level, "events not stored", extra=facts(events=len(events), reason=error))
                self._told = str(error)
                self._waiting[:0] = [batch for batch in batches if batch.stored is None]
                failure = error
            else:
                self._told = ""
        for batch in batches:
            if batch.stored is None or batch.stored.done():
                continue
            if failure is None:
                batch.stored.set_result(None)
            else:
                batch.stored.set_exception(failure)
        return failure is None
