"""HTTP/1.1 client connections: h11 reads the heads, and a body of known length goes straight where it belongs.

The body of a package never passes through Python objects: the socket writes into the buffer its `Sink` offers, so a
byte costs one copy from the kernel and its hash.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional, Union
from urllib.parse import urlsplit

import h11

from avalanche.agent.deadline import within
from avalanche.agent.waking import Waking
from avalanche.errors import ProtocolError, SourceUnavailable, TransferTimeout

CONNECT_SECONDS = 5.0
STALL_SECONDS = 10.0
"""After so many seconds without a byte a connection is given up: its frontend is stopped, not slow."""
HEAD_BYTES = 4096
"""One read while a head is awaited; small, because what follows the head in it is copied once more."""
BODY_BYTES = 32768
"""So many bytes of a body, if so many are missing, are read at once..."""
PATIENT_SECONDS = 0.1
"""...or fewer, when no more have come for the time that ends a connection and for this time."""
IDLE_CONNECTIONS = 16
"""Kept open per address between exchanges."""


@dataclass(frozen=True)
class Address:
    """Where a frontend listens, as its stub document names it.

    >>> Address.parse("http://10.1.1.1").port
    80
    """

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read ``http://HOST[:PORT]`` or ``https://HOST[:PORT]``.

        Raises:
            ProtocolError: it is neither.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        except (ValueError, KeyError):
            raise ProtocolError(f"{url!r} is not an http or https address") from None
        if not parts.hostname:
            raise ProtocolError(f"{url!r} names no host")
        return cls(parts.scheme, parts.hostname, port)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}"

    @property
    def netloc(self) -> str:
        """The value of a Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"http": 80, "https": 443}[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True)
