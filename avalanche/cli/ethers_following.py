"""What the database tells a run of insert-ethers: who is registered, how far hosts are, whom the frontend refused."""

from __future__ import annotations

from collections.abc import Callable

from avalanche.adapters.database import Transaction
from avalanche.adapters.following import events_after, last_event
from avalanche.adapters.registrar import Registrar
from avalanche.adapters.sightings import last_serial, strangers
from avalanche.cli.ethers_sql import SqlThread
from avalanche.cli.ethers_views import View
from avalanche.ethers import Ethers, Sighting


class Following:
    """Looks again and again, and hands on what is new since the last look.

    Args:
        take: called with each sighting.
        wake: called when a new host got on, which others may have waited for.
    """

    def __init__(
        self,
        sql: SqlThread,
        ethers: Ethers,
        registrar: Registrar,
        view: View,
        *,
        take: Callable[[Sighting], None],
        wake: Callable[[], None],
    ) -> None:
        self._sql = sql
        self._ethers = ethers
        self._registrar = registrar
        self._view = view
        self._take = take
        self._wake = wake
        self._revision = -1
        self._last_event = self._last_serial = 0

    def __repr__(self) -> str:
        return f"<Following revision {self._revision}, event {self._last_event}>"

    async def begin(self) -> None:
        """Learn who is registered; what happened before is of no interest. Raises as ``look``."""

        def now(transaction: Transaction) -> tuple[int, int]:
            return last_event(transaction), last_serial(transaction)

        self._last_event, self._last_serial = await self._sql.run(now)
        await self.know()

    async def look(self) -> None:
        """Look once.

        Raises:
            DatabaseUnavailable: the database is away; the next look finds what this one missed.
        """
        revision = await self._sql.run(lambda transaction: transaction.revision())
        if revision != self._revision:
            await self.know()
            self._revision = revision
        await self._progress()
        await self._requests()

    async def know(self) -> None:
        """Read who is registered. Raises as ``look``."""
        self._ethers.know(await self._sql.call(self._registrar.known))

    async def _progress(self) -> None:
        last = self._last_event
        found = await self._sql.run(lambda transaction: events_after(transaction, last))
        self._last_event = found.last
        for event in found.events:
            if event.stage in ("dhcp", "register", "plugins"):
                continue  # our own
            status = event.data.get("status")
            known = self._ethers.progress(
                event.host,
                stage=event.stage,
                outcome=event.status,
                text=event.text,
                status=status if isinstance(status, int) else None,
            )
            if known:
                self._view.progress(self._ethers.hosts[event.host], event.at, event.text)
                self._wake()

    async def _requests(self) -> None:
        """Kickstart requests of unknown machines, as the frontend noted them."""
        last = self._last_serial
        found = await self._sql.run(lambda transaction: strangers(transaction, after=last))
        for stranger in found:
            self._last_serial = max(self._last_serial, stranger.serial)
            if stranger.seen.source == "frontend":
                self._take(stranger.seen)
