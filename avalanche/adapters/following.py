"""Following what happens: events of all hosts as they are stored, and hosts whose plugins were not told yet."""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import func, select

from avalanche.adapters import schema
from avalanche.adapters.orderbook import TimelineEvent
from avalanche.adapters.transaction import Verbs

_events = schema.events
MOST_AT_ONCE = 5000


@dataclass(frozen=True, slots=True)
class Followed:
    """Events in the order in which they were stored; ``last`` is where to go on."""

    events: list[TimelineEvent]
    last: int


def last_event(transaction: Verbs) -> int:
    """Where to begin to see only what is stored from now on."""
    return int(transaction.connection.execute(select(func.coalesce(func.max(_events.c.id), 0))).scalar_one())


def events_after(transaction: Verbs, last: int) -> Followed:
    """What was stored after ``last``, of every host. Writers wait for each other, so ids grow in order of commits."""
    query = (
        select(_events, schema.hosts.c.name.label("host"))
        .select_from(_events.join(schema.hosts))
        .where(_events.c.id > last)
        .order_by(_events.c.id)
        .limit(MOST_AT_ONCE)
    )
    found = []
    for row in transaction.connection.execute(query):
        last = row.id
        data = json.loads(row.data)
        found.append(
            TimelineEvent(
                row.host, row.at, row.stage, row.status, row.text, row.order_id, row.attempt, row.seq, row.host_at, data
            )
        )
    return Followed(found, last)


def untold_hosts(transaction: Verbs) -> list[str]:
    """Hosts whose registration plugins were to hear of and did not: insert-ethers was ended in between."""
    newest = (
        select(_events.c.host_id, _events.c.stage, func.max(_events.c.id).label("id"))
        .where(_events.c.stage.in_(("register", "plugins")))
        .group_by(_events.c.host_id, _events.c.stage)
        .subquery()
    )
    query = (
        select(schema.hosts.c.name, _events.c.stage, _events.c.data)
        .select_from(_events.join(newest, newest.c.id == _events.c.id).join(schema.hosts))
        .order_by(_events.c.id)
    )
    # In order of storing, the later of the two decides.
    last = {row.name: (row.stage, row.data) for row in transaction.connection.execute(query)}
    return [name for name, (stage, data) in last.items() if stage == "register" and json.loads(data).get("plugins")]
