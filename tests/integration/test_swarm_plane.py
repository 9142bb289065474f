"""The swarm plane over real links: our hosts, and clients nobody wrote for us, which have a token and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from avalanche.torrent import read_layout
from lab.contained import dependent
from lab.network import FRONTEND_ADDRESS, Link, Network, host_address
from tests.swarmworld import GENERATION, PORT, World, make_world

pytestmark = pytest.mark.lab

ROOT = Path(__file__).resolve().parents[2]
BYTES = 6_000_000
SECONDS = 90.0
STOCK = """
import sys, time, libtorrent as lt
address, file, folder = sys.argv[1:]
session = lt.session({"listen_interfaces": f"{address}:6881", "alert_mask": 0})
parameters = lt.load_torrent_file(file)
parameters.save_path = folder
handle = session.add_torrent(parameters)
while not handle.status().is_seeding:
    time.sleep(0.1)
print("seeding", flush=True)
sys.stdin.read()
"""
STRANGER = """
import sys, time, libtorrent as lt
address, file, folder, peer, port = sys.argv[1:]
session = lt.session({"listen_interfaces": f"{address}:6881", "alert_mask": lt.alert.category_t.connect_notification})
parameters = lt.load_torrent_file(file)
parameters.save_path = folder
handle = session.add_torrent(parameters)
handle.connect_peer((peer, int(port)))
tried = False
while not tried:
    session.wait_for_alert(1000)
    tried = any(isinstance(each, lt.peer_disconnected_alert) for each in session.pop_alerts())
print(handle.status().total_payload_download, flush=True)
"""
QBITTORRENT = """[LegalNotice]
Accepted=true

[BitTorrent]
Session\\DHTEnabled=false
Session\\LSDEnabled=false
Session\\PeXEnabled=false
Session\\Interface=eth0
Session\\InterfaceName=eth0
Session\\AddTorrentPaused=false

[Preferences]
WebUI\\Enabled=true
WebUI\\Address=127.0.0.1
WebUI\\LocalHostAuth=false
"""


class Process:
    """One machine's program; what it says are lines of JSON."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.events: list[str] = []

    async def told(self) -> dict[str, Any]:
        """Wait for the next thing it says that is no event."""
        assert self.process.stdout is not None
        async with asyncio.timeout(SECONDS):
            while True:
                text = await self.process.stdout.readline()
                assert text, "the process ended"
                row: dict[str, Any] = json.loads(text)
                if "event" not in row:
                    return row
                self.events.append(row["event"])

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"g")


class Machines:
    """A frontend and some hosts behind shaped links."""

    def __init__(self, world: World, network: Network) -> None:
        self.world = world
        self.network = network
        self.frontend: Process
        self._running: list[asyncio.subprocess.Process] = []

    async def start(self, name: str, *command: str, log: Path | None = None) -> Process:
        """Start a program on a machine."""
        with contextlib.ExitStack() as stack:
            output = asyncio.subprocess.PIPE if log is None else stack.enter_context(log.open("wb"))
            process = await asyncio.create_subprocess_exec(
                *dependent(*self.network.namespace(name).command(*command)),
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=None if log is None else output,
                cwd=ROOT,
            )
        self._running.append(process)
        return Process(process)

    async def host(self, number: int) -> Process:
        """Start one of our hosts; it waits for the start."""
        name, address = f"compute-0-{number}", str(host_address(number))
        words = ("host", str(self.world.folder), name, address, str(FRONTEND_ADDRESS))
        process = await self.start(name, sys.executable, "-m", "tests.swarmworld", *words)
        assert (await process.told())["ready"]
        return process

    async def torrent(self, number: int) -> Path:
        """The torrent that the frontend makes for a host, in a file."""
        name, address = f"compute-0-{number}", str(host_address(number))
        path = self.world.folder / f"{name}.torrent"
        url = f"http://{FRONTEND_ADDRESS}:{PORT}/torrent?name={name}&address={address}"
        process = await self.start(name, "curl", "--silent", "--fail", "--output", str(path), url)
        assert await process.process.wait() == 0
        return path

    async def close(self) -> None:
        for process in self._running:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    yield make_world(tmp_path_factory.mktemp("world"), total=BYTES)


@asynccontextmanager
async def machines(world: World, *, hosts: int, rate: float = 100, cap: float = 0) -> AsyncIterator[Machines]:
    """A frontend, with its egress capped, and links for some hosts; both in Mbit/s."""
    links = [Link(f"compute-0-{number}", host_address(number), rate) for number in range(hosts)]
    with Network([Link("frontend", FRONTEND_ADDRESS, rate), *links]) as network:
        found = Machines(world, network)
        try:
            words = ("frontend", str(world.folder), str(FRONTEND_ADDRESS), str(cap))
            found.frontend = await found.start("frontend", sys.executable, "-m", "tests.swarmworld", *words)
            assert (await found.frontend.told())["ready"]
            yield found
        finally:
            await found.close()


def is_complete(world: World, folder: Path) -> bool:
    """Are there exactly the manifest's files, byte for byte?"""
    root = folder / GENERATION
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    return found == {entry.path for entry in world.manifest.entries} and all(
        (root / entry.path).read_bytes() == (world.folder / entry.path).read_bytes() for entry in world.manifest.entries
    )


