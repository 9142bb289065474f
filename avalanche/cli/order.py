"""``avalanche order``: live permissions to install a host."""

from __future__ import annotations

import argparse
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

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
from avalanche.cli.selection import add_hosts, check_selection, selected
from avalanche.cluster import check_unlocked
from avalanche.errors import ClusterError
from avalanche.orders import PLANES, Order

if TYPE_CHECKING:
    from avalanche.adapters.database import Transaction

SECONDS, ATTEMPTS = 4 * 3600.0, 3
"""What an order permits unless somebody says otherwise."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def register(nouns: Nouns[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    verbs = add_noun(nouns, "order", "install orders: create, list, show, set, cancel")
    help = "permit hosts to be installed, after compiling their profiles and solving their packages"
    create = add_command(verbs, "create", _create, help)
    add_hosts(create)
    create.add_argument(
        "--expires", type=_duration, default=SECONDS, metavar="TIME", help="life, like 30m, 4h (default), 2d"
    )
    create.add_argument("--attempts", type=int, default=ATTEMPTS, help="how often it may boot into the installer (3)")
    create.add_argument("--plane", choices=PLANES, default=PLANES[0], help="how packages travel (default %(default)s)")
    add_command(verbs, "list", _list, "list the orders").add_argument(
        "--live", action="store_true", help="live ones only"
    )
    add_command(verbs, "show", _show, "show an order and its attempts").add_argument("order", metavar="ORDER")
    set_ = add_command(verbs, "set", _set, "change a live order")
    set_.add_argument("order", metavar="ORDER|HOST", help="an order's id, or a host: its live order")
    set_.add_argument("--expires", type=_duration, metavar="TIME", help="from now, like 30m, 4h, 2d")
    set_.add_argument("--attempts", type=int, help="how often it may boot into the installer, in all")
    set_.add_argument("--plane", choices=PLANES, help="how packages travel")
    cancel = add_command(verbs, "cancel", _cancel, "withdraw an order")
    cancel.add_argument("order", metavar="ORDER|HOST", help="an order's id, or a host: its live order")


def _duration(text: str) -> float:
    match = re.fullmatch(r"([0-9]{1,7})([smhd])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time like 30m, 4h or 2d")
    return float(int(match[1]) * _UNITS[match[2]])


def _create(arguments: argparse.Namespace) -> None:
    check_selection(arguments)
    with opened_database(arguments) as database:
        with database.snapshot() as transaction:
            cluster = transaction.cluster()
        names = [host.name for host in selected(arguments, database, cluster)]
    orders = create_orders(
        arguments, names, seconds=arguments.expires, attempts=arguments.attempts, plane=arguments.plane
    )
    rows = [_row(order, order.created) for order in orders]
    print_rows(arguments, rows, ("order", "host", "generation", "plane", "expires"), none="")


def create_orders(
    arguments: argparse.Namespace,
    names: Sequence[str],
    *,
    seconds: float = SECONDS,
    attempts: int = ATTEMPTS,
    plane: str = PLANES[0],
) -> list[Order]:
    """Permit hosts to be installed, all of them or none.

    Raises:
        AvalancheError: one cannot be installed: a profile that does not compile, a package that cannot be had, a live
            order, a lock.
    """
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
        wanted = []
        for name in names:
            # What costs nothing to see is said before anything is compiled.
            check_unlocked(cluster.host(name))
            wanted.append(Order(secrets.token_hex(8), name, "", plane, now, now + seconds, attempts))
        orders = []
        for order in wanted:
            # Whatever is wrong with a host's profile or packages is said here, before any host starts.
            attributes, compiled = planner.profile_of(cluster, order.host)
            generation = distributions.current(attributes["distribution"])
            planner.closure(generation.id, compiled.profile)
            orders.append(replace(order, generation=generation.id))
        with database.transaction() as transaction:
            for order in orders:
                orderbook.add_order(transaction, order, now)
    return orders


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
        events = orderbook.timeline(transaction, order.host)
    facts = _row(order, time.time())
    if order.plane == "auto":
        told = [each.text for each in events if each.order == order.id and each.text.startswith("plane ")]
        facts["way"] = told[-1] if told else "not decided yet: the host has not asked"
    attempts = [
        {"started": when(attempt.started), "ended": when(attempt.ended), "outcome": attempt.outcome}
        for attempt in order.attempts
    ]
    if arguments.json:
        facts["attempts"] = attempts
    else:
        facts["attempts"] = [f"{row['started']} {row['outcome'] or 'running'}" for row in attempts]
    print_facts(arguments, facts)


def _set(arguments: argparse.Namespace) -> None:
    from avalanche.adapters import orderbook

    with opened_database(arguments) as database, database.transaction() as transaction:
        before = _live(transaction, arguments.order)
        transaction.check_unlocked([before.host])
        after = before.change(
            transaction.now, seconds=arguments.expires, limit=arguments.attempts, plane=arguments.plane
        )
        orderbook.change_order(transaction, after)
    print_facts(arguments, _row(after, transaction.now))


def _cancel(arguments: argparse.Namespace) -> None:
    from avalanche.adapters import orderbook

    with opened_database(arguments) as database, database.transaction() as transaction:
        order = _live(transaction, arguments.order)
        cancelled = order.cancel(transaction.now)
        orderbook.save_order(transaction, order, cancelled)
        transaction.record("order cancel", [order.host], order=order.id)
    print_facts(arguments, _row(cancelled, transaction.now))


def _live(transaction: Transaction, text: str) -> Order:
    """The order of an id, or the live order of a host."""
    from avalanche.adapters import orderbook

    order = orderbook.find_order(transaction, text)
    if order is not None:
        return order
    host = transaction.cluster().find(text).name
    live = orderbook.live_orders(transaction, [host], transaction.now)
    if not live:
        raise ClusterError(f"{host} has no live order")
    return live[0]


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
