"""Connections to the database, SQLite or MariaDB, and what their failures become: one line that says what to do.

The rest of this layer speaks SQLAlchemy Core and knows no engine. Writers wait for each other on both: SQLite has one
writer by nature; on MariaDB a writing transaction begins by locking the row of revisions, so what it checks still
holds when it commits.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event

from avalanche.errors import AvalancheError, ConfigError

BUSY_SECONDS = 10.0
CONNECT_SECONDS = 5
ANSWER_SECONDS = 20  # a statement may wait BUSY_SECONDS for another writer; a server that is silent longer is away
LITTLE_SPACE = 64 << 10  # bytes; SQLite needs 32 KiB beside its file to open it
ENGINES = ("sqlite", "mysql")

Where = Path | sa.URL
"""A file of SQLite, or the address of a MariaDB or MySQL database."""

# What MariaDB's numbers mean to an operator. BUSY: the same work may succeed at once again.
_BUSY = {1205, 1213}
_FULL = {3, 1021, 1114, 1290, 1836}
_REMEDIES = {
    3: "free space on its file system",
    1021: "free space on its file system",
    1040: "it has too many clients; raise max_connections",
    1044: "grant the user of database.url this database (docs/database.md)",
    1045: "the user or password of database.url is wrong (docs/database.md)",
    1049: "make it: CREATE DATABASE ... (docs/database.md)",
    1114: "free space on its file system",
    1142: "grant the user of database.url this database (docs/database.md)",
    1205: "another program is writing; try again",
    1213: "another program is writing; try again",
    1290: "it is read only now; is this the server that takes writes?",
    1698: "the user or password of database.url is wrong (docs/database.md)",
    1836: "it is read only now; is this the server that takes writes?",
    2002: "is the server running?",
    2003: "is the server running?",
    2006: "the server went away; try again",
    2013: "the server went away; try again",
    2055: "the server went away; try again",
}
_SQLITE_REMEDIES = {
    "disk is full": "free space on its file system",
    "locked": "another program is writing; try again",
    "readonly": "this user may not write it",
    "unable to open": "this user may not open it, or its folder is gone",
    "malformed": "restore it from a backup",
    "disk I/O error": "its file system fails; look at the kernel's log",
}

# Our own, so that a server's settings change nothing: what does not fit is an error, '\' escapes, " quotes a text.
_SESSION = (
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,"
    "NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', innodb_lock_wait_timeout = {busy:.0f}"
)


class DatabaseUnavailable(AvalancheError):
    """The database cannot be read or written now: it is away, its disk is full, it is locked or damaged."""


class DatabaseFull(DatabaseUnavailable):
    """It cannot be written, though most likely read: its disk is full, or it takes no writes now."""


class DatabaseBusy(DatabaseUnavailable):
    """Another writer was in the way and everything was undone: the same work may succeed at once again."""


def name_of(where: Where) -> str:
    """A database as messages name it: without user, password and options."""
    if isinstance(where, Path):
        return str(where)
    host = where.query.get("unix_socket") or where.host or "localhost"
    port = f":{where.port}" if where.port is not None else ""
    return f"{where.database} on {host}{port}"


def parse_where(url: str, *, password: str | None) -> sa.URL:
    """Read ``database.url`` as config.py checked it; the password comes from elsewhere.

    Raises:
        ConfigError: the driver cannot take one of its options.
    """
    scheme, _, rest = url.partition("://")
    assert scheme in {"mysql+pymysql", "mysql", "mariadb"}, "config.py lets no other pass"
    found = sa.make_url(f"mysql+pymysql://{rest}").set(password=password)
    found = found.difference_update_query(["password_file"])
    unknown = set(found.query) - {"unix_socket", "ssl_ca", "ssl_cert", "ssl_key", "ssl_verify_cert"}
    if unknown:
        raise ConfigError(f"database.url: unknown option {sorted(unknown)[0]!r}; known are unix_socket and ssl_*")
    return found.update_query_dict({"charset": "utf8mb4"})


def make_engine(where: Where) -> Engine:
    """Make an engine; nothing is opened yet."""
    return _sqlite(where) if isinstance(where, Path) else _mariadb(where)


def begin_writing(connection: Connection) -> None:
    """Wait for other writers; call it first in a transaction that writes."""
    if connection.dialect.name != "sqlite":
        connection.exec_driver_sql("SELECT id FROM av_revision WHERE id = 1 FOR UPDATE")


def _sqlite(path: Path) -> Engine:
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
        writes = connection.get_execution_options().get("av_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _mariadb(url: sa.URL) -> Engine:
    # pre_ping: a connection that the server dropped is replaced before work is given to it.
    engine = sa.create_engine(
        url,
        pool_pre_ping=True,
        isolation_level="REPEATABLE READ",
        connect_args={
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": ANSWER_SECONDS,
            "write_timeout": ANSWER_SECONDS,
        },
    )

    @event.listens_for(engine, "connect")
    def prepare(raw: Any, _record: object) -> None:
        with raw.cursor() as cursor:
            cursor.execute(_SESSION.format(busy=BUSY_SECONDS))

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("av_writes", False)
        connection.exec_driver_sql("START TRANSACTION" if writes else "START TRANSACTION READ ONLY")

    return engine


@contextmanager
def translated(where: Where) -> Iterator[None]:
    """Turn the drivers' errors into ours.

    Raises:
        DatabaseUnavailable: the database is away, full, damaged, or refuses us.
        DatabaseBusy: another writer was in the way.
    """
    try:
        yield
    except sa.exc.DBAPIError as error:
        kind, reason = _explained(error.orig, where)
        raise kind(f"{name_of(where)}: {reason}") from error
    except sa.exc.TimeoutError as error:
        raise DatabaseBusy(f"{name_of(where)}: every connection is in use; try again") from error


def _is_full(folder: Path) -> bool:
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < LITTLE_SPACE or (found.f_files > 0 and found.f_favail == 0)


def _explained(original: BaseException | None, where: Where) -> tuple[type[DatabaseUnavailable], str]:
    arguments: tuple[object, ...] = getattr(original, "args", ())
    number = arguments[0] if len(arguments) == 2 else None
    if isinstance(number, int):
        text = arguments[1]
        # The driver repeats the system's words in brackets: Can't connect to ... ([Errno 111] Connection refused)
        line = re.sub(r"\s+", " ", str(text)).strip()
        remedy = _REMEDIES.get(number)
        kind = DatabaseBusy if number in _BUSY else DatabaseFull if number in _FULL else DatabaseUnavailable
        return kind, f"{line}; {remedy}" if remedy else line
    text = str(original)
    if "disk I/O error" in text and isinstance(where, Path) and _is_full(where.parent):
        # The file that its clients share cannot grow; SQLite has no other word for that.
        return DatabaseFull, f"database or disk is full; {_SQLITE_REMEDIES['disk is full']}"
    remedy = next((remedy for sign, remedy in _SQLITE_REMEDIES.items() if sign in text), None)
    is_full = "disk is full" in text or "readonly" in text
    kind = DatabaseBusy if "locked" in text else DatabaseFull if is_full else DatabaseUnavailable
    return kind, f"{text}; {remedy}" if remedy else text
