"""The page of the benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab.bench.report import write_report
from tests.lab.bench.documents import CONDITIONS, cell_document, result_document


def growth() -> dict[str, Any]:
    rows = [
        {"hosts": hosts, "seconds": 2.0 * hosts, "frontend_copies": 1.0, "most_copies": 1.0, "lookups": 10 * hosts,
         "lookups_per_second": 5.0, "tracker_seconds": 0.1 * hosts, "took_seconds": 1.0}
        for hosts in (10, 100)
    ]  # fmt: skip
    world = {"name": "100 Mbit/s", "about": "16 MB.", "limit_seconds": 1.28, "rows": rows}
    return {"conditions": CONDITIONS, "figures": {"worlds": [world]}}


def document() -> dict[str, Any]:
    stars = {"http": result_document(seconds={"a": 160.0}), "relay": result_document()}
    return {
        "cells": {
            "scaled-64": cell_document(hosts=64),
            "scaled-16": cell_document(stars),
            "racks": cell_document(
                {"relay": result_document(trunk_copies={"1": [1.01, 0.0]}, cpu_bound=True)}, racks=2
            ),
            "slow": cell_document({"relay": {"failed": "does not boot"}}),
            "compile": {"conditions": CONDITIONS, "figures": {"compile (ms)": 12.5}},
            "growth": growth(),
        },
        "targets": [{"target": "t", "plane": "relay", "bound": 1.03, "value": 1.02, "state": "met"}],
    }


def test_the_same_results_give_the_same_page(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_report(document(), tmp_path / name)
    files = {path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*") if path.is_file()}
    assert len(files) >= 5
    for file in files:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


def test_the_page_shows_every_cell_with_conditions_and_limit(tmp_path: Path) -> None:
    write_report(document(), tmp_path)
    page = (tmp_path / "benchmarks.md").read_text()
    for heading in ("scaled-16: N = 16", "racks:", "compile", "growth"):
        assert f"## {heading}" in page
    assert page.count("Limit: 9.80 s") == 4 and "ten million additions in 0.50 s" in page
    assert "| relay | 10.20 | 1.020 |" in page
    assert "**cpu**, trunk 1.01 in, 0.00 out" in page
    assert "does not boot" in page
    assert "| t | relay | <= 1.03 | 1.020 | met |" in page


def test_what_was_not_measured_is_marked_as_extrapolated(tmp_path: Path) -> None:
    write_report(document(), tmp_path)
    page = (tmp_path / "benchmarks.md").read_text()
    assert "| http | 640 | 64.0 | | | | | | | extrapolated from N = 16 |" in page


def test_pictures_that_nothing_is_known_for_any_more_go(tmp_path: Path) -> None:
    write_report(document(), tmp_path)
    assert (tmp_path / "benchmarks/growth-time.svg").exists()
    cells = document()["cells"]
    write_report({"cells": {"racks": cells["racks"]}, "targets": []}, tmp_path)
    assert not list((tmp_path / "benchmarks").iterdir())
