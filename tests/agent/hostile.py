"""Both ends of a relay connection without the sockets between: what a hostile program writes is handed to them."""

from __future__ import annotations

import asyncio
import hashlib
import random
from pathlib import Path
from typing import Any, Callable, Optional

from avalanche.agent import frames
from avalanche.agent.cache import Cache, Place, Slot
from avalanche.agent.catalogue import Catalogue
from avalanche.agent.children import Account, Child, Sharing
from avalanche.agent.downloader import Downloader
from avalanche.agent.figures import Figures
from avalanche.agent.item import Item, State
from avalanche.agent.link import Link
from avalanche.agent.lookup import Row
from avalanche.agent.meter import Meter
from avalanche.agent.parents import Parent, Parents
from avalanche.agent.settings import Settings
from avalanche.agent.source import Route, Source
from avalanche.agent.transfer import Transfer
from avalanche.manifest import BLOCK, PIECE, Entry, Manifest, hash_stream

PEER = "d6b394fc09dba5e9"
ROW = Row(PEER, "compute-0-1", "127.0.0.1", 40001, "0", "ticket", 2_000_000_000)
ANSWER = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


def blob(size: int, seed: int = 0) -> bytes:
    return random.Random(seed * 7919 + size).getrandbits(8 * size).to_bytes(size, "big")


def leaves_of(data: bytes, piece: int) -> bytes:
    part = data[piece * PIECE : (piece + 1) * PIECE]
    return b"".join(hashlib.sha256(part[start : start + BLOCK]).digest() for start in range(0, len(part), BLOCK))


def manifest_of(objects: dict[str, bytes]) -> Manifest:
    return Manifest("g-0123456789abcdef", tuple(Entry.of(hash_stream([data]), path) for path, data in objects.items()))


class Wire(asyncio.Transport):
    """A transport whose other end is the test: it keeps what is written, and takes it when it wants to."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.is_stuck = False
        self.is_reading = True
        self.high = 65536
        self._waiting = 0
        self._is_closing = False
        self._protocol: Any = None
        self._is_paused = False

    def connect(self, protocol: Any) -> None:
        self._protocol = protocol
        protocol.connection_made(self)

    def write(self, data: Any) -> None:
        assert not self._is_closing
        self.written += data
        if self.is_stuck:
            self._waiting += len(data)
            if self._waiting > self.high and not self._is_paused:
                self._is_paused = True
                self._protocol.pause_writing()

    def take(self, *, is_all: bool = True) -> None:
        """The other end reads everything that waits, and all that comes then, too."""
        self.is_stuck, self._waiting = not is_all, 0
        if self._is_paused:
            self._is_paused = False
            self._protocol.resume_writing()

    def abort(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    def is_closing(self) -> bool:
        return self._is_closing

    def get_write_buffer_size(self) -> int:
        return self._waiting

    def set_write_buffer_limits(self, high: Optional[int] = None, low: Optional[int] = None) -> None:
        self.high = high or self.high

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self

    def setsockopt(self, *values: int) -> None:
        """A socket's."""


class ChildEnd:
    """A host that fetches from a hostile parent: `Link`, with real transfers into real files."""

    def __init__(self, folder: Path, objects: dict[str, bytes]) -> None:
        loop = asyncio.get_running_loop()
        self.objects = objects
        self.items = [Item(entry) for entry in manifest_of(objects).entries]
        self.blames: list[tuple[str, Optional[str]]] = []
        self.parents = Parents("127.0.0.1", meter=Meter(loop.time), count=lambda size: None)
        self.parents.on_blame = lambda peer, why, sha256: self.blames.append((why, sha256))
        self.place = Place(folder, limit=None)
        self.link = Link(Parent(ROW, "127.0.0.1", parents=self.parents), self.parents)
        self.wire = Wire()
        self.transfers: list[Transfer] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def open(self, early: bytes = b"") -> None:
        """Connect; the parent answers with 101, and ``early``."""
        self.wire.connect(self.link)
        opening = asyncio.ensure_future(self.link.open(ROW))
        await asyncio.sleep(0)
        self.hear(ANSWER + early)
        await opening

    def fetch(self, number: int, *, watched: bool = True) -> None:
        """Ask for an object; requests are numbered from 1 on."""
        item = self.items[number]
        slot = item.slot = Slot(self.place, f"{number:06d}-x.object", item.entry.size)
        item.state = State.ARRIVING
        if watched:
            item.watch(lambda item: None)
        clock = asyncio.get_running_loop().time
        transfer = Transfer(item, slot, rate=lambda: 0, on_verified=lambda size: None, clock=clock)
        self.transfers.append(transfer)
        self.tasks.append(asyncio.ensure_future(self.link.fetch(transfer)))

    def hear(self, data: bytes, cut: Callable[[], int] = lambda: 1 << 20) -> int:
        """The parent's bytes come, ``cut`` by ``cut``; return how many were taken before the connection ended."""
        rest = memoryview(data)
        while rest and not self.link.is_closed:
            room = self.link.get_buffer(-1)
            count = min(len(room), len(rest), max(1, cut()))
            room[:count] = rest[:count]
            self.link.buffer_updated(count)
            rest = rest[count:]
        return len(data) - len(rest)

    def judge(self) -> None:
        """Every byte that other hosts or the installer may have is the manifest's, and is there."""
        for item, data in zip(self.items, self.objects.values()):
            assert item.verified <= item.checked <= item.entry.size
            if item.slot is not None:
                with item.slot.open() as file:
                    assert file.read(item.checked) == data[: item.checked]

    async def close(self) -> None:
        """The connection ends, and so does everything on it."""
        self.wire.abort()
        for _ in range(4):
            await asyncio.sleep(0)
        assert all(task.done() for task in self.tasks), "a request outlived its connection"
        await asyncio.gather(*self.tasks, return_exceptions=True)
        assert not self.link._requests
        self.judge()
        for item in self.items:
            item.forget()
        self.place.close()


