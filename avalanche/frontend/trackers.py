"""What trackers find out, inside the frontend or elsewhere: it goes into timelines, and orders the next chain.

``POST /install/tracker`` is how a tracker of its own tells it (docs/protocol.md, section 10.5).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiohttp import web

from avalanche import news
from avalanche.adapters.orderbook import TimelineEvent, lying_hosts, slow_hosts
from avalanche.errors import OrderRefused, ProtocolError
from avalanche.frontend.answers import client
from avalanche.frontend.storage import Storage
from avalanche.frontend.timeline import Timeline
from avalanche.log import facts
from avalanche.news import Holder, News, PeerReport

SLOW_SECONDS = 30 * 86400.0
"""So long it is remembered that a host was slow, or lied; its cable, or its memory, may have been mended since."""
HOLDERS_SECONDS = 15.0
"""So long what a tracker said about holders is believed; it says so every few seconds."""
TRACKERS_KEPT = 64
BODY_SECONDS = 10.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Heard:
    """What a tracker said last, and when."""

    seq: int
    at: float
    holders: tuple[Holder, ...]


class Trackers:
    """What is known through trackers.

    Args:
        key: the swarm key.
        clock: seconds since 1970.
    """

    def __init__(self, key: bytes, storage: Storage, timeline: Timeline, clock: Callable[[], float]) -> None:
        self.slow: set[str] = set()
        """Hosts that were slow lately. Ordering the chain is cheaper than repairing it: they begin at its end."""
        self.lying: set[str] = set()
        """Hosts whose bytes failed their hash lately."""
        self._key = key
        self._storage = storage
        self._timeline = timeline
        self._clock = clock
        self._heard: dict[str, _Heard] = {}

    def __repr__(self) -> str:
        return f"<Trackers {len(self._heard)} heard, {len(self.slow)} slow hosts>"

    async def load(self) -> None:
        """Read from the timelines which hosts were slow, or lied."""
        since = self._clock() - SLOW_SECONDS
        self.slow |= await self._storage.read(lambda transaction, _: slow_hosts(transaction, since))
        self.lying |= await self._storage.read(lambda transaction, _: lying_hosts(transaction, since))

    def note(self, report: PeerReport) -> None:
        """Put a finding into its host's timeline."""
        if report.status == "slow":
            self.slow.add(report.host)
        elif report.status == "restored":
            self.slow.discard(report.host)
        elif report.status == "corrupt":
            self.lying.add(report.host)
        event = TimelineEvent(report.host, self._clock(), "peers", report.status, report.text, report.order)
        self._timeline.note(event)

    def holders(self) -> Sequence[Holder]:
        """Hosts that have the agent bundle, as trackers elsewhere said just now."""
        since = self._clock() - HOLDERS_SECONDS
        return [holder for heard in self._heard.values() if heard.at >= since for holder in heard.holders]

    def hear(self, message: News) -> None:
        """Take what a tracker says; what it says again is not noted again.

        Raises:
            ProtocolError: it was said too long ago, by its clock or ours.
        """
        now = self._clock()
        if abs(now - message.at) > news.CLOCK_SECONDS:
            raise ProtocolError(
                f"news: the tracker's clock is {now - message.at:.0f} s behind the frontend's; set both right"
            )
        last = self._heard.get(message.tracker)
        if last is not None and message.seq < last.seq:
            raise ProtocolError(f"news: message {message.seq} came after message {last.seq}")
        if last is None or message.seq > last.seq:
            for report in message.reports:
                self.note(report)
                log.warning("tracker reports", extra=facts(host=report.host, status=report.status, text=report.text))
        self._heard.pop(message.tracker, None)
        while len(self._heard) >= TRACKERS_KEPT:
            del self._heard[next(iter(self._heard))]
        self._heard[message.tracker] = _Heard(message.seq, now, message.holders)

    async def post(self, request: web.Request) -> web.Response:
        """``POST /install/tracker``."""
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await request.read()
        except TimeoutError:
            raise ProtocolError(f"the body did not arrive within {BODY_SECONDS:.0f} s") from None
        if not news.is_signed(self._key, body, request.headers.get(news.SIGNATURE, ""), purpose="news"):
            raise OrderRefused(f"news from {client(request)} are not signed with the swarm key of this frontend")
        self.hear(News.parse(body))
        answer = news.format_answer(sorted(self.slow))
        headers = {news.SIGNATURE: news.sign(self._key, answer, purpose="answer"), "Cache-Control": "no-store"}
        return web.Response(body=answer, content_type="application/json", headers=headers)
