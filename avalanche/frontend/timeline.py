"""Events on their way to the database: stored in groups, at most 100 ms after they came.

A host's batch is answered after it was stored, so what was answered is never lost. Nobody waits for the frontend's own
events; while the database cannot be written they are kept, up to a bound.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

from avalanche.adapters import orderbook
from avalanche.adapters.orderbook import TimelineEvent
from avalanche.errors import AvalancheError
from avalanche.frontend.storage import Storage
from avalanche.log import facts

log = logging.getLogger(__name__)

GATHER_SECONDS = 0.05
RETRY_SECONDS = 1.0
MAX_KEPT = 10_000


class Timeline:
    """Collects events; ``run`` stores them until ``close``."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._own: list[TimelineEvent] = []
        self._posted: list[tuple[Sequence[TimelineEvent], asyncio.Future[None]]] = []
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Timeline {len(self._own) + len(self._posted)} waiting>"

    def note(self, event: TimelineEvent) -> None:
        """Take an event the frontend itself saw."""
        if len(self._own) < MAX_KEPT:
            self._own.append(event)
            self._wake.set()

    async def store(self, events: Sequence[TimelineEvent]) -> None:
        """Take a host's events; returns when they are stored.

        Raises:
            DatabaseUnavailable: they could not be stored.
        """
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._posted.append((events, stored))
        self._wake.set()
        await stored

    async def run(self) -> None:
        """Store what comes, until ``close`` was called and everything is stored or refused."""
        while not self._closing.is_set() or self._own or self._posted:
            await self._wake.wait()
            await self._pause(GATHER_SECONDS)
            self._wake.clear()
            if not await self._flush():
                if self._closing.is_set():
                    log.error("events lost, the database cannot be written", extra=facts(events=len(self._own)))
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
        own, self._own = self._own, []
        posted, self._posted = self._posted, []
        events = [*own, *(event for batch, _ in posted for event in batch)]
        if not events and not posted:
            return True
        try:
            await self._storage.write(lambda transaction, _: orderbook.add_events(transaction, events))
        except AvalancheError as error:
            log.error("events not stored", extra=facts(events=len(events), reason=error))
            self._own = own + self._own
            for _, stored in posted:
                if not stored.done():
                    stored.set_exception(error)
            return False
        for _, stored in posted:
            if not stored.done():
                stored.set_result(None)
        return True
