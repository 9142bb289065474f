"""Sightings in SQL: one row for every unknown machine, with what it last said and why nothing came of it.

Any machine on the wire can make rows, with any MAC it likes: texts are cut to their columns, and only the newest rows
are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update

from avalanche.adapters import schema
from avalanche.adapters.transaction import Verbs, chunks
from avalanche.ethers import Sighting, Verdict

MAX_KEPT = 10_000
_TEXTS = {"kind": 16, "interface": 32, "vendor": 255, "hostname": 255, "uuid": 36, "firmware": 64, "circuit": 255}
_MAC_SIZE = 17

_table = schema.sightings


@dataclass(frozen=True, slots=True)
class Stranger:
    """A machine that is no host: its last sighting, what became of it, and how often it was seen since when."""

    seen: Sighting
    verdict: Verdict
    first_at: float
    packets: int
    serial: int


def note_sightings(transaction: Verbs, seen: Iterable[tuple[Sighting, Verdict]]) -> None:
    """Store sightings; those without an Ethernet MAC are passed over. Of one MAC, the newest counts."""
    newest: dict[str, tuple[Sighting, Verdict, int, float]] = {}
    for sighting, verdict in seen:
        if sighting.mac is not None and len(sighting.mac) == _MAC_SIZE:
            # Taken out and put in again, so that the newest is the last.
            *_, count, first = newest.pop(sighting.mac, (None, None, 0, sighting.at))
            newest[sighting.mac] = (sighting, verdict, count + 1, first)
    if not newest:
        return
    run = transaction.connection.execute
    serial = int(run(select(func.coalesce(func.max(_table.c.serial), 0))).scalar_one())
    known: set[str] = set()
    for some in chunks(list(newest)):
        known.update(run(select(_table.c.mac).where(_table.c.mac.in_(some))).scalars())
    rows: list[dict[str, Any]] = []
    for mac, (sighting, verdict, count, first) in newest.items():
        serial += 1
        values = _values(sighting, verdict) | {"serial": serial}
        if mac in known:
            run(update(_table).where(_table.c.mac == mac).values(**values, packets=_table.c.packets + count))
        else:
            rows.append(values | {"mac": mac, "first_at": first, "packets": count})
    if rows:
        run(insert(_table), rows)
        _forget_oldest(transaction)


def forget_sightings(transaction: Verbs, macs: Sequence[str]) -> None:
    """Remove what is known of machines: they are hosts now."""
    for some in chunks(macs):
        transaction.connection.execute(delete(_table).where(_table.c.mac.in_(some)))


def find_stranger(transaction: Verbs, mac: str) -> Stranger | None:
    """What is known of a machine; None: nothing."""
    row = transaction.connection.execute(select(_table).where(_table.c.mac == mac)).first()
    return _stranger(row) if row is not None else None


def strangers(transaction: Verbs, *, after: int = 0) -> list[Stranger]:
    """The machines that were seen and are no hosts, in order of their last change, above the serial ``after``."""
    query = select(_table).where(_table.c.serial > after).order_by(_table.c.serial)
    return [_stranger(row) for row in transaction.connection.execute(query)]


def last_serial(transaction: Verbs) -> int:
    """The serial of the last change."""
    return int(transaction.connection.execute(select(func.coalesce(func.max(_table.c.serial), 0))).scalar_one())


def _forget_oldest(transaction: Verbs) -> None:
    run = transaction.connection.execute
    # The row that is one too many, counted from the newest.
    last = run(select(_table.c.serial).order_by(_table.c.serial.desc()).offset(MAX_KEPT).limit(1)).scalar()
    if last is not None:
        run(delete(_table).where(_table.c.serial <= last))


def _values(sighting: Sighting, verdict: Verdict) -> dict[str, Any]:
    texts = {name: getattr(sighting, name)[:size] for name, size in _TEXTS.items()}
    return texts | {
        "last_at": sighting.at,
        "source": sighting.source,
        "address": sighting.address,
        "relay": sighting.relay,
        "code": verdict.code,
        "text": verdict.text,
        "status": sighting.status,
    }


def _stranger(row: Row[Any]) -> Stranger:
    seen = Sighting(
        at=row.last_at,
        source=row.source,
        mac=row.mac,
        address=row.address,
        relay=row.relay,
        status=row.status,
        **{name: getattr(row, name) for name in _TEXTS},
    )
    return Stranger(seen, Verdict(row.code, row.text), row.first_at, row.packets, row.serial)
