"""HTTP/1.1 server connections for one local client: h11 reads requests, answers go out one after the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Callable, Optional, Union, cast

import h11

from avalanche.errors import ConfigError

EARLY_BYTES = 65536
"""Bytes of further requests that are taken in while an answer is sent; then the client waits."""
CONNECTIONS = 64
"""At most so many clients at once; dnf has three."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Query:
    """A request as it came; header names are in lower case. No handler needs a body."""

    method: str
    target: str
    headers: Mapping[str, str]


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

    async def text(self, status: int, line: str, headers: Optional[Mapping[str, str]] = None) -> None:
        """Answer with one line of text."""
        body = (" ".join(line.split()) + "\n").encode("utf-8", "replace")
        fields = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body)), **(headers or {})}
        self.head(status, fields)
        if self._query.method != "HEAD":
            self._connection.send_bytes(body)


class ServerConnection(asyncio.Protocol):
    """One client. A task of its own answers its requests in the order they came."""

    def __init__(self, handler: Handler, connections: set[ServerConnection]) -> None:
        self._handler = handler
        self._connections = connections
        self._parser = h11.Connection(h11.SERVER)
        self._transport: Optional[asyncio.Transport] = None
        self._task: Optional[asyncio.Task[None]] = None
        self._news = asyncio.Event()
        self._early = 0

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
        if len(self._connections) >= CONNECTIONS:
            transport.abort()
            return
        self._connections.add(self)
        self._task = asyncio.get_running_loop().create_task(self._run())

    def data_received(self, data: bytes) -> None:
        self._early += len(data)
        if self._early > EARLY_BYTES and self._transport is not None:
            self._transport.pause_reading()
        self._feed(data)

    def eof_received(self) -> bool:
        """A client may close its half after the request; it still gets the answer."""
        self._feed(b"")
        return True

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._connections.discard(self)
        self._transport = None
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
                exchange = Exchange(self, query)
                await self._handler(query, exchange)
                self._transmit(h11.EndOfMessage())
                if self._parser.our_state is not h11.DONE or self._parser.their_state is not h11.DONE:
                    break
                self._parser.start_next_cycle()
        except ClientGone as gone:
            log.debug("client gone reason=%s", gone)
            self.close()
        except h11.RemoteProtocolError as error:
            await self._refuse(error)
        finally:
            if self._transport is not None:
                self._transport.close()

    async def _read(self) -> Optional[Query]:
        """The next request, or None when the client has no more."""
        query: Optional[Query] = None
        while True:
            event = self._parser.next_event()
            if event is h11.NEED_DATA:
                await self._wait()
            elif isinstance(event, h11.Request):
                query = _query(event)
            elif isinstance(event, h11.EndOfMessage):
                return query
            elif not isinstance(event, h11.Data):
                return None

    async def _wait(self) -> None:
        self._early = 0
        if self._transport is not None:
            self._transport.resume_reading()
        self._news.clear()
        await self._news.wait()

    async def _refuse(self, error: h11.RemoteProtocolError) -> None:
        if self._parser.our_state in (h11.IDLE, h11.SEND_RESPONSE):
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
            sent = await asyncio.get_running_loop().sendfile(self._transport, file, start, end - start)
        except (OSError, RuntimeError) as error:  # RuntimeError: the transport is closing
            raise ClientGone(f"closed its connection: {error}") from error
        if sent != end - start:
            raise ClientGone(f"the file has {sent} bytes where {end - start} were promised")

    def _transmit(self, event: Union[h11.Response, h11.Data, h11.EndOfMessage]) -> None:
        data = self._parser.send(event)
        if self._transport is None:
            raise ClientGone("closed its connection")
        if data:
            self._transport.write(data)


def _query(event: h11.Request) -> Query:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
    return Query(event.method.decode("ascii"), event.target.decode("latin-1"), headers)


class Server:
    """Listens on the loopback address, until closed."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._connections: set[ServerConnection] = set()
        self._listener: Optional[asyncio.base_events.Server] = None

    def __repr__(self) -> str:
        return f"<Server {len(self._connections)} connections>"

    async def listen(self, port: int) -> int:
        """Accept clients on ``127.0.0.1:port``, or on a free port when that is 0, and return the port.

        Raises:
            ConfigError: the port is taken.
        """
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(
                lambda: ServerConnection(self._handler, self._connections), "127.0.0.1", port
            )
        except OSError as error:
            raise ConfigError(f"127.0.0.1:{port}: the package proxy cannot listen: {error.strerror}") from error
        return int(self._listener.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Stop listening and drop every client."""
        if self._listener is not None:
            self._listener.close()
        for connection in list(self._connections):
            connection.close()
