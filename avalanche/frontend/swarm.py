"""What hosts need to fetch from each other: who may, and what the trackers answer for."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from avalanche.adapters import orderbook
from avalanche.adapters.database import Transaction
from avalanche.adapters.distributions import Generation
from avalanche.adapters.leaves import Leaves
from avalanche.cluster import Cluster
from avalanche.errors import AvalancheError, RepositoryError
from avalanche.frontend.choices import Choices
from avalanche.frontend.generations import Generations
from avalanche.frontend.profiles import Profiles
from avalanche.frontend.storage import Storage
from avalanche.frontend.torrents import Torrents
from avalanche.frontend.trackers import Trackers
from avalanche.log import facts
from avalanche.manifest import Manifest
from avalanche.membership import Membership
from avalanche.news import Holder
from avalanche.orders import Order
from avalanche.tokens import TICKET_SECONDS, SwarmToken, Ticket, peer_key, sign_ticket, sign_token

REFRESH_SECONDS = 60.0
SWARMING = ("swarm", "auto")
"""Orders whose closures are in the torrent of their generation; those for ``auto`` may become swarms."""

log = logging.getLogger(__name__)


class Registrar(Protocol):
    """How trackers are told what they answer for."""

    def holders(self) -> Sequence[Holder]:
        """The hosts that install now, as far as the tracker in this process knows."""

    def register(self, generation: Manifest, closure: Manifest) -> None:
        """Answer for all objects of a generation, and know what a host with this closure wants. Cheap when known."""

    def retain(self, generations: Collection[str]) -> None:
        """Answer for no other generations than these."""

    def add_torrent(self, generation: str, info_hash: bytes) -> None:
        """Answer announces for a torrent of a registered generation too."""


class Swarm:
    """Admits hosts to the peer planes.

    Args:
        key: the swarm key.
        trackers: their base addresses.
        heard: what trackers elsewhere say.
        leaves: the hashes of the blocks of objects, for torrents.
        wall: seconds since 1970.
    """

    def __init__(
        self,
        *,
        key: bytes,
        trackers: tuple[str, ...],
        heard: Trackers,
        registrar: Registrar,
        storage: Storage,
        profiles: Profiles,
        generations: Generations,
        leaves: Leaves,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.key, self.wall = key, wall
        self._trackers = trackers
        self._heard = heard
        self._registrar = registrar
        self._storage = storage
        self._profiles = profiles
        self._generations = generations
        self.torrents = Torrents(registrar, leaves)
        self.choices = Choices(storage, heard)
        self._making = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Swarm {' '.join(self._trackers)}>"

    async def membership(self, cluster: Cluster, order: Order, address: str, closure: Manifest) -> Membership | None:
        """Admit the host of an order, which speaks from ``address`` and wants ``closure``; None when it fetches from
        the frontend alone.

        Raises:
            UnknownHost: it was removed.
            RepositoryError: the generation is not there any more.
        """
        if self.choices.plane(order) == "http":
            return None
        await self._register(order, closure)
        return Membership(self._trackers, self._token(cluster, order, address), peer_key(self.key, order.id).hex())

    async def torrent(self, cluster: Cluster, order: Order, address: str, now: float) -> bytes:
        """The torrent with which the host of an order, which speaks from ``address``, or a client beside it, fetches.

        Raises:
            UnknownHost, DefinitionError, ConfigError, RepositoryError: as ``Planner.plan``.
        """
        await self._profiles.look(cluster.rolls)
        closure = (await self._profiles.plan(cluster, order)).closure
        await self._register(order, closure)
        async with self._making:  # many hosts ask at once for what is made once
            if not self.torrents.covers(order.generation, closure):
                # One torrent for all that install this generation: what they want is known before they ask.
                await self._register_all(order.generation)
                generation = await self._generation(order)
                self.torrents.add(order.generation, closure)
                await self.torrents.make(generation)
        served = self.torrents.current(order.generation)
        served.admit(address)
        token = self._token(cluster, order, address)
        return served.torrent.to_bytes([f"{tracker}/announce?token={token}" for tracker in self._trackers])

    def _token(self, cluster: Cluster, order: Order, address: str) -> str:
        rack = str(cluster.host(order.host).rack)
        expires = int(order.expires)
        return sign_token(self.key, SwarmToken(order.id, order.host, rack, address, order.generation, expires))

    def elsewhere(self, order: Order, address: str, sha256: str, now: float) -> str | None:
        """Where else the host of ``order``, which speaks from ``address``, gets the agent bundle; None: nowhere."""
        known = [*self._registrar.holders(), *self._heard.holders()]
        holders = [holder for holder in known if holder.order != order.id]
        if order.plane == "http" or not holders:
            return None
        holder = random.choice(holders)  # noqa: S311 -- no secret
        ticket = Ticket(order.id, order.host, address, holder.generation, int(now) + TICKET_SECONDS)
        text = sign_ticket(peer_key(self.key, holder.order), ticket)
        where = f"[{holder.address}]" if ":" in holder.address else holder.address
        return f"http://{where}:{holder.port}/object/{sha256}?ticket={text}"

    async def run(self, clock: Callable[[], float]) -> None:
        """Keep what trackers answer for equal to what live orders pin, until cancelled."""
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                await self.refresh(clock())
            except AvalancheError as error:
                log.warning("trackers not told what to answer for", extra=facts(reason=error))

    async def refresh(self, now: float) -> None:
        """Register what live orders pin, and nothing else. What cannot be solved any more is left out and logged.

        Raises:
            DatabaseUnavailable: it cannot be read now; the trackers go on as they were told last.
        """

        def find(transaction: Transaction, cluster: Cluster) -> tuple[Cluster, list[Order]]:
            return cluster, [order for order in orderbook.all_orders(transaction) if order.state(now) == "live"]

        cluster, orders = await self._storage.read(find)
        orders = [order for order in orders if order.plane != "http"]
        await self._look(cluster)
        for order in orders:
            try:
                await self._register(order, (await self._profiles.plan(cluster, order)).closure)
            except AvalancheError as error:
                log.warning("closure not registered", extra=facts(host=order.host, order=order.id, reason=error))
        await self._restore(orders)
        pinned = {order.generation for order in orders}
        self.choices.note(orders)
        self._registrar.retain(pinned)
        self.torrents.retain(pinned)

    async def _restore(self, orders: Sequence[Order]) -> None:
        """Serve the torrents that hosts were using before a restart of the frontend."""
        for order in orders:
            if order.plane not in SWARMING or not order.attempts or self.torrents.has(order.generation):
                continue
            generation = await self._generations.open(order.generation)
            await self._register_all(order.generation)
            if generation is not None and self.torrents.closures(order.generation):
                await self.torrents.make(generation)

    async def _look(self, cluster: Cluster) -> None:
        """Rolls that cannot be read now are as they were at the last look; who has none yet hears so for each order."""
        try:
            await self._profiles.look(cluster.rolls)
        except AvalancheError as error:
            log.warning("rolls not read", extra=facts(reason=error))

    async def _register(self, order: Order, closure: Manifest) -> None:
        generation = await self._generation(order)
        self._registrar.register(generation.manifest, closure)

    async def _register_all(self, generation: str) -> None:
        """Know the closures of all orders of a generation, of those that ended too: after a restart of the frontend the
        torrent must be the one that hosts are using.
        """

        def find(transaction: Transaction, cluster: Cluster) -> tuple[Cluster, list[Order]]:
            return cluster, [each for each in orderbook.all_orders(transaction) if each.generation == generation]

        cluster, orders = await self._storage.read(find)
        await self._look(cluster)
        for order in orders:
            if order.plane not in SWARMING:
                continue
            try:
                self.torrents.add(generation, (await self._profiles.plan(cluster, order)).closure)
            except AvalancheError as error:
                log.warning("closure not in the torrent", extra=facts(host=order.host, order=order.id, reason=error))

    async def _generation(self, order: Order) -> Generation:
        generation = await self._generations.open(order.generation)
        if generation is None:
            raise RepositoryError(f"generation {order.generation} of order {order.id} is not there any more")
        return generation
