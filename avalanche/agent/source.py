"""Where the bytes of an object come from, and the plane's answer to *from whom?*"""

from __future__ import annotations

from typing import Optional

from avalanche.agent.item import Item
from avalanche.agent.transfer import Transfer
from avalanche.errors import AvalancheError, SourceUnavailable

PREFETCHES = 8
"""Objects that the frontend is asked for at once: one comes, the others wait in line, and its link is never idle."""
DEMANDS = 4
"""More of them that only what the installer waits for may use, beside the line; dnf asks for three at a time."""


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
