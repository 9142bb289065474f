"""The relay plane's answer to *from whom?*: asks the tracker ahead of need, and does what it says.

docs/protocol.md, sections 10.1 and 11.4. What is said here to the tracker is kept until the tracker has answered, so a
lookup that is lost loses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Collection
from typing import Any, Optional

from avalanche.agent import lookup
from avalanche.agent.catalogue import Catalogue
from avalanche.agent.connection import Address, Collector, Request
from avalanche.agent.deadline import within
from avalanche.agent.downloader import Downloader
from avalanche.agent.figures import Figures
from avalanche.agent.item import Item, State
from avalanche.agent.lookup import FRONTEND, Answer, Ask
from avalanche.agent.parents import Parents
from avalanche.agent.pool import Pool
from avalanche.agent.source import Load, Route, Source
from avalanche.errors import AvalancheError, ProtocolError, SourceUnavailable, TransferError
from avalanche.membership import Membership

BATCH = 4 << 20
"""Objects are asked for in batches that begin at multiples of so many bytes of the closure..."""
AHEAD = 16 << 20
"""...as soon as the verified bytes have come so near to a batch's beginning."""
WINDOW = 2 << 20
WINDOW_SECONDS = 0.7
"""So much is asked of the frontend at once, or so many seconds of this host's own rate."""
OPEN_ASKS = 1_900
"""Objects asked for and not complete; the tracker admits some more."""
OPEN_REQUESTS = 200
"""Requests per parent; the protocol admits some more."""
GROWTH = 4
"""What is open at a parent grows by so many bytes for each that has come: two hundred requests at once are a tenth of a
second of work, at the moment when a host, and all behind it, wait for the first block.
"""
PAUSE = 0.05
"""Seconds between two lookups, at least."""
RETRY_FIRST, RETRY_LAST = 0.2, (0.25, 1.0)
"""So long a host waits before it asks a tracker again that did not answer; at last half of the time it usually leaves
between two lookups, within these bounds. A tracker that was restarted waits until all hosts have said what they hold.
"""
RETURN_SECONDS = 30.0
"""So long after it left the first of several trackers a host looks whether it is there again."""
PROBE_SECONDS = 1.0
EASE = 1.0
"""A tracker that asks for more seconds between lookups than this has many hosts: what is not urgent waits longer."""
LOOKUPS_PER_SECOND, LOOKUPS_AT_ONCE = 15.0, 30.0
"""While it has spoken less often, a host need not pause when its installer waits or a parent is lost."""
ALONE_SECONDS = 5.0
"""Without a tracker for so long, and with nothing left to fetch, objects come from the frontend, `ALONE_STREAMS` at a
time.
"""
ALONE_STREAMS = 2
LEAVE_SECONDS = 2.0
STARVED_SECONDS = 3.0
TICKET_RESERVE = 200
FIRST_SECONDS = 0.7
"""So long a child waits here for a tracker's first answer to this host: less than its patience with a parent."""

log = logging.getLogger(__name__)


