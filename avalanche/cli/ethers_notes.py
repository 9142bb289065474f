"""What insert-ethers saw of machines that became no hosts, kept for ``avalanche host why MAC``."""

from __future__ import annotations

from avalanche.adapters.database import DatabaseUnavailable
from avalanche.adapters.sightings import note_sightings
from avalanche.cli.ethers_sql import SqlThread
from avalanche.ethers import Ethers, Sighting, Verdict

MAX_NOTED = 20_000

# What an unknown machine's packet must lead to, to be remembered.
_STRANGE = (
    "recorded", "paused", "enough", "full", "client", "relay", "kind", "interface", "mac", "queued", "refused",
)  # fmt: skip


class Notes:
    """Notes that wait to be stored; while the database is away, a bounded number of them."""

    def __init__(self, sql: SqlThread, ethers: Ethers) -> None:
        self._sql = sql
        self._ethers = ethers
        self._waiting: list[tuple[Sighting, Verdict]] = []

    def __repr__(self) -> str:
        return f"<Notes {len(self._waiting)} waiting>"

    def add(self, seen: Sighting, verdict: Verdict) -> None:
        """Note a machine's packet, if it is a stranger's."""
        if verdict.code in _STRANGE and seen.mac is not None and len(self._waiting) < MAX_NOTED:
            self._waiting.append((seen, verdict))

    async def store(self) -> bool:
        """Store what was noted; False: nothing was.

        Raises:
            DatabaseUnavailable: the notes are kept.
        """
        noted, self._waiting = self._waiting, []
        # What the frontend told, it noted itself; who became a host meanwhile is no stranger any more.
        fresh = [(seen, verdict) for seen, verdict in noted if seen.source != "frontend" and not self._is_host(seen)]
        if not fresh:
            return False
        try:
            await self._sql.run(lambda transaction: note_sightings(transaction, fresh), writes=True)
        except DatabaseUnavailable:
            self._waiting = (noted + self._waiting)[:MAX_NOTED]
            raise
        return True

    def _is_host(self, seen: Sighting) -> bool:
        return seen.mac is not None and self._ethers.knows(seen.mac)
