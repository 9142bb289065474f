"""The package proxy: answers the installer's dnf from the cache, and from the network while a file still arrives.

docs/protocol.md section 8. A byte leaves here only after its piece was verified, the last piece only after the whole
file was. Whatever goes wrong later, the connection is broken off: an answer that ends is always complete and right.
"""

from __future__ import annotations

import logging
import re
from typing import Callable, NamedTuple, Optional
from urllib.parse import unquote_to_bytes

from avalanche.agent.catalogue import Catalogue
from avalanche.agent.downloader import Downloader
from avalanche.agent.item import Item
from avalanche.agent.metrics import CONTENT_TYPE, TARGET
from avalanche.agent.server import ClientGone, Exchange, Query
from avalanche.errors import AvalancheError
from avalanche.manifest import check_path

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
log = logging.getLogger(__name__)


class Proxy:
    """Answers queries for objects of one generation.

    Args:
        on_query: called with each item the installer asks for.
        metrics: writes what is told at `metrics.TARGET`.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        downloader: Downloader,
        *,
        on_query: Callable[[Item], None],
        metrics: Callable[[], str],
    ) -> None:
        self._metrics = metrics
        self._catalogue = catalogue
        self._downloader = downloader
        self._on_query = on_query

    async def answer(self, query: Query, exchange: Exchange) -> None:
        """Answer one query.

        Raises:
            ClientGone: the answer ends here, visibly incomplete.
        """
        if query.method not in ("GET", "HEAD"):
            await exchange.text(405, f"{query.method} is not served here", {"Allow": "GET, HEAD"})
            return
        if query.target.partition("?")[0] == TARGET:
            exchange.whole(200, self._metrics().encode("ascii"), {"Content-Type": CONTENT_TYPE})
            return
        path = object_path(query.target)
        try:
            item = None if path is None else await self._catalogue.find(path)
        except AvalancheError as error:
            await exchange.text(502, f"{path}: {error}")
            return
        if item is None:
            await exchange.text(404, f"{query.target[:200]} is not in generation {self._catalogue.generation}")
            return
        span = requested_span(query, item.entry.sha256, item.entry.size)
        if is_known(query, item.entry.sha256):
            exchange.head(304, {"ETag": etag(item.entry.sha256)})
        elif span is None:
            await exchange.text(416, "the range is beyond the end", {"Content-Range": f"bytes */{item.entry.size}"})
        elif query.method == "HEAD":
            send_head(exchange, item.entry.sha256, item.entry.size, span)
        else:
            self._on_query(item)
            await self._send(exchange, item, span)

    async def _send(self, exchange: Exchange, item: Item, span: Span) -> None:
        position = span.start
        self._downloader.demand(item)
        try:
            await item.beyond(position)
            slot = item.slot
            assert slot is not None
            item.readers += 1
            try:
                with slot.open() as file:
                    send_head(exchange, item.entry.sha256, item.entry.size, span)
                    while position < span.end:
                        if item.slot is not slot:
                            raise ClientGone("the object began anew")
                        ready = min(span.end, await item.beyond(position))
                        await exchange.send_file(file, position, ready)
                        position = ready
            finally:
                item.readers -= 1
        except (AvalancheError, OSError) as error:
            log.warning("answer failed path=%s sent=%d reason=%s", item.entry.path, position - span.start, error)
            if exchange.has_begun:
                raise ClientGone(str(error)) from error
            await exchange.text(502, str(error))
            return
        finally:
            item.take(span.start, position)
            self._downloader.taken(item)


def object_path(target: str) -> Optional[str]:
    """The path of a generation that a request target asks for, or None when it cannot be one.

    Takes ``/a/b``, ``http://HOST/a/b`` and doubled slashes; percent-encoding is undone once, so ``%2b`` is ``+``.

    >>> object_path("http://127.0.0.1:7070//Packages/l/libstdc%2b%2b-12.rpm")
    'Packages/l/libstdc++-12.rpm'
    """
    if target.startswith(("http://", "https://")):
        _, _, rest = target.partition("://")
        target = "/" + rest.partition("/")[2]
    if not target.startswith("/"):
        return None
    encoded = target.partition("?")[0].partition("#")[0]
    try:
        path = re.sub("/+", "/", unquote_to_bytes(encoded).decode("utf-8")).lstrip("/")
        check_path(path)
    except ValueError:
        return None
    return path


class Span(NamedTuple):
    """The bytes an answer sends, from ``start`` to before ``end``; ``is_part`` makes it a 206."""

    start: int
    end: int
    is_part: bool


def requested_span(query: Query, sha256: str, size: int) -> Optional[Span]:
    """The bytes of an object to send; everything when there is no Range header, or not one plain range.

    Returns:
        None when nothing of the range exists (416). Source of the rules: RFC 9110, section 14.
    """
    whole = Span(0, size, False)
    match = _RANGE.fullmatch(query.headers.get("range", "").strip())
    if match is None or query.headers.get("if-range", etag(sha256)).strip() != etag(sha256):
        return whole
    first, last = match.groups()
    if not first:
        if not last:
            return whole
        count = min(int(last), size)
        return Span(size - count, size, True) if count else None
    if last and int(last) < int(first):
        return whole
    if int(first) >= size:
        return None
    return Span(int(first), min(int(last) + 1, size) if last else size, True)


def is_known(query: Query, sha256: str) -> bool:
    """Does the client say that it has these bytes? Source of the rules: RFC 9110, section 13.1.2."""
    tags = [tag.strip() for tag in query.headers.get("if-none-match", "").split(",")]
    return tags == ["*"] or any(tag in (etag(sha256), f"W/{etag(sha256)}") for tag in tags)


def etag(sha256: str) -> str:
    """The entity tag of an object."""
    return f'"{sha256}"'


def send_head(exchange: Exchange, sha256: str, size: int, span: Span) -> None:
    """The head of an answer that brings ``span`` of an object."""
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(span.end - span.start),
        "Accept-Ranges": "bytes",
        "ETag": etag(sha256),
    }
    if span.is_part:
        headers["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{size}"
    exchange.head(206 if span.is_part else 200, headers)
