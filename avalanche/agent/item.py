"""One object of the generation, as far as this host has it: its state, and who waits for its bytes."""

from __future__ import annotations

import asyncio
import enum
from typing import Callable, Optional

from avalanche.agent.cache import Slot
from avalanche.errors import AvalancheError
from avalanche.manifest import Buffer, Entry


class State(enum.Enum):
    """ABSENT -> QUEUED -> ARRIVING -> COMPLETE -> ABSENT again when it was delivered and its room is needed."""

    ABSENT = "absent"
    QUEUED = "queued"
    ARRIVING = "arriving"
    COMPLETE = "complete"


Watcher = Callable[["Item"], None]


class Item:
    """An object and its verified bytes.

    Attributes:
        entry: what the manifest says of it.
        slot: its file, while ARRIVING or COMPLETE.
        verified: bytes from the start that may be released.
        checked: bytes from the start that other hosts may have, which check each block, too; as many or more.
        leaves: the hashes of the blocks, 32 bytes each, of every piece for which they are proven.
        is_demanded: the installer waits for it.
        has_arrived: was it ever complete?
        is_hurried: a host that fetches from this one waits for it.
        readers: answers that are being sent from its file, by HTTP.
        delivered: bytes from the start that the installer has taken.
    """

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.state = State.ABSENT
        self.slot: Optional[Slot] = None
        self.verified = 0
        self.checked = 0
        self.leaves: Buffer = b""
        self.is_demanded = False
        self.is_hurried = False
        self.has_arrived = False
        self.readers = 0
        self.delivered = 0
        self._waiters: list[asyncio.Future[None]] = []
        self._watchers: list[Watcher] = []

    def __repr__(self) -> str:
        return f"<Item {self.entry.path} {self.state.value} {self.verified}/{self.entry.size}>"

    @property
    def is_evictable(self) -> bool:
        """Has the installer everything of it, and is no answer being sent from it, now or ever again?

        Other hosts may be fetching it.
        """
        is_free = self.slot is not None and not self.slot.is_lent
        return self.state is State.COMPLETE and self.delivered == self.entry.size and self.readers == 0 and is_free

    @property
    def is_waited_for(self) -> bool:
        """Does an installer wait for it, here or on a host that fetches from this one?"""
        return self.is_demanded or self.is_hurried

    @property
    def is_watched(self) -> bool:
        """Does another host fetch it from this one?"""
        return bool(self._watchers)

    async def beyond(self, offset: int) -> int:
        """Wait until more than ``offset`` bytes are verified and return how many are.

        Raises:
            AvalancheError: why they will not come now.
        """
        while self.verified <= offset:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        return self.verified

    def watch(self, watcher: Watcher) -> None:
        """Call ``watcher`` whenever bytes were added, or all were given up (the item is ABSENT then)."""
        self._watchers.append(watcher)

    def unwatch(self, watcher: Watcher) -> None:
        """Undo one `watch`."""
        self._watchers.remove(watcher)

    def advance(self, verified: int, checked: int) -> None:
        """More bytes were proven and written: wake who waits for them."""
        if verified > self.verified:
            self.verified = verified
            for waiter in self._woken():
                waiter.set_result(None)
        self.checked = checked
        self._tell()

    def complete(self) -> None:
        """The whole object is there."""
        assert self.slot is not None and self.verified == self.entry.size
        self.slot.seal()
        self.state = State.COMPLETE
        self.has_arrived = True
        self.is_demanded = False
        self.is_hurried = False

    def fail(self, error: AvalancheError) -> None:
        """Tell who waits that it will not come now, and forget what came: a later demand begins anew."""
        self.forget()
        for waiter in self._woken():
            waiter.set_exception(error)

    def take(self, start: int, end: int) -> None:
        """The installer has taken the bytes from ``start`` to ``end``."""
        if start <= self.delivered:
            self.delivered = max(self.delivered, end)

    def forget(self) -> None:
        """Remove the file and begin at ABSENT."""
        if self.slot is not None:
            self.slot.drop()
        self.slot = None
        self.state = State.ABSENT
        self.verified = self.checked = 0
        self.leaves = b""
        self.delivered = 0
        self.is_demanded = False
        self.is_hurried = False
        self._tell()

    def _tell(self) -> None:
        for watcher in tuple(self._watchers):
            watcher(self)

    def _woken(self) -> list[asyncio.Future[None]]:
        waiters, self._waiters = self._waiters, []
        return [waiter for waiter in waiters if not waiter.done()]
