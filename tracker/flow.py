"""Who fetches which object from whom: the bookkeeping under the chain rule. Decides nothing.

Everything is derived where it changes, so that no counter can leak: a peer that is forgotten takes its edges along.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

PeerId = str
ObjectId = str

FRONTEND: PeerId = "frontend"
"""The parent of last resort; never a member."""

HOLDERS_KEPT = 64
"""Holders of an object that are remembered per rack, the latest ones: memory is bounded whatever the cluster's size."""


_NOBODY: dict[PeerId, None] = {}

# A cluster of thousands fetches millions of objects. What is kept of each stands in dictionaries of texts and numbers,
# which the garbage collector need not look through.


@dataclass(slots=True)
class _Node:
    rack: str
    fetches: dict[ObjectId, PeerId | None] = field(default_factory=dict)
    holds: dict[ObjectId, float] = field(default_factory=dict)


@dataclass(slots=True)
class _Served:
    """What a parent's children still want from it. Kept for unknown parents too: children may register before them."""

    children: dict[ObjectId, dict[PeerId, None]] = field(default_factory=dict)
    edges: dict[PeerId, int] = field(default_factory=dict)

    def add(self, child: PeerId, thing: ObjectId) -> None:
        children = self.children.get(thing)
        if children is None:
            self.children[thing] = {child: None}
        else:
            children[child] = None
        self.edges[child] = self.edges.get(child, 0) + 1

    def remove(self, child: PeerId, thing: ObjectId) -> None:
        children = self.children[thing]
        del children[child]
        if not children:
            del self.children[thing]
        self.edges[child] -= 1
        if not self.edges[child]:
            del self.edges[child]


