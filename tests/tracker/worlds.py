"""What the tracker's tests share: a key, a generation, tokens, and a tracker that listens."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp

from avalanche.tokens import SwarmToken, sign_token
from tracker.app import Tracker
from tracker.registry import MemoryRegistry, Registered
from tracker.server import Gate, serving
from tracker.standing import Report

KEY = bytes(range(32))
GENERATION = "g-5d41402abc4b2a76"
WALL = 1_795_000_000.0
OBJECTS = {hashlib.sha256(b"%d" % number).hexdigest(): 1_000 * (number + 1) for number in range(8)}
THINGS = tuple(OBJECTS)
CLOSURE = hashlib.sha256(b"closure").hexdigest()
INFO_HASH = bytes.fromhex("a2a15537542b22925ad10486bf7a8b2a9c42f0d1")
REGISTERED = Registered(GENERATION, OBJECTS, {CLOSURE: frozenset(THINGS)}, frozenset({INFO_HASH}))


def token_of(
    number: int = 1, *, host: str | None = None, rack: str = "0", address: str = "127.0.0.1", **changes: Any
) -> str:
    """A good token of host ``number``; changes go to its fields."""
    fields: dict[str, Any] = {"order": f"{number:016x}", "host": host or f"compute-{rack}-{number}", "rack": rack}
    fields |= {"address": address, "generation": GENERATION, "expires": int(WALL) + 3600, **changes}
    return sign_token(KEY, SwarmToken(**fields))


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return WALL + self.now - 100.0


class Running:
    """A tracker that listens on loopback, and a client for it."""

    def __init__(self, tracker: Tracker, session: aiohttp.ClientSession, port: int, clock: Clock) -> None:
        self.tracker = tracker
        self.session = session
        self.port = port
        self.clock = clock
        self.reports: list[Report] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def look_up(self, number: int = 1, *, token: str | None = None, **fields: Any) -> dict[str, Any]:
        """What host ``number`` is answered; it registers with the whole closure unless ``register`` says otherwise."""
        status, body = await self.post(token or token_of(number), lookup(number, **fields))
        assert status == 200, body
        return json.loads(body)  # type: ignore[no-any-return]

    async def post(self, token: str | None, body: bytes) -> tuple[int, str]:
        """Status and text of a lookup."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        async with self.session.post(f"{self.address}/lookup", data=io.BytesIO(body), headers=headers) as response:
            return response.status, await response.text()


def lookup(number: int = 1, **fields: Any) -> bytes:
    """The body of a lookup; a field that is None is left out."""
    document: dict[str, Any] = {"version": 1, "attempt": f"{number:016x}", "port": 40_000 + number}
    document |= {"state": "fetching", "received": 0, "register": {"manifest": CLOSURE}, **fields}
    return json.dumps({name: value for name, value in document.items() if value is not None}).encode()


@contextlib.asynccontextmanager
async def running(
    registered: Registered = REGISTERED,
    *,
    gate: Gate | None = None,
    known_slow: Callable[[str], bool] = lambda host: False,
) -> AsyncIterator[Running]:
    """A tracker with a clock of its own, which moves only when the test says so."""
    clock, reports = Clock(), []  # type: ignore[var-annotated]
    tracker = Tracker(
        swarm_key=KEY,
        registry=MemoryRegistry([registered]),
        on_report=reports.append,
        is_known_slow=known_slow,
        clock=clock,
        wall=clock.wall,
        chance=random.Random(1),
    )
    async with serving(tracker, "127.0.0.1", 0, gate=gate or Gate(1000)) as port, aiohttp.ClientSession() as session:
        world = Running(tracker, session, port, clock)
        world.reports = reports
        yield world