class Request:
    """What is asked: ``target`` is the path with its query, percent-encoded."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Head:
    """Status line and headers of an answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]

    @property
    def length(self) -> Optional[int]:
        """Bytes of the body, or None when the head does not say."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isdigit() else None

    @property
    def retry_after(self) -> Optional[float]:
        """Seconds the other side asks us to wait, or None."""
        text = self.headers.get("retry-after", "")
        return float(text) if text.isdigit() else None


class Sink:
    """Where the bytes of a body go."""

    def buffer(self) -> memoryview:
        """Room for the next bytes; never empty."""
        raise NotImplementedError

    def received(self, count: int) -> None:
        """``count`` bytes were put at the start of the last `buffer`. What it raises ends the exchange."""
        raise NotImplementedError


class Collector(Sink):
    """Keeps a small body in memory."""

    def __init__(self, limit: int) -> None:
        self.data = bytearray()
        self._limit = limit
        self._room = memoryview(bytearray(65536))

    def buffer(self) -> memoryview:
        return self._room

    def received(self, count: int) -> None:
        if len(self.data) + count > self._limit:
            raise ProtocolError(f"the answer is larger than the {self._limit} bytes it may have")
        self.data += self._room[:count]


class Connection(asyncio.BufferedProtocol):
    """One connection to a frontend; one exchange at a time: `begin`, then `receive`."""

    def __init__(self, address: Address, *, stall: float) -> None:
        self.address = address
        self.is_fresh = True
        """Has no exchange ended on it yet? A kept connection may have been closed by the other side meanwhile."""
        self.is_idle = True
        """May the next exchange begin?"""
        self._stall = stall
        self._loop = asyncio.get_running_loop()
        self._transport: Optional[asyncio.Transport] = None
        self._waking: Optional[Waking] = None
        self._room = memoryview(bytearray(HEAD_BYTES))
        self._parser = h11.Connection(h11.CLIENT)
        self._head: Optional[Head] = None
        self._keep = False
        self._sink: Optional[Sink] = None
        self._remaining: Optional[int] = None
        self._waiter: Optional[asyncio.Future[None]] = None
        self._heard = 0.0
        self._alarm: Optional[asyncio.TimerHandle] = None

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "idle" if self.is_idle else "busy"
        return f"<Connection {self.address} {state}>"

    @property
    def is_closed(self) -> bool:
        """Can nothing be asked here any more?"""
        return self._transport is None or self._transport.is_closing()

    @property
    def has_heard(self) -> bool:
        """Has a head arrived in this exchange?"""
        return self._head is not None

    def close(self) -> None:
        """Give the connection up at once."""
        self._quiet()
        if self._transport is not None:
            self._transport.abort()

    async def begin(self, request: Request) -> Head:
        """Send a request and return the head of its answer; the body waits until `receive`.

        Raises:
            SourceUnavailable: the connection broke.
            TransferTimeout: nothing came for too long.
            ProtocolError: the other side does not speak HTTP/1.1.
        """
        assert self.is_idle and self._transport is not None
        self.is_idle = False
        self._parser = h11.Connection(h11.CLIENT)
        self._head = None
        headers = [("Host", self.address.netloc), ("Content-Length", str(len(request.body))), *request.headers.items()]
        data = [self._parser.send(h11.Request(method=request.method, target=request.target, headers=headers))]
        if request.body:
            data.append(self._parser.send(h11.Data(data=request.body)))
        data.append(self._parser.send(h11.EndOfMessage()))
        self._transport.write(b"".join(part for part in data if part))
        await self._outcome()
        assert self._head is not None
        return self._head

    async def receive(self, sink: Sink) -> None:
        """Let ``sink`` have the body, whole.

        Raises:
            SourceUnavailable, TransferTimeout, ProtocolError: as `begin`; ``sink`` has what came until then.
            Exception: what ``sink`` raised.
        """
        assert self._head is not None
        status = self._head.status
        length = 0 if status in (204, 304) else self._head.length
        if "transfer-encoding" in self._head.headers:
            length = None
        self._sink = sink
        waiting = self._outcome()
        try:
            if length is None:
                self._read_events()
            else:
                self._remaining = length
                self._take_early(self._parser.trailing_data[0])
        except Exception as error:
            self._fail(error)
        else:
            if self._waiter is not None:
                self._go_on()
        try:
            await waiting
        finally:
            self._sink = None
            self._remaining = None

    def _go_on(self) -> None:
        if self._transport is None:
            self._fail(self._broken(None))
        else:
            self._wait_for_body()
            self._transport.resume_reading()

    def _broken(self, reason: Optional[Exception]) -> SourceUnavailable:
        missing = "" if self._remaining is None else f", {self._remaining} bytes before the end"
        because = "" if reason is None else f": {reason}"
        return SourceUnavailable(f"{self.address}: the connection broke off{missing}{because}")

    # --- what the transport calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if transport.get_extra_info("sslcontext") is None:
            self._waking = Waking(transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._remaining is None or self._sink is None:
            return self._room
        room = self._sink.buffer()
        return room[: self._remaining] if len(room) > self._remaining else room

    def buffer_updated(self, nbytes: int) -> None:
        self._heard = self._loop.time()
        try:
            if self.is_idle:
                raise ProtocolError(f"{self.address}: sent bytes nobody asked for")
            if self._remaining is not None and self._sink is not None:
                self._remaining -= nbytes
                self._sink.received(nbytes)
                if self._remaining == 0:
                    self._end()
                else:
                    self._wait_for_body()
                return
            self._parser.receive_data(bytes(self._room[:nbytes]))
            # TLS hands on what it had decrypted before reading was paused: h11 keeps that until `receive`.
            if self._head is None or self._sink is not None:
                self._read_events()
        except Exception as error:
            self._fail(error)

    def _wait_for_body(self) -> None:
        """Let some of the body come before it is read, but not more than can be verified, or than there is."""
        if self._waking is not None and self._remaining and self._sink is not None and not self.is_closed:
            self._waking.at(min(self._remaining, len(self._sink.buffer()), BODY_BYTES))

    def eof_received(self) -> None:
        # The answer may have ended just now, before whoever waits for it could let go of the sink.
        if self._waiter is not None and self._sink is not None and self._remaining is None:
            try:
                self._parser.receive_data(b"")
                self._read_events()
            except Exception as error:
                self._fail(error)

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._fail(self._broken(exc))
        self._transport = None

    # --- reading ---

    def _read_events(self) -> None:
        """Go on with h11 until it needs more bytes, a head is complete, or the answer ends."""
        while True:
            try:
                event = self._parser.next_event()
            except h11.RemoteProtocolError as error:
                raise ProtocolError(f"{self.address}: not HTTP: {error}") from error
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return
            if isinstance(event, h11.Response):
                self._take_head(event)
                return
            if isinstance(event, h11.Data):
                self._take_early(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self._end()
                return
            elif isinstance(event, h11.ConnectionClosed):
                raise SourceUnavailable(f"{self.address}: the connection was closed")

    def _take_head(self, event: h11.Response) -> None:
        assert self._transport is not None
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
        self._head = Head(event.status_code, headers)
        self._keep = event.http_version == b"1.1" and "close" not in headers.get("connection", "").lower()
        self._transport.pause_reading()
        self._answer()

    def _take_early(self, data: Union[bytes, bytearray]) -> None:
        """Hand on body bytes that came through h11, and notice the end when the length is known."""
        assert self._sink is not None
        view = memoryview(data)
        if self._remaining is not None:
            if len(view) > self._remaining:
                raise ProtocolError(f"{self.address}: sent more than the length it announced")
            self._remaining -= len(view)
        while view:
            room = self._sink.buffer()
            count = min(len(room), len(view))
            room[:count] = view[:count]
            self._sink.received(count)
            view = view[count:]
        if self._remaining == 0:
            self._end()

    def _end(self) -> None:
        self.is_fresh = False
        self.is_idle = self._keep
        self._remaining = None
        if self._waking is not None and not self.is_closed:
            self._waking.at(1)
        self._answer()
        if self._transport is None:
            return
        if self._keep:
            self._transport.resume_reading()
        else:
            self._transport.abort()

    # --- waiting ---

    def _outcome(self) -> asyncio.Future[None]:
        self._waiter = self._loop.create_future()
        self._heard = self._loop.time()
        self._alarm = self._loop.call_later(self._stall, self._check_stall)
        return self._waiter

    def _check_stall(self) -> None:
        silent = self._loop.time() - self._heard
        if silent >= self._stall and self._waking is not None and self._waking.least > 1 and not self.is_closed:
            self._waking.at(1)
            self._alarm = self._loop.call_later(PATIENT_SECONDS, self._check_stall)
        elif silent >= self._stall:
            self._fail(TransferTimeout(f"{self.address}: no byte for {self._stall:g} s"))
        else:
            self._alarm = self._loop.call_later(self._stall - silent, self._check_stall)

    def _quiet(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _answer(self) -> None:
        self._quiet()
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _fail(self, error: Exception) -> None:
        self._quiet()
        self.is_idle = False
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)
        if self._transport is not None:
            self._transport.abort()


class Pool:
    """Connections to frontends, kept between exchanges.

    Args:
        idle: so many are kept per address.
    """

    def __init__(
        self, *, tls: Optional[ssl.SSLContext] = None, stall: float = STALL_SECONDS, idle: int = IDLE_CONNECTIONS
    ) -> None:
        self._tls = tls
        self._stall = stall
        self._most_idle = idle
        self._idle: dict[Address, list[Connection]] = {}

    def __repr__(self) -> str:
        idle = [connection for kept in self._idle.values() for connection in kept if not connection.is_closed]
        return f"<Pool {len(idle)} idle>"

    async def begin(self, address: Address, request: Request) -> tuple[Connection, Head]:
        """Send a request over a kept connection or a new one. The caller gives the connection back.

        Raises:
            SourceUnavailable: the frontend cannot be reached, or broke the connection.
            TransferTimeout: it does not answer.
            ProtocolError: it does not speak HTTP/1.1, or its certificate is not the pinned CA's.
        """
        while True:
            connection = self._kept(address) or await self._connect(address)
            try:
                return connection, await connection.begin(request)
            except BaseException as error:
                is_stale = not connection.is_fresh and not connection.has_heard
                connection.close()
                if not (is_stale and isinstance(error, SourceUnavailable)):
                    raise

    def give_back(self, connection: Connection) -> None:
        """End the use of a connection; one that is not idle is closed."""
        idle = self._idle.setdefault(connection.address, [])
        if connection.is_idle and not connection.is_closed and len(idle) < self._most_idle:
            idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close every kept connection."""
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()

    def _kept(self, address: Address) -> Optional[Connection]:
        idle = self._idle.get(address, [])
        while idle:
            connection = idle.pop()
            if not connection.is_closed and connection.is_idle:
                return connection
        return None

    async def _connect(self, address: Address) -> Connection:
        options: dict[str, Any] = {}
        if address.scheme == "https":
            # As bytes: to encode a text, the library imports tables of half a megabyte.
            name = address.host.encode("ascii")
            options = {"ssl": self._tls, "server_hostname": name, "ssl_handshake_timeout": CONNECT_SECONDS}
        loop = asyncio.get_running_loop()
        try:
            _, connection = await within(
                2 * CONNECT_SECONDS,
                loop.create_connection(
                    lambda: Connection(address, stall=self._stall), address.host, address.port, **options
                ),
            )
        except ssl.SSLCertVerificationError as error:
            raise ProtocolError(f"{address}: its certificate is not trusted: {error.verify_message}") from error
        except asyncio.TimeoutError as error:
            raise TransferTimeout(f"{address}: does not answer") from error
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise SourceUnavailable(f"{address}: cannot be reached: {reason}") from error
        return connection
