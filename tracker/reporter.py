"""What a tracker of its own tells its frontend, and hears: docs/protocol.md, section 10.5."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence

import aiohttp

from avalanche import news
from avalanche.errors import ProtocolError
from avalanche.log import facts
from avalanche.news import Holder, News, PeerReport
from tracker.app import log_report
from tracker.lookup import Peer
from tracker.standing import Report

log = logging.getLogger(__name__)

PERIOD = 2.0
"""Seconds between two messages."""
TIMEOUT = 10.0
KEPT = 1000
"""Reports that wait for a frontend that is away; older ones stand in the log."""


def wire_form(report: Report) -> PeerReport:
    """How a report travels."""
    text = "".join(char if char.isprintable() else "?" for char in report.text)[: news.MAXIMUM_TEXT]
    return PeerReport(report.order, report.host, report.status, text)


class Reporter:
    """Tells one frontend after the other until one listens.

    Args:
        urls: base addresses of the frontend.
    """

    def __init__(self, urls: Sequence[str], swarm_key: bytes) -> None:
        self.slow: frozenset[str] = frozenset()
        """The hosts that earlier installs found slow, as the frontend said last."""
        self._urls = list(urls)
        self._key = swarm_key
        self._name = secrets.token_hex(8)
        self._seq = 0
        self._waiting: deque[PeerReport] = deque(maxlen=KEPT)
        self._sent: tuple[PeerReport, ...] = ()
        self._was_heard = True

    def __repr__(self) -> str:
        return f"<Reporter {self._name} {len(self._waiting)} reports>"

    def note(self, report: Report) -> None:
        """Take a report: into the log at once, to the frontend soon."""
        log_report(report)
        self._waiting.append(wire_form(report))

    async def run(self, peers: Callable[[], list[Peer]]) -> None:
        """Tell until cancelled; ``peers`` says who serves now."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                await self.tell(session, peers())
                await asyncio.sleep(PERIOD)

    async def tell(self, session: aiohttp.ClientSession, peers: Sequence[Peer]) -> None:
        """Say once what there is to say; what nobody heard is said again next time."""
        if not self._sent:
            self._seq += 1
            self._sent = tuple(self._waiting.popleft() for _ in range(min(len(self._waiting), news.MAXIMUM_REPORTS)))
        body = News(self._name, self._seq, round(time.time(), 3), self._sent, _holders(peers)).to_bytes()
        problem = ""
        for url in list(self._urls):
            try:
                self.slow = await self._post(session, url, body)
            except (aiohttp.ClientError, TimeoutError, ProtocolError) as error:
                problem = f"{url}: {str(error) or type(error).__name__}"
                self._urls.append(self._urls.pop(0))
            else:
                self._sent = ()
                break
        else:
            if self._was_heard:
                log.warning("the frontend does not hear this tracker", extra=facts(reason=problem))
            self._was_heard = False
            return
        if not self._was_heard:
            log.info("the frontend hears this tracker again", extra=facts(url=self._urls[0]))
        self._was_heard = True

    async def _post(self, session: aiohttp.ClientSession, url: str, body: bytes) -> frozenset[str]:
        headers = {news.SIGNATURE: news.sign(self._key, body, purpose="news"), "Content-Type": "application/json"}
        async with session.post(url + news.TARGET, data=body, headers=headers, allow_redirects=False) as answer:
            told = await _bounded(answer)
            if answer.status != 200:
                raise ProtocolError(f"{answer.status}: {told[:300].decode('utf-8', 'replace').strip()}")
            if not news.is_signed(self._key, told, answer.headers.get(news.SIGNATURE, ""), purpose="answer"):
                raise ProtocolError("the answer is not signed with the swarm key of this tracker")
        return news.parse_answer(told)


def _holders(peers: Sequence[Peer]) -> tuple[Holder, ...]:
    chosen = random.sample(peers, min(len(peers), news.MAXIMUM_HOLDERS))
    return tuple(Holder(peer.order, peer.generation, peer.address, peer.port) for peer in chosen)


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    told = b""
    async for chunk in answer.content.iter_any():
        told += chunk
        if len(told) > news.MAXIMUM_BODY:
            raise ProtocolError(f"the answer has more than {news.MAXIMUM_BODY} bytes")
    return told
