"""``avalanche membership``: named groups of hosts, each of one appliance and one distribution."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace
from typing import Any

from avalanche.cli.common import Nouns, add_command, add_noun, opened_database, print_facts, print_rows
from avalanche.cluster import Cluster, Membership

COLUMNS = ("membership", "appliance", "distribution", "public", "compute", "hosts")


def register(nouns: Nouns[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    verbs = add_noun(nouns, "membership", "groups of hosts: add, list, show, set, remove")
    add = add_command(verbs, "add", _add, "add a group of hosts")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--appliance", required=True, metavar="NAME", help="what its hosts are")
    set_ = add_command(verbs, "set", _set, "change a group of hosts")
    set_.add_argument("name", metavar="NAME")
    set_.add_argument("--name", dest="to", metavar="NEW", help="another name")
    set_.add_argument("--appliance", metavar="NAME", help="what its hosts are")
    for parser in (add, set_):
        parser.add_argument(
            "--distribution", metavar="NAME", help="what its hosts install; '' is what the frontend serves by default"
        )
        parser.add_argument(
            "--public", choices=("yes", "no"), help="whether insert-ethers offers it (default of add: yes)"
        )
        parser.add_argument("--compute", choices=("yes", "no"), help="whether its hosts compute (default of add: no)")
    add_command(verbs, "list", _list, "list the groups of hosts")
    add_command(verbs, "show", _show, "show a group of hosts").add_argument("name", metavar="NAME")
    add_command(verbs, "remove", _remove, "remove a group that no host is in").add_argument("name", metavar="NAME")


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {
        field: getattr(arguments, field) == "yes"
        for field in ("public", "compute")
        if getattr(arguments, field) is not None
    }
    if arguments.appliance is not None:
        found["appliance"] = arguments.appliance
    if arguments.distribution is not None:
        found["distribution"] = arguments.distribution or None
    return found


def _add(arguments: argparse.Namespace) -> None:
    membership = Membership(arguments.name, **_given(arguments))
    with opened_database(arguments) as database, database.transaction() as transaction:
        transaction.add_membership(membership)
        cluster = transaction.cluster()
    print_facts(arguments, _row(cluster, membership))


def _list(arguments: argparse.Namespace) -> None:
    with opened_database(arguments) as database, database.snapshot() as transaction:
        cluster = transaction.cluster()
    rows = [_row(cluster, membership) for membership in cluster.memberships.values()]
    print_rows(arguments, rows, COLUMNS, none="no membership: avalanche membership add NAME --appliance APPLIANCE")


def _show(arguments: argparse.Namespace) -> None:
    with opened_database(arguments) as database, database.snapshot() as transaction:
        cluster = transaction.cluster()
    print_facts(arguments, _row(cluster, cluster.membership(arguments.name)))


def _set(arguments: argparse.Namespace) -> None:
    with opened_database(arguments) as database, database.transaction() as transaction:
        before = transaction.cluster().membership(arguments.name)
        after = replace(before, name=arguments.to or before.name, **_given(arguments))
        transaction.set_membership(before.name, after)
        cluster = transaction.cluster()
    print_facts(arguments, _row(cluster, after))


def _remove(arguments: argparse.Namespace) -> None:
    with opened_database(arguments) as database, database.transaction() as transaction:
        transaction.remove_membership(arguments.name)
    print_facts(arguments, {"removed": arguments.name})


def _row(cluster: Cluster, membership: Membership) -> dict[str, Any]:
    counted = Counter(host.membership for host in cluster.hosts.values())
    return {
        "membership": membership.name,
        "appliance": membership.appliance,
        "distribution": membership.distribution,
        "public": membership.public,
        "compute": membership.compute,
        "hosts": counted[membership.name],
    }
