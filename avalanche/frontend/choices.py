"""Which plane an order for ``auto`` became, and whether that is still the right one (`avalanche.planes` decides)."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from avalanche.adapters import orderbook
from avalanche.adapters.database import DatabaseUnavailable, Transaction
from avalanche.cluster import Cluster
from avalanche.frontend.storage import Storage
from avalanche.frontend.trackers import Trackers
from avalanche.orders import Order
from avalanche.planes import Choice, Situation, choose, reconsider

CHOICES_KEPT = 20_000
COUNT_SECONDS = 1.0
"""Hosts that begin together see the same count; who becomes what within it, they do not see."""


@dataclass(frozen=True, slots=True)
class _Decided:
    """What an order became, in which attempt, for which generation."""

    attempts: int
    generation: str
    choice: Choice


@dataclass(frozen=True, slots=True)
class _Count:
    """Who installs a generation with peers: hosts, and the orders that have begun, by plane."""

    hosts: frozenset[str]
    begun: dict[str, frozenset[str]]

    def others(self, order: str, plane: str) -> int:
        """How many other orders have begun by ``plane``."""
        return len(self.begun[plane]) - (order in self.begun[plane])


class Choices:
    """Decides once per attempt, and remembers."""

    def __init__(self, storage: Storage, heard: Trackers) -> None:
        self._storage = storage
        self._heard = heard
        self._decided: OrderedDict[str, _Decided] = OrderedDict()
        self._counts: dict[str, _Count] = {}
        self._counting: dict[str, tuple[float, asyncio.Task[_Count]]] = {}

    def __repr__(self) -> str:
        return f"<Choices {len(self._decided)} decided>"

    def plane(self, order: Order) -> str:
        """How the packages of an order travel: its plane, decided."""
        if order.plane != "auto":
            return order.plane
        found = self._decided.get(order.id)
        return "relay" if found is None else found.choice.plane

    async def choose(self, order: Order, now: float) -> Choice | None:
        """Decide, once per attempt, how the packages of an order for ``auto`` travel; None: it says so itself.

        Raises:
            DatabaseUnavailable: it cannot be read now.
        """
        if order.plane != "auto":
            return None
        found = self._decided.get(order.id)
        if found is not None and found.attempts == len(order.attempts):
            return found.choice
        count = await self._count(order.generation, now)
        chained, swarming = count.others(order.id, "relay"), count.others(order.id, "swarm")
        choice = choose(self._situation(count.hosts | {order.host}, chained=chained, swarming=swarming))
        self._decided[order.id] = _Decided(len(order.attempts), order.generation, choice)
        while len(self._decided) > CHOICES_KEPT:
            self._decided.popitem(last=False)
        return choice

    def advise(self, order: str) -> str | None:
        """Why the host of an order, which fetches by swarm, should go on by relay; None: it should not."""
        found = self._decided.get(order)
        if found is None or found.choice.plane != "swarm" or found.generation not in self._counts:
            return None
        better = reconsider(self._situation(self._counts[found.generation].hosts))
        return None if better is None else better.why

    def note(self, orders: Iterable[Order]) -> None:
        """``orders`` are all that live now and have peers."""
        generations: dict[str, list[Order]] = {}
        for order in orders:
            generations.setdefault(order.generation, []).append(order)
        self._counts = {generation: self._count_of(same) for generation, same in generations.items()}
        self._counting = {each: counting for each, counting in self._counting.items() if each in generations}

    def _situation(self, hosts: frozenset[str], *, chained: int = 0, swarming: int = 0) -> Situation:
        return Situation(len(hosts), len(hosts & self._heard.slow), len(hosts & self._heard.lying), chained, swarming)

    async def _count(self, generation: str, now: float) -> _Count:
        """As it was a moment ago: to read the orders for each of a thousand hosts that begin together would be to read
        a million.
        """
        begun, count = self._counting.get(generation, (now, None))
        if count is None or not 0 <= now - begun < COUNT_SECONDS:
            count = asyncio.create_task(self._count_again(generation, now), name="count of who installs")
            self._counting[generation] = now, count
        try:
            # shield: a client that goes away must not take the others' answer with it.
            return await asyncio.shield(count)
        except DatabaseUnavailable:
            self._counting.pop(generation, None)
            raise

    async def _count_again(self, generation: str, now: float) -> _Count:
        def find(transaction: Transaction, _: Cluster) -> list[Order]:
            orders = orderbook.all_orders(transaction)
            same = (each for each in orders if each.generation == generation and each.plane != "http")
            return [each for each in same if each.state(now) == "live"]

        count = self._counts[generation] = self._count_of(await self._storage.read(find))
        return count

    def _count_of(self, orders: Iterable[Order]) -> _Count:
        orders = list(orders)
        begun = [each for each in orders if each.attempts and (each.plane != "auto" or each.id in self._decided)]
        by_plane = {
            plane: frozenset(each.id for each in begun if self.plane(each) == plane) for plane in ("relay", "swarm")
        }
        return _Count(frozenset(each.host for each in orders), by_plane)
