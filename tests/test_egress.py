"""The frontend's egress: caps hold, hosts share alike, nobody starves, and who is refused is told when to come back."""

from __future__ import annotations

import heapq
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avalanche.egress import PATIENCE_SECONDS, RETRY_SECONDS, Bucket, Busy, Caps, Egress, State, Stream

SECOND = 1_000_000.0


@given(
    st.floats(1e3, 1e9),
    st.floats(1e3, 1e7),
    st.lists(st.tuples(st.floats(0, 2), st.floats(1, 1e7)), max_size=60),
)
def test_a_bucket_gives_no_more_than_its_depth_and_its_rate(
    rate: float, depth: float, asked: list[tuple[float, float]]
) -> None:
    bucket, now, given_ = Bucket(rate, depth, now=0.0), 0.0, 0.0
    for pause, count in asked:
        now += pause
        if bucket.take(count, now):
            given_ += count
        elif count <= depth:
            # What it says about the wait is true, and not too much.
            wait = bucket.wait(count, now)
            assert wait > 0
            now += wait * 1.000001 + 1e-9
            assert bucket.take(count, now)
            given_ += count
        assert given_ <= (depth + rate * now) * 1.00001


class Line:
    """A frontend's egress with clients that take what they may have at once, on a clock of its own."""

    def __init__(self, caps: Caps, *, seed: int = 0) -> None:
        self.now = 0.0
        self.egress = Egress(caps, now=0.0)
        self.sent: Counter[str] = Counter()
        self.granted: list[tuple[float, int]] = []
        self.left: dict[Stream, float] = {}
        self.order: list[Stream] = []
        self.refused: list[Stream] = []
        self.chance = random.Random(seed)
        self._ends: list[tuple[float, int, Stream]] = []
        self._number = 0

    def enter(self, host: str, size: float = float("inf")) -> Stream:
        stream = self.egress.enter(host, now=self.now, chance=self.chance.random())
        self.left[stream] = size
        return stream

    def run(self, seconds: float, *, client_seconds: float = 0.001) -> None:
        """Let time pass; a client needs so long for a slice."""
        end = self.now + seconds
        while True:
            for stream in self.egress.decide(self.now):
                self._serve(stream, client_seconds)
            pause = self.egress.pause(self.now)
            moments = [self._ends[0][0]] if self._ends else []
            if pause is not None:
                moments.append(self.now + pause + 1e-6)
            if not moments or min(moments) > end:
                self.now = end
                return
            self.now = max(self.now, min(moments))
            while self._ends and self._ends[0][0] <= self.now:
                self._go_on(heapq.heappop(self._ends)[2])

    def _serve(self, stream: Stream, client_seconds: float) -> None:
        if stream.state is State.IDLE:
            self.order.append(stream)
            self._ask(stream)
        elif stream.state is State.REFUSED:
            self.refused.append(stream)
        elif stream.state is State.SENDING:
            self.sent[stream.host] += stream.wants
            self.granted.append((self.now, stream.wants))
            self.left[stream] -= stream.wants
            self._number += 1
            heapq.heappush(self._ends, (self.now + client_seconds, self._number, stream))

    def _go_on(self, stream: Stream) -> None:
        if stream.state is not State.SENDING:
            return
        self.egress.sent(stream)
        if self.left[stream] <= 0:
            self.egress.leave(stream)
        else:
            self._ask(stream)

    def _ask(self, stream: Stream) -> None:
        self.egress.ask(stream, int(min(self.egress.caps.slice, self.left[stream])))


CAPS = st.builds(
    Caps,
    rate=st.sampled_from([20e3, 1e6, 12.5e6]),
    streams=st.integers(1, 12),
    per_host=st.integers(1, 8),
    waiting=st.integers(0, 20),
)


@settings(deadline=None, max_examples=60)
@given(CAPS, st.lists(st.tuples(st.sampled_from("abcde"), st.integers(1, 400_000), st.floats(0, 0.4)), max_size=40))
def test_no_cap_is_ever_exceeded_and_every_stream_ends(caps: Caps, arrivals: list[tuple[str, int, float]]) -> None:
    line = Line(caps)
    entered: list[Stream] = []
    for host, size, pause in arrivals:
        try:
            entered.append(line.enter(host, size))
        except Busy as busy:
            assert line.egress.waiting >= caps.waiting
            assert RETRY_SECONDS[0] <= busy.seconds <= RETRY_SECONDS[1]
        line.run(pause)
        assert line.egress.running <= caps.streams
        running = Counter(
            each.host for each in entered if each.state in (State.IDLE, State.ASKING, State.SENDING)
        )  # fmt: skip
        assert max(running.values(), default=0) <= caps.per_host
        assert line.egress.waiting <= max(caps.waiting, 1)
    line.run(1e4)
    # Nobody starves: everyone was served whole, or told within the patience to come back.
    assert all(each.state in (State.GONE, State.REFUSED) for each in entered)
    assert all(line.left[each] <= 0 for each in entered if each.state is State.GONE)
    assert (line.egress.running, line.egress.waiting, line.egress.hosts) == (0, 0, 0)
    burst = max(caps.rate * 0.1, caps.slice)
    for first, (start, _) in enumerate(line.granted):
        total = 0
        for at, size in line.granted[first : first + 60]:
            total += size
            assert total <= burst + caps.rate * (at - start) + 1


