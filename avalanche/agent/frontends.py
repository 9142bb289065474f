"""The frontends that serve packages: which of them is asked, and how."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Callable, Optional
from urllib.parse import quote

from avalanche.agent.connection import Address, Collector, Exchange, Head, Request, Sink
from avalanche.agent.item import Item
from avalanche.agent.pool import Pool, Unreachable
from avalanche.agent.source import Refused, Source
from avalanche.agent.transfer import Transfer
from avalanche.errors import ProtocolError, SourceUnavailable, TransferError, VerificationFailed
from avalanche.messages import RETRY_STATUSES

REST_SECONDS = 5.0, 60.0
"""So long a frontend that failed is left alone when there are others: at first, and at most."""


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
        self.on_answer: Callable[[], None] = lambda: None
        """One of them has begun to deliver."""
        self._addresses = addresses
        self._order = Order(len(addresses))
        self._clock = clock
        self._prefix = f"/install/packages/{generation}/"
        self._pool = pool
        self._count = count
        self._in_line: dict[Transfer, asyncio.Task[Exchange]] = {}
        """What has not begun to come."""
        self._failed: set[Item] = set()
        """What may have failed for a reason of its own. Who finds nobody at all has its place in line afterwards: else
        everything that waits for a frontend would come at the same time when there is one again, and nothing of it be
        whole, and passed on, before all of it is.
        """

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
            if not isinstance(error, Unreachable):
                self._failed.add(transfer.item)
            raise
        self._order.served(number)

    def hurry(self, transfer: Transfer) -> None:
        beginning = self._in_line.get(transfer)
        if beginning is not None:
            beginning.cancel()

    async def _fetch(self, address: Address, transfer: Transfer) -> None:
        offset = transfer.received_bytes
        target = self._prefix + quote(transfer.item.entry.path, safe="/")
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        exchange = await self._begin(address, Request("GET", target, headers), transfer)
        try:
            if exchange.head.status not in (200, 206):
                raise await _refusal(exchange, target)
            _check_head(address, exchange.head, transfer)
            self.on_answer()
            await exchange.receive(_Counted(transfer, self._count))
        finally:
            self._pool.give_back(exchange)

    async def _begin(self, address: Address, request: Request, transfer: Transfer) -> Exchange:
        """What nobody waits for waits in line behind others, until somebody does. What failed holds up nobody again."""
        if not transfer.item.is_waited_for and transfer.item not in self._failed:
            beginning = asyncio.get_running_loop().create_task(self._pool.begin(address, request, in_line=True))
            self._in_line[transfer] = beginning
            try:
                await asyncio.wait({beginning})
            except asyncio.CancelledError:
                beginning.add_done_callback(self._give_up)
                beginning.cancel()
                raise
            finally:
                del self._in_line[transfer]
            if not beginning.cancelled():
                return beginning.result()
        return await self._pool.begin(address, request)

    def _give_up(self, beginning: asyncio.Task[Exchange]) -> None:
        if not beginning.cancelled() and beginning.exception() is None:
            self._pool.give_back(beginning.result())


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


async def _refusal(exchange: Exchange, target: str) -> SourceUnavailable:
    """The error that an answer without the object stands for, with the source's own words."""
    sink = Collector(4096)
    with contextlib.suppress(ProtocolError, TransferError):
        await exchange.receive(sink)
    lines = sink.data.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
    head = exchange.head
    message = f"{exchange.address}{target}: {head.status}: {lines[0][:300]}"
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