class Flow:
    """The chains of all objects."""

    def __init__(self) -> None:
        self._nodes: dict[PeerId, _Node] = {}
        self._holders: dict[ObjectId, dict[str, dict[PeerId, None]]] = {}
        self._served: dict[PeerId, _Served] = {}

    def __repr__(self) -> str:
        return f"<Flow {len(self._nodes)} peers, {len(self._served)} of them parents>"

    # --- changes ---

    def enter(self, peer: PeerId, rack: str) -> None:
        """Begin to know ``peer``."""
        assert peer != FRONTEND
        assert peer not in self._nodes
        self._nodes[peer] = _Node(rack)

    def forget(self, peer: PeerId) -> None:
        """Drop a peer and what it asked. Its children keep the edge to it until they ask again."""
        for thing in [*self._nodes[peer].fetches, *self._nodes[peer].holds]:
            self.drop(peer, thing)
        del self._nodes[peer]

    def fetch(self, peer: PeerId, thing: ObjectId, parent: PeerId | None) -> None:
        """``peer`` fetches ``thing`` from ``parent`` from now on, or wants it and has none yet (None)."""
        node = self._nodes[peer]
        if thing in node.fetches or thing in node.holds:
            self.drop(peer, thing)
        node.fetches[thing] = parent
        if parent is not None:
            served = self._served.get(parent)
            if served is None:
                served = self._served[parent] = _Served()
            served.add(peer, thing)

    def hold(self, peer: PeerId, thing: ObjectId, now: float) -> None:
        """``peer`` has the whole of ``thing``."""
        self.drop(peer, thing)
        node = self._nodes[peer]
        node.holds[thing] = now
        holders = self._holders.setdefault(thing, {}).setdefault(node.rack, {})
        holders[peer] = None
        if len(holders) > HOLDERS_KEPT:
            self.drop(next(iter(holders)), thing)

    def drop(self, peer: PeerId, thing: ObjectId) -> None:
        """``peer`` neither has nor wants ``thing``."""
        node = self._nodes[peer]
        if thing in node.fetches:
            self._cut(peer, thing, node.fetches.pop(thing))
        elif thing in node.holds:
            del node.holds[thing]
            racks = self._holders[thing]
            del racks[node.rack][peer]
            if not racks[node.rack]:
                del racks[node.rack]
            if not racks:
                del self._holders[thing]

    def _cut(self, peer: PeerId, thing: ObjectId, parent: PeerId | None) -> None:
        """Take away the edge to the parent, and its load."""
        if parent is None:
            return
        served = self._served[parent]
        served.remove(peer, thing)
        if not served.children:
            del self._served[parent]

    # --- questions ---

    def knows(self, peer: PeerId) -> bool:
        """Whether ``peer`` has entered and was not forgotten."""
        return peer in self._nodes

    def holds(self, peer: PeerId, thing: ObjectId) -> bool:
        """Whether ``peer`` has the whole of ``thing``."""
        return peer in self._nodes and thing in self._nodes[peer].holds

    def holds_since(self, peer: PeerId, thing: ObjectId) -> float | None:
        """When ``peer`` said that it has the whole of ``thing``, or None."""
        return self._nodes[peer].holds.get(thing) if peer in self._nodes else None

    def fetches(self, peer: PeerId) -> dict[ObjectId, PeerId | None]:
        """Everything ``peer`` fetches, and from whom: nobody yet (None); to be read, not changed."""
        node = self._nodes.get(peer)
        return {} if node is None else node.fetches

    def asked(self, peer: PeerId, thing: ObjectId) -> bool:
        """Whether ``peer`` fetches or holds ``thing``."""
        node = self._nodes.get(peer)
        return node is not None and (thing in node.fetches or thing in node.holds)

    def reaches_anybody(self, thing: ObjectId) -> bool:
        """Whether ``thing`` reaches at least one peer: somebody holds it, or fetches it from the frontend."""
        return thing in self._holders or self.has_child(FRONTEND, thing)

    def is_fed(self, peer: PeerId, thing: ObjectId) -> bool:
        """Whether ``thing`` reaches ``peer``: it holds it, or the way up from parent to parent ends at one who does."""
        passed: set[PeerId] = set()
        while not self.holds(peer, thing):
            parent = self.fetches(peer).get(thing)
            if parent is None or peer in passed:
                return False
            if parent == FRONTEND:
                return True
            passed.add(peer)
            peer = parent
        return True

    def ancestors(self, peer: PeerId, thing: ObjectId) -> Iterator[PeerId]:
        """The parent from whom ``peer`` fetches ``thing``, that one's parent, and so on."""
        passed = {peer}
        parent = self.fetches(peer).get(thing)
        while parent is not None and parent not in passed:
            yield parent
            passed.add(parent)
            parent = self.fetches(parent).get(thing)

    def children(self, parent: PeerId) -> dict[ObjectId, dict[PeerId, None]]:
        """Who fetches what from ``parent``; to be read, not changed."""
        served = self._served.get(parent)
        return {} if served is None else served.children

    def has_child(self, parent: PeerId, thing: ObjectId) -> bool:
        """Whether anybody fetches ``thing`` from ``parent``."""
        served = self._served.get(parent)
        return served is not None and thing in served.children

    def children_served(self, parent: PeerId) -> set[PeerId]:
        """The distinct children of ``parent``."""
        served = self._served.get(parent)
        return set() if served is None else set(served.edges)

    def depends(self, other: PeerId, peer: PeerId, thing: ObjectId) -> bool:
        """Whether ``other`` gets ``thing`` through ``peer``: then it must never become its parent."""
        return self.has_child(peer, thing) and thing in self.fetches(other) and other in self.descendants(peer, thing)

    def descendants(self, peer: PeerId, thing: ObjectId) -> set[PeerId]:
        """Those who get ``thing`` through ``peer``: its children, theirs, and so on."""
        found: set[PeerId] = set()
        waiting = [peer]
        while waiting:
            served = self._served.get(waiting.pop())
            if served is not None:
                fresh = served.children.get(thing, _NOBODY).keys() - found
                found |= fresh
                waiting += fresh
        return found
