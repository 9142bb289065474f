"""The database: snapshots, verbs, revisions, and what it does when it cannot."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import event

from avalanche.adapters import orderbook, schema
from avalanche.adapters.database import Database, DatabaseUnavailable
from avalanche.adapters.engine import Where
from avalanche.adapters.orderbook import TimelineEvent
from avalanche.cluster import Appliance, Host, Interface, Setting
from avalanche.errors import ClusterError, ConfigError, DuplicateHost, UnknownHost
from avalanche.orders import Order

NOW = 1_795_000_000.0


def host(rank: int = 0) -> Host:
    card = Interface(f"52:54:00:00:00:{rank:02x}", f"10.1.1.{10 + rank}")
    return Host(f"compute-0-{rank}", "compute", 0, rank, (card,))


def stored(rank: int = 0) -> Host:
    return replace(host(rank), membership="Compute")


def order(order_id: str = "0f1e2d3c4b5a6978", rank: int = 0, created: float = NOW) -> Order:
    return Order(order_id, f"compute-0-{rank}", "g-5d41402abc4b2a76", "http", created, created + 3600, 3)


def add(database: Database, *hosts: Host) -> None:
    with database.transaction() as transaction:
        for found in hosts:
            transaction.add_host(found)


def test_a_migrated_database_has_exactly_the_tables_of_the_schema(nowhere: Where) -> None:
    database = Database(nowhere)
    assert database.migrate() == [f"database {database.name}: from nothing to version 0003"]
    with database.snapshot() as transaction:
        context = MigrationContext.configure(transaction.connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []
    assert database.migrate() == []
    database.close()


def test_a_migration_that_was_interrupted_begins_anew(nowhere: Where) -> None:
    database = Database(nowhere)
    with database._connected(writes=True) as connection:
        for table in schema.metadata.sorted_tables[:7]:
            table.create(connection)
    assert database.migrate() != []
    with database.transaction() as transaction:
        transaction.add_appliance(Appliance("compute", "compute"))
    database.close()


def test_a_missing_database_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="avalanche init"):
        Database.open(tmp_path / "avalanche.db")


def test_a_database_of_another_version_says_how_to_upgrade(nowhere: Where) -> None:
    database = Database(nowhere)
    database.migrate()
    with database.transaction() as transaction:
        transaction.connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigError, match=r"version 9999.*avalanche init"):
        Database.open(database.where)
    database.close()


def test_a_snapshot_holds_what_was_stored(database: Database) -> None:
    add(database, host(1), host(0))
    with database.transaction() as transaction:
        transaction.set_attribute(Setting("global", "", "timezone", "Europe/Rome"))
        transaction.set_attribute(Setting("host", "compute-0-1", "root_password", "$6$x", secret=True))
    with database.snapshot() as transaction:
        cluster = transaction.cluster()
    assert list(cluster.hosts.values()) == [stored(0), stored(1)]
    assert cluster.appliances == {"compute": Appliance("compute", "compute")}
    assert cluster.settings == (
        Setting("global", "", "timezone", "Europe/Rome"),
        Setting("host", "compute-0-1", "root_password", "$6$x", secret=True),
    )


def test_every_change_of_the_inventory_shows_in_the_revision(database: Database) -> None:
    revisions = []
    changes = [
        lambda transaction: transaction.add_appliance(Appliance("login", "login")),
        lambda transaction: transaction.add_host(host()),
        lambda transaction: transaction.set_attribute(Setting("global", "", "a", "1")),
        lambda transaction: transaction.set_attribute(Setting("global", "", "a", "2")),
        lambda transaction: transaction.remove_attribute("global", "", "a"),
        lambda transaction: transaction.remove_host("compute-0-0"),
    ]
    for change in changes:
        with database.transaction() as transaction:
            change(transaction)
        with database.snapshot() as transaction:
            revisions.append(transaction.revision())
    assert revisions == sorted(set(revisions))


def test_a_transaction_that_raises_changes_nothing(database: Database) -> None:
    with pytest.raises(DuplicateHost, match="compute-0-0"), database.transaction() as transaction:
        transaction.add_host(host(0))
        transaction.add_host(host(0))
    with database.snapshot() as transaction:
        assert transaction.cluster().hosts == {}


@pytest.mark.parametrize(
    ("card", "taken"),
    [
        (Interface("52:54:00:00:00:00", None), "MAC 52:54:00:00:00:00 belongs to compute-0-0"),
        (Interface(None, "10.1.1.10"), "IP 10.1.1.10 belongs to compute-0-0"),
    ],
)
def test_a_taken_card_names_its_owner(database: Database, card: Interface, taken: str) -> None:
    add(database, host(0))
    with pytest.raises(DuplicateHost, match=taken):
        add(database, Host("compute-0-7", "compute", 0, 7, (card,)))


def test_a_host_of_an_unknown_appliance_is_refused(database: Database) -> None:
    with pytest.raises(ClusterError, match=r"'computer' \(close: compute\)"):
        add(database, Host("compute-0-0", "computer", 0, 0))


def test_removing_a_host_removes_all_that_is_its_own(database: Database) -> None:
    add(database, host(0))
    with database.transaction() as transaction:
        transaction.set_attribute(Setting("host", "compute-0-0", "a", "1"))
        orderbook.add_order(transaction, order(), NOW)
        orderbook.add_events(transaction, [TimelineEvent("compute-0-0", NOW, "stub", "ok", "", order().id)])
        transaction.remove_host("compute-0-0")
        for table in (schema.interfaces, schema.attributes, schema.orders, schema.events):
            assert transaction.connection.execute(table.select()).all() == []
    with pytest.raises(UnknownHost), database.transaction() as transaction:
        transaction.remove_host("compute-0-0")


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        (Setting("rank", "", "a", "1"), "not a scope"),
        (Setting("intrinsic", "", "a", "1"), "not a scope"),
        (Setting("global", "x", "a", "1"), "has no owner"),
        (Setting("rack", "", "a", "1"), "needs an owner"),
        (Setting("host", "compute-9-9", "a", "1"), "no host is called"),
        (Setting("appliance", "login", "a", "1"), "no appliance is called"),
        (Setting("global", "", "1a", "1"), "no attribute name"),
        (Setting("global", "", "a", "\x00"), "XML cannot carry"),
    ],
)
def test_a_wrong_attribute_is_refused(database: Database, setting: Setting, why: str) -> None:
    with pytest.raises((ClusterError, ConfigError), match=why), database.transaction() as transaction:
        transaction.set_attribute(setting)


def test_writers_in_many_threads_wait_for_each_other(database: Database) -> None:
    threads = [threading.Thread(target=add, args=(database, host(rank))) for rank in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.snapshot() as transaction:
        assert len(transaction.cluster().hosts) == 8


@pytest.mark.parametrize("where", ["sqlite"], indirect=True)
def test_a_full_disk_is_one_clear_line_and_leaves_the_old_content(database: Database) -> None:
    full = pytest.raises(DatabaseUnavailable, match=r"avalanche\.db: database or disk is full; free space")
    with full, database.transaction() as transaction:
        pages = transaction.connection.exec_driver_sql("PRAGMA page_count").scalar()
        transaction.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        transaction.set_attribute(Setting("global", "", "a", "x" * 60_000))
    with database.snapshot() as transaction:
        assert transaction.cluster().settings == ()


OPEN = """
import sys
from pathlib import Path
from avalanche.adapters.database import Database, DatabaseUnavailable
disk = Path(sys.argv[1])
with (disk / "filler").open("wb", buffering=0) as filler:
    try:
        while filler.write(b"x" * 4096):
            pass
    except OSError:
        pass
