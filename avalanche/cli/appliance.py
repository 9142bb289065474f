"""``avalanche appliance``: kinds of hosts."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from avalanche.cli.common import Nouns, add_command, add_noun, opened_database, print_facts, print_rows
from avalanche.cluster import Appliance, Cluster, Membership

if TYPE_CHECKING:
    from avalanche.adapters.database import Transaction
    from avalanche.roll import RollSet

COLUMNS = ("appliance", "root", "graph", "os", "memberships", "hosts")


def register(nouns: Nouns[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    verbs = add_noun(nouns, "appliance", "kinds of hosts: add, list, show, set, remove")
    add = add_command(verbs, "add", _add, "add a kind of host, and a membership for its hosts")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--membership", metavar="NAME", help="its membership's name (default: its own, capitalised)")
    add_command(verbs, "list", _list, "list the kinds of hosts")
    add_command(verbs, "show", _show, "show a kind of host").add_argument("name", metavar="NAME")
    set_ = add_command(verbs, "set", _set, "change a kind of host; hosts have it with their next request")
    set_.add_argument("name", metavar="NAME")
    set_.add_argument("--name", dest="to", metavar="NEW", help="another name")
    for parser in (add, set_):
        parser.add_argument("--root", metavar="NODE", help="the graph node it starts at (default of add: its name)")
        parser.add_argument("--graph", metavar="GRAPH", help="the graph that node is in (default of add: default)")
        parser.add_argument("--os", metavar="OS", help="its operating system (default of add: linux)")
    add_command(verbs, "remove", _remove, "remove a kind of host that no host is of").add_argument(
        "name", metavar="NAME"
    )


def offered(appliances: Mapping[str, Appliance], rolls: RollSet, before: RollSet | None = None) -> list[str]:
    """The kinds of hosts that rolls offer and the inventory has not; of ``before``, only what those did not offer."""
    known = set(appliances) | {appliance.root for appliance in appliances.values()}
    known |= set(before.appliances()) if before is not None else set()
    return [name for name in rolls.appliances() if name not in known]


def add_offered(transaction: Transaction, names: Sequence[str]) -> None:
    """Add kinds of hosts whose root has their name, each with a membership.

    Raises:
        ClusterError: a host or a membership has the name of one.
    """
    for name in names:
        transaction.add_appliance(Appliance(name, name))


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    fields = ("root", "graph", "os")
    return {field: getattr(arguments, field) for field in fields if getattr(arguments, field) is not None}


def _add(arguments: argparse.Namespace) -> None:
    appliance = Appliance(arguments.name, **{"root": arguments.name, **_given(arguments)})
    membership = None
    if arguments.membership is not None:
        is_compute = appliance.name == "compute"
        membership = Membership(arguments.membership, appliance.name, compute=is_compute)
    with opened_database(arguments) as database, database.transaction() as transaction:
        transaction.add_appliance(appliance, membership=membership)
        cluster = transaction.cluster()
    print_facts(arguments, _row(cluster, appliance))


def _list(arguments: argparse.Namespace) -> None:
    with opened_database(arguments) as database, database.snapshot() as transaction:
        cluster = transaction.cluster()
    rows = [_row(cluster, appliance) for appliance in cluster.appliances.values()]
    print_rows(arguments, rows, COLUMNS, none="no appliance: avalanche appliance add NAME")


def _show(arguments: argparse.Namespace) -> None:
    with opened_database(arguments) as database, database.snapshot() as transaction:
        cluster = transaction.cluster()
    print_facts(arguments, _row(cluster, cluster.appliance(arguments.name)))


def _set(arguments: argparse.Namespace) -> None:
    with opened_database(arguments) as database, database.transaction() as transaction:
        before = transaction.cluster().appliance(arguments.name)
        after = replace(before, name=arguments.to or before.name, **_given(arguments))
        transaction.set_appliance(before.name, after)
        cluster = transaction.cluster()
    print_facts(arguments, _row(cluster, after))


def _remove(arguments: argparse.Namespace) -> None:
    with opened_database(arguments) as database, database.transaction() as transaction:
        transaction.remove_appliance(arguments.name)
    print_facts(arguments, {"removed": arguments.name})


def _row(cluster: Cluster, appliance: Appliance) -> dict[str, Any]:
    counted = Counter(host.appliance for host in cluster.hosts.values())
    return {
        "appliance": appliance.name,
        "root": appliance.root,
        "graph": appliance.graph,
        "os": appliance.os,
        "memberships": [one.name for one in cluster.memberships.values() if one.appliance == appliance.name],
        "hosts": counted[appliance.name],
    }
