"""What an agent asks its frontend over HTTPS: profile, manifest, lookups, events, done.

Retries as docs/protocol.md section 1 says, over the frontend's addresses in order, for as long as the order lives.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Optional
from urllib.parse import quote, urlencode

from avalanche.agent.connection import Address, Collector, Head, Request
from avalanche.agent.pool import Pool
from avalanche.errors import AvalancheError, OrderRefused, ProtocolError, SourceUnavailable, TransferError
from avalanche.manifest import MAXIMUM_DOCUMENT, Entry, Manifest, parse_manifest
from avalanche.messages import ATTEMPT_HEADER, RETRY_STATUSES, StubDocument, format_authorization, retry_delay

PROFILE_BYTES = 8 << 20
"""Most bytes of an installation document: 4 MiB of profile and the host's attributes."""
REASON_BYTES = 4096
ANSWER_SECONDS = 30.0
"""A frontend that compiles for a thousand hosts at once may think for a while before the first byte."""

_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL
log = logging.getLogger(__name__)


def tls_context(ca: str) -> ssl.SSLContext:
    """Trust the frontend's own CA and nothing else; names and addresses of the certificate are checked, dates are not.

    An installing host's clock proves nothing: a flat battery says 1970. What ends a permission is the order's expiry,
    by the frontend's clock (docs/decisions/0030).

    Raises:
        ProtocolError: ``ca`` is not a certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= _NO_CHECK_TIME
    try:
        context.load_verify_locations(cadata=ca)
    except (ssl.SSLError, ValueError) as error:
        raise ProtocolError(f"the CA certificate of the order cannot be read: {error}") from error
    return context


@dataclass(frozen=True)
class Answer:
    """A complete answer of a frontend."""

    head: Head
    body: bytes

    @property
    def reason(self) -> str:
        """The one line of an error body."""
        lines = self.body.decode("utf-8", "replace").strip().splitlines()
        return lines[0][:500] if lines else "no reason given"


class Frontend:
    """The frontend, as seen with one order and one attempt."""

    def __init__(self, order: StubDocument, attempt: str) -> None:
        self.clock_offset: Optional[float] = None
        """Seconds the frontend's clock is ahead of ours, once it has answered."""
        self._addresses = [Address.parse(url) for url in order.https]
        self._headers = {
            "Authorization": format_authorization(order.order, order.secret),
            ATTEMPT_HEADER: attempt,
        }
        self._pool = Pool(tls=tls_context(order.ca), stall=ANSWER_SECONDS, idle=1)  # TLS takes 0.3 MB each

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    async def profile(self) -> bytes:
        """The installation document; the first request of an attempt counts it.

        Raises:
            OrderRefused: the order is not live.
            AvalancheError: the frontend gives a final answer that is no profile.
        """
        return (await self._call("GET", "/install/profile", limit=PROFILE_BYTES)).body

    async def manifest(self, digest: str) -> bytes:
        """The manifest with this SHA-256; the caller checks it. Raises as `profile`."""
        return (await self._call("GET", f"/install/manifest/{digest}", limit=MAXIMUM_DOCUMENT)).body

    async def lookup(self, generation: str, path: str) -> Optional[Entry]:
        """The object of the generation at ``path``, or None when there is none. Raises as `profile`."""
        target = f"/install/object?path={quote(path, safe='/')}"
        answer = await self._call("GET", target, limit=MAXIMUM_DOCUMENT, also=(404,))
        if answer.head.status == 404:
            return None
        manifest: Manifest = parse_manifest(answer.body)
        entry = manifest.find(path)
        if manifest.generation != generation or entry is None:
            raise ProtocolError(f"asked for {path} of {generation}, the frontend answered with {manifest!r}")
        return entry

    async def torrent(self) -> bytes:
        """The torrent of the order's generation, with this host's announce addresses. Raises as `profile`."""
        return (await self._call("GET", "/install/torrent", limit=MAXIMUM_DOCUMENT)).body

    async def library(self, python: str, machine: str, glibc: str) -> tuple[Optional[bytes], str]:
        """Which libtorrent there is for this host (docs/protocol.md, 13.2); None and why not. Raises as `profile`."""
        target = "/install/libtorrent?" + urlencode({"python": python, "machine": machine, "glibc": glibc})
        answer = await self._call("GET", target, limit=REASON_BYTES, also=(404,))
        return (None, answer.reason) if answer.head.status == 404 else (answer.body, "")

    async def post(self, target: str, text: str) -> None:
        """Post a JSON message until it is stored. Raises as `profile`."""
        headers = {"Content-Type": "application/json"}
        await self._call("POST", target, headers=headers, body=text.encode("ascii"), limit=REASON_BYTES)

    async def _call(
        self,
        method: str,
        target: str,
        *,
        limit: int,
        headers: Optional[Mapping[str, str]] = None,
        body: bytes = b"",
        also: tuple[int, ...] = (),
    ) -> Answer:
        request = Request(method, target, {**self._headers, **(headers or {})}, body)
        tries = 0
        while True:
            failures: list[AvalancheError] = []
            for address in self._addresses:
                try:
                    return self._accept(target, await self._ask(address, request, limit), also)
                except (TransferError, ProtocolError) as error:
                    failures.append(error)
            problem = "; ".join(map(str, failures))
            if not any(isinstance(failure, TransferError) for failure in failures):
                raise ProtocolError(problem)
            tries += 1
            asked = [failure.retry_after or 0.0 for failure in failures if isinstance(failure, SourceUnavailable)]
            wait = retry_delay(tries, chance=random.random(), retry_after=max(asked, default=None))  # noqa: S311
            if tries == 1 or tries % 10 == 0:
                log.warning("frontend unavailable target=%s tries=%d reason=%s", target, tries, problem)
            await asyncio.sleep(wait)

    async def _ask(self, address: Address, request: Request, limit: int) -> Answer:
        exchange = await self._pool.begin(address, request)
        try:
            sink = Collector(limit if exchange.head.status < 300 else REASON_BYTES)
            await exchange.receive(sink)
        finally:
            self._pool.give_back(exchange)
        self._note_clock(exchange.head)
        return Answer(exchange.head, bytes(sink.data))

    def _accept(self, target: str, answer: Answer, also: tuple[int, ...]) -> Answer:
        status = answer.head.status
        if 200 <= status < 300 or status in also:
            return answer
        if status == 403:
            raise OrderRefused(answer.reason)
        message = f"{target.partition('?')[0]}: {status}: {answer.reason}"
        if status in RETRY_STATUSES:
            raise SourceUnavailable(message, retry_after=answer.head.retry_after)
        raise ProtocolError(message)

    def _note_clock(self, head: Head) -> None:
        if self.clock_offset is None and "date" in head.headers:
            said = read_date(head.headers["date"])
            self.clock_offset = None if said is None else said - time.time()


_DATE = re.compile(r"[A-Z][a-z]{2}, (\d\d) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def read_date(text: str) -> Optional[float]:
    """Seconds since 1970 of a ``Date`` header (RFC 9110, 5.6.7, the form every server writes), or None.

    The library's reader takes a megabyte of memory.
    """
    found = _DATE.fullmatch(text)
    if found is None or found[2] not in _MONTHS:
        return None
    day, year, hour, minute, second = map(int, found.group(1, 3, 4, 5, 6))
    try:
        moment = datetime(year, _MONTHS.index(found[2]) + 1, day, hour, minute, second, tzinfo=timezone.utc)
    except ValueError:
        return None
    return moment.timestamp()
