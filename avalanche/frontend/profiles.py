"""The planner as the event loop sees it: one thread compiles and solves, one request after the other.

One thread is enough, because what several hosts share is compiled once and the rest are lookups; and it needs no locks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from avalanche.cluster import Cluster, RollEntry
from avalanche.frontend.planner import Plan, Planner
from avalanche.orders import Order

T = TypeVar("T")


class Profiles:
    """Answers with what hosts install, as the rolls were when `look` was called last. See ``Planner`` for what can go
    wrong."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="profiles")
        self._looking: asyncio.Task[Hashable] | None = None
        self._next_look: tuple[tuple[RollEntry, ...], asyncio.Task[Hashable]] | None = None

    async def look(self, entries: tuple[RollEntry, ...]) -> Hashable:
        """Look at an inventory's rolls, and name their content as it was on disk not before this call. Who asks
        together is told together.

        Raises:
            ConfigError, GraphError, ConditionError: the rolls cannot be read.
        """
        if self._next_look is None or self._next_look[0] != entries:
            self._next_look = entries, asyncio.create_task(self._look(entries, self._looking), name="rolls")
        return await asyncio.shield(self._next_look[1])

    async def _look(self, entries: tuple[RollEntry, ...], before: asyncio.Task[Hashable] | None) -> Hashable:
        if before is not None:
            await asyncio.wait((before,))
        self._looking = asyncio.current_task()
        if self._next_look is not None and self._next_look[1] is self._looking:
            self._next_look = None
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._planner.look, entries)

    async def plan(self, cluster: Cluster, order: Order) -> Plan:
        """What an order's host will install."""
        return await self._run(self._planner.plan, cluster, order)

    async def manifest(self, cluster: Cluster, order: Order, digest: str) -> bytes | None:
        """The manifest of this digest, or None when the host's profile names another."""
        return await self._run(self._planner.manifest, cluster, order, digest)

    async def _run(self, work: Callable[..., T], cluster: Cluster, *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, cluster, *arguments)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)
