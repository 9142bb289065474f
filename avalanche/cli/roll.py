"""``avalanche roll``: the rolls that the frontend compiles, besides those of avalanche.toml."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avalanche.cli.common import Nouns, add_command, add_noun, opened_database, print_facts, print_rows, state_of
from avalanche.cluster import ARCH, OS, RollEntry
from avalanche.errors import ClusterError

if TYPE_CHECKING:
    from avalanche.adapters.database import Transaction

COLUMNS = ("roll", "version", "arch", "os", "enabled", "folder")


def register(nouns: Nouns[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    verbs = add_noun(nouns, "roll", "rolls: add, list, show, enable, disable, remove")
    add = add_command(verbs, "add", _add, "use a roll's folder; it overrides those before it")
    add.add_argument("folder", type=Path, metavar="FOLDER", help="with nodes/ and graphs/default/")
    add.add_argument("--name", metavar="NAME", help="(default: what its graph says, or the folder's name)")
    add.add_argument("--version", default="0", metavar="VERSION", help="(default: 0)")
    add.add_argument("--arch", default=ARCH, metavar="ARCH", help="(default: %(default)s)")
    add.add_argument("--disabled", action="store_true", help="do not use it yet")
    add.add_argument("--appliances", action="store_true", help="add the kinds of hosts that it offers, too")
    add_command(verbs, "list", _list, "list the rolls, in the order in which they override each other")
    for verb, run, help in (
        ("show", _show, "show a roll"),
        ("enable", _enable, "use a roll again"),
        ("disable", _disable, "leave a roll out"),
        ("remove", _remove, "forget a roll; its folder stays"),
    ):
        parser = add_command(verbs, verb, run, help)
        parser.add_argument("name", metavar="ROLL")
        parser.add_argument("--version", metavar="VERSION", help="only this version")


def _add(arguments: argparse.Namespace) -> None:
    from avalanche.adapters.rolls import load_rolls
    from avalanche.cli.appliance import add_offered

    folder = arguments.folder.absolute()
    found = load_rolls([folder])  # says what is wrong before anybody depends on it
    name = arguments.name or found.rolls[0].name
    roll = RollEntry(name, arguments.version, arguments.arch, str(folder), OS, enabled=not arguments.disabled)
    with opened_database(arguments) as database, database.transaction() as transaction:
        transaction.add_roll(roll)
        names = _offered(arguments, transaction, folder)
        if arguments.appliances:
            add_offered(transaction, names)
    told = {"appliances": names} if arguments.appliances else {"offers": names}
    print_facts(arguments, {**_row(roll), **told})
    if names and not arguments.appliances and not arguments.json:
        print(f"for hosts of these kinds: avalanche appliance add {names[0]}", file=sys.stderr)


def _offered(arguments: argparse.Namespace, transaction: Transaction, folder: Path) -> list[str]:
    """The kinds of hosts that a roll offers and those before it did not."""
    from avalanche.adapters.rolls import survey_rolls
    from avalanche.cli.appliance import offered

    state = state_of(arguments)
    added = [roll.folder for roll in transaction.rolls() if roll.enabled and roll.folder != str(folder)]
    others = [state.root / roll for roll in (*state.config().frontend.rolls, *added)]
    # What is wrong with another roll is not this one's fault.
    before, after = survey_rolls(others)[0], survey_rolls([*others, folder])[0]
    return offered(transaction.appliances(), after, before)


def _list(arguments: argparse.Namespace) -> None:
    with opened_database(arguments) as database, database.snapshot() as transaction:
        rolls = transaction.rolls()
    rows = [_row(roll) for roll in rolls]
    print_rows(arguments, rows, COLUMNS, none="no roll besides those of avalanche.toml: avalanche roll add FOLDER")


def _show(arguments: argparse.Namespace) -> None:
    with opened_database(arguments) as database, database.snapshot() as transaction:
        rolls = [roll for roll in transaction.rolls() if roll.name == arguments.name]
    rolls = [roll for roll in rolls if arguments.version in (None, roll.version)]
    if not rolls:
        raise ClusterError(f"no roll is called {arguments.name!r}; avalanche roll list shows those there are")
    print_rows(arguments, [_row(roll) for roll in rolls], COLUMNS, none="")


def _enable(arguments: argparse.Namespace) -> None:
    _switch(arguments, enabled=True)


def _disable(arguments: argparse.Namespace) -> None:
    _switch(arguments, enabled=False)


def _switch(arguments: argparse.Namespace, *, enabled: bool) -> None:
    with opened_database(arguments) as database, database.transaction() as transaction:
        rolls = transaction.enable_roll(arguments.name, arguments.version, enabled=enabled)
    print_rows(arguments, [_row(roll) for roll in rolls], COLUMNS, none="")


def _remove(arguments: argparse.Namespace) -> None:
    with opened_database(arguments) as database, database.transaction() as transaction:
        transaction.remove_roll(arguments.name, arguments.version)
    print_facts(arguments, {"removed": arguments.name})


def _row(roll: RollEntry) -> dict[str, Any]:
    found = asdict(roll)
    return {"roll": found.pop("name"), **found}
