"""``avalanche host``: the machines of the cluster, and what happened to them."""

from __future__ import annotations

import argparse
import time
from typing import Any

from avalanche.cli.common import (
    Nouns,
    add_command,
    add_noun,
    opened_database,
    print_facts,
    print_json,
    print_rows,
    visible,
    when,
)
from avalanche.cluster import Host, Interface
from avalanche.names import check_host_name, numbers_of, parse_ip, parse_mac


def register(nouns: Nouns[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    verbs = add_noun(nouns, "host", "machines: add, list, show, remove, events")
    add = add_command(verbs, "add", _add, "register a machine")
    add.add_argument("name", metavar="HOST")
    add.add_argument("--mac", help="MAC of the card it boots from")
    add.add_argument("--ip", metavar="ADDRESS", help="address it installs with")
    add.add_argument("--appliance", default="compute", help="kind of host (default: compute)")
    add.add_argument("--rack", type=int, help="default: from a name like compute-RACK-RANK, else 0")
    add.add_argument("--rank", type=int, help="default: from a name like compute-RACK-RANK, else 0")
    add_command(verbs, "list", _list, "list the machines")
    for verb, run, help in (
        ("show", _show, "show a machine and its orders"),
        ("remove", _remove, "forget a machine, its attributes, orders and events"),
        ("events", _events, "print a machine's timeline"),
    ):
        add_command(verbs, verb, run, help).add_argument("name", metavar="HOST")


def _add(arguments: argparse.Namespace) -> None:
    rack, rank = numbers_of(arguments.name)
    mac = parse_mac(arguments.mac) if arguments.mac else None
    ip = parse_ip(arguments.ip) if arguments.ip else None
    host = Host(
        name=check_host_name(arguments.name),
        appliance=arguments.appliance,
        rack=rack if arguments.rack is None else arguments.rack,
        rank=rank if arguments.rank is None else arguments.rank,
        interfaces=(Interface(mac, ip),) if mac or ip else (),
    )
    with opened_database(arguments) as database, database.transaction() as transaction:
        transaction.add_host(host)
    print_facts(arguments, _facts(host))


def _list(arguments: argparse.Namespace) -> None:
    with opened_database(arguments) as database, database.snapshot() as transaction:
        cluster = transaction.cluster()
    rows = [_facts(host) for host in cluster.hosts.values()]
    columns = ("host", "appliance", "rack", "rank", "mac", "ip")
    print_rows(arguments, rows, columns, none="no host; add one: avalanche host add HOST --mac MAC --ip ADDRESS")


def _show(arguments: argparse.Namespace) -> None:
    from avalanche.adapters import orderbook

    with opened_database(arguments) as database, database.snapshot() as transaction:
        host = transaction.cluster().host(arguments.name)
        orders = orderbook.orders_of(transaction, host.name)
    now = time.time()
    facts = _facts(host)
    if arguments.json:
        facts["orders"] = [{"order": order.id, "state": order.state(now)} for order in orders]
    else:
        facts["orders"] = [f"{order.id} {order.state(now)}" for order in orders]
    print_facts(arguments, facts)


def _remove(arguments: argparse.Namespace) -> None:
    with opened_database(arguments) as database, database.transaction() as transaction:
        transaction.remove_host(arguments.name)
    print_facts(arguments, {"removed": arguments.name})


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


def _facts(host: Host) -> dict[str, Any]:
    return {
        "host": host.name,
        "appliance": host.appliance,
        "rack": host.rack,
        "rank": host.rank,
        "mac": host.mac,
        "ip": host.address,
    }
