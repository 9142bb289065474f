"""The line of hosts: who stands ahead of whom in the chain. Pure bookkeeping; where a host belongs is decided in
`chains`.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

from tracker.flow import PeerId

_Key = tuple[int, int, int, int, PeerId]
"""What the line is sorted by: rank, cohort, when the first of its rack came in its cohort, number, peer."""


class Line:
    """The hosts in order: by rank, then as they came.

    Hosts that come within ``together`` seconds of each other are a cohort, and stand rack by rack: so a byte crosses
    between racks once. Later ones stand behind all of these whatever their rack, because nobody should wait for one who
    has just begun.
    """

    def __init__(self, together: float) -> None:
        self._together = together
        self._stands: dict[PeerId, _Key] = {}
        self._keys: list[_Key] = []
        self._racks: dict[str, int] = {}
        self._cohort = 0
        self._cohort_began = float("-inf")
        self._number = 0

    def __repr__(self) -> str:
        return f"<Line of {len(self._keys)}, {self._cohort} cohorts>"

    def __len__(self) -> int:
        return len(self._keys)

    def enter(self, peer: PeerId, *, rack: str, rank: int, now: float) -> None:
        """``peer`` joins, behind those of its rack that came with it."""
        if now - self._cohort_began > self._together:
            self._begin_cohort(now)
        self._number += 1
        self._put((rank, self._cohort, self._racks.setdefault(rack, len(self._racks)), self._number, peer))

    def leave(self, peer: PeerId) -> None:
        """``peer`` is not in line any more."""
        del self._keys[self.place(peer)]
        del self._stands[peer]

    def send_to_end(self, peer: PeerId, *, rank: int, now: float) -> None:
        """``peer`` goes behind all others of ``rank``."""
        self._begin_cohort(now)
        self._number += 1
        self._change(peer, (rank, self._cohort, 0, self._number, peer))

    def return_to(self, peer: PeerId, place: int) -> None:
        """``peer`` takes the place it had in an earlier life of this line; all who return stand ahead of newcomers."""
        rank = self._stands[peer][0]
        self._change(peer, (rank, 0, 0, place, peer))

    def keep_with_rank(self, peer: PeerId, rank: int) -> None:
        """``peer`` changes its rank, and keeps its place among those of the new one."""
        _, cohort, rack, number, _ = self._stands[peer]
        self._change(peer, (rank, cohort, rack, number, peer))

    def place(self, peer: PeerId) -> int:
        """How many stand ahead of ``peer``."""
        return bisect_left(self._keys, self._stands[peer])

    def ahead(self, peer: PeerId) -> Iterator[PeerId]:
        """Those ahead of ``peer``, nearest first. The line must not change meanwhile."""
        return (self._keys[at][-1] for at in range(self.place(peer) - 1, -1, -1))

    def behind(self, peer: PeerId) -> Iterator[PeerId]:
        """Those behind ``peer``, nearest first. The line must not change meanwhile."""
        return (self._keys[at][-1] for at in range(self.place(peer) + 1, len(self._keys)))

    def is_at_seam(self, peer: PeerId) -> bool:
        """Whether ``peer`` is the first of its rank, or of its rack in its cohort, and not the first of all."""
        place = self.place(peer)
        if place == 0:
            return False
        (rank, cohort, rack, _, _), own = self._keys[place - 1], self._keys[place]
        return rank != own[0] or (cohort == own[1] and rack != own[2])

    def _begin_cohort(self, now: float) -> None:
        self._cohort += 1
        self._cohort_began = now
        self._racks = {}

    def _change(self, peer: PeerId, key: _Key) -> None:
        self.leave(peer)
        self._put(key)

    def _put(self, key: _Key) -> None:
        self._stands[key[-1]] = key
        insort(self._keys, key)
