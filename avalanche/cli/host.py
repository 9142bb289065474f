"""``avalanche host``: the machines of the cluster, and what happened to them."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from avalanche.cli import interface, why
from avalanche.cli.bootaction import complete_bootaction, register_boot
from avalanche.cli.common import (
    Nouns,
    add_command,
    add_noun,
    opened_database,
    print_facts,
    print_json,
    print_rows,
    read_bounded,
    visible,
    when,
)
from avalanche.cli.selection import add_hosts, check_selection, complete_host, selected
from avalanche.cluster import Host, Interface
from avalanche.errors import ClusterError, ConfigError
from avalanche.names import check_host_name, numbers_of, parse_ip, parse_mac

COLUMNS = ("host", "membership", "rack", "rank", "mac", "ip", "locked")


def register(nouns: Nouns[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    verbs = add_noun(
        nouns,
        "host",
        "machines: add, list, show, set, rename, remove, lock, unlock, import, boot, events, why, interface, alias",
    )
    _register_changes(verbs)
    list_ = add_command(verbs, "list", _list, "list machines, by default all")
    add_hosts(list_, all_by_default=True)
    add_hosts(add_command(verbs, "show", _show, "show machines and their orders"))
    events = add_command(verbs, "events", _events, "print a machine's timeline")
    events.add_argument("name", metavar="HOST").completer = complete_host  # type: ignore[attr-defined]
    register_boot(verbs)
    interface.register(verbs)
    why.register(verbs)


def _register_changes(verbs: Nouns[argparse.ArgumentParser]) -> None:
    add = add_command(verbs, "add", _add, "register machines")
    add.add_argument("name", metavar="HOST", help="a name, or a node set like compute-0-[0-31]")
    add.add_argument("--mac", help="MAC of the card it boots from")
    add.add_argument("--ip", metavar="ADDRESS", help="address it installs with")
    add.add_argument("--device", metavar="DEVICE", help="that card's name in the system, like eno1")
    add.add_argument("--network", metavar="NETWORK", help="the network that card is in")
    add.add_argument("--alias", action="append", default=[], metavar="NAME", help="another name; repeatable")
    _add_fields(add)
    set_ = add_command(verbs, "set", _set, "change machines, all of them or none")
    add_hosts(set_)
    _add_fields(set_)
    rename = add_command(verbs, "rename", _rename, "give a machine another name; its attributes and orders go with it")
    rename.add_argument("name", metavar="HOST").completer = complete_host  # type: ignore[attr-defined]
    rename.add_argument("to", metavar="NEW")
    add_hosts(add_command(verbs, "remove", _remove, "forget machines, their attributes, orders and events"))
    lock = add_command(verbs, "lock", _lock, "refuse changes and orders for machines until they are unlocked")
    add_hosts(lock)
    lock.add_argument("--reason", default="", metavar="TEXT", help="what others are told")
    add_hosts(add_command(verbs, "unlock", _unlock, "permit changes and orders again"))
    import_ = add_command(verbs, "import", _import, "add and change machines as a CSV or YAML file says: all or none")
    import_.add_argument("file", type=Path, metavar="FILE", help="'-' reads CSV from standard input")
    import_.add_argument("--dry-run", action="store_true", help="only print what would change")


def _add_fields(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--appliance", help="kind of host; its first membership (default of add: compute)")
    parser.add_argument("--membership", help="named group of hosts")
    parser.add_argument("--rack", type=int, help="default of add: from a name like compute-RACK-RANK, else 0")
    parser.add_argument("--rank", type=int, help="default of add: from a name like compute-RACK-RANK, else 0")
    parser.add_argument("--cpus", type=int, help="how many processors it has")
    parser.add_argument("--arch", help="its architecture (default of add: x86_64)")
    parser.add_argument("--os", help="its operating system (default of add: linux)")
    for option, help in (
        ("--runaction", "the boot action that runs its system (default of add: os)"),
        ("--installaction", "the boot action that installs it (default of add: install)"),
    ):
        action = parser.add_argument(option, metavar="ACTION", help=help)
        action.completer = complete_bootaction  # type: ignore[attr-defined]
    parser.add_argument("--comment", metavar="TEXT", help="a line for people")


def _fields(arguments: argparse.Namespace) -> dict[str, Any]:
    names = ("membership", "rack", "rank", "cpus", "arch", "os", "runaction", "installaction", "comment")
    found = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    if arguments.appliance is not None:
        found = {"membership": ""} | found | {"appliance": arguments.appliance}
    elif arguments.membership is not None:
        found["appliance"] = ""
    return found


def _add(arguments: argparse.Namespace) -> None:
    from avalanche.adapters.nodesets import expand_names

    names = [arguments.name] if "[" not in arguments.name else expand_names(arguments.name)
    mac = parse_mac(arguments.mac) if arguments.mac else None
    ip = parse_ip(arguments.ip) if arguments.ip else None
    if len(names) > 1 and (mac or ip or arguments.alias):
        raise ClusterError(f"{arguments.name} is {len(names)} hosts; a MAC, an address or an alias belongs to one")
    card = mac or ip or arguments.device
    cards = (Interface(mac, ip, arguments.device, arguments.network),) if card else ()
    fields = {"appliance": "compute"} | _fields(arguments)
    hosts = []
    for name in names:
        rack, rank = numbers_of(check_host_name(name))
        numbered: dict[str, Any] = {"rack": rack, "rank": rank} | fields
        hosts.append(Host(name=name, interfaces=cards, aliases=tuple(arguments.alias), **numbered))
    with opened_database(arguments) as database, database.transaction() as transaction:
        added = transaction.add_hosts(hosts)
    if len(added) == 1:
        print_facts(arguments, _facts(added[0]) if arguments.json else _told(added[0]))
    else:
        print_rows(arguments, [_row(host) for host in added], COLUMNS, none="")


def _list(arguments: argparse.Namespace) -> None:
    check_selection(arguments)
    with opened_database(arguments) as database:
        with database.snapshot() as transaction:
            cluster = transaction.cluster()
        rows = [_row(host) for host in selected(arguments, database, cluster)]
    none = "no host; add one: avalanche host add HOST --mac MAC --ip ADDRESS"
    print_rows(arguments, rows, COLUMNS, none=none if not cluster.hosts else "no host is selected")


def _show(arguments: argparse.Namespace) -> None:
    from avalanche.adapters import orderbook

    check_selection(arguments)
    with opened_database(arguments) as database:
        with database.snapshot() as transaction:
            cluster = transaction.cluster()
        hosts = selected(arguments, database, cluster)
        with database.snapshot() as transaction:
            orders = {host.name: orderbook.orders_of(transaction, host.name) for host in hosts}
    now = time.time()
    found = []
    for host in hosts:
        mine = [(order.id, order.state(now)) for order in orders[host.name]]
        if arguments.json:
            found.append(_facts(host) | {"orders": [{"order": order, "state": state} for order, state in mine]})
        else:
            found.append(_told(host) | {"orders": [f"{order} {state}" for order, state in mine]})
    if len(found) > 1 and arguments.json:
        print_json(found)
        return
    for number, facts in enumerate(found):
        if number:
            print()
        print_facts(arguments, facts)


def _set(arguments: argparse.Namespace) -> None:
    fields = _fields(arguments)
    if not fields:
        arguments.usage_error("say what to change, like --rack 1")
    check_selection(arguments)
    with opened_database(arguments) as database, database.transaction() as transaction:
        hosts = selected(arguments, database, transaction.cluster())
        changed = transaction.change_hosts([(host, replace(host, **fields)) for host in hosts])
        names = [host.name for host in hosts]
        rows = [_row(host) for host in transaction.hosts(names).values()]
    if not changed:
        print("nothing to change", file=sys.stderr)
    print_rows(arguments, rows, COLUMNS, none="")


def _rename(arguments: argparse.Namespace) -> None:
    with opened_database(arguments) as database, database.transaction() as transaction:
        host = transaction.cluster().find(arguments.name)
        transaction.change_hosts([(host, replace(host, name=check_host_name(arguments.to)))], action="host rename")
    print_facts(arguments, {"renamed": host.name, "to": arguments.to})


def _remove(arguments: argparse.Namespace) -> None:
    _change_named(arguments, "removed", lambda transaction, names: transaction.remove_hosts(names))


def _lock(arguments: argparse.Namespace) -> None:
    from avalanche.adapters import orderbook

    def lock(transaction: Any, names: list[str]) -> None:
        live = orderbook.live_orders(transaction, names, transaction.now)
        if live:
            order = live[0]
            cancel = f"cancel it first: avalanche order cancel {order.id}"
            raise ClusterError(f"{order.host} has the live order {order.id}; {cancel}")
        transaction.lock_hosts(names, arguments.reason)

    _change_named(arguments, "locked", lock)


def _unlock(arguments: argparse.Namespace) -> None:
    _change_named(arguments, "unlocked", lambda transaction, names: transaction.unlock_hosts(names))


def _change_named(arguments: argparse.Namespace, done: str, change: Any) -> None:
    check_selection(arguments)
    with opened_database(arguments) as database, database.transaction() as transaction:
        names = [host.name for host in selected(arguments, database, transaction.cluster())]
        change(transaction, names)
    print_facts(arguments, {done: names if len(names) > 1 else names[0]})


def _import(arguments: argparse.Namespace) -> None:
    from avalanche.hostfile import parse_hosts, plan_import

    file = str(arguments.file)
    try:
        with nullcontext(sys.stdin.buffer) if file == "-" else arguments.file.open("rb") as stream:
            data = read_bounded(stream, "standard input" if file == "-" else file)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error
    entries = parse_hosts(data, file=file)
    with opened_database(arguments) as database, database.transaction() as transaction:
        plan = plan_import(transaction.cluster(), entries, file=file)
        if not arguments.dry_run:
            transaction.change_hosts(plan.changed, action="host import")
            transaction.add_hosts(plan.added)
    lines = list(plan.lines())
    if arguments.json:
        told = {"added": [host.name for host in plan.added], "changed": [after.name for _, after in plan.changed]}
        print_json(told | {"same": plan.same, "dry_run": arguments.dry_run, "lines": lines})
        return
    for line in lines:
        print(visible(line))
    would = "would be " if arguments.dry_run else ""
    print(f"{len(plan.added)} {would}added, {len(plan.changed)} {would}changed, {plan.same} as they are")


def _events(arguments: argparse.Namespace) -> None:
    from avalanche.adapters import orderbook

    with opened_database(arguments) as database, database.snapshot() as transaction:
        events = orderbook.timeline(transaction, arguments.name)
    if arguments.json:
        names = ("at", "stage", "status", "text", "order", "attempt", "seq", "host_at", "data")
        print_json([{name: getattr(event, name) for name in names} for event in events])
        return
    for event in events:
        source = "frontend" if event.seq is None else "host"
        head = f"{when(event.at)}  {source:<8}  {event.stage:<9}  {event.status:<8}"
        first, *more = event.text.splitlines() or [""]
        print(f"{head}  {visible(first)}".rstrip())
        for line in more:
            print(" " * (len(head) + 2) + visible(line))


def _row(host: Host) -> dict[str, Any]:
    return {
        "host": host.name,
        "appliance": host.appliance,
        "membership": host.membership,
        "rack": host.rack,
        "rank": host.rank,
        "mac": host.mac,
        "ip": host.address,
        "locked": host.lock is not None,
    }


def _facts(host: Host) -> dict[str, Any]:
    return _row(host) | {
        "cpus": host.cpus,
        "arch": host.arch,
        "os": host.os,
        "runaction": host.runaction,
        "installaction": host.installaction,
        "comment": host.comment,
        "aliases": list(host.aliases),
        "interfaces": [interface.facts(card) for card in host.interfaces],
        "lock": {"by": host.lock.by, "at": when(host.lock.at), "why": host.lock.why} if host.lock else None,
    }


def _told(host: Host) -> dict[str, Any]:
    """A host's facts for a person: each on one line."""
    lock = host.lock
    return _facts(host) | {
        "interfaces": [interface.text(card) for card in host.interfaces],
        "lock": " ".join(filter(None, (when(lock.at), lock.by, lock.why))) if lock is not None else None,
    }
