"""`auto` from the order to the last byte: a real frontend, its tracker, and a real agent with a real libtorrent."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from avalanche.adapters.authority import Authority
from avalanche.adapters.state import State
from avalanche.agent.connection import Address
from avalanche.agent.events import Events
from avalanche.agent.feed import Feed
from avalanche.agent.frontend import Frontend
from avalanche.agent.item import State as ItemState
from avalanche.agent.rundir import RunDirectory
from avalanche.agent.settings import Settings
from avalanche.cli.tracker import TrackerRegistrar, embedded
from avalanche.manifest import parse_manifest
from avalanche.messages import StubDocument
from avalanche.news import PeerReport
from avalanche.orders import order_secret
from avalanche.profile import parse_installation
from tests.agent.rig import until
from tests.frontend.rig import TOKEN, Rig, running

SECONDS = 60.0
MBIT = 6
"""The packages take about a second, so that something can happen meanwhile."""


@asynccontextmanager
async def site(state: State) -> AsyncIterator[Rig]:
    """A frontend with its tracker, on ports nobody else has."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with state.config_file.open("a") as file:
        file.write(f"\n[tracker]\nport = {port}\n")
    async with running(state, egress_mbit=MBIT, listen=("127.0.0.1",)) as rig:
        registrar = rig.services.swarm._registrar
        assert isinstance(registrar, TrackerRegistrar)
        async with embedded(rig.services, registrar, state.swarm_key()):
            yield rig


@asynccontextmanager
async def agent(rig: Rig, order: str, folder: Path) -> AsyncIterator[Feed]:
    """The agent of a host, its profile fetched, its proxy open."""
    secret, ca = order_secret(rig.state.order_key(), order), Authority.open(rig.state.authority).pem
    document = StubDocument("compute-0-0", order, secret, (rig.http,), (rig.https,), "0" * 64, ca)
    frontend = Frontend(document, TOKEN)
    installation = parse_installation(await frontend.profile())
    run = folder / "run"
    run.mkdir(mode=0o700)
    events = Events(frontend, attempt=TOKEN, run=RunDirectory(run))
    feed = Feed(
        parse_manifest(await frontend.manifest(installation.manifest)),
        document,
        frontend=frontend,
        addresses=[Address.parse(rig.http)],
        settings=Settings(cache_dir=folder / "cache", cache_limit_bytes=1 << 30, port=0),
        events=events,
        membership=installation.membership,
        attempt=TOKEN,
        bundle=run / "agent.pyz",
        plane=installation.plane,
    )
    telling = asyncio.create_task(events.run())
    try:
        await feed.open()
        yield feed
        await events.flush(5)
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
        await feed.close()
        frontend.close()


async def test_auto_begins_as_a_swarm_and_goes_on_by_relay_when_a_host_is_found_to_lie(
    state: State, tmp_path: Path
) -> None:
    __import__("libtorrent")  # how a host gets it is tested elsewhere
    async with site(state) as rig:
        orders = rig.order_hosts(4)
        rig.services.trackers.slow |= {"compute-0-1", "compute-0-2"}
        async with agent(rig, orders[0], tmp_path) as feed:
            swarm, figures = feed.torrents, feed.downloader.figures
            assert swarm is not None
            feed.downloader.is_held = False
            feed.downloader.advance()
            await until(lambda: figures.verified > 0)
            rig.services.trackers.note(PeerReport(orders[3], "compute-0-3", "corrupt", "bytes that fail their hash"))
            async with asyncio.timeout(SECONDS):
                await feed.downloader.has_closure.wait()
            assert feed.torrents is None and feed.relay is not None
            for item in feed.catalogue.closure:
                assert item.state is ItemState.COMPLETE and item.slot is not None
                with item.slot.open() as file:
                    assert hashlib.sha256(file.read()).hexdigest() == item.entry.sha256
            registrar = rig.services.swarm._registrar
            assert [holder.order for holder in registrar.holders()] == [orders[0]]
            # One cache: what was proven before is not fetched again, but for what was on its way.
            total = sum(item.entry.size for item in feed.catalogue.closure)
            assert figures.verified == total
        told = [event.text for event in await rig.timeline() if event.stage == "packages"]
        assert "plane swarm: 2 of 4 hosts were slow lately, and would hold up a chain" in told
        assert "goes on by relay: 1 of 4 hosts sent wrong bytes lately, and a chain shuts them out" in told
    assert not (tmp_path / "cache").exists()
