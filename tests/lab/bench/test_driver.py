"""The benchmark's driver: what is kept, what is done again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from avalanche.errors import ConfigError
from lab.bench import driver
from lab.bench.driver import BenchFailed, begin, collect, keep, run_bench
from lab.cache import Cache
from tests.lab.bench.documents import cell_document


def put(folder: Path, name: str, document: object) -> Path:
    (folder / "cells").mkdir(exist_ok=True)
    path = folder / "cells" / f"{name}.json"
    path.write_text(json.dumps(document))
    return path


def test_a_run_begins_without_what_was_measured_before(tmp_path: Path) -> None:
    chosen, other = (put(tmp_path, name, cell_document()) for name in ("racks", "slow"))
    assert begin(tmp_path, ["racks"], {}) == []
    assert not chosen.exists() and other.exists()


def test_an_interrupted_run_is_gone_on_with(tmp_path: Path) -> None:
    begin(tmp_path, ["racks", "slow"], {"RATE": "30"})
    kept = put(tmp_path, "racks", cell_document())
    keep(tmp_path, ["racks"])
    assert begin(tmp_path, ["racks", "slow"], {"RATE": "30"}) == ["racks"]
    assert kept.exists()


@pytest.mark.parametrize("changed", [{"RATE": "31"}, {"RATE": "30", "FRESH": "1"}, {}])
def test_another_question_begins_anew(tmp_path: Path, changed: dict[str, str]) -> None:
    begin(tmp_path, ["racks", "slow"], {"RATE": "30"})
    keep(tmp_path, ["racks"])
    assert begin(tmp_path, ["racks", "slow"], changed) == []


def test_targets_are_judged_by_cells_as_they_are_defined(tmp_path: Path) -> None:
    put(tmp_path, "scaled-16", cell_document(changes={"RATE": "30"}))
    assert {row["state"] for row in collect(tmp_path)["targets"]} == {"not measured"}
    put(tmp_path, "scaled-16", cell_document())
    document = collect(tmp_path)
    assert "met" in {row["state"] for row in document["targets"]}
    assert json.loads((tmp_path / "result.json").read_text()) == document


def test_a_bound_of_the_growth_that_is_none_is_refused_before_anything_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "bench").mkdir()
    kept = put(tmp_path / "bench", "growth", {"figures": {}})
    with pytest.raises(ConfigError, match=r"^GROWTH=all: "):
        run_bench({"BENCH": "growth", "GROWTH": "all"}, tmp_path, Cache(tmp_path / "cache"))
    assert kept.exists() and not (tmp_path / "bench/unfinished.json").exists()


def test_what_breaks_in_one_cell_leaves_the_others_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> dict[str, float]:
        raise AssertionError("no server")

    cells = {"compile": broken, "reports": lambda: {"seconds": 1.0}, "growth": lambda: {"seconds": 2.0}}
    monkeypatch.setattr(driver, "figure_cells", lambda *_: cells)
    # A run with changes: its report stays beside its result.
    with pytest.raises(BenchFailed, match="compile failed, see above: no server"):
        run_bench({"BENCH": "compile,reports", "SEED": "7"}, tmp_path, Cache(tmp_path / "cache"))
    measured = json.loads((tmp_path / "bench/result.json").read_text())["cells"]
    assert {name: cell["figures"] for name, cell in measured.items()} == {"reports": {"seconds": 1.0}}
