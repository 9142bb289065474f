"""The inventory in SQL: immutable snapshots out, small transactional verbs in.

Every verb that changes the inventory bumps its revision in the same transaction, so that any process sees the change
in its next request. Orders and events are in adapters/orderbook.py, on the same connection. Nothing here may run on
an event loop's thread.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, delete, event, insert, select, update

from avalanche.adapters import schema
from avalanche.cluster import Appliance, Cluster, Host, Interface, Setting, check_setting
from avalanche.errors import AvalancheError, ClusterError, ConfigError, DuplicateHost

log = logging.getLogger(__name__)

HEAD = "0001"
BUSY_SECONDS = 10.0
_REVISIONS = select(schema.revision.c.inventory, schema.revision.c.orders)


class DatabaseUnavailable(AvalancheError):
    """The database cannot be read or written now: its disk is full, its file is locked or damaged."""


class Database:
    """One SQLite file. Transactions may be opened from any thread, one at a time per thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = _engine(path)

    def __repr__(self) -> str:
        return f"<Database {self.path}>"

    @classmethod
    def open(cls, path: Path) -> Database:
        """Open a database that ``avalanche init`` made.

        Raises:
            ConfigError: there is none, or it is of another version.
        """
        if not path.is_file():
            raise ConfigError(f"{path}: there is no database; make one: avalanche init --address ADDRESS")
        database = cls(path)
        with database._reading() as connection:
            found = _version(connection)
        if found != HEAD:
            database.close()
            raise ConfigError(f"{path}: is of version {found}, this program needs {HEAD}; run: avalanche init")
        return database

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def migrate(self) -> list[str]:
        """Make or upgrade the tables; returns what was done, empty when nothing was."""
        from alembic import command
        from alembic.config import Config

        with self._writing() as connection:
            before = _version(connection)
            if before == HEAD:
                return []
            settings = Config()
            settings.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
            settings.attributes["connection"] = connection
            command.upgrade(settings, HEAD)
        return [f"database {self.path}: from {before or 'nothing'} to version {HEAD}"]

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Open a transaction that writes; it is committed when the block ends and undone when it raises.

        Raises:
            DatabaseUnavailable: the disk is full, another writer holds the database, the file is damaged.
        """
        with self._writing() as connection:
            yield Transaction(connection)

    @contextmanager
    def snapshot(self) -> Iterator[Transaction]:
        """Open a transaction that only reads, at one moment.

        Raises:
            DatabaseUnavailable: as above.
        """
        with self._reading() as connection:
            yield Transaction(connection)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with _translated(self.path), self._engine.connect() as plain:
            connection = plain.execution_options(av_begin="BEGIN IMMEDIATE")
            with connection.begin():
                yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with _translated(self.path), self._engine.connect() as connection, connection.begin():
            yield connection


class Transaction:
    """The verbs of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    # --- reading ---

    def revision(self) -> int:
        """The inventory's revision."""
        return self.revisions()[0]

    def revisions(self) -> tuple[int, int]:
        """The revisions of the inventory and of the orders."""
        row = self.connection.execute(_REVISIONS).one()
        return int(row[0]), int(row[1])

    def cluster(self) -> Cluster:
        """Read the whole inventory."""
        run = self.connection.execute
        appliances = {row.name: Appliance(row.name, row.root) for row in run(select(schema.appliances))}
        cards: dict[int, list[Interface]] = {}
        for row in run(select(schema.interfaces).order_by(schema.interfaces.c.id)):
            cards.setdefault(row.host_id, []).append(Interface(row.mac, row.ip))
        query = (
            select(schema.hosts, schema.appliances.c.name.label("appliance"))
            .join(schema.appliances)
            .order_by(schema.hosts.c.rack, schema.hosts.c.rank, schema.hosts.c.name)
        )
        hosts = {
            row.name: Host(row.name, row.appliance, row.rack, row.rank, tuple(cards.get(row.id, ())))
            for row in run(query)
        }
        table = schema.attributes
        rows = run(select(table).order_by(table.c.scope, table.c.owner, table.c.name))
        settings = tuple(Setting(row.scope, row.owner, row.name, row.value, row.secret) for row in rows)
        return Cluster(self.revision(), appliances, hosts, settings)

    # --- appliances ---

    def add_appliance(self, appliance: Appliance) -> None:
        """Add a kind of host.

        Raises:
            ClusterError: the name is taken.
        """
        if self._id(schema.appliances, appliance.name) is not None:
            raise ClusterError(f"appliance {appliance.name} exists already")
        self._insert(schema.appliances, name=appliance.name, root=appliance.root)
        self._bump()

    # --- hosts ---

    def add_host(self, host: Host) -> None:
        """Add a host and its interfaces.

        Raises:
            ClusterError: there is no such appliance.
            DuplicateHost: its name, a MAC or an address is taken; says by whom.
        """
        appliance_id = self._id(schema.appliances, host.appliance)
        if appliance_id is None:
            self.cluster().appliance(host.appliance)
        if self._id(schema.hosts, host.name) is not None:
            raise DuplicateHost(f"host {host.name} exists already (avalanche host show {host.name})")
        for card in host.interfaces:
            self._check_free(card)
        host_id = self._insert(schema.hosts, name=host.name, appliance_id=appliance_id, rack=host.rack, rank=host.rank)
        for card in host.interfaces:
            self._insert(schema.interfaces, host_id=host_id, mac=card.mac, ip=card.ip)
        self._bump()

    def remove_host(self, name: str) -> None:
        """Remove a host with its interfaces, attributes, orders and events.

        Raises:
            UnknownHost: there is none.
        """
        host_id = self.host_id(name)
        self.connection.execute(delete(schema.hosts).where(schema.hosts.c.id == host_id))
        owned = (schema.attributes.c.scope == "host") & (schema.attributes.c.owner == name)
        self.connection.execute(delete(schema.attributes).where(owned))
        self._bump()
        self.bump_orders()

    def host_id(self, name: str) -> int:
        """The key of a host's row.

        Raises:
            UnknownHost: there is none; names the closest ones.
        """
        found = self._id(schema.hosts, name)
        if found is None:
            self.cluster().host(name)
            raise AssertionError("a snapshot of the same transaction holds the same hosts")
        return found

    # --- attributes ---

    def set_attribute(self, setting: Setting) -> None:
        """Set an attribute, in place of the value it has at the same scope and owner.

        Raises:
            ClusterError, ConfigError: the scope, name, value or owner is wrong.
        """
        check_setting(setting)
        self._check_owner(setting)
        table = schema.attributes
        same = self._same(setting.scope, setting.owner, setting.name)
        if self.connection.execute(select(table.c.id).where(same)).first() is None:
            key = {"scope": setting.scope, "owner": setting.owner, "name": setting.name}
            self._insert(table, **key, value=setting.value, secret=setting.secret)
        else:
            change = update(table).where(same).values(value=setting.value, secret=setting.secret)
            self.connection.execute(change)
        self._bump()

    def remove_attribute(self, scope: str, owner: str, name: str) -> None:
        """Remove an attribute from a scope.

        Raises:
            ClusterError: it is not set there.
        """
        gone = self.connection.execute(delete(schema.attributes).where(self._same(scope, owner, name)))
        if gone.rowcount == 0:
            raise ClusterError(f"attribute {name} is not set for {' '.join(filter(None, (scope, owner)))}")
        self._bump()

    # --- shared ---

    def _same(self, scope: str, owner: str, name: str) -> sa.ColumnElement[bool]:
        columns = schema.attributes.c
        return sa.and_(columns.scope == scope, columns.owner == owner, columns.name == name)

    def _check_owner(self, setting: Setting) -> None:
        if setting.scope == "host":
            self.host_id(setting.owner)
        elif setting.scope == "appliance" and self._id(schema.appliances, setting.owner) is None:
            self.cluster().appliance(setting.owner)
        elif (setting.scope == "global") != (setting.owner == ""):
            raise ClusterError(f"scope {setting.scope} {'has no' if setting.owner else 'needs an'} owner")

    def _check_free(self, card: Interface) -> None:
        for column, value in ((schema.interfaces.c.mac, card.mac), (schema.interfaces.c.ip, card.ip)):
            if value is None:
                continue
            query = select(schema.hosts.c.name).join(schema.interfaces).where(column == value)
            taken = self.connection.execute(query).scalar()
            if taken is not None:
                raise DuplicateHost(f"{column.name.upper()} {value} belongs to {taken}")

    def _id(self, table: sa.Table, name: str) -> int | None:
        return self.connection.execute(select(table.c.id).where(table.c.name == name)).scalar()

    def _insert(self, table: sa.Table, **values: Any) -> int:
        key = self.connection.execute(insert(table).values(**values)).inserted_primary_key
        assert key is not None
        return int(key[0])

    def _bump(self) -> None:
        self.connection.execute(update(schema.revision).values(inventory=schema.revision.c.inventory + 1))

    def bump_orders(self) -> None:
        """Tell every process that an order changed."""
        self.connection.execute(update(schema.revision).values(orders=schema.revision.c.orders + 1))


def _version(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return str(found) if found is not None else None


def _engine(path: Path) -> Engine:
    # Each thread has its own connection for the life of the engine.
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)), connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False}
    )

    @event.listens_for(engine, "connect")
    def prepare(raw: Any, _record: object) -> None:
        # The driver's own idea of when a transaction begins breaks savepoints and reads; we say BEGIN ourselves.
        raw.isolation_level = None
        raw.execute("PRAGMA journal_mode = WAL")
        raw.execute("PRAGMA foreign_keys = ON")
        # FULL: a `done` that was answered survives a power cut; a host must not be installed twice because the
        # frontend forgot.
        raw.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("av_begin", "BEGIN"))

    return engine


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise DatabaseUnavailable(f"{path}: {_reason(str(error.orig))}") from error


def _reason(driver: str) -> str:
    remedies = {
        "disk is full": "free space on its file system",
        "locked": "another program is writing; try again",
        "readonly": "this user may not write it",
        "unable to open": "this user may not open it, or its folder is gone",
        "malformed": "restore it from a backup",
        "disk I/O error": "its file system fails; look at the kernel's log",
    }
    remedy = next((remedy for sign, remedy in remedies.items() if sign in driver), None)
    return f"{driver}; {remedy}" if remedy else driver
