"""Complaints of children that get nothing, and when they are ripe for a verdict. Who is the culprit is found in
`chains`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tracker.flow import ObjectId, PeerId


@dataclass(slots=True)
class _Complaint:
    thing: ObjectId
    first: float
    last: float
    is_met: bool = False
    """Has the object come? Then the complaint must be repeated, about the next one."""


class Starvation:
    """Who said that which parent sends nothing, or too little, of what it waits for.

    A chain fills slowly, so one complaint proves nothing: it is ripe when it was repeated ``patience`` seconds later.
    One verdict at a time, because what a verdict mends makes the complaints behind it void.
    """

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self._complaints: dict[PeerId, dict[PeerId, _Complaint]] = {}
        """By child, and by parent."""
        self._complained: dict[PeerId, float] = {}
        self._helped: dict[PeerId, float] = {}
        self._verdict = float("-inf")

    def __repr__(self) -> str:
        return f"<Starvation {sum(map(len, self._complaints.values()))} complaints>"

    def complain(self, child: PeerId, thing: ObjectId, parent: PeerId, now: float) -> None:
        """``child`` waits for ``thing``, and gets nothing of it from ``parent``, or too little of everything."""
        self._complained[child] = now
        complaint = self._complaints.setdefault(child, {}).setdefault(parent, _Complaint(thing, now, now))
        complaint.thing, complaint.last, complaint.is_met = thing, now, False

    def meet(self, child: PeerId, thing: ObjectId) -> None:
        """``child`` has ``thing``."""
        for complaint in self._complaints.get(child, {}).values():
            complaint.is_met = complaint.is_met or complaint.thing == thing

    def settle(self, child: PeerId, thing: ObjectId) -> None:
        """``child`` has another parent for ``thing``, or does not want it any more."""
        complaints = self._complaints.get(child, {})
        for parent in [parent for parent, complaint in complaints.items() if complaint.thing == thing]:
            self._drop(child, parent)

    def _drop(self, child: PeerId, parent: PeerId) -> None:
        del self._complaints[child][parent]
        if not self._complaints[child]:
            del self._complaints[child]

    def forget(self, peer: PeerId) -> None:
        """``peer`` is gone."""
        self._complaints.pop(peer, None)
        for child in [child for child, complaints in self._complaints.items() if peer in complaints]:
            self._drop(child, peer)
        self._complained.pop(peer, None)
        self._helped.pop(peer, None)

    def ripe(self, now: float) -> Iterator[tuple[PeerId, ObjectId, PeerId]]:
        """Child, object and parent of the complaints that may be judged now; old ones are dropped."""
        found = [(child, parent) for child, complaints in self._complaints.items() for parent in complaints]
        for child, parent in found:
            complaint = self._complaints.get(child, {}).get(parent)
            if complaint is None:
                continue  # an earlier one's verdict has settled it
            if now - complaint.last > 2 * self.patience:
                self._drop(child, parent)
            elif complaint.is_met or now - self._verdict < self.patience:
                continue
            elif complaint.last - complaint.first >= self.patience:
                yield child, complaint.thing, parent

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
