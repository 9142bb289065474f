"""Who may send next: how a frontend shares what it sends between hosts. Pure: time and chance are arguments.

A `Stream` is one answer. It enters, is admitted at once or waits its turn, asks for leave to send slice after slice,
and leaves. Between hosts everything is shared alike, however many connections one of them has: first the room for
streams, then the bytes of the bucket. Within a host the first who came is the first.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

PATIENCE_SECONDS = 5.0
"""So long a stream waits to be admitted; less than what a client takes for the silence of a dead server."""
RETRY_SECONDS = (1, 30)
"""Between these is what a refused client is told to wait."""
BURST_SECONDS = 0.1
"""The bucket holds so many seconds of its rate, and at least one slice."""
SLICE_SECONDS = 0.02
SLICES = 16 << 10, 1 << 20
"""A slice takes about so long, and has at least and at most so many bytes."""


@dataclass(frozen=True, slots=True)
class Caps:
    """The bounds of a frontend's egress.

    Attributes:
        rate: bytes per second, all together; 0: no bound.
        streams: answers that run at once.
        per_host: of these, to one host.
        waiting: answers that wait to be admitted; others are refused.
    """

    rate: float = 0.0
    streams: int = 512
    per_host: int = 32
    waiting: int = 1024

    @property
    def slice(self) -> int:
        """Bytes that a stream may ask for at once."""
        least, most = SLICES
        return int(min(max(self.rate * SLICE_SECONDS, least), most)) if self.rate else most


class Bucket:
    """A bucket of bytes: filled at ``rate`` a second up to ``depth``."""

    def __init__(self, rate: float, depth: float, *, now: float) -> None:
        assert rate > 0
        self._rate = rate
        self._depth = depth
        self._level = depth
        self._at = now

    def __repr__(self) -> str:
        return f"<Bucket {self._level:.0f} of {self._depth:.0f}>"

    def wait(self, count: float, now: float) -> float:
        """Seconds until ``count``, which the bucket can hold, are in it."""
        self._fill(now)
        return max(0.0, (count - self._level) / self._rate)

    def take(self, count: float, now: float) -> bool:
        """Take ``count`` out, if they are in it. Were they?"""
        self._fill(now)
        if self._level < count:
            return False
        self._level -= count
        return True

    def _fill(self, now: float) -> None:
        self._level = min(self._depth, self._level + max(0.0, now - self._at) * self._rate)
        self._at = max(self._at, now)


class State(enum.Enum):
    """WAITING -> IDLE -> ASKING -> SENDING -> IDLE ... -> GONE; or WAITING -> REFUSED."""

    WAITING = "waiting"
    IDLE = "idle"
    ASKING = "asking"
    SENDING = "sending"
    REFUSED = "refused"
    GONE = "gone"


class Stream:
    """One answer to one host.

    Attributes:
        since: when it entered.
        wants: bytes it asks for, or may send now.
    """

    def __init__(self, host: str, since: float) -> None:
        self.host = host
        self.since = since
        self.state = State.WAITING
        self.wants = 0

    def __repr__(self) -> str:
        return f"<Stream to {self.host} {self.state.value}>"


class _Share:
    """What one host has of the egress. ``sent`` is a virtual count: who has least comes next."""

    def __init__(self) -> None:
        self.running = 0
        self.sent = 0.0
        self.waiting: deque[Stream] = deque()
        self.asking: deque[Stream] = deque()


class Busy(Exception):  # an answer, not a fault
    """A stream is not admitted. ``seconds``: when to come back, jitter included."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"come back in {seconds} s")
        self.seconds = seconds


