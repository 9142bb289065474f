"""What hosts need to fetch from each other: who may, and what the trackers answer for."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from avalanche.adapters import orderbook
from avalanche.adapters.database import Transaction
from avalanche.adapters.distributions import Generation
from avalanche.adapters.leaves import Leaves
from avalanche.cluster import Cluster
from avalanche.errors import AvalancheError, RepositoryError
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
from avalanche.planes import Choice, Situation, choose, reconsider
from avalanche.tokens import TICKET_SECONDS, SwarmToken, Ticket, peer_key, sign_ticket, sign_token

REFRESH_SECONDS = 60.0
SWARMING = ("swarm", "auto")
"""Orders whose closures are in the torrent of their generation; those for ``auto`` may become swarms."""
CHOICES_KEPT = 20_000

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


@dataclass(frozen=True, slots=True)
class _Decided:
    """What an order for ``auto`` became, in which attempt, for which generation."""

    attempts: int
    generation: str
    choice: Choice


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
        self._making = asyncio.Lock()
        self._choices: OrderedDict[str, _Decided] = OrderedDict()
        self._installing: dict[str, frozenset[str]] = {}
        """The hosts with a live order for a generation, and peers."""

    def __repr__(self) -> str:
        return f"<Swarm {' '.join(self._trackers)}>"

    def plane(self, order: Order) -> str:
        """How the packages of an order travel: its plane, decided."""
        if order.plane != "auto":
            return order.plane
        found = self._choices.get(order.id)
        return "relay" if found is None else found.choice.plane

    async def choose(self, order: Order, now: float) -> Choice | None:
        """Decide, once per attempt, how the packages of an order for ``auto`` travel; None: it says so itself."""
        if order.plane != "auto":
            return None
        found = self._choices.get(order.id)
        if found is not None and found.attempts == len(order.attempts):
            return found.choice

        def find(transaction: Transaction, _: Cluster) -> list[Order]:
            orders = orderbook.all_orders(transaction)
            same = (each for each in orders if each.generation == order.generation and each.plane != "http")
            return [each for each in same if each.state(now) == "live"]

        orders = await self._storage.read(find)
        hosts = self._installing[order.generation] = frozenset(each.host for each in orders) | {order.host}
        begun = Counter(
            self.plane(each)
            for each in orders
            if each.id != order.id and each.attempts and (each.plane != "auto" or each.id in self._choices)
        )
        choice = choose(self._situation(hosts, chained=begun["relay"], swarming=begun["swarm"]))
        self._choices[order.id] = _Decided(len(order.attempts), order.generation, choice)
        while len(self._choices) > CHOICES_KEPT:
            self._choices.popitem(last=False)
        return choice

    def advise(self, order: str) -> str | None:
        """Why the host of an order, which fetches by swarm, should go on by relay; None: it should not."""
        found = self._choices.get(order)
        if found is None or found.choice.plane != "swarm":
            return None
        better = reconsider(self._situation(self._installing.get(found.generation, frozenset())))
        return None if better is None else better.why

    def _situation(self, hosts: frozenset[str], *, chained: int = 0, swarming: int = 0) -> Situation:
        return Situation(len(hosts), len(hosts & self._heard.slow), len(hosts & self._heard.lying), chained, swarming)

    async def membership(self, cluster: Cluster, order: Order, address: str) -> Membership | None:
        """Admit the host of an order, which speaks from ``address``; None when it fetches from the frontend alone.

        Raises:
            UnknownHost, DefinitionError, ConfigError, RepositoryError: as ``Planner.installation``.
        """
        if self.plane(order) == "http":
            return None
        await self._register(cluster, order)
        return Membership(self._trackers, self._token(cluster, order, address), peer_key(self.key, order.id).hex())

    async def torrent(self, cluster: Cluster, order: Order, address: str, now: float) -> bytes:
        """The torrent with which the host of an order, which speaks from ``address``, or a client beside it, fetches.

        Raises:
            UnknownHost, DefinitionError, ConfigError, RepositoryError: as ``Planner.installation``.
        """
        await self._register(cluster, order)
        closure = await self._profiles.wanted(cluster, order)
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
        for order in orders:
            try:
                await self._register(cluster, order)
            except AvalancheError as error:
                log.warning("closure not registered", extra=facts(host=order.host, order=order.id, reason=error))
        await self._restore(orders)
        pinned = {order.generation for order in orders}
        self._installing = {
            generation: frozenset(each.host for each in orders if each.generation == generation)
            for generation in pinned
        }
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

    async def _register(self, cluster: Cluster, order: Order) -> None:
        closure = await self._profiles.wanted(cluster, order)
        generation = await self._generation(order)
        self._registrar.register(generation.manifest, closure)

    async def _register_all(self, generation: str) -> None:
        """Know the closures of all orders of a generation, of those that ended too: after a restart of the frontend the
        torrent must be the one that hosts are using.
        """

        def find(transaction: Transaction, cluster: Cluster) -> tuple[Cluster, list[Order]]:
            return cluster, [each for each in orderbook.all_orders(transaction) if each.generation == generation]

        cluster, orders = await self._storage.read(find)
        for order in orders:
            if order.plane not in SWARMING:
                continue
            try:
                self.torrents.add(generation, await self._profiles.wanted(cluster, order))
            except AvalancheError as error:
                log.warning("closure not in the torrent", extra=facts(host=order.host, order=order.id, reason=error))

    async def _generation(self, order: Order) -> Generation:
        generation = await self._generations.open(order.generation)
        if generation is None:
            raise RepositoryError(f"generation {order.generation} of order {order.id} is not there any more")
        return generation
