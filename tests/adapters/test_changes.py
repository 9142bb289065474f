"""Only what changed is read again, and the snapshot is the same as if everything were; on both engines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event

from avalanche.adapters import schema
from avalanche.adapters.backup import restore, write_backup
from avalanche.adapters.database import Database, Transaction
from avalanche.adapters.engine import Where
from avalanche.adapters.transaction import MOST_NAMED
from avalanche.bootaction import BootAction
from avalanche.cluster import Appliance, Cluster, Distribution, Host, Interface, Membership, RollEntry, Setting
from avalanche.network import Network, parse_addresses
from tests.test_renewal import indexes


def host(rank: int, name: str | None = None) -> Host:
    card = Interface(f"52:54:00:00:00:{rank:02x}", f"10.1.1.{rank + 1}")
    return Host(name or f"compute-0-{rank}", "compute", 0, rank, (card,), aliases=(f"c{rank}",))


def change(transaction: Transaction, who: str, /, **fields: object) -> None:
    found = transaction.hosts([who])[who]
    transaction.change_hosts([(found, replace(found, **fields))])  # type: ignore[arg-type]


def exchange(transaction: Transaction) -> None:
    """Two hosts take each other's names and cards."""
    one, two = transaction.hosts(["compute-0-0", "compute-0-1"]).values()
    transaction.change_hosts([(one, replace(one, name=two.name)), (two, replace(two, name=one.name))])


Step = Callable[[Transaction], object]
STEPS: list[Step] = [
    lambda t: t.add_hosts([host(rank) for rank in range(4)]),
    lambda t: t.set_attributes([Setting("host", f"compute-0-{rank}", "color", "red") for rank in range(4)]),
    lambda t: change(t, "compute-0-3", rack=7),
    lambda t: change(t, "compute-0-2", aliases=("other",), comment="x"),
    exchange,
    lambda t: change(t, "compute-0-2", name="renamed"),
    lambda t: t.set_attributes([Setting("rack", "7", "a", "1"), Setting("global", "", "b", "2")]),
    lambda t: t.remove_attribute("host", "compute-0-0", "color"),
    lambda t: t.lock_hosts(["renamed"], "because"),
    lambda t: t.unlock_hosts(["renamed"]),
    lambda t: t.remove_hosts(["compute-0-1"]),
    lambda t: t.add_host(host(0, "compute-0-1")),
    lambda t: t.add_appliance(Appliance("login", "login")),
    lambda t: t.set_appliance("login", Appliance("front", "login")),
    lambda t: t.add_membership(Membership("Other", "front")),
    lambda t: change(t, "compute-0-0", membership="Other", appliance="front"),
    lambda t: t.set_membership("Other", Membership("Others", "front")),
    lambda t: t.add_network(Network("private", parse_addresses("10.1.0.0/16"))),
    lambda t: t.set_network("private", Network("net", parse_addresses("10.1.0.0/16"))),
    lambda t: t.add_roll(RollEntry("site", "1", "x86_64", "/srv/site")),
    lambda t: t.enable_roll("site", None, enabled=False),
    lambda t: t.remove_roll("site", None),
    lambda t: t.add_distribution(Distribution("testing")),
    lambda t: t.remove_distribution("testing"),
    lambda t: t.add_bootaction(BootAction("memtest", "memtest.bin")),
    lambda t: change(t, "compute-0-0", runaction="memtest"),
    lambda t: t.set_bootaction("memtest", BootAction("test", "memtest.bin")),
    lambda t: (change(t, "compute-0-0", runaction="os"), t.remove_bootaction("test"), t.remove_hosts(["renamed"])),
]  # fmt: skip


def test_a_renewed_snapshot_is_what_would_be_read(database: Database) -> None:
    for size in (1, 3, len(STEPS)):  # how many transactions a reader missed
        with database.snapshot() as transaction:
            found = transaction.cluster()
        for number in range(0, len(STEPS), size):
            for step in STEPS[number : number + size]:
                with database.transaction() as transaction:
                    step(transaction)
            with database.snapshot() as transaction:
                found, whole = transaction.cluster(found), transaction.cluster()
            assert found == whole, number
            assert list(found.hosts) == list(whole.hosts)
            assert indexes(found) == indexes(whole)
        with database.transaction() as transaction:
            transaction.remove_hosts(sorted(transaction.hosts()))
            transaction.remove_appliance("front")
            transaction.remove_network("net")
            for setting in transaction.settings():
                transaction.remove_attribute(setting.scope, setting.owner, setting.name)


def test_hosts_that_did_not_change_are_not_read_again(database: Database) -> None:
    with database.transaction() as transaction:
        transaction.add_hosts([host(rank) for rank in range(8)])
        before = transaction.cluster()
    with database.transaction() as transaction:
        change(transaction, "compute-0-5", comment="x")
    asked: list[object] = []
    with database.snapshot() as transaction:
        event.listen(transaction.connection, "after_execute", lambda *told: asked.append(told[1]))
        found = transaction.cluster(before)
    assert 0 < len(asked) <= 8
    same = [name for name in before.hosts if found.hosts[name] is before.hosts[name]]
    assert len(same) == 7


@pytest.mark.parametrize("missed", [19, 25])
def test_who_was_away_for_long_reads_everything(
    database: Database, missed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avalanche.adapters.transaction.REVISIONS_KEPT", 20)
    with database.transaction() as transaction:
        before = transaction.cluster()
        for number in range(missed):
            transaction._bump("attributes", [f"global {number % 3}"])
        transaction.add_host(host(1))
        found = transaction.cluster(before)
        assert found == transaction.cluster()
        assert (transaction.changes_since(before.revision) is None) == (missed > 20)
        kept = transaction.connection.execute(schema.changes.select()).all()
    assert len(kept) <= 40


def test_a_change_of_many_is_one_row(database: Database) -> None:
    with database.transaction() as transaction:
        before = transaction.cluster()
        transaction.add_hosts([Host(f"n{number}", "compute", 0, number) for number in range(MOST_NAMED + 1)])
        assert transaction.changes_since(before.revision) is None
        assert transaction.cluster(before) == transaction.cluster()


def test_what_nobody_wrote_down_is_read_as_a_whole(database: Database, where: Where, tmp_path: Path) -> None:
    """A backup that was restored, a program of another version."""
    with database.transaction() as transaction:
        transaction.add_host(host(1))
    write_backup(database, tmp_path / "backup")
    with database.transaction() as transaction:
        transaction.remove_host("compute-0-1")
        before = transaction.cluster()
    restore(database, tmp_path / "backup", force=True)
    with database.snapshot() as transaction:
        found: Cluster = transaction.cluster(before)
        assert found == transaction.cluster()
        assert set(found.hosts) == {"compute-0-1"}
    with database.transaction() as transaction:
        change(transaction, "compute-0-1", comment="after")
    with database.snapshot() as transaction:
        assert transaction.cluster(before) == transaction.cluster(found) == transaction.cluster()
