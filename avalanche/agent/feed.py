"""The loading half of the agent: what fetches packages, and what gives them to the installer and to other hosts."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from avalanche.agent.cache import Cache
from avalanche.agent.catalogue import Catalogue
from avalanche.agent.connection import STALL_SECONDS, Address
from avalanche.agent.downloader import Downloader
from avalanche.agent.events import Events
from avalanche.agent.figures import Figures
from avalanche.agent.frontend import Frontend
from avalanche.agent.frontends import Frontends
from avalanche.agent.metrics import exposition, families
from avalanche.agent.pool import Pool
from avalanche.agent.proxy import Proxy
from avalanche.agent.relay import Relay
from avalanche.agent.server import Server
from avalanche.agent.settings import Settings
from avalanche.agent.source import Route
from avalanche.agent.trouble import Delay, jittered_delay
from avalanche.agent.watch import InstallWatch
from avalanche.errors import ConfigError, ProtocolError, TransferError, VerificationFailed
from avalanche.manifest import Manifest
from avalanche.membership import Membership
from avalanche.messages import StubDocument

if TYPE_CHECKING:
    from avalanche.agent.torrents import Torrents


class Feed:
    """One host's packages, from `open` to `close`.

    Args:
        addresses: of the frontends that serve packages.
        membership: what admits the host to its peers; None: everything comes from the frontend.
        attempt: chosen once per start of the agent.
        bundle: the agent's own file.
        plane: how packages travel; ``swarm`` becomes ``relay`` where this host cannot have libtorrent.
        stall: seconds without a byte after which a frontend is taken for stopped.
    """

    def __init__(
        self,
        manifest: Manifest,
        order: StubDocument,
        *,
        frontend: Frontend,
        addresses: Sequence[Address],
        settings: Settings,
        events: Events,
        membership: Optional[Membership],
        attempt: str,
        bundle: Path,
        plane: str = "relay",
        delay: Delay = jittered_delay,
        stall: float = STALL_SECONDS,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._port = settings.port
        self._restoring: Optional[asyncio.Task[None]] = None
        self.catalogue = Catalogue(manifest, frontend, clock=loop.time)
        self.cache = Cache(settings)
        self.pool = Pool(stall=stall)
        figures = Figures(loop.time)
        self._events = events
        self._frontends = frontends = Frontends(
            addresses, manifest.generation, pool=self.pool, count=figures.count_frontend, clock=loop.time
        )
        self._frontend = frontend
        self._addresses = addresses
        self._manifest = manifest.digest
        self._membership = membership
        self._figures = figures
        self._is_swarm = plane == "swarm" and membership is not None
        self._folder = bundle.parent / "libtorrent"
        self.torrents: Optional[Torrents] = None
        self.relay: Optional[Relay] = None
        self._spare: Optional[Relay] = None
        """What goes on when the swarm does not."""
        self._leaving: Optional[asyncio.Task[None]] = None
        self._sent = 0
        """Bytes sent by a plane that was left."""
        self.broken: asyncio.Future[None] = loop.create_future()
        """Raises what this cannot go on after."""
        if membership is not None:
            self.relay = Relay(
                frontends,
                membership=membership,
                attempt=attempt,
                manifest=manifest.digest,
                catalogue=self.catalogue,
                figures=figures,
                bundle=(order.bundle, bundle),
                on_refused=self._tell_refusal,
            )
        self.downloader = Downloader(
            self.catalogue.closure,
            route=Route(frontends) if self.relay is None else self.relay.route,
            sources=len(addresses),
            figures=figures,
            cache=self.cache,
            events=events,
            is_live=lambda: events.refused is None,
            delay=delay,
        )
        frontends.on_answer = self.downloader.resume
        self.watch = InstallWatch(events)
        proxy = Proxy(self.catalogue, self.downloader, on_query=self.watch.asked, metrics=self._metrics)
        self._server = Server(proxy.answer)

    def __repr__(self) -> str:
        return f"<Feed {self.catalogue!r} {self.downloader!r} {self.relay!r}>"

    async def open(self, listener: Optional[socket.socket] = None) -> int:
        """Listen, on the keeper's socket if there is one; return the proxy's port.

        What an agent that died has left is verified meanwhile.

        Raises:
            ConfigError: the proxy's port is taken.
        """
        self.downloader.expect(self.cache.leftovers)
        port = await self._server.listen(self._port, shared=listener)
        self._restoring = asyncio.get_running_loop().create_task(self._restore())
        if self._is_swarm and await self._join_swarm():
            return port
        if self.relay is not None:
            await self._open_relay(self.relay)
        return port

    async def _open_relay(self, relay: Relay) -> None:
        try:
            await relay.open(self.downloader)
        except ConfigError as error:
            # Something between this host and the frontend translates addresses: an install goes on without peers.
            self._events.report("packages", "progress", f"fetches from the frontend alone: {error}", key="alone")
            self.relay = None
            self.downloader.follow(Route(self._frontends))
        else:
            self.relay = relay
            self.downloader.follow(relay.route)

    def _metrics(self) -> str:
        planes = (self.relay, self.torrents)
        sent = self._sent + sum(plane.bytes_sent for plane in planes if plane is not None)
        return exposition(families(self.catalogue, self.downloader, self.cache, sent=sent))

    async def _restore(self) -> None:
        if self.cache.leftovers:
            count = await self.downloader.restore()
            text = f"{count} of {len(self.catalogue.closure)} objects were still in the cache"
            self._events.report("packages", "progress", text, key="restored")

    async def _join_swarm(self) -> bool:
        """Fetch libtorrent and the torrent; where that is not to be had, the relay plane does its work."""
        # A megabyte of memory that only this plane needs.
        from avalanche.agent.library import provide_library
        from avalanche.agent.torrents import Torrents

        assert self._membership is not None
        try:
            await provide_library(self._frontend, self._addresses, self._folder)
            torrent = await self._frontend.torrent()
            self.torrents = Torrents(
                torrent,
                self._frontends,
                self._addresses,
                membership=self._membership,
                manifest=self._manifest,
                catalogue=self.catalogue,
                figures=self._figures,
                on_leave=self._leave_swarm,
            )
        except (ConfigError, TransferError, ProtocolError, VerificationFailed) as error:
            self._events.report("packages", "progress", f"fetches by relay: {error}", key="plane")
            return False
        self._spare, self.relay = self.relay, None
        self.torrents.attach(self.downloader)
        self.downloader.follow(self.torrents.route)
        return True

    def _leave_swarm(self, reason: str) -> None:
        """Go on by relay, with what is here, in the midst of the install."""
        self._events.report("packages", "progress", f"goes on by relay: {reason}", key="plane")
        self._leaving = asyncio.get_running_loop().create_task(self._change_plane())
        self._leaving.add_done_callback(self._left_swarm)

    def _left_swarm(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not self.broken.done():
            # Something may still write the files that were lent. A new agent begins with what is proven.
            self.broken.set_exception(error)

    async def _change_plane(self) -> None:
        assert self.torrents is not None and self._spare is not None
        await self.torrents.retire()
        self._sent += self.torrents.bytes_sent
        self.torrents = None
        await self._open_relay(self._spare)

    def _tell_refusal(self, address: str, reason: str) -> None:
        self._events.report("packages", "progress", f"refused {address}: {reason}", key=f"refused {address}")

    async def close(self) -> None:
        """Withdraw from the peers, end everything, and remove every file."""
        self._server.close()
        if self._restoring is not None:
            self._restoring.cancel()
            await asyncio.gather(self._restoring, return_exceptions=True)
        if self._leaving is not None:
            await asyncio.gather(self._leaving, return_exceptions=True)
        self.broken.cancel()
        try:
            if self.relay is not None:
                await self.relay.close()
            await self.catalogue.close()
            await self.downloader.close()
            if self.torrents is not None:
                await self.torrents.close()
        finally:
            self.pool.close()
            for item in self.catalogue.items:
                item.forget()
            self.cache.close()
