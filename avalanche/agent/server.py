"""HTTP/1.1 server connections for one local client: h11 reads requests, answers go out one after the other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Callable, Optional, Union, cast

import h11

from avalanche.agent.deadline import within
from avalanche.errors import ConfigError

EARLY_BYTES = 65536
"""Bytes of further requests that are taken in while an answer is sent; then the client waits."""
SPAN = 65536
"""A client of a server with `Limits.stall_seconds` must take so many bytes in that time."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What a server grants its clients.

    Attributes:
        connections, per_address: clients at once, in all and from one address; dnf has three.
        head_bytes: the longest head of a request.
        head_seconds: how long a client may take over a head; None: for ever.
        stall_seconds: how long it may take nothing of an answer; None: for ever.
        is_silent: is a request that is not HTTP left without an answer?
    """

    connections: int = 64
    per_address: int = 64
    head_bytes: int = 16384
    head_seconds: Optional[float] = None
    stall_seconds: Optional[float] = None
    is_silent: bool = False


@dataclass(frozen=True)
class Query:
    """A request as it came; header names are in lower case, ``address`` is the client's. No handler needs a body."""

    method: str
    target: str
    headers: Mapping[str, str]
    address: str = ""


class ClientGone(Exception):
    """The client closed the connection, or the answer must not be completed."""


Handler = Callable[[Query, "Exchange"], Awaitable[None]]


class Exchange:
    """The answer to one query. `head` once, then `send_file` until it is complete, or `text` for everything at once."""

    def __init__(self, connection: ServerConnection, query: Query) -> None:
        self._connection = connection
        self._query = query
        self.has_begun = False

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """Send status and headers; ``Content-Length`` is among them."""
        self.has_begun = True
        self._connection.send_head(status, headers)

    async def send_file(self, file: BinaryIO, start: int, end: int) -> None:
        """Send the bytes from ``start`` to ``end`` of a file, without copying them.

        Raises:
            ClientGone: nobody listens any more.
        """
        await self._connection.send_file(file, start, end)

    def switch(self, headers: Mapping[str, str], protocol: asyncio.Protocol) -> None:
        """Answer 101 and let ``protocol`` have the connection: it is connected, and gets what the client sent early."""
        self.has_begun = True
        self._connection.switch(headers, protocol)

    async def text(self, status: int, line: str, headers: Optional[Mapping[str, str]] = None) -> None:
        """Answer with one line of text."""
        body = (" ".join(line.split()) + "\n").encode("utf-8", "replace")
        self.whole(status, body, {"Content-Type": "text/plain; charset=utf-8", **(headers or {})})

    def whole(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """Answer with a small body."""
        self.head(status, {**headers, "Content-Length": str(len(body))})
        if self._query.method != "HEAD":
            self._connection.send_bytes(body)


class ServerConnection(asyncio.Protocol):
    """One client. A task of its own answers its requests in the order they came."""

    def __init__(self, handler: Handler, connections: dict[ServerConnection, str], limits: Limits) -> None:
        self._handler = handler
        self._connections = connections
        self._limits = limits
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head_bytes)
        self._clock: Optional[asyncio.TimerHandle] = None
        self._heir: Optional[asyncio.Protocol] = None
        self._transport: Optional[asyncio.Transport] = None
        self._task: Optional[asyncio.Task[None]] = None
        self._news = asyncio.Event()
        self._early = 0
        self._address = ""

    def __repr__(self) -> str:
        return f"<ServerConnection {self._parser.our_state} {self._parser.their_state}>"

    def close(self) -> None:
        """Drop the client."""
        if self._transport is not None:
            self._transport.abort()

    # --- what the transport calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if peer else ""
        here = sum(other == self._address for other in self._connections.values())
        if len(self._connections) >= self._limits.connections or here >= self._limits.per_address:
            transport.abort()
            return
        self._connections[self] = self._address
        self._start_clock()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def data_received(self, data: bytes) -> None:
        if self._heir is not None:
            self._heir.data_received(data)
            return
        self._early += len(data)
        if self._early > EARLY_BYTES and self._transport is not None:
            self._transport.pause_reading()
        self._feed(data)

    def eof_received(self) -> bool:
        """A client may close its half after the request; it still gets the answer."""
        if self._heir is not None:
            return False
        self._feed(b"")
        return True

    def pause_writing(self) -> None:
        if self._heir is not None:
            self._heir.pause_writing()

    def resume_writing(self) -> None:
        if self._heir is not None:
            self._heir.resume_writing()

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._connections.pop(self, None)
        self._transport = None
        self._stop_clock()
        if self._heir is not None:
            self._heir.connection_lost(exc)
        if self._task is not None:
            self._task.cancel()

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.receive_data(data)
        except (h11.RemoteProtocolError, RuntimeError):  # bytes after the client's own end
            self.close()
        self._news.set()

    # --- requests and answers ---

    async def _run(self) -> None:
        try:
            while True:
                query = await self._read()
                if query is None:
                    break
                self._stop_clock()
                exchange = Exchange(self, query)
                await self._handler(query, exchange)
                if self._heir is not None:
                    return
                self._transmit(h11.EndOfMessage())
                if self._parser.our_state is not h11.DONE or self._parser.their_state is not h11.DONE:
                    break
                self._parser.start_next_cycle()
                self._start_clock()
        except ClientGone as gone:
            log.debug("client gone reason=%s", gone)
            self.close()
        except h11.RemoteProtocolError as error:
            await self._refuse(error)
        finally:
            if self._transport is not None and self._heir is None:
                self._transport.close()

    def _start_clock(self) -> None:
        if self._limits.head_seconds is not None:
            self._clock = asyncio.get_running_loop().call_later(self._limits.head_seconds, self.close)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    async def _read(self) -> Optional[Query]:
        """The next request, or None when the client has no more."""
        query: Optional[Query] = None
        while True:
            event = self._parser.next_event()
            if event is h11.NEED_DATA:
                await self._wait()
            elif isinstance(event, h11.Request):
                query = _query(event, self._address)
            elif isinstance(event, h11.EndOfMessage):
                return query
            elif event is h11.PAUSED:
                return query  # a request to switch protocols, complete
            elif not isinstance(event, h11.Data):
                return None

    async def _wait(self) -> None:
        self._early = 0
        if self._transport is not None:
            self._transport.resume_reading()
        self._news.clear()
        await self._news.wait()

    async def _refuse(self, error: h11.RemoteProtocolError) -> None:
        if self._limits.is_silent:
            self.close()
        elif self._parser.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            status = error.error_status_hint
            await Exchange(self, Query("GET", "/", {})).text(status, f"not HTTP/1.1: {error}", {"Connection": "close"})
            self._transmit(h11.EndOfMessage())

    # --- what an exchange sends ---

    def send_head(self, status: int, headers: Mapping[str, str]) -> None:
        """Status line and headers."""
        self._transmit(h11.Response(status_code=status, headers=list(headers.items())))

    def send_bytes(self, data: bytes) -> None:
        """A small body."""
        self._transmit(h11.Data(data=data))

    async def send_file(self, file: BinaryIO, start: int, end: int) -> None:
        """Part of a body, from a file. h11 counts the bytes, the kernel moves them."""
        self._parser.send_with_data_passthrough(h11.Data(data=cast(bytes, range(end - start))))
        if self._transport is None:
            raise ClientGone("closed its connection")
        try:
            sent = await self._send_span(file, start, end)
        except asyncio.TimeoutError as error:
            raise ClientGone("takes nothing") from error
        except (OSError, RuntimeError) as error:  # RuntimeError: the transport is closing
            raise ClientGone(f"closed its connection: {error}") from error
        if sent != end - start:
            raise ClientGone(f"the file has {sent} bytes where {end - start} were promised")

    async def _send_span(self, file: BinaryIO, start: int, end: int) -> int:
        loop, stall, transport = asyncio.get_running_loop(), self._limits.stall_seconds, self._transport
        assert transport is not None
        if stall is None:
            return int(await loop.sendfile(transport, file, start, end - start))
        sent = 0
        while start + sent < end:
            count = min(SPAN, end - start - sent)
            part = await within(stall, loop.sendfile(transport, file, start + sent, count))
            sent += int(part)
            if part != count:
                break
        return sent

    def switch(self, headers: Mapping[str, str], protocol: asyncio.Protocol) -> None:
        """Send 101 and hand the connection over."""
        self._transmit(h11.InformationalResponse(status_code=101, headers=list(headers.items())))
        early, _ = self._parser.trailing_data
        self._heir = protocol
        assert self._transport is not None
        protocol.connection_made(self._transport)
        self._transport.resume_reading()
        if early:
            protocol.data_received(bytes(early))

    def _transmit(self, event: Union[h11.InformationalResponse, h11.Response, h11.Data, h11.EndOfMessage]) -> None:
        data = self._parser.send(event)
        if self._transport is None:
            raise ClientGone("closed its connection")
        if data:
            self._transport.write(data)


