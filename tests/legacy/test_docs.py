"""docs/legacy.md lists every question of tests/micro, once."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_the_page_lists_every_question_once() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \|$", (ROOT / "docs/legacy.md").read_text(), re.MULTILINE)
    questions = {path.parent.name for path in (ROOT / "tests/micro").glob("*/attrs.json")}
    assert len(rows) == len(questions)
    assert {name for name, _, _ in rows} == questions
