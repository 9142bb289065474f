"""The swarm plane of one host: every object by BitTorrent, fed by the frontend (docs/protocol.md, section 13).

libtorrent writes into files that the cache lends it and checks every piece with the manifest's hashes. What it has is
read back here and goes the way of every other byte: through the verifier, into the item, to the installer.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Callable, Optional

from avalanche.agent.catalogue import Catalogue
from avalanche.agent.client import Client
from avalanche.agent.connection import Address
from avalanche.agent.deadline import within
from avalanche.agent.downloader import Downloader
from avalanche.agent.feeding import Appetite, Feeding
from avalanche.agent.figures import Figures
from avalanche.agent.item import Item, State
from avalanche.agent.source import Load, Route, Source
from avalanche.agent.transfer import Transfer
from avalanche.bencode import decode, encode
from avalanche.errors import AvalancheError, ProtocolError, VerificationFailed
from avalanche.manifest import PIECE
from avalanche.membership import Membership
from avalanche.pieces import MAXIMUM_GAPS
from avalanche.planes import Movement
from avalanche.tokens import read_token
from avalanche.torrent import TorrentFile

FLUSH_SECONDS = 0.02
FLUSH_TRIES = 60
"""A piece that libtorrent has checked may still be in its memory: so often the file is looked at again."""

WATCH_SECONDS = 1.0
"""How often it is looked whether the swarm moves."""

KNOWN_SECONDS = 3.0
"""So long a frontend may take to name this host to its peers, who let no strangers in."""

log = logging.getLogger(__name__)


class Torrents(Source):
    """The swarm plane of one host, from `open` to `close`.

    Args:
        torrent: the ``.torrent`` file that the frontend made for this host.
        addresses: of the frontends that hand pieces out.
        manifest: digest of the closure.
        on_leave: called, once, with the reason why this host should fetch in another way: `retire`, then.

    Raises:
        ProtocolError: the torrent is none of ours.
    """

    def __init__(
        self,
        torrent: bytes,
        frontend: Source,
        addresses: Sequence[Address],
        *,
        membership: Membership,
        manifest: str,
        catalogue: Catalogue,
        figures: Figures,
        on_leave: Callable[[str], None],
    ) -> None:
        self._address = read_token(membership.token).address
        self._figures = figures
        self._client = Client(torrent, address=self._address, on_piece=self._arrived)
        self._length = self._client.layout.piece_length
        self._on_leave = on_leave
        self.is_leaving = False
        """Is nothing fetched this way any more?"""
        self._files = _known_files(self._client.files, catalogue)
        self._waiters: dict[int, list[asyncio.Future[None]]] = {}
        self._placed: set[Item] = set()
        self._open: set[int] = set()
        """The files that have a place."""
        self._owners = [number for number, file in enumerate(self._client.files) for _ in range(file.pieces)]
        self._downloader: Optional[Downloader] = None
        self._tasks: list[asyncio.Task[None]] = []
        self.route = TorrentRoute(frontend, self)
        self._feeding = Feeding(
            self._client,
            addresses,
            token=membership.token,
            info_hash=_info_hash(torrent),
            manifest=manifest,
            sizes=self._client.layout.sizes,
            figures=figures,
            appetite=self._appetite,
            takes=lambda piece: self._owners[piece] in self._open,
            on_leave=self._leave,
        )
        self._client.admit([self._address])

    def __repr__(self) -> str:
        return f"<Torrents {self._client!r} {self._feeding!r}>"

    def __str__(self) -> str:
        return "the swarm"

    @property
    def bytes_sent(self) -> int:
        """Bytes of objects that other hosts got from here, as of a fifth of a second ago."""
        return self._client.sent

    def attach(self, downloader: Downloader) -> None:
        """Fetch for this downloader, once it begins. The frontend hears of this host now, so that its peers know it
        when it speaks to them.
        """
        self._downloader = downloader
        self._feeding.start()
        log.info("swarm plane address=%s port=%d files=%d", self._address, self._client.port, len(self._files))

    def start(self) -> None:
        """Announce, connect, fetch; once."""
        if not self._tasks:
            loop = asyncio.get_running_loop()
            self._tasks = [loop.create_task(self._start()), loop.create_task(self._watch())]

    async def _start(self) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await within(KNOWN_SECONDS, self._feeding.is_known.wait())
        self._client.start()

    async def _watch(self) -> None:
        """Leave a swarm that brings nothing."""
        clock = asyncio.get_running_loop().time
        movement = Movement(clock())
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            reason = self._feeding.fault or movement.look(
                received=self._client.received + self._figures.bytes_from_frontend,
                pieces=len(self._client.held),
                is_wanting=self._feeding.answers and self._appetite().takes and self._lacks_something,
                now=clock(),
            )
            if reason is not None:
                self._leave(reason)

    def _leave(self, reason: str) -> None:
        if not self.is_leaving and not (self._downloader is not None and self._downloader.has_closure.is_set()):
            self.is_leaving = True
            self._on_leave(reason)

    async def retire(self) -> None:
        """Leave the swarm with what is here: afterwards nobody else writes the files that were lent."""
        assert self.is_leaving and self._downloader is not None
        for item in self.items():
            self._downloader.redirect(item)
        await self.close()
        for item in self._placed:
            if item.slot is not None:
                item.slot.reclaim()

    async def close(self) -> None:
        """Leave the swarm: nothing listens afterwards, and no file is open."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._feeding.close()
        await self._client.close()

    # --- as a source ---

    def has(self, item: Item) -> bool:
        """Is the object in the torrent?"""
        return item in self._files

    async def fetch(self, transfer: Transfer) -> None:
        item = transfer.item
        file = self._files[item]
        slot = item.slot
        assert slot is not None
        transfer.rewind()
        if item not in self._placed:
            self._placed.add(item)
            self._open.add(file)
            self._client.place(file, slot.lend())
        first = self._client.files[file].first
        if item.is_demanded:
            self.hurry(transfer)
        while not transfer.is_complete:
            end = min(item.verified + PIECE, item.entry.size)
            for start in range(item.verified, end, self._length):
                await self._has_piece(first + start // self._length)
            await self._take(transfer)

    def hurry(self, transfer: Transfer) -> None:
        self._client.hurry(self._files[transfer.item])

    def give_up(self, item: Item) -> None:
        """Fetch no more of this object: others write its file from now on."""
        file = self._files.pop(item, None)
        if file is not None and item in self._placed:
            self._open.discard(file)
            self._client.give_up(file)
        if item.slot is not None:
            item.slot.reclaim()

    def items(self) -> Iterator[Item]:
        """The objects that come this way."""
        return iter(tuple(self._files))

    async def _has_piece(self, piece: int) -> None:
        while piece not in self._client.held:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            waiting = self._waiters.setdefault(piece, [])
            waiting.append(waiter)
            try:
                await waiter
            finally:
                if waiter in waiting:
                    waiting.remove(waiter)

    async def _take(self, transfer: Transfer) -> None:
        """Read the manifest's next piece from the file and let the verifier see it."""
        item = transfer.item
        assert item.slot is not None
        size = min(PIECE, item.entry.size - item.verified)
        problem = VerificationFailed(f"{item.entry.path}: libtorrent has not written it", path=item.entry.path)
        for _ in range(FLUSH_TRIES):
            with item.slot.open() as opened:
                data = os.pread(opened.fileno(), size, item.verified)
            if len(data) == size:
                try:
                    transfer.put(memoryview(data))
                    return
                except VerificationFailed as error:
                    problem = error
            await asyncio.sleep(FLUSH_SECONDS)
        raise problem

    def _arrived(self, piece: int) -> None:
        self._feeding.checked(piece)
        for waiter in self._waiters.pop(piece, ()):
            if not waiter.done():
                waiter.set_result(None)

    # --- what the feeding asks ---

    def _appetite(self) -> Appetite:
        """While prefetch is held, or the cache has no room for everything, only what has a place already."""
        held = self._downloader is None or self._downloader.is_held
        everything = len(self._open) == len(self._files)
        demanded = self._lacking(item for item in self._files if item.is_demanded)
        urgent = list(islice(demanded, MAXIMUM_GAPS))
        if not held and not everything and not urgent:
            urgent = list(islice(self._lacking(self._files), MAXIMUM_GAPS))
        return Appetite(not held or bool(urgent), held or not everything, urgent, self._lacking(self._files))

    @property
    def _lacks_something(self) -> bool:
        return next(self._lacking(self._files), None) is not None

    def _lacking(self, items: Iterable[Item]) -> Iterator[int]:
        for item in items:
            if item in self._placed and item.state is State.ARRIVING:
                yield from (each for each in self._pieces(item, self._files[item]) if each not in self._client.held)

    def _pieces(self, item: Item, file: int) -> range:
        facts = self._client.files[file]
        return range(facts.first + item.verified // self._length, facts.first + facts.pieces)


class TorrentRoute(Route):
    """From the swarm what is in the torrent, the rest from the frontend."""

    has_window = False  # everything is asked for at once

    def __init__(self, frontend: Source, torrents: Torrents) -> None:
        super().__init__(frontend)
        self._torrents = torrents

    def look_ahead(self) -> None:
        self._torrents.start()

    def need(self, item: Item) -> None:
        self._torrents.start()

    def source(self, item: Item) -> Optional[Source]:
        if not self._torrents.has(item):
            return self._frontend
        return None if self._torrents.is_leaving else self._torrents

    def admits(self, source: Source, load: Load, *, is_waited_for: bool) -> bool:
        return source is self._torrents or super().admits(source, load, is_waited_for=is_waited_for)

    def failed(self, item: Item, source: Source, error: AvalancheError) -> None:
        if source is self._torrents:
            self._torrents.give_up(item)

    def dropped(self, item: Item) -> None:
        self._torrents.give_up(item)


def _known_files(files: Sequence[TorrentFile], catalogue: Catalogue) -> dict[Item, int]:
    """Which file of the torrent is which object of the closure: the one with its root and size."""
    numbers = {(file.root, file.size): number for number, file in enumerate(files)}
    found = {}
    for item in catalogue.closure:
        number = numbers.get((item.entry.root, item.entry.size))
        # The same bytes under another path are fetched over HTTP: there is one file for them.
        if number is not None and catalogue.find_object(item.entry.sha256) is item:
            found[item] = number
    return found


def _info_hash(torrent: bytes) -> str:
    document = decode(torrent)
    if not isinstance(document, dict) or b"info" not in document:
        raise ProtocolError("torrent: no info dictionary")
    return hashlib.sha256(encode(document[b"info"])).hexdigest()
