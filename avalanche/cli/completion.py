"""What the shell is offered for a word of a command line: names of the database; files only where one goes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from argcomplete.completers import FilesCompleter, SuppressCompleter

from avalanche.adapters.database import Transaction
from avalanche.cli.common import opened_database
from avalanche.cli.selection import complete_host
from avalanche.cluster import Cluster
from avalanche.errors import AvalancheError
from avalanche.report import REPORTS

Completer = Callable[..., Iterable[str]]


def give_completers(parser: argparse.ArgumentParser) -> None:
    """Give each argument that has none the completer that its noun and name ask for."""
    for noun, verb, action in _actions(parser):
        if hasattr(action, "completer"):
            continue
        if action.type is Path:
            found: Any = FilesCompleter()
        elif action.option_strings or action.dest not in ("name", "card"):
            found = _BY_ARGUMENT.get(action.dest, SuppressCompleter())
        else:
            found = SuppressCompleter() if verb == "add" else _BY_NOUN.get(noun, SuppressCompleter())
        if action.choices is None:
            action.completer = found  # type: ignore[attr-defined]


def _actions(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str, argparse.Action]]:
    """Every argument of every command, with the command's noun and verb."""
    for words, found in _parsers(parser, ()):
        noun, verb = (*words, "", "")[:2]
        for action in found._actions:
            yield noun, verb, action


def _parsers(
    parser: argparse.ArgumentParser, words: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    yield words, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, below in action.choices.items():
                yield from _parsers(below, (*words, word))


def _known(names: Callable[[Transaction, Cluster], Iterable[str]]) -> Completer:
    """Complete with names of the inventory; with none where there is no database."""

    def complete(parsed_args: argparse.Namespace, **_: object) -> list[str]:
        try:
            with opened_database(parsed_args) as database, database.snapshot() as transaction:
                return list(names(transaction, transaction.cluster()))
        except (AvalancheError, OSError):
            return []

    return complete


def _orders(transaction: Transaction, cluster: Cluster) -> list[str]:
    from avalanche.adapters import orderbook

    return [*(order.id for order in orderbook.all_orders(transaction)), *cluster.hosts]


_appliances = _known(lambda _, cluster: cluster.appliances)
_memberships = _known(lambda _, cluster: cluster.memberships)
_networks = _known(lambda _, cluster: cluster.networks)
_distributions = _known(lambda _, cluster: cluster.distributions)

# A name that stands alone is one of what its command is about.
_BY_NOUN: dict[str, Any] = {
    "appliance": _appliances,
    "membership": _memberships,
    "network": _networks,
    "dist": _distributions,
    "roll": _known(lambda _, cluster: {roll.name: None for roll in cluster.rolls}),
    "attr": _known(lambda _, cluster: {setting.name: None for setting in cluster.settings}),
    "host": complete_host,
    "report": lambda **_: list(REPORTS),
}
_BY_ARGUMENT: dict[str, Any] = {
    "appliance": _appliances,
    "membership": _memberships,
    "network": _networks,
    "distribution": _distributions,
    "order": _known(_orders),
    "replace": complete_host,
    "remove": complete_host,
    "host": complete_host,
    "subject": complete_host,
}