@pytest.mark.parametrize("greedy", [1, 2, 8, 30])
def test_a_host_with_many_connections_gets_no_more_than_one_with_a_single_one(greedy: int) -> None:
    line = Line(Caps(rate=SECOND))
    for _ in range(greedy):
        line.enter("greedy")
    line.enter("modest")
    line.run(20)
    assert line.sent["greedy"] / line.sent["modest"] == pytest.approx(1.0, abs=0.05)
    assert sum(line.sent.values()) == pytest.approx(20 * SECOND, rel=0.02)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 8), min_size=2, max_size=8), st.floats(0.0002, 0.02))
def test_hosts_share_alike_whatever_they_have_open(connections: list[int], client_seconds: float) -> None:
    line = Line(Caps(rate=12.5e6))
    for number, count in enumerate(connections):
        for _ in range(count):
            line.enter(f"host{number}")
    line.run(10, client_seconds=client_seconds)
    fair = 10 * 12.5e6 / len(connections)
    # A client that is slower than its share takes less; nobody gets more than what is left to share.
    if all(count * line.egress.caps.slice / client_seconds > 2 * fair / 10 for count in connections):
        assert min(line.sent.values()) > 0.9 * fair


def test_who_comes_late_gets_its_share_and_not_what_it_missed() -> None:
    line = Line(Caps(rate=SECOND))
    line.enter("early")
    line.run(10)
    line.enter("late")
    before = line.sent["early"]
    line.run(10)
    assert line.sent["late"] == pytest.approx(5 * SECOND, rel=0.05)
    assert line.sent["early"] - before == pytest.approx(5 * SECOND, rel=0.05)


def test_what_nobody_else_wants_one_host_gets() -> None:
    line = Line(Caps(rate=SECOND))
    line.enter("only")
    line.run(10)
    assert line.sent["only"] == pytest.approx(10 * SECOND, rel=0.02)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 4), st.lists(st.sampled_from("abc"), min_size=1, max_size=20))
def test_within_a_host_the_first_is_admitted_first(streams: int, hosts: list[str]) -> None:
    line = Line(Caps(rate=1e9, streams=streams, per_host=streams))
    entered = [line.enter(host, 1000) for host in hosts]
    line.run(60)
    for host in set(hosts):
        assert [each for each in line.order if each.host == host] == [each for each in entered if each.host == host]


def test_room_goes_to_the_host_that_has_least_of_it() -> None:
    line = Line(Caps(rate=SECOND, streams=4, per_host=4))
    crowd = [line.enter("greedy", 500_000) for _ in range(8)]
    line.run(0.01)
    modest = line.enter("modest", 1000)
    while modest.state is not State.GONE:
        line.run(0.01)
    # Before the ones of the greedy host that wait longer.
    assert [each.state for each in crowd].count(State.WAITING) >= 3


def test_a_host_that_fills_the_queue_loses_its_last_place_to_another() -> None:
    line = Line(Caps(rate=SECOND, streams=1, per_host=1, waiting=4))
    line.enter("greedy")
    line.run(0)
    crowd = [line.enter("greedy") for _ in range(4)]
    with pytest.raises(Busy):
        line.enter("greedy")
    modest = line.enter("modest")
    line.run(0)
    assert modest.state is State.WAITING
    assert line.refused == [crowd[-1]]


def test_who_waits_too_long_is_refused() -> None:
    line = Line(Caps(rate=SECOND, streams=1, per_host=1))
    line.enter("first")
    second = line.enter("second", 1)
    line.run(PATIENCE_SECONDS - 0.1)
    assert second.state is State.WAITING
    line.run(0.2)
    assert second.state is State.REFUSED


@given(st.integers(0, 5000), st.integers(1, 1000), st.floats(0, 1, exclude_max=True))
def test_who_is_refused_comes_back_within_bounds(waiting: int, streams: int, chance: float) -> None:
    egress = Egress(Caps(streams=streams), now=0.0)
    egress.waiting = waiting
    assert RETRY_SECONDS[0] <= egress.retry_after(chance) <= RETRY_SECONDS[1]


def test_the_fuller_the_queue_the_wider_the_spread() -> None:
    def spread(waiting: int) -> int:
        egress = Egress(Caps(streams=100), now=0.0)
        egress.waiting = waiting
        return len({egress.retry_after(number / 100) for number in range(100)})

    assert 2 < spread(0) < spread(100) < spread(400) <= RETRY_SECONDS[1]


def test_a_stream_that_leaves_frees_its_place_in_whatever_state() -> None:
    egress = Egress(Caps(rate=SECOND, streams=2, per_host=2), now=0.0)
    streams = [egress.enter("a", now=0.0, chance=0.0) for _ in range(4)]
    egress.decide(0.0)
    egress.ask(streams[0], 1000)
    egress.ask(streams[1], egress.caps.slice)
    egress.decide(0.0)
    assert [each.state for each in streams] == [State.SENDING, State.SENDING, State.WAITING, State.WAITING]
    for stream in streams:
        egress.leave(stream)
        egress.leave(stream)  # twice is once
    assert (egress.running, egress.waiting, egress.hosts, egress.pause(0.0)) == (0, 0, 0, None)
