"""The planner as the event loop sees it: one thread compiles and solves, one request after the other.

One thread is enough, because what several hosts share is compiled once and the rest are lookups; and it needs no locks.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from avalanche.cluster import Cluster
from avalanche.frontend.planner import Planner
from avalanche.manifest import Manifest
from avalanche.membership import Membership
from avalanche.orders import Order


class Profiles:
    """Answers with installation documents and manifests. See ``Planner`` for what can go wrong."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="profiles")

    async def installation(self, cluster: Cluster, order: Order, membership: Membership | None) -> bytes:
        """The installation document of an order's host."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._planner.installation, cluster, order, membership)

    async def wanted(self, cluster: Cluster, order: Order) -> Manifest:
        """What an order's host will fetch."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._planner.wanted, cluster, order)

    async def manifest(self, cluster: Cluster, order: Order, digest: str) -> bytes | None:
        """The manifest of this digest, or None when the host's profile names another."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._planner.manifest, cluster, order, digest)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)
