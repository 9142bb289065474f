"""``avalanche host interface`` and ``avalanche host alias``: a machine's cards, and its other names."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from typing import Any

from avalanche.cli.common import Nouns, add_command, add_noun, opened_database, print_facts, print_rows
from avalanche.cli.selection import add_hosts, complete_host, selected
from avalanche.cluster import Host, Interface
from avalanche.errors import ClusterError
from avalanche.names import check_host_name, parse_ip, parse_mac

COLUMNS = ("host", "device", "mac", "ip", "network", "name", "vlan")


def register(verbs: Nouns[argparse.ArgumentParser]) -> None:
    """Add both nouns below ``host``."""
    cards = add_noun(verbs, "interface", "a machine's cards: add, list, set, remove")
    add = _host_command(cards, "add", _add, "give a machine another card")
    set_ = _host_command(cards, "set", _set, "change a card")
    set_.add_argument("card", metavar="CARD", help="its device, MAC or address")
    for parser in (add, set_):
        parser.add_argument("--device", help="the system's name for it, like eno1")
        parser.add_argument("--mac")
        parser.add_argument("--ip", metavar="ADDRESS")
        parser.add_argument("--network", metavar="NETWORK")
        parser.add_argument("--name", metavar="NAME", help="what the machine is called there")
        parser.add_argument("--vlan", type=int)
        parser.add_argument("--module", help="the driver")
        parser.add_argument("--options", metavar="TEXT", help="options of the driver or the bond")
        parser.add_argument("--channel", metavar="TEXT")
    add_hosts(add_command(cards, "list", _list, "list cards, by default of all machines"), all_by_default=True)
    remove = _host_command(cards, "remove", _remove, "take a card from a machine")
    remove.add_argument("card", metavar="CARD", help="its device, MAC or address")

    aliases = add_noun(verbs, "alias", "a machine's other names: add, list, remove")
    _host_command(aliases, "add", _add_alias, "give a machine another name").add_argument("alias", metavar="ALIAS")
    add_hosts(add_command(aliases, "list", _list_aliases, "list the other names"), all_by_default=True)
    _host_command(aliases, "remove", _remove_alias, "take a name away").add_argument("alias", metavar="ALIAS")


def facts(card: Interface) -> dict[str, Any]:
    """A card's facts, without those it has not."""
    return {field: value for field, value in asdict(card).items() if value is not None}


def text(card: Interface) -> str:
    """A card on one line."""
    return " ".join(str(value) for value in (card.device, card.mac, card.ip, card.network) if value is not None)


def _host_command(verbs: Nouns[argparse.ArgumentParser], name: str, run: Any, help: str) -> argparse.ArgumentParser:
    parser = add_command(verbs, name, run, help)
    parser.add_argument("host", metavar="HOST").completer = complete_host  # type: ignore[attr-defined]
    return parser


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    fields = ("device", "network", "name", "vlan", "module", "options", "channel")
    found = {field: getattr(arguments, field) for field in fields if getattr(arguments, field) is not None}
    if arguments.mac is not None:
        found["mac"] = parse_mac(arguments.mac) if arguments.mac else None
    if arguments.ip is not None:
        found["ip"] = parse_ip(arguments.ip) if arguments.ip else None
    return {field: value if value != "" else None for field, value in found.items()}


def _add(arguments: argparse.Namespace) -> None:
    card = Interface(**_given(arguments))
    _change(arguments, lambda host: replace(host, interfaces=(*host.interfaces, card)), "interface add")
    print_facts(arguments, {"host": arguments.host, **facts(card)})


def _set(arguments: argparse.Namespace) -> None:
    given = _given(arguments)

    def change(host: Host) -> Host:
        found = _find(host, arguments.card)
        cards = tuple(replace(card, **given) if card is found else card for card in host.interfaces)
        return replace(host, interfaces=cards)

    _change(arguments, change, "interface set")
    print_facts(arguments, {"host": arguments.host, "card": arguments.card, **given})


def _remove(arguments: argparse.Namespace) -> None:
    def change(host: Host) -> Host:
        found = _find(host, arguments.card)
        return replace(host, interfaces=tuple(card for card in host.interfaces if card is not found))

    _change(arguments, change, "interface remove")
    print_facts(arguments, {"host": arguments.host, "removed": arguments.card})


def _list(arguments: argparse.Namespace) -> None:
    rows = [{"host": host.name, **asdict(card)} for host in _selected(arguments) for card in host.interfaces]
    print_rows(arguments, rows, COLUMNS, none="no interface; add one: avalanche host interface add HOST --mac MAC")


def _add_alias(arguments: argparse.Namespace) -> None:
    alias = check_host_name(arguments.alias)
    _change(arguments, lambda host: replace(host, aliases=(*host.aliases, alias)), "alias add")
    print_facts(arguments, {"host": arguments.host, "alias": alias})


def _list_aliases(arguments: argparse.Namespace) -> None:
    rows = [{"host": host.name, "alias": alias} for host in _selected(arguments) for alias in host.aliases]
    print_rows(arguments, rows, ("host", "alias"), none="no alias; add one: avalanche host alias add HOST ALIAS")


def _remove_alias(arguments: argparse.Namespace) -> None:
    def change(host: Host) -> Host:
        if arguments.alias not in host.aliases:
            raise ClusterError(f"{host.name} has no alias {arguments.alias!r}")
        return replace(host, aliases=tuple(alias for alias in host.aliases if alias != arguments.alias))

    _change(arguments, change, "alias remove")
    print_facts(arguments, {"host": arguments.host, "removed": arguments.alias})


def _find(host: Host, text: str) -> Interface:
    wanted = text.lower().replace("-", ":")
    for card in host.interfaces:
        if text in (card.device, card.ip) or wanted == card.mac:
            return card
    cards = ", ".join(card.device or card.mac or card.ip or "" for card in host.interfaces) or "none"
    raise ClusterError(f"{host.name} has no interface {text!r}; it has: {cards}")


def _change(arguments: argparse.Namespace, change: Any, action: str) -> None:
    with opened_database(arguments) as database, database.transaction() as transaction:
        host = transaction.cluster().find(arguments.host)
        transaction.change_hosts([(host, change(host))], action=f"host {action}")


def _selected(arguments: argparse.Namespace) -> list[Host]:
    with opened_database(arguments) as database:
        with database.snapshot() as transaction:
            cluster = transaction.cluster()
        return selected(arguments, database, cluster)
