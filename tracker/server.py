"""A listening tracker: bounded connections, and none that takes its time over a request's head."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import cast

from aiohttp import web
from aiohttp.typedefs import Handler

from tracker.app import Tracker

HEAD_SECONDS = 10.0
"""How long a connection may be without a complete request head after it was opened, or after the last answer and a
first byte.
"""
CLOSING_SECONDS = 0.05
"""How often a connection whose client sends no more is looked at."""
IDLE_SECONDS = 75.0
"""How long a connection is kept for the next request."""
SHUTDOWN_SECONDS = 2.0
"""How long answers under way may take when the tracker ends."""
PER_ADDRESS = 64
"""Connections of one address."""
BACKLOG = 4096


class Gate:
    """Counts connections, and closes what is too many or too slow."""

    def __init__(self, connections: int, *, per_address: int = PER_ADDRESS, head_seconds: float = HEAD_SECONDS) -> None:
        self._connections = connections
        self._per_address = per_address
        self._head_seconds = head_seconds
        self._open: dict[asyncio.BaseTransport, _Guarded] = {}
        self._addresses: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<Gate {len(self._open)} of {self._connections} connections>"

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Tell the connection when its request's head is complete, and when it is answered."""
        guarded = None if request.transport is None else self._open.get(request.transport)
        if guarded is None:
            return await handler(request)
        guarded.begin(request)
        try:
            return await handler(request)
        finally:
            guarded.end()

    def guard(self, inner: asyncio.Protocol) -> asyncio.Protocol:
        """Wrap the protocol of a new connection."""
        return _Guarded(self, inner, self._head_seconds)

    def admit(self, transport: asyncio.BaseTransport, guarded: _Guarded) -> bool:
        """Whether one more connection from there is let in."""
        address = _address_of(transport)
        if len(self._open) >= self._connections or self._addresses[address] >= self._per_address:
            return False
        self._open[transport] = guarded
        self._addresses[address] += 1
        return True

    def release(self, transport: asyncio.BaseTransport) -> None:
        """The connection is gone."""
        if self._open.pop(transport, None) is not None:
            address = _address_of(transport)
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]


class _Guarded(asyncio.Protocol):
    """Passes everything on, and aborts when no complete request head comes in time."""

    def __init__(self, gate: Gate, inner: asyncio.Protocol, seconds: float) -> None:
        self._gate = gate
        self._inner = inner
        self._seconds = seconds
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._request: web.Request | None = None
        self._given_up: float | None = None
        self._admitted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._admitted = self._gate.admit(transport, self)
        if not self._admitted:
            self._transport.abort()
            return
        self._inner.connection_made(transport)
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        if self._admitted:
            assert self._transport is not None
            self._gate.release(self._transport)
            self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._admitted:
            return
        if self._timer is None:
            self._start_clock()
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        if not self._admitted:
            return None
        # Who sends no more may still read its answer; then the connection is of no use.
        self._stop_clock()
        self._given_up = asyncio.get_running_loop().time() + self._seconds
        self._end_when_idle()
        return True

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def begin(self, request: web.Request) -> None:
        """A head is complete."""
        self._request = request
        if self._given_up is None:
            self._stop_clock()

    def end(self) -> None:
        """Its answer is ready."""
        self._request = None

    def _end_when_idle(self) -> None:
        loop = asyncio.get_running_loop()
        assert self._transport is not None
        assert self._given_up is not None
        is_answering = self._request is not None and self._request.content.is_eof()
        if self._timer is not None and (not is_answering or loop.time() > self._given_up):
            self._transport.close()
            return
        # The first look comes a moment after the end was seen: the request before it may not have been begun yet.
        self._timer = loop.call_later(CLOSING_SECONDS, self._end_when_idle)

    def _stop_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start_clock(self) -> None:
        assert self._transport is not None
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._transport.abort)


@contextlib.asynccontextmanager
async def serving(tracker: Tracker, address: str, port: int, *, gate: Gate) -> AsyncIterator[int]:
    """Listen while the context is open; yields the port."""
    application = web.Application(middlewares=[gate.middleware])
    application.add_routes(tracker.routes())
    runner = web.AppRunner(
        application, access_log=None, keepalive_timeout=IDLE_SECONDS, shutdown_timeout=SHUTDOWN_SECONDS
    )
    await runner.setup()
    inner = runner.server
    assert inner is not None
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: gate.guard(inner()), address, port, backlog=BACKLOG, reuse_address=True)
    ticking = asyncio.create_task(tracker.run())
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)
        await runner.cleanup()
        await server.wait_closed()


def _address_of(transport: asyncio.BaseTransport) -> str:
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if peer else ""
