"""One object from a frontend to the disk: every piece checked before it is written, resumed where it broke.

The socket fills one piece in memory; the piece is hashed, written, released, and the next one takes its place.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Callable, Optional
from urllib.parse import quote

from avalanche.agent.cache import Slot
from avalanche.agent.connection import Address, Collector, Connection, Head, Pool, Request, Sink
from avalanche.agent.item import Item
from avalanche.errors import ProtocolError, SourceUnavailable, TransferError, VerificationFailed
from avalanche.manifest import PIECE, Verifier
from avalanche.messages import RETRY_STATUSES


class Refused(SourceUnavailable):
    """A source gave a final answer: asking it again is no use."""


class DiskFull(Exception):
    """A verified piece could not be written. Never leaves the downloader."""


class Sources:
    """The frontends that serve packages, in order; a failing one gives way to the next."""

    def __init__(self, addresses: Sequence[Address], generation: str) -> None:
        assert addresses
        self._addresses = addresses
        self._prefix = f"/install/packages/{generation}/"
        self._current = 0

    def __len__(self) -> int:
        return len(self._addresses)

    @property
    def current(self) -> Address:
        """Who is asked now."""
        return self._addresses[self._current]

    def target(self, path: str) -> str:
        """The request target of an object's path."""
        return self._prefix + quote(path, safe="/")

    def pass_over(self, address: Address) -> None:
        """``address`` failed: ask the next one, unless another transfer has moved on already."""
        if address == self.current:
            self._current = (self._current + 1) % len(self._addresses)


class Transfer(Sink):
    """The bytes of one item on their way into its slot; survives the sources it is fed from."""

    def __init__(self, item: Item, slot: Slot, count: Callable[[int], None]) -> None:
        self._item = item
        self._slot = slot
        self._count = count
        self._verifier = Verifier(item.entry)
        self._piece = memoryview(bytearray(min(PIECE, item.entry.size)))
        self._filled = 0
        self._unwritten: Optional[memoryview] = None

    def __repr__(self) -> str:
        return f"<Transfer {self._item!r} received={self._verifier.received}>"

    @property
    def is_complete(self) -> bool:
        """Is everything verified and written?"""
        return self._item.verified == self._item.entry.size

    async def run(self, pool: Pool, source: Address, target: str) -> None:
        """Fetch what is missing.

        Raises:
            Refused, SourceUnavailable, TransferTimeout, ProtocolError: the source fails; a later `run` resumes.
            VerificationFailed: its bytes are not the manifest's; a later `run` fetches the piece again.
            DiskFull: a later `run` begins with writing the piece that is held in memory.
        """
        self._write()
        if self.is_complete:
            return
        offset = self._verifier.received
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        connection, head = await pool.begin(source, Request("GET", target, headers))
        try:
            if head.status not in (200, 206):
                raise await _refusal(connection, head, target)
            self._check_head(source, head, offset)
            await connection.receive(self)
        finally:
            pool.give_back(connection)

    def buffer(self) -> memoryview:
        room = min(PIECE, self._item.entry.size - self._verifier.verified)
        return self._piece[self._filled : room]

    def received(self, count: int) -> None:
        self._count(count)
        start, self._filled = self._filled, self._filled + count
        before = self._verifier.verified
        try:
            verified = self._verifier.feed(self._piece[start : self._filled])
        except VerificationFailed:
            self._filled = 0
            raise
        if verified > before:
            self._unwritten = self._piece[: self._filled]
            self._filled = 0
            self._write()

    def _write(self) -> None:
        """Write and release the verified piece that is held, if there is one."""
        if self._unwritten is None:
            return
        try:
            self._slot.write(self._unwritten)
        except OSError as error:
            raise DiskFull(f"{self._slot.place.path}: {error.strerror}") from error
        self._unwritten = None
        self._item.advance(self._verifier.verified)

    def _check_head(self, source: Address, head: Head, offset: int) -> None:
        entry = self._item.entry
        if head.length != entry.size - offset:
            text = f"{entry.path}: announced with {head.length} bytes from byte {offset} on; its size is {entry.size}"
            raise VerificationFailed(text, path=entry.path)
        if offset and head.headers.get("content-range") != f"bytes {offset}-{entry.size - 1}/{entry.size}":
            raise SourceUnavailable(f"{source}: does not resume {entry.path} at byte {offset}")


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
