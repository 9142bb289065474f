"""One host as the chain rule knows it: the facts of its last lookup, and what it is to hear at the next."""

from __future__ import annotations

from dataclasses import dataclass, field

from tracker.flow import ObjectId, PeerId
from tracker.lookup import Peer
from tracker.progress import Progress


@dataclass(slots=True)
class Member:
    """A peer in the line.

    Attributes:
        entered, seen: when it came, and when it was heard last.
        next: seconds that it was told to take at most until its next lookup.
        wants: the objects of its closure.
        moved: when it was sent to another parent last.
        moves: what it hears at its next lookup: objects and their new parents.
        waits: what it has asked for, and nobody can give it yet.
        told, told_at: who it was told last stands ahead of it, and when.
    """

    peer: Peer
    entered: float
    seen: float
    next: float
    progress: Progress
    wants: frozenset[ObjectId] = frozenset()
    state: str = "fetching"
    moved: float = float("-inf")
    moves: dict[ObjectId, PeerId] = field(default_factory=dict)
    waits: set[ObjectId] = field(default_factory=set)
    told: tuple[PeerId, ...] | None = None
    told_at: float = float("-inf")
