"""Connections to frontends that are kept between exchanges."""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import Any, Optional

from avalanche.agent.connection import STALL_SECONDS, Address, Connection, Exchange, Request, Unheard
from avalanche.agent.deadline import within
from avalanche.errors import ProtocolError, SourceUnavailable

CONNECT_SECONDS = 5.0
IDLE_CONNECTIONS = 16
"""Kept open per address between exchanges."""


class Unreachable(SourceUnavailable):
    """No connection came about: whatever would have been asked on it would have failed like this."""


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
        self._connections: dict[Address, list[Connection]] = {}
        self._lines: dict[Address, asyncio.Task[Connection]] = {}

    def __repr__(self) -> str:
        return f"<Pool {sum(len(self._idle(address)) for address in self._connections)} idle>"

    async def begin(self, address: Address, request: Request, *, in_line: bool = False) -> Exchange:
        """Send a request over a kept connection or a new one. The caller gives the exchange back.

        Args:
            in_line: on one connection, behind others: between two answers the link is never idle then, and the first is
                here, whole, before the next begins. Others may pass it on so much sooner (docs/decisions/0055).

        Raises:
            Unreachable: there is no connection to the frontend.
            SourceUnavailable: it broke the connection.
            TransferTimeout: it does not answer.
            ProtocolError: it does not speak HTTP/1.1, or its certificate is not the pinned CA's.
        """
        while True:
            connection = await (self._shared(address) if in_line else self._alone(address))
            try:
                return await connection.begin(request)
            except Unheard:
                pass

    def give_back(self, exchange: Exchange) -> None:
        """End an exchange, and keep its connection for others if it can be used."""
        exchange.end()
        for connection in self._idle(exchange.address)[self._most_idle :]:
            connection.close()

    def close(self) -> None:
        """Close every connection that waits for its next exchange."""
        for address in self._connections:
            for connection in self._idle(address):
                connection.close()
        for connecting in self._lines.values():
            connecting.cancel()
            if connecting.done() and not _is_gone(connecting):
                connecting.result().close()
        self._connections.clear()
        self._lines.clear()

    def _idle(self, address: Address) -> list[Connection]:
        kept = self._connections.get(address, [])
        kept[:] = [connection for connection in kept if not connection.is_closed]
        return [connection for connection in kept if not connection.load]

    async def _shared(self, address: Address) -> Connection:
        """The one connection on which requests wait in line."""
        connecting = self._lines.get(address)
        if connecting is None or _is_gone(connecting):
            connecting = self._lines[address] = asyncio.get_running_loop().create_task(self._connect(address))
        # Several wait for it; one that is cancelled takes nothing from the others.
        return await asyncio.shield(connecting)

    async def _alone(self, address: Address) -> Connection:
        """A connection on which nothing else is asked."""
        idle = self._idle(address)
        if idle:
            return idle[-1]
        connection = await self._connect(address)
        self._connections.setdefault(address, []).append(connection)
        return connection

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
            raise Unreachable(f"{address}: does not answer") from error
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise Unreachable(f"{address}: cannot be reached: {reason}") from error
        return connection


def _is_gone(connecting: asyncio.Task[Connection]) -> bool:
    """Did a connection fail, or end?"""
    if not connecting.done():
        return False
    return connecting.cancelled() or connecting.exception() is not None or connecting.result().is_closed
