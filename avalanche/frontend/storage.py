"""The database as the event loop sees it: one thread does all SQL, and requests that wait together share one commit.

It may be away, also when the frontend starts: then requests hear so, and the next ones ask it again.

An order's transition is durable before its answer leaves, yet a hundred hosts that boot at once cost a handful of
commits: whatever gathered while one group ran is the next group.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from avalanche.adapters import orderbook
from avalanche.adapters.database import Database, DatabaseFull, DatabaseUnavailable, Transaction
from avalanche.cluster import Cluster
from avalanche.errors import AvalancheError
from avalanche.log import facts
from avalanche.orders import Order

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[Transaction, Cluster], T]


@dataclass(frozen=True, slots=True)
class _Job:
    work: Work[Any]
    writes: bool
    answer: asyncio.Future[Any]


class Storage:
    """Runs pieces of work on the database, in groups. Use it from one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._is_checked = False
        self._away_since: float | None = None
        self._lacks_writes = False  # on a full disk everything can still be read
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="database")
        self._waiting: list[_Job] = []
        self._running: asyncio.Task[None] | None = None
        # What the last transaction saw, by the revisions it saw.
        self._cluster: Cluster | None = None
        self._orders: dict[str, Order | None] = {}
        self._orders_revision = -1

    def __repr__(self) -> str:
        return f"<Storage {self._database.name}, {len(self._waiting)} waiting>"

    async def read(self, work: Work[T]) -> T:
        """Run ``work`` on a snapshot that is not older than this call.

        Raises:
            DatabaseUnavailable: the database cannot be read now.
        """
        return await self._submit(work, writes=False)

    async def write(self, work: Work[T]) -> T:
        """Run ``work`` in a transaction; when this returns, it is committed. What ``work`` raises undoes only itself.

        Raises:
            DatabaseUnavailable: the database cannot be written now.
        """
        return await self._submit(work, writes=True)

    async def order(self, order_id: str) -> tuple[Cluster, Order | None]:
        """Return the inventory and an order, not older than this call; None: there is no such order.

        Raises:
            DatabaseUnavailable: the database cannot be read now.
        """

        def find(transaction: Transaction, cluster: Cluster) -> tuple[Cluster, Order | None]:
            if order_id not in self._orders:
                self._orders[order_id] = orderbook.find_order(transaction, order_id)
            return cluster, self._orders[order_id]

        return await self.read(find)

    async def open(self) -> None:
        """Ask the database whether it is there and ours. It may be away: it is asked again with the next request.

        Raises:
            ConfigError: there is none, or it is of another version.
        """
        with suppress(DatabaseUnavailable):
            await self.read(lambda _, cluster: cluster)

    async def close(self) -> None:
        """Wait for what is running and close the database."""
        while self._running is not None:
            await asyncio.shield(self._running)
        await asyncio.get_running_loop().run_in_executor(self._thread, self._database.close)
        self._thread.shutdown()

    async def _submit(self, work: Work[T], *, writes: bool) -> T:
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Job(work, writes, answer))
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="database")
        return await answer

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            group, self._waiting = self._waiting, []
            try:
                results = await loop.run_in_executor(self._thread, self._group, group)
            except Exception as error:  # the whole group failed: every request in it hears why
                results = [error] * len(group)
            for job, result in zip(group, results, strict=True):
                if job.answer.done():
                    continue
                if isinstance(result, Exception):
                    job.answer.set_exception(result)
                else:
                    job.answer.set_result(result)
        self._running = None

    def _group(self, group: Sequence[_Job]) -> list[Any]:
        """Run a group on the database's thread; an AvalancheError is a result, anything else fails the group."""

        def work(transaction: Transaction) -> list[Any]:
            try:
                cluster = self._fresh(transaction)
                results = []
                for job in group:
                    results.append(self._one(job, transaction, cluster))
                    if job.writes:
                        cluster = self._fresh(transaction)
                return results
            except BaseException:
                self._forget()
                raise

        writes = any(job.writes for job in group)
        try:
            self._check()
            results = self._database.run(work, writes=writes)
        except BaseException as error:
            self._forget()  # it may be the commit that failed
            if isinstance(error, DatabaseUnavailable):
                self._note_away(error, writes=writes)
            raise
        if writes or not self._lacks_writes:
            self._note_back()
        return results

    def _check(self) -> None:
        """Once, and before anything else: who was away at the start may be of another version."""
        if not self._is_checked:
            self._database.check()
            self._is_checked = True

    def _note_away(self, error: DatabaseUnavailable, *, writes: bool) -> None:
        """Say once what an outage means."""
        self._lacks_writes = self._lacks_writes or (writes and isinstance(error, DatabaseFull))
        if self._away_since is None:
            self._away_since = time.monotonic()
            told = "stubs, profiles, boot scripts, events and ends of installs wait; packages and bundle are served on"
            log.error("database away", extra=facts(reason=error, meaning=told))

    def _note_back(self) -> None:
        if self._away_since is not None:
            log.info("database back", extra=facts(seconds=f"{time.monotonic() - self._away_since:.1f}"))
            self._away_since, self._lacks_writes = None, False

    def _forget(self) -> None:
        """What was seen in a transaction that failed may come again with the same revision and other content."""
        self._cluster, self._orders_revision = None, -1

    def _one(self, job: _Job, transaction: Transaction, cluster: Cluster) -> Any:
        savepoint = transaction.connection.begin_nested() if job.writes else None
        try:
            result = job.work(transaction, cluster)
        except DatabaseUnavailable:
            raise
        except AvalancheError as error:
            if savepoint is not None:
                savepoint.rollback()
            return error
        # Anything else ends the whole transaction: after a full disk, SQLite knows no savepoint any more.
        if savepoint is not None:
            savepoint.commit()
        return result

    def _fresh(self, transaction: Transaction) -> Cluster:
        """The inventory as this transaction sees it; what did not change is not read again."""
        inventory, orders = transaction.revisions()
        if self._cluster is None or self._cluster.revision != inventory:
            self._cluster = transaction.cluster(self._cluster)
        if orders != self._orders_revision:
            self._orders, self._orders_revision = {}, orders
        return self._cluster
