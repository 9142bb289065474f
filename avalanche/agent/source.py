"""Where the bytes of an object come from, and the plane's answer to *from whom?*"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Callable, Optional
from urllib.parse import quote

from avalanche.agent.connection import Address, Collector, Connection, Head, Pool, Request, Sink
from avalanche.agent.item import Item
from avalanche.agent.transfer import Transfer
from avalanche.errors import AvalancheError, ProtocolError, SourceUnavailable, TransferError, VerificationFailed
from avalanche.messages import RETRY_STATUSES

PREFETCHES = 8
"""Transfers from the frontend in flight: measured, three give 1.21 of the limit and eight 1.04 (perf.md)."""
REST_SECONDS = 5.0, 60.0
"""So long a frontend that failed is left alone when there are others: at first, and at most."""
DEMANDS = 4
"""More transfers that only what the installer waits for may use; dnf asks for three objects at a time."""


class Refused(SourceUnavailable):
    """A source gave a final answer: asking it again is no use."""


class Source:
    """Somebody who may have an object's bytes."""

    is_frontend = False

    async def fetch(self, transfer: Transfer) -> None:
        """Fetch what is missing.

        Raises:
            Refused, SourceUnavailable, TransferTimeout, ProtocolError: the source fails; a later call resumes.
            VerificationFailed: its bytes are not the manifest's; a later call fetches the piece again.
            DiskFull: a later call begins with writing the piece that is held in memory.
        """
        raise NotImplementedError

    def hurry(self, transfer: Transfer) -> None:
        """Somebody waits for what is being fetched."""


class Order:
    """Which of several frontends is asked: the first in order, but one that failed rests, and then has its turn again.

    Pure: time is an argument.
    """

    def __init__(self, count: int) -> None:
        assert count > 0
        self._until = [0.0] * count
        self._failures = [0] * count

    def __repr__(self) -> str:
        return f"<Order of {len(self._until)}, failures {self._failures}>"

    def first(self, now: float) -> int:
        """The first that does not rest; when all do, the one that rests the shortest."""
        awake = (number for number, until in enumerate(self._until) if until <= now)
        return next(awake, self._until.index(min(self._until)))

    def failed(self, number: int, now: float, asked: Optional[float]) -> None:
        """It failed, or asked us to come back after so many seconds."""
        if self._until[number] > now:
            return  # several transfers see one failure
        least, most = REST_SECONDS
        rest = min(most, least * 2 ** min(self._failures[number], 10))
        self._failures[number] += 1
        self._until[number] = now + (rest if asked is None else asked)

    def served(self, number: int) -> None:
        """It delivered."""
        self._failures[number] = 0


class Frontends(Source):
    """The frontends that serve packages, in order; a failing one gives way to the next, and gets its place back later.

    Args:
        count: called with the bytes that came, good or bad.
        clock: seconds, of a clock that does not jump.
    """

    is_frontend = True

    def __init__(
        self,
        addresses: Sequence[Address],
        generation: str,
        *,
        pool: Pool,
        count: Callable[[int], None],
        clock: Callable[[], float],
    ) -> None:
        self._addresses = addresses
        self._order = Order(len(addresses))
        self._clock = clock
        self._prefix = f"/install/packages/{generation}/"
        self._pool = pool
        self._count = count

    def __repr__(self) -> str:
        return f"<Frontends {' '.join(map(str, self._addresses))}>"

    def __len__(self) -> int:
        return len(self._addresses)

    def __str__(self) -> str:
        return str(self._addresses[self._order.first(self._clock())])

    async def fetch(self, transfer: Transfer) -> None:
        number = self._order.first(self._clock())
        try:
            await self._fetch(self._addresses[number], transfer)
        except (TransferError, ProtocolError, VerificationFailed) as error:
            asked = error.retry_after if isinstance(error, SourceUnavailable) else None
            self._order.failed(number, self._clock(), asked)
            raise
        self._order.served(number)

    async def _fetch(self, address: Address, transfer: Transfer) -> None:
        offset = transfer.received_bytes
        target = self._prefix + quote(transfer.item.entry.path, safe="/")
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        connection, head = await self._pool.begin(address, Request("GET", target, headers))
        try:
            if head.status not in (200, 206):
                raise await _refusal(connection, head, target)
            _check_head(address, head, transfer)
            await connection.receive(_Counted(transfer, self._count))
        finally:
            self._pool.give_back(connection)


