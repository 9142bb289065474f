"""One host that fetches from this one: its requests, and what is sent for them (docs/protocol.md, section 11.2)."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import BinaryIO, Callable, Optional

from avalanche.agent import frames
from avalanche.agent.catalogue import Catalogue
from avalanche.agent.downloader import Downloader
from avalanche.agent.item import Item, State
from avalanche.agent.meter import Meter
from avalanche.manifest import BLOCK, PIECE

FRAME = 65536
"""Bytes of an object in one DATA frame: what is sent for one request before another one may come in between."""
BUFFER = 65536
"""Bytes that wait in this process for one child, at most, beside one frame."""
CROWDED = 4 * BUFFER
"""With so much waiting, refusals and heartbeats do not join."""
SOCKET_BUFFER = 131072
"""Little that is stuck in the kernel when the child moves on, and a backlog that can be seen."""
BEAT_SECONDS = 0.3
FRAMES = 2048
"""A child's frames that are read between two heartbeats; what it says beyond them waits."""
STUCK_SECONDS = 10.0
IDLE_SECONDS = 60.0
LEAVE_SECONDS = 2.0
QUOTA_TIMES, QUOTA_BYTES = 4, 4 << 20
"""So many times an object's size, and some more for what is lost on the way, one child may have of it."""


class Sharing:
    """What this host has to give, and how fast it moves.

    Args:
        ingress, egress: what it receives and what it sends to all children.
    """

    def __init__(self, catalogue: Catalogue, downloader: Downloader, *, ingress: Meter, egress: Meter) -> None:
        self.catalogue = catalogue
        self.downloader = downloader
        self.ingress = ingress
        self.egress = egress
        self.is_leaving = False


class Account:
    """What one child has had of each object, over all its connections. Who moves away and comes back has more than its
    size; who fetches it again and again takes it from others.

    Args:
        on_spent: called with an item of which the child wants still more.
    """

    def __init__(self, on_spent: Callable[[Item], None]) -> None:
        self._on_spent = on_spent
        self._sent: dict[Item, int] = {}

    def __repr__(self) -> str:
        return f"<Account of {len(self._sent)} items>"

    def take(self, item: Item, size: int) -> bool:
        """May the child have ``size`` more bytes of ``item``? If so, they count as sent."""
        sent = self._sent.get(item, 0) + size
        if sent > QUOTA_TIMES * item.entry.size + QUOTA_BYTES:
            self._on_spent(item)
            return False
        self._sent[item] = sent
        return True


class _Request:
    """An object a child has asked for, from an offset on."""

    def __init__(self, id: int, item: Item, offset: int) -> None:
        self.id = id
        self.item = item
        self.sent = offset
        self.proven = -1
        """The piece for which the hashes of its blocks were sent last."""
        self.is_hurried = False

    @property
    def ready(self) -> int:
        """Bytes that could be sent now."""
        return self.item.checked - self.sent


