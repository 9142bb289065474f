"""Orders, attempts and events in SQL: what the automaton decided comes back as it was."""

from __future__ import annotations

import pytest

from avalanche.adapters import orderbook
from avalanche.adapters.database import Database
from avalanche.adapters.orderbook import TimelineEvent
from avalanche.cluster import Host
from avalanche.errors import OrderRefused
from avalanche.messages import Done
from avalanche.orders import Order

NOW = 1_795_000_000.0
TOKEN = "0123456789abcdef"


@pytest.fixture(autouse=True)
def host(database: Database) -> None:
    with database.transaction() as transaction:
        transaction.add_host(Host("compute-0-0", "compute", 0, 0))


def order(order_id: str = "0f1e2d3c4b5a6978", created: float = NOW) -> Order:
    return Order(order_id, "compute-0-0", "g-5d41402abc4b2a76", "http", created, created + 3600, 3)


def test_an_order_comes_back_as_it_was_stored(database: Database) -> None:
    begun = order().begin(TOKEN, NOW + 1)
    done = begun.finish(Done(TOKEN, "ok"), NOW + 2)
    with database.transaction() as transaction:
        orderbook.add_order(transaction, order(), NOW)
        orderbook.save_order(transaction, order(), begun)
        assert orderbook.find_order(transaction, begun.id) == begun
        orderbook.save_order(transaction, begun, done)
        assert orderbook.find_order(transaction, begun.id) == done
        assert orderbook.orders_of(transaction, "compute-0-0") == orderbook.all_orders(transaction) == [done]
        assert orderbook.find_order(transaction, "0" * 16) is None


def test_a_host_has_one_live_order_at_most(database: Database) -> None:
    with database.transaction() as transaction:
        orderbook.add_order(transaction, order(), NOW)
    with pytest.raises(OrderRefused, match="avalanche order cancel 0f1e2d3c4b5a6978"), database.transaction() as again:
        orderbook.add_order(again, order("1" * 16), NOW + 1)
    with database.transaction() as later:
        orderbook.add_order(later, order("1" * 16, created=NOW + 3600), NOW + 3600)


def test_a_repeated_event_is_stored_once_and_the_timeline_is_in_order_of_arrival(database: Database) -> None:
    first = TimelineEvent("compute-0-0", NOW, "stub", "ok", "a", order().id, TOKEN, 2, NOW - 86400, {"packages": 3})
    second = TimelineEvent("compute-0-0", NOW + 1, "pre", "ok", "b", order().id, TOKEN, 1, NOW - 86500)
    own = TimelineEvent("compute-0-0", NOW + 2, "profile", "ok", "attempt 1 of 3")
    with database.transaction() as transaction:
        orderbook.add_order(transaction, order(), NOW)
        assert orderbook.add_events(transaction, [first, first]) == 1
        assert orderbook.add_events(transaction, [first, second, own, own]) == 3
        assert orderbook.timeline(transaction, "compute-0-0") == [first, second, own, own]


def test_events_of_a_host_that_is_gone_are_dropped(database: Database) -> None:
    with database.transaction() as transaction:
        assert orderbook.add_events(transaction, [TimelineEvent("compute-9-9", NOW, "stub", "ok", "")]) == 0


def test_a_host_is_slow_until_it_is_restored_or_time_has_passed(database: Database) -> None:
    def told(status: str, at: float, stage: str = "peers") -> None:
        with database.transaction() as transaction:
            orderbook.add_events(transaction, [TimelineEvent("compute-0-0", at, stage, status, "")])

    def slow(since: float = NOW) -> set[str]:
        with database.transaction() as transaction:
            return orderbook.slow_hosts(transaction, since)

    told("slow", NOW, stage="packages")
    assert slow() == set()
    told("slow", NOW + 1)
    told("corrupt", NOW + 2)
    assert (slow(), slow(since=NOW + 1.5)) == ({"compute-0-0"}, set())
    with database.transaction() as transaction:
        assert orderbook.lying_hosts(transaction, NOW) == {"compute-0-0"}
        assert orderbook.lying_hosts(transaction, NOW + 2.5) == set()
    told("restored", NOW + 3)
    assert slow() == set()
