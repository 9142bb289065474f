"""The tracker's HTTP side: tokens are checked, messages parsed, decisions asked for, answers written.

The frontend embeds it by adding `Tracker.routes` to its own application; `serve` runs it alone.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable

from aiohttp import web

from avalanche.errors import ProtocolError
from avalanche.log import facts
from avalanche.tokens import (
    TICKET_SECONDS,
    SwarmToken,
    Ticket,
    TokenRefused,
    canonical_address,
    check_again,
    peer_id,
    peer_key,
    sign_ticket,
    verify_token,
)
from tracker import announce as wire
from tracker.chains import Chains, PeerReplaced
from tracker.lookup import Answer, Peer
from tracker.messages import MAXIMUM_BODY, Row, format_answer, parents_of, parse_request
from tracker.metrics import Metrics
from tracker.pace import Pace
from tracker.registry import Registered, Registry
from tracker.standing import Report
from tracker.swarms import Client, Swarms

log = logging.getLogger(__name__)

OPEN_ASKS = 2_048
"""Objects a host may have asked for and neither finished nor dropped."""
LOOKUPS_PER_SECOND, LOOKUPS_AT_ONCE = 20.0, 60.0
ANNOUNCES_PER_SECOND, ANNOUNCES_AT_ONCE = 2.0, 40.0
REFUSALS_PER_SECOND, REFUSALS_AT_ONCE = 1 / 60, 10.0
"""So many refusals are told in the timeline of a host; all are in the log."""
BODY_SECONDS = 10.0
"""How long the body of a lookup may take to arrive."""
TOKENS_KEPT = 20_000
"""Texts of good tokens that are remembered: their signature need not be computed for every lookup."""
TICK_SECONDS = 0.2
"""How often time is looked at when nobody asks."""


def log_report(report: Report) -> None:
    """Where reports go when nobody keeps timelines."""
    log.warning(report.text, extra=facts(host=report.host, order=report.order, status=report.status))


class Tracker:
    """Announce, scrape and lookup for the hosts of one cluster.

    Args:
        swarm_key: the key frontend and trackers share, 32 bytes.
        registry: the generations it answers for.
        on_report: gets what belongs into the timelines of hosts.
        is_known_slow: whether earlier installs found the host with this name slow.
        clock: any clock that does not jump; ``wall``: seconds since 1970; ``chance``: where randomness comes from.
    """

    def __init__(
        self,
        *,
        swarm_key: bytes,
        registry: Registry,
        on_report: Callable[[Report], None] = log_report,
        is_known_slow: Callable[[str], bool] = lambda host: False,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        chance: random.Random | None = None,
    ) -> None:
        self.chains = Chains(is_known_slow=is_known_slow)
        self.swarms = Swarms()
        self._swarm_key = swarm_key
        self._registry = registry
        self._on_report = on_report
        self._clock = clock
        self._wall = wall
        self._chance = chance or random.Random()  # noqa: S311 -- jitter and shuffling
        self.metrics = Metrics(hosts=lambda: len(self.chains), peers=lambda: self.swarms.peers)
        self._tokens: dict[str, SwarmToken] = {}
        self._lookups = Pace(LOOKUPS_PER_SECOND, LOOKUPS_AT_ONCE)
        self._announces = Pace(ANNOUNCES_PER_SECOND, ANNOUNCES_AT_ONCE)
        self._refusals = Pace(REFUSALS_PER_SECOND, REFUSALS_AT_ONCE)

    def __repr__(self) -> str:
        return f"<Tracker {self.chains!r} {self.swarms!r}>"

    def routes(self) -> list[web.RouteDef]:
        """What to add to an application."""
        routes = [web.post("/lookup", self.lookup), web.get("/metrics", self.metrics.get)]
        for form in ("/{what}", "/{what}/{token}", "/t/{token}/{what}"):
            routes.append(web.get(form.replace("{what}", "announce"), self.announce))
            routes.append(web.get(form.replace("{what}", "scrape"), self.scrape))
        return routes

    async def run(self) -> None:
        """Do what time brings, until cancelled."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.advance()

    def advance(self) -> None:
        """Do what time brings now."""
        now = self._clock()
        self.chains.advance(now)
        self._deliver()
        for pace in (self._lookups, self._announces, self._refusals):
            pace.forget(now)
        dropped = self.swarms.expire(now)
        if dropped:
            log.info("BitTorrent peers expired", extra=facts(peers=dropped))

    # --- lookup ---

    async def lookup(self, request: web.Request) -> web.Response:
        """``POST /lookup``."""
        answer, outcome = await self._lookup(request)
        self.metrics.count("lookup", outcome)
        return answer

    async def _lookup(self, request: web.Request) -> tuple[web.Response, str]:
        try:
            token = self._check(_bearer(request), _address(request))
            registered = self._registered(token)
        except TokenRefused as error:
            log.warning("lookup refused", extra=facts(address=request.remote, reason=str(error)))
            self._accuse(request, "lookup", error)
            return _plain(403, str(error)), "refused"
        wait = self._lookups.wait(token.order, self._clock())
        if wait:
            return _plain(
                503, "too many lookups; ask less often", retry_after=wait * (1 + self._chance.random())
            ), "paced"
        body = await _body(request)
        try:
            with self.metrics.lookup_seconds.time():
                return self._answer(token, registered, body), "ok"
        except ProtocolError as error:
            return _plain(400, str(error)), "malformed"
        except PeerReplaced as error:
            return _plain(403, str(error)), "replaced"

    def _answer(self, token: SwarmToken, registered: Registered, body: bytes) -> web.Response:
        request = parse_request(body, registered)
        own = peer_id(token.order, request.attempt)
        if self.chains.open_asks(own) + len(request.lookup.asks) > OPEN_ASKS:
            raise ProtocolError(f"lookup: more than {OPEN_ASKS} objects asked for and neither done nor dropped")
        peer = Peer(own, token.host, token.rack, token.order, token.generation, token.address, request.port)
        answer = self.chains.lookup(peer, request.lookup, now=self._clock(), chance=self._chance.random())
        self.metrics.asked.inc(len(request.lookup.asks))
        self._deliver()
        now = self._wall()
        rows = self._rows(token, answer, request.known, int(now))
        return web.Response(body=format_answer(answer, time=now, rows=rows), content_type="application/json")

    def _rows(self, token: SwarmToken, answer: Answer, known: frozenset[str], now: int) -> list[Row]:
        rows = []
        for name in parents_of(answer):
            parent = self.chains.find(name)
            if name in known or parent is None:
                continue
            expires = now + TICKET_SECONDS
            ticket = Ticket(token.order, token.host, token.address, parent.generation, expires)
            text = sign_ticket(peer_key(self._swarm_key, parent.order), ticket)
            rows.append(Row(name, parent.host, parent.address, parent.port, parent.rack, text, expires))
        return rows

    # --- BitTorrent ---

    async def announce(self, request: web.Request) -> web.Response:
        """``GET /announce`` in its three forms."""
        try:
            address = canonical_address(_address(request))
            pairs = wire.parse_query(_raw_query(request))
            token = self._check(_path_or_query(request, pairs), str(address))
            if address.is_link_local:
                raise ProtocolError("a link-local address cannot be handed out")
            announce = wire.parse_announce(pairs)
            if announce.info_hash not in self._registered(token).info_hashes:
                raise ProtocolError("this info_hash is not registered here")
            if announce.event != "stopped" and self._announces.wait(token.order, self._clock()):
                raise ProtocolError("too many announces; keep to the interval")
        except ProtocolError as error:
            return self._failure(request, "announce", error)
        reply = self.swarms.announce(
            announce,
            Client(token.host, token.rack, address),
            now=self._clock(),
            chance=self._chance.random(),
            shuffle=self._chance.shuffle,
        )
        self.metrics.count("announce", "ok")
        return _bencoded(wire.format_reply(reply, announce, seen_from=address))

    async def scrape(self, request: web.Request) -> web.Response:
        """``GET /scrape`` in its three forms."""
        try:
            pairs = wire.parse_query(_raw_query(request))
            token = self._check(_path_or_query(request, pairs), _address(request))
            registered = self._registered(token).info_hashes
            asked = wire.parse_scrape(pairs) or sorted(registered)[: wire.MAXIMUM_SCRAPED]
        except ProtocolError as error:
            return self._failure(request, "scrape", error)
        now = self._clock()
        counts = {each: self.swarms.scrape(each, now=now) for each in asked if each in registered}
        self.metrics.count("scrape", "ok")
        return _bencoded(wire.format_scrape(counts))

    def _failure(self, request: web.Request, what: str, error: ProtocolError) -> web.Response:
        log.info("refused", extra=facts(what=what, address=request.remote, reason=str(error)))
        self.metrics.count(what, "refused" if isinstance(error, TokenRefused) else "malformed")
        if isinstance(error, TokenRefused):
            self._accuse(request, what, error)
        return _bencoded(wire.format_failure(str(error)))

    # --- what both share ---

    def _accuse(self, request: web.Request, what: str, error: TokenRefused) -> None:
        """Tell what a host tried whose token does not permit it. Its address tells who it is, not what it says."""
        address = str(canonical_address(_address(request)))
        peer = self.chains.peer_at(address)
        if peer is not None and not self._refusals.wait(peer.order, self._clock()):
            text = f"{what} from {peer.host} at {address} refused: {error}"
            self._tell(Report(peer.host, peer.order, "refused", text))

    def _check(self, text: str, address: str) -> SwarmToken:
        known = self._tokens.get(text)
        if known is not None:
            check_again(known, address=address, now=self._wall())
            return known
        token = verify_token(self._swarm_key, text, address=address, now=self._wall())
        while len(self._tokens) >= TOKENS_KEPT:
            del self._tokens[next(iter(self._tokens))]
        self._tokens[text] = token
        return token

    def _registered(self, token: SwarmToken) -> Registered:
        registered = self._registry.find(token.generation)
        if registered is None:
            raise TokenRefused(f"generation {token.generation} is not registered here")
        return registered

    def _deliver(self) -> None:
        for report in self.chains.reports():
            self._tell(report)

    def _tell(self, report: Report) -> None:
        self.metrics.reports.labels(report.status).inc()
        self._on_report(report)