class _Nowhere(Source):
    """Delivers nothing."""

    async def fetch(self, transfer: Transfer) -> None:
        await asyncio.Event().wait()


class _Events:
    def report(self, *words: str, **more: str) -> None:
        """Nobody reads it."""


class ParentEnd:
    """A host from which a hostile child fetches: `Child`, with a real downloader and real files."""

    def __init__(self, folder: Path, objects: dict[str, bytes], *, limit: int = 1 << 30) -> None:
        clock = asyncio.get_running_loop().time
        self.objects = list(objects.values())
        self.catalogue = Catalogue(manifest_of(objects), None, clock=clock)  # type: ignore[arg-type]
        self.cache = Cache(Settings(cache_dir=folder / "cache", cache_limit_bytes=limit, target_roots=(), port=0))
        self.downloader = Downloader(
            self.catalogue.closure,
            route=Route(_Nowhere()),
            sources=1,
            figures=Figures(clock),
            cache=self.cache,
            events=_Events(),  # type: ignore[arg-type]
            is_live=lambda: True,
        )
        self.sharing = Sharing(self.catalogue, self.downloader, ingress=Meter(clock), egress=Meter(clock))
        self.children: list[Child] = []
        self.wires: list[Wire] = []
        self.ended: list[Child] = []
        self.spent: list[Item] = []
        self.account = Account(self.spent.append)
        """All connections are one child's."""
        self.transfers: dict[Item, Transfer] = {}

    @property
    def items(self) -> tuple[Item, ...]:
        return self.catalogue.closure

    def connect(self) -> Wire:
        wire = Wire()
        child = Child(self.sharing, account=self.account, on_end=self.ended.append)
        wire.connect(child)
        self.children.append(child)
        self.wires.append(wire)
        return wire

    def arrive(self, number: int, size: int, *, rate: int = 0) -> None:
        """So many more bytes of an object come, in blocks that are proven."""
        item, data = self.items[number], memoryview(self.objects[number])
        if item not in self.transfers:
            item.slot = self.cache.reserve(item.entry, demanded=True)
            assert item.slot is not None
            item.state = State.ARRIVING
            clock = asyncio.get_running_loop().time
            self.transfers[item] = Transfer(
                item, item.slot, rate=lambda: rate, on_verified=lambda size: None, clock=clock
            )
        transfer = self.transfers[item]
        end = min(transfer.received_bytes + size, len(data))
        while transfer.received_bytes < end:
            start = transfer.received_bytes
            if start % PIECE == 0:
                transfer.trust(leaves_of(bytes(data), start // PIECE))
            transfer.put(data[start : min(end, start + BLOCK)])
        if transfer.is_complete and item.state is State.ARRIVING:
            item.complete()

    def give_up(self, number: int) -> None:
        self.transfers.pop(self.items[number], None)
        self.items[number].forget()

    async def close(self) -> None:
        for wire in self.wires:
            wire.abort()
        await asyncio.sleep(0)
        assert len(self.ended) == len(self.children)
        for child in self.children:
            assert child._file is None
        for item in self.items:
            assert not item.is_watched
            item.forget()
        await self.downloader.close()
        self.cache.close()


def split(data: bytes) -> list[tuple[frames.Head, bytes]]:
    """The frames in what an end has written."""
    found, rest = [], memoryview(data)
    while rest:
        head = frames.read_head(rest)
        found.append((head, bytes(rest[frames.HEAD_BYTES : frames.HEAD_BYTES + head.length])))
        rest = rest[frames.HEAD_BYTES + head.length :]
    return found
