"""``--query``: an administrator's own SELECT, on a connection that can neither write nor see what is not for him.

Three fences on either engine. The text may name none of our own tables, nor the engine's. The connection reads only:
SQLite is opened so and asked about every table it touches; MariaDB runs the statement in a READ ONLY transaction. A
statement that takes too long is ended. What is left to read are the views of views.py, which hold no secret.
"""

from __future__ import annotations

import ipaddress
import re
import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from avalanche.adapters import schema
from avalanche.adapters.engine import BUSY_SECONDS, Where, make_engine, translated
from avalanche.adapters.views import VIEWS
from avalanche.errors import ClusterError

QUERY_SECONDS = 10.0
MAX_ROWS = 100_000
MAX_LENGTH = 1 << 20  # bytes of one value
_STEPS = 10_000  # of SQLite's machine between two looks at the clock

# Sought in the text as it stands, in names, strings and comments alike: nothing can be hidden by quoting, since
# neither engine has another way to write a name. What a person seeks in a string must do without these words.
_REFUSED = re.compile(
    "|".join(sorted(table.name for table in schema.metadata.sorted_tables))
    + r"|information_schema|performance_schema|\bmysql\b[\s`\"]*\.|\bsys\b[\s`\"]*\.|alembic_version|sqlite_|pragma_"
    r"|\binto\b|load_file|load_extension|\bsleep\s*\(|benchmark\s*\(|_lock\s*\(|\bfor\s+update\b|\block\s+in\b|@",
    re.IGNORECASE,
)
_WORD = re.compile(r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"|[A-Za-z_][A-Za-z0-9_]*", re.DOTALL)
_FORBIDDEN_FUNCTIONS = {"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"}


def _concat(*values: str | int | None) -> str | None:
    return None if None in values else "".join(map(str, values))


def _number_of(address: str | None) -> int | None:
    try:
        return int(ipaddress.IPv4Address(address)) if address else None
    except ValueError:
        return None


def _address_of(number: int | None) -> str | None:
    return str(ipaddress.IPv4Address(number)) if isinstance(number, int) and 0 <= number < 1 << 32 else None


def _joined(separator: str | None, *values: str | int | None) -> str | None:
    return None if separator is None else str(separator).join(str(value) for value in values if value is not None)


def _either(condition: float | str | None, yes: Any, no: Any) -> Any:
    """MySQL's ``if``: a text is as true as the number it begins with."""
    if isinstance(condition, str):
        number = re.match(r"\s*[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)", condition)
        condition = float(number.group()) if number else 0
    return yes if condition else no


