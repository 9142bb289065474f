"""The bytes of one object on their way to the disk: every one is checked before it is written, wherever it comes from.

A source fills one piece in memory; it is hashed, written and released, and the next one takes its place. When the
hashes of its blocks came first, it is written in grains of whole blocks as it comes, for other hosts to have at once:
along a chain of hosts a byte then waits at each for a few blocks to fill, and not for a piece.
"""

from __future__ import annotations

from mmap import mmap
from typing import Callable, Optional

from avalanche.agent.cache import Slot
from avalanche.agent.connection import Sink
from avalanche.agent.item import Item
from avalanche.errors import VerificationFailed
from avalanche.manifest import BLOCK, PIECE, Buffer, Verifier

TRICKLE = 4096
"""Fewer bytes than this do not count as a sign of life: one byte a second must not hold a host up for ever."""

GRAIN_SECONDS = 0.005
"""What this much time brings is passed on at once; less would cost the processor more than it saves the chain."""


def grain(rate: int) -> int:
    """Bytes that are passed on at once when so many come in a second: whole blocks, at most a piece."""
    return min(max(int(rate * GRAIN_SECONDS) // BLOCK, 1) * BLOCK, PIECE)


ROOMS_KEPT = 2


class Rooms:
    """Memory for pieces. A few rooms are kept: a fresh page of the kernel costs more than what is written to it.

    Rooms beyond those are the kernel's again as soon as they are given back.
    """

    def __init__(self) -> None:
        self._free: list[memoryview] = []

    def __repr__(self) -> str:
        return f"<Rooms {len(self._free)} free>"

    def take(self) -> memoryview:
        """Room for a piece; what is never filled takes no memory."""
        return self._free.pop() if self._free else memoryview(mmap(-1, PIECE))

    def give_back(self, room: memoryview) -> None:
        """Nobody looks at it any more."""
        if len(self._free) < ROOMS_KEPT:
            self._free.append(room)


class DiskFull(Exception):
    """A verified piece could not be written. Never leaves the downloader."""


class Transfer(Sink):
    """The bytes of one item on their way into its slot; survives the sources it is fed from.

    Args:
        rate: bytes per second that this host receives.
        on_verified: called with the number of bytes that were verified and written.
        clock: seconds, of a clock that does not jump.
        rooms: memory for pieces, shared with other transfers.
    """

    def __init__(
        self,
        item: Item,
        slot: Slot,
        *,
        rate: Callable[[], int],
        on_verified: Callable[[int], None],
        clock: Callable[[], float],
        rooms: Optional[Rooms] = None,
    ) -> None:
        self.item = item
        self.heard = clock()
        """When the last bytes came that were more than a trickle, or the last source was asked."""
        self._trickle = 0
        self._slot = slot
        self._rate = rate
        self._on_verified = on_verified
        self._clock = clock
        self._rooms = rooms or Rooms()
        self._verifier = Verifier(item.entry)
        item.leaves = self._verifier.leaves
        self._piece: Optional[memoryview] = None
        self._start = 0
        """Where in the object the piece in memory begins."""
        self._written = 0

    def __repr__(self) -> str:
        return f"<Transfer {self.item!r} received={self.received_bytes}>"

    @property
    def is_complete(self) -> bool:
        """Is everything verified and written?"""
        return self.item.verified == self.item.entry.size

    @property
    def received_bytes(self) -> int:
        """Bytes from the start that are here, verified or not: where the next byte belongs."""
        return self._verifier.received

    @property
    def left(self) -> int:
        """Bytes that are missing."""
        return self.item.entry.size - self._verifier.received

    def begin(self) -> None:
        """A source is asked now; first, what could not be written before is.

        Raises:
            DiskFull: it still cannot; a later call tries again.
        """
        self.heard = self._clock()
        self._write()

    def rewind(self) -> None:
        """Forget the bytes that are not proven."""
        self._verifier.rewind()

    def trust(self, leaves: Buffer) -> None:
        """Take the hashes of the blocks of the piece that comes next. Raises as `Verifier.trust`."""
        self._verifier.trust(leaves)

    def buffer(self) -> memoryview:
        room = min(PIECE, self.item.entry.size - self._start)
        if self._piece is None:
            self._piece = self._rooms.take()
        return self._piece[self._verifier.received - self._start : room]

    def received(self, count: int) -> None:
        """Bytes were put into `buffer`.

        Raises:
            VerificationFailed: they are not the manifest's; the piece or the block begins anew.
            DiskFull: proven bytes cannot be written; they are kept in memory.
        """
        assert self._piece is not None
        self._trickle += count
        if self._trickle >= TRICKLE:
            self._trickle = 0
            self.heard = self._clock()
        start = self._verifier.received - self._start
        try:
            is_piece = self._verifier.feed(self._piece[start : start + count]) > self._start
        except VerificationFailed:
            self._written = min(self._written, self._verifier.checked)
            raise
        if is_piece or (self.item.is_watched and self._verifier.checked - self._written >= grain(self._rate())):
            self._write()

    def put(self, data: memoryview) -> None:
        """Take the next bytes, no more than are `left`. Raises as `received`."""
        while data:
            room = self.buffer()
            count = min(len(room), len(data))
            room[:count] = data[:count]
            self.received(count)
            data = data[count:]

    def _write(self) -> None:
        """Write and release the proven bytes that are held, if there are any."""
        verified, checked = self._verifier.verified, self._verifier.checked
        if checked == self._written:
            return
        assert self._piece is not None
        try:
            self._slot.write(self._piece[self._written - self._start : checked - self._start], self._written)
        except OSError as error:
            raise DiskFull(f"{self._slot.place.path}: {error.strerror}") from error
        self._written = checked
        size, self._start = verified - self._start, verified
        if self._verifier.is_complete:
            self._rooms.give_back(self._piece)
            self._piece = None
        self.item.advance(verified, checked)
        if size:
            self._on_verified(size)
