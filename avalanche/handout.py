"""Who gets which piece from the frontend: each piece goes to exactly one host, and the swarm does the rest.

Pure: what hosts said and the clock go in, pieces come out. A piece is *waiting* until it is *leased* to a host, and
*given* once that host has confirmed it. It waits again when its host was silent or its lease ran out; and a given one
is handed out once more when a host finds it nowhere and its holder is gone or had it for long enough.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

LEASE_SECONDS = 6.0
"""So long a host may take to confirm a piece."""
FRESH_SECONDS = 1.5
"""A lease that is older is late, and holds nobody else up: it does not count in the window."""
SILENT_SECONDS = 3.0
"""A host that does not ask for so long is taken for dead."""
GAP_SECONDS = 5.0
"""A piece that a host cannot find so long after it was given to another one is handed out again."""
LOOK_SECONDS = 0.1
LEAST_WINDOW = 768 << 10
WINDOW_SECONDS = 0.4
"""Bytes on their way to all hosts together: what they confirm in so many seconds, and at least `LEAST_WINDOW`."""
MOST_WINDOW = 32 << 20
SMALL_SHARE = 0.04
"""So much of all bytes, in small pieces, is handed out first, and last."""
GATHER_SECONDS = 1.0
"""After a restart, so long hosts may tell what they have before anything is handed out."""


@dataclass
class _Group:
    """Hosts that want the same pieces, in the order in which they are handed out."""

    wanted: Sequence[int]
    wants: frozenset[int]
    position: int = 0


@dataclass
class _Host:
    group: _Group
    seen: float
    leased: dict[int, float] = field(default_factory=dict)
    """Since when, by piece."""
    halted: dict[int, float] = field(default_factory=dict)
    """The age of leases that do not run."""


def handing_order(order: Sequence[int], sizes: Sequence[int]) -> list[int]:
    """The order in which pieces go out: ``order``, but small ones go first and last.

    A host passes on only what it has whole. So a swarm begins when the first pieces have arrived, and ends when the
    last one, after the frontend has sent it, has travelled to all hosts: both take as long as these pieces are large.
    """
    total, largest = sum(sizes[piece] for piece in order), max(sizes, default=0)
    small: list[int] = []
    size = 0
    for piece in sorted(order, key=lambda each: sizes[each]):
        size += sizes[piece]
        if size > total * SMALL_SHARE or sizes[piece] > largest // 4:
            break
        small.append(piece)
    first = set(small[1::2])
    chosen = set(small)
    rest = [piece for piece in order if piece not in chosen]
    return [piece for piece in order if piece in first] + rest + small[0::2][::-1]


class Handout:
    """The pieces of one torrent, as one frontend hands them out.

    Args:
        sizes: of every piece, in bytes.
        order: the pieces in the order in which they are handed out, each once.
    """

    def __init__(self, sizes: Sequence[int], order: Sequence[int]) -> None:
        assert len(sizes) == len(order)
        self._sizes = sizes
        self._piece = max(sizes, default=0)
        self._order = order
        self._hosts: dict[str, _Host] = {}
        self._groups: dict[str, _Group] = {}
        self._waiting = set(order)
        self._left = sum(sizes)
        """Bytes of the waiting pieces."""
        self._returned: list[int] = []
        self._leases: dict[int, str] = {}
        self._given: dict[int, tuple[str, float]] = {}
        self._confirmed: deque[tuple[float, int]] = deque()
        self._rate = 0
        """Bytes that were confirmed in the last second."""
        self._leased = 0
        """Bytes of the leases..."""
        self._late: set[int] = set()
        """...of which these were late at..."""
        self._looked = float("-inf")
        self._closed_until = 0.0

    def __repr__(self) -> str:
        waiting, leased = len(self._waiting), len(self._leases)
        return f"<Handout {waiting} waiting, {leased} leased, {len(self._given)} given, {len(self._hosts)} hosts>"

    @property
    def is_spent(self) -> bool:
        """Was every piece given to somebody?"""
        return not self._waiting and not self._leases

    @property
    def hosts(self) -> int:
        """How many hosts ask."""
        return len(self._hosts)

    def is_open(self, now: float) -> bool:
        """May anybody get anything now, as far as the window goes?"""
        return now >= self._closed_until and self._on_the_way(now) < self._window(now)

    def knows(self, host: str) -> bool:
        """Has ``host`` said what it wants and has?"""
        return host in self._hosts

    def join(self, host: str, group: str, wants: Collection[int], held: Iterable[int], now: float) -> None:
        """A host says what it wants, under the name of its closure, and which pieces it has already."""
        if group not in self._groups:
            chosen = frozenset(wants)
            self._groups[group] = _Group([piece for piece in self._order if piece in chosen], chosen)
        self.leave(host)
        self._hosts[host] = _Host(self._groups[group], now)
        held = [piece for piece in held if 0 <= piece < len(self._sizes)]
        if held and not self._given:
            self._closed_until = now + GATHER_SECONDS
        for piece in held:
            self._give(piece, host, now)

    def leave(self, host: str) -> None:
        """A host is gone, or taken for it."""
        found = self._hosts.get(host)
        for piece in list(found.leased) if found else []:
            self._return(piece)
        self._hosts.pop(host, None)

    def advance(self, now: float) -> bool:
        """Take back what ran out; return whether there was something."""
        silent = [name for name, host in self._hosts.items() if now - host.seen > SILENT_SECONDS and not host.halted]
        for name in silent:
            self.leave(name)
        late = [
            piece
            for host in self._hosts.values()
            for piece, since in host.leased.items()
            if now - since > LEASE_SECONDS and piece not in host.halted
        ]
        for piece in late:
            self._return(piece)
        return bool(silent or late)

    def halt(self, host: str, pieces: Iterable[int], now: float) -> None:
        """These wait for the frontend's own turn to send: until `go_on` no lease of them runs out."""
        found = self._hosts.get(host)
        for piece in pieces:
            if found is not None and piece in found.leased and piece not in found.halted:
                found.halted[piece] = now - found.leased[piece]

    def go_on(self, host: str, pieces: Iterable[int], now: float) -> None:
        """These may be sent: their leases run as if they had not waited."""
        found = self._hosts.get(host)
        if found is None:
            return
        found.seen = now
        for piece in pieces:
            if piece in found.halted:
                found.leased[piece] = now - found.halted.pop(piece)

    def give_back(self, host: str, pieces: Iterable[int]) -> bool:
        """These, leased to ``host``, were not sent; return whether there was one."""
        found = self._hosts.get(host)
        lost = [piece for piece in pieces if found is not None and piece in found.leased]
        for piece in lost:
            self._return(piece)
        return bool(lost)

    def confirm(self, host: str, pieces: Iterable[int], now: float) -> None:
        """A host has these pieces, checked."""
        for piece in pieces:
            if self._leases.get(piece) == host:
                self._confirmed.append((now, self._sizes[piece]))
                self._rate += self._sizes[piece]
            if 0 <= piece < len(self._sizes):
                self._give(piece, host, now)

    def ask(
        self,
        host: str,
        room: int,
        now: float,
        *,
        missing: Iterable[int] = (),
        urgent: Iterable[int] = (),
        only: bool = False,
    ) -> list[int]:
        """Lease pieces to a host that takes ``room`` bytes; none: not now.

        Args:
            missing: what it lacks and finds at nobody.
            urgent: what its installer waits for.
            only: it takes nothing but these.
        """
        asker = self._hosts[host]
        asker.seen = now
        if room <= 0 or now < self._closed_until:
            return []
        window = self._window(now)
        own = sum(self._sizes[piece] for piece in asker.leased)
        left = min(room, window - self._on_the_way(now), max(self._piece, 2 * window // len(self._hosts)) - own)
        # Towards the end everybody gets small portions: one host with all the rest would be its only source.
        share = min(max(self._piece, window // (2 * len(self._hosts))), self._left // (2 * len(self._hosts)))
        taken: list[int] = []
        size = 0
        for piece in self._candidates(asker, now, missing, urgent, only=only):
            size += self._sizes[piece]
            # A host that may take something takes at least one piece, whatever its size.
            if left <= 0 or (taken and size > min(left, share)):
                break
            taken.append(piece)
        for piece in taken:
            self._take(piece)
            self._given.pop(piece, None)
            self._leases[piece] = host
            asker.leased[piece] = now
            self._leased += self._sizes[piece]
        if taken and self._returned:
            self._returned = [piece for piece in self._returned if piece in self._waiting]
        return taken

    def _candidates(
        self, asker: _Host, now: float, missing: Iterable[int], urgent: Iterable[int], *, only: bool
    ) -> Iterator[int]:
        """What a host may get, the most urgent first, each once."""
        group = asker.group
        seen: set[int] = set()
        first = [piece for piece in urgent if piece in self._waiting]
        gaps = [piece for piece in missing if piece in group.wants and self._is_gap(piece, now)]
        for piece in (*first, *gaps, *(() if only else self._returned)):
            if piece in group.wants and piece not in seen:
                seen.add(piece)
                yield piece
        if only:
            return
        while group.position < len(group.wanted) and group.wanted[group.position] not in self._waiting:
            group.position += 1
        for place in range(group.position, len(group.wanted)):
            piece = group.wanted[place]
            if piece in self._waiting and piece not in seen:
                yield piece

    def _is_gap(self, piece: int, now: float) -> bool:
        given = self._given.get(piece)
        return given is not None and (given[0] not in self._hosts or now - given[1] > GAP_SECONDS)

    def _give(self, piece: int, host: str, now: float) -> None:
        self._end(piece)
        self._take(piece)
        self._given[piece] = host, now

    def _take(self, piece: int) -> None:
        if piece in self._waiting:
            self._waiting.remove(piece)
            self._left -= self._sizes[piece]

    def _return(self, piece: int) -> None:
        self._end(piece)
        self._waiting.add(piece)
        self._left += self._sizes[piece]
        self._returned.append(piece)

    def _end(self, piece: int) -> None:
        """There is no lease of it any more."""
        holder = self._leases.pop(piece, None)
        if holder is not None:
            del self._hosts[holder].leased[piece]
            self._hosts[holder].halted.pop(piece, None)
            self._leased -= self._sizes[piece]
            self._late.discard(piece)

    def _on_the_way(self, now: float) -> int:
        # Asked for again and again; who is late is looked for seldom.
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._late = {
                piece
                for host in self._hosts.values()
                for piece, since in host.leased.items()
                if now - since > FRESH_SECONDS and piece not in host.halted
            }
        return self._leased - sum(self._sizes[piece] for piece in self._late)

    def _window(self, now: float) -> int:
        while self._confirmed and now - self._confirmed[0][0] > 1.0:
            self._rate -= self._confirmed.popleft()[1]
        return min(max(LEAST_WINDOW, int(self._rate * WINDOW_SECONDS)), MOST_WINDOW)
