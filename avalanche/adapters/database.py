"""The database: immutable snapshots out, small transactional verbs in.

Every verb that changes the inventory bumps its revision in the same transaction, so that any process sees the change
in its next request. The verbs of the inventory are in kindbook.py, hostbook.py and attributebook.py, each on top of
the one before; those of orders and events in orderbook.py. Nothing here may run on an event loop's thread.
"""

from __future__ import annotations

import logging
import os
import pwd
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, inspect

from avalanche.adapters import schema, views
from avalanche.adapters.attributebook import AttributeVerbs
from avalanche.adapters.engine import (
    DatabaseBusy,
    DatabaseFull,
    DatabaseUnavailable,
    Where,
    begin_writing,
    make_engine,
    name_of,
    translated,
)
from avalanche.cluster import Cluster
from avalanche.errors import ConfigError
from avalanche.log import facts
from avalanche.renewal import Renewal, renewed

__all__ = ["HEAD", "Database", "DatabaseBusy", "DatabaseFull", "DatabaseUnavailable", "Transaction", "login_name"]

log = logging.getLogger(__name__)

HEAD = "0003"
TRIES = 3  # of work that another writer made undone

T = TypeVar("T")


class Transaction(AttributeVerbs):
    """The verbs of one transaction."""

    def cluster(self, before: Cluster | None = None) -> Cluster:
        """Read the inventory.

        Args:
            before: an earlier snapshot: only what changed since is read.
        """
        changes = self.changes_since(before.revision) if before is not None else None
        if before is None or changes is None:
            return Cluster(self.revision(), hosts=self.hosts(), settings=self.settings(), **self._kinds())
        if not changes:
            return before
        names = {name for kind, name in changes if kind == "host"}
        owners = {("host", name) for name in names}
        for kind, name in changes:
            if kind == "attributes":
                scope, _, owner = name.partition(" ")
                owners.add((scope, owner))
        hosts = self.hosts(sorted(names))
        kinds = self._kinds() if ("kinds", "") in changes else {}
        news = Renewal(self.revision(), hosts, names - hosts.keys(), self.settings_of(owners), owners, kinds)
        return renewed(before, news)

    def _kinds(self) -> dict[str, Any]:
        return {
            "appliances": self.appliances(),
            "memberships": self.memberships(),
            "networks": self.networks(),
            "distributions": self.distributions(),
            "rolls": self.rolls(),
            "bootactions": self.bootactions(),
        }


class Database:
    """A SQLite file, or a database of a MariaDB or MySQL server. Transactions may be opened from any thread.

    Args:
        author: who changes things through this object, as audit and history name him; by default the login name.
    """

    def __init__(self, where: Where, *, author: str | None = None) -> None:
        self.where = where
        self.author = author or login_name()
        self._engine = make_engine(where)

    def __repr__(self) -> str:
        return f"<Database {self.name}>"

    @property
    def name(self) -> str:
        """How messages name it."""
        return name_of(self.where)

    @property
    def engine_name(self) -> str:
        """``sqlite``, ``mariadb`` or ``mysql``; what the server says once somebody has asked it."""
        dialect = self._engine.dialect
        return "mariadb" if getattr(dialect, "is_mariadb", False) else dialect.name

    @classmethod
    def open(cls, where: Where, *, author: str | None = None) -> Database:
        """Open a database that ``avalanche init`` made.

        Raises:
            ConfigError: there is none, or it is of another version.
            DatabaseUnavailable: it cannot be read now.
        """
        database = cls(where, author=author)
        try:
            database.check()
        except BaseException:
            database.close()
            raise
        return database

    def check(self) -> None:
        """See that its tables are those of this program. Raises as ``open``."""
        if isinstance(self.where, Path) and not self.where.is_file():
            raise ConfigError(f"{self.where}: there is no database; make one: avalanche init --address ADDRESS")
        found = self.version()
        if found is None:
            raise ConfigError(f"{self.name}: there are no tables yet; make them: avalanche init")
        if found != HEAD:
            raise ConfigError(f"{self.name}: is of version {found}, this program needs {HEAD}; run: avalanche init")

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def version(self) -> str | None:
        """The version of its tables; None: there are none.

        Raises:
            DatabaseUnavailable: it cannot be read now.
        """
        with self._connected(writes=False) as connection:
            return _version(connection)

    def migrate(self) -> list[str]:
        """Make or upgrade the tables; returns what was done, empty when nothing was.

        Raises:
            DatabaseUnavailable: it cannot be written now.
        """
        from alembic import command
        from alembic.config import Config

        with self._connected(writes=True) as connection:
            before = _version(connection)
            if before == HEAD:
                return []
            if before is None:
                _remove_half_made(connection)
            settings = Config()
            settings.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
            settings.attributes["connection"] = connection
            command.upgrade(settings, HEAD)
            views.create(connection)
        return [f"database {self.name}: from {before or 'nothing'} to version {HEAD}"]

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Open a transaction that writes; it is committed when the block ends and undone when it raises.

        Raises:
            DatabaseUnavailable: the disk is full, the server is away, the file is damaged.
            DatabaseBusy: another writer holds the database.
        """
        with self._connected(writes=True) as connection:
            begin_writing(connection)
            yield Transaction(connection, author=self.author, now=time.time())

    @contextmanager
    def snapshot(self) -> Iterator[Transaction]:
        """Open a transaction that only reads, at one moment.

        Raises:
            DatabaseUnavailable: as above.
        """
        with self._connected(writes=False) as connection:
            yield Transaction(connection, author=self.author, now=time.time())

    def run(self, work: Callable[[Transaction], T], *, writes: bool) -> T:
        """Run ``work`` in a transaction of its own, again when another writer made it undone.

        Args:
            work: touches nothing but the transaction, so that it may run twice.

        Raises:
            DatabaseUnavailable: as above.
        """
        for attempt in range(1, TRIES + 1):
            try:
                with self.transaction() if writes else self.snapshot() as transaction:
                    return work(transaction)
            except DatabaseBusy as error:
                if attempt == TRIES:
                    raise
                log.warning("transaction repeated", extra=facts(attempt=attempt, reason=error))
        raise AssertionError("the last attempt returns or raises")

    @contextmanager
    def _connected(self, *, writes: bool) -> Iterator[Connection]:
        with translated(self.where), self._engine.connect() as plain:
            connection = plain.execution_options(av_writes=writes)
            with connection.begin():
                yield connection


def login_name() -> str:
    """Who runs this program: behind sudo the user who typed it."""
    try:
        name = os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = f"uid {os.getuid()}"
    return name[:64]


def _version(connection: Connection) -> str | None:
    from alembic.migration import MigrationContext

    return MigrationContext.configure(connection).get_current_revision()


def _remove_half_made(connection: Connection) -> None:
    """MariaDB commits each table as it is made: what an interrupted migration left behind is empty, and in the way."""
    there = set(inspect(connection).get_table_names())
    left = [table for table in reversed(schema.metadata.sorted_tables) if table.name in there]
    if schema.revision.name in there and connection.execute(schema.revision.select()).first() is not None:
        raise ConfigError("the database has tables of ours, but no version; restore it from a backup")
    for table in left:
        table.drop(connection)
