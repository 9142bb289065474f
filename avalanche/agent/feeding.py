"""Asking the frontend for pieces, and putting them into the swarm (docs/protocol.md, section 13.3)."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable, Sequence
from typing import Callable, NamedTuple, Optional

from avalanche.agent.client import Client
from avalanche.agent.connection import Address, Request, Sink
from avalanche.agent.deadline import within
from avalanche.agent.figures import Figures
from avalanche.agent.pool import Pool
from avalanche.errors import ProtocolError, SourceUnavailable, TransferError
from avalanche.pieces import MAXIMUM_GAPS, MAXIMUM_LINE, MAXIMUM_ROWS, TARGET, PieceAnswer, PieceRequest

REQUESTS = 3
"""Requests under way at once, so that the frontend's link is never idle between two of them."""
LOOK_SECONDS = 0.2
"""How often it is asked which pieces others have."""
LEAST_AHEAD = 1 << 20
AHEAD_SECONDS = 0.5
"""Bytes from the frontend that nobody else has yet, at most: what this host sends in so many seconds, and at least
`LEAST_AHEAD`. A host that does not pass on what it got gets no more.
"""
ONE_REQUEST = 2 << 20
CONFIRM_SECONDS = 0.5
STALL_SECONDS = 8.0
"""More than a frontend with bounded egress lets a request wait before it says that it is busy."""
REFUSALS = 3
"""So many times the frontend may say that it does not serve this torrent before it is believed."""

log = logging.getLogger(__name__)


class _Body(Sink):
    """The answer's line, then its pieces, of which only one at a time is not in libtorrent's hands yet."""

    def __init__(self, sizes: Callable[[int], int], on_piece: Callable[[int, bytes], None]) -> None:
        self.answer: Optional[PieceAnswer] = None
        self._sizes = sizes
        self._on_piece = on_piece
        self._room = memoryview(bytearray(65536))
        self._data = bytearray()
        self._next = 0

    @property
    def is_whole(self) -> bool:
        """Did every piece come that was announced?"""
        return self.answer is not None and self._next == len(self.answer.pieces) and not self._data

    def buffer(self) -> memoryview:
        return self._room

    def received(self, count: int) -> None:
        self._data += self._room[:count]
        if self.answer is None:
            end = self._data.find(b"\n")
            if end < 0:
                if len(self._data) > MAXIMUM_LINE:
                    raise ProtocolError("pieces: the answer's first line does not end")
                return
            self.answer = PieceAnswer.parse(bytes(self._data[:end]))
            del self._data[: end + 1]
        while self._next < len(self.answer.pieces):
            piece = self.answer.pieces[self._next]
            size = self._sizes(piece)
            if len(self._data) < size:
                return
            self._on_piece(piece, bytes(self._data[:size]))
            del self._data[:size]
            self._next += 1


class Appetite(NamedTuple):
    """What a host wants of the frontend now.

    Attributes:
        takes: anything?
        only: nothing but ``urgent``?
        urgent: pieces that go before others.
        wanted: all pieces that it lacks and has a place for.
    """

    takes: bool
    only: bool
    urgent: Sequence[int]
    wanted: Iterable[int]


