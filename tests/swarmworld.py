"""A swarm without an installer: a frontend and hosts as processes, wherever a test puts them.

``python -m tests.swarmworld frontend FOLDER ADDRESS MBIT`` serves what `make_world` wrote there: pieces, at most at
MBIT when that is not 0, packages, tracker;
``python -m tests.swarmworld host FOLDER NAME ADDRESS`` is the swarm plane of one host, from a line on its standard
input to the next one. Both print lines of JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import sys
import time
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from avalanche.adapters.distributions import Generation
from avalanche.adapters.leaves import Leaves
from avalanche.agent.cache import Cache
from avalanche.agent.catalogue import Catalogue
from avalanche.agent.connection import Address
from avalanche.agent.downloader import Downloader
from avalanche.agent.figures import Figures
from avalanche.agent.frontends import Frontends
from avalanche.agent.pool import Pool
from avalanche.agent.settings import Settings
from avalanche.agent.torrents import Torrents
from avalanche.cli.tracker import TrackerRegistrar
from avalanche.egress import Caps
from avalanche.frontend.gate import Gate as PackageGate
from avalanche.frontend.pieces import Pieces
from avalanche.frontend.torrents import Torrents as FrontendTorrents
from avalanche.manifest import Entry, Manifest, hash_stream, parse_manifest
from avalanche.membership import Membership
from avalanche.tokens import SwarmToken, sign_token
from tracker.app import Tracker
from tracker.server import Gate, serving

GENERATION = "g-5d41402abc4b2a76"
KEY = bytes(range(32))
PORT, TRACKER_PORT = 8480, 7969
CLOSURE = "closure.jsonl"


@dataclass(frozen=True)
class World:
    """The folder with ``Packages`` and manifests in it, and how it is spoken to."""

    folder: Path

    def token(self, name: str, address: str) -> str:
        """A host's token; its order is made of its address."""
        order = f"{int(ip_address(address)):016x}"
        expires = int(time.time()) + 3600
        return sign_token(KEY, SwarmToken(order, name, "0", address, GENERATION, expires))

    @property
    def manifest(self) -> Manifest:
        return parse_manifest((self.folder / CLOSURE).read_bytes())

    def announce(self, frontend: str, name: str, address: str) -> str:
        return f"http://{frontend}:{TRACKER_PORT}/announce?token={self.token(name, address)}"


def make_world(folder: Path, *, total: int, seed: int = 0, median: int = 90_000) -> World:
    """Write files whose sizes are spread as those of packages are: most are small, few are large."""
    chance = random.Random(seed)
    entries: list[Entry] = []
    while total > 0:
        size = min(max(int(chance.lognormvariate(0, 1.6) * median), 1000), total, 6_000_000)
        path = f"Packages/p{len(entries):04d}.rpm"
        data = chance.randbytes(size)
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
        entries.append(Entry.of(hash_stream([data]), path, f"p{len(entries)}-0:1-1.noarch"))
        total -= size
    (folder / CLOSURE).write_bytes(Manifest(GENERATION, tuple(entries)).to_bytes())
    return World(folder)


async def serve(world: World, address: str, mbit: float) -> None:
    """The frontend's part: pieces, packages and tracker, until the standard input ends."""
    manifest = world.manifest
    registrar = TrackerRegistrar()
    registrar.register(manifest, manifest)
    torrents = FrontendTorrents(registrar, Leaves(world.folder / "leaves"))
    sent: list[int] = []
    gate = PackageGate(Caps(rate=mbit * 1e6 / 8))
    pieces = Pieces(torrents, gate, key=KEY, wall=time.time, advise=lambda order: None, on_sent=sent.append)
    torrents.add(GENERATION, manifest)
    served = await torrents.make(Generation(GENERATION, "default", world.folder, manifest))
    (world.folder / "torrent").write_bytes(served.torrent.to_bytes())

    async def package(request: web.Request) -> web.StreamResponse:
        return web.FileResponse(world.folder / unquote(request.match_info["path"]))

    async def torrent(request: web.Request) -> web.Response:
        url = world.announce(address, request.query["name"], request.query["address"])
        served.admit(request.query["address"])
        return web.Response(body=served.torrent.to_bytes([url]))

    application = web.Application()
    application.add_routes([
        web.post("/install/pieces", pieces.post),
        web.get(f"/install/packages/{GENERATION}/{{path:.*}}", package),
        web.get("/torrent", torrent),
    ])  # fmt: skip
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, address, PORT, backlog=1024).start()
    tracker = Tracker(swarm_key=KEY, registry=registrar.registry)
    async with serving(tracker, address, TRACKER_PORT, gate=Gate(10_000)):
        running = asyncio.create_task(torrents.run())
        say(ready=True)
        await line()
        say(
            handout=repr(served.handout),
            sent=sum(sent),
            cpu=round(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]), 3),
        )
        running.cancel()
    await runner.cleanup()