class _Counted(Sink):
    """A transfer whose bytes are counted on their way in."""

    def __init__(self, transfer: Transfer, count: Callable[[int], None]) -> None:
        self._transfer = transfer
        self._count = count

    def buffer(self) -> memoryview:
        return self._transfer.buffer()

    def received(self, count: int) -> None:
        self._count(count)
        self._transfer.received(count)


class Load:
    """What a source is being asked for."""

    def __init__(self) -> None:
        self._transfers: dict[Transfer, None] = {}
        self._ahead: Optional[int] = None

    def __repr__(self) -> str:
        return f"<Load {self.count}, {self.waited_for} waited for, {self.ahead} bytes ahead>"

    @property
    def count(self) -> int:
        """Items."""
        return len(self._transfers)

    @property
    def waited_for(self) -> int:
        """Those of them that an installer waits for, here or on a host that fetches from this one."""
        return sum(transfer.item.is_waited_for for transfer in self._transfers)

    @property
    def ahead(self) -> int:
        """Bytes of the others that were missing at the last `look`."""
        if self._ahead is None:
            self._ahead = sum(transfer.left for transfer in self._transfers if not transfer.item.is_waited_for)
        return self._ahead

    def look(self) -> None:
        """Bytes have come meanwhile."""
        self._ahead = None

    def add(self, transfer: Transfer) -> None:
        """One item more."""
        if self._ahead is not None and not transfer.item.is_waited_for:
            self._ahead += transfer.left
        self._transfers[transfer] = None

    def remove(self, transfer: Transfer) -> None:
        """One item less."""
        del self._transfers[transfer]
        self._ahead = None


class Route:
    """Says from where each item comes; this one: everything from the frontend.

    A plane with peers overrides what differs. `Downloader` calls it; nothing here waits.
    """

    has_window = True
    """Does every verified piece let more be asked for?"""

    def __init__(self, frontend: Source) -> None:
        self._frontend = frontend

    def look_ahead(self) -> None:
        """The prefetch goes on: find out what will be needed next."""

    def need(self, item: Item) -> None:
        """Somebody waits for ``item``: find out at once."""

    def has_asked(self, item: Item) -> bool:
        """Is the source of ``item`` known, or about to be? If not, then that of no later one in the closure."""
        return True

    def source(self, item: Item) -> Optional[Source]:
        """From whom to fetch ``item``; None while that is not known."""
        return self._frontend

    def admits(self, source: Source, load: Load, *, is_waited_for: bool) -> bool:
        """May ``source`` be asked for one more item, beside its ``load``?"""
        has_slot = is_waited_for or load.count - load.waited_for < PREFETCHES
        return has_slot and load.count < PREFETCHES + DEMANDS

    def failed(self, item: Item, source: Source, error: AvalancheError) -> None:
        """``source``, which is not the frontend, did not deliver."""

    def arrived(self, item: Item) -> None:
        """``item`` is complete here."""

    def dropped(self, item: Item) -> None:
        """``item`` was complete here, or on its way, and is not any more."""


async def _refusal(connection: Connection, head: Head, target: str) -> SourceUnavailable:
    """The error that an answer without the object stands for, with the source's own words."""
    sink = Collector(4096)
    with contextlib.suppress(ProtocolError, TransferError):
        await connection.receive(sink)
    lines = sink.data.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
    message = f"{connection.address}{target}: {head.status}: {lines[0][:300]}"
    if head.status in RETRY_STATUSES:
        return SourceUnavailable(message, retry_after=head.retry_after)
    return Refused(message)


def _check_head(address: Address, head: Head, transfer: Transfer) -> None:
    entry, offset = transfer.item.entry, transfer.received_bytes
    if head.length != entry.size - offset:
        text = f"{entry.path}: announced with {head.length} bytes from byte {offset} on; its size is {entry.size}"
        raise VerificationFailed(text, path=entry.path)
    if offset and head.headers.get("content-range") != f"bytes {offset}-{entry.size - 1}/{entry.size}":
        raise SourceUnavailable(f"{address}: does not resume {entry.path} at byte {offset}")