class Child(asyncio.Protocol):
    """The parent's side of a relay connection.

    Args:
        account: of the host at the other end.
        on_end: called once, when the connection is gone.
    """

    def __init__(self, sharing: Sharing, *, account: Account, on_end: Callable[[Child], None]) -> None:
        self._sharing = sharing
        self._account = account
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._transport: Optional[asyncio.Transport] = None
        self._data = bytearray()
        self._open: dict[int, _Request] = {}
        self._watched: dict[Item, dict[int, _Request]] = {}
        """The open requests by item: many may be for one, which tells of its bytes once."""
        self._ready: dict[int, _Request] = {}
        """Those of which there are bytes to send; of these, those that somebody waits for."""
        self._hurried: dict[int, _Request] = {}
        self._last = 0
        self._frames = 0
        self._file: Optional[BinaryIO] = None
        self._file_item: Optional[Item] = None
        self._is_paused = False
        self._is_pumping = False
        self._written = 0
        self._taken = -1
        self._moved = self._used = self._loop.time()
        self._timer: Optional[asyncio.TimerHandle] = None

    def __repr__(self) -> str:
        return f"<Child {len(self._open)} requests, {self._written} bytes>"

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()

    def begin_to_leave(self) -> bool:
        """Refuse what has not been begun. Is a piece still going out?"""
        for request in list(self._open.values()):
            if request.sent % PIECE == 0 or request.ready <= 0:
                self._refuse(request, frames.LEAVING)
        return bool(self._open) or self._waiting > 0

    # --- what the transport calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=BUFFER, low=BUFFER // 4)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
        self._timer = self._loop.call_later(BEAT_SECONDS, self._beat)

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        for request in list(self._open.values()):
            self._forget(request)
        self._let_go()
        self._on_end(self)

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self._listen()

    def data_received(self, data: bytes) -> None:
        self._data += data
        self._listen()

    # --- requests ---

    def _listen(self) -> None:
        """Read what the child says, and more of it unless it says too much; send what it asks for."""
        try:
            self._read()
        except ValueError:
            self.close()
        if self._transport is None or self._transport.is_closing():
            return
        if self._may_speak:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()
        self._pump()

    @property
    def _may_speak(self) -> bool:
        """May it say more? Even while there is much for it to take: it may take back what it asked for."""
        # Who takes nothing asks for nothing more: refusals need room, too.
        return self._frames < FRAMES and self._waiting < CROWDED

    @property
    def _waiting(self) -> int:
        """Bytes that this process holds for the child."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def _read(self) -> None:
        view, used = memoryview(bytes(self._data)), 0
        while len(view) - used >= frames.HEAD_BYTES and self._may_speak:
            head = frames.read_head(view[used : used + frames.HEAD_BYTES])
            if head.length != {frames.GET: frames.GET_BYTES, frames.CANCEL: 0, frames.HURRY: 0}.get(head.kind, -1):
                raise ValueError(f"a frame of type {head.kind} with {head.length} bytes")
            end = used + frames.HEAD_BYTES + head.length
            if len(view) < end:
                break
            self._frames += 1
            self._take(head, view[used:end])
            used = end
        del self._data[:used]

    def _take(self, head: frames.Head, frame: memoryview) -> None:
        if head.kind == frames.GET:
            if head.id <= self._last:
                raise ValueError("a request's number was used before")
            self._last = head.id
            self._get(head.id, *frames.read_get(frame))
            return
        if not 0 < head.id <= self._last:
            raise ValueError("a frame about a request that was never made")
        request = self._open.get(head.id)
        if request is None:
            return
        if head.kind == frames.CANCEL:
            self._forget(request)
        else:
            request.is_hurried = True
            self._note(request)
            self._sharing.downloader.hurry(request.item)

    def _get(self, id: int, sha256: str, offset: int) -> None:
        item = self._sharing.catalogue.find_object(sha256)
        reason = 0
        if self._sharing.is_leaving:
            reason = frames.LEAVING
        elif item is None or not self._sharing.downloader.will_fetch(item):
            reason = frames.NOT_HERE
        elif len(self._open) >= frames.MAXIMUM_OPEN:
            reason = frames.BUSY
        elif offset % BLOCK or offset >= item.entry.size:
            reason = frames.BAD_OFFSET
        if reason or item is None:
            self._write(frames.refuse(id, reason))
            return
        self._used = self._loop.time()
        if item not in self._watched:
            item.watch(self._changed)
        self._open[id] = request = _Request(id, item, offset)
        self._watched.setdefault(item, {})[id] = request
        self._note(request)

    def _changed(self, item: Item) -> None:
        """Bytes of an object came, or all were given up."""
        for request in list(self._watched[item].values()):
            if item.state is State.ABSENT:
                self._refuse(request, frames.NOT_HERE)
            else:
                self._note(request)
        self._pump()

    def _note(self, request: _Request) -> None:
        """Keep in mind whether there is something to send for a request."""
        is_ready = request.ready > 0
        for kept, belongs in ((self._ready, is_ready), (self._hurried, is_ready and request.is_hurried)):
            if belongs:
                kept[request.id] = request
            else:
                kept.pop(request.id, None)

    def _refuse(self, request: _Request, reason: int) -> None:
        self._forget(request)
        self._write(frames.refuse(request.id, reason))

    def _forget(self, request: _Request) -> None:
        del self._open[request.id]
        self._ready.pop(request.id, None)
        self._hurried.pop(request.id, None)
        self._used = self._loop.time()
        if self._file_item is request.item:
            self._let_go()
        del self._watched[request.item][request.id]
        if not self._watched[request.item]:
            del self._watched[request.item]
            request.item.unwatch(self._changed)
            self._sharing.downloader.taken(request.item)

    # --- sending ---

    def _pump(self) -> None:
        """Send what is there, as long as the child takes it."""
        if self._is_pumping:
            return
        self._is_pumping = True
        try:
            while not self._is_paused and self._transport is not None and not self._transport.is_closing():
                request = self._next()
                if request is None:
                    return
                self._send(request)
        finally:
            self._is_pumping = False

    def _next(self) -> Optional[_Request]:
        """The oldest request that has bytes to send; one that somebody waits for before others."""
        kept = self._hurried or self._ready
        return kept[min(kept)] if kept else None

    def _send(self, request: _Request) -> None:
        size = min(request.ready, FRAME, PIECE - request.sent % PIECE)
        if not self._account.take(request.item, size):
            self._refuse(request, frames.BUSY)
            return
        try:
            data = os.pread(self._descriptor(request.item), size, request.sent)
        except OSError:
            data = b""
        if len(data) != size:
            self._refuse(request, frames.NOT_HERE)  # the disk has lost it; somebody else has it
            return
        is_last = request.sent + size == request.item.entry.size
        head = frames.data_head(request.id, request.sent, size)
        end = frames.bare(frames.END, request.id) if is_last else b""
        self._write(b"".join((self._proof(request), head, data, end)))
        self._sharing.egress.count(size)
        request.sent += size
        self._note(request)
        if is_last:
            self._forget(request)

    def _proof(self, request: _Request) -> bytes:
        """What the child needs to check each block of a piece, before the first of them; one block needs nothing."""
        piece, blocks = request.sent // PIECE, PIECE // BLOCK
        if piece == request.proven:
            return b""
        request.proven = piece
        hashes = request.item.leaves[32 * blocks * piece : 32 * blocks * (piece + 1)]
        return frames.leaves(request.id, piece * PIECE, hashes) if len(hashes) > 32 else b""

    def _descriptor(self, item: Item) -> int:
        if self._file is None or self._file_item is not item:
            self._let_go()
            if item.slot is None:
                raise OSError("no file")
            self._file, self._file_item = item.slot.open(), item
        return self._file.fileno()

    def _let_go(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = self._file_item = None

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
            self._written += len(data)

    # --- time ---

    def _beat(self) -> None:
        """Say how it goes, and end what does not move."""
        self._timer = self._loop.call_later(BEAT_SECONDS, self._beat)
        self._frames = 0
        self._listen()
        now, waiting = self._loop.time(), self._waiting
        if not waiting or self._written - waiting != self._taken:
            self._moved, self._taken = now, self._written - waiting
        if now - self._moved > STUCK_SECONDS or (not self._open and now - self._used > IDLE_SECONDS):
            self.close()
        elif self._open and waiting < CROWDED:
            backlog = waiting + sum(max(request.ready, 0) for request in self._open.values())
            held = [(request.id, request.item.checked) for request in self._open.values()]
            sharing = self._sharing
            self._write(frames.heartbeat(backlog, sharing.egress.rate, sharing.ingress.best, held))
