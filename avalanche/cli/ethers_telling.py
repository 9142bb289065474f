"""What plugins are told of new hosts: in order, in a thread of their own, and noted in the hosts' timelines."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from avalanche.adapters import orderbook
from avalanche.adapters.database import DatabaseUnavailable
from avalanche.adapters.orderbook import TimelineEvent
from avalanche.adapters.plugins import Plugins
from avalanche.cli.ethers_sql import SqlThread
from avalanche.cli.ethers_views import View
from avalanche.cluster import Host
from avalanche.ethers import NewHost

T = TypeVar("T")

QUIET_SECONDS = 1.0
"""Plugins' ``restart`` runs when no host was added for so long, or ..."""
RESTART_SECONDS = 10.0
"""... when the first one that waits for it has waited so long."""


class Telling:
    """Tells plugins: ``added`` for each new host, ``restart`` for groups of them, ``done`` at the end.

    Args:
        restarts: whether ``restart`` is called; ``is_batch``: only at the end.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        plugins: Plugins,
        sql: SqlThread,
        view: View,
        *,
        restarts: bool,
        is_batch: bool,
        clock: Callable[[], float],
    ) -> None:
        self._plugins = plugins
        self._sql = sql
        self._view = view
        self._restarts = restarts
        self._is_batch = is_batch
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="plugins")
        self._queue: asyncio.Queue[Mapping[str, str] | None] = asyncio.Queue()

    def __repr__(self) -> str:
        return f"<Telling {self._plugins.names()}, {self._queue.qsize()} waiting>"

    def added(self, host: NewHost) -> None:
        """Tell them of a new host, soon."""
        self._queue.put_nowait(_told(host))

    def added_before(self, name: str) -> None:
        """Tell them of a host that an earlier run registered and did not come to tell."""
        self._queue.put_nowait({"host": name})

    def end(self) -> None:
        """Let ``run`` return when all is told."""
        self._queue.put_nowait(None)

    async def run(self) -> None:
        """Call plugins, in order: ``added`` for each new host, ``restart`` for groups of them, ``done`` at the end."""
        since: float | None = None
        loop = asyncio.get_running_loop()
        changed = False
        while True:
            waits = None
            if since is not None and self._restarts and not self._is_batch:
                waits = max(0.0, min(QUIET_SECONDS, since + RESTART_SECONDS - loop.time()))
            try:
                told = await asyncio.wait_for(self._queue.get(), waits)
            except TimeoutError:
                await self._hook("restart")
                since = None
                continue
            if told is None:
                break
            changed = True
            since = loop.time() if since is None else since
            await self._added(told)
        if changed and self._restarts and (since is not None or self._is_batch):
            await self._hook("restart")
        await self._hook("done")
        await self._in_thread(self._plugins.close)
        self._thread.shutdown()

    async def _added(self, told: Mapping[str, str]) -> None:
        if not self._plugins.names():
            return
        name = told["host"]
        if set(told) == {"host"}:
            try:
                found = await self._sql.run(lambda transaction: transaction.hosts([name]).get(name))
            except DatabaseUnavailable:
                return  # the next run finds it untold again
            if found is None:
                return
            told = facts_of(found)
        problems = await self._hook("added", told)
        status, text = ("failed", "; ".join(problems)) if problems else ("ok", "plugins told")
        event = TimelineEvent(name, self._clock(), "plugins", status, text)
        with suppress(DatabaseUnavailable):
            await self._sql.run(lambda transaction: orderbook.add_events(transaction, [event]), writes=True)

    async def _hook(self, event: str, host: Mapping[str, str] | None = None) -> list[str]:
        calls = await self._in_thread(lambda: list(self._plugins.call(event, host)))
        for call in calls:
            self._view.plugin(call)
        return [f"{call.plugin}: {call.problem}" for call in calls if call.problem]

    def _in_thread(self, work: Callable[[], T]) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, work)


def facts_of(host: Host) -> dict[str, str]:
    """What plugins are told of a host."""
    return {
        "host": host.name,
        "mac": host.mac or "",
        "ip": host.address or "",
        "rack": str(host.rack),
        "rank": str(host.rank),
        "membership": host.membership,
    }


def _told(host: NewHost) -> dict[str, str]:
    return {
        "host": host.name,
        "mac": host.mac,
        "ip": host.address or "",
        "rack": str(host.rack),
        "rank": str(host.rank),
        "membership": host.membership,
    }
