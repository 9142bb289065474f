"""Whom a host may fetch from, and who of these it is: the choosing half of the chain rule (docs/protocol.md, 10.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice

from tracker.flow import FRONTEND, Flow, ObjectId, PeerId
from tracker.line import Line
from tracker.lookup import NAMED_AHEAD
from tracker.member import Member
from tracker.standing import HEALTHY, SLOW, SUSPECT, Standing

LOOKED_AHEAD = 64
"""So far the line is searched for hosts that a host is told of."""
NEAREST = 16
"""So many possible parents of who lost one are looked at for one that was heard in time."""

Choose = Callable[[ObjectId, PeerId | None], PeerId | None]
"""Takes an object and a peer that it shall not come from, and returns a parent or WAIT."""


class Choice:
    """Looks at line, flow and standing, and changes nothing.

    Args:
        lateness: seconds; as in `Policy`.
    """

    def __init__(
        self, members: Mapping[PeerId, Member], *, line: Line, flow: Flow, standing: Standing, lateness: float
    ) -> None:
        self._members = members
        self._line = line
        self._flow = flow
        self._standing = standing
        self._lateness = lateness

    def __repr__(self) -> str:
        return f"<Choice among {len(self._members)} hosts>"

    def of(self, peer: PeerId, now: float) -> Choose:
        """How the parents of ``peer`` are chosen now: the nearest one ahead of it that has, fetches or will fetch the
        object; FRONTEND. Who may serve it at all is found out once, so line and standing must not change while it is
        used.
        """
        rank = self._standing.rank(peer)
        serves = self._serves(peer, now)

        def has(other: PeerId, thing: ObjectId) -> bool:
            return self._will_have(other, thing) and not self._flow.depends(other, peer, thing)

        # As a rule this is the one for all objects.
        nearest = next(filter(serves, self._line.ahead(peer)), None)

        def choose(thing: ObjectId, avoid: PeerId | None) -> PeerId | None:
            if nearest is not None and rank != SLOW and avoid is None and has(nearest, thing):
                return nearest
            ahead = filter(serves, self._line.ahead(peer))
            near = (other for other in ahead if other != avoid and has(other, thing))
            if rank == SLOW:
                found = self._idlest(near, peer)
            else:
                found = next(near, None) if avoid is None else self._timely(near, now)
            if found is not None or not self._flow.reaches_anybody(thing):
                return found or FRONTEND
            # Who stands behind may come to depend on this one, unless the object reaches it another way.
            below = self._flow.descendants(peer, thing)
            behind = filter(serves, self._line.behind(peer))
            far = (other for other in behind if other != avoid and other not in below)
            return next((other for other in far if self._flow.is_fed(other, thing)), FRONTEND)

        return choose

    def stand_ins(self, peer: PeerId, now: float) -> tuple[PeerId, ...] | None:
        """Who stands ahead of ``peer`` and may serve it, nearest first, `NAMED_AHEAD` at most; None: there may be more,
        beyond those who were looked at.
        """
        serves, generation = self._serves(peer, now), self._members[peer].peer.generation

        def may_have(other: PeerId) -> bool:
            known = self._members[other]
            return bool(known.wants) and known.peer.generation == generation and serves(other)

        found = tuple(islice(filter(may_have, islice(self._line.ahead(peer), LOOKED_AHEAD)), NAMED_AHEAD))
        # Who is told of fewer takes itself for the first in line.
        return None if len(found) < NAMED_AHEAD and self._line.place(peer) > LOOKED_AHEAD else found

    def _serves(self, child: PeerId, now: float) -> Callable[[PeerId], bool]:
        """Who may serve ``child`` now."""
        rank = self._standing.rank(child)

        def serves(other: PeerId) -> bool:
            other_rank = self._standing.rank(other)
            fits = other_rank == HEALTHY or (rank != HEALTHY and other_rank == SUSPECT)
            return fits and self._standing.may_serve(other, child, now)

        return serves

    def _will_have(self, peer: PeerId, thing: ObjectId) -> bool:
        member = self._members[peer]
        return (thing in member.wants and member.state == "fetching") or self._flow.asked(peer, thing)

    def _timely(self, candidates: Iterator[PeerId], now: float) -> PeerId | None:
        """The first that was heard in time, else the first: who leaves a parent that died must not be sent to another
        one that died with it, if there is a third.
        """
        here = list(islice(candidates, NEAREST))
        for other in here:
            member = self._members[other]
            if now - member.seen <= member.next + self._lateness:
                return other
        return here[0] if here else None

    def _idlest(self, candidates: Iterator[PeerId], child: PeerId) -> PeerId | None:
        """The first that serves nobody else, else the first: a slow host shall take nothing from the others."""
        first = None
        for other in candidates:
            if not self._flow.children_served(other) - {child} - self._standing.silent():
                return other
            first = first or other
        return first
