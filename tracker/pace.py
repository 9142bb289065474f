"""How often somebody may ask: so many times a second over a while, and some more at once. Pure."""

from __future__ import annotations


class Pace:
    """A bucket per name: filled at ``rate`` a second up to ``depth``; every question takes one out."""

    def __init__(self, rate: float, depth: float) -> None:
        self._rate = rate
        self._depth = depth
        self._buckets: dict[str, tuple[float, float]] = {}

    def __repr__(self) -> str:
        return f"<Pace {self._rate:g}/s, {len(self._buckets)} names>"

    def wait(self, name: str, now: float) -> float:
        """Take one out; return 0, or the seconds until there will be one."""
        level, at = self._buckets.get(name, (self._depth, now))
        level = min(self._depth, level + max(now - at, 0.0) * self._rate)
        if level < 1.0:
            self._buckets[name] = level, now
            return (1.0 - level) / self._rate
        self._buckets[name] = level - 1.0, now
        return 0.0

    def forget(self, now: float) -> None:
        """Drop the buckets that are full again."""
        full = self._depth / self._rate
        self._buckets = {name: bucket for name, bucket in self._buckets.items() if now - bucket[1] < full}
