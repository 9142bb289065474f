"""The agent's loading half, put together as `avalanche.agent.program` does it, in the loop of a test."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Callable, Optional

from avalanche.agent.connection import Address
from avalanche.agent.events import Events
from avalanche.agent.feed import Feed
from avalanche.agent.frontend import Frontend
from avalanche.agent.item import Item
from avalanche.agent.progress import Progress
from avalanche.agent.rundir import RunDirectory
from avalanche.agent.settings import Settings
from avalanche.agent.trouble import Delay
from avalanche.membership import Membership
from tests.agent.faulty import FaultyFrontend

ATTEMPT = "0123456789abcdef"


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that no event announces to a test; a minute without it is a failure, and not patience."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "what the test waits for does not come"
        await asyncio.sleep(0.01)


class Answer:
    """What a client saw: ``is_whole`` only when the announced length arrived."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.is_whole = len(body) == int(headers["content-length"])


async def read_answer(reader: asyncio.StreamReader, *, method: str = "GET") -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
    body = b""
    while method != "HEAD" and len(body) < int(headers["content-length"]):
        try:
            data = await reader.read(65536)
        except ConnectionError:
            break
        if not data:
            break
        body += data
    return Answer(int(head[0].split()[1]), headers, body)


class Rig:
    """Frontend client, cache, downloader and proxy, listening on `port`."""

    def __init__(
        self,
        frontend: FaultyFrontend,
        folder: Path,
        *,
        stall: float = 5.0,
        limit: Optional[int] = None,
        roots: tuple[Path, ...] = (),
        others: tuple[str, ...] = (),
        delay: Delay = lambda tries, retry_after: 0.02,
        membership: Optional[Membership] = None,
        attempt: str = ATTEMPT,
        plane: str = "relay",
    ) -> None:
        run = folder / "run"
        run.mkdir(mode=0o700, exist_ok=True)
        self.run = RunDirectory(run)
        settings = Settings(cache_dir=folder / "cache", cache_limit_bytes=limit or 1 << 30, target_roots=roots, port=0)
        self.frontend = frontend
        self.client = Frontend(frontend.document(), ATTEMPT)
        self.events = Events(self.client, attempt=ATTEMPT, run=self.run)
        manifest = frontend.generation.manifest
        document = frontend.document()
        self.feed = Feed(
            manifest,
            document,
            frontend=self.client,
            addresses=[Address.parse(url) for url in (*others, *document.http)],
            settings=settings,
            events=self.events,
            membership=membership,
            attempt=attempt,
            bundle=run / "agent.pyz",
            plane=plane,
            delay=delay,
            stall=stall,
        )
        self.catalogue = self.feed.catalogue
        self.cache = self.feed.cache
        self.pool = self.feed.pool
        self.downloader = self.feed.downloader
        self.progress = Progress(manifest, self.downloader, self.events, self.run)
        self.port = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Rig:
        self.port = await self.feed.open()
        self._tasks = [asyncio.ensure_future(self.events.run())]
        return self

    async def __aexit__(self, *reason: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.feed.close()
        self.client.close()
        await asyncio.sleep(0.01)

    def load(self) -> None:
        """Begin to prefetch."""
        self._tasks.append(asyncio.ensure_future(self.progress.run()))

    async def loaded(self, seconds: float = 60.0) -> None:
        self.load()
        await asyncio.wait_for(self.downloader.has_closure.wait(), seconds)

    async def get(self, path: str, *, method: str = "GET", **headers: str) -> Answer:
        """Ask the proxy over a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{k}: {v}" for k, v in headers.items()), "", ""]
            writer.write("\r\n".join(lines).encode())
            return await asyncio.wait_for(read_answer(reader, method=method), 30)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    @property
    def asked(self) -> set[str]:
        """Paths of the packages the installer has asked for."""
        return self.feed.watch._asked

    def item(self, path: str) -> Item:
        found = [item for item in self.catalogue.items if item.entry.path == path]
        return found[0]
