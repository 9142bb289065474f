"""``avalanche host why``: where a machine stands, and what to do next."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from avalanche.cli.common import Nouns, add_command, opened_database, print_facts, when
from avalanche.errors import ClusterError, UnknownHost
from avalanche.names import parse_mac
from avalanche.why import Moment, Standing, why_host, why_stranger

if TYPE_CHECKING:
    from avalanche.adapters.database import Transaction
    from avalanche.cluster import Host


def register(verbs: Nouns[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    help = "say where a machine stands on its way to its installed system, and what to do"
    add_command(verbs, "why", _why, help).add_argument("host", metavar="HOST|MAC", help="a host, or any machine's MAC")


def _why(arguments: argparse.Namespace) -> None:
    with opened_database(arguments) as database, database.snapshot() as transaction:
        try:
            host = transaction.cluster().find(arguments.host)
        except UnknownHost:
            mac = _mac(arguments.host)
            if mac is None:
                raise
            facts, standing = _stranger(transaction, mac)
        else:
            facts, standing = _host(transaction, host)
    facts |= {"state": standing.state, "where": standing.where, "since": when(standing.since), "todo": standing.todo}
    print_facts(arguments, facts)


def _host(transaction: Transaction, host: Host) -> tuple[dict[str, Any], Standing]:
    from avalanche.adapters import orderbook

    events = orderbook.timeline(transaction, host.name)
    moments = [Moment(event.at, event.stage, event.status, event.text) for event in events]
    standing = why_host(host, orderbook.orders_of(transaction, host.name), moments, now=time.time())
    return {"host": host.name, "mac": host.mac, "ip": host.address}, standing


def _stranger(transaction: Transaction, mac: str) -> tuple[dict[str, Any], Standing]:
    from avalanche.adapters.sightings import find_stranger

    found = find_stranger(transaction, mac)
    if found is None:
        return {"host": None, "mac": mac}, why_stranger(None, "")
    seen, verdict = found.seen, found.verdict
    said = {
        "interface": seen.interface,
        "asks_for": seen.address,
        "vendor": seen.vendor,
        "calls_itself": seen.hostname,
        "firmware": seen.firmware,
        "uuid": seen.uuid,
        "switch_port": seen.circuit,
    }
    facts: dict[str, Any] = {"host": None, "mac": mac, **{name: value for name, value in said.items() if value}}
    facts |= {"first_seen": when(found.first_at), "packets": found.packets}
    return facts, why_stranger(verdict.code, verdict.text, kind=seen.kind or "packet", last_at=seen.at)


def _mac(text: str) -> str | None:
    try:
        return parse_mac(text)
    except ClusterError:
        return None
