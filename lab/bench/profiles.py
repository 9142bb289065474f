"""What a profile costs the frontend: requests a second on one core, and a thousand hosts of five appliances at once.

The server is the real one, in a process of its own on one core; the load comes from the other core. Figures of CPU time
are the process's own, so that a busy machine does not change them much.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from avalanche.adapters.authority import Authority
from avalanche.adapters.database import Database
from avalanche.adapters.orderbook import all_orders
from avalanche.adapters.state import State
from avalanche.cluster import Appliance, Host, Interface
from avalanche.messages import ATTEMPT_HEADER, format_authorization
from avalanche.orders import order_secret
from lab.cache import Cache
from lab.contained import CommandFailed, dependent, run, tail
from lab.packages.repository import rpm_repository

APPLIANCES = 5
HOSTS = 1000
CONNECTIONS = 32
SECONDS = 8
ORIGINAL_CPU_SECONDS = 0.11
"""What one profile costs the original, all of it on the frontend: pass 1, pass 2 and kgen of ``compute``, without evals
(reference: Rocks 7's own compiler, measured)."""

_TREE = Path(__file__).parents[2]
_WRK_RATE = re.compile(r"Requests/sec:\s+([0-9.]+)")
_WRK_BAD = re.compile(r"Non-2xx or 3xx responses: .*|Socket errors: .*")
_START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Server:
    """A running frontend and the requests it permits: one set of headers for each host."""

    url: str
    pid: int
    tls: ssl.SSLContext
    headers: Sequence[dict[str, str]]

    def cpu_seconds(self) -> float:
        """Return the processor time it has used, in user and system mode."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run_profiles(cache: Cache) -> dict[str, float]:
    """Measure, print, and return the figures."""
    with tempfile.TemporaryDirectory(prefix="avalanche-bench-") as folder:
        state = _make_cluster(Path(folder), rpm_repository(cache))
        with _serving(state) as server:
            figures = asyncio.run(_storm(server))
            figures |= _load(server, Path(folder))
    for name, value in figures.items():
        print(f"{name:50} {value:10.3f}")
    return figures


def _make_cluster(folder: Path, repository: Path) -> State:
    state = State(folder / "state")
    command = [sys.executable, "-m", "avalanche"]
    rolls = ("--roll", str(_TREE), "--roll", str(_TREE / "lab/roll"))
    run([*command, "init", "--state", str(state.root), "--address", "127.0.0.1", *rolls])
    config = state.config_file.read_text()
    for setting, port in (("http_port", 18080), ("https_port", 18443)):
        config = re.sub(rf"(?m)^#?\s*{setting} = .*$", f"{setting} = {port}", config)
    state.config_file.write_text(config)
    key = next(repository.glob("RPM-GPG-KEY-*"))
    run([*command, "dist", "import", "default", str(repository), "--key", str(key), "--state", str(state.root)])
    names = [f"compute-{rank % APPLIANCES}-{rank // APPLIANCES}" for rank in range(HOSTS)]
    database = Database.open(state.database_file)
    with database.transaction() as transaction:
        for number in range(APPLIANCES):
            transaction.add_appliance(Appliance(f"kind{number}", "compute" if number % 2 else "login"))
        for rank, name in enumerate(names):
            high, low = divmod(rank, 250)
            card = Interface(f"52:54:00:00:{high:02x}:{low:02x}", f"10.9.{high}.{low + 1}")
            kind = rank % APPLIANCES
            transaction.add_host(Host(name, f"kind{kind}", kind, rank // APPLIANCES, (card,)))
    database.close()
    run([*command, "order", "create", *names, "--state", str(state.root)])
    return state


@contextmanager
def _serving(state: State) -> Iterator[Server]:
    config = state.config().frontend
    database = Database.open(state.database_file)
    with database.snapshot() as transaction:
        orders = all_orders(transaction)
    database.close()
    key = state.order_key()
    headers = [_headers(order.id, order_secret(key, order.id)) for order in orders]
    tls = ssl.create_default_context(cadata=Authority.open(state.authority).pem)
    command = dependent("taskset", "-c", "0", sys.executable, "-m", "avalanche", "frontend", "--state", str(state.root))
    log = state.root.parent / "frontend.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        _wait(process, config.urls("http")[0], log)
        yield Server(config.urls("https")[0], process.pid, tls, headers)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _headers(order: str, secret: str) -> dict[str, str]:
    return {"Authorization": format_authorization(order, secret), ATTEMPT_HEADER: secrets.token_hex(8)}


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while subprocess.run(("curl", "-s", "-o", os.devnull, url), check=False).returncode:
        if process.poll() is not None or time.monotonic() > deadline:
            raise CommandFailed(f"the frontend does not serve: {tail(log.read_text())}")
        time.sleep(0.1)


async def _storm(server: Server) -> dict[str, float]:
    """Let every host connect and ask for its first profile at the same moment: TLS handshake, attempt, compile."""
    begin, used = time.monotonic(), server.cpu_seconds()
    connector = aiohttp.TCPConnector(ssl=server.tls, limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def ask(headers: dict[str, str]) -> float:
            async with session.get(server.url + "/install/profile", headers=headers) as answer:
                answer.raise_for_status()
                await answer.read()
            return time.monotonic() - begin

        seconds = sorted(await asyncio.gather(*map(ask, server.headers)))
    cpu = server.cpu_seconds() - used
    return {
        f"{HOSTS} hosts at once: answered": len(seconds),
        "  median (s)": statistics.median(seconds),
        "  p99 (s)": seconds[int(len(seconds) * 0.99)],
        "  frontend CPU per host, with TLS handshake (ms)": 1000 * cpu / HOSTS,
    }


def _load(server: Server, folder: Path) -> dict[str, float]:
    """Ask for known profiles as fast as the server's core can: connections are kept, each request is another host's."""
    script = folder / "load.lua"
    rows = ",\n".join(
        "{" + ",".join(f'["{name}"]="{value}"' for name, value in row.items()) + "}" for row in server.headers
    )
    script.write_text(
        f"local hosts = {{{rows}}}\nlocal i = 0\n"
        'function request() i = i % #hosts + 1; return wrk.format("GET", "/install/profile", hosts[i]) end\n'
    )
    used = server.cpu_seconds()
    command = ("taskset", "-c", "1", "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", str(script), server.url)
    output = run(dependent(*command))
    cpu = server.cpu_seconds() - used
    bad, rate = _WRK_BAD.search(output), _WRK_RATE.search(output)
    if bad or not rate:
        raise CommandFailed(f"wrk: {tail(output)}")
    requests = float(rate[1]) * SECONDS
    return {
        "cached profiles over HTTPS, one core (1/s)": float(rate[1]),
        "cached profiles per CPU second of the frontend (1/s)": requests / cpu,
        "frontend CPU per profile / the original's (%)": 100 * cpu / requests / ORIGINAL_CPU_SECONDS,
    }
