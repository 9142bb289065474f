"""The pages: every command they show is one, with every option they show."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from avalanche.cli import NOUNS, _parser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAM = re.compile(r"(?:sudo )?(?:[A-Z_]+=\S+ )*(avalanche|insert-ethers)(?: +(.*))?")


def shown(page: Path) -> Iterator[list[str]]:
    """The words of each command of ours on a page, between backticks or on a line of its own."""
    text = page.read_text().replace("\\\n", "")
    for span in [*re.findall(r"`([^`\n]+)`", text), *map(str.strip, text.splitlines())]:
        if found := PROGRAM.fullmatch(span):
            words = re.split(r"\s+# | \| ", found[2] or "")[0].split()
            yield words if found[1] == "avalanche" else ["ethers", *words]


def verbs(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def test_every_command_on_a_page_is_one_and_has_these_options() -> None:
    whole, seen = _parser(NOUNS), 0
    for page in PAGES:
        for words in shown(page):
            parser, rest, seen = whole, list(words), seen + 1
            while (known := verbs(parser)) and rest and re.fullmatch("[a-z][a-z-]*", rest[0]):
                assert rest[0] in known, (page.name, words)
                parser = known[rest.pop(0)]
            options = re.findall(r"(?:^|[\s\[])(--[a-z][a-z-]*)", " ".join(rest))
            assert [option for option in options if option not in parser._option_string_actions] == [], (
                page.name,
                words,
            )
    assert seen > 100
