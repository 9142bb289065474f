"""What is said about the machine."""

from __future__ import annotations

import json

from lab.bench.conditions import commit, conditions


def test_the_date_is_passed_in_and_the_rest_is_seen() -> None:
    facts = conditions({"DATE": "2026-01-02"})
    assert facts["date"] == "2026-01-02"
    assert facts["cores"] >= 1 and facts["yardstick_seconds"] > 0 and len(facts["load"]) == 3
    assert json.loads(json.dumps(facts)) == facts


def test_the_commit_stays_while_nothing_changes() -> None:
    assert commit() == commit()
