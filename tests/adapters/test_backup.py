"""Backups and moves: everything arrives, or nothing changes; what is damaged says so before anything is touched."""

from __future__ import annotations

import gzip
import json
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from avalanche.adapters import orderbook
from avalanche.adapters.audit import read_audit
from avalanche.adapters.backup import BackupError, close_for_good, copy, read_backup, restore, write_backup
from avalanche.adapters.database import Database, DatabaseUnavailable
from avalanche.adapters.engine import Where
from avalanche.adapters.orderbook import TimelineEvent
from avalanche.cluster import Cluster, Host, Interface, Setting
from avalanche.network import Network, parse_addresses
from avalanche.orders import Order
from lab.mariadb import MariaDB
from tests.smalldisk import SmallDisk

NOW = 1_795_000_000.123456
ODD = "é \U0001f427 'quoted' \\ 100% \n\t" + "x" * 60_000


@pytest.fixture
def full(database: Database) -> Database:
    """A database with something in every kind of table."""
    with database.transaction() as transaction:
        transaction.add_network(Network("private", parse_addresses("10.1.0.0/16"), "local"))
        card = Interface("52:54:00:00:00:01", "10.1.0.1", "eno1", "private")
        transaction.add_hosts(
            [Host("compute-0-0", "compute", 0, 0, (card,), aliases=("c0",)), Host("compute-0-1", "compute", 0, 1)]
        )
        transaction.lock_hosts(["compute-0-1"], "why")
        transaction.set_attribute(Setting("global", "", "odd", ODD))
        transaction.set_attribute(Setting("host", "compute-0-0", "password", "geheim", secret=True))
        orderbook.add_order(transaction, Order("a" * 16, "compute-0-0", "g", "http", NOW, NOW + 3600, 3), NOW)
        orderbook.add_events(transaction, [TimelineEvent("compute-0-0", NOW, "stub", "ok", ODD[:100], "a" * 16)])
    return database


@pytest.fixture(params=["sqlite", "mariadb"])
def other(request: pytest.FixtureRequest, tmp_path: Path, mariadb: MariaDB) -> Iterator[Database]:
    """An empty database with tables, on either engine."""
    url = mariadb.borrow_database()
    where: Where = tmp_path / "other.db" if request.param == "sqlite" else url
    found = Database(where)
    found.migrate()
    yield found
    found.close()
    mariadb.give_back(url)


def content(database: Database) -> tuple[Cluster, object, object]:
    with database.snapshot() as transaction:
        cluster = transaction.cluster()
        timeline = orderbook.timeline(transaction, "compute-0-0") if cluster.hosts else []
        return cluster, orderbook.all_orders(transaction), timeline


