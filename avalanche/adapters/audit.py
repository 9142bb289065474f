"""The audit in SQL: what the verbs of a transaction recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from avalanche.adapters import schema
from avalanche.adapters.transaction import Verbs


@dataclass(frozen=True, slots=True)
class Change:
    """Somebody changed something: ``detail`` says how, without any secret."""

    at: float
    author: str
    action: str
    subject: str
    detail: Mapping[str, Any]


def read_audit(transaction: Verbs, *, subject: str | None, author: str | None, last: int) -> list[Change]:
    """Read the newest changes, oldest first.

    Args:
        subject: only changes of what has this name; an attribute of a host is the host's too.
    """
    table = schema.audit
    query = select(table).order_by(table.c.id.desc()).limit(last)
    if subject is not None:
        query = query.where(
            (table.c.subject == subject) | table.c.subject.startswith(f"host {subject}:", autoescape=True)
        )
    if author is not None:
        query = query.where(table.c.author == author)
    rows = transaction.connection.execute(query).all()
    return [Change(row.at, row.author, row.action, row.subject, json.loads(row.detail)) for row in reversed(rows)]
