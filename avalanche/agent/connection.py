"""HTTP/1.1 client connections: h11 reads the heads, and a body of known length goes straight where it belongs.

The body of a package never passes through Python objects: the socket writes into the buffer its `Sink` offers, so a
byte costs one copy from the kernel and its hash.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional
from urllib.parse import urlsplit

import h11

from avalanche.agent.waking import Waking
from avalanche.errors import ProtocolError, SourceUnavailable, TransferTimeout

STALL_SECONDS = 10.0
"""After so many seconds without a byte a connection is given up: its frontend is stopped, not slow."""
HEAD_BYTES = 4096
"""One read while a head is awaited; small, because what follows the head in it is copied once more."""
BODY_BYTES = 32768
"""So many bytes of a body, if so many are missing, are read at once..."""
PATIENT_SECONDS = 0.1
"""...or fewer, when no more have come for the time that ends a connection and for this time."""


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


class Unheard(SourceUnavailable):
    """The connection broke before a byte of the answer: the request may be made again elsewhere, as if it never was.

    So ends what was asked of a kept connection that the other side has closed meanwhile, and what waited in line behind
    an answer that did not end.
    """


class Exchange:
    """One request and its answer: `Connection.begin`, then `receive`, then `end`, whatever came of it."""

    def __init__(self, connection: Connection) -> None:
        self.parser = h11.Connection(h11.CLIENT)
        self.waiter: Optional[asyncio.Future[None]] = None
        """Of whoever waits for the head, or for the end of the body."""
        self.sink: Optional[Sink] = None
        self.remaining: Optional[int] = None
        """Bytes of the body that are missing, when the head said how many there are and a sink takes them."""
        self.is_over = False
        """Is the answer here, whole?"""
        self.connection = connection
        self.keeps = False
        """May another answer follow on the same connection?"""
        self._head: Optional[Head] = None

    def __repr__(self) -> str:
        return f"<Exchange {'over' if self.is_over else 'under way'} {self._head}>"

    @property
    def has_head(self) -> bool:
        """Has the answer begun?"""
        return self._head is not None

    @property
    def head(self) -> Head:
        """Of the answer."""
        assert self._head is not None
        return self._head

    @property
    def address(self) -> Address:
        """Who answers."""
        return self.connection.address

    def take_head(self, event: h11.Response) -> None:
        """The answer has begun."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
        self._head = Head(event.status_code, headers)
        self.keeps = event.http_version == b"1.1" and "close" not in headers.get("connection", "").lower()

    @property
    def body_length(self) -> Optional[int]:
        """Bytes of the body, or None when only its end says."""
        if "transfer-encoding" in self.head.headers:
            return None
        return 0 if self.head.status in (204, 304) else self.head.length

    async def receive(self, sink: Sink) -> None:
        """Let ``sink`` have the body, whole.

        Raises:
            SourceUnavailable, TransferTimeout, ProtocolError: as `Connection.begin`; ``sink`` has what came until then.
            Exception: what ``sink`` raised.
        """
        self.sink = sink
        try:
            await self.connection.receive(self)
        finally:
            self.sink = None
            self.remaining = None

    def end(self) -> None:
        """Let others use the connection; when the answer has not come whole, nobody can."""
        if not self.is_over:
            self.connection.close()


