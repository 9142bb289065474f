"""Complaints of children that get nothing, and when they are ripe for a verdict. Who is the culprit is found in
`chains`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tracker.flow import ObjectId, PeerId


@dataclass(slots=True)
class _Complaint:
    parent: PeerId
    first: float
    last: float


class Starvation:
    """Who said that which parent sends nothing of which object.

    A chain fills slowly, so one complaint proves nothing: it is ripe when it was repeated ``patience`` seconds later.
    One verdict at a time, because what a verdict mends makes the complaints behind it void.
    """

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self._complaints: dict[tuple[PeerId, ObjectId], _Complaint] = {}
        self._complained: dict[PeerId, float] = {}
        self._helped: dict[PeerId, float] = {}
        self._verdict = float("-inf")

    def __repr__(self) -> str:
        return f"<Starvation {len(self._complaints)} complaints>"

    def complain(self, child: PeerId, thing: ObjectId, parent: PeerId, now: float) -> None:
        """``child`` gets nothing of ``thing`` from ``parent``."""
        self._complained[child] = now
        complaint = self._complaints.get((child, thing))
        if complaint is None or complaint.parent != parent:
            self._complaints[child, thing] = _Complaint(parent, now, now)
        else:
            complaint.last = now

    def settle(self, child: PeerId, thing: ObjectId) -> None:
        """``child`` has ``thing``, or another parent for it."""
        self._complaints.pop((child, thing), None)

    def forget(self, peer: PeerId) -> None:
        """``peer`` is gone."""
        for key in [key for key, complaint in self._complaints.items() if peer in (key[0], complaint.parent)]:
            del self._complaints[key]
        self._complained.pop(peer, None)
        self._helped.pop(peer, None)

    def ripe(self, now: float) -> Iterator[tuple[PeerId, ObjectId, PeerId]]:
        """Child, object and parent of the complaints that may be judged now; old ones are dropped."""
        for (child, thing), complaint in list(self._complaints.items()):
            if now - complaint.last > 2 * self.patience:
                del self._complaints[child, thing]
            elif now - self._verdict >= self.patience and complaint.last - complaint.first >= self.patience:
                yield child, thing, complaint.parent

    def help(self, child: PeerId, thing: ObjectId, now: float) -> None:
        """A verdict gave ``child`` another parent."""
        self.settle(child, thing)
        self._verdict = self._helped[child] = now

    def is_believed(self, peer: PeerId, now: float, *, after_help: float) -> bool:
        """Whether ``peer`` complains itself.

        Help takes effect in some seconds; from then on until ``after_help`` its complaints excuse nothing.
        """
        complained, helped = self._complained.get(peer), self._helped.get(peer)
        recent = 3 * self.patience
        must_deliver = helped is not None and recent <= now - helped <= after_help
        return complained is not None and now - complained < recent and not must_deliver
