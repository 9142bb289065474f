"""What a host says to the tracker and what it is answered, as values (docs/protocol.md, section 10.1). Their wire form
is in `messages`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tracker.flow import ObjectId, PeerId

WAIT: PeerId | None = None
"""The answer "not yet": a parent follows as a move."""

NAMED_AHEAD = 5
"""So many hosts a host is told of that stand ahead of it; fewer when there are no more."""

BLAMES = ("dead", "refused", "stalled", "corrupt", "slow", "starved")
STATES = ("fetching", "complete", "leaving")


@dataclass(frozen=True, slots=True)
class Peer:
    """One start of an agent, as its token and its lookups describe it."""

    id: PeerId
    host: str
    rack: str
    order: str
    generation: str
    address: str
    port: int


class Ask(NamedTuple):  # a lookup has up to hundreds, and a tuple is made in a third of the time
    """Who is my parent for this object, of which I lack ``left`` bytes; and whom do I leave?"""

    thing: ObjectId
    left: int
    avoid: PeerId | None = None


@dataclass(frozen=True, slots=True)
class Blame:
    """What a child saw of a parent: one of `BLAMES`; ``thing`` with ``corrupt`` and ``starved``."""

    parent: PeerId
    why: str
    thing: ObjectId | None = None


@dataclass(frozen=True, slots=True)
class Registration:
    """What a host must say to be known.

    Attributes:
        wants: its closure, when it is known.
        place: the place in the line that the last answer named, or None: it never had one.
        have: the objects it holds.
        fetch: what it fetches: object, parent, bytes left.
    """

    wants: frozenset[ObjectId] = frozenset()
    place: int | None = None
    have: tuple[ObjectId, ...] = ()
    fetch: tuple[tuple[ObjectId, PeerId, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Lookup:
    """What a host says and asks at once.

    Attributes:
        asks, done, dropped: objects it asks for, has got, and neither has nor wants any more.
        blames: what it saw of its parents.
        registration: present when the tracker may not know the host.
        state: one of `STATES`.
        received: verified bytes since it began.
    """

    asks: tuple[Ask, ...] = ()
    done: tuple[ObjectId, ...] = ()
    dropped: tuple[ObjectId, ...] = ()
    blames: tuple[Blame, ...] = ()
    registration: Registration | None = None
    state: str = "fetching"
    received: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the host is told.

    Attributes:
        give: a parent for each ask, or WAIT.
        moves: objects to be fetched from elsewhere from now on, or at last.
        next: seconds until the next lookup, at the latest.
        place: where the host stands in the line; it says so when it registers with a tracker that was restarted.
        register: the host is not known, and must say everything again.
        ahead: the nearest hosts ahead of it that may serve it, `NAMED_AHEAD` at most, nearest first: its parents while
            no tracker answers. None: not known now, the last ones stay.
    """

    give: tuple[PeerId | None, ...] = ()
    moves: tuple[tuple[ObjectId, PeerId], ...] = ()
    next: float = 0.0
    place: int | None = None
    register: bool = False
    ahead: tuple[PeerId, ...] | None = None
