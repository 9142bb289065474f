"""The same input gives the same bytes, whatever the order of files and elements, and however Python hashes."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
NODES = [f"n{number:02}" for number in range(24)]
ATTRIBUTES = {"flag": "yes", "size": "3"}

# One process answers everything that could depend on an order: profile, kickstart, findings, explanations, pictures.
ANSWER = """
import json, sys
from pathlib import Path
from avalanche.adapters.rolls import survey_rolls
from avalanche.attributes import Attributes
from avalanche.cluster import free_attributes
from avalanche.compiler import compile_profile
from avalanche.drawing import Drawing
from avalanche.explain import Explainer
from avalanche.kickstart import render
from avalanche.lint import check

paths, given = [Path(path) for path in sys.argv[1].split(":")], json.loads(sys.argv[2])
rolls, faults = survey_rolls(paths)
attributes = free_attributes("n00", "el9", given)
profile = compile_profile(rolls, "n00", attributes)
explainer = Explainer(rolls, "n00", attributes)
print(profile.to_xml().decode())
print(render(profile, attributes))
for root in (None, "n00"):
    print(*check(rolls, faults, root=root, attributes=attributes), sep="\\n")
print(*[explainer.node(name) for name in rolls.names], sep="\\n")
print(*[explainer.order("n03", name) for name in rolls.names if name != "n03"], sep="\\n")
print(explainer.package("shared"))
print(Drawing(rolls, explainer.traversal, orders=True).to_svg())
print(Drawing(rolls).to_dot())
"""


def elements(chance: random.Random) -> list[str]:
    """Edges and pairs with plenty of ties: several ways to a node, pairs that leave much open."""
    found = []
    for number, name in enumerate(NODES[1:], 1):
        for source in chance.sample(NODES[:number], min(number, 2)):
            when = chance.choice(["", "", ' cond="flag"', ' cond="size > 2"', ' cond="not flag"', ' cond="unset"'])
            found.append(f'<edge from="{source}" to="{name}"{when}/>')
    for _ in range(12):
        head, tail = sorted(chance.sample(NODES, 2))
        found.append(f'<order head="{head}" tail="{tail}"/>')
    return [
        *found,
        '<order head="n20" tail="HEAD"/>',
        '<order head="TAIL" tail="n01"/>',
        '<order head="n05" tail="q"/>',
    ]


def write(folder: Path, turn: int) -> list[Path]:
    """Write two rolls of the same content, files in another order each time, edges and pairs in another order."""
    chance = random.Random(turn)
    rolls = [folder / "one", folder / "two"]
    files: dict[Path, str] = {}
    for number, name in enumerate(NODES):
        body = f"<package>shared p{number}</package><package disable='1' cond='size == 3'>p{number - 1}</package>"
        files[rolls[0] / f"nodes/{name}.xml"] = f"<kickstart>{body}<post>echo {name} &hostname;</post></kickstart>"
    files[rolls[1] / "nodes/extend-n03.xml"] = "<kickstart><package>shared</package></kickstart>"
    files[rolls[1] / "nodes/replace-n04.xml"] = "<kickstart><post>instead</post></kickstart>"
    files[rolls[1] / "nodes/n06.xml"] = "<kickstart><post>by collision</post></kickstart>"
    lines = elements(random.Random(7))
    chance.shuffle(lines)
    # All on one line: the places in messages are part of what has to be equal.
    files[rolls[0] / "graphs/default/g.xml"] = f"<graph>{''.join(lines)}</graph>"
    for path in chance.sample(sorted(files), len(files)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path])
    return rolls


@pytest.mark.parametrize("turns", [range(5), pytest.param(range(5, 20), marks=pytest.mark.slow)], ids=["few", "many"])
def test_shuffled_runs_give_one_digest(tmp_path: Path, turns: range) -> None:
    digests = set()
    for turn in (*turns, 0):
        folder = tmp_path / str(turn)
        rolls = write(folder, turn)
        done = subprocess.run(
            [sys.executable, "-c", ANSWER, ":".join(map(str, rolls)), json.dumps(ATTRIBUTES)],
            env={**os.environ, "PYTHONHASHSEED": str(turn)}, cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        digests.add(hashlib.sha256(done.stdout.replace(str(folder), "").encode()).hexdigest())
        assert len(done.stdout) > 20_000
    assert len(digests) == 1
