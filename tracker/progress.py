"""How fast a host says that its bytes come."""

from __future__ import annotations

from collections import deque


class Progress:
    """What a host had received at its lookups of the last ``window`` seconds."""

    def __init__(self, window: float) -> None:
        self.window = window
        self._marks: deque[tuple[float, int]] = deque()

    def __repr__(self) -> str:
        return f"<Progress {self._marks[-1][1] if self._marks else 0} bytes>"

    def note(self, received: int, now: float) -> None:
        """The host says that it has received so many bytes in all; a smaller number than before counts as no more."""
        marks = self._marks
        marks.append((now, max(received, marks[-1][1]) if marks else received))
        while len(marks) > 1 and marks[1][0] <= now - self.window:
            marks.popleft()

    def pace(self, now: float) -> float:
        """Bytes per second, over the window at least; 0.0 before anything was noted."""
        if not self._marks:
            return 0.0
        at, before = self._marks[0]
        return (self._marks[-1][1] - before) / max(now - at, self.window)
