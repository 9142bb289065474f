"""``avalanche order``: live permissions to install a host."""

from __future__ import annotations

import argparse
import re
import secrets
import time
from typing import Any

from avalanche.cli.common import (
    Nouns,
    add_command,
    add_noun,
    opened_database,
    print_facts,
    print_rows,
    state_of,
    when,
)
from avalanche.errors import ClusterError
from avalanche.orders import PLANES, Order

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def register(nouns: Nouns[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    verbs = add_noun(nouns, "order", "install orders: create, list, show, cancel")
    help = "permit hosts to be installed, after compiling their profiles and solving their packages"
    create = add_command(verbs, "create", _create, help)
    create.add_argument("hosts", nargs="+", metavar="HOST")
    create.add_argument("--expires", type=_duration, default="4h", metavar="TIME", help="life, like 30m, 4h, 2d")
    create.add_argument("--attempts", type=int, default=3, help="how often it may boot into the installer (3)")
    create.add_argument("--plane", choices=PLANES, default=PLANES[0], help="how packages travel (default %(default)s)")
    add_command(verbs, "list", _list, "list the orders").add_argument(
        "--live", action="store_true", help="live ones only"
    )
    add_command(verbs, "show", _show, "show an order and its attempts").add_argument("order", metavar="ORDER")
    cancel = add_command(verbs, "cancel", _cancel, "withdraw an order")
    cancel.add_argument("order", metavar="ORDER|HOST", help="an order's id, or a host: its live order")


def _duration(text: str) -> float:
    match = re.fullmatch(r"([0-9]{1,7})([smhd])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time like 30m, 4h or 2d")
    return float(int(match[1]) * _UNITS[match[2]])


def _create(arguments: argparse.Namespace) -> None:
    from avalanche.adapters import orderbook
    from avalanche.adapters.distributions import Distributions
    from avalanche.cli.plan import make_planner

    state = state_of(arguments)
    distributions = Distributions(state.root)
    planner = make_planner(state, state.config(), distributions)
    now = time.time()
    with opened_database(arguments) as database:
        with database.snapshot() as transaction:
            cluster = transaction.cluster()
        orders = []
        for name in dict.fromkeys(arguments.hosts):
            # Whatever is wrong with a host's profile or packages is said here, before any host starts.
            attributes, compiled = planner.profile_of(cluster, name)
            generation = distributions.current(attributes["distribution"])
            planner.closure(generation.id, compiled.profile)
            expires = now + arguments.expires
            orders.append(
                Order(secrets.token_hex(8), name, generation.id, arguments.plane, now, expires, arguments.attempts)
            )
        with database.transaction() as transaction:
            for order in orders:
                orderbook.add_order(transaction, order, now)
    rows = [_row(order, now) for order in orders]
    print_rows(arguments, rows, ("order", "host", "generation", "plane", "expires"), none="")


def _list(arguments: argparse.Namespace) -> None:
    from avalanche.adapters import orderbook

    with opened_database(arguments) as database, database.snapshot() as transaction:
        orders = orderbook.all_orders(transaction)
    now = time.time()
    rows = [_row(order, now) for order in orders if not arguments.live or order.state(now) == "live"]
    columns = ("order", "host", "state", "attempts", "limit", "plane", "expires")
    print_rows(arguments, rows, columns, none="no order; make one: avalanche order create HOST")


def _show(arguments: argparse.Namespace) -> None:
    from avalanche.adapters import orderbook

    with opened_database(arguments) as database, database.snapshot() as transaction:
        order = orderbook.find_order(transaction, arguments.order)
    if order is None:
        raise ClusterError(f"there is no order {arguments.order}; avalanche order list shows those there are")
    facts = _row(order, time.time())
    attempts = [
        {"started": when(attempt.started), "ended": when(attempt.ended), "outcome": attempt.outcome}
        for attempt in order.attempts
    ]
    if arguments.json:
        facts["attempts"] = attempts
    else:
        facts["attempts"] = [f"{row['started']} {row['outcome'] or 'running'}" for row in attempts]
    print_facts(arguments, facts)


def _cancel(arguments: argparse.Namespace) -> None:
    from avalanche.adapters import orderbook

    now = time.time()
    with opened_database(arguments) as database, database.transaction() as transaction:
        order = orderbook.find_order(transaction, arguments.order)
        if order is None:
            orders = orderbook.orders_of(transaction, transaction.cluster().host(arguments.order).name)
            live = [order for order in orders if order.state(now) == "live"]
            if not live:
                raise ClusterError(f"{arguments.order} has no live order")
            order = live[0]
        cancelled = order.cancel(now)
        orderbook.save_order(transaction, order, cancelled)
    print_facts(arguments, _row(cancelled, now))


def _row(order: Order, now: float) -> dict[str, Any]:
    return {
        "order": order.id,
        "host": order.host,
        "state": order.state(now),
        "generation": order.generation,
        "plane": order.plane,
        "created": when(order.created),
        "expires": when(order.expires),
        "attempts": len(order.attempts),
        "limit": order.limit,
    }
