"""What the verbs of a transaction share: the connection, who speaks and when, revisions, the audit."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, insert, select, update

from avalanche.adapters import schema
from avalanche.adapters.engine import DatabaseUnavailable

T = TypeVar("T")

# Made once: to put a statement together costs as much as to run it.
_REVISIONS = select(schema.revision.c.inventory, schema.revision.c.orders)
_BUMP_ORDERS = update(schema.revision).values(orders=schema.revision.c.orders + 1)
MOST_NAMED = 500  # of one revision; with more it costs less to read everything again
MOST_CHANGES = 2000
REVISIONS_KEPT = 1000
CHUNK = 500  # values in one IN (...): far below what either engine takes


class Verbs:
    """One open transaction.

    Args:
        author: who changes something, as history and audit name him.
        now: the frontend's clock.
    """

    def __init__(self, connection: Connection, *, author: str, now: float) -> None:
        self.connection = connection
        self.author = author
        self.now = now

    def revision(self) -> int:
        """The inventory's revision."""
        return self.revisions()[0]

    def revisions(self) -> tuple[int, int]:
        """The revisions of the inventory and of the orders.

        Raises:
            DatabaseUnavailable: everything was moved to another database.
        """
        row = self.connection.execute(_REVISIONS).first()
        if row is None:
            raise DatabaseUnavailable("the database was moved; restart with the new avalanche.toml")
        return int(row[0]), int(row[1])

    def bump_orders(self) -> None:
        """Tell every process that an order changed."""
        self.connection.execute(_BUMP_ORDERS)

    def record(self, action: str, subjects: Iterable[str], **detail: Any) -> None:
        """Note who did what, in the audit."""
        told = json.dumps(detail, default=str)
        self._record_all(action, [(subject, told) for subject in subjects])

    def _record_all(self, action: str, told: Iterable[tuple[str, str]]) -> None:
        """Note who did what, in the audit: subjects, each with its detail as JSON."""
        rows = [
            {"at": self.now, "author": self.author, "action": action, "subject": subject[:255], "detail": detail}
            for subject, detail in told
        ]
        self._insert_all(schema.audit, rows)

    def _changed(self, action: str, *subjects: str, **detail: Any) -> None:
        """Note a change of the inventory, and tell every process."""
        self.record(action, subjects, **detail)
        noun, _, verb = action.partition(" ")
        if noun == "host":
            self._bump("host", subjects)
        else:
            # What is only added, and what no host holds by name, changes no host.
            self._bump("kinds" if verb == "add" or noun in ("roll", "dist") else "all")

    def _bump(self, kind: str, names: Iterable[str] = ("",)) -> None:
        """Tell every process that the inventory changed, and what (schema.changes)."""
        self.connection.execute(update(schema.revision).values(inventory=schema.revision.c.inventory + 1))
        revision, named = self.revision(), sorted(set(names))
        if len(named) > MOST_NAMED:
            kind, named = "all", [""]
        rows = [{"revision": revision, "kind": kind, "name": name} for name in named]
        self._insert_all(schema.changes, rows or [{"revision": revision, "kind": "kinds", "name": ""}])
        if revision % REVISIONS_KEPT == 0:
            old = schema.changes.c.revision <= revision - REVISIONS_KEPT
            self.connection.execute(sa.delete(schema.changes).where(old))

    def changes_since(self, revision: int) -> set[tuple[str, str]] | None:
        """What changed after a revision, as kinds and names; None: everything may have."""
        now = self.revision()
        if not 0 <= now - revision <= REVISIONS_KEPT:
            return None
        table = schema.changes
        rows = self.connection.execute(select(table).where(table.c.revision > revision).limit(MOST_CHANGES)).all()
        # Restored from a backup, or by an older program: nobody said what changed.
        if len({row.revision for row in rows}) != now - revision or len(rows) == MOST_CHANGES:
            return None
        found = {(row.kind, row.name) for row in rows}
        return None if ("all", "") in found else found

    def _id(self, table: sa.Table, name: str) -> int | None:
        return self.connection.execute(select(table.c.id).where(table.c.name == name)).scalar()

    def _ids(self, table: sa.Table, names: Iterable[str] | None = None) -> dict[str, int]:
        """The keys of rows by their names; of all rows when no names are given."""
        query = select(table.c.name, table.c.id)
        if names is None:
            return {row.name: row.id for row in self.connection.execute(query)}
        found: dict[str, int] = {}
        for some in chunks(sorted(names)):
            found |= {row.name: row.id for row in self.connection.execute(query.where(table.c.name.in_(some)))}
        return found

    def _insert(self, table: sa.Table, **values: Any) -> int:
        key = self.connection.execute(insert(table).values(**values)).inserted_primary_key
        assert key is not None
        return int(key[0])

    def _insert_all(self, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        if rows:
            self.connection.execute(insert(table), list(rows))


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut values into pieces that fit one statement."""
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]
