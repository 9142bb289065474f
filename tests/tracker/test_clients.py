"""Clients nobody wrote for us: libtorrent in this process, aria2 and Transmission in a network namespace."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import libtorrent as lt
import pytest

from avalanche.bencode import decode, encode
from avalanche.tokens import SwarmToken, sign_token
from lab.contained import dependent
from lab.network import Namespace
from tests.tracker.polling import until
from tests.tracker.worlds import GENERATION, KEY
from tracker.app import Tracker
from tracker.registry import MemoryRegistry, Registered, write_registry
from tracker.server import Gate, serving

ROOT = Path(__file__).resolve().parents[2]
PYTHON = Path(sys.executable)
SECONDS = 60.0
QUIET = {
    "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False, "enable_incoming_utp":
    False, "enable_outgoing_utp": False, "allow_multiple_connections_per_ip": True, "min_announce_interval": 1,
    "tracker_completion_timeout": 5, "stop_tracker_timeout": 2, "peer_connect_timeout": 3, "min_reconnect_time": 1,
    "alert_mask": lt.alert.category_t.tracker_notification,
}  # fmt: skip


def token_for(number: int, address: str, *, key: bytes = KEY) -> str:
    expires = int(time.time()) + 600
    return sign_token(key, SwarmToken(f"{number:016x}", f"compute-0-{number}", "0", address, GENERATION, expires))


class Torrent:
    """A private torrent of two files, and its announce address per client."""

    def __init__(self, folder: Path) -> None:
        self.content = {name: random.Random(name).randbytes(600_000) for name in ("a.rpm", "b.rpm")}
        self.seed_folder = folder / "seed"
        (self.seed_folder / "repo").mkdir(parents=True)
        for name, data in self.content.items():
            (self.seed_folder / "repo" / name).write_bytes(data)
        everything = b"".join(self.content.values())
        pieces = b"".join(hashlib.sha1(everything[at : at + 65536]).digest() for at in range(0, len(everything), 65536))
        files = [{b"length": len(data), b"path": [name.encode()]} for name, data in self.content.items()]
        self.info = {b"files": files, b"name": b"repo", b"piece length": 65536, b"pieces": pieces, b"private": 1}
        self.info_hash = hashlib.sha1(encode(self.info)).digest()

    def registered(self) -> Registered:
        return Registered(GENERATION, {"00" * 32: 1}, {}, frozenset({self.info_hash}))

    def write(self, path: Path, announce: str) -> Path:
        path.write_bytes(encode({b"announce": announce.encode(), b"info": self.info}))
        return path

    def is_complete(self, folder: Path) -> bool:
        return all(
            (folder / "repo" / name).is_file() and (folder / "repo" / name).read_bytes() == data
            for name, data in self.content.items()
        )


@pytest.fixture
def torrent(tmp_path: Path) -> Torrent:
    return Torrent(tmp_path)


# --- libtorrent ---


class Recorder(Tracker):
    """The tracker, and which events it was told by whom."""

    events: list[tuple[str, str]]

    async def announce(self, request):  # type: ignore[no-untyped-def]
        self.events.append((request.query["token"][-6:], request.query.get("event", "")))
        return await super().announce(request)


class Client:
    """A libtorrent session with one torrent."""

    def __init__(self, number: int, file: Path, folder: Path, *, priorities: list[int] | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self.session = lt.session({**QUIET, "listen_interfaces": f"127.0.0.1:{20_000 + os.getpid() % 20_000 + number}"})
        parameters = lt.load_torrent_file(str(file))
        parameters.save_path = str(folder)
        parameters.flags &= ~(lt.torrent_flags.paused | lt.torrent_flags.auto_managed)
        if priorities is not None:
            parameters.file_priorities = priorities
        self.handle = self.session.add_torrent(parameters)
        self.errors: list[str] = []

    async def reach(self, state: str) -> None:
        """Wait until the torrent is ``seeding`` or ``finished``, or the tracker has answered with an error."""

        def is_there() -> bool:
            alerts = self.session.pop_alerts()
            self.errors += [each.error_message() for each in alerts if isinstance(each, lt.tracker_error_alert)]
            return str(self.handle.status().state).endswith(state) or (state == "error" and bool(self.errors))

        await until(is_there)

    async def pause(self, has_stopped: Callable[[], bool]) -> None:
        """Let it say ``stopped``: it does not while another announce is under way, and does not come back to it."""
        while not has_stopped():
            self.handle.pause()
            with contextlib.suppress(TimeoutError):
                await until(has_stopped, seconds=5)
                return
            self.handle.resume()

    async def close(self) -> None:
        self.session.remove_torrent(self.handle)
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        del self.handle, self.session


@contextlib.asynccontextmanager
async def recorded(torrent: Torrent) -> AsyncIterator[tuple[Recorder, str]]:
    tracker = Recorder(swarm_key=KEY, registry=MemoryRegistry([torrent.registered()]))
    tracker.events = []
    async with serving(tracker, "127.0.0.1", 0, gate=Gate(100)) as port:
        yield tracker, f"http://127.0.0.1:{port}/announce?token="


async def test_libtorrent_completes_and_says_started_completed_stopped(torrent: Torrent, tmp_path: Path) -> None:
    async with recorded(torrent) as (tracker, announce):
        seed_token, token = token_for(1, "127.0.0.1"), token_for(2, "127.0.0.1")
        seed = Client(1, torrent.write(tmp_path / "seed.torrent", announce + seed_token), torrent.seed_folder)
        await seed.reach("seeding")
        client = Client(2, torrent.write(tmp_path / "c.torrent", announce + token), tmp_path / "client")
        await client.reach("seeding")
        assert torrent.is_complete(tmp_path / "client")

        def events(token: str) -> list[str]:
            return [event for who, event in tracker.events if who == token[-6:] and event]

        def has_left(token: str) -> bool:
            return events(token)[-1] == "stopped"

        await until(lambda: events(seed_token) == ["started"] and events(token) == ["started", "completed"])
        for each, name in ((client, token), (seed, seed_token)):
            said = len(events(name))
            await each.pause(partial(has_left, name))
            # Only what a repeated goodbye takes.
            assert set(events(name)[said:]) <= {"started", "stopped"} and has_left(name)
        assert tracker.swarms.scrape(torrent.info_hash, now=time.monotonic()).downloaded == 1
        assert tracker.swarms.scrape(torrent.info_hash, now=time.monotonic()).incomplete == 0
        await client.close()
        await seed.close()


async def test_libtorrent_with_a_part_of_the_files_is_a_partial_seed(torrent: Torrent, tmp_path: Path) -> None:
    async with recorded(torrent) as (tracker, announce):
        seed = Client(
            1, torrent.write(tmp_path / "seed.torrent", announce + token_for(1, "127.0.0.1")), torrent.seed_folder
        )
        await seed.reach("seeding")
        file = torrent.write(tmp_path / "c.torrent", announce + token_for(2, "127.0.0.1"))
        client = Client(2, file, tmp_path / "client", priorities=[4, 0])
        await client.reach("finished")
        client.handle.force_reannounce()
        await until(lambda: "paused" in [event for _, event in tracker.events])
        counts = tracker.swarms.scrape(torrent.info_hash, now=time.monotonic())
        assert (counts.complete, counts.incomplete, counts.downloaders) == (1, 1, 0)
        await client.close()
        await seed.close()


async def test_libtorrent_is_told_why_a_forged_token_is_refused(torrent: Torrent, tmp_path: Path) -> None:
    async with recorded(torrent) as (tracker, announce):
        forged = token_for(3, "127.0.0.1", key=bytes(32))
        client = Client(3, torrent.write(tmp_path / "c.torrent", announce + forged), tmp_path / "client")
        await client.reach("error")
        assert "signature" in client.errors[0]
        assert repr(tracker.swarms) == "<Swarms 0 torrents, 0 peers>"
        await client.close()


# --- clients of the distribution ---

ADDRESS = "10.77.0.1"


class Machine:
    """A machine alone on its network, because Transmission takes no peers on loopback. Nothing of it outlives us."""

    def __init__(self) -> None:
        self._namespace = Namespace("clients")
        self._running: list[asyncio.subprocess.Process] = []
        self._namespace.batch("ip", [f"address add {ADDRESS}/24 dev lo"])

    async def start(self, *command: str, log: Path) -> asyncio.subprocess.Process:
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *dependent(*self._namespace.command(*command)),
                stdout=output,
                stderr=output,
                stdin=asyncio.subprocess.DEVNULL,
                cwd=ROOT,
            )
        self._running.append(process)
        return process

    async def close(self) -> None:
        for process in self._running:
            if process.returncode is None:
                process.kill()
            await process.wait()
        self._namespace.close()


@pytest.fixture
async def machine() -> AsyncIterator[Machine]:
    machine = Machine()
    try:
        yield machine
    finally:
        await machine.close()


async def wait_for(path: Path, text: str) -> None:
    await until(lambda: path.exists() and text in path.read_text(errors="replace"))


async def start_tracker(machine: Machine, torrent: Torrent, folder: Path) -> str:
    """Run ``python -m tracker`` on the machine; return its announce address without a token."""
    (folder / "registry.jsonl").write_bytes(write_registry([torrent.registered()]))
    (folder / "swarm.key").touch(mode=0o600)
    (folder / "swarm.key").write_text(KEY.hex() + "\n")
    settings = f'[tracker]\naddress = "{ADDRESS}"\nport = 7969\nregistry = "registry.jsonl"\nswarm_key = "swarm.key"\n'
    (folder / "tracker.toml").write_text(settings)
    command = (str(PYTHON), "-m", "tracker", "--config", str(folder / "tracker.toml"))
    await machine.start(*command, log=folder / "tracker.log")
    await wait_for(folder / "tracker.log", "tracker ready")
    return f"http://{ADDRESS}:7969"


def aria2(file: Path, folder: Path, port: int, *more: str) -> tuple[str, ...]:
    return (
        "aria2c", "--no-conf", "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false",
        "--enable-peer-exchange=false", "--disable-ipv6=true", "--bt-stop-timeout=50",
        f"--listen-port={port}", f"--dir={folder}", *more, str(file),
    )  # fmt: skip


def transmission(file: Path, folder: Path, port: int) -> tuple[str, ...]:
    return (
        "transmission-cli",
        "--no-portmap",
        "--port",
        str(port),
        "-g",
        str(folder / "config"),
        "-w",
        str(folder),
        str(file),
    )


async def test_stock_clients_complete_a_registered_torrent(torrent: Torrent, machine: Machine, tmp_path: Path) -> None:
    base = await start_tracker(machine, torrent, tmp_path)
    # Each client gets one of the three forms of an announce address that carries a token.
    seed = torrent.write(tmp_path / "seed.torrent", f"{base}/announce?token={token_for(1, ADDRESS)}")
    await machine.start(
        *aria2(seed, torrent.seed_folder, 6881, "--check-integrity=true", "--seed-ratio=0.0"), log=tmp_path / "seed.log"
    )
    first, second = tmp_path / "aria2", tmp_path / "transmission"
    second.mkdir()
    file = torrent.write(tmp_path / "aria2.torrent", f"{base}/announce/{token_for(2, ADDRESS)}")
    downloading = await machine.start(*aria2(file, first, 6882, "--seed-time=0"), log=tmp_path / "aria2.log")
    file = torrent.write(tmp_path / "transmission.torrent", f"{base}/t/{token_for(3, ADDRESS)}/announce")
    await machine.start(*transmission(file, second, 6883), log=tmp_path / "transmission.log")
    async with asyncio.timeout(SECONDS):
        assert await downloading.wait() == 0, (tmp_path / "aria2.log").read_text()
    await until(lambda: torrent.is_complete(second))
    assert torrent.is_complete(first)


async def test_stock_clients_are_refused_without_a_good_token_or_a_registered_torrent(
    torrent: Torrent, machine: Machine, tmp_path: Path
) -> None:
    base = await start_tracker(machine, torrent, tmp_path)
    other = Torrent(tmp_path / "other")
    other.info[b"name"] = b"somebody-elses"
    cases = [
        (torrent, token_for(2, ADDRESS, key=bytes(32)), "signature is wrong"),
        (torrent, token_for(3, "10.77.0.2"), "came from 10.77.0.1"),
        (other, token_for(4, ADDRESS), "not registered"),
    ]
    for number, (what, token, reason) in enumerate(cases):
        file = what.write(tmp_path / f"{number}.torrent", f"{base}/announce?token={token}")
        await machine.start(*aria2(file, tmp_path / f"d{number}", 6882 + number), log=tmp_path / f"{number}.log")
        await wait_for(tmp_path / f"{number}.log", reason)
    file = torrent.write(tmp_path / "t.torrent", f"{base}/announce?token={cases[0][1]}")
    (tmp_path / "t").mkdir()
    await machine.start(*transmission(file, tmp_path / "t", 6890), log=tmp_path / "t.log")
    await wait_for(tmp_path / "t.log", "signature is wrong")
    assert not torrent.is_complete(tmp_path / "t")


def test_the_torrent_of_these_tests_is_one_that_libtorrent_reads(torrent: Torrent, tmp_path: Path) -> None:
    file = torrent.write(tmp_path / "x.torrent", "http://10.0.0.1/announce")
    assert decode(file.read_bytes())[b"info"] == torrent.info  # type: ignore[call-overload,index]
    assert lt.torrent_info(str(file)).info_hashes().v1.to_bytes() == torrent.info_hash
