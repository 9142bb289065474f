"""``/install/packages``: the objects of a generation over plain HTTP (docs/protocol.md, section 5).

A path is looked up in the generation's manifest and never touches the file system as such.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from urllib.parse import unquote_to_bytes

from aiohttp import web

from avalanche.egress import Busy
from avalanche.errors import RepositoryError
from avalanche.frontend.answers import client, line
from avalanche.frontend.gate import Gate, Passage
from avalanche.frontend.generations import Generations
from avalanche.log import facts
from avalanche.manifest import Entry

log = logging.getLogger(__name__)

PREFIX = "/install/packages/"
STALL_SECONDS = 60.0  # a client that takes no whole slice in this time is given up
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes of one answer: ``first`` to before ``end``."""

    first: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.first


def parse_range(text: str | None, size: int) -> Span | None:
    """Read a Range header; None means the whole object.

    A header that is not one range of bytes is ignored, as RFC 9110 (section 14.2) allows.

    Raises:
        ValueError: the range begins beyond the end.
    """
    match = _RANGE.fullmatch(text.strip()) if text is not None else None
    if match is None or not (match[1] or match[2]):
        return None
    if match[1] and match[2] and int(match[2]) < int(match[1]):
        return None
    first = int(match[1]) if match[1] else max(0, size - int(match[2]))
    end = int(match[2]) + 1 if match[1] and match[2] else size
    if first >= size:
        raise ValueError("the range begins beyond the end")
    return Span(first, min(end, size))


class Packages:
    """Serves objects, through the gate.

    Args:
        on_sent: called with every number of bytes that was sent.
    """

    def __init__(self, generations: Generations, gate: Gate, *, on_sent: Callable[[int], None]) -> None:
        self._generations = generations
        self._gate = gate
        self._on_sent = on_sent

    def __repr__(self) -> str:
        return f"<Packages {self._gate!r}>"

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Answer GET and HEAD."""
        raw = request.rel_url.raw_path.removeprefix(PREFIX)
        # Undone once, so that %2b and + are the same, and %252b is a name with %2b in it.
        path = unquote_to_bytes(raw).decode("utf-8", "replace")
        name, _, path = path.partition("/")
        generation = await self._generations.open(name)
        entry = generation.manifest.find(path) if generation is not None else None
        if generation is None:
            return line(404, f"there is no generation {name[:80]!r}")
        if entry is None:
            return line(404, f"generation {name} has no object {path[:300]!r}")
        return await self._answer(request, entry, generation.object_path(path))

    async def _answer(self, request: web.Request, entry: Entry, file: Path) -> web.StreamResponse:
        etag = f'"{entry.sha256}"'
        known = request.headers.get("If-None-Match")
        if known is not None and (known.strip() == "*" or etag in (tag.strip() for tag in known.split(","))):
            return web.Response(status=304, headers={"ETag": etag})
        condition = request.headers.get("If-Range")
        wanted = request.headers.get("Range") if condition is None or condition.strip() == etag else None
        headers = {"ETag": etag, "Accept-Ranges": "bytes", "Content-Type": _media_type(entry.path)}
        try:
            span = parse_range(wanted, entry.size)
        except ValueError:
            answer = line(416, f"the object has {entry.size} bytes")
            answer.headers.update({"ETag": etag, "Content-Range": f"bytes */{entry.size}"})
            return answer
        if span is not None:
            headers["Content-Range"] = f"bytes {span.first}-{span.end - 1}/{entry.size}"
        response = web.StreamResponse(status=200 if span is None else 206, headers=headers)
        span = span or Span(0, entry.size)
        response.content_length = span.length
        with _open(file, entry) as opened:
            if request.method != "GET":
                await response.prepare(request)
            else:
                try:
                    async with self._gate.stream(client(request)) as passage:
                        await response.prepare(request)
                        await self._send(request, opened, span, entry, passage)
                except Busy as busy:
                    text = f"{self._gate.caps.streams} package answers at once are all this frontend admits; come back"
                    return line(503, text, retry_after=busy.seconds)
        await response.write_eof()
        return response

    async def _send(
        self, request: web.Request, file: BufferedReader, span: Span, entry: Entry, passage: Passage
    ) -> None:
        loop = asyncio.get_running_loop()
        began = time.monotonic()
        transport = request.transport
        offset = span.first
        try:
            while offset < span.end:
                count = min(passage.slice, span.end - offset)
                async with passage.sending(count), asyncio.timeout(STALL_SECONDS):
                    if transport is None or transport.is_closing():
                        raise ConnectionResetError("the client has gone")
                    sent = await loop.sendfile(transport, file, offset, count)
                self._on_sent(sent)
                if sent != count:
                    raise RepositoryError(f"{entry.path}: its file became shorter while it was sent")
                offset += count
        except BaseException as error:
            # The head promised more than was sent: only an end of the connection tells the client.
            if transport is not None:
                transport.abort()
            told = facts(path=entry.path, sent=offset - span.first, client=client(request), reason=repr(error))
            log.info("package broken off", extra=told)
            if isinstance(error, (OSError, TimeoutError, RepositoryError)):
                raise ConnectionResetError(str(error)) from error
            raise
        seconds = time.monotonic() - began
        log.debug("package served", extra=facts(path=entry.path, bytes=span.length, seconds=seconds))


def _open(file: Path, entry: Entry) -> BufferedReader:
    """Open an object's file.

    Raises:
        RepositoryError: it is gone or has another size than the manifest says.
    """
    try:
        opened = file.open("rb")
    except OSError as error:
        raise RepositoryError(
            f"{entry.path}: its file cannot be read: {error.strerror}; import the distribution again"
        ) from error
    size = os.fstat(opened.fileno()).st_size
    if size != entry.size:
        opened.close()
        raise RepositoryError(
            f"{entry.path}: its file has {size} bytes instead of {entry.size}; import the distribution again"
        )
    return opened


def _media_type(path: str) -> str:
    return "application/x-rpm" if path.endswith(".rpm") else "application/octet-stream"
