"""Store and ledger: every object once, unchanged, and honest about it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from avalanche.adapters import store as store_module
from avalanche.adapters.ledger import Ledger
from avalanche.adapters.store import Store
from avalanche.errors import RepositoryError
from avalanche.manifest import hash_stream


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "a b%+é.rpm"
    path.write_bytes(os.urandom(600_000))
    return path


def leftovers(store: Store) -> list[Path]:
    return list(store.root.glob(".incoming-*"))


def test_an_object_is_named_by_its_bytes_and_cannot_be_written(store: Store, source: Path) -> None:
    identity = store.add(source)
    assert identity == hash_stream([source.read_bytes()])
    path = store.path(identity.sha256)
    assert path.name == identity.sha256 and path.parent.name == identity.sha256[:2]
    assert path.read_bytes() == source.read_bytes()
    assert path.stat().st_mode & 0o7777 == 0o444
    assert not leftovers(store)


def test_an_unchanged_file_is_known_without_being_read(
    store: Store, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = store.add(source)
    monkeypatch.setattr(Store, "put", None)
    assert Store(store.root).add(source) == first


def test_a_file_that_changed_under_its_old_size_and_time_is_read_again(store: Store, source: Path) -> None:
    first = store.add(source)
    stat = source.stat()
    source.write_bytes(os.urandom(stat.st_size))
    os.utime(source, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert store.add(source).sha256 != first.sha256


def test_the_same_bytes_under_two_names_are_one_object(store: Store, source: Path) -> None:
    twin = source.with_name("twin.rpm")
    twin.write_bytes(source.read_bytes())
    inode = store.path(store.add(source).sha256).stat().st_ino
    assert store.path(store.add(twin).sha256).stat().st_ino == inode


def test_an_object_does_not_follow_its_source(store: Store, source: Path) -> None:
    data = source.read_bytes()
    identity = store.add(source)
    with source.open("r+b") as file:
        file.write(b"changed")
    assert store.path(identity.sha256).read_bytes() == data


@pytest.mark.parametrize("refusing", ["ioctl", "copy_file_range", "both"])
def test_bytes_come_in_whatever_the_file_system_offers(
    store: Store, source: Path, refusing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(95, "Operation not supported")

    if refusing in ("ioctl", "both"):
        monkeypatch.setattr(store_module.fcntl, "ioctl", refuse)
    if refusing in ("copy_file_range", "both"):
        monkeypatch.setattr(store_module.os, "copy_file_range", refuse)
    assert store.path(store.add(source).sha256).read_bytes() == source.read_bytes()


@pytest.mark.parametrize("damage", ["flipped", "cut", "longer"])
def test_a_damaged_object_is_mended_in_place_once_it_is_doubted(
    store: Store, source: Path, tmp_path: Path, damage: str
) -> None:
    identity = store.add(source)
    store.link(identity.sha256, tmp_path / "generation" / "a.rpm")
    path = store.path(identity.sha256)
    path.chmod(0o644)
    good = path.read_bytes()
    path.write_bytes({"flipped": bytes([good[0] ^ 1]) + good[1:], "cut": good[:1000], "longer": good + b"X"}[damage])
    store.forget(identity.sha256)
    assert Store(store.root).add(source) == identity
    assert (tmp_path / "generation" / "a.rpm").read_bytes() == good
    assert path.stat().st_mode & 0o7777 == 0o444 and path.stat().st_nlink == 2


def test_a_missing_object_is_brought_back(store: Store, source: Path) -> None:
    identity = store.add(source)
    store.path(identity.sha256).unlink()
    assert store.identity(identity.sha256) is None
    assert store.add(source) == identity
    assert store.path(identity.sha256).read_bytes() == source.read_bytes()


def test_an_object_of_the_wrong_size_is_not_known(store: Store, source: Path) -> None:
    identity = store.add(source)
    path = store.path(identity.sha256)
    path.chmod(0o644)
    os.truncate(path, 10)
    assert store.identity(identity.sha256) is None


def test_what_no_generation_links_to_is_collected(store: Store, source: Path, tmp_path: Path) -> None:
    kept = store.add(source)
    store.link(kept.sha256, tmp_path / "kept")
    other = tmp_path / "other.rpm"
    other.write_bytes(b"x" * 1000)
    dropped = store.add(other)
    (store.root / ".incoming-abc").write_bytes(b"half")
    assert store.collect() == 1004
    assert store.path(kept.sha256).exists() and not store.path(dropped.sha256).exists()
    assert store.identity(dropped.sha256) is None and not leftovers(store)
    assert store.add(other) == dropped


def test_an_empty_or_unreadable_file_is_refused_by_name(store: Store, tmp_path: Path) -> None:
    (tmp_path / "empty.rpm").write_bytes(b"")
    with pytest.raises(RepositoryError, match=r"empty\.rpm is empty"):
        store.add(tmp_path / "empty.rpm")
    with pytest.raises(RepositoryError, match=r"gone\.rpm: No such file"):
        store.add(tmp_path / "gone.rpm")
    assert not leftovers(store)


def test_a_store_that_lost_its_ledgers_knows_everything_again_after_an_import(store: Store, source: Path) -> None:
    identity = store.add(source)
    inode = store.path(identity.sha256).stat().st_ino
    for ledger in store.root.glob("*.jsonl"):
        ledger.unlink()
    again = Store(store.root)
    assert again.identity(identity.sha256) is None
    assert again.add(source) == identity
    assert again.path(identity.sha256).stat().st_ino == inode


def test_a_ledger_survives_a_torn_line_and_forgets_on_request(tmp_path: Path) -> None:
    path = tmp_path / "facts.jsonl"
    ledger = Ledger(path)
    ledger.set("a", 1)
    ledger.set("b", [2])
    with path.open("ab") as file:
        file.write(b'["c", 3')
    ledger = Ledger(path)
    assert sorted(ledger) == ["a", "b"]
    ledger.set("d", {"x": 4})
    ledger.set("a", None)
    again = Ledger(path)
    assert {key: again.get(key) for key in again} == {"b": [2], "d": {"x": 4}}


def test_a_ledger_does_not_grow_with_what_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "facts.jsonl"
    ledger = Ledger(path)
    for number in range(500):
        ledger.set("key", number)
    assert Ledger(path).get("key") == 499
    assert path.read_bytes() == b'["key",499]\n'