def test_a_backup_brings_everything_to_either_engine(full: Database, other: Database, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    written = write_backup(full, file)
    assert read_backup(file) == written
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert restore(other, file) == written
    before, after = content(full), content(other)
    assert before[1:] == after[1:]
    for field in ("hosts", "settings", "appliances", "memberships", "networks"):
        assert getattr(before[0], field) == getattr(after[0], field)
    assert [setting.author for setting in before[0].settings] == [setting.author for setting in after[0].settings]
    with other.transaction() as transaction:  # and it goes on: keys that are new collide with none
        transaction.add_host(Host("compute-0-2", "compute", 0, 2))
        orderbook.add_events(transaction, [TimelineEvent("compute-0-0", NOW, "stub", "ok", "", "a" * 16)])


def test_nothing_is_overwritten_without_force(full: Database, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    write_backup(full, file)
    with pytest.raises(BackupError, match="is there already; name another file, or say --force"):
        write_backup(full, file)
    with pytest.raises(BackupError, match="is not empty; --force removes what is there"):
        restore(full, file)
    with full.transaction() as transaction:
        transaction.unlock_hosts(["compute-0-1"])
        transaction.remove_hosts(["compute-0-0", "compute-0-1"])
        revision = transaction.revision()
    restore(full, file, force=True)
    cluster, _, _ = content(full)
    assert set(cluster.hosts) == {"compute-0-0", "compute-0-1"}
    assert cluster.revision > revision  # every process reads it anew


def damaged(data: bytes) -> dict[str, bytes]:
    lines = gzip.decompress(data).splitlines(keepends=True)
    head = json.loads(lines[0])
    return {
        "no gzip": b"this is no backup",
        "nothing": b"",
        "cut short": data[:-30],
        "a byte": data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :],
        "a row lost": gzip.compress(b"".join(lines[:3] + lines[4:])),
        "a row changed": gzip.compress(b"".join(lines).replace(b"compute-0-1", b"compute-0-7")),
        "more behind": gzip.compress(b"".join(lines) + b"{}\n"),
        "no end": gzip.compress(b"".join(lines[:-1])),
        "another format": gzip.compress(json.dumps({**head, "version": 2}).encode() + b"\n" + b"".join(lines[1:])),
        "other tables": gzip.compress(json.dumps({**head, "tables": "9999"}).encode() + b"\n" + b"".join(lines[1:])),
        "another table": gzip.compress(lines[0] + b'["alembic_version",{"version_num":"0"}]\n' + b"".join(lines[1:])),
        "no json": gzip.compress(lines[0] + b"nonsense\n"),
    }


def test_a_damaged_backup_is_told_before_anything_is_touched(full: Database, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    write_backup(full, file)
    before = content(full)
    for name, data in damaged(file.read_bytes()).items():
        file.write_bytes(data)
        with pytest.raises(BackupError) as refused:
            restore(full, file, force=True)
        assert "\n" not in str(refused.value), name
        assert content(full) == before, name


def test_a_backup_is_of_one_moment(full: Database, tmp_path: Path) -> None:
    with full.snapshot() as transaction:
        transaction.cluster()
        with full.transaction() as writer:
            writer.add_host(Host("late-0-0", "compute", 0, 9))
        assert "late-0-0" not in transaction.cluster().hosts
    write_backup(full, tmp_path / "backup")
    restore(full, tmp_path / "backup", force=True)
    assert "late-0-0" in content(full)[0].hosts


def test_a_copy_leaves_a_source_that_nobody_goes_on_with(full: Database, other: Database, tmp_path: Path) -> None:
    with full.transaction() as transaction:
        copy(transaction, other, name="here")
        close_for_good(transaction)
    assert set(content(other)[0].hosts) == {"compute-0-0", "compute-0-1"}
    with pytest.raises(DatabaseUnavailable, match="the database was moved"):
        content(full)
    with pytest.raises(DatabaseUnavailable, match="the database was moved"):
        write_backup(full, tmp_path / "backup")
    with pytest.raises(DatabaseUnavailable, match="the database was moved"), full.transaction() as transaction:
        copy(transaction, other, name="here", force=True)
    assert list(tmp_path.glob("*backup*")) == []
    assert set(content(other)[0].hosts) == {"compute-0-0", "compute-0-1"}


def test_a_copy_into_something_is_refused_and_changes_neither(full: Database, other: Database) -> None:
    with other.transaction() as transaction:
        transaction.set_attribute(Setting("global", "", "mine", "1"))
    with pytest.raises(BackupError, match="is not empty"), full.transaction() as transaction:
        copy(transaction, other, name="here")
    assert [setting.name for setting in content(other)[0].settings] == ["mine"]
    assert len(content(full)[0].hosts) == 2


@pytest.mark.parametrize("leave", [0, 8192])
def test_a_backup_that_does_not_fit_names_its_file_and_leaves_the_one_before(
    full: Database, small_disk: SmallDisk, leave: int
) -> None:
    file = small_disk.root / "backup"
    write_backup(full, file)
    before = file.read_bytes()
    with full.transaction() as transaction:
        transaction.set_attribute(Setting("global", "", "noise", secrets.token_hex(30_000)))
    with small_disk.full(leave=leave):
        with pytest.raises(OSError, match="No space left on device") as caught:
            write_backup(full, file, force=True)
        assert caught.value.filename == str(file)
        assert (small_disk.names(), file.read_bytes()) == (["backup"], before)
    write_backup(full, file, force=True)
    assert file.read_bytes() != before


def test_who_restored_or_moved_is_in_the_audit_of_what_is_used_from_then_on(
    full: Database, other: Database, tmp_path: Path
) -> None:
    def told(database: Database) -> list[tuple[str, str, dict[str, object]]]:
        with database.snapshot() as transaction:
            found = read_audit(transaction, subject=database.name, author=None, last=10)
        return [(change.author, change.action, dict(change.detail)) for change in found]

    write_backup(full, tmp_path / "backup")
    full.author = other.author = "ann"
    rows = restore(full, tmp_path / "backup", force=True).rows
    assert told(full) == [("ann", "database restore", {"file": str(tmp_path / "backup"), "rows": rows})]
    with full.transaction() as transaction:
        moved = copy(transaction, other, name=full.name).rows
    assert moved == rows + 1
    assert told(other) == [("ann", "database move", {"source": full.name, "rows": moved})]
    with other.snapshot() as transaction:  # and what was done before it came is still known
        assert "database restore" in {
            change.action for change in read_audit(transaction, subject=None, author=None, last=99)
        }
