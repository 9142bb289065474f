"""The inventory's benchmark: what it runs are commands of today."""

from __future__ import annotations

from pathlib import Path

from lab.bench.inventory import RANKS, measure_commands


def test_every_command_does_its_work_on_a_rack(tmp_path: Path) -> None:
    found = measure_commands("sqlite", tmp_path / "state", [], racks=1)
    assert len(found) == 7
    assert all(name.startswith(f"sqlite: {RANKS} hosts") and seconds > 0 for name, seconds in found.items())
