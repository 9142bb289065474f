"""A whole database in one file, and from one engine to another: everything, as it was at one moment, and checked.

The file is gzip'd JSON, one value per line: a head with format, version and the tables' version; ``[table, row]`` for
every row, tables in an order in which they can be filled; an end with the number of rows and the SHA-256 of all lines
before. It holds every secret attribute in the clear: mode 0600, and no place for it on a shared disk.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sqlalchemy import delete, func, insert, select

from avalanche.adapters import schema
from avalanche.adapters.database import HEAD, Database, Transaction
from avalanche.adapters.files import named
from avalanche.adapters.transaction import CHUNK
from avalanche.errors import ConfigError

FORMAT, VERSION = "avalanche-backup", 1
MAX_LINE = 16 << 20  # characters

# What changed when is of no use in another database; without it everything is read again.
_TABLES = tuple(table for table in schema.metadata.sorted_tables if table is not schema.changes)
_BY_NAME = {table.name: table for table in _TABLES}

Row = tuple[str, dict[str, Any]]


class BackupError(ConfigError):
    """A backup is damaged or of another version, or would be written over something."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a backup or a database holds, as far as two can be compared."""

    rows: int
    sha256: str


def write_backup(database: Database, path: Path, *, force: bool = False) -> Content:
    """Write everything into a file, and read the file back.

    Raises:
        BackupError: the file is there and ``force`` is not given, or what was read back differs.
        DatabaseUnavailable: the database cannot be read now.
        OSError: the disk is full, or the folder may not be written; nothing is left behind.
    """
    if path.exists() and not force:
        raise BackupError(f"{path} is there already; name another file, or say --force")
    with named(path), tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        name = Path(file.name)
        try:
            with database.snapshot() as transaction:
                written = _write(file, _rows(transaction), made=transaction.now)
            file.flush()
            os.fsync(file.fileno())
            if read_backup(name) != written:
                raise BackupError(f"{path}: what was read back is not what was written; look at the disk")
            name.replace(path)
        except BaseException:
            name.unlink(missing_ok=True)
            raise
    return written


def read_backup(path: Path) -> Content:
    """Read a backup to its end and check it.

    Raises:
        BackupError: it is no backup, damaged, cut short, or of another version.
    """
    reader = _Reader(path)
    rows = sum(1 for _ in reader.rows())
    return Content(rows, reader.sha256)


def restore(database: Database, path: Path, *, force: bool = False) -> Content:
    """Put a backup in the place of everything the database holds: all of it or nothing.

    Raises:
        BackupError: the backup is wrong, or the database is not empty and ``force`` is not given.
        DatabaseUnavailable: the database cannot be written now.
    """
    expected = read_backup(path)
    with database.transaction() as transaction:
        _check_empty(transaction, database.name, force=force)
        digest = hashlib.sha256()
        _fill(transaction, _hashed(_Reader(path).rows(), digest))
        if _content(transaction) != Content(expected.rows, digest.hexdigest()):
            raise BackupError(f"{database.name}: what was stored is not what {path} holds; nothing was changed")
        transaction.record("database restore", [database.name], file=str(path), rows=expected.rows)
    return expected


def copy(source: Transaction, target: Database, *, name: str, force: bool = False) -> Content:
    """Copy everything that an open transaction sees into another database, and compare.

    Args:
        name: the source's, for the audit.

    Raises:
        BackupError: the target is not empty and ``force`` is not given, or what was stored there differs.
        DatabaseUnavailable: one of them cannot be used now.
    """
    expected = _content(source)
    with target.transaction() as transaction:
        _check_empty(transaction, target.name, force=force)
        _fill(transaction, _rows(source))
        if _content(transaction) != expected:
            raise BackupError(f"{target.name}: what was stored is not what was read; nothing was changed")
        transaction.record("database move", [target.name], source=name, rows=expected.rows)
    return expected


def is_empty(transaction: Transaction) -> bool:
    """Whether nothing is in any table but the row of revisions, if that."""
    run = transaction.connection.execute
    return not any(
        run(select(func.count()).select_from(table)).scalar_one() for table in _TABLES if table is not schema.revision
    )


def close_for_good(transaction: Transaction) -> None:
    """Let nobody go on with a database whose content went elsewhere: its row of revisions goes."""
    transaction.connection.execute(delete(schema.revision))


