"""The database as the event loop sees it: one thread does all SQL, and requests that wait together share one commit.

An order's transition is durable before its answer leaves, yet a hundred hosts that boot at once cost a handful of
commits: whatever gathered while one group ran is the next group.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from avalanche.adapters import orderbook
from avalanche.adapters.database import Database, DatabaseUnavailable, Transaction
from avalanche.cluster import Cluster
from avalanche.errors import AvalancheError
from avalanche.orders import Order

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

        try:
            return self._database.run(work, writes=any(job.writes for job in group))
        except BaseException:
            self._forget()  # it may be the commit that failed
            raise

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
        """The inventory as this transaction sees it; what did not change its revision is not read again."""
        inventory, orders = transaction.revisions()
        if self._cluster is None or self._cluster.revision != inventory:
            self._cluster = transaction.cluster()
        if orders != self._orders_revision:
            self._orders, self._orders_revision = {}, orders
        return self._cluster