class Swarm(Route):
    """Keeps what the tracker knows of this host, and what it has said, in step.

    Args:
        membership: trackers and token.
        attempt: chosen once per start of the agent.
        manifest: digest of the closure.
    """

    def __init__(
        self,
        frontend: Source,
        parents: Parents,
        *,
        membership: Membership,
        attempt: str,
        manifest: str,
        catalogue: Catalogue,
        figures: Figures,
    ) -> None:
        super().__init__(frontend)
        self.port = 0
        """Where this host serves."""
        self._parents = parents
        parents.on_blame = self.blame
        parents.on_lost = self.abandon
        self._trackers = [Address.parse(url) for url in membership.trackers]
        self._current = 0
        self._moved = 0.0
        self._headers = {"Authorization": f"Bearer {membership.token}", "Content-Type": "application/json"}
        self._attempt = attempt
        self._manifest = manifest
        self._catalogue = catalogue
        self._figures = figures
        self._downloader: Optional[Downloader] = None
        self._pool = Pool(stall=3.0)
        self._batches = _batches(catalogue.closure)
        self._given: dict[str, Optional[str]] = {}
        """Objects asked for and not complete, and their parents; None: the tracker has said *not yet*, or nothing."""
        self._asks: dict[str, Ask] = {}
        self._done: dict[str, None] = {}
        self._dropped: dict[str, None] = {}
        self._blames: dict[tuple[str, ...], None] = {}
        self._starved: dict[str, float] = {}
        self._ahead: Optional[tuple[str, ...]] = None
        """Who may serve this host while no tracker answers; None while that is not known."""
        self._lost: set[str] = set()
        """Those of them from whom nothing can be fetched any more."""
        self._must_register = True
        self._news = asyncio.Event()
        self._urgent = asyncio.Event()
        self._spacing = PAUSE
        """Seconds between two lookups, unless the second is urgent."""
        self._next = 2 * RETRY_LAST[1]
        """Seconds between two lookups, as a tracker said last."""
        self._leave, self._leave_at = LOOKUPS_AT_ONCE, self._now()
        self._is_leaving = False
        self._unanswered: Optional[float] = None
        """When the first of those lookups was sent that have no answer, if there has been none since."""
        self._offset: Optional[float] = None
        self._heard = asyncio.Event()
        """Has a tracker ever answered?"""

    def __repr__(self) -> str:
        return f"<Swarm {len(self._given)} open, {len(self._asks)} asked>"

    @property
    def time(self) -> Optional[float]:
        """The tracker's clock now; None before its first answer."""
        return None if self._offset is None else self._now() + self._offset

    async def time_heard(self) -> Optional[float]:
        """The tracker's clock now; its first answer is waited for. None: none comes.

        On a link that is full of answers a child may be told of this host before this host's own answer is here.
        """
        if not self._heard.is_set():
            with contextlib.suppress(asyncio.TimeoutError):
                await within(FIRST_SECONDS, self._heard.wait())
        return self.time

    # --- what the downloader asks ---

    def attach(self, downloader: Downloader) -> None:
        """Let this downloader know when there is something to do."""
        self._downloader = downloader
        self._parents.is_due = downloader.is_due

    def look_ahead(self) -> None:
        # At first little, so that nobody's first question waits behind a thousand others, but at once; when lookups are
        # rare, as much further as arrives until it may ask again, and is answered.
        grown = window(self._figures.verified)
        ahead = grown + int(2 * (self._spacing - PAUSE) * self._figures.ingress.rate)
        while self._batches and self._batches[0][0] <= self._figures.verified + ahead:
            if len(self._given) >= OPEN_ASKS:
                return
            for item in self._batches.pop(0)[1]:
                self.need(item)
            if grown < AHEAD and self._may_be_urgent():
                self._urgent.set()

    def need(self, item: Item) -> None:
        sha256 = item.entry.sha256
        if item.state is not State.COMPLETE and self._is_first(item) and sha256 not in self._given:
            self._given[sha256] = None
            self._ask(item)

    def has_asked(self, item: Item) -> bool:
        return item.entry.sha256 in self._given or not self._is_first(item) or self._is_alone

    def source(self, item: Item) -> Optional[Source]:
        if not self._is_first(item):
            return self._frontend  # the same bytes under another path; the tracker knows them once
        parent = self._given.get(item.entry.sha256)
        if parent == FRONTEND:
            return self._frontend
        if parent is None:
            return self._frontend if self._is_alone else None
        found = self._parents.find(parent)
        if found is None or found.is_open_at(self.time or 0.0):
            return found
        self._given[item.entry.sha256] = None  # its ticket has expired meanwhile; the answer brings another
        self._ask(item)
        return None

    def admits(self, source: Source, load: Load, *, is_waited_for: bool) -> bool:
        if source is self._frontend:
            if not super().admits(source, load, is_waited_for=is_waited_for):
                return False
            if self._is_alone and load.count >= ALONE_STREAMS:
                return False
            return is_waited_for or load.ahead < max(WINDOW, WINDOW_SECONDS * self._figures.ingress.rate)
        # An open request costs nothing: a parent sends what it has. One that is missing although the parent has the
        # object costs its link's time, which nobody gives back.
        ahead = window(self._figures.ingress.total)
        return load.count < OPEN_REQUESTS and (is_waited_for or load.ahead < ahead)

    def failed(self, item: Item, source: Source, error: AvalancheError) -> None:
        sha256 = item.entry.sha256
        parent = self._given.get(sha256)
        if parent is not None and self._parents.find(parent) is source:
            self._given[sha256] = None
            self._ask(item, avoid=parent)

    def arrived(self, item: Item) -> None:
        if self._is_first(item):
            sha256 = item.entry.sha256
            self._settle(sha256)
            self._dropped.pop(sha256, None)
            self._done[sha256] = None
        if self._downloader is not None and self._downloader.has_closure.is_set():
            self._news.set()

    def dropped(self, item: Item) -> None:
        if self._is_first(item):
            sha256 = item.entry.sha256
            self._settle(sha256)
            self._done.pop(sha256, None)
            self._dropped[sha256] = None

    def blame(self, peer: str, why: str, sha256: Optional[str] = None) -> None:
        """Tell the tracker what was seen of a parent."""
        log.info("parent blamed peer=%s why=%s object=%s", peer, why, sha256)
        self._blames[(peer, why) if sha256 is None else (peer, why, sha256)] = None
        self._news.set()
        if self._may_be_urgent():
            self._urgent.set()

    def abandon(self, peer: str) -> None:
        """Ask again for everything that was to come from a parent."""
        self._lost.add(peer)
        for sha256, parent in self._given.items():
            item = self._catalogue.find_object(sha256)
            if parent == peer and item is not None:
                self._given[sha256] = None
                self._ask(item, avoid=peer)

    def _is_first(self, item: Item) -> bool:
        return self._catalogue.find_object(item.entry.sha256) is item

    def _settle(self, sha256: str) -> None:
        self._given.pop(sha256, None)
        self._asks.pop(sha256, None)
        self._starved.pop(sha256, None)

    def _ask(self, item: Item, avoid: Optional[str] = None) -> None:
        sha256 = item.entry.sha256
        self._asks[sha256] = Ask(sha256, item.entry.size - item.verified, avoid)
        self._news.set()
        if (item.is_demanded or avoid is not None) and self._may_be_urgent():
            self._urgent.set()

    def _may_be_urgent(self) -> bool:
        """Has it spoken so seldom that it may do so now without a pause?"""
        now = self._now()
        gained = (now - self._leave_at) * LOOKUPS_PER_SECOND
        self._leave, self._leave_at = min(LOOKUPS_AT_ONCE, self._leave + gained), now
        return self._leave >= 1

    @property
    def _is_alone(self) -> bool:
        """Is there no tracker, and nothing left that comes from a known parent?"""
        if self._unanswered is None or self._now() - self._unanswered <= ALONE_SECONDS:
            return False
        return all(parent is None for parent in self._given.values())

    # --- lookups ---

    async def run(self) -> None:
        """Look up until cancelled, from the first question on."""
        # Who is held back (the file `hold`) must not stand in the line: others would wait for what it does not fetch.
        await self._news.wait()
        tries, wait = 0, 0.0
        while True:
            await self._pause(wait)
            try:
                wait = self._apply(*await self._look_up())
                if tries and self._downloader is not None:
                    self._downloader.resume()  # where the tracker runs a frontend often does
                tries = 0
            except (TransferError, ProtocolError) as error:
                if tries == 0:
                    log.warning("no tracker reason=%s", error)
                tries += 1
                self._must_register = True
                self._help_itself()
                wait = retry_seconds(tries, self._next) * (0.5 + random.random())  # noqa: S311 - jitter
                if isinstance(error, SourceUnavailable) and error.retry_after is not None:
                    wait = max(wait, error.retry_after)
                await asyncio.sleep(wait)
                wait = 0.0
            if self._downloader is not None:
                self._downloader.advance()

    async def leave(self) -> None:
        """Tell the tracker that nobody shall be sent here any more; it may not hear it."""
        self._is_leaving = True
        try:
            await within(LEAVE_SECONDS, self._post([]))
        except (TransferError, ProtocolError, asyncio.TimeoutError) as error:
            log.info("left without the tracker reason=%s", error)
        self._pool.close()

    async def _pause(self, seconds: float) -> None:
        """Wait until there is something to say, at most ``seconds``; but never ask too often."""
        if seconds <= 0:
            return
        spacing = min(self._spacing, seconds)
        alarm = asyncio.get_running_loop().call_later(spacing, self._urgent.set)
        try:
            await self._urgent.wait()
        finally:
            alarm.cancel()
            self._urgent.clear()
        if seconds > spacing:
            alarm = asyncio.get_running_loop().call_later(seconds - spacing, self._news.set)
            try:
                await self._news.wait()
            finally:
                alarm.cancel()

    async def _look_up(self) -> tuple[list[Ask], Answer]:
        self._news.clear()
        if self._unanswered is None:
            self._unanswered = self._now()
        if self._may_be_urgent():
            self._leave -= 1
        self._note_starvation()
        registers = self._must_register
        if registers:
            self._ask_again()
            self._forget_pace()
        asks = [self._fresh(ask) for ask in list(self._asks.values())[: lookup.MAXIMUM_ASKS]]
        done = list(self._done)[: lookup.MAXIMUM_NAMES]
        dropped = list(self._dropped)[: lookup.MAXIMUM_NAMES]
        blames = list(self._blames)[: lookup.MAXIMUM_BLAMES]
        more: dict[str, Any] = {"done": done, "drop": dropped, "blame": [list(blame) for blame in blames]}
        if registers:
            more["register"] = self._registration()
        answer = await self._post(asks, more)
        if not answer.register:
            for told, kept in ((done, self._done), (dropped, self._dropped)):
                for sha256 in told:
                    kept.pop(sha256, None)
            for blame in blames:
                self._blames.pop(blame, None)
            self._must_register = False
        else:
            self._must_register = True
        return asks, answer

    async def _post(self, asks: list[Ask], more: Optional[dict[str, Any]] = None) -> Answer:
        is_complete = self._downloader is not None and self._downloader.has_closure.is_set()
        now = self.time
        row = {
            "attempt": self._attempt,
            "port": self.port,
            "state": "leaving" if self._is_leaving else "complete" if is_complete else "fetching",
            "received": self._figures.verified,
            "ask": [ask.to_row() for ask in asks],
            "known": [] if now is None else self._parents.known(now + TICKET_RESERVE)[: lookup.MAXIMUM_KNOWN],
            **(more or {}),
        }
        request = Request("POST", lookup.TARGET, self._headers, lookup.format_lookup(row))
        problem: AvalancheError = SourceUnavailable("there is no tracker")
        if self._current and self._now() - self._moved > RETURN_SECONDS:
            # All hosts should stand in one line: that of the first tracker that lives. If it does not, it costs little.
            self._moved = self._now()
            with contextlib.suppress(TransferError, ProtocolError, asyncio.TimeoutError):
                answer = lookup.parse_answer(
                    await within(PROBE_SECONDS, self._exchange(self._trackers[0], request)), asks
                )
                self._current = 0
                return answer
        for _ in self._trackers:
            try:
                return lookup.parse_answer(await self._exchange(self._trackers[self._current], request), asks)
            except (TransferError, ProtocolError) as error:
                problem = error
                self._current, self._moved = (self._current + 1) % len(self._trackers), self._now()
        raise problem

    async def _exchange(self, address: Address, request: Request) -> bytes:
        exchange = await self._pool.begin(address, request)
        try:
            sink = Collector(lookup.MAXIMUM_ANSWER)
            await exchange.receive(sink)
        finally:
            self._pool.give_back(exchange)
        head = exchange.head
        if head.status == 200:
            return bytes(sink.data)
        reason = sink.data.decode("utf-8", "replace").strip()[:300]
        raise SourceUnavailable(f"{address}/lookup: {head.status}: {reason}", retry_after=head.retry_after)

    def _fresh(self, ask: Ask) -> Ask:
        item = self._catalogue.find_object(ask.sha256)
        assert item is not None
        return Ask(ask.sha256, item.entry.size - item.verified, ask.avoid)

    def _ask_again(self) -> None:
        """A tracker that knows nothing gets every question again that has no answer."""
        for sha256, parent in self._given.items():
            item = self._catalogue.find_object(sha256)
            if parent is None and sha256 not in self._asks and item is not None:
                self._ask(item)

    def _forget_pace(self) -> None:
        """What was said of pace and never heard is of another time; what still holds is said again within a second."""
        self._blames = {blame: None for blame in self._blames if blame[1] not in lookup.PACE}

    def _registration(self) -> dict[str, Any]:
        fetch = []
        for sha256, parent in self._given.items():
            item = self._catalogue.find_object(sha256)
            if parent is not None and item is not None and sha256 not in self._asks:
                fetch.append([sha256, parent, item.entry.size - item.verified])
        mine = filter(self._is_first, self._catalogue.closure)
        have = [item.entry.sha256 for item in mine if item.state is State.COMPLETE]
        row: dict[str, Any] = {"manifest": self._manifest, "have": have}
        row["fetch"] = fetch[: lookup.MAXIMUM_FETCHES]
        if self._parents.place is not None:
            row["place"] = self._parents.place
        return row

    # --- answers ---

    def _apply(self, asks: list[Ask], answer: Answer) -> float:
        """Do what the tracker says; return how long to wait before the next lookup."""
        self._unanswered = None
        self._offset = answer.time - self._now()
        self._heard.set()
        self._next, self._spacing = answer.next, max(PAUSE, answer.next - EASE)
        for row in answer.rows:
            self._parents.learn(row)
        if answer.register:
            return PAUSE
        if answer.place is not None:
            self._parents.place = answer.place
        if answer.ahead is not None:
            self._ahead = answer.ahead
            self._lost.clear()
        for ask, parent in zip(asks, answer.give):
            # What was asked once more meanwhile has another answer coming.
            kept = self._asks.get(ask.sha256)
            if kept is not None and kept.avoid == ask.avoid:
                del self._asks[ask.sha256]
                self._give(ask.sha256, parent)
        for sha256, parent in answer.moves:
            self._asks.pop(sha256, None)
            self._give(sha256, parent)
        return PAUSE if self._asks or self._blames else answer.next

    def _help_itself(self) -> None:
        """No tracker answers: what has no parent comes from the nearest one ahead, as far as the last answer tells."""
        helped: dict[str, int] = {}
        if self._ahead is None:
            return
        for sha256, ask in list(self._asks.items()):
            parent = lookup.stand_in(self._ahead, self._lost, ask.avoid)
            if parent is not None and self._given.get(sha256, parent) is None:
                helped[parent] = helped.get(parent, 0) + 1
                del self._asks[sha256]
                self._give(sha256, parent)
        for parent, count in helped.items():
            log.info("without a tracker peer=%s objects=%d", parent, count)

    def _give(self, sha256: str, parent: Optional[str]) -> None:
        item = self._catalogue.find_object(sha256)
        if item is None or sha256 not in self._given:
            return
        if parent is not None and parent != FRONTEND and self._parents.find(parent) is None:
            self._ask(item, avoid=parent)  # named without a row: it cannot be reached
            return
        if self._given[sha256] not in (None, parent):
            self._parents.be_quiet()
        self._given[sha256] = parent
        self._starved.pop(sha256, None)
        if self._downloader is not None and parent is not None:
            self._downloader.redirect(item)

    def _note_starvation(self) -> None:
        """The frontend may be what starves a chain; who is fed by it says so."""
        if self._downloader is None:
            return
        now = self._now()
        is_due, flights = self._downloader.is_due, self._downloader.flights
        oldest = next((each for each in flights if each.source is self._frontend and is_due(each.item)), None)
        if oldest is None:
            return
        sha256 = oldest.item.entry.sha256
        is_hungry = self._parents.is_lean or now - oldest.transfer.heard >= STARVED_SECONDS
        if is_hungry and now - self._starved.get(sha256, -9.0) >= 1.0 and self._given.get(sha256) == FRONTEND:
            self._starved[sha256] = now
            self.blame(FRONTEND, "starved", sha256)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def window(came: int) -> int:
    """How many bytes of the closure a host looks ahead, and has open at a parent, when so many have come."""
    return min(AHEAD, WINDOW + GROWTH * came)


def retry_seconds(tries: int, usual: float) -> float:
    """How long to wait after the ``tries``-th lookup in a row without an answer, on the average; ``usual``: seconds
    between two lookups, as the tracker said last.
    """
    least, most = RETRY_LAST
    return min(RETRY_FIRST * 2.0 ** min(tries - 1, 10), max(least, min(most, usual / 2)))


def _batches(closure: Collection[Item]) -> list[tuple[int, list[Item]]]:
    """The closure in batches, each with the byte of the closure at which it begins."""
    found: list[tuple[int, list[Item]]] = []
    start = 0
    for item in closure:
        begin = start // BATCH * BATCH
        if not found or found[-1][0] != begin:
            found.append((begin, []))
        found[-1][1].append(item)
        start += item.entry.size
    return found
