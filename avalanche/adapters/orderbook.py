"""Orders, attempts and events in SQL: what avalanche/orders.py decides is stored here.

Functions take an open transaction of adapters/database.py, so that a caller groups several in one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Row, insert, select, update

from avalanche.adapters import schema
from avalanche.adapters.database import Transaction
from avalanche.adapters.transaction import chunks
from avalanche.errors import OrderRefused
from avalanche.messages import Scalar
from avalanche.orders import Attempt, Order


@dataclass(frozen=True, slots=True)
class TimelineEvent:
    """One line of a host's timeline.

    Attributes:
        at: the frontend's clock when it arrived.
        host_at, seq: the host's clock and number; None for what the frontend itself saw.
    """

    host: str
    at: float
    stage: str
    status: str
    text: str
    order: str | None = None
    attempt: str | None = None
    seq: int | None = None
    host_at: float | None = None
    data: Mapping[str, Scalar] = field(default_factory=dict)


def add_order(transaction: Transaction, order: Order, now: float) -> None:
    """Store a new order.

    Raises:
        UnknownHost: its host is gone.
        ClusterError: its host is locked.
        OrderRefused: the host has a live order; a host has at most one.
    """
    transaction.check_unlocked([order.host])
    for other in orders_of(transaction, order.host):
        if other.state(now) == "live":
            raise OrderRefused(
                f"{order.host} has the live order {other.id}; cancel it first: avalanche order cancel {other.id}"
            )
    transaction.connection.execute(
        insert(schema.orders).values(
            id=order.id,
            host_id=transaction.host_id(order.host),
            generation=order.generation,
            plane=order.plane,
            created=order.created,
            expires=order.expires,
            attempts=order.limit,
        )
    )
    transaction.record("order create", [order.host], order=order.id, generation=order.generation)
    transaction.bump_orders()


def find_order(transaction: Transaction, order_id: str) -> Order | None:
    """Read an order with its attempts; None when there is none of this id."""
    rows = transaction.connection.execute(_ORDER, {"order_id": order_id}).all()
    return _order(rows) if rows else None


def orders_of(transaction: Transaction, host: str) -> list[Order]:
    """Read a host's orders, oldest first."""
    return _orders(transaction, schema.hosts.c.name == host)


def all_orders(transaction: Transaction) -> list[Order]:
    """Read every order, oldest first."""
    return _orders(transaction, sa.true())


def live_orders(transaction: Transaction, hosts: Sequence[str], now: float) -> list[Order]:
    """Read the live orders of some hosts."""
    found = []
    for some in chunks(hosts):
        mine = schema.hosts.c.name.in_(some) & schema.orders.c.closed.is_(None)
        found += [order for order in _orders(transaction, mine) if order.state(now) == "live"]
    return found


def save_order(transaction: Transaction, before: Order, after: Order) -> None:
    """Store what the automaton made of an order: its closing, and attempts that are new or ended."""
    if after is before:
        return
    transaction.bump_orders()
    run = transaction.connection.execute
    if (before.closed, before.closed_at) != (after.closed, after.closed_at):
        change = update(schema.orders).where(schema.orders.c.id == after.id)
        run(change.values(closed=after.closed, closed_at=after.closed_at))
    for number, attempt in enumerate(after.attempts, 1):
        if number > len(before.attempts):
            row = {
                "order_id": after.id,
                "number": number,
                "token": attempt.token,
                "started": attempt.started,
                "ended": attempt.ended,
                "done": attempt.done,
            }
            run(_ADD_ATTEMPT, row)
        elif attempt != before.attempts[number - 1]:
            table = schema.attempts
            change = update(table).where(table.c.order_id == after.id, table.c.number == number)
            run(change.values(ended=attempt.ended, done=attempt.done))


def change_order(transaction: Transaction, order: Order) -> None:
    """Store what an administrator changed of a live order: its end, its attempts, its plane."""
    values = {"expires": order.expires, "attempts": order.limit, "plane": order.plane}
    transaction.connection.execute(update(schema.orders).where(schema.orders.c.id == order.id).values(values))
    transaction.record("order set", [order.host], order=order.id, **values)
    transaction.bump_orders()


