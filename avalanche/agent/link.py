"""One connection to a host from which this one fetches: what comes over it, and what is thought of it.

docs/protocol.md, sections 11.1, 11.2 and 11.4.
"""

from __future__ import annotations

import asyncio
import logging
from mmap import mmap
from typing import TYPE_CHECKING, Optional

from avalanche.agent import frames
from avalanche.agent.lookup import Row
from avalanche.agent.transfer import TRICKLE, Transfer, grain
from avalanche.agent.waking import Waking
from avalanche.errors import ManifestContradiction, SourceUnavailable, VerificationFailed
from avalanche.manifest import BLOCK, PIECE

if TYPE_CHECKING:
    from avalanche.agent.parents import Parent, Parents

SILENT_SECONDS = 1.0
STALLED_SECONDS = 30.0
STARVED_SECONDS = 3.0
COMPLAIN_SECONDS = 1.0
SLOW_SECONDS = 0.5
PATIENT_SECONDS = 0.2
"""So long the rest of a block may take before its part is looked at."""
SLOW_BACKLOG = 65536
SLOW_EGRESS, SLOW_INGRESS = 0.6, 0.85
IDLE_SECONDS = 30.0
HEAD_BYTES = 8192
log = logging.getLogger(__name__)
_LENGTHS = {
    frames.HEARTBEAT: (0, frames.MAXIMUM_HEARTBEAT),
    frames.END: (0, 0),
    frames.REFUSE: (1, 1),
    frames.LEAVES: frames.LEAVES_BYTES,
}
BUFFER = 1 << 18
CREDIT = 4096
"""Frames that a parent may send beyond what it is owed: every frame costs one..."""
CREDIT_BYTES = 1024
"""...so many bytes of DATA bring one, and a request and a tenth of a second bring some."""
CREDIT_REQUEST = CREDIT_TICK = 4


class ParentLost(SourceUnavailable):
    """The connection to a parent ended, or one request on it. ``why`` is the blame, None when there is none."""

    def __init__(self, message: str, why: Optional[str]) -> None:
        super().__init__(message)
        self.why = why


