"""Frontends and folders for the agent's tests."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Callable

import pytest
import pytest_asyncio

from tests.agent.faulty import Certificates, FaultyFrontend, Generation, installation_of
from tests.agent.swarm import StubTracker
from tests.loopclock import LoopClock


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name: a socket's path has at most 107 characters."""
    path = Path(tempfile.mkdtemp(prefix="av-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def blob() -> Callable[[int], bytes]:
    """Bytes without a pattern, always the same ones."""
    chance = random.Random(20261120)
    return lambda size: chance.getrandbits(8 * size).to_bytes(size, "big")


@pytest.fixture
def objects(blob: Callable[[int], bytes]) -> dict[str, bytes]:
    """Sizes around the edges: one byte, a block, a piece, a piece and a byte, several pieces."""
    sizes = (1, 16384, 16385, 262144, 262145, 700000, 1048576, 5, 300000, 4242, 99999, 524288)
    packages = {f"Packages/p/p{number}+x-{size}.rpm": blob(size) for number, size in enumerate(sizes)}
    return {**packages, "repodata/repomd.xml": b"<repomd/>\n"}


@pytest_asyncio.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> LoopClock:
    return LoopClock(monkeypatch)


@pytest_asyncio.fixture
async def frontend(certificates: Certificates, objects: dict[str, bytes]) -> AsyncIterator[FaultyFrontend]:
    generation = Generation(objects)
    frontend = FaultyFrontend(certificates, generation)
    frontend.installation = installation_of(generation)
    await frontend.start()
    yield frontend
    await frontend.stop()


@pytest_asyncio.fixture
async def tracker() -> AsyncIterator[StubTracker]:
    tracker = StubTracker()
    await tracker.start()
    yield tracker
    await tracker.stop()