class Connection(asyncio.BufferedProtocol):
    """One connection to a frontend, and the exchanges on it, each of which gets its answer when those before it have.

    Args:
        stall: seconds without a byte after which it is given up.
    """

    def __init__(self, address: Address, *, stall: float) -> None:
        self.address = address
        self._stall = stall
        self._loop = asyncio.get_running_loop()
        self._transport: Optional[asyncio.Transport] = None
        self._waking: Optional[Waking] = None
        self._room = memoryview(bytearray(HEAD_BYTES))
        self._line: deque[Exchange] = deque()
        """The first gets its answer now; RFC 9112, section 9.3.2 calls the others pipelined."""
        self._is_used = False
        """Has an exchange ended on it? If so the other side may have closed it meanwhile."""
        self._heard = 0.0
        self._alarm: Optional[asyncio.TimerHandle] = None

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else f"{self.load} exchanges"
        return f"<Connection {self.address} {state}>"

    @property
    def is_closed(self) -> bool:
        """Can nothing be asked here any more?"""
        return self._transport is None or self._transport.is_closing()

    @property
    def _first(self) -> Optional[Exchange]:
        """The one whose answer comes now."""
        return self._line[0] if self._line else None

    @property
    def load(self) -> int:
        """Exchanges that have not ended."""
        return len(self._line)

    def close(self) -> None:
        """Give the connection up at once, and all that is asked of it."""
        self._fail(self._broken(None))

    async def begin(self, request: Request) -> Exchange:
        """Send a request; return when the head of its answer has come. The body waits until `Exchange.receive`.

        Raises:
            SourceUnavailable: the connection broke; `Unheard`, if that says nothing about the other side.
            TransferTimeout: nothing came for too long.
            ProtocolError: the other side does not speak HTTP/1.1.
        """
        if self._transport is None or self.is_closed:
            raise (Unheard if self._is_used else SourceUnavailable)(f"{self.address}: the connection was closed")
        exchange = Exchange(self)
        self._transport.write(self._format(exchange.parser, request))
        exchange.waiter = self._loop.create_future()
        self._line.append(exchange)
        if self._first is exchange:
            self._arm()
        try:
            await exchange.waiter
        except asyncio.CancelledError:
            # Its answer will come all the same: when it is its turn, the connection ends.
            if self._first is exchange:
                self.close()
            raise
        return exchange

    def _format(self, parser: h11.Connection, request: Request) -> bytes:
        headers = [("Host", self.address.netloc), ("Content-Length", str(len(request.body))), *request.headers.items()]
        data = [parser.send(h11.Request(method=request.method, target=request.target, headers=headers))]
        if request.body:
            data.append(parser.send(h11.Data(data=request.body)))
        data.append(parser.send(h11.EndOfMessage()))
        return b"".join(part for part in data if part)

    async def receive(self, exchange: Exchange) -> None:
        """Let the sink of ``exchange`` have the body; see there."""
        assert exchange.sink is not None
        if self._first is not exchange:
            raise self._broken(None)
        length = exchange.body_length
        exchange.waiter = waiter = self._loop.create_future()
        try:
            if length is None:
                self._read_events(exchange)
            else:
                exchange.remaining = length
                self._take_early(exchange, exchange.parser.trailing_data[0])
        except Exception as error:
            self._fail(error)
        else:
            if not waiter.done():
                self._go_on(exchange)
        await waiter

    def _go_on(self, exchange: Exchange) -> None:
        if self._transport is None:
            self._fail(self._broken(None))
        else:
            self._arm()
            self._wait_for_body(exchange)
            self._transport.resume_reading()

    def _broken(self, reason: Optional[Exception]) -> SourceUnavailable:
        remaining = None if self._first is None else self._first.remaining
        missing = "" if remaining is None else f", {remaining} bytes before the end"
        because = "" if reason is None else f": {reason}"
        return SourceUnavailable(f"{self.address}: the connection broke off{missing}{because}")

    # --- what the transport calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if transport.get_extra_info("sslcontext") is None:
            self._waking = Waking(transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        first = self._first
        if first is None or first.remaining is None or first.sink is None:
            return self._room
        room = first.sink.buffer()
        return room[: first.remaining] if len(room) > first.remaining else room

    def buffer_updated(self, nbytes: int) -> None:
        self._heard = self._loop.time()
        try:
            first = self._first
            if first is None:
                raise ProtocolError(f"{self.address}: sent bytes nobody asked for")
            if first.remaining is not None and first.sink is not None:
                first.remaining -= nbytes
                first.sink.received(nbytes)
                if first.remaining == 0:
                    self._end(first)
                else:
                    self._wait_for_body(first)
                return
            self._feed(first, bytes(self._room[:nbytes]))
        except Exception as error:
            self._fail(error)

    def _wait_for_body(self, exchange: Exchange) -> None:
        """Let some of the body come before it is read, but not more than can be verified, or than there is."""
        if self._waking is not None and exchange.remaining and exchange.sink is not None and not self.is_closed:
            self._waking.at(min(exchange.remaining, len(exchange.sink.buffer()), BODY_BYTES))

    def eof_received(self) -> None:
        # The answer may have ended just now, before whoever waits for it could let go of the sink.
        first = self._first
        if first is not None and first.waiter is not None and first.sink is not None and first.remaining is None:
            try:
                self._feed(first, b"")
            except Exception as error:
                self._fail(error)

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._fail(self._broken(exc))
        self._transport = None

    # --- reading ---

    def _feed(self, exchange: Exchange, data: bytes) -> None:
        exchange.parser.receive_data(data)
        # TLS hands on what it had decrypted before reading was paused: h11 keeps that until `receive`.
        if not exchange.has_head or exchange.sink is not None:
            self._read_events(exchange)

    def _read_events(self, exchange: Exchange) -> None:
        """Go on with h11 until it needs more bytes, a head is complete, or the answer ends."""
        while True:
            try:
                event = exchange.parser.next_event()
            except h11.RemoteProtocolError as error:
                raise ProtocolError(f"{self.address}: not HTTP: {error}") from error
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return
            if isinstance(event, h11.Response):
                assert self._transport is not None
                exchange.take_head(event)
                self._transport.pause_reading()
                self._answer(exchange)
                return
            if isinstance(event, h11.Data):
                self._take_early(exchange, event.data)
            elif isinstance(event, h11.EndOfMessage):
                self._end(exchange, exchange.parser.trailing_data[0])
                return
            elif isinstance(event, h11.ConnectionClosed):
                raise SourceUnavailable(f"{self.address}: the connection was closed")

    def _take_early(self, exchange: Exchange, data: bytes) -> None:
        """Hand on body bytes that came through h11, and notice the end when the length is known."""
        assert exchange.sink is not None
        view, more = memoryview(data), b""
        if exchange.remaining is not None:
            view, more = view[: exchange.remaining], data[exchange.remaining :]
            exchange.remaining -= len(view)
        while view:
            room = exchange.sink.buffer()
            count = min(len(room), len(view))
            room[:count] = view[:count]
            exchange.sink.received(count)
            view = view[count:]
        if exchange.remaining == 0:
            self._end(exchange, more)

    def _end(self, exchange: Exchange, more: bytes = b"") -> None:
        """The answer is whole; ``more`` came behind it."""
        if more and self.load == 1:
            raise ProtocolError(f"{self.address}: sent more than the length it announced")
        self._line.popleft()
        exchange.is_over = self._is_used = True
        exchange.remaining = None
        self._answer(exchange)
        if self._waking is not None and not self.is_closed:
            self._waking.at(1)
        if not exchange.keeps:
            self.close()
        elif self._transport is not None:
            self._transport.resume_reading()
            if self._first is not None:
                self._turn(self._first, more)

    def _turn(self, exchange: Exchange, data: bytes) -> None:
        """The next answer comes now, and ``data`` of it is here."""
        assert exchange.waiter is not None
        if exchange.waiter.cancelled():
            self.close()
            return
        self._arm()
        if data:
            self._feed(exchange, data)

    # --- waiting ---

    def _arm(self) -> None:
        """Somebody waits for bytes from now on."""
        self._quiet()
        self._heard = self._loop.time()
        self._alarm = self._loop.call_later(self._stall, self._check_stall)

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

    def _answer(self, exchange: Exchange) -> None:
        self._quiet()
        waiter, exchange.waiter = exchange.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _fail(self, error: Exception) -> None:
        """End the connection; whoever waits hears why."""
        self._quiet()
        line, self._line = self._line, deque()
        for place, exchange in enumerate(line):
            waiter, exchange.waiter = exchange.waiter, None
            if waiter is None or waiter.done():
                continue
            is_stale = place == 0 and self._is_used and not exchange.has_head and isinstance(error, SourceUnavailable)
            is_behind = place > 0 and not isinstance(error, TransferTimeout)
            waiter.set_exception(Unheard(str(error)) if is_stale or is_behind else error)
        if self._transport is not None:
            self._transport.abort()
