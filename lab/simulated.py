"""What `lab.simulator` simulates: the world, its hosts, and how a run ended."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from avalanche.agent.supply import Supply
from avalanche.agent.swarm import RETRY_LAST
from avalanche.manifest import PIECE
from tracker.flow import ObjectId, PeerId
from tracker.lookup import Ask, Blame, Peer
from tracker.policy import Policy
from tracker.standing import Report


@dataclass(frozen=True, slots=True)
class World:
    """What a simulation is about. Rates in bytes per second, sizes in bytes, times in seconds.

    Attributes:
        hosts, racks, objects: how many hosts, in how many racks; the sizes of the objects in canonical order.
        rate, frontend_rate: of every host's link, each way, and of the frontend's (None: the same).
        piece: what is verified and relayed at once.
        latency: of a hop, beside the time on the wire: switch queues, wake-ups, verification.
        round_trip: of a lookup.
    What hosts do by themselves is not here: its numbers are the agent's own.
    """

    hosts: int = 16
    racks: int = 1
    objects: tuple[int, ...] = ()
    rate: float = 3_000_000.0
    frontend_rate: float | None = None
    piece: int = PIECE
    latency: float = 0.002
    round_trip: float = 0.005
    policy: Policy = field(default_factory=Policy)
    known_slow: frozenset[str] = frozenset()


def package_sizes(total: int, count: int, *, seed: int = 1) -> tuple[int, ...]:
    """Sizes like those of an appliance's closure: log-normal, median about a tenth of the mean, ``total`` bytes
    together.
    """
    chance = random.Random(seed)
    weights = [min(chance.lognormvariate(0.0, 2.0), 60.0) for _ in range(count)]
    scale = total / sum(weights)
    return tuple(max(1, int(weight * scale)) for weight in weights)


@dataclass(slots=True, eq=False)
class Request:
    """A child's open question to a parent, and how far it was answered."""

    child: Host
    parent: Host
    thing: ObjectId
    sent: int
    last: float
    open: bool = True


@dataclass(slots=True, eq=False)
class Connection:
    """A parent's connection to one child: requests in order, and pieces on their way."""

    requests: dict[ObjectId, Request] = field(default_factory=dict)
    ready: set[ObjectId] = field(default_factory=set)
    """Of the requests, those the parent has bytes for that it has not sent."""
    on_the_way: int = 0
    fed: float = 0.0
    """When bytes came last, or when the first request was opened after a while without."""
    idle: float = 0.0
    """When the parent said last that it has nothing for the child."""


@dataclass(slots=True, eq=False)
class Host:
    """An installing host, or the frontend, and what it went through."""

    name: str
    peer: Peer
    up: float
    down: float
    wants: tuple[ObjectId, ...] = ()
    starts: float = 0.0
    leaves_after: float | None = None
    alive: bool = False
    stopped: bool = False
    stingy: bool = False
    lies: bool = False
    hides: bool = False
    corrupt: bool = False
    started: bool = False
    finished: float | None = None
    have: dict[ObjectId, int] = field(default_factory=dict)
    given: dict[ObjectId, PeerId] = field(default_factory=dict)
    requests: dict[ObjectId, Request] = field(default_factory=dict)
    asked_of: dict[Host, int] = field(default_factory=dict)
    """How many of those are open at which parent."""
    lines: dict[PeerId, Connection] = field(default_factory=dict)
    turns: deque[PeerId] = field(default_factory=deque)
    sending: bool = False
    down_free: float = 0.0
    uploaded: int = 0
    uploaded_lately: deque[tuple[float, int]] = field(default_factory=deque)
    received_lately: deque[tuple[float, int]] = field(default_factory=deque)
    best_ingress: float = 0.0
    slow_since: dict[PeerId, float] = field(default_factory=dict)
    due: int = 0
    due_since: float = 0.0
    told: float = 0.0
    waits: tuple[Host | None, float] = (None, 0.0)
    """From whom what comes next is to come, and since when."""
    supply: Supply = field(default_factory=Supply)
    quiet_until: float = 0.0
    cursor: int = 0
    asked: int = 0
    received: int = 0
    unasked: list[Ask] = field(default_factory=list)
    waiting: set[ObjectId] = field(default_factory=set)
    done: list[ObjectId] = field(default_factory=list)
    blames: list[Blame] = field(default_factory=list)
    asking: bool = False
    next_lookup: float = 0.0
    place: int | None = None
    registered_at: int = -1
    lookups: int = 0
    tracker_lost: float | None = None
    tries: int = 0
    interval: float = 2 * RETRY_LAST[1]
    ahead: tuple[PeerId, ...] | None = None
    lost: set[PeerId] = field(default_factory=set)
    longest_wait_for_dead: float = 0.0
    died: float = 0.0

    def __repr__(self) -> str:
        return f"<Host {self.name} {len(self.have)} objects, finished {self.finished}>"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a simulation ended.

    Attributes:
        seconds: from its start to its last byte, for every host that lived; None: it did not finish.
        limit: the least time a single host can need for everything over its own link.
        frontend_copies: bytes the frontend sent, as a share of all objects.
        copies: the same for each host.
        waited_for_dead: the longest time any host waited for a parent that was dead.
        reports: what the tracker would write into the hosts' timelines.
    """

    seconds: dict[str, float | None]
    limit: float
    frontend_copies: float
    copies: dict[str, float]
    waited_for_dead: float
    lookups: int
    reports: tuple[Report, ...]
    events: int

    def ratio(self, *, besides: Sequence[str] = ()) -> float:
        """The slowest host's seconds to the limit; infinite when one did not finish."""
        seconds = [value for name, value in self.seconds.items() if name not in besides]
        return max((float("inf") if value is None else value for value in seconds), default=0.0) / self.limit