class Request:
    """One object that is being fetched from a parent."""

    def __init__(self, transfer: Transfer, done: asyncio.Future[None]) -> None:
        self.transfer = transfer
        self.done = done
        self.piece = -1
        """The last piece of which LEAVES or DATA came: no LEAVES of it may come any more."""
        self.whole_since: Optional[float] = None
        """Since when only its END is missing."""

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class Link(asyncio.BufferedProtocol):
    """One connection to a parent."""

    def __init__(self, parent: Parent, parents: Parents) -> None:
        self._parent = parent
        self._parents = parents
        self._loop = asyncio.get_running_loop()
        self._transport: Optional[asyncio.Transport] = None
        self._waking: Optional[Waking] = None
        self._room = memoryview(mmap(-1, BUFFER))  # only what is ever filled takes memory
        self._filled = 0
        self._opened: Optional[asyncio.Future[None]] = None
        self._said: list[bytes] = []
        self._is_open = False
        self._ended: Optional[ParentLost] = None
        self._is_blamed = False
        self._requests: dict[int, Request] = {}
        self._last = 0
        self._asked: Optional[str] = None
        """The object that was asked for last: what comes out of turn is blamed on it."""
        self._credit = CREDIT
        # The DATA frame that is coming in: its request (None: closed meanwhile), and bytes of it that are missing.
        self._current: Optional[Request] = None
        self._missing = 0
        now = self._loop.time()
        self._heard = now
        self._fed = now
        self._trickle = 0
        self._used = now
        self._slow_since: Optional[float] = None
        self._due: Optional[Request] = None
        self._due_since = now
        self._complained = now
        self._waits_since: Optional[float] = None
        """Since when something that this host waits for, one thing after the other, is to come from here."""
        self._beat = frames.Heartbeat(0, 0, 0, {})

    def __repr__(self) -> str:
        return f"<link {'closed' if self.is_closed else 'open'}, {len(self._requests)} requests>"

    @property
    def is_closed(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    async def open(self, row: Row) -> None:
        """Say who we are, and wait for the parent's 101.

        Raises:
            ParentLost: it refuses, or ends the connection.
        """
        if self._ended is not None:
            raise self._ended
        self._opened = self._loop.create_future()
        host = f"[{row.address}]" if ":" in row.address else row.address
        lines = [
            "GET /relay HTTP/1.1",
            f"Host: {host}:{row.port}",
            "Connection: Upgrade",
            f"Upgrade: {frames.PROTOCOL}",
            f"Authorization: Bearer {row.ticket}",
        ]
        self._write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        await self._opened

    async def fetch(self, transfer: Transfer) -> None:
        """Fetch an object from its last proven block on. Raises as `Source.fetch`."""
        if self._ended is not None:
            raise self._missed(transfer)
        now = self._loop.time()
        if not self._requests:
            self._heard = self._fed = now
        self._earn(CREDIT_REQUEST)
        self._asked = transfer.item.entry.sha256
        self._last += 1
        id = self._last
        request = self._requests[id] = Request(transfer, self._loop.create_future())
        item = transfer.item
        self._write(frames.get(id, item.entry.sha256, transfer.received_bytes))
        if item.is_waited_for:
            self._write(frames.bare(frames.HURRY, id))
        try:
            await request.done
        finally:
            if self._requests.pop(id, None) is not None and not self.is_closed:
                self._write(frames.bare(frames.CANCEL, id))
            if self._current is request:
                self._current = None
            self._used = self._loop.time()

    def hurry(self, transfer: Transfer) -> None:
        """Say that somebody waits for this one."""
        for id, request in self._requests.items():
            if request.transfer is transfer:
                self._write(frames.bare(frames.HURRY, id))

    def lose(self, reason: str, why: Optional[str], sha256: Optional[str] = None) -> None:
        """End the connection and every request on it, and blame the parent."""
        if self._ended is not None:
            return
        self._ended = ParentLost(f"{self._parent}: {reason}", why)
        self._parent.unlinked(self)
        if self._opened is not None and not self._opened.done():
            self._ended.why = why or "dead"
            self._opened.set_exception(self._ended)
        elif self._last and why is not None and (self._requests or why != "dead"):
            self._blame(why, sha256)
        requests, self._requests = list(self._requests.values()), {}
        if requests:
            log.warning("parent lost peer=%s objects=%d reason=%s", self._parent, len(requests), reason)
        for request in requests:
            request.fail(ParentLost(f"{self._parent}: {reason}", why))
        self.abort()

    def _blame(self, why: str, sha256: Optional[str]) -> None:
        self._is_blamed = True
        self._parents.on_blame(self._parent.row.peer, why, sha256)
        self._parents.on_lost(self._parent.row.peer)

    def _missed(self, transfer: Transfer) -> ParentLost:
        """The connection ended after the 101 and before this request could be made: nothing would ever answer it."""
        assert self._ended is not None
        why = self._ended.why
        if why is not None and not self._last and not self._is_blamed:
            self._blame(why, transfer.item.entry.sha256 if why == "corrupt" else None)
        return ParentLost(str(self._ended), why)

    def abort(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.abort()

    def _write(self, data: bytes) -> None:
        """Send with everything else that is said in this turn of the loop: each packet costs both ends more than what
        is in it.
        """
        if not self._said:
            self._loop.call_soon(self._speak)
        self._said.append(data)

    def _speak(self) -> None:
        said, self._said = self._said, []
        if self._transport is not None:
            self._transport.write(b"".join(said))

    # --- what the transport calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._waking = Waking(transport)

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._transport = None
        self.lose("the connection ended", "dead")

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._room[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._heard = self._loop.time()
        end = self._filled + nbytes
        try:
            used = self._read(self._room[:end])
        except VerificationFailed as error:
            self._corrupt(str(error), self._current)
        except ValueError as error:
            self._corrupt(str(error), next(iter(self._requests.values()), None))
        else:
            if used:
                self._room[: end - used] = bytes(self._room[used:end])
            self._filled = end - used
            self._wait_for_block()

    def _wait_for_block(self) -> None:
        """Within DATA nothing can be done before its end, or that of a block or more that is passed on at once."""
        if self._waking is None or self.is_closed:
            return
        least = self._missing or 1
        if self._missing and self._current is not None:
            begun = self._current.transfer.received_bytes % BLOCK
            least = min(least, grain(self._parents.meter.rate) - begun)
        self._waking.at(least)

    def _corrupt(self, reason: str, request: Optional[Request]) -> None:
        if request is not None:
            entry = request.transfer.item.entry
            self._asked = entry.sha256
            request.fail(VerificationFailed(reason, path=entry.path))
        self.lose(reason, "corrupt" if self._is_open else "dead", self._asked)

    # --- reading ---

    def _read(self, data: memoryview) -> int:
        """Take whole frames, and DATA as it comes; return how many bytes were used."""
        used = 0
        if not self._is_open:
            used = self._read_answer(bytes(data))
            if not self._is_open:
                return 0
        while True:
            rest = data[used:]
            if self._missing:
                count = min(self._missing, len(rest))
                if not count:
                    return used
                self._take(rest[:count])
                used += count
                continue
            size = self._read_frame(rest)
            if not size:
                return used
            used += size

    def _read_answer(self, data: bytes) -> int:
        if self._opened is None:
            raise ValueError("it speaks before it was asked")
        end = data.find(b"\r\n\r\n")
        if end < 0:
            if len(data) >= HEAD_BYTES:
                raise ValueError("the answer's head is too long")
            return 0
        status = data[:end].split(b"\r\n", 1)[0].decode("latin-1")
        if not status.startswith("HTTP/1.1 101"):
            words = "".join(letter if letter.isprintable() else "?" for letter in status[:100])
            self.lose(f"refuses: {words}", "refused")
            return 0
        self._is_open = True
        if not self._opened.done():
            self._opened.set_result(None)
        return end + 4

    def _read_frame(self, data: memoryview) -> int:
        """Take one frame, or of DATA the head; return its bytes, 0 when it is not there yet."""
        if len(data) < frames.HEAD_BYTES:
            return 0
        head = frames.read_head(data)
        if head.kind == frames.DATA:
            if len(data) < frames.DATA_HEAD_BYTES:
                return 0
            self._spend()
            self._begin_data(head, frames.read_offset(data))
            return frames.DATA_HEAD_BYTES
        least, most = _LENGTHS.get(head.kind, (1, 0))
        if not least <= head.length <= most:
            raise ValueError(f"a frame of type {head.kind} with {head.length} bytes")
        end = frames.HEAD_BYTES + head.length
        if len(data) < end:
            return 0
        self._spend()
        if head.kind == frames.HEARTBEAT:
            if head.id:
                raise ValueError("a heartbeat about one request")
            self._beat = frames.read_heartbeat(data[frames.HEAD_BYTES : end])
        elif head.kind == frames.LEAVES:
            self._trust(head.id, data[:end])
        elif head.kind == frames.END:
            self._end(head.id)
        else:
            self._refused(head, data[frames.HEAD_BYTES : end])
        return end

    def _earn(self, frames: int) -> None:
        self._credit = min(self._credit + frames, CREDIT)

    def _spend(self) -> None:
        """Every frame costs this host time, however little it brings."""
        self._credit -= 1
        if self._credit < 0:
            raise ValueError("far more frames than its bytes and our requests call for")

    def _known(self, id: int) -> Optional[Request]:
        if not 0 < id <= self._last:
            raise ValueError(f"a frame about request {id}, which was never made")
        return self._requests.get(id)

    def _trust(self, id: int, frame: memoryview) -> None:
        request = self._known(id)
        if request is None:
            return
        offset, here = frames.read_offset(frame), request.transfer.received_bytes
        if offset != here - here % PIECE:
            raise ValueError(f"LEAVES of the piece at {offset}, where {here} comes next")
        if offset // PIECE == request.piece:
            raise ValueError(f"LEAVES of the piece at {offset} again, or after its first DATA")
        request.piece = offset // PIECE
        self._current = request
        request.transfer.trust(frame[frames.DATA_HEAD_BYTES :])

    def _begin_data(self, head: frames.Head, offset: int) -> None:
        size = head.length - frames.OFFSET_BYTES
        if not 0 < size <= frames.MAXIMUM_DATA - frames.OFFSET_BYTES:
            raise ValueError(f"DATA of {size} bytes")
        request = self._known(head.id)
        if request is not None:
            transfer = request.transfer
            if offset != transfer.received_bytes:
                raise ValueError(f"DATA at {offset}, where {transfer.received_bytes} comes next")
            if size > min(transfer.left, len(transfer.buffer())):
                raise ValueError("DATA beyond the end of a piece, or of the object")
            request.piece = offset // PIECE
        self._earn(size // CREDIT_BYTES)
        self._current, self._missing = request, size

    def _take(self, data: memoryview) -> None:
        self._missing -= len(data)
        request = self._current
        if request is None:
            return
        self._trickle += len(data)
        if self._trickle >= TRICKLE:
            self._trickle = 0
            self._fed = self._heard
        self._parents.count(len(data))
        try:
            request.transfer.put(data)
        except ManifestContradiction as error:  # the parent is innocent
            request.fail(error)
            self._forget(request)
        except VerificationFailed:
            raise
        except Exception as error:  # the disk is full
            request.fail(error)
            self._forget(request)
        else:
            if request.transfer.is_complete:
                request.whole_since = self._heard

    def _end(self, id: int) -> None:
        request = self._known(id)
        if request is None:
            return
        if not request.transfer.is_complete:
            raise ValueError("END before the object's end")
        self._fed = self._heard
        del self._requests[id]
        if not request.done.done():
            request.done.set_result(None)

    def _refused(self, head: frames.Head, payload: memoryview) -> None:
        request = self._known(head.id)
        if request is None:
            return
        del self._requests[head.id]
        reason = frames.REASONS.get(payload[0], str(payload[0]))
        path = request.transfer.item.entry.path
        self._parents.on_blame(self._parent.row.peer, "refused", None)
        request.fail(ParentLost(f"{self._parent}: refuses {path}: {reason}", "refused"))

    def _forget(self, request: Request) -> None:
        for id, other in list(self._requests.items()):
            if other is request:
                del self._requests[id]
                self._write(frames.bare(frames.CANCEL, id))
        self._current = None

    # --- judging ---

    def tick(self, now: float, *, forgive: bool) -> None:
        """Look whether the parent does what it should."""
        self._earn(CREDIT_TICK)
        if self._waking is not None and not self.is_closed and now - self._heard > PATIENT_SECONDS:
            self._waking.at(1)
        if forgive:
            self._heard = self._fed = self._complained = now
            self._slow_since = self._due = self._waits_since = None
            for request in self._requests.values():
                request.transfer.heard = now
                request.whole_since = None if request.whole_since is None else now
            return
        if not self._requests:
            self._due = self._waits_since = None
            if now - self._used > IDLE_SECONDS:
                self.lose("idle", None)
            return
        if now - self._heard > SILENT_SECONDS:
            self.lose(f"silent for {SILENT_SECONDS} s", "dead")
        elif self._is_stalled(now):
            self.lose("stalled", "stalled")
        elif any(now - (each.whole_since or now) > SILENT_SECONDS for each in self._requests.values()):
            self.lose("withholds an END", "stalled")
        else:
            self._judge_starvation(now)
            self._judge_speed(now)

    def _is_stalled(self, now: float) -> bool:
        seconds = now - self._fed
        if seconds <= SILENT_SECONDS:
            return False
        return self._says_more() or seconds > STALLED_SECONDS + self._parents.fill_seconds

    def _says_more(self) -> bool:
        """Does the last heartbeat say that there are bytes for this host? No backlog and more held is a lie."""
        held = self._beat.held
        more = (held.get(id, 0) > each.transfer.received_bytes for id, each in self._requests.items())
        return self._beat.backlog > 0 or any(more)

    def _claimed(self) -> int:
        """Bytes that the parent says it has for this host, and that have not come."""
        held = self._beat.held
        more = (held.get(id, 0) - each.transfer.received_bytes for id, each in self._requests.items())
        return max(self._beat.backlog, sum(bytes for bytes in more if bytes > 0))

    def _judge_starvation(self, now: float) -> None:
        """Say of the one object that comes next, and not of what was asked far ahead, that it does not come."""
        due = next(
            ((id, each) for id, each in self._requests.items() if self._parents.is_due(each.transfer.item)), None
        )
        if due is None:
            self._due = self._waits_since = None
            return
        id, request = due
        if self._due is not request:
            self._due, self._due_since = request, now
        if self._waits_since is None:
            self._waits_since = now
        item = request.transfer.item
        patience = STARVED_SECONDS + self._parents.fill_seconds
        is_dry = now - max(request.transfer.heard, self._due_since) >= patience
        is_lean = now - self._waits_since >= STARVED_SECONDS and self._parents.is_lean
        if not (is_dry or is_lean) or now - self._complained < COMPLAIN_SECONDS:
            return
        if is_lean and self._claimed() >= SLOW_BACKLOG:
            self._complained = now
            self._parents.on_blame(self._parent.row.peer, "slow", None)
        elif is_lean or self._beat.held.get(id, 0) <= item.checked:
            self._complained = now
            self._parents.on_blame(self._parent.row.peer, "starved", item.entry.sha256)

    def _judge_speed(self, now: float) -> None:
        beat, ingress = self._beat, self._parents.meter.rate
        if ingress == 0:
            self._parents.be_quiet()
        is_slow = (
            beat.backlog >= SLOW_BACKLOG
            and 0 < beat.egress < SLOW_EGRESS * beat.ingress
            and ingress < SLOW_INGRESS * beat.ingress
        )
        if not is_slow or now < self._parents.quiet_until:
            self._slow_since = None
        elif self._slow_since is None:
            self._slow_since = now
        elif now - self._slow_since >= SLOW_SECONDS:
            self._slow_since = None
            self._parents.be_quiet()
            self._parents.on_blame(self._parent.row.peer, "slow", None)
