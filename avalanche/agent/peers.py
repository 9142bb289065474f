"""The port on which this host serves others: tickets are checked, and nothing is known but objects by their hash.

docs/protocol.md, sections 11.1, 11.3 and 11.5.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable
from pathlib import Path
from typing import BinaryIO, Callable, NamedTuple, Optional
from urllib.parse import parse_qs, urlsplit

from avalanche.agent import frames
from avalanche.agent.children import LEAVE_SECONDS, Account, Child, Sharing
from avalanche.agent.item import Item
from avalanche.agent.proxy import requested_span, send_head
from avalanche.agent.server import ClientGone, Exchange, Limits, Query, Server
from avalanche.tokens import Ticket, TokenRefused, verify_ticket

LIMITS = Limits(connections=64, per_address=4, head_bytes=8192, head_seconds=5.0, stall_seconds=10.0, is_silent=True)
RETRY_SECONDS = 1
TOLD_SECONDS = 60.0
TOLD_ADDRESSES = 20
"""Of so many addresses that were refused the frontend is told within `TOLD_SECONDS`; the log has them all."""

_OBJECT = re.compile(r"/object/([0-9a-f]{64})")
log = logging.getLogger(__name__)


class Peers:
    """Serves the hosts that the tracker sends here.

    Args:
        key: checks their tickets.
        clock: the tracker's, once it has answered; None when it does not.
        bundle: the agent's own file, which hosts that boot may want, and its SHA-256.
        on_refused: called with the address of who was refused, and why; once a minute for an address.
    """

    def __init__(
        self,
        sharing: Sharing,
        *,
        key: bytes,
        clock: Callable[[], Awaitable[Optional[float]]],
        bundle: tuple[str, Path],
        on_refused: Callable[[str, str], None],
    ) -> None:
        self._sharing = sharing
        self._key = key
        self._clock = clock
        self._bundle = bundle
        self._on_refused = on_refused
        self._told: dict[str, float] = {}
        self._children: dict[str, Child] = {}
        self._accounts: dict[str, Account] = {}
        self._server = Server(self._answer, LIMITS)

    def __repr__(self) -> str:
        return f"<Peers {len(self._children)} children>"

    async def listen(self, address: str) -> int:
        """Serve at this address, on a free port, which is returned.

        Raises:
            ConfigError: the address is not this host's.
        """
        return await self._server.listen(0, address)

    async def leave(self) -> None:
        """Take no more requests, let the pieces that were begun go out, and close."""
        self._sharing.is_leaving = True
        self._server.stop_listening()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LEAVE_SECONDS
        while any([child.begin_to_leave() for child in self._children.values()]):
            if loop.time() > deadline:
                break
            await asyncio.sleep(0.05)
        self._server.close()

    async def _answer(self, query: Query, exchange: Exchange) -> None:
        parts = urlsplit(query.target)
        ticket = await self._admit(query, exchange, parts.query)
        if ticket is None:
            return
        found = _OBJECT.fullmatch(parts.path)
        if self._sharing.is_leaving:
            await exchange.text(503, "this host leaves", {"Retry-After": str(RETRY_SECONDS)})
        elif query.method == "GET" and parts.path == "/relay":
            await self._relay(query, exchange, ticket)
        elif found is not None and query.method in ("GET", "HEAD"):
            await self._send_object(query, exchange, found.group(1), self._account(ticket))
        else:
            await exchange.text(404, "objects are served here, by their hash")

    async def _admit(self, query: Query, exchange: Exchange, search: str) -> Optional[Ticket]:
        scheme, _, text = query.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            text = parse_qs(search).get("ticket", [""])[0]
        now = await self._clock()
        try:
            if now is None:
                raise TokenRefused("this host has not heard of its tracker yet")
            generation = self._sharing.catalogue.generation
            return verify_ticket(self._key, text.strip(), address=query.address, generation=generation, now=now)
        except (TokenRefused, ValueError) as error:
            log.info("child refused address=%s reason=%s", query.address, error)
            self._tell(query.address, str(error))
            await exchange.text(403, str(error), {"Connection": "close"})
            return None

    def _tell(self, address: str, reason: str) -> None:
        now = asyncio.get_running_loop().time()
        self._told = {each: at for each, at in self._told.items() if now - at < TOLD_SECONDS}
        if address not in self._told and len(self._told) < TOLD_ADDRESSES:
            self._told[address] = now
            self._on_refused(address, reason)

    async def _relay(self, query: Query, exchange: Exchange, ticket: Ticket) -> None:
        if query.headers.get("upgrade", "").lower() != frames.PROTOCOL:
            headers = {"Upgrade": frames.PROTOCOL, "Connection": "Upgrade, close"}
            await exchange.text(426, f"this host speaks {frames.PROTOCOL}", headers)
            return
        older = self._children.get(ticket.order)
        if older is not None:
            older.close()
        child = Child(
            self._sharing, account=self._account(ticket), on_end=lambda ended: self._gone(ticket.order, ended)
        )
        self._children[ticket.order] = child
        log.info("child host=%s address=%s", ticket.host, ticket.address)
        exchange.switch({"Connection": "Upgrade", "Upgrade": frames.PROTOCOL}, child)

    def _account(self, ticket: Ticket) -> Account:
        def tell(item: Item) -> None:
            log.info("child wants too much host=%s path=%s", ticket.host, item.entry.path)
            self._tell(ticket.address, f"{ticket.host} fetches {item.entry.path} again and again")

        return self._accounts.setdefault(ticket.order, Account(tell))

    def _gone(self, order: str, child: Child) -> None:
        if self._children.get(order) is child:
            del self._children[order]

    # --- whole objects ---

    async def _send_object(self, query: Query, exchange: Exchange, sha256: str, account: Account) -> None:
        if sha256 == self._bundle[0]:
            size = self._bundle[1].stat().st_size
            with self._bundle[1].open("rb", buffering=0) as file:
                await self._send_file(query, exchange, file, _Facts(sha256, size, size))
            return
        item = self._sharing.catalogue.find_object(sha256)
        if item is None or item.slot is None:
            await exchange.text(404, "the object is not here")
            return
        span = requested_span(query, sha256, item.entry.size)
        is_sent = query.method == "GET" and span is not None and span.end <= item.verified
        if span is not None and is_sent and not account.take(item, span.end - span.start):
            await exchange.text(403, "this host has had the object often enough")
            return
        item.readers += 1
        try:
            with item.slot.open() as file:
                await self._send_file(query, exchange, file, _Facts(sha256, item.entry.size, item.verified))
        except OSError as error:
            raise ClientGone(str(error)) from error
        finally:
            item.readers -= 1
            self._sharing.downloader.taken(item)

    async def _send_file(self, query: Query, exchange: Exchange, file: BinaryIO, facts: _Facts) -> None:
        span = requested_span(query, facts.sha256, facts.size)
        if span is None:
            await exchange.text(416, "the range is beyond the end", {"Content-Range": f"bytes */{facts.size}"})
        elif span.end > facts.ready:
            await exchange.text(503, "not here yet", {"Retry-After": str(RETRY_SECONDS)})
        else:
            send_head(exchange, facts.sha256, facts.size, span)
            if query.method == "GET":
                await exchange.send_file(file, span.start, span.end)
                self._sharing.egress.count(span.end - span.start)


class _Facts(NamedTuple):
    """An object that may be served: ``ready`` bytes of it from its start."""

    sha256: str
    size: int
    ready: int
