"""docs/insert-ethers.md tells of everything there is."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from avalanche.adapters.plugins import EVENTS, GROUP
from avalanche.cli import ethers
from avalanche.dhcplogs import LOG_FORMATS
from avalanche.ethers import REASONS

PAGE = (Path(__file__).parent.parent / "docs" / "insert-ethers.md").read_text()


def rows(heading: str) -> set[str]:
    """The first cells of the tables below a heading."""
    section = PAGE.partition(f"## {heading}")[2].partition("\n## ")[0]
    return {line.split("|")[1].strip().strip("`") for line in section.splitlines() if line.startswith("| `")}


def test_every_reason_is_told() -> None:
    assert rows("Why a packet") == set(REASONS)


def test_every_option_is_told() -> None:
    parser = argparse.ArgumentParser()
    ethers.register(parser.add_subparsers())
    (command,) = parser._subparsers._group_actions[0].choices.values()  # type: ignore[union-attr]
    options = set(re.findall(r"--[a-z-]+", command.format_help())) - {"--help", "--state"}
    assert {option for option in options if f"`{option}" not in PAGE} == set()


def test_every_source_hook_and_event_is_told() -> None:
    assert all(f"`{name}:LOG`" in PAGE for name in LOG_FORMATS)
    assert rows("Plugins") == set(EVENTS)
    assert GROUP in PAGE
    views = (Path(ethers.__file__).parent / "ethers_views.py").read_text()
    events = set(re.findall(r'self\._write\(\s*"([a-z]+)"', views))
    assert rows("The stream") == events
