"""The bytes of one object on their way to the disk: every piece checked before it is written, wherever it comes from.

A source fills one piece in memory; the piece is hashed, written, released, and the next one takes its place.
"""

from __future__ import annotations

from mmap import mmap
from typing import Callable, Optional

from avalanche.agent.cache import Slot
from avalanche.agent.connection import Sink
from avalanche.agent.item import Item
from avalanche.errors import VerificationFailed
from avalanche.manifest import PIECE, Verifier

TRICKLE = 4096
"""Fewer bytes than this do not count as a sign of life: one byte a second must not hold a host up for ever."""


class DiskFull(Exception):
    """A verified piece could not be written. Never leaves the downloader."""


class Transfer(Sink):
    """The bytes of one item on their way into its slot; survives the sources it is fed from.

    Args:
        on_verified: called with the number of bytes that were verified and written.
        clock: seconds, of a clock that does not jump.
    """

    def __init__(
        self, item: Item, slot: Slot, *, on_verified: Callable[[int], None], clock: Callable[[], float]
    ) -> None:
        self.item = item
        self.heard = clock()
        """When the last bytes came that were more than a trickle, or the last source was asked."""
        self._trickle = 0
        self._slot = slot
        self._on_verified = on_verified
        self._clock = clock
        self._verifier = Verifier(item.entry)
        self._piece: Optional[memoryview] = None
        self._filled = 0
        self._unwritten: Optional[memoryview] = None

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
        """Forget the bytes of a piece that is not whole."""
        self._verifier.rewind()
        self._filled = 0

    def buffer(self) -> memoryview:
        room = min(PIECE, self.item.entry.size - self._verifier.verified)
        if self._piece is None:
            # Straight from the kernel: what is not filled yet takes no memory, and what is done with is given back.
            self._piece = memoryview(mmap(-1, max(room, 1)))
        return self._piece[self._filled : room]

    def received(self, count: int) -> None:
        """Bytes were put into `buffer`.

        Raises:
            VerificationFailed: they are not the manifest's; the piece begins anew.
            DiskFull: a verified piece cannot be written; it is kept in memory.
        """
        assert self._piece is not None
        self._trickle += count
        if self._trickle >= TRICKLE:
            self._trickle = 0
            self.heard = self._clock()
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

    def put(self, data: memoryview) -> None:
        """Take the next bytes, no more than are `left`. Raises as `received`."""
        while data:
            room = self.buffer()
            count = min(len(room), len(data))
            room[:count] = data[:count]
            self.received(count)
            data = data[count:]

    def _write(self) -> None:
        """Write and release the verified piece that is held, if there is one."""
        if self._unwritten is None:
            return
        try:
            self._slot.write(self._unwritten)
        except OSError as error:
            raise DiskFull(f"{self._slot.place.path}: {error.strerror}") from error
        size = len(self._unwritten)
        self._unwritten = None
        if self._verifier.is_complete:
            self._piece = None
        self.item.advance(self._verifier.verified)
        self._on_verified(size)
