"""Where a command takes rolls and attributes from: a host of the database, or ``--root NODE --roll DIR...``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from avalanche.attributes import Attributes
from avalanche.cli.common import Nouns, add_command, opened_database, state_of
from avalanche.cluster import free_attributes
from avalanche.config import WRITTEN
from avalanche.errors import ConfigError

LEGACY_COMMANDS = ("order", "profile", "kickstart")

if TYPE_CHECKING:
    from avalanche.compiler import Compilation
    from avalanche.effects import Effects
    from avalanche.roll import RollSet


@dataclass(frozen=True, slots=True)
class Source:
    """A root node, the rolls to find it in, and the attributes to see it with.

    ``trusted`` are the rolls whose evals may run; with ``evaluate`` false they are left out, as are includes.
    """

    root: str
    rolls: tuple[Path, ...]
    attributes: Attributes
    release: str
    trusted: tuple[str, ...] = ()
    lax: tuple[str, ...] = ()
    evaluate: bool = True

    def load(self) -> RollSet:
        """Read the rolls. Raises as ``load_rolls``."""
        from avalanche.adapters.rolls import load_rolls

        return load_rolls(self.rolls, includes=self.evaluate)

    def compiled(self, rolls: RollSet | None = None) -> Compilation:
        """Compile what a command works on.

        Raises:
            DefinitionError, ConfigError: a roll is wrong; names file and line.
        """
        from avalanche.compiler import compile_rolls

        rolls = self.load() if rolls is None else rolls
        return compile_rolls(
            rolls, self.root, self.attributes,
            release=self.release, effects=self.effects(rolls), lax=frozenset(self.lax),
        )  # fmt: skip

    def effects(self, rolls: RollSet) -> Effects:
        """Return the frontend as the rolls may use it."""
        from avalanche.adapters.evaluator import Evaluator
        from avalanche.effects import LeftOut

        if not self.evaluate:
            return LeftOut()
        whole = len(rolls.rolls) == len(self.rolls)
        folders = {roll.name: path for roll, path in zip(rolls.rolls, self.rolls)} if whole else {}
        return Evaluator(self.trusted, folders=lambda: folders)


def add_source_command(
    parsers: Nouns[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], int | None],
    help: str,
    *,
    json: bool = False,
    twice: bool = False,
) -> argparse.ArgumentParser:
    """Add a command that works on a host, or on ``--root`` and ``--roll``.

    With ``twice``, root and attrs are lists: a command that compares takes two of them.
    """
    action = "append" if twice else "store"
    parser = add_command(parsers, name, run, help, json=json)
    parser.add_argument("host", nargs="?", metavar="HOST", help="a host of the database")
    parser.add_argument("--root", action=action, metavar="NODE", help="a graph node, without any database")
    parser.add_argument("--roll", action="append", type=Path, metavar="DIR", help="roll folder; later ones override")
    parser.add_argument("--attrs", action=action, type=Path, metavar="FILE", help="attributes, as a JSON object")
    parser.add_argument("--release", choices=WRITTEN, default=WRITTEN[0], help="the installer's release")
    parser.add_argument("--no-eval", action="store_true", help="leave evals and includes out")
    parser.add_argument("--trust", action="append", metavar="ROLL", help="let the evals of a roll of this name run")
    parser.add_argument("--lax", action="append", metavar="ROLL", help="its scripts go on when a command fails")
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
    source = _source_of_root(arguments) if arguments.root is not None else _source_of_host(arguments)
    return replace(
        source,
        trusted=(*source.trusted, *(arguments.trust or ())),
        lax=(*source.lax, *(arguments.lax or ())),
        evaluate=not arguments.no_eval,
    )


def _source_of_root(arguments: argparse.Namespace) -> Source:
    if not arguments.roll:
        arguments.usage_error("--root needs --roll DIR")
    given = read_attributes(arguments.attrs) if arguments.attrs is not None else {}
    attributes = free_attributes(arguments.root, arguments.release, given)
    return Source(arguments.root, tuple(arguments.roll), attributes, arguments.release)


def _source_of_host(arguments: argparse.Namespace) -> Source:
    from avalanche.cli.plan import intrinsic_of, rolls_of

    if arguments.roll or arguments.attrs:
        arguments.usage_error("--roll and --attrs go with --root")
    state = state_of(arguments)
    config = state.config()
    with opened_database(arguments) as database, database.snapshot() as transaction:
        cluster = transaction.cluster()
    host = cluster.host(arguments.host)
    attributes = cluster.attributes(host, intrinsic_of(config))
    root = cluster.appliance(host.appliance).root
    return Source(
        root, rolls_of(state, config), attributes, config.cluster.release, config.rolls.trusted, config.rolls.lax
    )


def read_attributes(path: Path) -> dict[str, str]:
    """Read a file of ``--attrs``.

    Raises:
        ConfigError: it cannot be read, or is something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ConfigError(f'{path}: attributes are one JSON object of texts, like {{"rack": "0"}}')
    return found
