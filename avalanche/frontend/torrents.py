"""The swarm plane's side of the frontend: a torrent per generation, and who waits for its pieces.

docs/protocol.md, section 13; `avalanche.frontend.pieces` speaks with the hosts.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from avalanche.adapters.distributions import Generation
from avalanche.adapters.leaves import Leaves
from avalanche.errors import RepositoryError
from avalanche.handout import Handout, handing_order
from avalanche.log import facts
from avalanche.manifest import PIECE, Manifest
from avalanche.pieces import PieceRequest
from avalanche.torrent import Torrent, piece_length_for

TICK_SECONDS = 0.25
HOLD_SECONDS = 0.5
"""So long a request waits for a piece before it is answered with none."""

log = logging.getLogger(__name__)


class TorrentRegistrar(Protocol):
    """How trackers are told which torrents they answer for."""

    def add_torrent(self, generation: str, info_hash: bytes) -> None:
        """Answer announces for a torrent of a registered generation too."""


@dataclass(eq=False)
class _Waiter:
    """A request that waits for pieces."""

    host: str
    request: PieceRequest
    done: asyncio.Future[list[int]]


class Served:
    """One torrent that hosts are fed with."""

    def __init__(self, generation: Generation, torrent: Torrent, order: Iterable[str]) -> None:
        self.torrent = torrent
        self.members: list[str] = []
        """Addresses that were admitted, in the order in which they came."""
        self._generation = generation
        self._ranges: dict[str, range] = {}
        first = 0
        for entry in torrent.entries:
            count = -(-entry.size // torrent.piece_length)
            self._ranges[entry.sha256] = range(first, first + count)
            first += count
        sizes = [piece.size for piece in torrent.pieces]
        self.handout = Handout(sizes, handing_order(self.wants(order), sizes))
        self.epoch = secrets.token_hex(8)
        self._known: set[str] = set()
        self._waiting: list[_Waiter] = []

    def __repr__(self) -> str:
        return f"<Served {self.torrent!r} {self.handout!r}>"

    def wants(self, objects: Iterable[str]) -> list[int]:
        """The pieces of some objects, in their order."""
        return [piece for sha256 in dict.fromkeys(objects) for piece in self._ranges.get(sha256, ())]

    def covers(self, objects: Iterable[str]) -> bool:
        """Is every one of these objects in the torrent?"""
        return all(sha256 in self._ranges for sha256 in objects)

    def admit(self, address: str) -> None:
        """An address belongs to the swarm: those who wait for pieces are told at once."""
        if address not in self._known:
            self._known.add(address)
            self.members.append(address)
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                waiter.done.set_result([])

    async def lease(self, host: str, request: PieceRequest, now: float) -> list[int]:
        """Pieces for a host, at once or a moment later; none: it may come back."""
        if self.handout.is_spent and not request.missing:
            self.handout.ask(host, 0, now)
            return []
        loop = asyncio.get_running_loop()
        waiter = _Waiter(host, request, loop.create_future())
        self._waiting.append(waiter)
        self.serve(now)
        try:
            if not waiter.done.done():
                await asyncio.wait({waiter.done}, timeout=HOLD_SECONDS)
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
        return waiter.done.result() if waiter.done.done() else []

    def serve(self, now: float) -> None:
        """Give to those who wait, in the order in which they came."""
        for waiter in tuple(self._waiting):
            if not self.handout.is_open(now):
                return
            if not self.handout.knows(waiter.host):
                pieces: list[int] = []
            else:
                asked = waiter.request
                pieces = self.handout.ask(
                    waiter.host, asked.room, now, missing=asked.missing, urgent=asked.urgent, only=asked.only
                )
                if not pieces:
                    continue
            self._waiting.remove(waiter)
            waiter.done.set_result(pieces)

    def take_back(self, host: str, pieces: Iterable[int]) -> None:
        """These were not sent: somebody else may have them."""
        if self.handout.give_back(host, pieces):
            self.serve(asyncio.get_running_loop().time())

    def advance(self, now: float) -> None:
        """Do what time brings."""
        self.handout.advance(now)
        self.serve(now)

    def read(self, pieces: Iterable[int]) -> list[bytes]:
        """The bytes of some pieces.

        Raises:
            RepositoryError: a file is gone or too short.
        """
        parts = []
        for number in pieces:
            piece = self.torrent.pieces[number]
            path = self._generation.object_path(self.torrent.entries[piece.file].path)
            try:
                with path.open("rb") as file:
                    data = os.pread(file.fileno(), piece.size, piece.start)
            except OSError as error:
                raise RepositoryError(f"{path}: cannot be read: {error.strerror}; import it again") from error
            if len(data) != piece.size:
                raise RepositoryError(f"{path}: its file is shorter than the manifest says; import it again")
            parts.append(data)
        return parts


class Torrents:
    """The torrents of the generations that hosts install by swarm.

    Args:
        leaves: the hashes of the blocks of objects.
    """

    def __init__(self, registrar: TorrentRegistrar, leaves: Leaves) -> None:
        self._registrar = registrar
        self._leaves = leaves
        self._closures: dict[str, dict[str, tuple[str, ...]]] = {}
        self._served: dict[bytes, Served] = {}
        self._current: dict[str, Served] = {}

    def __repr__(self) -> str:
        return f"<Torrents {len(self._served)}>"

    def add(self, generation: str, closure: Manifest) -> None:
        """Hosts with this closure install a generation by swarm."""
        known = self._closures.setdefault(generation, {})
        if closure.digest not in known:
            known[closure.digest] = tuple(entry.sha256 for entry in closure.entries)

    def has(self, generation: str) -> bool:
        """Is there a torrent of this generation?"""
        return generation in self._current

    def closures(self, generation: str) -> int:
        """How many closures of a generation were added."""
        return len(self._closures.get(generation, ()))

    def covers(self, generation: str, closure: Manifest) -> bool:
        """Has the generation a torrent with everything of this closure?"""
        served = self._current.get(generation)
        return served is not None and served.covers(entry.sha256 for entry in closure.entries)

    async def make(self, generation: Generation) -> Served:
        """Make the torrent over all closures that were added. One that hosts use already goes on being served.

        Raises:
            RepositoryError: an object cannot be read.
        """
        # The largest closure first: it is what most hosts prefetch, in its order.
        closures = sorted(self._closures[generation.id].items(), key=lambda each: (-len(each[1]), each[0]))
        order = list(dict.fromkeys(sha256 for _, objects in closures for sha256 in objects))
        torrent = await asyncio.to_thread(self._assemble, generation, frozenset(order))
        served = self._served.get(torrent.info_hash)
        if served is None:
            served = self._served[torrent.info_hash] = Served(generation, torrent, order)
            log.info("torrent made", extra=facts(generation=generation.id, files=len(torrent.entries)))
        self._current[generation.id] = served
        self._registrar.add_torrent(generation.id, torrent.info_hash[:20])
        return served

    def _assemble(self, generation: Generation, wanted: frozenset[str]) -> Torrent:
        entries = [each for each in generation.manifest.entries if each.sha256 in wanted]
        length = piece_length_for(sum({each.sha256: each.size for each in entries}.values()))
        large = {each.sha256: each for each in entries if each.size > length < PIECE}
        leaves = {sha256: self._leaves.of(entry, generation.object_path(entry.path)) for sha256, entry in large.items()}
        return Torrent(generation.id, entries, piece_length=length, leaves=leaves)

    def current(self, generation: str) -> Served:
        """The torrent that new hosts of a generation use."""
        return self._current[generation]

    def find(self, generation: str, info_hash: str, manifest: str) -> tuple[Served, tuple[str, ...]] | None:
        """A torrent that is served, and the objects of one of its closures."""
        served = self._served.get(bytes.fromhex(info_hash))
        closure = self._closures.get(generation, {}).get(manifest)
        if served is None or closure is None or served.torrent.generation != generation:
            return None
        return served, closure

    def retain(self, generations: Iterable[str]) -> None:
        """Forget all other generations."""
        for gone in set(self._closures) - set(generations):
            del self._closures[gone]
            self._current.pop(gone, None)
            self._served = {each: kept for each, kept in self._served.items() if kept.torrent.generation != gone}

    async def run(self) -> None:
        """Do what time brings, until cancelled."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = asyncio.get_running_loop().time()
            for served in self._served.values():
                served.advance(now)
