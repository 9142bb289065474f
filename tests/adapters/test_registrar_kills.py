"""Whenever insert-ethers is killed, every machine is a host completely or not at all, and a rerun leaves no gap."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time

from avalanche.adapters import orderbook
from avalanche.adapters.database import Database
from avalanche.adapters.engine import Where
from avalanche.network import Network, parse_addresses
from tests.registering import NETWORK, seen, text_of

KILLS = int(os.environ.get("AVALANCHE_KILLS", "2"))
"""Each among 50 registrations more than the one before: twenty kills are 1,000 (make test-all)."""


def start(where: Where, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.registering", text_of(where), str(count)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def check(database: Database) -> int:
    """See that nothing is there twice, by half, or missing in between; returns how many hosts there are."""
    with database.snapshot() as transaction:
        hosts = transaction.hosts()
        orders = [order.host for order in orderbook.all_orders(transaction)]
        stages = {name: [event.stage for event in orderbook.timeline(transaction, name)] for name in hosts}
    top = NETWORK.broadcast_address - 1
    assert sorted(host.rank for host in hosts.values()) == list(range(len(hosts)))
    assert set(hosts) == {f"compute-0-{rank}" for rank in range(len(hosts))}
    taken = {str(host.address) for host in hosts.values()}
    assert taken == {str(top - rank) for rank in range(len(hosts))}
    assert len({host.mac for host in hosts.values()}) == len(hosts)
    assert sorted(orders) == sorted(hosts)
    assert all(found == ["dhcp", "register"] for found in stages.values())
    return len(hosts)


def test_kill_9_at_random_points_leaves_no_duplicate_and_no_gap(where: Where, database: Database) -> None:
    with database.transaction() as transaction:
        transaction.add_network(Network("private", parse_addresses(str(NETWORK))))
    chance = random.Random(5)
    for number in range(1, KILLS + 1):
        # Two at once, as two operators would: one is killed, then the other.
        processes = [start(where, 50 * number) for _ in range(1 + number % 2)]
        for process in processes:
            time.sleep(chance.uniform(0.0, 0.4))
            process.kill()
            process.communicate()
        check(database)
    whole = start(where, 50 * KILLS)
    whole.communicate(timeout=300)
    assert whole.returncode == 0
    assert check(database) == 50 * KILLS
    with database.snapshot() as transaction:
        macs = {host.mac for host in transaction.hosts().values()}
    assert macs == {seen(number).mac for number in range(50 * KILLS)}