class Feeding:
    """The conversation with the frontends that hand pieces out.

    Args:
        sizes: the bytes of every piece.
        appetite: what this host wants now.
        takes: has a piece a place here?
        on_leave: called with the reason when no frontend serves this torrent any more, or it says that this host should
            fetch in another way.
    """

    def __init__(
        self,
        client: Client,
        addresses: Sequence[Address],
        *,
        token: str,
        info_hash: str,
        manifest: str,
        sizes: Sequence[int],
        figures: Figures,
        appetite: Callable[[], Appetite],
        takes: Callable[[int], bool],
        on_leave: Callable[[str], None],
    ) -> None:
        self._client = client
        self._addresses = list(addresses)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._info_hash = info_hash
        self._manifest = manifest
        self._sizes = sizes
        self._largest = max(sizes, default=0)
        self._figures = figures
        self._appetite = appetite
        self._takes = takes
        self._on_leave = on_leave
        self.is_known = asyncio.Event()
        """Has the frontend named this host's peers, and this host to them?"""
        self._pool = Pool(stall=STALL_SECONDS)
        self._epoch: Optional[str] = None
        self._must_tell = False
        self._members = 0
        self._taken: dict[int, int] = {}
        """Pieces that came from the frontend and that nobody else is known to have."""
        self._came: set[int] = set()
        """Pieces that came from the frontend."""
        self._unconfirmed: set[int] = set()
        """Pieces that came and are not checked yet."""
        self._have: list[int] = []
        self._claimed = 0
        self._is_idle = False
        self._confirmed = asyncio.Event()
        self._refusals = 0
        self.answers = False
        """Did the frontend answer the last request?"""
        self._tasks: list[asyncio.Task[None]] = []

    def __repr__(self) -> str:
        return f"<Feeding {len(self._taken)} pieces nobody else has>"

    def start(self) -> None:
        """Begin to ask."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._look())]
        self._tasks += [loop.create_task(self._ask(number)) for number in range(REQUESTS)]

    async def close(self) -> None:
        """Ask no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._pool.close()

    @property
    def fault(self) -> Optional[str]:
        """Why it asks no more although nobody ended it; None: it goes on."""
        ended = [task.exception() for task in self._tasks if task.done() and not task.cancelled()]
        return f"{type(ended[0]).__name__}: {ended[0]}" if ended else None

    def checked(self, piece: int) -> None:
        """A piece is here, checked. What did not come from the frontend came from peers."""
        if piece not in self._came:
            self._figures.count_peer(self._sizes[piece])
        if piece in self._unconfirmed:
            self._unconfirmed.discard(piece)
            self._have.append(piece)
            if not self._unconfirmed:
                self._confirmed.set()

    async def _look(self) -> None:
        while True:
            self._client.look()
            await asyncio.sleep(LOOK_SECONDS)
            spread = self._client.availability
            if spread:
                for piece in [each for each in self._taken if each < len(spread) and spread[each]]:
                    del self._taken[piece]

    @property
    def _room(self) -> int:
        if not self._appetite().takes:
            return 0
        ahead = max(LEAST_AHEAD, int(AHEAD_SECONDS * self._client.egress))
        # Without peers there is nobody to pass anything on to.
        kept = sum(self._taken.values()) if any(self._client.availability) else 0
        return max(0, min(ahead - kept, ONE_REQUEST))

    async def _ask(self, number: int) -> None:
        """One of the requests that are always under way; the first one also says what there is to say when there is
        nothing to fetch.
        """
        tries = 0
        while True:
            room = max(0, self._room - self._claimed)
            if number and (room < self._largest or self._is_idle or self._epoch is None or self._must_tell):
                await asyncio.sleep(LOOK_SECONDS)
                continue
            try:
                wait = await self._exchange(room)
                tries, self.answers = 0, True
            except (TransferError, ProtocolError) as error:
                log.info("no pieces reason=%s", error)
                tries, self.answers = tries + 1, False
                self._addresses.append(self._addresses.pop(0))
                wait = min(0.2 * 2 ** min(tries - 1, 5), 2.0) * (0.5 + random.random())  # noqa: S311 - jitter
                if isinstance(error, SourceUnavailable) and error.retry_after is not None:
                    wait = max(wait, error.retry_after)
            await asyncio.sleep(wait)

    async def _exchange(self, room: int) -> float:
        """Ask once; return how long to wait before the next time."""
        appetite = self._appetite()
        have, self._have = self._have[:MAXIMUM_ROWS], self._have[MAXIMUM_ROWS:]
        request = PieceRequest(
            info_hash=self._info_hash,
            manifest=self._manifest,
            epoch=self._epoch,
            room=room,
            have=have,
            held=self._client.held if self._must_tell else None,
            missing=self._missing(appetite),
            urgent=appetite.urgent,
            only=appetite.only,
            members=self._members,
        )
        self._claimed += room
        try:
            answer = await self._post(self._addresses[0], request)
        except BaseException:
            self._have += have
            raise
        finally:
            self._claimed -= room
        return await self._obey(request, answer)

    async def _obey(self, request: PieceRequest, answer: PieceAnswer) -> float:
        if answer.epoch != self._epoch:
            self._epoch, self._members = answer.epoch, 0
        self._must_tell = answer.register
        if answer.leave is not None:
            self._on_leave(answer.leave)
        if not answer.register:
            if request.epoch == answer.epoch:
                self._members = max(self._members, request.members + len(answer.members))
            self._client.admit(answer.members)
            self.is_known.set()
        self._is_idle = answer.next > 0
        if answer.pieces and self._unconfirmed:
            self._confirmed.clear()
            # A piece that never is right is not confirmed: its lease runs out, and another one gets it.
            try:
                await within(CONFIRM_SECONDS, self._confirmed.wait())
            except asyncio.TimeoutError:
                self._unconfirmed.clear()
        return answer.next

    def _missing(self, appetite: Appetite) -> list[int]:
        """What nobody is known to have: what the installer waits for, and, when nothing else comes, everything."""
        spread = self._client.availability
        pieces = appetite.wanted if self._is_idle else appetite.urgent
        found: list[int] = []
        for piece in pieces:
            if piece not in self._client.held and not (piece < len(spread) and spread[piece]):
                found.append(piece)
                if len(found) == MAXIMUM_GAPS:
                    break
        return found

    async def _post(self, address: Address, request: PieceRequest) -> PieceAnswer:
        exchange = await self._pool.begin(address, Request("POST", TARGET, self._headers, request.to_bytes()))
        sink = _Body(self._size, self._arrived)
        try:
            if exchange.head.status != 200:
                reason = f"{address}{TARGET}: status {exchange.head.status}"
                if exchange.head.status in (403, 404):
                    self._refusals += 1
                    if self._refusals == REFUSALS:
                        self._on_leave(reason)
                raise SourceUnavailable(reason, retry_after=exchange.head.retry_after)
            await exchange.receive(sink)
        finally:
            self._pool.give_back(exchange)
        self._refusals = 0
        if sink.answer is None or not sink.is_whole:
            raise ProtocolError(f"{address}{TARGET}: the answer is cut off")
        return sink.answer

    def _size(self, piece: int) -> int:
        if piece >= len(self._sizes):
            raise ProtocolError(f"pieces: the torrent has no piece {piece}")
        return self._sizes[piece]

    def _arrived(self, piece: int, data: bytes) -> None:
        self._figures.count_frontend(len(data))
        if not self._takes(piece):
            return  # it was leased before the cache was full; another host gets it
        if piece in self._client.held:
            self._have.append(piece)
            return
        self._taken[piece] = len(data)
        self._came.add(piece)
        self._unconfirmed.add(piece)
        self._client.give(piece, data)
