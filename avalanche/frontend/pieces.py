"""``POST /install/pieces``: the pieces of a swarm, each to one host, through the gate (docs/protocol.md, section 13.3).

The frontend is no BitTorrent client: it hands pieces out over HTTP, and hosts put them into the swarm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiohttp import web

from avalanche.egress import Busy
from avalanche.errors import OrderRefused, ProtocolError
from avalanche.frontend.answers import client, line
from avalanche.frontend.gate import Gate, Passage
from avalanche.frontend.torrents import Served, Torrents
from avalanche.pieces import MAXIMUM_BODY, PieceAnswer, PieceRequest
from avalanche.tokens import SwarmToken, TokenRefused, verify_token

SPENT_SECONDS = 1.0
"""When everything was handed out, hosts come back after so long, to say what nobody has; later when there are many."""
SPENT_ANSWERS = 200.0
"""Such requests per second, about."""
BODY_SECONDS = 10.0
STALL_SECONDS = 60.0  # a host that takes no whole slice in this time is given up


class Pieces:
    """Hands out pieces, through the gate.

    Args:
        key: the swarm key.
        wall: seconds since 1970, for tokens.
        advise: why the host of an order should leave the swarm, or None.
        on_sent: called with every number of bytes of pieces that was sent.
    """

    def __init__(
        self,
        torrents: Torrents,
        gate: Gate,
        *,
        key: bytes,
        wall: Callable[[], float],
        advise: Callable[[str], str | None],
        on_sent: Callable[[int], None],
    ) -> None:
        self._torrents = torrents
        self._gate = gate
        self._key = key
        self._wall = wall
        self._advise = advise
        self._on_sent = on_sent

    def __repr__(self) -> str:
        return f"<Pieces {self._torrents!r} {self._gate!r}>"

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Answer a host that asks, confirms, or says what it misses."""
        token = self._check(request)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await request.read()
        except TimeoutError:
            raise ProtocolError(f"the body did not arrive within {BODY_SECONDS:.0f} s") from None
        if len(body) > MAXIMUM_BODY:
            raise ProtocolError(f"pieces: more than {MAXIMUM_BODY} bytes")
        asked = PieceRequest.parse(body)
        found = self._torrents.find(token.generation, asked.info_hash, asked.manifest)
        if found is None:
            return line(404, f"no torrent {asked.info_hash} of {token.generation} with that closure is served here")
        served, closure = found
        served.admit(token.address)
        return await self._answer(request, served, token.order, asked, closure)

    def _check(self, request: web.Request) -> SwarmToken:
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        try:
            if scheme.lower() != "bearer":
                raise TokenRefused("this address needs a swarm token: 'Authorization: Bearer TOKEN'")
            return verify_token(self._key, text.strip(), address=client(request), now=self._wall())
        except (TokenRefused, ValueError) as error:
            raise OrderRefused(str(error)) from error

    async def _answer(
        self, request: web.Request, served: Served, host: str, asked: PieceRequest, closure: tuple[str, ...]
    ) -> web.StreamResponse:
        now = asyncio.get_running_loop().time()
        handout = served.handout
        if asked.epoch == served.epoch and asked.held is not None:
            handout.join(host, asked.manifest, served.wants(closure), asked.held, now)
        if asked.epoch != served.epoch or not handout.knows(host):
            return _response(PieceAnswer(served.epoch, register=True).to_line())
        handout.confirm(host, asked.have, now)
        if asked.have:
            served.serve(now)
        pieces = await served.lease(host, asked, now)
        wait = 0.0
        if not pieces and handout.is_spent:
            wait = max(SPENT_SECONDS, handout.hosts / SPENT_ANSWERS)
        members = served.members[asked.members :]
        head = PieceAnswer(served.epoch, False, pieces, wait, members, self._advise(host)).to_line()
        if not pieces:
            return _response(head)
        left = list(pieces)
        handout.halt(host, left, asyncio.get_running_loop().time())
        try:
            async with self._gate.stream(client(request)) as passage:
                data = await asyncio.to_thread(served.read, pieces)
                return await self._send(request, _Parcel(served, host, head, data, left), passage)
        except Busy as busy:
            text = f"{self._gate.caps.streams} answers at once are all this frontend admits; come back"
            return line(503, text, retry_after=busy.seconds)
        finally:
            served.take_back(host, left)

    async def _send(self, request: web.Request, parcel: _Parcel, passage: Passage) -> web.StreamResponse:
        response = web.StreamResponse(headers=_HEADERS)
        response.content_length = len(parcel.head) + sum(map(len, parcel.data))
        await response.prepare(request)
        try:
            head = parcel.head
            for part in parcel.data:
                for start in range(0, len(part), passage.slice):
                    await self._send_slice(response, parcel, head, part[start : start + passage.slice], passage)
                    head = b""
                parcel.left.pop(0)
        except (OSError, TimeoutError) as error:
            raise ConnectionResetError(str(error)) from error
        finally:
            # The head promised more than was sent: only an end of the connection tells the host.
            if parcel.left and request.transport is not None:
                request.transport.abort()
        await response.write_eof()
        return response

    async def _send_slice(
        self, response: web.StreamResponse, parcel: _Parcel, head: bytes, data: bytes, passage: Passage
    ) -> None:
        # Time at the gate is the frontend's, not the host's: no lease runs out by it.
        handout, loop = parcel.served.handout, asyncio.get_running_loop()
        handout.halt(parcel.host, parcel.left, loop.time())
        async with passage.sending(len(data)), asyncio.timeout(STALL_SECONDS):
            handout.go_on(parcel.host, parcel.left, loop.time())
            await response.write(head + data)
        self._on_sent(len(data))


@dataclass(frozen=True, slots=True)
class _Parcel:
    """One answer with pieces in it.

    Attributes:
        head: its line.
        data: the bytes of each piece.
        left: the pieces of which not every byte was sent, in the order of ``data``.
    """

    served: Served
    host: str
    head: bytes
    data: Sequence[bytes]
    left: list[int]


_HEADERS = {"Cache-Control": "no-store", "Content-Type": "application/octet-stream"}


def _response(body: bytes) -> web.Response:
    return web.Response(body=body, headers=_HEADERS)
