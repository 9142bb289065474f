"""What is kept of machines that are no hosts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avalanche.adapters import sightings
from avalanche.adapters.database import Database
from avalanche.adapters.sightings import Stranger, find_stranger, last_serial, note_sightings, strangers
from avalanche.ethers import Sighting, Verdict

NOW = 1_795_000_000.0
SEEN = Sighting(
    NOW, "observer", "DISCOVER", "52:54:00:00:00:01", interface="eth0", address="10.1.0.9", vendor="PXEClient",
    hostname="n'; DROP TABLE av_hosts; --", uuid="564d0000-1234-5678-9abc-def012345678", firmware="x64 UEFI",
    circuit="ge-0/0/7",
)  # fmt: skip
PAUSED = Verdict("paused", "registration is paused (p: go on)")


def note(database: Database, *seen: Sighting, verdict: Verdict = PAUSED) -> None:
    with database.transaction() as transaction:
        note_sightings(transaction, [(one, verdict) for one in seen])


def test_a_stranger_is_remembered_with_its_last_words_and_how_often_it_was_seen(database: Database) -> None:
    note(database, SEEN, replace(SEEN, at=NOW + 1))
    note(database, replace(SEEN, at=NOW + 9, kind="REQUEST"), verdict=Verdict("kind", "REQUEST: ..."))
    note(database, replace(SEEN, mac=None), replace(SEEN, mac=":".join(["80"] * 20)))
    with database.snapshot() as transaction:
        assert find_stranger(transaction, "52:54:00:00:00:01") == Stranger(
            replace(SEEN, at=NOW + 9, kind="REQUEST"), Verdict("kind", "REQUEST: ..."), NOW, 3, 2
        )
        assert find_stranger(transaction, "52:54:00:00:00:02") is None


def test_a_reader_finds_what_is_new_to_it(database: Database) -> None:
    other = replace(SEEN, mac="52:54:00:00:00:02")
    note(database, SEEN, other)
    with database.snapshot() as transaction:
        before = last_serial(transaction)
        assert [one.seen.mac for one in strangers(transaction)] == [SEEN.mac, other.mac]
    note(database, replace(SEEN, at=NOW + 1))
    with database.snapshot() as transaction:
        assert [one.seen.mac for one in strangers(transaction, after=before)] == [SEEN.mac]


def test_whoever_floods_the_wire_pushes_out_the_oldest_only(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sightings, "MAX_KEPT", 5)
    macs = [f"52:54:00:00:00:{number:02x}" for number in range(12)]
    for mac in macs:
        note(database, replace(SEEN, mac=mac))
    with database.snapshot() as transaction:
        assert [one.seen.mac for one in strangers(transaction)] == macs[-5:]


def test_texts_longer_than_their_columns_are_cut(database: Database) -> None:
    note(database, replace(SEEN, vendor="Ω" * 600, firmware="x" * 600, circuit="y" * 600))
    with database.snapshot() as transaction:
        found = find_stranger(transaction, str(SEEN.mac))
    assert found is not None
    assert (len(found.seen.vendor), len(found.seen.firmware), len(found.seen.circuit)) == (255, 64, 255)
