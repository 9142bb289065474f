"""How much came of late, whatever anybody says about it (docs/protocol.md, section 11.4)."""

from __future__ import annotations

from collections import deque

LEAN_SECONDS = 3.0
LEAN_SHARE, LEAN_LEAST = 0.25, 256 << 10
"""So long less than this share of the best half second, or fewer bytes per second than this, is too little to believe
that whoever sends it does what it can.
"""
HOP_SECONDS = 0.02
"""From a parent to its child the first block takes a few milliseconds; on a slow link, or a busy host, as many as this.
"""


def fill_seconds(place: int, received: int) -> float:
    """How long a host with so many others ahead of it may wait for its very first byte: the chain fills hop by hop."""
    return 0.0 if received else HOP_SECONDS * place


class Supply:
    """What a host had received at moments of the last seconds."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()

    def __repr__(self) -> str:
        return f"<Supply of {len(self._marks)} marks>"

    def note(self, total: int, now: float) -> None:
        """The host has received ``total`` bytes so far."""
        self._marks.append((now, total))
        while len(self._marks) > 1 and self._marks[1][0] <= now - LEAN_SECONDS:
            self._marks.popleft()

    def forget(self) -> None:
        """What was before proves nothing."""
        self._marks.clear()

    def is_lean(self, best: float, rate: float) -> bool:
        """Has too little come for `LEAN_SECONDS`, and does it still?

        Args:
            best, rate: bytes per second in the host's best half second, and in the last one.

        Nothing at all, ever, is another matter: `fill_seconds`.
        """
        if not self._marks or not self._marks[-1][1]:
            return False
        (begun, before), (now, total) = self._marks[0], self._marks[-1]
        least = max(LEAN_SHARE * best, LEAN_LEAST)
        return rate < least and now - begun >= LEAN_SECONDS and total - before < least * (now - begun)
