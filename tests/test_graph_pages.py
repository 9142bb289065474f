"""The pages on graphs and for people who come from Rocks say what the code does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from avalanche.condition import parse_condition

DOCS = Path(__file__).resolve().parent.parent / "docs"
AVALANCHE = DOCS.parent / "avalanche"
CONDITION_ROW = re.compile(r"^\| (?:`([^`|]+)` )?\| `([^`]+)` \| (yes|no) \|$", re.MULTILINE)


def test_the_conditions_of_the_page_hold_where_it_says() -> None:
    rows = CONDITION_ROW.findall((DOCS / "graph-format.md").read_text())
    assert len(rows) >= 16
    for values, condition, holds in rows:
        attributes = dict(value.split("=") for value in values.split())
        found = parse_condition(condition, file="graph-format.md", line=1).holds(attributes)
        assert found is (holds == "yes"), (values, condition)


def test_every_form_of_condition_on_the_page_is_one() -> None:
    (section,) = re.findall(r"\| Form \| Example \|\n(.*?)\n\n", (DOCS / "graph-format.md").read_text(), re.DOTALL)
    examples = re.findall(r"`([^`]+)`", "\n".join(row.split("|")[2] for row in section.splitlines()[1:]))
    assert len(examples) >= 10
    for example in examples:
        parse_condition(example, file="graph-format.md", line=1)


def test_the_page_lists_every_code_of_a_check_and_no_other() -> None:
    sources = [AVALANCHE / name for name in ("lint.py", "graph.py", "traps.py", "adapters/rolls.py")]
    prefixes = "attribute|cond|edge|extension|gen|graph|node|order|package|pair|root|self|tag|text"
    codes = {code for path in sources for code in re.findall(rf'"((?:{prefixes})-[a-z-]+)"', path.read_text())}
    (table,) = re.findall(r"\| Code \| \| Meaning \|\n(.*?)\n\n", (DOCS / "graph-format.md").read_text(), re.DOTALL)
    listed = {code for row in table.splitlines()[1:] for code in re.findall(r"`([a-z-]+)`", row.split("|")[1])}
    assert listed == codes | {"roll", "graph", "condition", "profile"}


def test_the_commands_of_the_page_for_rocks_people_are_commands(tmp_path: Path) -> None:
    (block,) = re.findall(r"```\n(avalanche .*?)```", (DOCS / "from-rocks.md").read_text(), re.DOTALL)
    for folder in ("base", "hpc", "site-profiles/7.0"):
        for name in ("graphs/default", "nodes"):
            tmp_path.joinpath(folder, name).mkdir(parents=True)
    tmp_path.joinpath("base/graphs/default/base.xml").write_text('<graph><edge from="compute" to="client"/></graph>')
    for name in ("compute", "client"):
        tmp_path.joinpath("base/nodes", f"{name}.xml").write_text("<kickstart/>")
    tmp_path.joinpath("site-profiles/7.0/nodes/extend-compute.xml").write_text("<kickstart/>")
    tmp_path.joinpath("attributes.json").write_text('{"rack": "1"}')
    environment = {**os.environ, "PYTHONPATH": str(DOCS.parent)}
    for command in block.splitlines():
        words = [sys.executable, "-m", *command.split()]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), command
