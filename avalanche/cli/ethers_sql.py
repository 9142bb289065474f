"""The thread that does all of insert-ethers' SQL: packets are read and keys answered while a database is away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from avalanche.adapters.database import Database, DatabaseFull, DatabaseUnavailable, Transaction
from avalanche.cli.ethers_views import View

T = TypeVar("T")


class SqlThread:
    """One thread for one database, and what the operator is told when it goes away and comes back."""

    def __init__(self, database: Database, view: View, clock: Callable[[], float]) -> None:
        self._database = database
        self._view = view
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="database")
        self._is_away = self._lacks_writes = False

    def __repr__(self) -> str:
        return f"<SqlThread {self._database.name}{' away' if self._is_away else ''}>"

    def run(self, work: Callable[[Transaction], T], *, writes: bool = False) -> Awaitable[T]:
        """Do work in a transaction. Raises, when awaited, as ``Database.run``."""
        return self.call(lambda: self._database.run(work, writes=writes))

    def call(self, work: Callable[[], T]) -> Awaitable[T]:
        """Do work that opens its transactions itself."""
        return asyncio.get_running_loop().run_in_executor(self._thread, work)

    def is_away(self, error: DatabaseUnavailable, *, writing: bool) -> None:
        """Tell the operator, once, that the database is away."""
        if not self._is_away:
            self._view.note(self._clock(), f"{error}; nothing is lost, trying again")
        self._is_away = True
        self._lacks_writes = self._lacks_writes or (writing and isinstance(error, DatabaseFull))

    def is_back(self, *, writing: bool) -> None:
        """Tell the operator that it is back, if it was away. One whose disk is full can still be read."""
        if self._lacks_writes and not writing:
            return
        if self._is_away:
            self._view.note(self._clock(), "the database is back")
        self._is_away = self._lacks_writes = False

    def close(self) -> None:
        """End the thread, when it has done what it does."""
        self._thread.shutdown()