async def install(world: World, name: str, address: str, frontend: str) -> None:
    """One host's part: from the first line of the standard input on it fetches, until the second one it serves."""
    import aiohttp

    loop = asyncio.get_running_loop()
    manifest, figures = world.manifest, Figures(loop.time)
    addresses = [Address.parse(f"http://{frontend}:{PORT}")]
    async with aiohttp.ClientSession() as session:
        query = {"name": name, "address": address}
        async with session.get(f"http://{frontend}:{PORT}/torrent", params=query) as answer:
            torrent = await answer.read()
    membership = Membership((f"http://{frontend}:{TRACKER_PORT}",), world.token(name, address), "0" * 64)
    catalogue = Catalogue(manifest, None, clock=loop.time)  # type: ignore[arg-type]
    pool = Pool()
    frontends = Frontends(addresses, GENERATION, pool=pool, count=figures.count_frontend, clock=loop.time)
    plane = Torrents(
        torrent, frontends, addresses, membership=membership, manifest=manifest.digest, catalogue=catalogue,
        figures=figures, on_leave=lambda reason: say(left=reason),
    )  # fmt: skip
    cache = Cache(Settings(cache_dir=world.folder / f"cache-{name}", cache_limit_bytes=1 << 30))
    downloader = Downloader(
        catalogue.closure, route=plane.route, sources=1, figures=figures, cache=cache, events=Told(),  # type: ignore[arg-type]
        is_live=lambda: True,
    )  # fmt: skip
    plane.attach(downloader)
    say(ready=True, port=plane._client.port)
    await line()
    begun, cpu = time.time(), sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    downloader.is_held = False
    downloader.advance()
    await downloader.has_closure.wait()
    seconds = time.time() - begun
    right = all(item.slot is not None and _digest(item) == item.entry.sha256 for item in catalogue.closure)
    say(
        seconds=round(seconds, 3),
        right=right,
        frontend=figures.bytes_from_frontend,
        peers=figures.bytes_from_peers,
        cpu=round(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) - cpu, 3),
        rss=_peak(),
    )
    await line()
    counted = plane._client._measured
    while plane._client._measured == counted:  # noqa: ASYNC110 - what it has sent so far is told every 0.2 s
        await asyncio.sleep(0.01)
    sent = plane.bytes_sent
    await downloader.close()
    await plane.close()
    for item in catalogue.items:
        item.forget()
    cache.close()
    pool.close()
    say(left=[str(path) for path in world.folder.glob(f"cache-{name}/*")], sent=sent)


class Told:
    """Where events go when there is no frontend that keeps timelines."""

    refused = None

    def report(self, stage: str, status: str, text: str, *more: object, **others: object) -> None:
        say(event=text)


def _digest(item: Any) -> str:
    import hashlib

    with item.slot.open() as file:
        return hashlib.sha256(file.readall()).hexdigest()


def _peak() -> float:
    text = Path("/proc/self/status").read_text()
    return round(int(text.split("VmHWM:")[1].split()[0]) / 1024, 1)


def say(**row: object) -> None:
    print(json.dumps(row), flush=True)


async def line() -> None:
    """Wait for a line on the standard input, or its end."""
    await asyncio.get_running_loop().run_in_executor(None, os.read, 0, 1)


if __name__ == "__main__":
    words = sys.argv[1:]
    there = World(Path(words[1]))
    if words[0] == "frontend":
        asyncio.run(serve(there, words[2], float(words[3])))
    else:
        asyncio.run(install(there, *words[2:5]))
