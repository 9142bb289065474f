"""``avalanche bootaction``: what machines boot over the network; and ``host boot``: which of it a host boots next."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from avalanche.bootaction import BootAction, find_action
from avalanche.cli.common import Nouns, add_command, add_noun, opened_database, print_facts, print_rows
from avalanche.cli.selection import add_hosts, check_selection, selected
from avalanche.cluster import Cluster, Host
from avalanche.errors import AvalancheError, ClusterError

if TYPE_CHECKING:
    from avalanche.adapters.database import Transaction
    from avalanche.orders import Order

COLUMNS = ("bootaction", "kernel", "ramdisk", "args", "hosts")
BOOT_COLUMNS = ("host", "next", "bootaction", "order", "wrong")


def register(nouns: Nouns[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    verbs = add_noun(nouns, "bootaction", "what machines boot over the network: add, list, show, set, remove")
    add = add_command(verbs, "add", _add, "add something to boot")
    add.add_argument("name", metavar="NAME", help="'install' and 'os' are what hosts boot unless told otherwise")
    set_ = add_command(verbs, "set", _set, "change what is booted; machines have it when they boot next")
    set_.add_argument("name", metavar="NAME").completer = complete_bootaction  # type: ignore[attr-defined]
    set_.add_argument("--name", dest="to", metavar="NEW", help="another name")
    for parser in (add, set_):
        parser.add_argument(
            "--kernel", required=parser is add, metavar="ADDRESS",
            help="http://... or tftp://..., a file of the TFTP server, or localboot: the disk",
        )  # fmt: skip
        parser.add_argument("--ramdisk", metavar="ADDRESS", help="likewise; '' for none")
        parser.add_argument("--args", metavar="TEXT", help="the kernel's command line; inst.ks= is added by itself")
    add_command(verbs, "list", _list, "list what can be booted")
    for verb, run, help in (("show", _show, "show a boot action"), ("remove", _remove, "remove a boot action")):
        parser = add_command(verbs, verb, run, help)
        parser.add_argument("name", metavar="NAME").completer = complete_bootaction  # type: ignore[attr-defined]


def register_boot(verbs: Nouns[argparse.ArgumentParser]) -> None:
    """Add ``host boot``."""
    boot = add_command(verbs, "boot", _boot, "show what machines do at their next network boot, or change it")
    add_hosts(boot, all_by_default=True)
    boot.add_argument(
        "--action", choices=("install", "os"), help="install: create an order, as order create does; os: cancel it"
    )


def complete_bootaction(parsed_args: argparse.Namespace, **_: object) -> list[str]:
    """Names for the shell; none where there is no database."""
    try:
        with opened_database(parsed_args) as database, database.snapshot() as transaction:
            return list(transaction.bootactions())
    except (AvalancheError, OSError):
        return []


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    fields = ("kernel", "ramdisk", "args")
    return {field: getattr(arguments, field) for field in fields if getattr(arguments, field) is not None}


def _add(arguments: argparse.Namespace) -> None:
    action = BootAction(arguments.name, **_given(arguments))
    with opened_database(arguments) as database, database.transaction() as transaction:
        transaction.add_bootaction(action)
        cluster = transaction.cluster()
    print_facts(arguments, _row(cluster, action))


def _list(arguments: argparse.Namespace) -> None:
    with opened_database(arguments) as database, database.snapshot() as transaction:
        cluster = transaction.cluster()
    rows = [_row(cluster, action) for action in cluster.bootactions.values()]
    print_rows(arguments, rows, COLUMNS, none="no boot action: avalanche bootaction add NAME --kernel ADDRESS")


def _show(arguments: argparse.Namespace) -> None:
    with opened_database(arguments) as database, database.snapshot() as transaction:
        cluster = transaction.cluster()
    print_facts(arguments, _row(cluster, find_action(arguments.name, cluster.bootactions)))


def _set(arguments: argparse.Namespace) -> None:
    with opened_database(arguments) as database, database.transaction() as transaction:
        before = find_action(arguments.name, transaction.bootactions())
        after = replace(before, name=arguments.to or before.name, **_given(arguments))
        transaction.set_bootaction(before.name, after)
        cluster = transaction.cluster()
    print_facts(arguments, _row(cluster, after))


def _remove(arguments: argparse.Namespace) -> None:
    with opened_database(arguments) as database, database.transaction() as transaction:
        transaction.remove_bootaction(arguments.name)
    print_facts(arguments, {"removed": arguments.name})


def _row(cluster: Cluster, action: BootAction) -> dict[str, Any]:
    named = Counter(name for host in cluster.hosts.values() for name in {host.runaction, host.installaction})
    return {
        "bootaction": action.name,
        "kernel": action.kernel,
        "ramdisk": action.ramdisk,
        "args": action.args,
        "hosts": named[action.name],
    }


# --- host boot ---


def _boot(arguments: argparse.Namespace) -> None:
    from avalanche.adapters import orderbook

    if arguments.action is not None:
        arguments.all_by_default = False  # nobody installs a whole cluster by saying nothing
    check_selection(arguments)
    with opened_database(arguments) as database:
        with database.snapshot() as transaction:
            cluster = transaction.cluster()
        hosts = selected(arguments, database, cluster)
        names = [host.name for host in hosts]
        if arguments.action == "os":
            with database.transaction() as transaction:
                _cancel(transaction, names)
        with database.snapshot() as transaction:
            live = {order.host: order for order in orderbook.live_orders(transaction, names, transaction.now)}
    if arguments.action == "install":
        from avalanche.cli.order import create_orders

        wanted = [name for name in names if name not in live]
        live |= {order.host: order for order in create_orders(arguments, wanted)}
    rows = [_boot_row(cluster, host, live.get(host.name)) for host in hosts]
    print_rows(arguments, rows, BOOT_COLUMNS, none="no host; add one: avalanche host add HOST --mac MAC")


def _cancel(transaction: Transaction, names: Sequence[str]) -> None:
    from avalanche.adapters import orderbook

    for order in orderbook.live_orders(transaction, names, transaction.now):
        orderbook.save_order(transaction, order, order.cancel(transaction.now))
        transaction.record("order cancel", [order.host], order=order.id)


def _boot_row(cluster: Cluster, host: Host, order: Order | None) -> dict[str, Any]:
    installs = order is not None and len(order.attempts) < order.limit
    wrong, action = None, None
    try:
        action = cluster.boot_action(host, installs=installs).name
    except ClusterError as error:
        wrong = str(error)
    return {
        "host": host.name,
        "next": "install" if installs else "os",
        "bootaction": action,
        "order": order.id if order is not None else None,
        "wrong": wrong,
    }
