"""How fast bytes move: over the last half second, and in the best half second so far (docs/protocol.md, 11.2)."""

from __future__ import annotations

from collections import deque
from typing import Callable

_PARTS = 10
"""A second is measured in so many parts..."""
_SPAN = 5
"""...of which so many are looked back upon."""


class Meter:
    """Counts bytes. ``clock`` says seconds and does not jump."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._parts: deque[tuple[int, int]] = deque()
        self._part = 0
        self._bytes = 0
        self._rate = self._best = 0
        self.total = 0
        """All bytes so far."""

    def __repr__(self) -> str:
        return f"<Meter {self.rate} B/s, best {self.best} B/s>"

    def count(self, size: int) -> None:
        """Some bytes moved."""
        part = int(self._clock() * _PARTS)
        if part != self._part:
            self._turn(part)
        self._bytes += size
        self.total += size

    @property
    def rate(self) -> int:
        """Bytes per second."""
        self._turn(int(self._clock() * _PARTS))
        return self._rate

    @property
    def best(self) -> int:
        """The largest `rate` so far."""
        self._turn(int(self._clock() * _PARTS))
        return self._best

    def _turn(self, part: int) -> None:
        if part == self._part:
            return
        self._parts.append((self._part, self._bytes))
        self._part, self._bytes = part, 0
        self._drop(self._parts[-1][0] + 1)
        self._best = max(self._best, self._sum())
        self._drop(part)
        self._rate = self._sum()

    def _sum(self) -> int:
        return sum(size for _, size in self._parts) * _PARTS // _SPAN

    def _drop(self, part: int) -> None:
        """Forget what is too long ago, seen from the beginning of ``part``."""
        while self._parts and self._parts[0][0] < part - _SPAN:
            self._parts.popleft()
