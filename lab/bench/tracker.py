"""A tracker process under thousands of hosts: real HTTP on loopback, one connection and one address per host.

Every host does what an agent does: it registers, asks for the next objects of its closure as its download goes on, says
what is complete, waits as long as the answer says. ``python -m lab.bench.tracker [HOSTS [SECONDS]]`` runs it alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from ipaddress import IPv4Address
from pathlib import Path

from avalanche.agent.swarm import BATCH, EASE, PAUSE, window
from avalanche.errors import AvalancheError
from avalanche.tokens import SwarmToken, sign_token
from lab.simulated import package_sizes
from tracker.registry import Registered, write_registry

GENERATION = "g-0123456789abcdef"
CLOSURE = 325_000_000
OBJECTS = 406
RACK = 32
FIRST_ADDRESS = IPv4Address("127.16.0.1")
COMING_PER_SECOND = 500
PORT = 17969


class Site:
    """A tracker's files and process, and the tokens of its hosts."""

    def __init__(self, folder: Path, *, seed: int = 1) -> None:
        self.folder = folder
        self.key = bytes(range(32))
        self.sizes = package_sizes(CLOSURE, OBJECTS, seed=seed)
        self.things = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(OBJECTS)]
        self.manifest = hashlib.sha256(b"closure").hexdigest()
        objects = dict(zip(self.things, self.sizes, strict=True))
        registered = Registered(GENERATION, objects, {self.manifest: frozenset(self.things)})
        (folder / "registry.jsonl").write_bytes(write_registry([registered]))
        (folder / "swarm.key").write_text(self.key.hex() + "\n")
        (folder / "swarm.key").chmod(0o600)
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, port: int) -> None:
        """Start the tracker and wait until it listens.

        Raises:
            AvalancheError: it ended.
        """
        self.port = port
        config = self.folder / f"tracker-{port}.toml"
        config.write_text(
            f'[tracker]\naddress = "127.0.0.1"\nport = {port}\nregistry = "registry.jsonl"\nswarm_key = "swarm.key"\n'
            'connections = 20000\n[log]\nlevel = "error"\n'
        )
        with (self.folder / f"tracker-{port}.log").open("ab") as log:
            command = [sys.executable, "-m", "avalanche", "tracker", "--config", str(config)]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        while True:
            if self._process.poll() is not None:
                raise AvalancheError(f"the tracker ended: {(self.folder / f'tracker-{port}.log').read_text()}")
            if _listens(port):
                return
            time.sleep(0.05)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait()

    def usage(self) -> tuple[float, float]:
        """Processor seconds so far, and resident MiB."""
        assert self._process is not None
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK"), int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)

    def token(self, number: int) -> str:
        """The token of host ``number``."""
        order, rack = f"{number:016x}", str(number // RACK)
        address, expires = str(address_of(number)), int(time.time()) + 3600
        return sign_token(self.key, SwarmToken(order, name_of(number), rack, address, GENERATION, expires))


def name_of(number: int) -> str:
    """The name of host ``number``."""
    return f"compute-{number // RACK}-{number % RACK}"


def address_of(number: int) -> IPv4Address:
    """Where host ``number`` speaks from."""
    return FIRST_ADDRESS + number


def _listens(port: int) -> bool:
    lines = Path("/proc/net/tcp").read_text().splitlines()
    return any(line.split()[1] == f"0100007F:{port:04X}" and line.split()[3] == "0A" for line in lines[1:])


class Figures:
    """What all hosts saw."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.lookups = 0
        self.total = 0
        self.asked = 0
        self.given = 0
        self.failures: deque[str] = deque(maxlen=5)
        self.failed = 0


class LoadHost(asyncio.Protocol):
    """One installing host: a connection, and how far its download is.

    Args:
        rate: bytes per second it downloads, once it knows from whom.
    """

    def __init__(self, site: Site, number: int, *, rate: float, figures: Figures, chance: random.Random) -> None:
        self._site = site
        self._number = number
        self._rate = rate
        self._figures = figures
        self._chance = chance
        head = f"POST /lookup HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {site.token(number)}\r\n"
        self._head = head + "Content-Type: application/json\r\nContent-Length: "
        self._transport: asyncio.Transport | None = None
        self._data = b""
        self._sent_at = 0.0
        self._began = 0.0
        self._asked = 0
        self._given = 0
        self._given_bytes = 0
        self._done = 0
        self._done_bytes = 0
        self._known: set[str] = set()
        self._spacing = PAUSE
        self._registers = True
        self._asking = 0
        self.is_stopped = False

    async def open(self) -> None:
        """Connect, from this host's own address."""
        loop = asyncio.get_running_loop()
        where = ("127.0.0.1", self._site.port)
        await loop.create_connection(lambda: self, *where, local_addr=(str(address_of(self._number)), 0))
        self._began = loop.time()
        self._ask()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.is_stopped:
            self._fail(f"connection lost: {exc}")
        self._transport = None

    def close(self) -> None:
        """Go away."""
        self.is_stopped = True
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        if not end:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self._data = b""
        now = asyncio.get_running_loop().time()
        self._figures.seconds.append(now - self._sent_at)
        self._figures.lookups += 1
        self._figures.total += 1
        if head.startswith(b"HTTP/1.1 200 "):
            self._apply(json.loads(body), now)
        else:
            self._fail(f"{head[:30]!r} {body[:200]!r}")
            self._later(1.0)

    def _fail(self, reason: str) -> None:
        self._figures.failed += 1
        self._figures.failures.append(reason)

    def _ask(self) -> None:
        if self._transport is None or self.is_stopped:
            return
        site, now = self._site, asyncio.get_running_loop().time()
        row: dict[str, object] = {"version": 1, "attempt": "0123456789abcdef", "port": 40000, "state": "fetching"}
        # What it got is complete when its time on the wire has passed.
        done = []
        allowed = (now - self._began) * self._rate
        while self._done < self._given and self._done_bytes + site.sizes[self._done] <= allowed:
            self._done_bytes += site.sizes[self._done]
            done.append(site.things[self._done])
            self._done += 1
        # Pieces of an object count before it is complete.
        received = int(min(allowed, self._given_bytes))
        row["received"] = received
        asks: list[list[object]] = []
        seen = received + window(received) + int(2 * (self._spacing - PAUSE) * self._rate)
        ahead = (seen // BATCH + 1) * BATCH  # of a batch that begins there, everything
        while self._asked < OBJECTS and self._given_bytes < ahead and len(asks) < 512:
            asks.append([site.things[self._asked], site.sizes[self._asked]])
            self._given_bytes += site.sizes[self._asked]
            self._asked += 1
        self._asking = len(asks)
        if self._registers:
            self._registers = False
            row["register"] = {"manifest": site.manifest, "have": [], "fetch": []}
        row |= {"ask": asks} if asks else {}
        row |= {"done": done} if done else {}
        row |= {"known": sorted(self._known)} if self._known else {}
        if self._done == OBJECTS:
            row["state"] = "complete"
        self._figures.asked += len(asks)
        body = json.dumps(row, separators=(",", ":"))
        self._sent_at = now
        self._transport.write(f"{self._head}{len(body)}\r\n\r\n{body}".encode())

    def _apply(self, answer: dict[str, object], now: float) -> None:
        give, rows, moves = answer["give"], answer["rows"], answer["move"]
        assert isinstance(give, list) and isinstance(rows, list) and isinstance(moves, list)
        self._known |= {row["peer"] for row in rows}
        if answer["register"]:
            self._registers = True
            self._later(PAUSE)
            return
        # An object without a parent yet is one that a move will name.
        self._given += len(give)
        self._figures.given += sum(index != -1 for index in give) + len(moves)
        following = answer["next"]
        assert isinstance(following, (int, float))
        self._spacing = max(PAUSE, following - EASE)
        received = min((now - self._began) * self._rate, self._given_bytes)
        if self._asked < OBJECTS and received < self._given_bytes:
            until = (received // BATCH + 1) * BATCH / self._rate - (now - self._began)
            following = min(float(following), max(self._spacing, until))
        self._later(float(following))

    def _later(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._ask)


async def load(site: Site, hosts: int, *, seconds: float, rate: float, ramp: float) -> tuple[Figures, float]:
    """Let hosts come within ``ramp`` seconds and work for ``seconds`` more; return what they saw, measured after the
    ramp, and how long that was.
    """
    figures, chance = Figures(), random.Random(1)
    crowd = [LoadHost(site, number, rate=rate, figures=figures, chance=chance) for number in range(hosts)]
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number, host in enumerate(crowd):
        await host.open()
        late = began + ramp * number / hosts - loop.time()
        if late > 0:
            await asyncio.sleep(late)
    figures.seconds, figures.lookups, figures.asked, figures.given = [], 0, 0, 0
    start = loop.time()
    await asyncio.sleep(seconds)
    took = loop.time() - start
    for host in crowd:
        host.close()
    await asyncio.sleep(0)
    return figures, took


def run_tracker(hosts: int = 5000, seconds: float = 30.0, rate_mbit: float = 100.0) -> dict[str, float]:
    """Measure, print, and return the figures."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="avalanche-bench-") as folder:
        site = Site(Path(folder))
        try:
            site.start(PORT)
            figures = asyncio.run(_measured(site, hosts, seconds, rate_mbit * 1e6 / 8))
        finally:
            site.stop()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for name, value in figures.items():
        print(f"{name:50} {value:10.3f}")
    return figures


async def _measured(site: Site, hosts: int, seconds: float, rate: float) -> dict[str, float]:
    ramp, begin = hosts / COMING_PER_SECOND, site.usage()[0]
    figures, took = await load(site, hosts, seconds=seconds, rate=rate, ramp=ramp)
    cpu, memory = site.usage()
    ordered = sorted(figures.seconds) or [0.0]
    for reason in figures.failures:
        print(f"failure: {reason}")
    return {
        f"hosts, at {rate * 8 / 1e6:.0f} Mbit/s each": hosts,
        "  lookups per second": figures.lookups / took,
        "  objects asked for per second": figures.asked / took,
        "  answer, median (ms)": statistics.median(ordered) * 1000,
        "  answer, 99th percentile (ms)": ordered[int(0.99 * (len(ordered) - 1))] * 1000,
        "  tracker's processor milliseconds per lookup": 1000 * (cpu - begin) / max(1, figures.total),
        "  tracker's processor seconds per host": (cpu - begin) / hosts,
        "  tracker's memory (MiB)": memory,
        "  failures": figures.failed,
    }


if __name__ == "__main__":
    run_tracker(*(float(word) if place else int(word) for place, word in enumerate(sys.argv[1:])))  # type: ignore[arg-type]
