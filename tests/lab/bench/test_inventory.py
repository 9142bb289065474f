"""The inventory's benchmark: what it runs are commands of today."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from avalanche.adapters.audit import read_audit
from avalanche.adapters.database import Database
from avalanche.adapters.state import State
from lab.bench.inventory import RANKS, measure_commands


def test_every_command_does_its_work_on_a_rack(tmp_path: Path) -> None:
    found = measure_commands("sqlite", tmp_path / "state", [], racks=1)
    assert len(found) == 7
    assert all(name.startswith(f"sqlite: {RANKS} hosts") and seconds > 0 for name, seconds in found.items())
    database = Database.open(State(tmp_path / "state").database_file)
    with database.snapshot() as transaction:
        changes = Counter(change.action for change in read_audit(transaction, subject=None, author=None, last=1000))
    database.close()
    # Added as a node set, from a CSV and by insert-ethers; those who came last are in no rack yet when one is set.
    assert (changes["host add"], changes["host set"], changes["host remove"]) == (3 * RANKS, 2 * RANKS, 3 * RANKS)
