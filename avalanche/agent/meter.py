"""How fast bytes move: over the last second, and in the best second so far."""

from __future__ import annotations

from collections import deque
from typing import Callable

_PARTS = 10
"""A second is measured in so many parts."""


class Meter:
    """Counts bytes. ``clock`` says seconds and does not jump."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._parts: deque[tuple[int, int]] = deque()
        self._part = 0
        self._bytes = 0
        self._best = 0

    def __repr__(self) -> str:
        return f"<Meter {self.rate} B/s, best {self.best} B/s>"

    def count(self, size: int) -> None:
        """Some bytes moved."""
        part = int(self._clock() * _PARTS)
        if part != self._part:
            self._turn(part)
        self._bytes += size

    @property
    def rate(self) -> int:
        """Bytes in the last whole second, to a tenth."""
        self._turn(int(self._clock() * _PARTS))
        return sum(size for _, size in self._parts)

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
        while self._parts and self._parts[0][0] < part - _PARTS:
            self._parts.popleft()
        self._best = max(self._best, sum(size for _, size in self._parts))
