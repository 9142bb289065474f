"""What is thought of the peers: who is banned for whom, who is slow, who sent bytes that fail their hash.

Pure: every question and every accusation carries the time. An accusation is a claim, so each rule bounds what a liar
    can do with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tracker.flow import FRONTEND, PeerId

HEALTHY, SUSPECT, SLOW = 0, 1, 2
"""Ranks in a chain: a peer is fed by those before it and feeds those after it; a slow one feeds nobody but other slow
ones.
"""


@dataclass(frozen=True, slots=True)
class Patience:
    """Times in seconds, and shares, of the rules; their reasons are in docs/decisions/0052.

    Attributes:
        ban: how long a child is kept from a parent it called dead or refusing.
        ban_withheld: the same for a parent that kept bytes back: longer than it takes to find out several of them.
        evidence: how long a slow edge waits for the other edges that show which of its ends is to blame.
        quiet: no slow edge counts so soon after a move of either end; nor does another decision follow so soon.
        start: no slow edge counts so soon after the child's start. It is shorter: while everybody begins, an edge that
            is slow stands out, and a second lost then is the largest share of a small install.
        quiet_suspect: the same for a child in doubt: which end of its edge was slow shows at its new parent.
        memory: how long an edge counts as evidence, and a decision may be taken back.
        share: at most so many of the peers are ranked behind the others.
    """

    ban: float = 10.0
    ban_withheld: float = 60.0
    evidence: float = 0.4
    quiet: float = 3.0
    start: float = 1.0
    quiet_suspect: float = 1.0
    memory: float = 6.0
    share: float = 1 / 3


@dataclass(frozen=True, slots=True)
class Report:
    """Something an operator should read in the timeline of ``order``.

    Attributes:
        host, order: whom it is about.
        status: ``corrupt``, ``slow``, ``restored`` or ``refused``.
        text: one line.
    """

    host: str
    order: str
    status: str
    text: str


@dataclass(slots=True)
class _Record:
    stingy_accusers: set[str] = field(default_factory=set)
    corrupt_accusers: set[str] = field(default_factory=set)
    corrupt_accused: set[str] = field(default_factory=set)


class Standing:
    """Bans, ranks and suspicions of the peers a tracker knows."""

    ACCUSERS = 2  # distinct hosts that must have got bad bytes, or none, from a peer before it counts for everybody
    CORRUPT_ACCUSED = 3  # who gets bad bytes from so many peers has the fault itself (memory, cable), and is no witness

    def __init__(self, patience: Patience = Patience()) -> None:
        self.patience = patience
        self._records: dict[PeerId, _Record] = {}
        self._ranks: dict[PeerId, int] = {}  # of those who are not healthy
        self._silent: set[PeerId] = set()
        self._bans: dict[PeerId, dict[PeerId, float]] = {}
        self._left: dict[tuple[PeerId, PeerId], float] = {}
        self._edges: dict[tuple[PeerId, PeerId], float] = {}
        self._history: dict[tuple[PeerId, PeerId], float] = {}
        self._decided: list[tuple[float, PeerId, PeerId]] = []

    def __repr__(self) -> str:
        return f"<Standing {len(self._records)} peers, {len(self._ranks)} ranked, {len(self._edges)} edges in doubt>"

    def enter(self, peer: PeerId, *, known_slow: bool) -> None:
        """Begin to judge ``peer``; one that is known to be slow from earlier installs starts behind the others."""
        self._records[peer] = _Record()
        if known_slow:
            self._ranks[peer] = SLOW

    def forget(self, peer: PeerId) -> None:
        """Drop every thought of ``peer``."""
        del self._records[peer]
        self._ranks.pop(peer, None)
        self._silent.discard(peer)
        self._bans.pop(peer, None)
        for bans in self._bans.values():
            bans.pop(peer, None)
        for table in (self._edges, self._history, self._left):
            for edge in [edge for edge in table if peer in edge]:
                del table[edge]
        self._decided = [row for row in self._decided if peer not in row]

    # --- questions ---

    def rank(self, peer: PeerId) -> int:
        """Where in a chain ``peer`` belongs."""
        return self._ranks.get(peer, HEALTHY)

    def may_serve(self, parent: PeerId, child: PeerId, now: float) -> bool:
        """Whether ``parent`` is believed to be there and honest, and is not banned for ``child``."""
        record = self._records.get(parent)
        if record is None or parent in self._silent or len(record.corrupt_accusers) >= self.ACCUSERS:
            return False
        return self._bans.get(child, {}).get(parent, now) <= now

    def is_heard(self, peer: PeerId) -> bool:
        """Whether ``peer`` was not called dead since it last spoke."""
        return peer not in self._silent

    def silent(self) -> set[PeerId]:
        """Those who were called dead since they last spoke; to be read, not changed."""
        return self._silent

    def ranked(self) -> list[PeerId]:
        """The peers behind the others."""
        return list(self._ranks)

    def is_deciding(self) -> bool:
        """Whether an edge waits for a decision."""
        return bool(self._edges)

    # --- accusations ---

    def heard(self, peer: PeerId) -> bool:
        """``peer`` spoke: it is not dead. Return whether it was taken for dead."""
        was_silent = peer in self._silent
        self._silent.discard(peer)
        return was_silent

    def ban(self, child: PeerId, parent: PeerId, until: float) -> None:
        """Keep ``child`` from ``parent``."""
        if parent != FRONTEND:
            bans = self._bans.setdefault(child, {})
            bans[parent] = max(until, bans.get(parent, until))

    def left(self, child: PeerId, parent: PeerId, now: float, *, ban: float) -> bool:
        """``child`` left ``parent``, and is kept from it for ``ban`` seconds; return whether this counts.

        One accuser counts against one peer once per ban, so that a liar cannot keep a good peer out.
        """
        self.ban(child, parent, now + ban)
        last = self._left.get((child, parent))
        counts = parent in self._records and (last is None or now - last >= self.patience.ban)
        if counts:
            self._left[child, parent] = now
        return counts

    def called_dead(self, child: PeerId, parent: PeerId, now: float) -> None:
        """``child`` lost ``parent``: nobody is sent there until it is heard again."""
        if self.left(child, parent, now, ban=self.patience.ban):
            self._silent.add(parent)

    def withheld(self, child_host: str, parent: PeerId) -> bool:
        """``parent`` kept bytes back from ``child_host``; return whether it is ranked as slow for that from now on."""
        record = self._records[parent]
        record.stingy_accusers.add(child_host)
        is_news = (
            self.rank(parent) != SLOW
            and len(record.stingy_accusers) >= self.ACCUSERS
            and len(self._ranks) < self._allowed()
        )
        if is_news:
            self._ranks[parent] = SLOW
        return is_news

    def sent_garbage(self, child: PeerId, child_host: str, parent: PeerId, parent_host: str) -> bool:
        """``child`` got bytes from ``parent`` that fail their hash; return whether this is news."""
        self.ban(child, parent, float("inf"))
        accuser, accused = self._records[child], self._records.get(parent)
        accuser.corrupt_accused.add(parent_host)
        if (
            accused is None
            or len(accuser.corrupt_accused) >= self.CORRUPT_ACCUSED
            or child_host in accused.corrupt_accusers
        ):
            return False
        accused.corrupt_accusers.add(child_host)
        return True

    def is_condemned(self, peer: PeerId) -> bool:
        """Whether nobody is to fetch from ``peer`` any more, because it sent garbage to several."""
        record = self._records.get(peer)
        return record is not None and len(record.corrupt_accusers) >= self.ACCUSERS

    def slow_edge(self, child: PeerId, parent: PeerId, now: float) -> None:
        """``child`` says ``parent`` has bytes for it and delivers slowly."""
        if parent in self._records and SLOW not in (self.rank(child), self.rank(parent)):
            self._edges.setdefault((child, parent), now)

    # --- decisions ---

    def decide(self, now: float) -> list[tuple[PeerId, int, bool]]:
        """Judge the edges that have waited long enough.

        Returns:
            Peers, their new ranks, which hold from now on, and whether that is news: a suspect against whom nothing
            more was said is silently healthy again.
        """
        patience = self.patience
        for table in (self._edges, self._history):
            for edge in [edge for edge, at in table.items() if now - at > patience.memory]:
                del table[edge]
        self._decided = [row for row in self._decided if now - row[0] <= patience.memory]
        in_doubt = {peer for _, *edge in self._decided for peer in edge}
        cleared = [peer for peer in self.ranked() if self.rank(peer) == SUSPECT and peer not in in_doubt]
        for peer in cleared:
            del self._ranks[peer]
        judged = self._judge(now)
        return [*((peer, HEALTHY, False) for peer in cleared), *((peer, rank, True) for peer, rank in judged)]

    def _judge(self, now: float) -> list[tuple[PeerId, int]]:
        patience = self.patience
        ripe = [edge for edge, at in self._edges.items() if now - at >= patience.evidence]
        if not ripe or (self._decided and now - self._decided[-1][0] < patience.quiet):
            return []
        child, parent = max(ripe, key=lambda edge: max(self._degree(edge[0]), self._degree(edge[1])))
        return self._sentence(child, parent, now)

    def _sentence(self, child: PeerId, parent: PeerId, now: float) -> list[tuple[PeerId, int]]:
        in_child, in_parent = self._degree(child), self._degree(parent)
        if SUSPECT in (self.rank(child), self.rank(parent)) or in_child != in_parent:
            # A suspect whose pace is slow with a second one is the slow end; of two suspects the sender is.
            suspicion = self.rank(child) - self.rank(parent)
            is_child = suspicion > 0 or (suspicion == 0 and in_child > in_parent)
            guilty, partner = (child, parent) if is_child else (parent, child)
            changes = [*self._restored(guilty, partner), (guilty, SLOW)]
        else:
            # Nobody knows which end it is: both go behind the others, the sender last, where its pace harms nobody.
            changes = [(child, SUSPECT), (parent, SLOW)]
        self._history.update({edge: at for edge, at in self._edges.items() if child in edge or parent in edge})
        for edge in self._history:
            self._edges.pop(edge, None)
        after = {peer for peer in self.ranked()} | {peer for peer, rank in changes if rank != HEALTHY}
        after -= {peer for peer, rank in changes if rank == HEALTHY}
        if len(after) > self._allowed():
            return []
        for peer, rank in changes:
            if rank == HEALTHY:
                del self._ranks[peer]
            else:
                self._ranks[peer] = rank
        self._decided.append((now, child, parent))
        return changes

    def _allowed(self) -> int:
        return max(2, int(len(self._records) * self.patience.share))

    def _restored(self, guilty: PeerId, partner: PeerId) -> list[tuple[PeerId, int]]:
        """Those who were ranked because of an edge with the one that is now known to be guilty."""
        partners = {other for _, *edge in self._decided if guilty in edge for other in edge} | {partner}
        return [(peer, HEALTHY) for peer in sorted(partners - {guilty}) if self.rank(peer) != HEALTHY]

    def _degree(self, peer: PeerId) -> int:
        edges: Iterable[tuple[PeerId, PeerId]] = {*self._edges, *self._history}
        return len({other for edge in edges if peer in edge for other in edge} - {peer})
