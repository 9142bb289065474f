"""Which package comes next: what the installer asks for, then the closure in canonical order, as much as fits.

`Downloader.advance` decides; it is called whenever something changed: an object is wanted, a transfer ended, room came
free, the hold was lifted, a second has passed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Callable, Optional

from avalanche.agent.cache import Cache, Slot
from avalanche.agent.connection import Pool
from avalanche.agent.events import Events
from avalanche.agent.item import Item, State
from avalanche.agent.transfer import DiskFull, Sources, Transfer
from avalanche.agent.trouble import Delay, Trouble, jittered_delay
from avalanche.errors import AvalancheError, ProtocolError, StoreFull, TransferError, VerificationFailed

PREFETCHES = 8
"""Transfers of the closure in flight: measured, three give 1.21 of the limit and eight 1.04 (perf.md)."""
DEMANDS = 4
"""More transfers that only what the installer waits for may use; dnf asks for three objects at a time."""
ROOM_SECONDS = 60.0
"""So long an object that the installer waits for may find no room before it fails."""

log = logging.getLogger(__name__)


@dataclass
class Figures:
    """What a host has fetched so far."""

    packages: int = 0
    bytes_from_frontend: int = 0
    bytes_from_peers: int = 0

    def count(self, received: int) -> None:
        """Some bytes came from the frontend, good or bad."""
        self.bytes_from_frontend += received


class Downloader:
    """Fetches items into the cache.

    Args:
        closure: the items to prefetch, in canonical order.
        is_live: may an unreachable source still be waited for? (False once the frontend refused the order.)
        delay: how long to wait between tries.
    """

    def __init__(
        self,
        closure: Iterable[Item],
        *,
        sources: Sources,
        cache: Cache,
        pool: Pool,
        events: Events,
        is_live: Callable[[], bool],
        delay: Delay = jittered_delay,
    ) -> None:
        self.figures = Figures()
        self.is_held = True
        """Is prefetch kept back?"""
        self.is_full = False
        """Does the next object wait for room?"""
        self.has_closure = asyncio.Event()
        """Was every object of the closure complete here?"""
        self._prefetch = deque(closure)
        self._missing = set(self._prefetch)
        if not self._missing:
            self.has_closure.set()
        self._demanded: deque[Item] = deque()
        self._sources = sources
        self._cache = cache
        self._pool = pool
        self._events = events
        self._is_live = is_live
        self._delay = delay
        self._delivered: deque[Item] = deque()
        self._running: dict[asyncio.Task[None], Item] = {}
        self._full_since: Optional[float] = None

    def __repr__(self) -> str:
        return f"<Downloader {len(self._running)} running, {len(self._prefetch)} to prefetch, {self._cache!r}>"

    def demand(self, item: Item) -> None:
        """The installer asks for an item: it goes before everything that is only prefetched."""
        if item.state in (State.ABSENT, State.QUEUED) and not item.is_demanded:
            item.state = State.QUEUED
            self._demanded.append(item)
        item.is_demanded = item.state is not State.COMPLETE
        self.advance()

    def taken(self, item: Item) -> None:
        """An answer was sent: when the installer has the whole item, its room may be used again."""
        if item.is_evictable:
            self._delivered.append(item)
            if self.is_full:
                self.advance()

    def advance(self) -> None:
        """Start every transfer that may run now."""
        self.is_full = False
        demands = sum(item.is_demanded for item in self._running.values())
        while self._demanded and len(self._running) < PREFETCHES + DEMANDS:
            if not self._start(self._demanded, is_alone=demands == 0):
                break
            demands += 1
        while not self.is_held and self._prefetch and self._may_prefetch(demands):
            if self._prefetch[0].state is not State.ABSENT or self._prefetch[0].has_arrived:
                self._prefetch.popleft()  # the installer asked for it before its turn came
            elif not self._start(self._prefetch, is_alone=False):
                break
        self._judge_room()

    def _may_prefetch(self, demands: int) -> bool:
        running = len(self._running)
        return running - demands < PREFETCHES and running < PREFETCHES + DEMANDS

    async def close(self) -> None:
        """Stop every transfer."""
        self._prefetch.clear()
        self._demanded.clear()
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- room ---

    def _start(self, queue: deque[Item], *, is_alone: bool) -> bool:
        item = queue[0]
        slot = self._reserve(item, is_alone=is_alone)
        if slot is None:
            self.is_full = True
            return False
        queue.popleft()
        item.slot, item.state = slot, State.ARRIVING
        task = asyncio.get_running_loop().create_task(self._fetch(item, slot))
        self._running[task] = item
        task.add_done_callback(self._ended)
        return True

    def _reserve(self, item: Item, *, is_alone: bool) -> Optional[Slot]:
        demanded = item.is_demanded
        while True:
            try:
                slot = self._cache.reserve(item.entry, demanded=demanded)
                if slot is not None:
                    return slot
                if not self._evict():
                    # With nothing else on its way to the installer, only the disk may stop what it waits for.
                    beyond = demanded and is_alone
                    return self._cache.reserve(item.entry, demanded=True, beyond_limit=True) if beyond else None
            except OSError as error:
                log.warning("cache refuses path=%s reason=%s", item.entry.path, error)
                if not self._evict():
                    return None

    def _evict(self) -> bool:
        """Give back the room of what the installer took longest ago."""
        while self._delivered:
            item = self._delivered.popleft()
            if item.is_evictable:
                item.forget()
                return True
        return False

    def _judge_room(self) -> None:
        """Let what waits for room fail when it waits in vain for too long."""
        now = asyncio.get_running_loop().time()
        if not (self.is_full and self._demanded):
            self._full_since = None
        elif self._full_since is None:
            self._full_since = now
        elif now - self._full_since > ROOM_SECONDS:
            item = self._demanded.popleft()
            self._full_since = None
            self._fail(item, self._no_room(item))

    def _no_room(self, item: Item) -> StoreFull:
        return StoreFull(
            f"no room for {item.entry.path} ({item.entry.size} bytes) in {self._cache.paths}; "
            f"{self._cache.used} bytes wait there for the installer"
        )

    # --- transfers ---

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        if not task.cancelled():
            task.result()
            self.advance()

    async def _fetch(self, item: Item, slot: Slot) -> None:
        try:
            await self._arrive(item, Transfer(item, slot, self.figures.count))
        except AvalancheError as error:
            self._fail(item, error)
            return
        except Exception as error:
            # One object's fault must not leave the installer waiting for ever, nor end the install.
            log.exception("transfer crashed path=%s", item.entry.path)
            self._fail(item, TransferError(f"{item.entry.path}: a fault of the agent: {type(error).__name__}: {error}"))
            return
        if not item.has_arrived and item.entry.nevra is not None:
            self.figures.packages += 1
        item.complete()
        self.taken(item)  # an answer may have ended with the last piece, before this line
        self._missing.discard(item)
        if not self._missing:
            self.has_closure.set()

    async def _arrive(self, item: Item, transfer: Transfer) -> None:
        trouble = Trouble(
            item.entry, self._events, sources=len(self._sources), is_live=self._is_live, delay=self._delay
        )
        target = self._sources.target(item.entry.path)
        while not transfer.is_complete:
            source = self._sources.current
            try:
                await transfer.run(self._pool, source, target)
            except DiskFull as error:
                if not self._evict():
                    await asyncio.sleep(trouble.judge_full_disk(error, is_demanded=item.is_demanded))
            except (TransferError, ProtocolError, VerificationFailed) as error:
                self._sources.pass_over(source)
                await asyncio.sleep(trouble.judge(source, error))

    def _fail(self, item: Item, error: AvalancheError) -> None:
        self._events.report("packages", "failed", str(error))
        item.fail(error)
