"""What the commands share: options, the state directory, and how facts are printed."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, AnyStr
from urllib.parse import unquote

from avalanche.adapters.state import State
from avalanche.config import split_database_url
from avalanche.errors import ConfigError

if TYPE_CHECKING:
    from avalanche.adapters.database import Database
    from avalanche.cluster import Cluster
    from avalanche.config import Config
    from avalanche.report import Template

DEFAULT_STATE = "/var/lib/avalanche"
MAX_INPUT = 64 << 20
"""Bytes or characters; a hundred thousand hosts are 10 MB."""

Nouns = argparse._SubParsersAction  # argparse has no public name for what add_subparsers returns


def add_command(
    parsers: Nouns[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], int | None],
    help: str,
    *,
    json: bool = True,
) -> argparse.ArgumentParser:
    """Add a command that ``run`` carries out, with ``--state`` and, when it prints facts, ``--json``.

    ``run`` may return the exit status; None is 0.
    """
    parser = parsers.add_parser(name, help=help, description=help)
    parser.add_argument(
        "--state",
        type=Path,
        default=os.environ.get("AVALANCHE_STATE", DEFAULT_STATE),
        metavar="DIR",
        help=f"state directory (AVALANCHE_STATE, default {DEFAULT_STATE})",
    )
    if json:
        parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)
    return parser


def add_noun(nouns: Nouns[argparse.ArgumentParser], name: str, help: str) -> Nouns[argparse.ArgumentParser]:
    """Add a noun; returns where its verbs go."""
    return nouns.add_parser(name, help=help, description=help).add_subparsers(metavar="VERB", required=True)


def state_of(arguments: argparse.Namespace) -> State:
    """The state directory a command works on."""
    return State(Path(arguments.state).absolute())


@contextmanager
def opened_database(arguments: argparse.Namespace) -> Iterator[Database]:
    """Open the database of a command's state directory.

    Raises:
        ConfigError: there is none, or it is of another version.
    """
    from avalanche.adapters.database import Database

    database = Database.open(state_of(arguments).database())
    try:
        yield database
    finally:
        database.close()


def site_templates(state: State, config: Config, cluster: Cluster) -> dict[str, Template]:
    """The templates that rolls and the site put in place of ours: ROLL/templates, then STATE/templates.

    Raises:
        ConfigError: one cannot be read, or is no template of a report.
    """
    from avalanche.adapters.servicefiles import read_templates
    from avalanche.report import TEMPLATES

    rolls = [*config.frontend.rolls, *(roll.folder for roll in cluster.rolls if roll.enabled)]
    folders = [state.root / roll / "templates" for roll in rolls]
    return read_templates([*folders, state.root / "templates"], TEMPLATES)


def split_url(url: str, *, what: str) -> tuple[str, str | None]:
    """Part the address of a database that a command was given from its password; ``-`` reads it from standard input.

    Raises:
        ConfigError: it is none. The line shows nothing of it.
    """
    if url == "-":
        url = sys.stdin.readline().strip()
    try:
        plain, password = split_database_url(url)
    except ValueError as error:
        raise ConfigError(f"{what}: {error}") from None
    return plain, unquote(password) if password is not None else None


def read_bounded(stream: IO[AnyStr], file: str) -> AnyStr:
    """Read what a command was given, from a file, a pipe or standard input, to its end.

    Raises:
        ConfigError: it cannot be read, or has no end.
    """
    try:
        data = stream.read(MAX_INPUT + 1)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8 text") from error
    if len(data) > MAX_INPUT:
        raise ConfigError(f"{file}: longer than the {MAX_INPUT} bytes that are read; part it")
    return data


def print_json(value: Any) -> None:
    """Print facts for a program."""
    print(json.dumps(value, indent=1))


def print_rows(
    arguments: argparse.Namespace,
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    *,
    none: str,
    heads: Sequence[str] | None = None,
) -> None:
    """Print rows as JSON or as a table of ``columns``; ``none`` is what a person reads when there are none.

    Args:
        heads: what stands above the columns, if not their names.
    """
    if arguments.json:
        print_json(list(rows))
        return
    if not rows:
        print(none, file=sys.stderr)
        return
    lines = [[visible(name).upper() for name in heads or [name.replace("_", " ") for name in columns]]]
    lines += [[_cell(row[name]) for name in columns] for row in rows]
    widths = [max(len(line[number]) for line in lines) for number in range(len(columns))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def print_facts(arguments: argparse.Namespace, facts: Mapping[str, Any]) -> None:
    """Print one thing's facts as JSON or one per line."""
    if arguments.json:
        print_json(facts)
        return
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        print(f"{name.replace('_', ' '):<{width}}  {_cell(value)}")


def when(seconds: float | None) -> str | None:
    """A moment as people and programs read it, in UTC."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def visible(text: str) -> str:
    """Text from elsewhere, with what could steer a terminal made visible."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, list | tuple):
        return ", ".join(_cell(item) for item in value) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return visible(str(value))