def _address(request: web.Request) -> str:
    # The socket's, never a header's or a parameter's: who may be contacted must not be a matter of what somebody says.
    peer = None if request.transport is None else request.transport.get_extra_info("peername")
    if peer is None:
        raise TokenRefused("the connection has no address")
    return str(peer[0]).partition("%")[0]


async def _body(request: web.Request) -> bytes:
    """The whole body, in time and within bounds, or the answer that says so."""
    if request.content.is_eof():  # it came with its head, as most do
        return bytes(_bounded(request.content.read_nowait()))
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.content.iter_any():
                body += chunk
                _bounded(body)
    except TimeoutError:
        raise web.HTTPRequestTimeout(text=f"the lookup took more than {BODY_SECONDS:.0f} s to arrive\n") from None
    return bytes(body)


def _bounded(body: bytes | bytearray) -> bytes | bytearray:
    if len(body) > MAXIMUM_BODY:
        raise web.HTTPRequestEntityTooLarge(MAXIMUM_BODY, len(body))
    return body


def _bearer(request: web.Request) -> str:
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not text:
        raise TokenRefused("there is no token in the request; send it as 'Authorization: Bearer TOKEN'")
    return text.strip()


def _raw_query(request: web.Request) -> bytes:
    # aiohttp's own query turns a plus into a blank and bytes into text; an info-hash survives neither.
    return request.raw_path.partition("?")[2].partition("#")[0].encode("utf-8", "surrogateescape")


def _path_or_query(request: web.Request, pairs: list[tuple[str, bytes]]) -> str:
    if "token" in request.match_info:
        return request.match_info["token"]
    for name, value in pairs:
        if name == "token":
            return value.decode("latin-1")
    raise TokenRefused("there is no token in the tracker's address")


def _plain(status: int, line: str, *, retry_after: float | None = None) -> web.Response:
    headers = {} if retry_after is None else {"Retry-After": str(max(1, round(retry_after)))}
    return web.Response(status=status, text=line + "\n", headers=headers)


def _bencoded(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="text/plain", headers={"Cache-Control": "no-store"})