def add_events(transaction: Transaction, events: Sequence[TimelineEvent]) -> int:
    """Store events, each host event once per (order, attempt, seq); returns how many were new.

    Events of a host that is gone are dropped: its timeline went with it.
    """
    known = _host_ids(transaction, {event.host for event in events})
    seen: set[tuple[str | None, str | None, int | None]] = set()
    for order, attempt in {(event.order, event.attempt) for event in events if event.seq is not None}:
        table = schema.events
        query = select(table.c.seq).where(
            table.c.order_id == order, table.c.attempt == attempt, table.c.seq.is_not(None)
        )
        seen.update((order, attempt, seq) for seq in transaction.connection.execute(query).scalars())
    rows: list[dict[str, Any]] = []
    for event in events:
        key = (event.order, event.attempt, event.seq)
        if event.host not in known or (event.seq is not None and key in seen):
            continue
        seen.add(key)
        rows.append(_event_row(event, known[event.host]))
    if rows:
        transaction.connection.execute(insert(schema.events), rows)
    return len(rows)


def timeline(transaction: Transaction, host: str) -> list[TimelineEvent]:
    """Read a host's timeline in order of arrival.

    Raises:
        UnknownHost: there is no such host.
    """
    table = schema.events
    query = select(table).where(table.c.host_id == transaction.host_id(host)).order_by(table.c.id)
    return [_event(row, host) for row in transaction.connection.execute(query)]


def slow_hosts(transaction: Transaction, since: float) -> set[str]:
    """The hosts that their peers found slow in an install after ``since``, and not restored later."""
    last = dict(_found_by_peers(transaction, since, ("slow", "restored")))
    return {name for name, status in last.items() if status == "slow"}


def lying_hosts(transaction: Transaction, since: float) -> set[str]:
    """The hosts that sent their peers bytes that fail their hash, in an install after ``since``."""
    return {name for name, _ in _found_by_peers(transaction, since, ("corrupt",))}


def _found_by_peers(transaction: Transaction, since: float, statuses: Sequence[str]) -> list[tuple[str, str]]:
    table = schema.events
    query = (
        select(schema.hosts.c.name, table.c.status)
        .select_from(table.join(schema.hosts))
        .where(table.c.stage == "peers", table.c.status.in_(statuses), table.c.at >= since)
        .order_by(table.c.id)
    )
    return [(row.name, row.status) for row in transaction.connection.execute(query)]


_ORDERS = (
    select(
        schema.orders,
        schema.hosts.c.name.label("host"),
        schema.attempts.c.token,
        schema.attempts.c.started,
        schema.attempts.c.ended,
        schema.attempts.c.done,
    )
    .select_from(schema.orders.join(schema.hosts).outerjoin(schema.attempts))
    .order_by(schema.orders.c.created, schema.orders.c.id, schema.attempts.c.number)
)
# Made once: to put a statement together costs as much as to run it.
_ORDER = _ORDERS.where(schema.orders.c.id == sa.bindparam("order_id"))
_ADD_ATTEMPT = insert(schema.attempts)


def _orders(transaction: Transaction, where: sa.ColumnElement[bool]) -> list[Order]:
    grouped: dict[str, list[Row[Any]]] = {}
    for row in transaction.connection.execute(_ORDERS.where(where)):
        grouped.setdefault(row.id, []).append(row)
    return [_order(rows) for rows in grouped.values()]


def _order(rows: Sequence[Row[Any]]) -> Order:
    first = rows[0]
    return Order(
        id=first.id,
        host=first.host,
        generation=first.generation,
        plane=first.plane,
        created=first.created,
        expires=first.expires,
        limit=first.attempts,
        attempts=tuple(Attempt(row.token, row.started, row.ended, row.done) for row in rows if row.token is not None),
        closed=first.closed,
        closed_at=first.closed_at,
    )


def _host_ids(transaction: Transaction, names: Iterable[str]) -> dict[str, int]:
    table = schema.hosts
    query = select(table.c.name, table.c.id).where(table.c.name.in_(sorted(names)))
    return {row.name: row.id for row in transaction.connection.execute(query)}


def _event_row(event: TimelineEvent, host_id: int) -> dict[str, Any]:
    return {
        "host_id": host_id,
        "order_id": event.order,
        "attempt": event.attempt,
        "seq": event.seq,
        "at": event.at,
        "host_at": event.host_at,
        "stage": event.stage,
        "status": event.status,
        "text": event.text,
        "data": json.dumps(dict(event.data)),
    }


def _event(row: Row[Any], host: str) -> TimelineEvent:
    return TimelineEvent(
        host=host,
        at=row.at,
        stage=row.stage,
        status=row.status,
        text=row.text,
        order=row.order_id,
        attempt=row.attempt,
        seq=row.seq,
        host_at=row.host_at,
        data=json.loads(row.data),
    )
