"""Every small question of tests/micro, asked of --legacy: the original's own answers come back, to the letter."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from avalanche.adapters.legacy_tree import load_tree
from avalanche.errors import DefinitionError
from avalanche.legacy.compiler import LegacyProfile, compile_legacy

MICRO = Path(__file__).parent.parent / "micro"
CASES = sorted(path.parent for path in MICRO.glob("*/attrs.json"))


def asked(case: Path) -> LegacyProfile:
    return compile_legacy(load_tree([case]), "r", json.loads((case / "attrs.json").read_text()))


def words_of(error: str) -> str:
    """What the original said, without its node and without a position in a document that nobody sees."""
    return re.sub(r"<unknown>:\d+:\d+: ", "", error.partition(": ")[2])


def shape(element: ElementTree.Element) -> Any:
    attributes = dict(element.attrib)
    if "attrs" in attributes:
        attributes["attrs"] = ast.literal_eval(attributes["attrs"])
    text = element.text or ""
    if element.tag == "loader":  # the original's lines came in any order
        text = "\n".join(sorted(text.splitlines()))
    return element.tag, attributes, text, element.tail, [shape(child) for child in element]


def test_no_question_is_lost() -> None:
    assert len(CASES) == 46
    assert {case.name for case in CASES} == {path.name for path in MICRO.iterdir() if path.is_dir()} - {"__pycache__"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_answer_is_the_originals(case: Path) -> None:
    if not (case / "out.nodes").exists():
        with pytest.raises(DefinitionError, match="the original compiler stops here: "):
            asked(case)
        return
    profile = asked(case)
    assert list(profile.nodes) == (case / "out.nodes").read_text().splitlines()
    errors = (case / "out.errors").read_text().splitlines()
    if not (case / "out.ks").exists():
        with pytest.raises(DefinitionError) as raised:
            profile.kickstart()
        assert words_of(errors[0]) in str(raised.value)
        assert str(raised.value).startswith(f"{case}/nodes/r.xml:3: ")
        return
    found = profile.kickstart()
    assert found == (case / "out.ks").read_text()
    assert found[found.index("%packages") :].startswith((case / "out.packages").read_text())
    assert shape(ElementTree.fromstring(profile.document.text)) == shape(
        ElementTree.fromstring((case / "out.xml").read_text())
    )
    assert len(profile.failures) == len(errors)
    if errors:
        with pytest.raises(DefinitionError) as raised:
            profile.check()
        assert words_of(errors[0]) in str(raised.value)
        assert raised.value.file is not None
        assert raised.value.line