_ROCKS_FUNCTIONS = (
    ("concat", -1, _concat), ("concat_ws", -1, _joined), ("if", 3, _either),
    ("inet_aton", 1, _number_of), ("inet_ntoa", 1, _address_of),
)  # fmt: skip
"""Functions of MySQL that people used with Rocks and SQLite has not: name, arguments (-1: any), what it does."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query found: the names of its columns, and its rows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[int | float | str | None, ...], ...]


def run_query(where: Where, text: str, *, seconds: float = QUERY_SECONDS) -> Answer:
    """Run a SELECT.

    Raises:
        ClusterError: it is something else, reads what it may not, is wrong, takes too long or finds too much.
        DatabaseUnavailable: the database cannot be read now.
    """
    text = text.strip().rstrip(";").rstrip()
    if not re.match(r"(select|with|values|\()\b|\(", text, re.IGNORECASE):
        raise _refused("it is not a SELECT")
    found = _REFUSED.search(text)
    if found is not None:
        raise _refused(f"it says {found.group().strip()!r}")
    if any(not (character.isprintable() or character.isspace()) for character in text):
        raise _refused("it holds a character that cannot be printed")
    answer = _ask_sqlite(where, text, seconds) if isinstance(where, Path) else _ask_mariadb(where, text, seconds)
    if len(answer.rows) > MAX_ROWS:
        raise ClusterError(f"--query: more than {MAX_ROWS} rows; say LIMIT")
    return answer


def query_hosts(where: Where, text: str) -> list[str]:
    """Run a SELECT whose first column has names of hosts, as Rocks' commands took it; each name once, in its order.

    Raises:
        ClusterError: as ``run_query``, or the first column is not text.
        DatabaseUnavailable: the database cannot be read now.
    """
    answer = run_query(where, text)
    names: dict[str, None] = {}
    for row in answer.rows:
        name = row[0]
        if not isinstance(name, str):
            raise ClusterError(f"--query: the first column, {answer.columns[0]}, has {name!r}; it must name hosts")
        names[name] = None
    return list(names)


def _refused(why: str) -> ClusterError:
    return ClusterError(f"--query: {why}; it may only SELECT, from: {', '.join(VIEWS)}")


def _ask_sqlite(path: Path, text: str, seconds: float) -> Answer:
    deadline = time.monotonic() + seconds
    with translated(path):
        try:
            connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=BUSY_SECONDS)
        except sqlite3.Error as error:
            raise sa.exc.DBAPIError(None, None, error) from error
    with closing(connection):
        connection.execute("PRAGMA query_only = ON")
        for name, count, function in _ROCKS_FUNCTIONS:
            connection.create_function(name, count, function, deterministic=True)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_LENGTH)
        connection.set_authorizer(_authorize)
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
        try:
            cursor = connection.execute(text)
            rows = cursor.fetchmany(MAX_ROWS + 1)
        except (sqlite3.Error, sqlite3.Warning) as error:
            if time.monotonic() > deadline:
                raise ClusterError(f"--query: it took more than {seconds:g} seconds") from None
            if "prohibited" in str(error) or "authorized" in str(error):
                raise _refused(str(error)) from None
            raise ClusterError(f"--query: {error}") from None
        return _answer(cursor.description, rows)


def _authorize(action: int, first: str | None, second: str | None, _database: str | None, source: str | None) -> int:
    """SQLite asks this about everything a statement does. ``source`` is the view through which it does it."""
    if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE):
        return sqlite3.SQLITE_OK
    # A read of no column is a table that is only counted or joined.
    if action == sqlite3.SQLITE_READ and (not second or {(first or "").lower(), (source or "").lower()} & VIEWS.keys()):
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() not in _FORBIDDEN_FUNCTIONS:
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def _ask_mariadb(where: sa.URL, text: str, seconds: float) -> Answer:
    engine = make_engine(where)
    try:
        with translated(where), engine.connect() as connection:
            is_mariadb = getattr(connection.dialect, "is_mariadb", True)
            limit = f"max_statement_time = {seconds}" if is_mariadb else f"max_execution_time = {seconds * 1000:.0f}"
            connection.exec_driver_sql(f"SET SESSION {limit}, sql_select_limit = {MAX_ROWS + 1}")
            # Past SQLAlchemy: it would take the text's percent signs for places of parameters.
            raw = connection.connection.cursor()
            try:
                raw.execute(_WORD.sub(_lowered, text))
                rows = raw.fetchall()
                description = raw.description
            except Exception as error:
                raise _explained(error, seconds) from None
            finally:
                raw.close()
        return _answer(description, rows)
    finally:
        engine.dispose()


def _answer(description: Sequence[Sequence[Any]], rows: Iterable[Sequence[Any]]) -> Answer:
    """Either engine's answer in the same values: numbers and texts."""
    return Answer(tuple(str(column[0]) for column in description), tuple(tuple(map(_plain, row)) for row in rows))


def _plain(value: Any) -> int | float | str | None:
    if isinstance(value, Decimal):  # MariaDB's sums and means
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if value is None or isinstance(value, int | float | str):
        return value
    return str(value)  # moments and times


def _lowered(word: re.Match[str]) -> str:
    """Rocks' tables were called in any case; on Linux MariaDB minds it."""
    return word.group().lower() if word.group().lower() in VIEWS else word.group()


def _explained(error: Exception, seconds: float) -> Exception:
    arguments: Sequence[Any] = error.args
    if not isinstance(error, sa.exc.DBAPIError) and len(arguments) == 2:
        if arguments[0] in (1969, 3024, 1317):
            return ClusterError(f"--query: it took more than {seconds:g} seconds")
        if arguments[0] in (2006, 2013):
            return sa.exc.DBAPIError(None, None, error)
        return ClusterError(f"--query: {' '.join(str(arguments[1]).split())}")
    return error
