"""Every small question, asked of the compiler: the answer is the intended one (intended.json)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from avalanche.adapters.rolls import load_rolls
from avalanche.attributes import Attributes
from avalanche.compiler import compile_profile
from avalanche.errors import DefinitionError
from avalanche.kickstart import render
from avalanche.profile import Profile

MICRO = Path(__file__).parent
CASES = sorted(path.parent for path in MICRO.glob("*/attrs.json"))


def posts(profile: Profile, attributes: Attributes) -> list[str]:
    """The bodies of the sections that run in the installed system, with values filled in."""
    return ["".join(part.text.fill(lambda found: attributes.get(found.name, "")) for part in script.parts).strip()
            for script in profile.post]  # fmt: skip


def packages(profile: Profile) -> list[str]:
    wanted = sorted({("@" if request.meta else "") + request.name for request in profile.requested})
    refused = {("@" if request.meta else "") + request.name for request in profile.packages if request.disable}
    return [*wanted, *sorted(f"-{name}" for name in refused - set(wanted))]


def own_part(kickstart: str) -> str:
    """The lines of a kickstart that are not in every kickstart, without comments."""
    case = MICRO / "package_empty"
    attributes = Attributes.of(json.loads((case / "attrs.json").read_text()))
    common = set(render(compile_profile(load_rolls([case]), "r", attributes), attributes).splitlines())
    return "\n".join(line for line in kickstart.splitlines() if line not in common and not line.startswith("#"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_answer_is_the_intended_one(case: Path) -> None:
    intended = json.loads((case / "intended.json").read_text())
    attributes = Attributes.of(json.loads((case / "attrs.json").read_text()))
    if intended["error"] is not None:
        with pytest.raises(DefinitionError, match=intended["error"]) as raised:
            compile_profile(load_rolls([case]), "r", attributes)
        assert raised.value.file is not None
        assert raised.value.line
        return
    rolls = load_rolls([case])
    assert list(rolls.graph.traverse("r", attributes).nodes) == intended["nodes"]
    profile = compile_profile(rolls, "r", attributes)
    assert packages(profile) == intended["packages"]
    if "posts" in intended:
        assert posts(profile, attributes) == intended["posts"]
    text = own_part(render(profile, attributes))
    for wanted in intended["contains"]:
        assert wanted in text
    for unwanted in intended["lacks"]:
        assert unwanted not in text
