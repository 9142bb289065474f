"""The time of an event loop, which a test lets pass: minutes go by at once, and no machine is too slow for them."""

from __future__ import annotations

import asyncio

import pytest


class LoopClock:
    """Whoever sleeps or waits in this loop goes by it; the rest of the world does not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time
        self._ahead = 0.0
        monkeypatch.setattr(loop, "time", lambda: now() + self._ahead)

    async def forward(self, seconds: float) -> None:
        """Let so many seconds pass; what was due in them has been called when this returns."""
        self._ahead += seconds
        for _ in range(3):
            await asyncio.sleep(0)