class Egress:
    """All streams of a frontend. After every call, `decide` says who may go on."""

    def __init__(self, caps: Caps, *, now: float) -> None:
        self.caps = caps
        depth = max(caps.rate * BURST_SECONDS, caps.slice)
        self._bucket = Bucket(caps.rate, depth, now=now) if caps.rate else None
        self._shares: dict[str, _Share] = {}
        self._news: list[Stream] = []
        self._level = 0.0
        self.running = 0
        self.waiting = 0

    def __repr__(self) -> str:
        return f"<Egress {self.running} running, {self.waiting} waiting, {len(self._shares)} hosts>"

    @property
    def hosts(self) -> int:
        """Hosts with a stream."""
        return len(self._shares)

    def enter(self, host: str, *, now: float, chance: float) -> Stream:
        """Let an answer to ``host`` begin, or wait.

        Args:
            chance: in [0, 1); spreads what refused clients are told.

        Raises:
            Busy: too many wait, and none of them for a host with more of them.
        """
        share = self._shares.get(host)
        if self.waiting >= self.caps.waiting and not self._has_room(share):
            greedy = max(self._shares.values(), key=lambda each: len(each.waiting), default=None)
            if greedy is None or len(greedy.waiting) <= (len(share.waiting) if share else 0) + 1:
                raise Busy(self.retry_after(chance))
            self._refuse(greedy.waiting[-1])
        stream = Stream(host, now)
        if share is None:
            share = self._shares[host] = _Share()
            share.sent = self._level  # who was away has saved nothing up
        share.waiting.append(stream)
        self.waiting += 1
        return stream

    def ask(self, stream: Stream, count: int) -> None:
        """An admitted stream wants to send ``count`` bytes, at most a slice of the caps."""
        assert stream.state is State.IDLE and 0 < count <= self.caps.slice
        share = self._shares[stream.host]
        if not share.asking:
            share.sent = max(share.sent, self._level)
        stream.state, stream.wants = State.ASKING, count
        share.asking.append(stream)

    def sent(self, stream: Stream) -> None:
        """The stream has sent what it was allowed to."""
        assert stream.state is State.SENDING
        stream.state = State.IDLE

    def leave(self, stream: Stream) -> None:
        """The stream ends, in whatever state."""
        share = self._shares.get(stream.host)
        if share is None or stream.state in (State.REFUSED, State.GONE):
            stream.state = State.GONE
            return
        if stream.state is State.WAITING:
            share.waiting.remove(stream)
            self.waiting -= 1
        else:
            if stream.state is State.ASKING:
                share.asking.remove(stream)
            share.running -= 1
            self.running -= 1
        stream.state = State.GONE
        self._tidy(stream.host)

    def decide(self, now: float) -> list[Stream]:
        """Return the streams that were admitted, may send or were refused since the last call; their state says it."""
        for stream in list(self._overdue(now)):
            self._refuse(stream)
        self._admit()
        self._grant(now)
        news, self._news = self._news, []
        return news

    def pause(self, now: float) -> float | None:
        """Seconds until `decide` may have something to say although nothing happens; None: never."""
        pauses = [PATIENCE_SECONDS - (now - each.waiting[0].since) for each in self._shares.values() if each.waiting]
        asking = self._next_to_send()
        if asking is not None and self._bucket is not None:
            pauses.append(self._bucket.wait(asking.wants, now))
        return max(0.0, min(pauses)) if pauses else None

    def retry_after(self, chance: float) -> int:
        """Whole seconds for who is refused now: the more wait, the longer, and never the same for all."""
        least, most = RETRY_SECONDS
        spread = 3.0 + 6.0 * self.waiting / self.caps.streams
        return min(most, math.ceil(least + spread * chance))

    # --- deciding ---

    def _has_room(self, share: _Share | None) -> bool:
        """Would one more be admitted at once?"""
        if self.running >= self.caps.streams:
            return False
        return share is None or (not share.waiting and share.running < self.caps.per_host)

    def _overdue(self, now: float) -> Iterator[Stream]:
        for share in self._shares.values():
            for stream in share.waiting:
                if now - stream.since < PATIENCE_SECONDS:
                    break
                yield stream

    def _refuse(self, stream: Stream) -> None:
        self._shares[stream.host].waiting.remove(stream)
        self.waiting -= 1
        stream.state = State.REFUSED
        self._news.append(stream)
        self._tidy(stream.host)

    def _admit(self) -> None:
        while self.waiting and self.running < self.caps.streams:
            able = [each for each in self._shares.values() if each.waiting and each.running < self.caps.per_host]
            if not able:
                return
            share = min(able, key=lambda each: (each.running, each.waiting[0].since))
            stream = share.waiting.popleft()
            self.waiting -= 1
            share.running += 1
            self.running += 1
            stream.state = State.IDLE
            self._news.append(stream)

    def _grant(self, now: float) -> None:
        while (stream := self._next_to_send()) is not None:
            if self._bucket is not None and not self._bucket.take(stream.wants, now):
                return
            share = self._shares[stream.host]
            share.asking.popleft()
            self._level = share.sent
            share.sent += stream.wants
            stream.state = State.SENDING
            self._news.append(stream)

    def _next_to_send(self) -> Stream | None:
        asking = [each for each in self._shares.values() if each.asking]
        return min(asking, key=lambda each: each.sent).asking[0] if asking else None

    def _tidy(self, host: str) -> None:
        share = self._shares[host]
        if not share.running and not share.waiting:
            del self._shares[host]
