"""Installation documents as hosts ask for them: written once, then answered from memory while nothing changes.

What a document is made of is known by name: the revision of the inventory, the rolls as they are on disk, the order,
the address it is asked from. Equal names, equal bytes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from avalanche.cluster import Cluster
from avalanche.frontend.profiles import Profiles
from avalanche.frontend.swarm import Swarm
from avalanche.orders import Order

BYTES_KEPT = 256 << 20
ATTEMPTS_KEPT = 20_000


class Installations:
    """Writes installation documents, and keeps those that were asked for last."""

    def __init__(self, profiles: Profiles, swarm: Swarm) -> None:
        self._profiles = profiles
        self._swarm = swarm
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._size = 0
        self._asked: OrderedDict[tuple[str, str], None] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Installations {len(self._kept)} kept, {self._size} bytes>"

    def was_asked(self, order_id: str, attempt: str) -> bool:
        """Whether this attempt of an order is known to be counted; when not, it may be, and the database knows."""
        return (order_id, attempt) in self._asked

    def note_asked(self, order_id: str, attempt: str) -> None:
        """Remember that an attempt is counted."""
        self._asked[order_id, attempt] = None
        if len(self._asked) > ATTEMPTS_KEPT:
            self._asked.popitem(last=False)

    async def document(self, cluster: Cluster, order: Order, address: str) -> bytes:
        """Return the document for the host of an order, which asks from ``address``.

        Raises:
            UnknownHost, DefinitionError, ConfigError, RepositoryError: as ``Planner.plan``.
        """
        rolls = await self._profiles.look(cluster.rolls)
        plane = self._swarm.choices.plane(order)
        key = (cluster.revision, rolls, order.id, order.generation, plane, order.expires, address)
        found = self._kept.get(key)
        if found is None:
            plan = await self._profiles.plan(cluster, order)
            found = plan.document(order, plane, await self._swarm.membership(cluster, order, address, plan.closure))
            self._keep(key, found)
        else:
            self._kept.move_to_end(key)
        return found

    def _keep(self, key: Hashable, document: bytes) -> None:
        self._size += len(document) - len(self._kept.get(key, b""))
        self._kept[key] = document
        while self._size > BYTES_KEPT:
            _, oldest = self._kept.popitem(last=False)
            self._size -= len(oldest)
