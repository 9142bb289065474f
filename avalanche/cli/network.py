"""``avalanche network``: the networks that hosts have cards in."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace
from typing import Any

from avalanche.cli.common import Nouns, add_command, add_noun, opened_database, print_facts, print_rows
from avalanche.cluster import Cluster
from avalanche.network import Network, parse_addresses

COLUMNS = ("network", "addresses", "zone", "mtu", "servedns", "interfaces")


def register(nouns: Nouns[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    verbs = add_noun(nouns, "network", "networks: add, list, show, set, remove")
    add = add_command(verbs, "add", _add, "add a network")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--subnet", required=True, metavar="NETWORK", help="like 10.1.0.0/16")
    set_ = add_command(verbs, "set", _set, "change a network")
    set_.add_argument("name", metavar="NAME")
    set_.add_argument("--name", dest="to", metavar="NEW", help="another name")
    set_.add_argument("--subnet", metavar="NETWORK", help="like 10.1.0.0/16")
    for parser in (add, set_):
        parser.add_argument("--netmask", metavar="MASK", help="when --subnet has none, like 255.255.0.0")
        parser.add_argument("--zone", metavar="DOMAIN", help="the DNS domain of its hosts; '' for none")
        parser.add_argument("--mtu", type=int, help="(default of add: 1500)")
        parser.add_argument("--servedns", choices=("yes", "no"), help="whether we answer for it (default of add: no)")
    add_command(verbs, "list", _list, "list the networks")
    add_command(verbs, "show", _show, "show a network").add_argument("name", metavar="NAME")
    add_command(verbs, "remove", _remove, "remove a network that no card is in").add_argument("name", metavar="NAME")


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if arguments.subnet is not None:
        found["addresses"] = parse_addresses(arguments.subnet, arguments.netmask)
    if arguments.zone is not None:
        found["zone"] = arguments.zone or None
    if arguments.mtu is not None:
        found["mtu"] = arguments.mtu
    if arguments.servedns is not None:
        found["servedns"] = arguments.servedns == "yes"
    return found


def _add(arguments: argparse.Namespace) -> None:
    network = Network(arguments.name, **_given(arguments))
    with opened_database(arguments) as database, database.transaction() as transaction:
        transaction.add_network(network)
        cluster = transaction.cluster()
    print_facts(arguments, _row(cluster, network))


def _list(arguments: argparse.Namespace) -> None:
    with opened_database(arguments) as database, database.snapshot() as transaction:
        cluster = transaction.cluster()
    rows = [_row(cluster, network) for network in cluster.networks.values()]
    print_rows(arguments, rows, COLUMNS, none="no network; add one: avalanche network add NAME --subnet 10.1.0.0/16")


def _show(arguments: argparse.Namespace) -> None:
    with opened_database(arguments) as database, database.snapshot() as transaction:
        cluster = transaction.cluster()
    print_facts(arguments, _row(cluster, cluster.network(arguments.name)))


def _set(arguments: argparse.Namespace) -> None:
    with opened_database(arguments) as database, database.transaction() as transaction:
        before = transaction.cluster().network(arguments.name)
        given = _given(arguments)
        if arguments.netmask is not None and arguments.subnet is None:
            given["addresses"] = parse_addresses(before.subnet, arguments.netmask)
        after = replace(before, name=arguments.to or before.name, **given)
        transaction.set_network(before.name, after)
        cluster = transaction.cluster()
    print_facts(arguments, _row(cluster, after))


def _remove(arguments: argparse.Namespace) -> None:
    with opened_database(arguments) as database, database.transaction() as transaction:
        transaction.remove_network(arguments.name)
    print_facts(arguments, {"removed": arguments.name})


def _row(cluster: Cluster, network: Network) -> dict[str, Any]:
    counted = Counter(card.network for host in cluster.hosts.values() for card in host.interfaces)
    return {
        "network": network.name,
        "addresses": str(network.addresses),
        "subnet": network.subnet,
        "netmask": network.netmask,
        "zone": network.zone,
        "mtu": network.mtu,
        "servedns": network.servedns,
        "interfaces": counted[network.name],
    }
