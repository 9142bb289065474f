"""``avalanche appliance``: kinds of hosts."""

from __future__ import annotations

import argparse

from avalanche.cli.common import Nouns, add_command, add_noun, opened_database, print_facts, print_rows
from avalanche.cluster import Appliance
from avalanche.names import check_label


def register(nouns: Nouns[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    verbs = add_noun(nouns, "appliance", "kinds of hosts: add, list")
    add = add_command(verbs, "add", _add, "add a kind of host")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--root", metavar="NODE", help="the graph node it starts at (default: its name)")
    add_command(verbs, "list", _list, "list the kinds of hosts")


def _add(arguments: argparse.Namespace) -> None:
    root = check_label("graph node", arguments.root or arguments.name)
    appliance = Appliance(check_label("appliance", arguments.name), root)
    with opened_database(arguments) as database, database.transaction() as transaction:
        transaction.add_appliance(appliance)
    print_facts(arguments, {"appliance": appliance.name, "root": appliance.root})


def _list(arguments: argparse.Namespace) -> None:
    with opened_database(arguments) as database, database.snapshot() as transaction:
        cluster = transaction.cluster()
    hosts = [host.appliance for host in cluster.hosts.values()]
    rows = [
        {"appliance": appliance.name, "root": appliance.root, "hosts": hosts.count(appliance.name)}
        for appliance in cluster.appliances.values()
    ]
    print_rows(arguments, rows, ("appliance", "root", "hosts"), none="no appliance: avalanche appliance add NAME")
