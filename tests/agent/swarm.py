"""What a host on the relay plane meets: a tracker that does as the test says, and parents that misbehave.

Standard library only, as everything that tests the agent.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import Awaitable
from typing import Any, Callable, Optional

from avalanche.agent import frames
from avalanche.agent.children import BEAT_SECONDS
from avalanche.manifest import BLOCK, PIECE
from avalanche.membership import Membership
from avalanche.tokens import SwarmToken, Ticket, peer_id, peer_key, read_token, sign_ticket, sign_token
from tests.agent.faulty import GENERATION

SWARM_KEY = bytes(range(32))
ADDRESS = "127.0.0.1"
PARENT_ORDER = "aa1e2d3c4b5a6978"
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def token_of(order: str, host: str = "compute-0-0", address: str = ADDRESS) -> str:
    expires = int(time.time()) + 3600
    return sign_token(SWARM_KEY, SwarmToken(order, host, "0", address, GENERATION, expires))


def ticket_for(
    parent: str, *, address: str = ADDRESS, generation: str = GENERATION, seconds: int = 600, order: str = "b" * 16
) -> str:
    ticket = Ticket(order, "compute-0-9", address, generation, int(time.time()) + seconds)
    return sign_ticket(peer_key(SWARM_KEY, parent), ticket)


class StubTracker:
    """Sends every child to the first of its parents that it has not blamed or left; then to the frontend."""

    def __init__(self) -> None:
        self.lookups: list[dict[str, Any]] = []
        self.blames: list[tuple[str, ...]] = []
        self.accusers: list[str] = []
        """Who said each of them: an order."""
        self.parents: dict[str, tuple[str, int]] = {}
        """Peer id to order and port, in the order in which children are sent there."""
        self.line: dict[str, str] = {}
        """Order to the parent it is sent to, where the test says so."""
        self.by_object: dict[str, str] = {}
        """Object to the parent for it, where the test says so."""
        self.lifetime = 600
        """Seconds for which tickets are good."""
        self.gives_nothing = False
        """Is every ask answered with *not yet*?"""
        self.next = 0.2
        """Seconds until the next lookup."""
        self.forgets = False
        """Does the next lookup find a tracker that was restarted?"""
        self.moves: list[tuple[str, str]] = []
        self.ahead: Optional[list[str]] = None
        """Who stands ahead of every host, nearest first; None: not said."""
        self._bad: set[tuple[str, str]] = set()
        self._server: Optional[asyncio.AbstractServer] = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, ADDRESS, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0.01)

    def membership(self, order: str, host: str = "compute-0-0") -> Membership:
        key = peer_key(SWARM_KEY, order).hex()
        return Membership((f"http://{ADDRESS}:{self.port}",), token_of(order, host), key)

    def add_parent(self, order: str, port: int, attempt: str = "0" * 16) -> str:
        name = peer_id(order, attempt)
        self.parents[name] = (order, port)
        return name

    def asked(self) -> list[str]:
        return [ask[0] for row in self.lookups for ask in row.get("ask", [])]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
                token = next(line for line in head.split("\r\n") if line.lower().startswith("authorization")).split()[
                    -1
                ]
                row = json.loads(await reader.readexactly(int(fields["content-length"])))
                body = json.dumps(self._answer(token, row)).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        self._writers.discard(writer)
        writer.close()

    def _answer(self, token: str, row: dict[str, Any]) -> dict[str, Any]:
        self.lookups.append(row)
        child = read_token(token).order
        answer: dict[str, Any] = {"version": 1, "time": time.time(), "next": self.next, "place": 0, "register": False}
        if self.forgets and "register" not in row:
            return {
                **answer,
                "register": True,
                "parents": [],
                "give": [-1] * len(row.get("ask", [])),
                "move": [],
                "rows": [],
            }
        self.forgets = self.forgets and "register" not in row
        for blame in row.get("blame", []):
            self.blames.append(tuple(blame))
            self.accusers.append(child)
            self._bad.add((child, blame[0]))
        give = [None if self.gives_nothing else self._choose(child, *ask[::2]) for ask in row.get("ask", [])]
        moves, self.moves = self.moves, []
        names = [*filter(None, give), *(parent for _, parent in moves), *(self.ahead or ())]
        rows = [self._row(name, child) for name in dict.fromkeys(names) if name != "frontend"]
        parents = list(dict.fromkeys(names))
        answer["parents"], answer["rows"] = parents, rows
        answer["give"] = [-1 if name is None else parents.index(name) for name in give]
        answer["move"] = [[sha256, parents.index(parent)] for sha256, parent in moves]
        if self.ahead is not None:
            answer["ahead"] = [parents.index(name) for name in self.ahead]
        return answer

    def _choose(self, child: str, sha256: str, avoid: str = "") -> str:
        if sha256 in self.by_object:
            return self.by_object[sha256]
        if avoid:
            self._bad.add((child, avoid))
        if child in self.line:
            return "frontend" if (child, self.line[child]) in self._bad else self.line[child]
        fit = (name for name, (order, _) in self.parents.items() if order != child and (child, name) not in self._bad)
        return next(fit, "frontend")

    def _row(self, name: str, child: str) -> dict[str, Any]:
        order, port = self.parents[name]
        expires = int(time.time()) + self.lifetime
        ticket = sign_ticket(peer_key(SWARM_KEY, order), Ticket(child, "child", ADDRESS, GENERATION, expires))
        row = {"peer": name, "host": f"host-{order[:2]}", "address": ADDRESS, "port": port, "rack": "0"}
        return {**row, "ticket": ticket, "expires": expires}


class Asked:
    """A GET that a parent of a test has got."""

    def __init__(self, id: int, sha256: str, offset: int) -> None:
        self.id = id
        self.sha256 = sha256
        self.offset = offset


Behaviour = Callable[["HostileParent", Asked, asyncio.StreamWriter], Awaitable[None]]


class HostileParent:
    """Speaks the opening as it should, and then does to each request what ``behave`` does.

    Args:
        objects: SHA-256 to bytes.
        greets: does it answer the opening at all?
    """

    def __init__(
        self, objects: dict[str, bytes], behave: Behaviour, *, greets: bool = True, beats: bool = True
    ) -> None:
        self.objects = objects
        self.connections = 0
        self.asked: list[Asked] = []
        self.backlog = 0
        self._behave = behave
        self._greets = greets
        self._beats = beats
        self._server: Optional[asyncio.AbstractServer] = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, ADDRESS, 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await asyncio.sleep(0.01)  # who was let in just now has begun, and is ended too
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # their connections close in the next turn

    def _own(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"GET /relay HTTP/1.1\r\n")
            if self._greets:
                lines = ["HTTP/1.1 101 Switching", "Connection: Upgrade", f"Upgrade: {frames.PROTOCOL}", "", ""]
                writer.write("\r\n".join(lines).encode())
                if self._beats:
                    self._own(self._beat(writer))
            while True:
                frame = await reader.readexactly(frames.HEAD_BYTES)
                kind, id, length = frames.read_head(memoryview(frame))
                frame += await reader.readexactly(length)
                if kind == frames.GET:
                    asked = Asked(id, *frames.read_get(memoryview(frame)))
                    self.asked.append(asked)
                    self._own(self._behave(self, asked, writer))
        writer.close()

    async def _beat(self, writer: asyncio.StreamWriter) -> None:
        while not writer.transport.is_closing():
            held = [(asked.id, 0) for asked in self.asked[-1:]]
            writer.write(frames.heartbeat(self.backlog, 0, 0, held))
            await asyncio.sleep(BEAT_SECONDS)


def prove(writer: asyncio.StreamWriter, asked: Asked, data: bytes, piece: int) -> None:
    """Send the hashes of the blocks of one piece."""
    bytes_ = data[piece * PIECE : (piece + 1) * PIECE]
    hashes = [hashlib.sha256(bytes_[start : start + BLOCK]).digest() for start in range(0, len(bytes_), BLOCK)]
    writer.write(frames.leaves(asked.id, piece * PIECE, b"".join(hashes)))


def send(writer: asyncio.StreamWriter, asked: Asked, data: bytes, start: int, end: int) -> None:
    """Send bytes of an object as DATA frames that do not cross the end of a piece."""
    while start < end:
        stop = min(end, start + 65536, (start // PIECE + 1) * PIECE)
        writer.write(frames.data_head(asked.id, start, stop - start) + data[start:stop])
        start = stop


async def silent(parent: HostileParent, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Does nothing to a request."""