def _query(event: h11.Request, address: str) -> Query:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
    return Query(event.method.decode("ascii"), event.target.decode("latin-1"), headers, address)


class Server:
    """Listens at one address, until closed."""

    def __init__(self, handler: Handler, limits: Optional[Limits] = None) -> None:
        self._handler = handler
        self._limits = limits or Limits()
        self._connections: dict[ServerConnection, str] = {}
        self._listener: Optional[asyncio.base_events.Server] = None
        self._shared: Optional[socket.socket] = None

    def __repr__(self) -> str:
        return f"<Server {len(self._connections)} connections>"

    async def listen(self, port: int, address: str = "127.0.0.1", *, shared: Optional[socket.socket] = None) -> int:
        """Accept clients on ``address:port``, or on a free port when that is 0, and return the port.

        Args:
            shared: listen on this socket, of which another process has a copy; bound if it is not yet.

        Raises:
            ConfigError: the port is taken, or the address is not this host's.
        """
        loop = asyncio.get_running_loop()

        def accept() -> ServerConnection:
            return ServerConnection(self._handler, self._connections, self._limits)

        try:
            if shared is None:
                self._listener = await loop.create_server(accept, address, port)
            else:
                if not shared.getsockname()[1]:
                    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    shared.bind((address, port))
                self._shared = shared
                self._listener = await loop.create_server(accept, sock=shared)
        except OSError as error:
            raise ConfigError(f"{address}:{port}: cannot listen: {error.strerror}") from error
        return int(self._listener.sockets[0].getsockname()[1])

    def stop_listening(self) -> None:
        """Let nobody new in."""
        if self._shared is not None:
            # The other process has the socket open: closing ours would leave it listening.
            with contextlib.suppress(OSError):
                self._shared.shutdown(socket.SHUT_RDWR)
            self._shared = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def close(self) -> None:
        """Stop listening and drop every client."""
        self.stop_listening()
        for connection in list(self._connections):
            connection.close()
