"""Where a command takes rolls and attributes from: a host of the database, or ``--root NODE --roll DIR...``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from avalanche.attributes import Attributes
from avalanche.cli.common import Nouns, add_command, opened_database, state_of
from avalanche.cluster import free_attributes
from avalanche.config import RELEASES
from avalanche.errors import ConfigError

LEGACY_COMMANDS = ("order", "profile", "kickstart")


@dataclass(frozen=True, slots=True)
class Source:
    """A root node, the rolls to find it in, and the attributes to see it with."""

    root: str
    rolls: tuple[Path, ...]
    attributes: Attributes
    release: str


def add_source_command(
    parsers: Nouns[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], int | None],
    help: str,
    *,
    json: bool = False,
) -> argparse.ArgumentParser:
    """Add a command that works on a host, or on ``--root`` and ``--roll``."""
    parser = add_command(parsers, name, run, help, json=json)
    parser.add_argument("host", nargs="?", metavar="HOST", help="a host of the database")
    parser.add_argument("--root", metavar="NODE", help="a graph node, without any database")
    parser.add_argument("--roll", action="append", type=Path, metavar="DIR", help="roll folder; later ones override")
    parser.add_argument("--attrs", type=Path, metavar="FILE", help="attributes, as a JSON object")
    parser.add_argument("--release", choices=RELEASES, default=RELEASES[0], help="the installer's release")
    parser.add_argument("--no-eval", action="store_true", help="leave evals and includes out")
    if name in LEGACY_COMMANDS:
        parser.add_argument("--legacy", action="store_true", help="what the original Rocks compiler answers")
    parser.set_defaults(usage_error=parser.error)
    return parser


def source_of(arguments: argparse.Namespace) -> Source:
    """Find out what a command works on.

    Raises:
        UnknownHost, ConfigError: there is no such host or state directory, or the attributes cannot be read.
    """
    if (arguments.host is None) == (arguments.root is None):
        arguments.usage_error("name a HOST, or --root NODE with --roll DIR")
    if arguments.root is not None:
        if not arguments.roll:
            arguments.usage_error("--root needs --roll DIR")
        given = _read_attributes(arguments.attrs) if arguments.attrs is not None else {}
        attributes = free_attributes(arguments.root, arguments.release, given)
        return Source(arguments.root, tuple(arguments.roll), attributes, arguments.release)
    if arguments.roll or arguments.attrs:
        arguments.usage_error("--roll and --attrs go with --root")
    return _source_of_host(arguments)


def _source_of_host(arguments: argparse.Namespace) -> Source:
    from avalanche.cli.plan import intrinsic_of, rolls_of

    state = state_of(arguments)
    config = state.config()
    with opened_database(arguments) as database, database.snapshot() as transaction:
        cluster = transaction.cluster()
    host = cluster.host(arguments.host)
    attributes = cluster.attributes(host, intrinsic_of(config))
    root = cluster.appliance(host.appliance).root
    return Source(root, rolls_of(state, config), attributes, config.cluster.release)


def _read_attributes(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ConfigError(f'{path}: attributes are one JSON object of texts, like {{"rack": "0"}}')
    return found
