"""The order automaton: what it permits, what it refuses, and what no sequence of requests can do."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from avalanche.errors import ClusterError, OrderRefused
from avalanche.messages import SECRET, Done
from avalanche.orders import Order, OrderContradicted, is_secret, live_order, order_secret

NOW = 1_795_000_000.0
LIFE = 3600.0
LIMIT = 3
TOKENS = [f"{number:016x}" for number in range(6)]
KEY = bytes(range(32))


def order(**changes: object) -> Order:
    made = Order("0f1e2d3c4b5a6978", "compute-0-0", "g-5d41402abc4b2a76", "http", NOW, NOW + LIFE, LIMIT)
    return replace(made, **changes)  # type: ignore[arg-type]


def ok(token: str) -> Done:
    return Done(token, "ok")


def failed(token: str, why: str = "disk on fire") -> Done:
    return Done(token, "failed", why)


def test_a_new_order_is_live() -> None:
    assert order().state(NOW) == "live"


def test_a_token_is_one_attempt_however_often_it_comes() -> None:
    begun = order().begin(TOKENS[0], NOW)
    assert begun.begin(TOKENS[0], NOW + 1) is begun
    assert begun.number(TOKENS[0]) == 1
    assert begun.number(TOKENS[1]) == 0


def test_a_running_last_attempt_may_go_on_but_no_new_one_begins() -> None:
    full = order(limit=1).begin(TOKENS[0], NOW)
    full.admit(NOW)
    assert full.begin(TOKENS[0], NOW) is full
    with pytest.raises(OrderRefused, match="used up its 1 attempts; a new one: avalanche order create compute-0-0"):
        full.begin(TOKENS[1], NOW)
    with pytest.raises(OrderRefused, match="used up"):
        full.admit_boot(NOW)


def test_done_closes_the_order_and_its_repetition_changes_nothing() -> None:
    done = order().begin(TOKENS[0], NOW).finish(ok(TOKENS[0]), NOW + 60)
    assert done.state(NOW + 60) == "done"
    assert done.finish(ok(TOKENS[0]), NOW + 90) is done
    assert done.finish(ok(TOKENS[0]), NOW + 2 * LIFE) is done


def test_done_means_the_same_message_whatever_the_order_of_its_summary() -> None:
    first = Done(TOKENS[0], "ok", summary={"packages": 3, "seconds": 1.5})
    again = Done(TOKENS[0], "ok", summary={"seconds": 1.5, "packages": 3})
    done = order().begin(TOKENS[0], NOW).finish(first, NOW)
    assert done.finish(again, NOW) is done
    with pytest.raises(OrderContradicted):
        done.finish(ok(TOKENS[0]), NOW)


def test_a_failed_attempt_leaves_the_order_alive_until_the_last() -> None:
    found = order()
    for token in TOKENS[:LIMIT]:
        assert found.state(NOW) == "live"
        found = found.begin(token, NOW).finish(failed(token), NOW)
    assert found.state(NOW) == "exhausted"
    assert found.finish(failed(TOKENS[LIMIT - 1]), NOW) is found
    with pytest.raises(OrderRefused, match="used up its 3 attempts"):
        found.admit(NOW)


def test_a_failure_before_the_profile_counts_an_attempt() -> None:
    found = order(limit=1).finish(failed(TOKENS[0]), NOW)
    assert found.state(NOW) == "exhausted"


def test_an_attempt_that_never_began_cannot_succeed() -> None:
    with pytest.raises(OrderContradicted, match="knows no attempt"):
        order().finish(ok(TOKENS[0]), NOW)


def test_an_attempt_that_failed_cannot_succeed_later() -> None:
    found = order().begin(TOKENS[0], NOW).finish(failed(TOKENS[0]), NOW)
    with pytest.raises(OrderContradicted):
        found.finish(ok(TOKENS[0]), NOW)


def test_a_newer_boot_takes_the_place_of_an_older_one() -> None:
    found = order().begin(TOKENS[0], NOW).begin(TOKENS[1], NOW)
    with pytest.raises(OrderContradicted, match="newer attempt"):
        found.finish(ok(TOKENS[0]), NOW)
    assert found.finish(ok(TOKENS[1]), NOW).state(NOW) == "done"


def test_expiry_refuses_everything_and_shows_both_clocks() -> None:
    begun = order().begin(TOKENS[0], NOW)
    begun.admit(NOW + LIFE - 1)
    for refused in (begun.admit, begun.admit_boot, begun.cancel, lambda now: begun.begin(TOKENS[0], now)):
        with pytest.raises(OrderRefused, match=r"expired at 2026-11-18T12:06:40Z \(the frontend's clock says 2026"):
            refused(NOW + LIFE)
    with pytest.raises(OrderRefused, match="expired"):
        begun.finish(ok(TOKENS[0]), NOW + LIFE)


def test_a_cancelled_order_permits_nothing() -> None:
    cancelled = order().begin(TOKENS[0], NOW).cancel(NOW)
    assert cancelled.state(NOW) == "cancelled"
    assert cancelled.cancel(NOW) is cancelled
    for message in (ok(TOKENS[0]), failed(TOKENS[0])):
        with pytest.raises(OrderRefused, match="was cancelled"):
            cancelled.finish(message, NOW)


def test_a_done_order_cannot_be_cancelled() -> None:
    with pytest.raises(OrderRefused, match="is done"):
        order().begin(TOKENS[0], NOW).finish(ok(TOKENS[0]), NOW).cancel(NOW)


def test_the_live_order_of_a_host_is_found_or_its_absence_explained() -> None:
    old, live = order().cancel(NOW), order(id="1" * 16)
    assert live_order([old, live], "compute-0-0", NOW) is live
    with pytest.raises(OrderRefused, match="has no install order; a new one: avalanche order create compute-0-0"):
        live_order([], "compute-0-0", NOW)
    with pytest.raises(OrderRefused, match="was cancelled"):
        live_order([old], "compute-0-0", NOW)


@pytest.mark.parametrize("changes", [{"plane": "carrier-pigeon"}, {"limit": 0}, {"limit": 101}, {"expires": NOW}])
def test_an_order_out_of_bounds_cannot_be(changes: dict[str, object]) -> None:
    with pytest.raises(ClusterError):
        order(**changes)


@settings(deadline=None)
@given(st.binary(min_size=32, max_size=32), st.from_regex(r"\A[0-9a-f]{16}\Z"))
def test_a_secret_is_of_one_key_and_one_order(key: bytes, order_id: str) -> None:
    secret = order_secret(key, order_id)
    assert SECRET.fullmatch(secret)
    assert is_secret(key, order_id, secret)
    assert not is_secret(key, "f" * 15 + ("0" if order_id[-1] != "0" else "1"), secret)
    assert not is_secret(bytes(32) if key != bytes(32) else KEY, order_id, secret)
    assert not is_secret(key, order_id, "é")


class AnyRequests(RuleBasedStateMachine):
    """Whatever agents, boots, operators and clocks do, an order permits no more than it said."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.order = order()
        self.final: str | None = None

    def attempt(self, change: object) -> None:
        with contextlib.suppress(OrderRefused):
            self.order = change()  # type: ignore[operator]

    @rule(token=st.sampled_from(TOKENS))
    def begin(self, token: str) -> None:
        self.attempt(lambda: self.order.begin(token, self.now))

    @rule(token=st.sampled_from(TOKENS), good=st.booleans(), why=st.sampled_from(["a", "b"]))
    def finish(self, token: str, good: bool, why: str) -> None:
        self.attempt(lambda: self.order.finish(ok(token) if good else failed(token, why), self.now))

    @rule()
    def cancel(self) -> None:
        self.attempt(lambda: self.order.cancel(self.now))

    @rule(seconds=st.floats(1, LIFE))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def attempts_are_bounded_and_distinct(self) -> None:
        tokens = [attempt.token for attempt in self.order.attempts]
        assert len(tokens) == len(set(tokens)) <= LIMIT

    @invariant()
    def an_end_is_final(self) -> None:
        state = self.order.state(self.now)
        if self.final is not None:
            assert state == self.final or (self.final, state) == ("exhausted", "expired")
        self.final = None if state == "live" else state

    @invariant()
    def only_a_counted_attempt_makes_it_done(self) -> None:
        if self.order.closed == "done":
            assert self.order.attempts[-1].outcome == "ok"


TestAnyRequests = AnyRequests.TestCase
TestAnyRequests.settings = settings(deadline=None)