try:
    with Database.open(disk / "avalanche.db").snapshot() as transaction:
        transaction.hosts()
except DatabaseUnavailable as error:
    print(error)
(disk / "filler").unlink()
with Database.open(disk / "avalanche.db").snapshot() as transaction:
    print(*transaction.hosts())
"""


@pytest.mark.parametrize("where", ["sqlite"], indirect=True)
def test_who_opens_it_on_a_full_file_system_is_told_so(database: Database, tmp_path: Path) -> None:
    add(database, host())
    database.close()
    disk = tmp_path / "disk"
    disk.mkdir()
    script = f'mount -t tmpfs -o size=2m none {disk} && cp {database.where} {disk}/avalanche.db && exec "$@"'
    child = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", sys.executable, "-c", OPEN, disk],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert child.stdout.splitlines() == [
        f"{disk}/avalanche.db: database or disk is full; free space on its file system",
        "compute-0-0",
    ]


@pytest.mark.parametrize("where", ["sqlite"], indirect=True)
def test_a_damaged_file_is_one_clear_line(database: Database) -> None:
    database.close()
    assert isinstance(database.where, Path)
    database.where.write_bytes(b"this is no database" * 1000)
    with pytest.raises(DatabaseUnavailable, match="not a database"):
        Database.open(database.where)


@pytest.mark.parametrize(
    "text", ["fe80::1%eth0", "fe80::1%$(reboot)", "fe80::1%a\nb", "FE80::1", "::ffff:10.1.1.1", "x"]
)
def test_an_address_that_is_not_canonical_is_refused(database: Database, text: str) -> None:
    with pytest.raises(ClusterError, match=r"is not (an IP address|in its canonical form)") as refused:
        add(database, Host("compute-0-0", "compute", 0, 0, (Interface(None, text),)))
    assert "\n" not in str(refused.value)


def test_hosts_that_become_alike_share_statements(database: Database) -> None:
    add(database, *(host(rank) for rank in range(20)))
    updates: list[str] = []

    def note(*told: object) -> None:
        if str(told[2]).startswith("UPDATE av_hosts"):
            updates.append(str(told[2]))

    with database.transaction() as transaction:
        event.listen(transaction.connection, "before_cursor_execute", note)
        found = list(transaction.hosts().values())
        transaction.change_hosts([(one, replace(one, rack=one.rank // 10, comment="x")) for one in found])
        own = list(transaction.hosts().values())
        transaction.change_hosts([(one, replace(one, rank=one.rank + 100)) for one in own])
    assert len(updates) == 3  # two racks; one for ranks, which all differ
    with database.snapshot() as transaction:
        assert list(transaction.hosts().values()) == [
            replace(stored(rank), rack=rank // 10, rank=rank + 100, comment="x") for rank in range(20)
        ]