async def until(condition: Any) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 - another program's files
            await asyncio.sleep(0.1)


async def test_hosts_share_one_copy_and_leave_nothing(world: World) -> None:
    async with machines(world, hosts=4) as found:
        hosts = [await found.host(number) for number in range(4)]
        for host in hosts:
            host.go_on()
        results = [await host.told() for host in hosts]
        assert all(result["right"] for result in results)
        assert sum(result["frontend"] for result in results) <= 1.1 * BYTES
        assert sum(result["peers"] for result in results) >= 2.5 * BYTES
        for host in hosts:
            host.go_on()
        ends = [await host.told() for host in hosts]
        assert [end["left"] for end in ends] == [[]] * 4
        # What one has got another one has counted; a block that came twice is sent twice.
        got = sum(result["peers"] for result in results)
        assert got <= sum(end["sent"] for end in ends) <= 1.1 * got
        assert all([await host.process.wait() == 0 for host in hosts])


async def test_a_frontend_with_bounded_egress_feeds_a_swarm_at_its_cap_and_counts_it(world: World) -> None:
    cap = 24
    async with machines(world, hosts=3, cap=cap) as found:
        hosts = [await found.host(number) for number in range(3)]
        for host in hosts:
            host.go_on()
        results = [await host.told() for host in hosts]
        assert all(result["right"] for result in results)
        found.frontend.go_on()
        sent = (await found.frontend.told())["sent"]
        assert BYTES <= sent == sum(result["frontend"] for result in results) <= 1.1 * BYTES
        # The bucket holds a tenth of a second at the start.
        assert all(result["seconds"] >= BYTES / (cap * 1e6 / 8) - 0.11 for result in results)


async def test_a_stock_libtorrent_session_and_qbittorrent_join_with_a_token(world: World, tmp_path: Path) -> None:
    stock, other = tmp_path / "stock", tmp_path / "other"
    config = tmp_path / "profile/qBittorrent/config"
    config.mkdir(parents=True)
    (config / "qBittorrent.conf").write_text(QBITTORRENT)
    async with machines(world, hosts=4) as found:
        file, second = await found.torrent(2), await found.torrent(3)
        assert {each.path for each in read_layout(file.read_bytes()).files} == {
            each.path for each in world.manifest.entries
        }
        words = (sys.executable, "-c", STOCK, str(host_address(2)), str(file), str(stock))
        session = await found.start("compute-0-2", *words)
        command = ("qbittorrent-nox", f"--profile={tmp_path / 'profile'}", f"--save-path={other}", "--skip-dialog=true")
        await found.start("compute-0-3", *command, str(second), log=tmp_path / "qbittorrent.log")
        hosts = [await found.host(number) for number in range(2)]
        for host in hosts:
            host.go_on()
        assert all([(await host.told())["right"] for host in hosts])
        assert session.process.stdout is not None
        async with asyncio.timeout(SECONDS):
            assert await session.process.stdout.readline() == b"seeding\n"
        # libtorrent keeps checked pieces in memory for a while before it writes them.
        await until(lambda: is_complete(world, stock))
        await until(lambda: is_complete(world, other))


async def test_who_has_no_token_gets_no_byte(world: World, tmp_path: Path) -> None:
    async with machines(world, hosts=2) as found:
        host = await found.host(0)
        listening = str(host_address(0))
        file = tmp_path / "stolen.torrent"
        file.write_bytes((world.folder / "torrent").read_bytes())
        host.go_on()
        assert (await host.told())["right"]
        # It knows the torrent, the address and the port, and asks there itself.
        peer = (listening, str(await _port(found, 0)))
        words = ("-c", STRANGER, str(host_address(1)), str(file), str(tmp_path / "stranger"), *peer)
        stranger = await found.start("compute-0-1", sys.executable, *words)
        assert stranger.process.stdout is not None
        assert await stranger.process.stdout.readline() == b"0\n"


async def _port(found: Machines, number: int) -> int:
    """The port on which a host's client listens."""
    name, address = f"compute-0-{number}", str(host_address(number))
    process = await found.start(name, "ss", "--no-header", "--listening", "--tcp", "--numeric")
    assert process.process.stdout is not None
    lines = (await process.process.stdout.read()).decode().splitlines()
    (port,) = {int(line.split()[3].rpartition(":")[2]) for line in lines if line.split()[3].startswith(address)}
    return port


async def test_a_host_that_dies_costs_the_others_nothing_they_need(world: World) -> None:
    async with machines(world, hosts=4, rate=20) as found:
        hosts = [await found.host(number) for number in range(4)]
        for host in hosts:
            host.go_on()
        await until(lambda: found.network.counters()["compute-0-0"][0] > BYTES / 3)
        hosts[0].process.kill()
        results = [await host.told() for host in hosts[1:]]
        assert all(result["right"] for result in results)


async def test_a_frontend_that_stands_still_is_waited_for(world: World) -> None:
    async with machines(world, hosts=3, rate=20) as found:
        hosts = [await found.host(number) for number in range(3)]
        for host in hosts:
            host.go_on()
        await until(lambda: found.network.counters()["compute-0-0"][0] > BYTES / 3)
        found.frontend.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(3.0)
        found.frontend.process.send_signal(signal.SIGCONT)
        results = [await host.told() for host in hosts]
        assert all(result["right"] for result in results)
