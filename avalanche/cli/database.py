"""``avalanche database``: where it is, what is in it; backup, restore, and the way to another engine."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from avalanche.adapters.files import written
from avalanche.adapters.state import State
from avalanche.cli.common import (
    Nouns,
    add_command,
    add_noun,
    opened_database,
    print_facts,
    print_json,
    print_rows,
    split_url,
    state_of,
)
from avalanche.config import DatabaseConfig, parse_config
from avalanche.errors import ConfigError


def register(nouns: Nouns[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    verbs = add_noun(nouns, "database", "the database: show, query, backup, restore, move")
    add_command(verbs, "show", _show, "print where it is and what is in it")
    query = add_command(verbs, "query", _query, "print what a SELECT finds in Rocks' tables (docs/database.md)")
    query.add_argument("select", metavar="SELECT")
    backup = add_command(verbs, "backup", _backup, "write everything into a file, as it is at this moment")
    backup.add_argument("file", type=Path, metavar="FILE")
    backup.add_argument("--force", action="store_true", help="write over a file that is there")
    restore = add_command(verbs, "restore", _restore, "put a backup in the place of everything")
    restore.add_argument("file", type=Path, metavar="FILE")
    restore.add_argument("--force", action="store_true", help="even if the database is not empty")
    move = add_command(verbs, "move", _move, "take everything to another database, and use that from now on")
    move.add_argument(
        "--to",
        required=True,
        metavar="URL",
        help="mysql+pymysql://USER:PASSWORD@HOST/NAME, 'sqlite' for a file in the state directory, '-' reads it from "
        "standard input, where ps does not show it",
    )
    move.add_argument("--force", action="store_true", help="even if the target is not empty")


def _show(arguments: argparse.Namespace) -> None:
    with opened_database(arguments) as database, database.snapshot() as transaction:
        cluster = transaction.cluster()
        facts = {
            "database": database.name,
            "engine": database.engine_name,
            "version": database.version(),
            "revision": cluster.revision,
            "hosts": len(cluster.hosts),
            "appliances": len(cluster.appliances),
            "attributes": len(cluster.settings),
        }
    print_facts(arguments, facts)


def _query(arguments: argparse.Namespace) -> None:
    from avalanche.adapters.query import run_query

    with opened_database(arguments) as database:
        answer = run_query(database.where, arguments.select)
    if arguments.json:
        keys = _keys(answer.columns)
        print_json([dict(zip(keys, row, strict=True)) for row in answer.rows])
        return
    # Columns may share a name, so they are told apart by their place.
    names = [f"{name}\0{place}" for place, name in enumerate(answer.columns)]
    rows = [dict(zip(names, row, strict=True)) for row in answer.rows]
    print_rows(arguments, rows, names, none="no row", heads=answer.columns)


def _keys(columns: Sequence[str]) -> list[str]:
    """Columns may share a name, keys may not: the second ``Name`` is ``Name_2``."""
    keys: list[str] = []
    for column in columns:
        key, number = column, 1
        while key in keys:
            number += 1
            key = f"{column}_{number}"
        keys.append(key)
    return keys


def _backup(arguments: argparse.Namespace) -> None:
    from avalanche.adapters.backup import write_backup

    path = arguments.file.absolute()
    with opened_database(arguments) as database:
        content = write_backup(database, path, force=arguments.force)
    facts = {"backup": str(path), "rows": content.rows, "bytes": path.stat().st_size, "sha256": content.sha256}
    print_facts(arguments, facts)


def _restore(arguments: argparse.Namespace) -> None:
    from avalanche.adapters.backup import restore
    from avalanche.adapters.database import Database

    database = Database(state_of(arguments).database())
    try:
        database.migrate()
        content = restore(database, arguments.file.absolute(), force=arguments.force)
    finally:
        database.close()
    print_facts(arguments, {"restored": str(arguments.file), "rows": content.rows, "into": database.name})


def _move(arguments: argparse.Namespace) -> None:
    from avalanche.adapters.backup import close_for_good, copy
    from avalanche.adapters.database import Database
    from avalanche.adapters.engine import name_of, parse_where

    state = state_of(arguments)
    url, password = ("", None) if arguments.to == "sqlite" else split_url(arguments.to, what="--to")
    where = parse_where(url, password=password) if url else state.database_file
    if url and password is None:
        where = state.database_at(DatabaseConfig(url))
    with opened_database(arguments) as source:
        if name_of(where) == source.name:
            raise ConfigError(f"{source.name} is the database that is used already")
        settings = _settings(state, url, password)
        target = Database(where)
        try:
            made_here = not url and not state.database_file.exists()
            target.migrate()
            if made_here:
                state.database_file.chmod(0o600)
            # Writers wait until everything is over there; then they are told. The settings follow, and there is room
            # for them. Who is killed in between has an old database that refuses everybody, and the new settings
            # beside the old ones, to be renamed by hand (docs/database.md): nothing is written into the wrong one.
            with written(settings), source.transaction() as transaction:
                content = copy(transaction, target, name=source.name, force=arguments.force)
                close_for_good(transaction)
        finally:
            target.close()
    facts = {"moved": source.name, "to": target.name, "rows": content.rows, "next": "restart the frontend"}
    print_facts(arguments, facts)


def _settings(state: State, url: str, password: str | None) -> dict[Path, bytes]:
    """What avalanche.toml says with the new address, and the file of its password."""
    text = state.config_file.read_text(encoding="utf-8")
    line = f'url = "{url}"'
    head = re.search(r"^\[database\][^\n]*\n", text, re.MULTILINE)
    if head is None:
        text = f"{text.rstrip()}\n\n[database]\n{line}\n"
    else:
        rest = text[head.end() :]
        section, tables = re.match(r"((?:(?!\[).*\n?)*)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]
        section, found = re.subn(r"^url\s*=.*$", lambda _: line, section, flags=re.MULTILINE)
        text = text[: head.end()] + (section if found else f"{line}\n{section}") + tables
    if parse_config(text, file=str(state.config_file)).database.url != url:
        raise ConfigError(f"{state.config_file}: write {line} into its table [database], and try again")
    files = {state.config_file: text.encode()}
    if password is not None:
        files[state.database_password_file] = f"{password}\n".encode()
    return files