def _check_empty(transaction: Transaction, name: str, *, force: bool) -> None:
    if not force and not is_empty(transaction):
        raise BackupError(f"{name} is not empty; --force removes what is there")


def _rows(transaction: Transaction) -> Iterator[Row]:
    transaction.revisions()  # what was moved elsewhere is not to be had here
    for table in _TABLES:
        for row in transaction.connection.execute(select(table).order_by(*table.primary_key)):
            yield table.name, dict(row._mapping)


def _content(transaction: Transaction) -> Content:
    """Everything but the revisions, which count on."""
    digest = hashlib.sha256()
    rows = sum(1 for _ in _hashed(_rows(transaction), digest))
    return Content(rows, digest.hexdigest())


def _hashed(rows: Iterable[Row], digest: hashlib._Hash) -> Iterator[Row]:
    for row in rows:
        if row[0] != schema.revision.name:
            digest.update(_line(row))
        yield row


def _fill(transaction: Transaction, rows: Iterable[Row]) -> None:
    """Put rows in the place of all that is there. The revisions go beyond both: every process sees a change."""
    before = transaction.connection.execute(select(schema.revision)).first()
    for table in reversed(_TABLES):
        transaction.connection.execute(delete(table))
    for name, group in itertools.groupby(rows, key=lambda row: row[0]):
        table = _BY_NAME[name]
        values = (row for _, row in group)
        while some := list(itertools.islice(values, CHUNK)):
            transaction.connection.execute(insert(table), some)
    after = transaction.connection.execute(select(schema.revision)).one()
    counts = {
        field: max(getattr(after, field), getattr(before, field, 0) if before else 0) + 1
        for field in ("inventory", "orders")
    }
    transaction.connection.execute(schema.revision.update().values(**counts))


def _line(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode() + b"\n"


def _write(file: IO[bytes], rows: Iterable[Row], *, made: float) -> Content:
    digest, count = hashlib.sha256(), 0
    with gzip.GzipFile(fileobj=file, mode="wb", filename="", compresslevel=6) as packed:
        for value in itertools.chain([{"format": FORMAT, "version": VERSION, "tables": HEAD, "made": made}], rows):
            line = _line(value)
            digest.update(line)
            packed.write(line)
            count += 1
        packed.write(_line({"rows": count - 1, "sha256": digest.hexdigest()}))
    return Content(count - 1, digest.hexdigest())


class _Reader:
    """Reads a backup line by line; ``sha256`` is known when the last row was read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.sha256 = ""

    def rows(self) -> Iterator[Row]:
        try:
            with gzip.open(self._path, "rt", encoding="utf-8") as file:
                yield from self._checked(file)
        except (EOFError, gzip.BadGzipFile, UnicodeDecodeError, ValueError) as error:
            raise BackupError(f"{self._path}: no backup, or a damaged one: {error}") from None
        except OSError as error:
            raise BackupError(f"{self._path}: {error.strerror or error}") from None

    def _checked(self, file: IO[str]) -> Iterator[Row]:
        digest, count = hashlib.sha256(), 0
        head = self._value(file)
        if not isinstance(head, dict) or head.get("format") != FORMAT:
            raise BackupError(f"{self._path}: no backup of avalanche")
        if head.get("version") != VERSION or head.get("tables") != HEAD:
            found = f"format {head.get('version')}, tables {head.get('tables')}"
            raise BackupError(f"{self._path}: has {found}; this program reads format {VERSION}, tables {HEAD}")
        digest.update(_line(head))
        while not isinstance(value := self._value(file), dict):
            digest.update(_line(value))
            count += 1
            yield self._row(value)
        if value != {"rows": count, "sha256": digest.hexdigest()} or file.read(1):
            raise BackupError(f"{self._path}: damaged: it does not end as it says it does")
        self.sha256 = digest.hexdigest()

    def _value(self, file: IO[str]) -> Any:
        line = file.readline(MAX_LINE)
        if not line.endswith("\n"):
            raise BackupError(f"{self._path}: damaged: it is cut short")
        return json.loads(line)

    def _row(self, value: Any) -> Row:
        if not (isinstance(value, list) and len(value) == 2 and isinstance(value[1], dict)):
            raise BackupError(f"{self._path}: damaged: a line is no row")
        name, row = value
        table = _BY_NAME.get(name)
        if table is None or set(row) != set(table.columns.keys()):
            raise BackupError(f"{self._path}: damaged: a row of no table of ours: {str(name)[:40]!r}")
        return name, row
